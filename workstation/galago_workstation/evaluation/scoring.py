"""``galago evaluate``: the Keras model and both TFLite files on the run's test part."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from msgspec import UNSET

from galago_converters import model_runs
from galago_converters.conversion_record import (
    CONVERTED_FOLDER,
    FLOAT_FILE,
    INT8_FILE,
    Conversion,
    encode,
    read_conversion,
    read_file,
)
from galago_converters.export import logits
from galago_converters.frameworks import import_tensorflow
from galago_converters.inputs import Codes, InputSpec, input_spec
from galago_edge.contract.errors import InputError, Reason
from galago_edge.decision.activation import Activation
from galago_edge.engine import runtime
from galago_workstation.data.sample import Sample
from galago_workstation.environment import cpu_name
from galago_workstation.evaluation.evaluation_record import (
    CONFUSION_FILE,
    EVALUATION_FILE,
    Evaluation,
    Variant,
)
from galago_workstation.evaluation.inference_cost import Latency, measure, time_calls
from galago_workstation.evaluation.scorecard import confusion_png
from galago_workstation.files import write_bytes
from galago_workstation.progress_lines import PlainReport, Report
from galago_workstation.run_folder import MODEL_FILE, Run

Form = Literal["keras", "float", "int8"]
Labels = npt.NDArray[np.intp]

_SILENT = PlainReport()


@dataclass(frozen=True, slots=True)
class ScoredRun:
    """The record, and every single answer behind it."""

    evaluation: Evaluation
    samples: list[Sample]
    """The test part."""
    given: dict[Form, Labels]
    """Each form's answers ``(samples,)``."""
    int8_scores: npt.NDArray[np.int64]
    """As a device has them, from the int8 codes: Q16 ``(samples, labels)``."""


def evaluate_run(run: Run, *, report: Report = _SILENT) -> ScoredRun:
    """Score the three forms of a run's model and write evaluation.json and its picture.

    Raises:
        InputError: RUN_BAD; the run was not converted, or trained again since; there are no test samples.
        LinkError: The disk.
    """
    conversion = read_conversion(run.path)
    _check_fresh(run, conversion)
    spec = input_spec(run.preprocess)
    samples = run.samples("test")
    if not samples:
        raise InputError(
            Reason.RUN_BAD, f"{run.path} has no test samples", hint="train with a test_share that leaves some"
        )
    report.say(f"reading {len(samples)} test samples")
    inputs = run.inputs(samples)
    folder = run.path / CONVERTED_FOLDER
    float_model, int8_model = (folder / FLOAT_FILE).read_bytes(), (folder / INT8_FILE).read_bytes()
    report.say("scoring Keras, float TFLite and int8 TFLite")
    model = run.keras_model()
    given: dict[Form, Labels] = {}
    with report.track("Keras", len(samples)) as done:
        given["keras"] = logits(model, inputs, spec, done).argmax(axis=1)
    with report.track("float TFLite", len(samples)) as done:
        given["float"] = model_runs.float_logits(float_model, inputs, spec, done).argmax(axis=1)
    with report.track("int8 TFLite", len(samples)) as done:
        codes = model_runs.int8_logits(int8_model, inputs, done)
        given["int8"] = codes.argmax(axis=1)
    report.say("measuring latency and memory")
    costs = {"float": measure("float", folder / FLOAT_FILE), "int8": measure("int8", folder / INT8_FILE)}

    def variant(form: Form, size: int, latency: Latency) -> Variant:
        return _variant(run.labels, samples, given[form], given["keras"], size, latency)

    keras_size = (run.path / MODEL_FILE).stat().st_size
    used = runtime()
    found = Evaluation(
        labels=run.labels,
        test_samples=len(samples),
        keras=variant("keras", keras_size, _keras_latency(model, inputs, spec)),
        tflite_float=variant("float", len(float_model), costs["float"].latency),
        tflite_int8=variant("int8", len(int8_model), costs["int8"].latency),
        model_sha256=conversion.model_sha256,
        int8_sha256=conversion.int8_sha256,
        train_sha256=run.samples_sha256("train"),
        calibration_sha256=conversion.calibration_sha256,
        test_sha256=run.samples_sha256("test"),
        rss_peak_bytes=costs["int8"].rss_peak_bytes,
        engine_heap_bytes=UNSET if (heap := costs["int8"].engine_heap_bytes) is None else heap,
        cpu=cpu_name(),
        runtime=f"{used.package} {used.version}",
    )
    picture = confusion_png(found)
    write_bytes(run.path / CONFUSION_FILE, picture)
    write_bytes(run.path / EVALUATION_FILE, encode(found))
    output = conversion.output
    decision = run.config.decision  # what a device will make of the logits
    activation = Activation(decision.activation, output.scale, output.zero_point, decision.temperature)
    scores = activation.scores(codes)
    return ScoredRun(found, samples, given, scores)


def _check_fresh(run: Run, conversion: Conversion) -> None:
    content = read_file(run.path / MODEL_FILE, remedy="galago train")
    if hashlib.sha256(content).hexdigest() != conversion.model_sha256:
        raise InputError(
            Reason.RUN_BAD,
            f"{run.path / CONVERTED_FOLDER} was made from another {MODEL_FILE}: the run was trained again",
            hint=f"galago convert {run.path}",
        )


def _keras_latency(model: Any, inputs: Codes, spec: InputSpec) -> Latency:
    tf = import_tensorflow()
    one = tf.constant(spec.real(inputs[:1]))
    compiled = tf.function(lambda batch: model(batch, training=False))
    return time_calls(lambda: compiled(one))


def _variant(
    labels: tuple[str, ...],
    samples: list[Sample],
    given: Labels,
    keras: Labels,
    size: int,
    latency: Latency,
) -> Variant:
    truth = np.array([sample.label for sample in samples])
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, (truth, given), 1)
    totals = confusion.sum(axis=1)
    return Variant(
        accuracy=float(np.mean(truth == given)),
        recall={
            name: float(confusion[index, index] / totals[index])
            for index, name in enumerate(labels)
            if totals[index]
        },
        flips=int(np.sum(given != keras)),
        bytes=size,
        p50_us=latency.p50_us,
        p99_us=latency.p99_us,
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
    )
