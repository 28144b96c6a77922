"""``galago convert``: from a run's Keras model to two TFLite files that passed every quality gate."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Literal

from msgspec import UNSET, UnsetType

from galago_converters import calibration, inspection, metadata
from galago_converters.calibration import CalibrationRecord
from galago_converters.conversion_record import (
    CALIBRATION_FILE,
    CONVERSION_FILE,
    CONVERTED_FOLDER,
    FLOAT_FILE,
    INT8_FILE,
    AwareTraining,
    Conversion,
    HeldOut,
    encode,
    read_file,
)
from galago_converters.export import export
from galago_converters.inputs import InputSpec, input_spec
from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.manifest import Tensor
from galago_workstation.conversion.acceptance import (
    check_float,
    check_form,
    check_held_out,
    compare_held_out,
)
from galago_workstation.conversion.aware_conversion import LOSSY_POINTS, lossy, train_aware
from galago_workstation.data.sample import Sample
from galago_workstation.files import new_folder, write_bytes
from galago_workstation.progress_lines import PlainReport, Report
from galago_workstation.run_folder import MODEL_FILE, Run
from galago_workstation.training_config import ConvertOptions

_SILENT = PlainReport()
_PACKAGES = ("galago", "tensorflow", "keras", "ai-edge-litert", "numpy")
_PROBES = 32  # samples on which float TFLite is compared with Keras


@dataclass(frozen=True, slots=True)
class _Files:
    """What will lie in the converted folder."""

    float_model: bytes
    int8_model: bytes
    calibration: CalibrationRecord


def convert_run(
    run: Run, *, now: datetime, report: Report = _SILENT, options: ConvertOptions | None = None
) -> Conversion:
    """Convert a run's model, judge the result and write ``RUN/converted``.

    Args:
        run: The run; its configuration names the limits.
        now: What ``created_utc`` becomes.
        report: Is told what happens.
        options: Instead of those of the run's configuration; the records of the conversion have them.

    Raises:
        ModelError: The model does not convert, or a quality gate refuses it. Whatever was in
            ``RUN/converted`` before is still there.
        InputError: The run, its configuration, its network or its data are not what they were.
        LinkError: The disk.
    """
    run.check_untouched()
    options, spec = options or run.config.convert, input_spec(run.preprocess)
    held_out = _held_out_samples(run)
    chosen = calibration.choose(run.samples("train"), count=options.calibration_samples, seed=run.record.seed)
    report.say(f"calibrating with {len(chosen)} of {len(run.samples('train'))} training samples")
    representative = calibration.representative(run.inputs(chosen), spec)
    record = calibration.record(
        chosen,
        representative,
        labels=run.labels,
        seed=run.record.seed,
        requested=options.calibration_samples,
        preprocess_sha256=run.record.preprocess_sha256,
        held_out={part: run.samples(part) for part in ("validation", "test")},
    )
    model = run.keras_model()
    exported = export(model, spec, representative, labels=len(run.labels))
    float_model = _embed(exported.float_model, run)
    delta = check_float(model, float_model, representative[:_PROBES], spec, rebuilt=exported.rebuilt)

    def judged(int8_model: bytes) -> tuple[bytes, HeldOut]:
        embedded = _embed(int8_model, run)
        check_form(embedded, exported.layers, run, spec)
        report.say(f"comparing int8 with float on {len(held_out)} validation samples")
        limit = options.max_loss_points
        return embedded, compare_held_out(float_model, embedded, run, held_out, spec, report, limit)

    int8_model, comparison = judged(exported.int8_model)
    aware: AwareTraining | UnsetType = UNSET
    if options.aware_epochs and lossy(comparison):
        aware, trained = train_aware(
            run,
            model,
            spec,
            representative,
            options=options,
            before=comparison,
            judge=judged,
            report=report,
        )
        if trained is not None:
            int8_model, comparison = trained, aware.after
    elif lossy(comparison):
        report.say(f"int8 loses more than {LOSSY_POINTS} points: try --aware-epochs 8")
    elif options.aware_epochs:
        report.say(f"int8 loses at most {LOSSY_POINTS} points: no quantization-aware training")
    check_held_out(comparison)
    files = _Files(float_model, int8_model, record)
    conversion = _describe(run, files, spec, now=now, delta=delta, held_out=comparison, aware=aware)
    with new_folder(run.path / CONVERTED_FOLDER, mark=CONVERSION_FILE) as folder:
        write_bytes(folder / FLOAT_FILE, files.float_model)
        write_bytes(folder / INT8_FILE, files.int8_model)
        write_bytes(folder / CALIBRATION_FILE, encode(record))
        write_bytes(folder / CONVERSION_FILE, encode(conversion))
    return conversion


def _held_out_samples(run: Run) -> list[Sample]:
    samples = run.samples("validation")
    if not samples:
        raise InputError(
            Reason.RUN_BAD,
            f"{run.path} has no validation samples: what int8 costs cannot be measured",
            hint="train with a validation_share that leaves some",
        )
    return samples


def _embed(model: bytes, run: Run) -> bytes:
    return metadata.embed(
        model, name=f"{run.modality} classifier", labels=run.labels, preprocess=run.preprocess
    )


def _describe(
    run: Run,
    files: _Files,
    spec: InputSpec,
    *,
    now: datetime,
    delta: float,
    held_out: HeldOut,
    aware: AwareTraining | UnsetType,
) -> Conversion:
    found = inspection.report(files.int8_model)
    return Conversion(
        created_utc=now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        labels=run.labels,
        input=_tensor(found.inputs[0], spec.layout),
        output=_tensor(found.outputs[0], "NC"),
        ops=found.operators,
        per_channel=found.per_channel,
        model_sha256=_sha256(read_file(run.path / MODEL_FILE, remedy="galago train")),
        config_sha256=run.record.config_sha256,
        float_sha256=_sha256(files.float_model),
        int8_sha256=_sha256(files.int8_model),
        calibration_sha256=_sha256(encode(files.calibration)),
        preprocess_sha256=run.record.preprocess_sha256,
        float_delta=delta,
        held_out=held_out,
        aware=aware,
        versions={package: version(package) for package in _PACKAGES},
    )


def _tensor(found: inspection.ModelTensor, layout: Literal["NHWC", "NTF", "NC"]) -> Tensor:
    return Tensor(
        name=found.name,
        index=found.index,
        shape=found.shape,
        dtype="uint8" if found.dtype == "uint8" else "int8",
        scale=found.scales[0],
        zero_point=found.zero_points[0],
        layout=layout,
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
