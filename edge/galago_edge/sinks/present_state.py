"""What holds now, as far as a broker shows it: labels that are on, how every source is, what runs the models.

It is learned from the records when they are made, not when they are delivered: what waits in the spool is
the past, and a label that was on an hour ago must not look as if it were on now.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from galago_edge.contract.records import Record
from galago_edge.sinks.topics import OFF, ON, Described, Message, Topics

_CHANGES = 1_000
"""Changes that wait at most; whoever comes later than that gets what holds then, as a whole."""


class PresentState:
    """Told by the threads of the streams, asked by the one that talks to the broker."""

    def __init__(self, topics: Topics) -> None:
        """Begin with no stream; ``topics`` says where what stands."""
        self._topics = topics
        self._lock = threading.Lock()
        self._streams: dict[str, Described] = {}
        self._held: dict[str, bytes] = {}
        self._changes: deque[Message] = deque()
        self._too_many = True

    @property
    def streams(self) -> dict[str, Described]:
        """The streams that were described so far; another object after every description."""
        return self._streams

    def describe(self, stream: str, described: Described) -> None:
        """Learn what a stream can report from now on; what it reported with other labels does not hold."""
        if not self._topics.config:
            return
        labels = {self._topics.of_label(stream, label) for label in described.labels}
        place = f"{self._topics.of_stream(stream)}/"
        with self._lock:
            for topic in [topic for topic in self._held if topic.startswith(place)]:
                if self._topics.is_label(topic) and topic not in labels:
                    del self._held[topic]
            for topic in labels:
                self._held.setdefault(topic, OFF)
            self._streams = self._streams | {stream: described}
            self._too_many = True

    def note(self, records: Sequence[Record]) -> bool:
        """Learn what records change; tell whether they do. Quick, and waits for nobody."""
        changed = False
        with self._lock:
            for record in records:
                described = self._streams.get(record.stream)
                for message in self._topics.changes(record, described.labels if described else ()):
                    if self._held.get(message.topic) != message.payload:
                        self._held[message.topic] = message.payload
                        self._note(message)
                        changed = True
        return changed

    def all(self) -> dict[str, bytes]:
        """Return what holds now by its topic. :meth:`changes` goes on from here."""
        with self._lock:
            self._changes.clear()
            self._too_many = False
            return dict(self._held)

    def changes(self) -> list[Message]:
        """Return, once, what has changed since: every step of it, in order, unless there were very many."""
        with self._lock:
            if self._too_many:
                self._too_many = False
                self._changes.clear()
                return [Message(topic, payload, True) for topic, payload in self._held.items()]
            changes = list(self._changes)
            self._changes.clear()
            return changes

    def nothing_on(self) -> list[Message]:
        """Return what has to be told when nobody watches any more: the end of every label that is on."""
        with self._lock:
            return [Message(topic, OFF, True) for topic, payload in self._held.items() if payload == ON]

    def _note(self, message: Message) -> None:
        if self._too_many:
            return
        self._changes.append(message)
        if len(self._changes) > _CHANGES:
            self._changes.clear()
            self._too_many = True
