"""The golden run: samples travel in the bundle, and the device shows that it gives their known answers.

Checked are the preprocessed tensor, byte for byte, and the logits, within the bundle's tolerance.
The same code writes the expected answers when a bundle is built.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from galago_edge.bundle import Bundle
from galago_edge.contract.errors import BundleError, Reason
from galago_edge.contract.manifest import Golden, GoldenExpected
from galago_edge.engine import Backend
from galago_edge.pipeline.golden_samples import golden_failure, prepare_sample
from galago_edge.pipeline.loaded_bundle import load
from galago_edge.preprocess import ImagePreprocessor, LogMelFrontend


@dataclass(frozen=True, slots=True)
class GoldenAnswer:
    """What this device computed from one sample."""

    tensor_sha256: str
    """Hash of the input tensor's bytes."""
    logits: npt.NDArray[np.int8]
    """Shape ``(labels,)``."""

    @property
    def argmax(self) -> int:
        """Index of the largest logit; the first of equal ones."""
        return int(self.logits.argmax())


class GoldenRunner:
    """Runs encoded samples through preprocessing and model, each the device's own."""

    def __init__(self, engine: Backend, preprocessor: ImagePreprocessor | LogMelFrontend) -> None:
        self._engine = engine
        self._preprocessor = preprocessor

    def answer(self, sample: bytes) -> GoldenAnswer:
        """Return what the model says to a PNG, or to a 16-bit mono WAV at the model's rate.

        Raises:
            BundleError: GOLDEN_FAIL; the sample cannot be decoded or does not fill one window.
        """
        view = self._engine.input_view()
        prepare_sample(sample, self._preprocessor, view)
        digest = hashlib.sha256(view.tobytes()).hexdigest()
        self._engine.invoke()
        return GoldenAnswer(digest, self._engine.logits())


def expected_answer(runner: GoldenRunner, sample: bytes, atol_steps: int) -> GoldenExpected:
    """Return what a bundle that holds this sample must say about it.

    Raises:
        BundleError: GOLDEN_FAIL; the sample cannot be decoded or does not fill one window.
    """
    answer = runner.answer(sample)
    return GoldenExpected(
        tensor_sha256=answer.tensor_sha256,
        argmax=answer.argmax,
        logits=tuple(int(code) for code in answer.logits),
        atol_steps=atol_steps,
    )


@dataclass(frozen=True, slots=True)
class GoldenResult:
    """One golden sample that this device answered as it must."""

    file: str
    label: str
    largest_difference: int
    """In int8 steps, over all logits."""


def check_golden(runner: GoldenRunner, golden: Golden, sample: bytes) -> GoldenResult:
    """Run one golden sample and compare.

    Raises:
        BundleError: PREPROCESS_MISMATCH when the tensor differs, GOLDEN_FAIL when the answer does.
    """
    answer, expected = runner.answer(sample), golden.expected
    if answer.tensor_sha256 != expected.tensor_sha256:
        raise BundleError(
            Reason.PREPROCESS_MISMATCH,
            f"golden sample {golden.file}: the preprocessed tensor has sha256 {answer.tensor_sha256[:16]}…, "
            f"the bundle says {expected.tensor_sha256[:16]}…",
            hint="input is prepared otherwise here: compare the versions of galago-edge, numpy and OpenCV",
        )
    if answer.logits.shape != (len(expected.logits),):
        raise golden_failure(f"the model gives {answer.logits.size} logits for {len(expected.logits)} labels")
    difference = int(np.abs(answer.logits.astype(np.int16) - np.array(expected.logits, np.int16)).max())
    if difference > expected.atol_steps or answer.argmax != expected.argmax:
        text = (
            f"golden sample {golden.file} ({golden.label}): the answer is off by {difference} "
            f"quantization steps, {expected.atol_steps} are allowed"
        )
        if answer.argmax != expected.argmax:
            text += f", and label {answer.argmax} wins where {expected.argmax} must"
        raise golden_failure(text)
    return GoldenResult(golden.file, golden.label, difference)


def run_golden(bundle: Bundle, threads: int = 1) -> list[GoldenResult]:
    """Run every golden sample of a bundle on this device.

    Raises:
        BundleError: The first one whose answer is not the expected one, or a model that does not load.
        DeviceError: EXTRA_MISSING; image samples need OpenCV.
    """
    loaded = load(bundle, threads=threads)
    runner = GoldenRunner(loaded.engine, loaded.preprocessor)
    return [check_golden(runner, golden, bundle.read(golden.file)) for golden in bundle.manifest.golden]
