"""One line that names the real cause when an export fails: the exception, the operator, the layer.

The converter reports MLIR diagnostics of hundreds of lines, and Keras wraps what a layer raised; neither
tells the author of the network what to change.
"""

from __future__ import annotations

import re
from types import TracebackType
from typing import Any

from galago_converters.layers import LayerNames
from galago_edge.contract.errors import ModelError, Reason

_NO_BUILTIN = re.compile(r"loc\((?P<where>.*)\): '\w+\.(?P<op>\w+)' op is neither a custom op nor a flex op")
_SCOPE = re.compile(r'fused\["[^"]*", "([^"@]+)')
_DIAGNOSTIC = re.compile(r"error: (?:loc\((?P<where>.*)\): )?(?P<text>.+)")
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
_LONGEST = 300  # characters of somebody else's message: one line of a terminal or two


def export_failed(error: BaseException, layers: LayerNames, printed: str = "") -> ModelError:
    """Turn what Keras or the converter raised into an error of one line.

    Args:
        error: What was raised.
        layers: The model's layers.
        printed: What was printed meanwhile; some diagnostics are only there.
    """
    text = f"{error}\n{printed}"
    if missing := _missing_operators(text, layers):
        return ModelError(
            Reason.OP_NOT_INT8,
            f"TensorFlow Lite has no builtin operator for {missing}",
            hint="replace that layer: convolutions, ReLU, pooling and Dense always convert",
        )
    layer = failing_layer(error.__traceback__)
    place = f" in layer {layer}" if layer else ""
    return ModelError(
        Reason.EXPORT_FAILED,
        f"the model cannot be exported{place}: {type(error).__name__}: {_first_line(text, layers)}",
        hint="the layer must work on a fixed batch of 1 as TensorFlow operations only",
    )


def failing_layer(trace: TracebackType | None) -> str:
    """Return the name of the innermost layer whose code is on the traceback, or ``""``."""
    name = ""
    while trace is not None:
        candidate: Any = trace.tb_frame.f_locals.get("self")
        if _is_layer(candidate):
            name = str(candidate.name)
        trace = trace.tb_next
    return name


def _is_layer(candidate: Any) -> bool:
    return any(
        base.__name__ == "Layer" and base.__module__.startswith("keras.") for base in type(candidate).__mro__
    )


def _missing_operators(text: str, layers: LayerNames) -> str:
    found = []
    for match in _NO_BUILTIN.finditer(text):
        scope = _SCOPE.search(match["where"])
        place = f" (layer {layers.of(scope[1])})" if scope else ""
        if (entry := match["op"] + place) not in found:
            found.append(entry)
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return ", ".join(found[:3]) + more


def _first_line(text: str, layers: LayerNames) -> str:
    if match := _DIAGNOSTIC.search(text):
        scope = _SCOPE.search(match["where"] or "")
        return one_line(match["text"] + (f" (layer {layers.of(scope[1])})" if scope else ""))
    lines = [line.strip() for line in _ESCAPE.sub("", text).splitlines()]
    return one_line(next((line for line in lines if line), "no message"))


def one_line(text: str) -> str:
    """Return a message without line breaks, cut where it gets long."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[:_LONGEST] + " ..."
