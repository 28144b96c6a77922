"""Text from outside, made fit for records, messages and terminals."""

from __future__ import annotations

import re

_MOVING = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
"""What a terminal or an editor does instead of showing it: controls, line ends, marks of direction."""
_ESCAPED = re.compile(r"\\x([89a-f][0-9a-f])")


def printable(text: str) -> str:
    r"""Return text that UTF-8 can hold: a byte of a file name that is none stands as ``\xe9``.

    >>> printable("caf\udce9.wav")
    'caf\\xe9.wav'
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        pass
    else:
        return text
    try:
        name = text.encode(errors="surrogateescape")
    except UnicodeEncodeError:  # half a pair, which stands for no byte
        return text.encode(errors="backslashreplace").decode()
    return name.decode(errors="backslashreplace")


def on_one_line(text: str) -> str:
    r"""Return text that is one line wherever it is shown, and does nothing there.

    >>> on_one_line("night\x1b[2J.wav\ncaf\udce9")
    'night\\x1b[2J.wav\\ncaf\\xe9'
    """
    return _MOVING.sub(lambda found: ascii(found[0])[1:-1], printable(text))


def unprintable(text: str) -> str:
    r"""Return the name that :func:`printable` made ``text`` of, if it had a byte to escape.

    >>> unprintable("caf\\xe9.wav") == "caf\udce9.wav"
    True
    """
    return _ESCAPED.sub(lambda byte: chr(0xDC00 + int(byte[1], 16)), text)
