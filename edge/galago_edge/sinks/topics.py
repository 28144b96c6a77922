"""What goes to which MQTT topic, and how Home Assistant is told of it."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import Any, get_args

import msgspec

from galago_edge.contract.modality import Modality
from galago_edge.contract.status import Liveness

ONLINE, OFFLINE = b"online", b"offline"
_LIVENESS: tuple[str, ...] = get_args(Liveness)


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
    label: str = ""
    subject: str = ""
    state: str = ""
    backend: str = ""
    detail: dict[str, Any] = {}


class Topics:
    """The topics of one device."""

    def __init__(self, topic: str, device: str, version: str, discovery: str) -> None:
        """Name them ``topic/device/...``; ``discovery`` is Home Assistant's prefix, empty for none."""
        self._device = plain(device)
        self._name = device
        self._base = f"{topic.strip('/')}/{self._device}"
        self._version = version
        self._discovery = discovery.strip("/")
        self._announced: dict[str, str] = {}
        self.availability = f"{self._base}/availability"

    def of_record(self, line: bytes, streams: dict[str, Described]) -> list[Message]:
        """Return the record's message and, with discovery, those of the entities that it changes."""
        head = msgspec.json.decode(line, type=_Head)
        base = f"{self._base}/{head.stream}" if head.stream else self._base
        messages = [Message(f"{base}/{head.kind}", line)]
        if self._discovery and head.stream:
            messages += self._of_entities(head, base, streams.get(head.stream))
        return messages

    def of_lost(self, lost: int) -> Message:
        """Return the figure of records that were lost on the way to this broker since the start."""
        return Message(f"{self._base}/lost", b"%d" % lost, retain=True)

    def of_discovery(self, streams: dict[str, Described]) -> list[Message]:
        """Return the one message that makes this device and its entities appear in Home Assistant."""
        if not self._discovery or not streams:
            return []
        entities = {"lost": self._lost_entity()}
        for name, described in streams.items():
            entities |= self._entities(name, described)
        # an entity with nothing but its platform is removed: a label that the new bundle does not have
        gone = {
            key: {"platform": platform} for key, platform in self._announced.items() if key not in entities
        }
        self._announced = {key: entity["platform"] for key, entity in entities.items()}
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
            "components": entities | gone,
        }
        object_id = f"galago-{self._device}".replace(".", "_")
        return [Message(f"{self._discovery}/device/{object_id}/config", msgspec.json.encode(config), True)]

    def _of_entities(self, head: _Head, base: str, described: Described | None) -> list[Message]:
        changes: list[Message] = []
        backend = head.backend
        if head.kind == "event":
            changes.append(Message(f"{base}/label/{plain(head.label)}", b"ON", True))
        elif head.subject.startswith("label:") and head.state == "off":
            changes.append(Message(f"{base}/label/{plain(head.subject[6:])}", b"OFF", True))
        elif head.subject == "source" and head.state in _LIVENESS:
            changes.append(Message(f"{base}/source", head.state.encode(), True))
        elif head.subject == "backend":
            backend = str(head.detail.get("backend", ""))
        elif head.subject == "stream" and described is not None:
            backend = str(head.detail.get("backend", ""))
            changes += [Message(f"{base}/label/{plain(label)}", b"OFF", True) for label in described.labels]
        if backend:
            changes.append(Message(f"{base}/backend", backend.encode(), True))
        return changes

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
                "options": list(_LIVENESS),
                "state_topic": f"{base}/source",
            },
            "backend": {
                "platform": "sensor",
                "name": f"{stream} backend",
                "entity_category": "diagnostic",
                "state_topic": f"{base}/backend",
            },
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
