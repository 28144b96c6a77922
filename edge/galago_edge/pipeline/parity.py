"""Whether an accelerator gives the answers of the bundle, and gives them faster than the CPU."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.bundle import Bundle
from galago_edge.contract.manifest import GoldenExpected, Tensor
from galago_edge.engine import AcceleratorError, Backend, Fault, TensorInfo
from galago_edge.pipeline.golden_samples import prepare_sample
from galago_edge.preprocess import ImagePreprocessor, LogMelFrontend

TIMED_RUNS = 8
"""Of either backend, in turn: a busy device hurts both alike."""


@dataclass(frozen=True, slots=True)
class GoldenInput:
    """One golden sample, ready for the model."""

    file: str
    tensor: npt.NDArray[Any]
    """The model's input without the batch axis."""
    expected: GoldenExpected


@dataclass(frozen=True, slots=True)
class Speed:
    """Median time of one run in microseconds."""

    accelerator_us: int
    cpu_us: int


def golden_inputs(
    bundle: Bundle, preprocessor: ImagePreprocessor | LogMelFrontend, model_input: Tensor
) -> list[GoldenInput]:
    """Prepare every golden sample of a bundle.

    Raises:
        BundleError: GOLDEN_FAIL or FILE_HASH; a sample is damaged.
        DeviceError: EXTRA_MISSING; images need OpenCV.
        LinkError: The bundle cannot be read any more.
    """
    inputs = []
    for golden in bundle.manifest.golden:
        tensor = np.empty(model_input.shape[1:], model_input.dtype)
        prepare_sample(bundle.read(golden.file), preprocessor, tensor)
        inputs.append(GoldenInput(golden.file, tensor, golden.expected))
    return inputs


def check_tensors(engine: Backend, cpu: tuple[TensorInfo, TensorInfo]) -> None:
    """Refuse an accelerated model whose input or output is not that of the CPU model.

    Raises:
        AcceleratorError: MODEL_MISMATCH.
    """
    for role, found, wanted in zip(("input", "output"), (engine.input, engine.output), cpu, strict=True):
        if _numbers(found) != _numbers(wanted):
            raise AcceleratorError(
                Fault.MODEL_MISMATCH,
                f"{engine.backend}: its model's {role} is {_numbers(found)}, the CPU's is {_numbers(wanted)}",
            )


def check_answer(engine: Backend, golden: GoldenInput) -> None:
    """Run one golden sample on an accelerator and compare.

    Raises:
        AcceleratorError: PARITY_FAILED, or the engine failed.
    """
    engine.input_view()[...] = golden.tensor
    engine.invoke()
    logits, expected = engine.logits(), golden.expected
    difference = int(np.abs(logits.astype(np.int16) - np.array(expected.logits, np.int16)).max())
    if difference > expected.atol_steps or int(logits.argmax()) != expected.argmax:
        raise AcceleratorError(
            Fault.PARITY_FAILED,
            f"{engine.backend}: golden sample {golden.file} is off by {difference} quantization steps, "
            f"{expected.atol_steps} are allowed, and label {int(logits.argmax())} wins where "
            f"{expected.argmax} must",
        )


def check_speed(engine: Backend, cpu: Backend, inputs: Sequence[GoldenInput], max_ratio: float) -> Speed:
    """Time both backends on the same inputs.

    Raises:
        AcceleratorError: TOO_SLOW; its median is more than ``max_ratio`` times the CPU's.
    """
    times: tuple[list[int], list[int]] = ([], [])
    for run in range(TIMED_RUNS):
        golden = inputs[run % len(inputs)]
        for backend, taken in zip((engine, cpu), times, strict=True):
            backend.input_view()[...] = golden.tensor
            start = time.perf_counter_ns()
            backend.invoke()
            taken.append(time.perf_counter_ns() - start)
    accelerator_ns, cpu_ns = (statistics.median(taken) for taken in times)
    if accelerator_ns > max_ratio * cpu_ns:
        raise AcceleratorError(
            Fault.TOO_SLOW,
            f"{engine.backend}: {accelerator_ns / 1e6:.3f} ms for one window, the CPU takes "
            f"{cpu_ns / 1e6:.3f} ms; {max_ratio:g} times as much is allowed",
        )
    return Speed(round(accelerator_ns / 1000), round(cpu_ns / 1000))


def _numbers(tensor: TensorInfo) -> str:
    return (
        f"{tensor.dtype} {list(tensor.shape)} with scale {tensor.scale:.9g} and zero point "
        f"{tensor.zero_point}"
    )
