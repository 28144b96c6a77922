"""How many of something, in words: one of it is one, and no plural."""

from __future__ import annotations


def count_of(number: int, thing: str, things: str = "") -> str:
    """Return a number with the name of what is counted. ``things``: the plural, where ``s`` does not make it.

    >>> count_of(1, "recording"), count_of(0, "recording"), count_of(2, "stretch", "stretches")
    ('1 recording', '0 recordings', '2 stretches')
    """
    return f"{number} {noun_of(number, thing, things)}"


def noun_of(number: float, thing: str, things: str = "") -> str:
    """Return the name of what is counted without the number, for one that is written in another form.

    >>> noun_of(-1, "false alarm"), noun_of(0.5, "hour"), noun_of(1, "has", "have")
    ('false alarm', 'hours', 'has')
    """
    return thing if abs(number) == 1 else things or f"{thing}s"
