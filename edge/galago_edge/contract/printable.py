"""Names as the file system has them, made fit for records and messages."""

from __future__ import annotations

import re

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


def unprintable(text: str) -> str:
    r"""Return the name that :func:`printable` made ``text`` of, if it had a byte to escape.

    >>> unprintable("caf\\xe9.wav") == "caf\udce9.wav"
    True
    """
    return _ESCAPED.sub(lambda byte: chr(0xDC00 + int(byte[1], 16)), text)
