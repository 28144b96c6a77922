"""What to say of a name that nobody bears: the one that was probably meant, and all that there are."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_SHOWN = 20


def known_names(met: str, known: Iterable[str]) -> str:
    """Return the end of a sentence about the name ``met``, which is none of ``known``.

    >>> known_names("dor", ["door"])
    'did you mean door? There is door'
    >>> known_names("nope", ["hall", "door"])
    'there are door, hall'
    >>> known_names("nope", [])
    'there is none'
    """
    names = sorted(set(known))
    near = difflib.get_close_matches(met, names, n=1)
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    are = "there is none" if not names else f"there {'is' if len(names) == 1 else 'are'} {shown}"
    return f"did you mean {near[0]}? {are[0].upper()}{are[1:]}" if near else are


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return the end of a message: the one of ``names`` that is nearest; nothing when none is near.

    A name that only lacks its unit is nearest.

    >>> did_you_mean("shape", ["levels", "shapes"]), did_you_mean("shape", ["levels"])
    ('; did you mean shapes?', '')
    >>> did_you_mean("rotation", ["saturation", "rotation_degrees"])
    '; did you mean rotation_degrees?'
    """
    known = list(names)
    near = [each for each in known if each.startswith(f"{name}_")] or difflib.get_close_matches(
        name, known, n=1
    )
    return f"; did you mean {near[0]}?" if near else ""
