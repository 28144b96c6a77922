"""Text from outside, made fit for records, messages and terminals."""

from __future__ import annotations

import re

_CONTROLS = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
_UNSEEN = (
    r"\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff"
)
"""Soft hyphen, marks of direction, blanks and joiners without width, tags."""
_FILLING = r"\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e0fff"
"""Counted as letters or marks, and not to be seen either."""
_MOVING = re.compile(f"[{_CONTROLS}{_UNSEEN}]")
"""What a terminal or an editor does instead of showing it."""
_HIDDEN = re.compile(f"[{_CONTROLS}{_UNSEEN}{_FILLING}]")
"""All of Default_Ignorable_Code_Point in Unicode 16's DerivedCoreProperties.txt, and controls: a list of our
own, for Python's tables grow from version to version and a name must be right on each of them."""
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


def hidden_character(text: str) -> str | None:
    r"""Return the first character that nobody sees, as ``U+200B``; None when all can be seen.

    Two names that differ in such characters alone look the same.

    >>> hidden_character("smoke\u200b")
    'U+200B'
    """
    found = _HIDDEN.search(text)
    return None if found is None else f"U+{ord(found[0]):04X}"


def unprintable(text: str) -> str:
    r"""Return the name that :func:`printable` made ``text`` of, if it had a byte to escape.

    >>> unprintable("caf\\xe9.wav") == "caf\udce9.wav"
    True
    """
    return _ESCAPED.sub(lambda byte: chr(0xDC00 + int(byte[1], 16)), text)
