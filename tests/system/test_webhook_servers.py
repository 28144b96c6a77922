"""Records to web servers of many makers, none of them ours: each gets every record once, without a fault."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from galago_edge.contract.records import EventRecord
from galago_edge.contract.status import SinkStatus
from galago_edge.sinks import Outbox
from galago_edge.sinks.delivery_thread import DeliveryThread
from galago_edge.sinks.sink_tables import settings_of
from real_parts import wait_for
from real_parts.processes import DEADLINE_S
from real_parts.web_servers import WEB_SERVERS, NotingWebServer

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
