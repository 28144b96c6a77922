"""Records to web servers of many makers, none of them ours: each gets every record once, without a fault."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galago_edge.contract.attachment import attachment_name
from galago_edge.contract.records import AttachmentRecord, EventRecord, decode_record
from galago_edge.contract.status import SinkStatus
from galago_edge.sinks import Outbox
from galago_edge.sinks.delivery_thread import DeliveryThread
from galago_edge.sinks.sink_tables import settings_of
from real_parts import wait_for
from real_parts.processes import DEADLINE_S
from real_parts.web_servers import READ_FORMS, WEB_SERVERS, NotingWebServer

RECORDS = 30
ENDS_IDLE_CONNECTIONS = ("nginx", "lighttpd")
IDLE_S = 1.5
"""Longer than these two keep a connection."""


def event(number: int) -> EventRecord:
    return EventRecord(
        stream="hall", seq=number, label="smoke", score=0.9, start_index=0, end_index=1, start_ns=0, end_ns=1,
        bundle="b", backend="cpu",
    )  # fmt: skip


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every fault that a sink notes, however short."""
    found: list[str] = []
    noted = DeliveryThread._troubled

    def troubled(sink: DeliveryThread, fault: str, *, hopeless: bool = False) -> None:
        found.append(fault)
        noted(sink, fault, hopeless=hopeless)

    monkeypatch.setattr(DeliveryThread, "_troubled", troubled)
    return found


@pytest.mark.parametrize("kind", WEB_SERVERS)
def test_a_server_of_another_maker_gets_every_record_once_and_in_order(
    kind: str, real_part: Any, tmp_path: Path, faults: list[str]
) -> None:
    server = real_part(NotingWebServer, tmp_path, kind).start()
    table: dict[str, Any] = {"url": server.url, "timeout_s": DEADLINE_S}
    stream = [{"name": "hall", "source": "x"}]
    box = Outbox(settings_of({"stream": stream, "webhook": table}), tmp_path / "store", "porch")

    def status() -> SinkStatus:
        return next(each for each in box.status() if each.name == "webhook")

    box.start()
    try:
        box.emit([event(number) for number in range(RECORDS)])
        wait_for(lambda: status().delivered == RECORDS, f"the records at {kind}")
        if kind in ENDS_IDLE_CONNECTIONS:
            threading.Event().wait(IDLE_S)
        box.emit([event(RECORDS)])
        wait_for(lambda: status().delivered == RECORDS + 1, f"one more at {kind}")
    finally:
        box.stop(0.0)
    assert faults == []
    server.stop()  # its notes are written
    keys = server.keys()
    assert [int(key.rpartition(":")[2]) for key in keys] == list(range(1, RECORDS + 2))
    assert (status().state, status().pending, status().lost) == ("ok", 0, 0)


@pytest.mark.parametrize("kind", READ_FORMS)
def test_a_server_of_another_maker_gets_the_bytes_of_a_picture_as_they_are(
    kind: str, real_part: Any, tmp_path: Path, faults: list[str]
) -> None:
    server = real_part(NotingWebServer, tmp_path, kind).start()
    pictures = {
        "lines": b"\xff\xd8\r\n--\r\n--galago\r\n\r\n\x00\x1a",
        "empty": b"",
        "large": np.random.default_rng(1)
        .integers(0, 256, 900_000, np.uint8)
        .tobytes(),  # many take 1 MiB at most
    }
    root = tmp_path / "store"
    (root / "attachments").mkdir(parents=True)
    records: dict[str, AttachmentRecord] = {}
    for number, content in enumerate(pictures.values()):
        name = attachment_name(1_795_348_980_123_000_000, "hall", number, "image/jpeg")
        (root / "attachments" / name).write_bytes(content)
        records[name] = AttachmentRecord(
            stream="hall", seq=number, label="smoke", start_index=0, end_index=1, start_ns=0, end_ns=1,
            media_type="image/jpeg", file=name, bytes=len(content), from_ns=0, to_ns=0,
            sha256=hashlib.sha256(content).hexdigest(),
        )  # fmt: skip
    table: dict[str, Any] = {"url": server.url, "timeout_s": DEADLINE_S, "attachments": True}
    tables = {"stream": [{"name": "hall", "source": "x"}], "webhook": table, "attachments": {}}
    box = Outbox(settings_of(tables), root, "porch")
    box.start()
    try:
        box.emit([*records.values()])
        box.emit([event(0)])
        wait_for(lambda: box.status()[-1].delivered == len(pictures) + 1, f"everything at {kind}")
    finally:
        box.stop(0.0)
    assert faults == []
    server.stop()
    forms, keys = server.forms(), server.keys()
    assert set(forms) == set(records)
    for (name, record), content in zip(records.items(), pictures.values(), strict=True):
        media_type, told, came = forms[name]
        assert (media_type, came == content) == ("image/jpeg", True)
        said = decode_record(told.encode())
        assert isinstance(said, AttachmentRecord)
        assert (said.seq, said.sha256) == (record.seq, record.sha256) and said.key in keys
