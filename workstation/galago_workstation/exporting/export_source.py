"""What is exported: the model of a converted run, or of a bundle, with samples on which it can be tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from galago_converters.conversion_record import (
    CONVERTED_FOLDER,
    FLOAT_FILE,
    INT8_FILE,
    read_conversion,
    read_file,
)
from galago_edge import open_bundle
from galago_edge.bundle import Bundle
from galago_edge.contract.manifest import AudioPreprocess, Decision, ImagePreprocess, Preprocess, Tensor
from galago_edge.decision.activation import ONE, Activation
from galago_edge.engine import Engine
from galago_edge.pipeline.golden_samples import decode_wav
from galago_edge.preprocess import ImagePreprocessor, LogMelFrontend
from galago_edge.preprocess.audio import log_mel
from galago_edge.sources.still_image import decode_image
from galago_workstation.run_folder import Run

LIMIT = 200
"""Samples on which an export is tried."""


@dataclass(frozen=True, slots=True)
class Tried:
    """Samples as devices and other tools get them, and what a device says to them."""

    codes: npt.NDArray[Any]
    """What the model is fed: ``(n, height, width, channels)`` uint8, or ``(n, frames, bands)`` int8."""
    raw: npt.NDArray[Any]
    """RGB pixels of the model's size ``(n, height, width, 3)`` uint8, or samples ``(n, window)`` int16."""
    logits: npt.NDArray[np.int8]
    """``(n, labels)``: codes of the int8 model."""
    scores: npt.NDArray[np.float64]
    """``(n, labels)``: 0 to 1, of one window, before smoothing."""


@dataclass(frozen=True, slots=True)
class ExportSource:
    """A model and everything that says what it means."""

    name: str
    origin: dict[str, str]
    """What it came from, for the record: ``run`` or ``bundle``, and hashes."""
    model: bytes
    """The int8 ``.tflite``."""
    float_model: bytes | None
    """Its float form; a bundle holds none."""
    network: Callable[[], Any] | None
    """Loads the Keras network; a bundle holds none."""
    labels: tuple[str, ...]
    preprocess: Preprocess
    decision: Decision
    input: Tensor
    output: Tensor
    samples: Sequence[npt.NDArray[Any]]
    """As a device captures them: BGR pixels ``(h, w, 3)``, or int16 samples ``(window_samples,)``."""

    def tried(self) -> Tried:
        """Return what a device makes of the samples."""
        engine = Engine(self.model)
        activation = Activation(
            self.decision.activation, self.output.scale, self.output.zero_point, self.decision.temperature
        )
        codes, raw, logits = [], [], []
        for sample in self.samples:
            code, seen = self._prepared(sample)
            engine.input_view()[...] = code
            engine.invoke()
            codes.append(code)
            raw.append(seen)
            logits.append(engine.logits())
        stacked = np.stack(logits)
        return Tried(np.stack(codes), np.stack(raw), stacked, activation.scores(stacked) / ONE)

    def _prepared(self, sample: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        spec = self.preprocess
        if isinstance(spec, AudioPreprocess):
            return log_mel(LogMelFrontend(spec), sample), sample
        colours = msgspec.structs.replace(spec, color="rgb")
        return ImagePreprocessor(spec)(sample), ImagePreprocessor(colours)(sample)


def open_source(path: Path, trusted: Sequence[Path] = ()) -> ExportSource:
    """Open a run folder that was converted, or a ``.galago`` file.

    Raises:
        InputError: RUN_BAD; the run is not converted, or is not what its records say.
        BundleError: The bundle is not whole, or nobody who is trusted has signed it.
        CallerError: TARGET_UNKNOWN; there is nothing.
        LinkError: The disk.
    """
    if path.is_dir() and not (path / "manifest.json").exists():
        return _of_run(path)
    with open_bundle(path, trusted=tuple(trusted), unverified=not trusted) as bundle:
        return _of_bundle(bundle)


def _of_run(path: Path) -> ExportSource:
    run = Run.open(path)
    run.check_untouched()
    conversion = read_conversion(path)
    remedy = f"galago convert {path}"
    samples = run.samples("test") or run.samples("validation")
    places = np.unique(np.linspace(0, len(samples) - 1, min(LIMIT, len(samples))).astype(int))
    return ExportSource(
        name=path.resolve().name,
        origin={"run": path.resolve().name, "model_sha256": conversion.int8_sha256},
        model=read_file(path / CONVERTED_FOLDER / INT8_FILE, remedy=remedy),
        float_model=read_file(path / CONVERTED_FOLDER / FLOAT_FILE, remedy=remedy),
        network=run.keras_model,
        labels=run.labels,
        preprocess=run.preprocess,
        decision=run.config.decision.decision(),
        input=conversion.input,
        output=conversion.output,
        samples=[run.raw(samples[place]) for place in places],
    )


def _of_bundle(bundle: Bundle) -> ExportSource:
    manifest = bundle.manifest
    cpu = manifest.model[0]
    spec = manifest.preprocess.spec
    goldens = [bundle.read(golden.file) for golden in manifest.golden]
    entries = {entry.path: entry.sha256 for entry in manifest.files}
    return ExportSource(
        name=bundle.name,
        origin={"bundle": f"{bundle}", "bundle_id": bundle.id, "model_sha256": entries[cpu.file]},
        model=bundle.read(cpu.file),
        float_model=None,
        network=None,
        labels=bundle.labels,
        preprocess=spec,
        decision=manifest.decision,
        input=cpu.input,
        output=cpu.output,
        samples=[_captured(golden, spec) for golden in goldens],
    )


def _captured(golden: bytes, spec: Preprocess) -> npt.NDArray[Any]:
    if isinstance(spec, ImagePreprocess):
        return decode_image(golden, "a golden sample")
    return decode_wav(golden, spec)[: spec.window_samples]
