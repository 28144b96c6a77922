from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from galago_edge.host.backoff import Backoff
from galago_edge.sinks.bell import Bell
from galago_edge.sinks.delivery import Delivery
from galago_edge.sinks.delivery_thread import DeliveryThread
from galago_edge.sinks.spool import Spool
from galago_edge.sinks.spool_writer import Entry
from real_parts import wait_for


def test_pauses_double_up_to_a_limit_and_start_over() -> None:
    backoff = Backoff(0.5, 8.0, draw=lambda: 0.0)
    assert [backoff.pause_s() for _ in range(7)] == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    backoff.reset()
    assert backoff.pause_s() == 0.5


def test_pauses_differ_between_devices_and_never_exceed_the_limit() -> None:
    pauses = [Backoff(8.0, 8.0).pause_s() for _ in range(200)]
    assert min(pauses) >= 6.4 and max(pauses) <= 8.0
    assert len(set(pauses)) > 100


def test_a_limit_below_the_first_pause_holds() -> None:
    assert Backoff(1.0, 0.1).pause_s() <= 0.1


def test_a_bell_rung_before_the_wait_is_heard_and_used_up() -> None:
    bell = Bell()
    for _ in range(100_000):  # more than a pipe holds
        bell.ring()
    bell.wait(60.0)  # returns at once
    with pytest.raises(BlockingIOError):
        os.read(bell.fileno(), 1)
    bell.close()
    bell.close()
    bell.ring()  # harmless


class Scripted(DeliveryThread):
    """Does in each attempt what the script says."""

    def __init__(self, spool: Spool, script: list[str]) -> None:
        super().__init__("mqtt", spool, Backoff(0.01, 0.01))
        self.script = script
        self.got: list[Delivery] = []

    def _connection(self) -> None:
        step = self.script.pop(0) if self.script else "work"
        if step == "bug":
            raise KeyError("nobody thought of this")
        if step == "disk":
            raise OSError(5, "Input/output error")
        if step == "fault":
            self._spool.read("mqtt", 1)
            self._troubled("the broker\n is away")
            return
        self._working()
        while not self._stopping:
            for delivery in self._spool.read("mqtt", 10):
                self.got.append(delivery)
                self._spool.ack("mqtt", delivery.token)
            self._bell.wait(60.0)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path, "porch", {"mqtt": ("event",)}, max_bytes=1 << 20, sync_s=5.0)
    opened.lock()
    opened.load()
    yield opened
    opened.close()


@pytest.mark.parametrize("trouble", ["fault", "bug", "disk"])
def test_no_fault_ends_the_thread_or_loses_a_record(spool: Spool, trouble: str) -> None:
    sender = Scripted(spool, [trouble] * 3)
    sender.start()
    for number in range(5):
        spool.append([Entry("event", b'{"n":%d}\n' % number, synced=True)])
    wait_for(lambda: sender.status().delivered == 5, "all to be delivered")
    assert [delivery.seq for delivery in sender.got] == [1, 2, 3, 4, 5]
    sender.stop(10.0)
    assert sender.status().state == "ok"


@pytest.mark.parametrize(
    ("trouble", "state", "fault"),
    [
        ("fault", "retrying", "the broker is away"),
        ("disk", "retrying", "could not read the spool: Input/output error"),
        ("bug", "failed", "KeyError: 'nobody thought of this'"),
    ],
)
def test_every_fault_is_told_in_one_line(spool: Spool, trouble: str, state: str, fault: str) -> None:
    sender = Scripted(spool, [trouble] * 1_000)
    sender.start()
    wait_for(lambda: sender.status().fault, "the fault")
    assert (sender.status().state, sender.status().fault) == (state, fault)
    sender.stop(10.0)


def test_stopping_ends_a_long_pause_at_once_and_leaves_no_thread(spool: Spool) -> None:
    sender = Scripted(spool, ["fault"])
    sender._backoff = Backoff(3_600.0, 3_600.0)
    sender.start()
    wait_for(lambda: sender.status().fault, "the fault")
    sender.stop(30.0)
    assert not [thread for thread in threading.enumerate() if thread.name == "sink-mqtt"]
