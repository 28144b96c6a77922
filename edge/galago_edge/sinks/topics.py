"""What goes to which MQTT topic, and how Home Assistant is told of it."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import msgspec

from galago_edge.contract.decoding import from_json
from galago_edge.contract.modality import Modality
from galago_edge.contract.records import EventRecord, Record, StateRecord
from galago_edge.contract.status import Liveness

ONLINE, OFFLINE = b"online", b"offline"
ON, OFF = b"ON", b"OFF"
RECOVERING = b"recovering"
"""How a live source is before anything came from it."""
LIVENESS: tuple[str, ...] = get_args(Liveness)


@dataclass(frozen=True, slots=True)
class Message:
    """One message to a broker."""

    topic: str
    payload: bytes
    retain: bool = False
    """Kept by the broker for whoever comes later: what holds until it changes."""


@dataclass(frozen=True, slots=True)
class Described:
    """What a stream can report."""

    modality: Modality
    labels: tuple[str, ...]


class _Head(msgspec.Struct, frozen=True):
    """What of a record decides where it goes."""

    kind: str
    stream: str


class Component(msgspec.Struct, frozen=True):
    """One entity, as it is remembered to be taken away one day."""

    platform: str
    stream: str
    """Empty for those of the device."""


class Topics:
    """The topics of one device."""

    def __init__(
        self,
        topic: str,
        device: str,
        version: str,
        discovery: str,
        *,
        pictures_of: Callable[[str], bool] = lambda stream: False,
    ) -> None:
        """Name them ``topic/device/...``; ``discovery`` is Home Assistant's prefix, empty for none.

        ``pictures_of`` tells whether the events of a camera's stream carry pictures.
        """
        self._pictures_of = pictures_of
        self._device = plain(device)
        self._name = device
        self._base = f"{topic.strip('/')}/{self._device}"
        self._version = version
        self._discovery = discovery.strip("/")
        object_id = f"galago-{self._device}".replace(".", "_")
        self.availability = f"{self._base}/availability"
        self.config = f"{self._discovery}/device/{object_id}/config" if self._discovery else ""
        """Where Home Assistant learns of the device; empty when it shall not."""

    def of_record(self, line: bytes) -> Message:
        """Return the message of a record, a line of JSON."""
        head = from_json(line, type=_Head)
        base = self.of_stream(head.stream) if head.stream else self._base
        return Message(f"{base}/{head.kind}", line)

    def of_stream(self, stream: str) -> str:
        """Return where everything of a stream is."""
        return f"{self._base}/{stream}"

    def of_picture(self, stream: str) -> str:
        """Return where the pictures of a stream's events go, as they are."""
        return f"{self._base}/{stream}/picture"

    def of_file(self, line: bytes, media_type: str, content: bytes, *, keep_picture: bool) -> Message:
        """Return the message with what the record of an attachment names; ``line``: that record."""
        stream = from_json(line, type=_Head).stream
        if media_type.startswith("image/"):
            return Message(self.of_picture(stream), content, keep_picture)
        return Message(f"{self.of_stream(stream)}/sound", content)

    def of_label(self, stream: str, label: str) -> str:
        """Return where it stands whether a label is on."""
        return f"{self._base}/{stream}/label/{plain(label)}"

    def of_lost(self, lost: int) -> Message:
        """Return the figure of records that were lost on the way to this broker since the start."""
        return Message(f"{self._base}/lost", b"%d" % lost, retain=True)

    def is_of(self, topic: str, streams: Collection[str]) -> bool:
        """Tell whether a topic belongs to one of these streams."""
        stream, slash, _ = topic.removeprefix(f"{self._base}/").partition("/")
        return bool(slash) and topic.startswith(f"{self._base}/") and stream in streams

    def is_source(self, topic: str) -> bool:
        """Tell whether it is where a stream's source stands."""
        return topic.endswith("/source") and topic.removeprefix(f"{self._base}/").count("/") == 1

    def is_picture(self, topic: str) -> bool:
        """Tell whether :meth:`of_picture` gave this."""
        return topic.endswith("/picture") and topic.removeprefix(f"{self._base}/").count("/") == 1

    def is_label(self, topic: str) -> bool:
        """Tell whether :meth:`of_label` gave this."""
        parts = topic.removeprefix(f"{self._base}/").split("/")
        return len(parts) == 3 and parts[1] == "label"

    def changes(self, record: Record, labels: Collection[str]) -> list[Message]:
        """Return what a record changes of what holds until it changes; ``labels``: those of its stream."""
        if not self._discovery or not record.stream:
            return []
        base = self.of_stream(record.stream)
        backend, changes = "", []
        if isinstance(record, EventRecord):
            backend = record.backend
            if record.label in labels:  # else the bundle that has it does not decide any more
                changes.append(Message(self.of_label(record.stream, record.label), ON, True))
        elif isinstance(record, StateRecord):
            subject, state = record.subject, record.state
            if subject.startswith("label:") and state == "off" and subject[6:] in labels:
                changes.append(Message(self.of_label(record.stream, subject[6:]), OFF, True))
            elif subject == "source" and state in LIVENESS:
                changes.append(Message(f"{base}/source", state.encode(), True))
            elif subject in ("backend", "stream"):
                backend = str(record.detail.get("backend", ""))
            if subject == "stream":  # it begins or ends: no label is on
                changes += [Message(self.of_label(record.stream, label), OFF, True) for label in labels]
        if backend:
            changes.append(Message(f"{base}/backend", backend.encode(), True))
        return changes

    def entities(self, streams: Mapping[str, Described]) -> dict[str, tuple[Component, dict[str, Any]]]:
        """Return every entity by its name, with what Home Assistant is told of it."""
        if not self._discovery or not streams:
            return {}
        lost = self._lost_entity()
        found = {"lost": (Component(lost["platform"], ""), lost)}
        for name, described in streams.items():
            for key, entity in self._entities(name, described).items():
                found[key] = (Component(entity["platform"], name), entity)
        return found

    def of_discovery(
        self, entities: Mapping[str, tuple[Component, dict[str, Any]]], gone: Mapping[str, Component]
    ) -> Message:
        """Return the one message that makes this device and its entities appear in Home Assistant.

        ``gone``: entities that it has been told of and that are there no more. One with nothing but its
        platform is removed.
        """
        config = {
            "device": {
                "identifiers": [f"galago-{self._device}"],
                "name": self._name,
                "manufacturer": "Galago",
                "model": "galago-edge",
                "sw_version": self._version,
            },
            "origin": {"name": "galago", "sw_version": self._version},
            "availability": [{"topic": self.availability}],
            "qos": 1,
            "components": {key: told for key, (_, told) in entities.items()}
            | {key: {"platform": component.platform} for key, component in gone.items()},
        }
        return Message(self.config, msgspec.json.encode(config), True)

    def _entities(self, stream: str, described: Described) -> dict[str, dict[str, Any]]:
        base = f"{self._base}/{stream}"
        entities: dict[str, dict[str, Any]] = {
            "event": {
                "platform": "event",
                "name": stream,
                "state_topic": f"{base}/event",
                "event_types": list(described.labels),
                "value_template": "{{ dict(value_json, event_type=value_json.label) | to_json }}",
            },
            "source": {
                "platform": "sensor",
                "name": f"{stream} source",
                "entity_category": "diagnostic",
                "device_class": "enum",
                "options": list(LIVENESS),
                "state_topic": f"{base}/source",
            },
            "backend": {
                "platform": "sensor",
                "name": f"{stream} backend",
                "entity_category": "diagnostic",
                "state_topic": f"{base}/backend",
            },
        }
        if described.modality == "camera" and self._pictures_of(stream):
            entities["picture"] = {
                "platform": "image",
                "name": f"{stream} picture",
                "image_topic": f"{base}/picture",
                "content_type": "image/jpeg",
            }
        for label in described.labels:
            entities[f"label-{plain(label)}"] = {
                "platform": "binary_sensor",
                "name": f"{stream} {label}",
                "state_topic": f"{base}/label/{plain(label)}",
            } | ({"device_class": "sound"} if described.modality == "microphone" else {})
        return {
            f"{stream}-{key}": entity | {"unique_id": f"galago-{self._device}-{stream}-{key}"}
            for key, entity in entities.items()
        }

    def _lost_entity(self) -> dict[str, Any]:
        return {
            "platform": "sensor",
            "name": "lost records",
            "entity_category": "diagnostic",
            "state_class": "total_increasing",
            "state_topic": f"{self._base}/lost",
            "unique_id": f"galago-{self._device}-lost",
        }


def plain(name: str) -> str:
    """Return a name that may stand in a topic: as it is, or with a number that tells it from others like it.

    >>> plain("smoke_alarm"), plain("glass break")
    ('smoke_alarm', 'glass-break-a006bd7a')
    """
    if re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        return name
    kept = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-")
    return f"{kept}-{zlib.crc32(name.encode()):08x}"
