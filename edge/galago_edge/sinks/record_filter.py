"""Which records one receiver wants: by kind, and among those by stream and by label."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

_LABEL_SUBJECT = "label:"


class Subject(NamedTuple):
    """What a record is about."""

    kind: str
    stream: str = ""
    """Empty: the whole device."""
    label: str = ""
    """Of an event, its attachment, or the state of a label; empty for everything else."""


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """What one receiver wants."""

    kinds: frozenset[str]
    """Some of ``event``, ``state``, ``gap``, ``attachment``."""
    streams: frozenset[str] = frozenset()
    """Empty: all. What is about the whole device belongs to every stream."""
    labels: frozenset[str] = frozenset()
    """Empty: all. What is about no label passes."""

    def wants(self, subject: Subject) -> bool:
        """Tell whether records about this are wanted.

        >>> smoke = RecordFilter(frozenset({"event"}), labels=frozenset({"smoke"}))
        >>> smoke.wants(Subject("event", "hall", "smoke")), smoke.wants(Subject("event", "hall", "dog"))
        (True, False)
        """
        return (
            subject.kind in self.kinds
            and (not self.streams or not subject.stream or subject.stream in self.streams)
            and (not self.labels or not subject.label or subject.label in self.labels)
        )


def filter_of(
    kinds: Collection[str], streams: Collection[str] = (), labels: Collection[str] = ()
) -> RecordFilter:
    """Return the filter that settings say."""
    return RecordFilter(frozenset(kinds), frozenset(streams), frozenset(labels))


class _Said(msgspec.Struct):
    stream: str = ""
    label: str = ""
    subject: str = ""


_DECODER = msgspec.json.Decoder(_Said)


def subject_of(kind: str, line: bytes) -> Subject:
    """Return what the record in ``line``, JSON, is about.

    >>> subject_of("state", b'{"stream":"hall","subject":"label:smoke","state":"off"}')
    Subject(kind='state', stream='hall', label='smoke')
    """
    try:
        said = _DECODER.decode(line)
    except (msgspec.DecodeError, RecursionError):  # none of ours: whoever wants the kind gets it
        return Subject(kind)
    if said.subject.startswith(_LABEL_SUBJECT):
        return Subject(kind, said.stream, said.subject.removeprefix(_LABEL_SUBJECT))
    return Subject(kind, said.stream, said.label)
