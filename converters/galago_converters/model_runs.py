"""Runs converted models over many samples: the int8 one through the device's own engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_converters.chatter import captured
from galago_converters.inputs import Codes, InputSpec
from galago_edge.engine import Engine, interpreter_class

Floats = npt.NDArray[np.float32]


def int8_logits(
    model: bytes, inputs: Codes, progress: Callable[[int], None] = lambda _: None
) -> npt.NDArray[np.int8]:
    """Return the output codes ``(n, labels)`` for preprocessed inputs ``(n, *shape)``; one thread.

    ``progress`` is called with the number of samples done, now and then.

    Raises:
        BundleError: MODEL_BAD or TENSOR_MISMATCH, as :class:`galago_edge.engine.Engine`.
        ValueError: The inputs have another shape or dtype than the model's input.
    """
    engine = Engine(model)
    _check_inputs(inputs, engine.input.shape[1:], np.dtype(engine.input.dtype))
    codes = np.empty((len(inputs), engine.output.shape[1]), np.int8)
    for index, sample in enumerate(inputs):
        engine.input_view()[...] = sample
        engine.invoke()
        codes[index] = engine.logits()
        if index % 256 == 255:
            progress(index + 1)
    return codes


def float_logits(
    model: bytes, inputs: Codes, spec: InputSpec, progress: Callable[[int], None] = lambda _: None
) -> Floats:
    """Return the logits ``(n, labels)`` of a float TFLite model, one by one, one thread.

    Raises:
        ValueError: The inputs have another shape or dtype than ``spec``.
    """
    _check_inputs(inputs, spec.shape, spec.numpy_dtype)
    interpreter = load_float(model)
    feed, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]
    found = np.empty((len(inputs), int(result["shape"][1])), np.float32)
    for index, sample in enumerate(inputs):
        interpreter.set_tensor(feed, spec.real(sample)[np.newaxis])
        interpreter.invoke()
        found[index] = interpreter.get_tensor(result["index"])[0]
        if index % 256 == 255:
            progress(index + 1)
    return found


def load_float(model: bytes) -> Any:
    """Return an allocated interpreter for a float model, which the engine would refuse; one thread."""
    interpreter = interpreter_class()(model_content=model, num_threads=1)
    with captured():
        interpreter.allocate_tensors()
    return interpreter


def _check_inputs(inputs: Codes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if inputs.shape[1:] != shape or inputs.dtype != dtype:
        # numpy would cast or broadcast silently, and the figures would be about something else
        raise ValueError(f"inputs are {inputs.dtype} {inputs.shape}, expected {dtype} (n, {shape})")
