"""Bodies of requests by a template: text with ``{placeholders}``, each escaped as the body's type needs it.

``{name}`` is replaced, ``{{name}}`` becomes ``{name}``, and every other brace stands for itself, so that JSON
can be written as it is. There is nothing else to it: no conditions, no loops, no attributes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

import msgspec

from galago_edge.contract.decoding import from_json
from galago_edge.contract.known_names import known_names
from galago_edge.sinks.delivery import Delivery
from galago_edge.sinks.record_words import PLACEHOLDERS, Word, words_of

_PLACE = re.compile(r"\{\{([A-Za-z_]+)\}\}|\{([A-Za-z_]+)\}")
_JSON = re.compile(r"application/(?:[\w.+-]+\+)?json\b", re.IGNORECASE)
_FORM = "application/x-www-form-urlencoded"

_NASTY = 'a"b\\c\n{label}\u2028\u00fc%&'
_TRIALS: tuple[dict[str, Any], ...] = (
    {
        "kind": "event",
        "stream": _NASTY,
        "label": _NASTY,
        "score": 0.5,
        "start_ns": 0,
        "end_ns": 1,
        "wall_ns": 0,
    },
    {"kind": "gap", "stream": "", "from_ns": 0, "to_ns": 1, "cause": _NASTY},
    {"kind": "state", "stream": "", "subject": _NASTY, "state": "lost", "detail": {"lost": 1}},
)
"""What every template must be able to take."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value goes."""

    name: str
    write: Callable[[Word], str]


class BodyTemplate:
    """A template that was found good."""

    def __init__(self, text: str, content_type: str) -> None:
        """Take ``text`` apart, for a body of this type.

        Raises:
            ValueError: It names a placeholder that there is not, or what is called JSON is none.
        """
        self._parts = list(_parts(text, content_type))
        if _JSON.match(content_type):
            for record in _TRIALS:
                trial = Delivery(0, 0, _NASTY, record["kind"], msgspec.json.encode(record))
                try:
                    from_json(self.body(_NASTY, trial))
                except msgspec.DecodeError as error:
                    raise ValueError(f"is no JSON when its places are filled: {error}") from None

    def body(self, device: str, delivery: Delivery) -> bytes:
        """Return the body for a record of this device, in UTF-8."""
        words: Mapping[str, Word] = {**words_of(device, delivery), "record": delivery.line.decode()}
        return "".join(
            part if isinstance(part, str) else part.write(words[part.name]) for part in self._parts
        ).encode(errors="replace")


def _parts(text: str, content_type: str) -> list[str | _Place]:
    parts: list[str | _Place] = []
    quoted = False
    end = 0

    def literal(piece: str) -> None:
        nonlocal quoted
        for mark in re.findall(r"\\.|\"", piece, re.DOTALL):
            quoted ^= mark == '"'
        parts.append(piece)

    for place in _PLACE.finditer(text):
        literal(text[end : place.start()])
        end = place.end()
        escaped, name = place[1], place[2]
        if escaped:
            literal(f"{{{escaped}}}")
        elif name not in PLACEHOLDERS:
            raise ValueError(f"names {{{name}}}; {known_names(name, PLACEHOLDERS)}")
        else:
            parts.append(_Place(name, _writer(name, content_type, quoted=quoted)))
    literal(text[end:])
    return parts


def _writer(name: str, content_type: str, *, quoted: bool) -> Callable[[Word], str]:
    if _JSON.match(content_type):
        if quoted:
            return lambda word: msgspec.json.encode(_plain(word)).decode()[1:-1]
        return _plain if name == "record" else lambda word: msgspec.json.encode(word).decode()
    if content_type.lower().startswith(_FORM):
        return lambda word: quote_plus(_plain(word))
    return _plain


def _plain(word: Word) -> str:
    return "" if word is None else str(word)
