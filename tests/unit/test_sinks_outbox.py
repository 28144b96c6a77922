from __future__ import annotations

import errno
import io
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from galago_edge.contract.errors import BusyError, LinkError, Reason
from galago_edge.contract.records import EventRecord, Record, ScoresRecord, StateRecord, decode_record
from galago_edge.contract.status import SinkStatus
from galago_edge.sinks import JsonlSink, Outbox
from galago_edge.sinks import outbox as outbox_module
from galago_edge.sinks.clocks import Clocks
from galago_edge.sinks.disk import Disk
from galago_edge.sinks.sink_tables import settings_of
from real_parts import WebhookServer, wait_for


def event(number: int) -> EventRecord:
    return EventRecord(
        stream="hall", seq=number, label="smoke", score=0.9, start_index=0, end_index=1, start_ns=0, end_ns=1,
        bundle="b", backend="cpu",
    )  # fmt: skip


SCORES = ScoresRecord(
    stream="hall", window=0, start_index=0, end_index=1, start_ns=0, end_ns=1, logits=[1], scores=[1.0],
    warm_up=False,
)  # fmt: skip
OpenOutbox = Callable[..., Outbox]


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[OpenOutbox]:
    """Returns what makes and starts an outbox of these tables; all are stopped after the test."""
    opened: list[Outbox] = []

    def start(tables: dict[str, Any], **options: Any) -> Outbox:
        settings = settings_of({"stream": [{"name": "hall", "source": "x"}]} | tables)
        box = Outbox(settings, tmp_path, "porch", **options)
        box.start()
        opened.append(box)
        return box

    yield start
    for box in opened:
        box.stop(0.0)


def log_table(tmp_path: Path) -> dict[str, Any]:
    return {"log": {"path": str(tmp_path / "log.jsonl")}}


def webhook_table(webhook: WebhookServer, **options: Any) -> dict[str, Any]:
    return {"webhook": {"url": webhook.url, "backoff_max_s": 0.1, "timeout_s": 60.0} | options}


def status(box: Outbox, name: str) -> SinkStatus:
    return next(each for each in box.status() if each.name == name)


def logged(tmp_path: Path) -> list[Record]:
    try:
        return [decode_record(line) for line in (tmp_path / "log.jsonl").read_bytes().splitlines()]
    except FileNotFoundError:
        return []


def test_without_anybody_to_deliver_to_no_spool_is_made_and_no_thread_runs(
    tmp_path: Path, outbox: OpenOutbox
) -> None:
    before = threading.active_count()
    box = outbox({})
    box.emit([event(0)])
    assert (box.status(), list(tmp_path.iterdir())) == ((), [])
    assert threading.active_count() <= before  # one of an earlier test may end meanwhile


def test_every_record_is_stamped_logged_spooled_and_heard(
    tmp_path: Path, outbox: OpenOutbox, webhook: WebhookServer
) -> None:
    heard: list[Record] = []
    box = outbox(
        log_table(tmp_path) | webhook_table(webhook), clocks=Clocks(wall_ns=lambda: 42, synced=lambda: True)
    )
    box.add_listener(heard.append)
    box.emit([event(0), SCORES])
    webhook.wait_for(1)
    wait_for(lambda: len(logged(tmp_path)) == 2, "two lines")
    assert logged(tmp_path) == heard
    assert all((record.wall_ns, record.clock_synced) == (42, True) for record in heard)
    posted = webhook.accepted()[0].json()
    assert posted.pop("key").startswith("porch-")
    assert posted == json.loads(msgspec.json.encode(heard[0])), "scores are not delivered"


def test_a_log_tells_what_it_lost_as_soon_as_the_disk_takes_it_without_waiting_for_a_record(
    tmp_path: Path, outbox: OpenOutbox
) -> None:
    class FullDisk(Disk):
        full = True

        def open_to_append(self, path: Path) -> int:
            if self.full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().open_to_append(path)

    disk = FullDisk()
    box = outbox(log_table(tmp_path), disk=disk)
    box.emit([event(0), event(1)])
    wait_for(lambda: status(box, "log").lost == 2, "two lost lines")
    assert status(box, "log").state == "retrying" and logged(tmp_path) == []
    disk.full = False
    (told,) = wait_for(lambda: logged(tmp_path), "what was lost")
    assert isinstance(told, StateRecord) and (told.subject, told.detail) == ("log", {"lost": 2})
    wait_for(lambda: status(box, "log").state == "ok", "the fault to be over")


def test_what_a_person_reads_is_written_at_once_and_its_failure_is_the_emitters(
    tmp_path: Path, outbox: OpenOutbox
) -> None:
    out = io.BytesIO()
    box = outbox({}, out=JsonlSink(out, "out"))
    box.emit([event(0)])
    assert decode_record(out.getvalue()).wall_ns is not msgspec.UNSET
    with io.FileIO("/dev/full", "w") as full:
        box = outbox({}, out=JsonlSink(full, "out"))
        with pytest.raises(LinkError) as caught:
            box.emit([event(0)])
    assert caught.value.reason is Reason.NO_SPACE


def test_batches_of_several_threads_stay_together_and_in_order(tmp_path: Path, outbox: OpenOutbox) -> None:
    box = outbox(log_table(tmp_path))

    def emit(stream: int) -> None:
        for number in range(100):
            box.emit([msgspec.structs.replace(event(number), stream=str(stream))] * 5)

    threads = [threading.Thread(target=emit, args=(stream,)) for stream in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    box.stop(30.0)
    records = logged(tmp_path)
    assert len(records) == 2_000
    assert all(len({record.stream for record in records[at : at + 5]}) == 1 for at in range(0, 2_000, 5))
    for stream in range(4):
        ours = [record.seq for record in records if record.stream == str(stream)]
        assert ours == sorted(ours)


class HangingDisk(Disk):
    """A disk whose writes do not return until they are let."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.hung = threading.Event()

    def write(self, fd: int, data: bytes | memoryview) -> int:
        self.hung.set()
        self.go_on.wait(60)
        return super().write(fd, data)


def test_a_disk_that_hangs_holds_up_nobody_who_emits_or_asks_and_shows_as_a_stall(
    tmp_path: Path, outbox: OpenOutbox, webhook: WebhookServer
) -> None:
    disk = HangingDisk()
    now = [0.0]
    box = outbox(
        log_table(tmp_path) | webhook_table(webhook), disk=disk, clocks=Clocks(monotonic=lambda: now[0])
    )
    try:
        for number in range(1_000):
            box.emit([event(number)])
        assert disk.hung.wait(60)
        now[0] = 25.0
        assert box.stalled_s() == 25.0
        assert status(box, "webhook").delivered == 0
    finally:
        disk.go_on.set()
    wait_for(lambda: box.stalled_s() == 0.0, "the stall to end")
    webhook.wait_for(1_000)


def test_what_the_queue_cannot_hold_is_counted_and_told(
    tmp_path: Path, outbox: OpenOutbox, webhook: WebhookServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "QUEUE_RECORDS", 100)
    disk = HangingDisk()
    tables = log_table(tmp_path) | webhook_table(webhook, kinds=["event", "state"])
    box = outbox(tables, disk=disk)
    try:
        box.emit([event(0)])
        assert disk.hung.wait(60)
        for number in range(1, 301):
            box.emit([event(number)])
    finally:
        disk.go_on.set()
    wait_for(lambda: status(box, "webhook").pending == 0 and len(webhook.accepted()) == 102, "the rest")
    records = [request.json() for request in webhook.accepted()]
    assert sorted(each["seq"] for each in records if each["kind"] == "event") == [0, *range(201, 301)]
    assert [each["detail"]["lost"] for each in records if each["kind"] == "state"] == [200]
    assert status(box, "webhook").lost == status(box, "log").lost == 200


def test_a_full_disk_is_a_state_and_never_an_exception(
    tmp_path: Path, outbox: OpenOutbox, webhook: WebhookServer
) -> None:
    class Full(Disk):
        full = True

        def write(self, fd: int, data: bytes | memoryview) -> int:
            if self.full:
                raise OSError(28, "No space left on device")
            return super().write(fd, data)

    disk, now = Full(), [0.0]
    box = outbox(
        log_table(tmp_path) | webhook_table(webhook), disk=disk, clocks=Clocks(monotonic=lambda: now[0])
    )
    for number in range(10):
        box.emit([event(number)])
    webhook.wait_for(10)  # from memory
    wait_for(lambda: status(box, "log").lost == 10, "the lines to be counted")
    for name in ("log", "spool"):
        assert status(box, name).state == "retrying" and "No space left" in status(box, name).fault
    assert status(box, "webhook").state == "ok"
    disk.full = False
    now[0] += 10.0
    box.emit([event(10)])
    webhook.wait_for(11)
    wait_for(lambda: status(box, "log").state == status(box, "spool").state == "ok", "the disk to be well")
    told, last = logged(tmp_path)
    assert isinstance(told, StateRecord) and told.detail == {"lost": 10}
    assert isinstance(last, EventRecord) and last.seq == 10


def test_a_fault_of_our_own_is_shown_and_the_writing_goes_on(
    tmp_path: Path, outbox: OpenOutbox, monkeypatch: pytest.MonkeyPatch, webhook: WebhookServer
) -> None:
    box = outbox(log_table(tmp_path) | webhook_table(webhook))
    original = box._spool.append  # type: ignore[union-attr]
    monkeypatch.setattr(box._spool, "append", lambda entries: 1 / 0)
    box.emit([event(0)])
    wait_for(lambda: "ZeroDivisionError" in status(box, "spool").fault, "the fault")
    monkeypatch.setattr(box._spool, "append", original)
    box.emit([event(1)])
    webhook.wait_for(1)
    wait_for(lambda: logged(tmp_path), "the log")


def test_a_mistake_of_one_writer_is_shown_at_it_counted_and_holds_up_nobody(
    tmp_path: Path, outbox: OpenOutbox, monkeypatch: pytest.MonkeyPatch, webhook: WebhookServer
) -> None:
    box = outbox(log_table(tmp_path) | webhook_table(webhook))
    writer = box._sinks.writers[0]._writer
    original = writer.write
    monkeypatch.setattr(writer, "write", lambda lines: 1 / 0)
    box.emit([event(0), event(1)])
    wait_for(lambda: "ZeroDivisionError" in status(box, "log").fault, "the fault")
    webhook.wait_for(2)
    assert (status(box, "log").lost, status(box, "spool").fault) == (2, "")
    monkeypatch.setattr(writer, "write", original)
    box.emit([event(2)])
    wait_for(lambda: logged(tmp_path), "the log")
    wait_for(lambda: status(box, "log").state == "ok", "the log to be well")


def test_two_services_never_share_a_spool(outbox: OpenOutbox, webhook: WebhookServer) -> None:
    outbox(webhook_table(webhook))
    with pytest.raises(BusyError) as caught:
        outbox(webhook_table(webhook))
    assert caught.value.reason is Reason.LOCKED and caught.value.hint


def test_stopping_drains_what_can_be_delivered_and_keeps_the_rest(
    tmp_path: Path, outbox: OpenOutbox, webhook: WebhookServer
) -> None:
    box = outbox(webhook_table(webhook))
    for number in range(200):
        box.emit([event(number)])
    box.stop(60.0)
    assert len(webhook.accepted()) == 200
    webhook.status = 503
    box = outbox(webhook_table(webhook))
    box.emit([event(200)])
    wait_for(lambda: status(box, "webhook").state == "retrying", "the fault")
    box.stop(60.0)  # does not wait for who does not answer
    box.stop(60.0)
    webhook.status = 200
    outbox(webhook_table(webhook))
    assert webhook.wait_for(201)[-1].json()["seq"] == 200
