"""Frames over a pipe: what a workstation and a device say to each other."""

from __future__ import annotations

import contextlib
import os
import struct
import threading
import time
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.errors import LinkError
from galago_edge.contract.flash_messages import End, FlashProgress, Offer, Ready, Refused, Start
from galago_edge.contract.wishes import Wishes
from galago_edge.intake import flash_pipe
from galago_edge.intake.flash_pipe import GREETING, Pipe


class Wire:
    """Two pipes and the ends of both."""

    def __init__(self) -> None:
        self.down, self.up = os.pipe(), os.pipe()
        self.workstation = Pipe(self.up[0], self.down[1])
        self.device = Pipe(self.down[0], self.up[1])

    def close(self, *fds: int) -> None:
        for fd in fds or (*self.down, *self.up):
            try:
                os.close(fd)
            except OSError:
                continue  # a test has


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.close()


def test_messages_and_bytes_arrive_in_order(wire: Wire) -> None:
    wire.workstation.send(Start(offset=3))
    wire.workstation.send_data(b"abc")
    wire.workstation.send(End())
    assert [wire.device.from_workstation(1.0) for _ in range(3)] == [Start(offset=3), b"abc", End()]


def test_a_workstation_that_knows_fewer_or_more_overrides_is_understood_and_they_are_off(wire: Wire) -> None:
    offer = Offer(manifest=b"m", signature=b"s", size=1, sha256="0" * 64)
    older = msgspec.to_builtins(offer)
    for name in ("allow_downgrade", "allow_bad", "ignore_compatible"):
        assert older.pop(name) is False
    for body in (older, {**older, "ignore_something_later": True}):
        frame = msgspec.json.encode(body)
        os.write(wire.down[1], struct.pack(">cI", b"J", len(frame)) + frame)
        assert wire.device.from_workstation(1.0) == offer


WISHES = Wishes(stage_only=True, allow_bad=True, trial_s=7)


def test_an_offer_is_written_as_every_device_in_the_field_reads_it() -> None:
    offer = Offer(manifest=b"m", signature=b"s", size=1, sha256="0" * 64, dry_run=True, wait_s=1.5)
    assert msgspec.json.encode(offer.asking(WISHES)) == (
        b'{"kind":"offer","manifest":"bQ==","signature":"cw==","size":1,"sha256":"' + 64 * b"0" + b'",'
        b'"path":null,"dry_run":true,"stage_only":true,"allow_downgrade":false,"allow_bad":true,'
        b'"ignore_compatible":false,"trial_s":7,"wait_s":1.5}'
    )


@pytest.mark.parametrize("name", ["stage_only", "allow_downgrade", "allow_bad", "ignore_compatible"])
def test_what_a_workstation_wishes_is_what_the_device_is_asked(name: str) -> None:
    offer = Offer(manifest=b"m", signature=b"s", size=1, sha256="0" * 64)
    assert offer.wishes == Wishes()
    for wishes in (Wishes(**{name: True}), Wishes(trial_s=7), WISHES):
        assert offer.asking(wishes).wishes == wishes


@pytest.mark.parametrize("wishes", [Wishes(commit=True), Wishes(trial_loads=1)])
def test_what_only_a_command_on_the_device_may_ask_for_is_not_lost_on_the_way_but_refused(
    wishes: Wishes,
) -> None:
    with pytest.raises(ValueError, match="on the device itself"):
        Offer(manifest=b"m", signature=b"s", size=1, sha256="0" * 64).asking(wishes)


@given(st.binary(max_size=500).filter(lambda noise: GREETING not in noise + GREETING[:-1]))
def test_whatever_a_login_shell_prints_is_skipped(noise: bytes) -> None:
    wire = Wire()
    try:
        os.write(wire.up[1], noise)
        wire.device.greet()
        wire.device.send(Ready(offset=0, sha256="0" * 64))
        wire.workstation.await_greeting(1.0)
        assert wire.workstation.noise == noise
        assert wire.workstation.from_device(1.0) == Ready(offset=0, sha256="0" * 64)
    finally:
        wire.close()


def test_something_else_that_talks_for_ever_is_noticed(wire: Wire) -> None:
    os.set_blocking(wire.up[1], False)
    os.write(wire.up[1], b"x" * 60_000)
    with pytest.raises(LinkError, match="nothing came"):
        wire.workstation.await_greeting(0.05)
    os.write(wire.up[1], b"x" * 60_000)
    with pytest.raises(LinkError, match="something else than galago"):
        wire.workstation.await_greeting(1.0)


NONSENSE = {
    "another letter": struct.pack(">cI", b"X", 2) + b"{}",
    "too long": struct.pack(">cI", b"J", 1 << 30),
    "no JSON": struct.pack(">cI", b"J", 2) + b"{]",
    "another kind": struct.pack(">cI", b"J", 16) + b'{"kind":"later"}',
    "deep JSON": struct.pack(">cI", b"J", 100_000) + b"[" * 100_000,
    "no UTF-8": struct.pack(">cI", b"J", 16) + b'{"kind":"\xff\xff\xff\xff\xff"}',
    "a negative offset": struct.pack(">cI", b"J", 28) + b'{"kind":"start","offset":-1}',
}


@pytest.mark.parametrize("said", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_one_clear_error(wire: Wire, said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    try:
        import threading

        sender = threading.Thread(target=os.write, args=(write, said))
        sender.start()
        with pytest.raises(LinkError) as refused:
            Pipe(read, write).from_workstation(1.0)
        sender.join()
    finally:
        wire.close(read, write)
    assert refused.value.reason == "TRANSPORT" and refused.value.hint


def test_the_end_of_the_line_is_an_error_with_what_to_do(wire: Wire) -> None:
    wire.close(wire.down[1])
    with pytest.raises(LinkError, match="the connection ended") as refused:
        wire.device.from_workstation(1.0)
    assert "goes on where it stopped" in refused.value.hint
    wire.close(wire.up[0])
    with pytest.raises(LinkError, match="the connection ended"):
        wire.device.send(Ready(offset=0, sha256="0" * 64))


def test_silence_ends_after_a_time(wire: Wire) -> None:
    with pytest.raises(LinkError, match=r"nothing came for 0\.05 s"):
        wire.device.from_workstation(0.05)


def test_a_link_that_takes_nothing_is_given_up(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flash_pipe, "WRITE_S", 0.1)
    monkeypatch.setattr(flash_pipe, "SLOWEST_BYTES_S", 1_000_000)
    os.set_blocking(wire.down[1], False)
    with pytest.raises(LinkError, match="could be sent for"):
        for _ in range(100):
            wire.workstation.send_data(bytes(flash_pipe.CHUNK_BYTES))


def test_a_newer_side_may_say_more(wire: Wire) -> None:
    body = b'{"kind":"refused","reason":"X","message":"m","hint":"h","exit":1,"since":"2.0"}'
    os.write(wire.up[1], struct.pack(">cI", b"J", len(body)) + body)
    assert wire.workstation.from_device(1.0) == Refused(reason="X", message="m", hint="h", exit=1)


def drip(fd: int, data: bytes, pause_s: float) -> threading.Thread:
    """Write byte by byte until the other end is closed."""

    def write() -> None:
        with contextlib.suppress(OSError):
            for at in range(len(data)):
                os.write(fd, data[at : at + 1])
                time.sleep(pause_s)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("part", ["header", "body"])
def test_a_byte_now_and_then_keeps_nobody_waiting(wire: Wire, part: str) -> None:
    packet = struct.pack(">cI", b"J", 200) + b" " * 200
    if part == "body":
        os.write(wire.up[1], packet[:5])
    thread = drip(wire.up[1], packet if part == "header" else packet[5:], 0.02)
    with pytest.raises(LinkError, match=r"only a part of a message came for 0\.06 s"):
        wire.workstation.from_device(0.06)
    wire.close(wire.up[0])
    thread.join()


def test_a_reader_of_one_byte_now_and_then_is_given_up(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flash_pipe, "WRITE_S", 0.1)
    monkeypatch.setattr(flash_pipe, "SLOWEST_BYTES_S", 1_000_000)
    os.set_blocking(wire.down[1], False)

    def sip() -> None:
        with contextlib.suppress(OSError):
            while os.read(wire.down[0], 4_096):
                time.sleep(0.02)

    threading.Thread(target=sip, daemon=True).start()
    with pytest.raises(LinkError, match="only a part of a message could be sent"):
        for _ in range(100):
            wire.workstation.send_data(bytes(1_000_000))


def test_a_long_message_over_a_slow_link_has_its_time(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flash_pipe, "SLOWEST_BYTES_S", 10)
    body = b'{"kind":"progress","received":7}'
    thread = drip(wire.up[1], struct.pack(">cI", b"J", len(body)) + body, 0.005)
    assert wire.workstation.from_device(0.1) == FlashProgress(received=7)
    thread.join()
