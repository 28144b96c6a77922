"""Messages between child and parent: typed, whole, in order, and nothing else gets through."""

from __future__ import annotations

import gc
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from galago_edge.children.channel import MAX_PAYLOAD, Channel, channel_ends

FOREVER_S = 60.0


class Word(msgspec.Struct, frozen=True, tag="word"):
    text: str


class Number(msgspec.Struct, frozen=True, tag="number"):
    value: int


Said = Word | Number


class Ends:
    """Both ends; what the second is given raw can be anything."""

    def __init__(self, fds: int = 0) -> None:
        self.link, self.theirs = channel_ends()
        self.channel: Channel[Said] = Channel(self.link, Said, fds=fds)
        self.other: Channel[Said] = Channel(self.theirs, Said)


@pytest.fixture
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    ends = Ends(getattr(request, "param", 0))
    yield ends
    ends.channel.close()
    ends.other.close()


@pytest.fixture(scope="module", autouse=True)
def nothing_of_other_files() -> None:
    """What tests elsewhere left is not closed in the middle of a test here."""
    gc.collect()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_messages_arrive_as_what_they_were_and_in_order(ends: Ends) -> None:
    told: list[Said] = [Word("one\ntwo\0 \u2026"), Number(-(2**60)), Word("")]
    for message in told:
        ends.other.send(message)
    assert [ends.channel.receive(FOREVER_S).message for _ in told] == told


@pytest.mark.parametrize("payload", [b"", b"\n", b"{}\n{}", bytes(range(256)) * 40, b"p" * MAX_PAYLOAD])
def test_a_payload_arrives_with_its_message(payload: bytes, ends: Ends) -> None:
    ends.other.send(Number(1), payload)
    ends.other.send(Number(2))
    first, second = ends.channel.receive(FOREVER_S), ends.channel.receive(FOREVER_S)
    assert (first.message, first.payload) == (Number(1), payload)
    assert (second.message, second.payload) == (Number(2), b"")


def test_a_message_that_is_nested_without_end_is_refused_and_the_next_is_heard(ends: Ends) -> None:
    ends.theirs.send(b'{"type":"word","text":"a","x":' + b"[" * 5_000 + b"]" * 5_000 + b"}\n")
    ends.other.send(Number(1))
    with pytest.raises(ValueError, match="no message of this channel"):
        ends.channel.receive(FOREVER_S)
    assert ends.channel.receive(FOREVER_S).message == Number(1)


@pytest.mark.parametrize("ends", [1], indirect=True)
def test_an_open_file_arrives_with_its_message_and_is_closed_in_programs_started_later(
    ends: Ends, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_text("content")
    with path.open() as file:
        ends.other.send(Word("file"), fds=(file.fileno(),))
    packet = ends.channel.receive(FOREVER_S)
    (fd,) = packet.fds
    assert not os.get_inheritable(fd)
    with os.fdopen(fd) as file:
        assert file.read() == "content"


def test_open_files_that_nobody_expects_stay_nowhere(ends: Ends) -> None:
    before = open_files()
    ends.other.send(Word("file"), fds=(0,))
    assert ends.channel.receive(FOREVER_S).fds == ()
    assert open_files() == before


def test_a_wait_ends_with_its_deadline(ends: Ends) -> None:
    for timeout_s in (0, 0.02, -1.0):
        with pytest.raises(TimeoutError):
            ends.channel.receive(timeout_s)
    ends.other.send(Number(3))
    assert ends.channel.receive(0).message == Number(3)


def test_without_a_deadline_it_waits(ends: Ends) -> None:
    timer = threading.Timer(0.05, lambda: ends.other.send(Number(4)))
    timer.start()
    assert ends.channel.receive().message == Number(4)
    timer.join()


@pytest.mark.parametrize("timeout_s", [None, FOREVER_S])
def test_what_was_said_last_is_received_before_the_end(ends: Ends, timeout_s: float | None) -> None:
    ends.channel.send(Word("never read"))  # makes the end a reset
    ends.other.send(Word("last"))
    ends.other.close()
    assert ends.channel.receive(timeout_s).message == Word("last")
    for _ in range(2):
        with pytest.raises(EOFError):
            ends.channel.receive(timeout_s)
    with pytest.raises(OSError, match="pipe"):
        ends.channel.send(Word("to nobody"))


@pytest.mark.parametrize(
    "raw",
    [
        b"no line",
        b"\n",
        b"no JSON\n",
        b'{"type":"word"}\n',
        b'{"type":"number","value":"7"}\n',
        b'{"type":"song","text":"la"}\n',
        b'{"type":"word","text":"\xff"}\n',
        b'{"type":"word","text":"' + b"x" * 200_000 + b'"}\n',
    ],
)
@pytest.mark.parametrize("ends", [0, 1], indirect=True)
def test_what_is_no_message_is_refused_and_the_next_one_is_heard(ends: Ends, raw: bytes) -> None:
    before = open_files()
    ends.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    socket.send_fds(ends.theirs, [raw], [0])
    with pytest.raises(ValueError, match="no message of this channel"):
        ends.channel.receive(FOREVER_S)
    assert open_files() == before
    ends.other.send(Number(5))
    assert ends.channel.receive(FOREVER_S).message == Number(5)
