"""Quantization-aware training within a conversion: where int8 loses too much, it learns to round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from galago_converters import calibration
from galago_converters.conversion_record import AwareTraining, HeldOut
from galago_converters.inputs import Codes, InputSpec
from galago_converters.quantization_training import LEARNING_RATE, train_rounding
from galago_workstation.data.batches import trained_batch
from galago_workstation.progress_lines import Report
from galago_workstation.run_folder import Run
from galago_workstation.training_config import ConvertOptions

LOSSY_POINTS = 0.5
"""Percentage points of accuracy that int8 may lose against float before training pays."""
_BATCH = 64
_SAMPLES = 20_000
_BYTES = 1 << 30  # of all codes that are held in memory


def lossy(found: HeldOut) -> bool:
    """Return whether int8 loses so much that quantization-aware training is worth a try."""
    return 100.0 * (found.accuracy_float - found.accuracy_int8) > LOSSY_POINTS


def train_aware(
    run: Run,
    model: Any,
    spec: InputSpec,
    representative: Codes,
    *,
    options: ConvertOptions,
    before: HeldOut,
    judge: Callable[[bytes], tuple[bytes, HeldOut]],
    report: Report,
) -> tuple[AwareTraining, bytes | None]:
    """Return what the training came to, and the int8 file that it made if that is the better one.

    Args:
        run: The run, whose training samples are used, without their labels.
        model: Its Keras model, which stays as it is.
        spec: The input tensor.
        representative: The calibration samples' codes, which set the first ranges.
        options: ``aware_epochs`` is at least 1.
        before: What the calibrated int8 file gave on the validation part.
        judge: Checks an int8 file; returns it with its metadata, and what it gives on the same samples.
        report: Is told what happens.

    Raises:
        ModelError: EXPORT_FAILED; the network has layers that are not known, or does not learn. As ``judge``.
    """
    most = max(2, min(_SAMPLES, _BYTES // (int(np.prod(spec.shape)) * spec.numpy_dtype.itemsize)))
    chosen = calibration.choose(run.samples("train"), count=most, seed=run.record.seed)
    batch = trained_batch(_BATCH, len(chosen))
    report.say(
        f"int8 loses {100 * (before.accuracy_float - before.accuracy_int8):.2f} points: quantization-aware"
        f" training with {len(chosen)} training samples, {options.aware_epochs} epochs"
    )
    with report.track("quantization-aware training", options.aware_epochs) as done:
        trained = train_rounding(
            model,
            run.inputs(chosen),
            spec,
            representative=representative,
            epochs=options.aware_epochs,
            batch_size=batch,
            seed=run.record.seed,
            done=done,
        )
    int8_model, after = judge(trained.int8_model)
    # as good is not enough: what is calibrated has the weights that were trained, tested and kept
    kept = (after.accuracy_int8, -after.flips) > (before.accuracy_int8, -before.flips)
    report.say(
        f"int8: {100 * before.accuracy_int8:.2f} % calibrated ({before.flips} flips),"
        f" {100 * after.accuracy_int8:.2f} % trained ({after.flips} flips):"
        f" the {'second' if kept else 'first'} is kept"
    )
    record = AwareTraining(
        epochs=options.aware_epochs,
        samples=len(chosen),
        batch_size=batch,
        seed=run.record.seed,
        learning_rate=LEARNING_RATE,
        distances=trained.distances,
        before=before,
        after=after,
        kept=kept,
    )
    return record, int8_model if kept else None
