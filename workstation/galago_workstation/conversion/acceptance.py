"""Whether what came out of a conversion is good enough: in its form, beside float, on held-out samples."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_converters import inspection, metadata, model_runs, quality_gate
from galago_converters.conversion_record import HeldOut
from galago_converters.export import logits
from galago_converters.inputs import Codes, InputSpec
from galago_converters.layers import LayerNames
from galago_edge.contract.errors import ModelError, Reason
from galago_workstation.data.sample import Sample
from galago_workstation.progress_lines import Report
from galago_workstation.run_folder import MODEL_FILE, Run

_PROBE_TOLERANCE = 2e-3  # relative; kernels sum in another order, nothing else may differ
_HALF_TOLERANCE = 0.05  # of a model that computed in float16 and was rebuilt


def check_form(int8_model: bytes, layers: LayerNames, run: Run, spec: InputSpec) -> None:
    """Check that the int8 file is what the device expects, and that its embedded metadata agree.

    Raises:
        ModelError: OP_NOT_INT8, FLOAT_INSIDE, EXPORT_FAILED; it is not.
    """
    quality_gate.check_int8(inspection.report(int8_model), spec, labels=len(run.labels), layers=layers)
    metadata.cross_check(int8_model, labels=run.labels, preprocess=run.preprocess)


def check_float(model: Any, float_model: bytes, probes: Codes, spec: InputSpec, *, rebuilt: bool) -> float:
    """Return the largest difference of a logit; refuse a file that is another network than the run's.

    ``rebuilt``: the model computed in float16 and was rebuilt in float32, which rounds otherwise.

    Raises:
        ModelError: EXPORT_FAILED.
    """
    tolerance = _HALF_TOLERANCE if rebuilt else _PROBE_TOLERANCE
    expected = logits(model, probes, spec)
    delta = float(np.abs(expected - model_runs.float_logits(float_model, probes, spec)).max())
    limit = tolerance * max(1.0, float(np.abs(expected).max()))
    if not delta <= limit:  # a NaN is not within any limit
        raise ModelError(
            Reason.EXPORT_FAILED,
            f"the exported model differs from {MODEL_FILE} by {delta:.3g} in a logit, at most {limit:.3g}"
            " can be rounding",
            hint="a layer behaves differently in the exported graph: look for randomness and state",
        )
    return delta


def compare_held_out(
    float_model: bytes,
    int8_model: bytes,
    run: Run,
    samples: list[Sample],
    spec: InputSpec,
    report: Report,
    max_loss_points: float,
) -> HeldOut:
    """Return what quantization costs on ``samples``, which were neither trained nor calibrated on."""
    inputs = run.inputs(samples)
    with report.track("float", len(samples)) as done:
        in_float = model_runs.float_logits(float_model, inputs, spec, done)
    with report.track("int8", len(samples)) as done:
        in_int8 = model_runs.int8_logits(int8_model, inputs, done)
    return HeldOut(
        samples=len(samples),
        accuracy_float=accuracy(in_float, samples),
        accuracy_int8=accuracy(in_int8, samples),
        flips=int(np.sum(in_float.argmax(axis=1) != in_int8.argmax(axis=1))),
        max_loss_points=max_loss_points,
    )


def check_held_out(found: HeldOut) -> None:
    """Refuse an int8 file that loses more than it may.

    Raises:
        ModelError: INT8_LOSS.
    """
    quality_gate.check_loss(
        accuracy_float=found.accuracy_float,
        accuracy_int8=found.accuracy_int8,
        max_loss_points=found.max_loss_points,
        samples=found.samples,
    )


def accuracy(given: npt.NDArray[Any], samples: Iterable[Sample]) -> float:
    """Return the share of samples whose largest logit is their label's. ``given``: ``(n, labels)``."""
    truth = np.array([sample.label for sample in samples])
    return float(np.mean(given.argmax(axis=1) == truth))
