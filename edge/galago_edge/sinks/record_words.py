"""What a delivered record says, in words for people and as values for templates."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from galago_edge.contract.decoding import from_json
from galago_edge.sinks.delivery import Delivery

Word = str | int | float | None
"""None stands for what a record of this kind does not have."""

PLACEHOLDERS: Mapping[str, str] = {
    "device": "the device's name",
    "kind": "`event`, `state` or `gap`",
    "stream": "the stream; empty for the whole device",
    "label": "of an event, or of the state of a label",
    "score": "of an event, 0 to 1",
    "percent": "the same, 0 to 100",
    "subject": "of a state: `source`, `backend` ...",
    "state": "of a state: `lost`, `healthy` ...",
    "cause": "of a gap",
    "seconds": "how long an event's span or a gap is",
    "time": "when, in UTC: `2026-11-22T14:03:05Z`; empty when the clock was not known to be right",
    "key": "the record's key",
    "seq": "number of an event in its stream",
    "bundle": "the bundle's id",
    "backend": "what ran the model",
    "title": "`porch: smoke`",
    "text": "a sentence: `smoke on hall, score 0.93`",
    "message": "title's device, text and time: `porch: smoke on hall, score 0.93 (2026-11-22 14:03:05 UTC)`",
    "record": "the whole record: as an object, or within a text as text",
}
"""What a template may name, and what stands there then."""

_NS_PER_S = 10**9


def words_of(device: str, delivery: Delivery) -> dict[str, Word]:
    """Return the value of every placeholder but ``record``, which is ``delivery.line``."""
    record: dict[str, Any] = from_json(delivery.line)
    subject = str(record.get("subject", ""))
    label = record.get("label") or subject.partition("label:")[2]
    score = record.get("score")
    when = _moment(record)
    about = _about(record, str(label))
    text = _sentence(record, about)
    told = f"{when:%Y-%m-%d %H:%M:%S} UTC" if when else "at a time that is not known"
    return {
        "device": device,
        "kind": delivery.kind,
        "stream": record.get("stream", ""),
        "label": label,
        "score": score,
        "percent": None if score is None else round(100 * score),
        "subject": subject,
        "state": record.get("state", ""),
        "cause": record.get("cause") or _detail(record).get("cause", ""),
        "seconds": _seconds(record),
        "time": f"{when:%Y-%m-%dT%H:%M:%SZ}" if when else "",
        "key": delivery.key,
        "seq": record.get("seq"),
        "bundle": record.get("bundle", ""),
        "backend": record.get("backend", ""),
        "title": f"{device}: {about}",
        "text": text,
        "message": f"{device}: {text} ({told})",
    }


def _moment(record: Mapping[str, Any]) -> datetime | None:
    """Return when it was; None where the clock was not known to be right, and has not been corrected."""
    if record.get("clock_synced") is False and "wall_corrected_ns" not in record:
        return None
    wall_ns = record.get("wall_corrected_ns", record.get("wall_ns"))
    try:
        return None if wall_ns is None else datetime.fromtimestamp(wall_ns // _NS_PER_S, UTC)
    except (OverflowError, ValueError, OSError):
        return None  # a clock that is not set may say anything


def _seconds(record: Mapping[str, Any]) -> float | None:
    for begin, end in (("start_ns", "end_ns"), ("from_ns", "to_ns")):
        if begin in record and end in record:
            return round(int(record[end] - record[begin]) / _NS_PER_S, 3)
    return None


def _detail(record: Mapping[str, Any]) -> Mapping[str, Any]:
    detail = record.get("detail")
    return detail if isinstance(detail, dict) else {}


def _about(record: Mapping[str, Any], label: str) -> str:
    if record.get("kind") in ("event", "attachment"):
        return label
    if record.get("kind") == "gap":
        return "gap"
    return f"{label or record.get('subject', '')} {record.get('state', '')}".strip()


def _sentence(record: Mapping[str, Any], about: str) -> str:
    stream = record.get("stream", "")
    if record.get("kind") == "event":
        return f"{about} on {stream}, score {record.get('score', 0.0):.2f}"
    if record.get("kind") == "gap":
        return f"{stream} watched nothing for {_seconds(record) or 0.0:.1f} s ({record.get('cause', '')})"
    if record.get("kind") == "attachment":
        what = "picture" if str(record.get("media_type", "")).startswith("image/") else "sound"
        return f"{what} of {about} on {stream}{' is not kept any more' if record.get('gone') else ''}"
    if "lost" in _detail(record):
        lost, cause = _detail(record)["lost"], _detail(record).get("cause", "")
        return f"{lost} records are lost on the way{f' ({cause})' if cause else ''}"
    return f"{about} on {stream}" if stream else about
