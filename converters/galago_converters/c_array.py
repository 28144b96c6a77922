"""A model as C source: what firmware without a file system links in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from galago_edge.contract.manifest import Tensor

_A_LINE = 12


@dataclass(frozen=True, slots=True)
class CArray:
    """Two files."""

    header: str
    source: str


def c_array(model: bytes, *, name: str, labels: Sequence[str], fed: Tensor, given: Tensor) -> CArray:
    """Return a header and a source file that hold a model, its labels and what its codes stand for.

    Args:
        model: A ``.tflite`` file.
        name: Of the model; what C does not take in a name becomes ``_``.
        labels: In output order.
        fed: The model's input.
        given: Its output.
    """
    word = re.sub(r"[^a-z0-9_]", "_", name.lower())
    word = f"model_{word}" if not word or word[0].isdigit() else word
    guard = f"GALAGO_{word.upper()}_H"
    numbers = [
        f"#define {word.upper()}_{role}_{what} {value}"
        for role, tensor in (("INPUT", fed), ("OUTPUT", given))
        for what, value in (
            ("SCALE", f"{tensor.scale!r}f"),
            ("ZERO_POINT", f"({tensor.zero_point})"),
            ("SIZE", _size(tensor)),
        )
    ]
    header = [
        f"/* {word}: input {fed.dtype} {_shape(fed)}, output {given.dtype} {_shape(given)} logits. */",
        f"#ifndef {guard}",
        f"#define {guard}",
        *numbers,
        f"#define {word.upper()}_LABELS {len(labels)}",
        f"extern const unsigned char {word}[{len(model)}];",
        f"extern const char *const {word}_labels[{len(labels)}];",
        "#endif",
    ]
    rows = (model[start : start + _A_LINE] for start in range(0, len(model), _A_LINE))
    source = [
        f'#include "{word}.h"',
        "",
        "/* TensorFlow Lite reads it in place, which needs 16 bytes of alignment. */",
        f"_Alignas(16) const unsigned char {word}[{len(model)}] = {{",
        *("  " + " ".join(f"0x{byte:02x}," for byte in row) for row in rows),
        "};",
        "",
        f"const char *const {word}_labels[{len(labels)}] = {{",
        *(f"  {_quoted(label)}," for label in labels),
        "};",
    ]
    return CArray("\n".join(header) + "\n", "\n".join(source) + "\n")


def bytes_of(source: str) -> bytes:
    """Return the model that a source file of :func:`c_array` holds."""
    body = source[source.index("= {") : source.index("};")]
    return bytes(int(byte, 16) for byte in re.findall(r"0x([0-9a-f]{2})", body))


def _size(tensor: Tensor) -> int:
    size = 1
    for length in tensor.shape:
        size *= length
    return size


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape))


def _quoted(text: str) -> str:
    """Return a C string; what is not plain ASCII is written byte by byte, in octal."""
    plain = (
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"
        for byte in text.encode()
    )
    return f'"{"".join(plain)}"'
