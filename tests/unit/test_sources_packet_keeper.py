"""The packets of a stream wait for the next frame in bounded memory; unwanted, they cost nothing."""

from __future__ import annotations

import mmap
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest

from galago_edge.children.channel import channel_ends
from galago_edge.sources.capture import network
from galago_edge.sources.capture.capture_messages import Order, PacketsReady
from galago_edge.sources.capture.frame_memory import SharedMemory
from galago_edge.sources.capture.frame_server import ParentLink
from galago_edge.sources.capture.network import NetworkCamera
from galago_edge.sources.capture.network_stream import NetworkStream
from galago_edge.sources.capture.packet_keeper import PacketKeeper
from test_kit.videos import H264, make_video

SPS = b"\x00\x00\x00\x01\x67sps"
IDR = b"\x00\x00\x00\x01\x65"
OTHER = b"\x00\x00\x00\x01\x41"


def keeper(most_bytes: int = 1_000, extradata: bytes = SPS) -> PacketKeeper:
    context = SimpleNamespace(codec=SimpleNamespace(canonical_name="h264"), extradata=extradata)
    return PacketKeeper(SimpleNamespace(codec_context=context, time_base=Fraction(1, 90_000)), most_bytes)


def packet(data: bytes, *, key: bool = False, pts: int | None = None) -> Any:
    made = av.Packet(data)
    made.is_keyframe, made.pts = key, pts
    return made


def taken(kept: PacketKeeper, shown: int = 0, captured_ns: int = 100) -> tuple[PacketsReady, list[bytes]]:
    memory = mmap.mmap(-1, max(1, kept.room) + 7)
    kept.write(memory, 7)
    ready = kept.hand_over(shown, captured_ns)
    at, found = 7, []
    for place in ready.places:
        found.append(memory[at : at + place.size])
        at += place.size
    return ready, found


def test_packets_wait_from_the_first_key_frame_on_and_are_handed_over_once() -> None:
    kept = keeper()
    kept.take(packet(OTHER), damaged=False, now_ns=10)
    kept.take(packet(SPS + IDR, key=True, pts=3), damaged=False, now_ns=40)
    kept.take(packet(OTHER + b"x"), damaged=True, now_ns=90)
    ready, found = taken(kept, shown=1)
    assert found == [SPS + IDR, OTHER + b"x"]
    assert [(p.number, p.key, p.before_ns, p.pts, p.damaged) for p in ready.places] == [
        (1, True, 60, 3, False),
        (2, False, 10, None, True),
    ]
    assert ready.begins is not None and ready.begins.time_base == (1, 90_000) and ready.left_out == 1
    again, nothing = taken(kept, shown=2)
    assert nothing == [] and again.begins is None and again.left_out == 0 and kept.room == 0


@pytest.mark.parametrize(
    ("data", "whole"),
    [(IDR, SPS + IDR), (SPS + IDR, SPS + IDR), (b"\x00\x00\x01\x09\xf0" + SPS + IDR,) * 2],
    ids=["without", "with", "behind a delimiter"],
)
def test_a_key_frame_has_its_parameter_sets(data: bytes, whole: bytes) -> None:
    kept = keeper()
    kept.take(packet(data, key=True), damaged=False, now_ns=0)
    assert taken(kept)[1] == [whole]


def test_what_is_older_than_the_newest_key_frame_goes_first() -> None:
    kept = keeper(most_bytes=60, extradata=b"")
    for number in range(6):
        kept.take(packet(SPS + IDR + bytes(8), key=number in (0, 4)), damaged=False, now_ns=number)
    ready, _ = taken(kept)
    assert [place.number for place in ready.places] == [4, 5] and ready.left_out == 4


def test_without_room_for_one_stretch_it_waits_for_the_next_key_frame() -> None:
    kept = keeper(most_bytes=30)
    kept.take(packet(SPS + IDR, key=True), damaged=False, now_ns=0)
    kept.take(packet(OTHER + bytes(40)), damaged=False, now_ns=1)
    kept.take(packet(OTHER), damaged=False, now_ns=2)
    assert kept.room == 0
    kept.take(packet(SPS + IDR, key=True), damaged=False, now_ns=3)
    ready, _ = taken(kept, shown=3)
    assert [place.number for place in ready.places] == [3] and ready.left_out == 3


@pytest.mark.parametrize("wanted", [False, True], ids=["unwanted", "wanted"])
def test_a_packet_is_touched_only_when_somebody_wants_packets(
    wanted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By counts: what is looked at, and what is written behind the pixels."""
    taken_packets = []

    class Counting(PacketKeeper):
        def take(self, packet: Any, *, damaged: bool, now_ns: int) -> None:
            taken_packets.append(packet.size)
            super().take(packet, damaged=damaged, now_ns=now_ns)

    monkeypatch.setattr(network, "PacketKeeper", Counting)
    video = make_video(tmp_path / "a.mp4", *H264, source="testsrc2=size=64x48:rate=25:duration=0.2")
    order = Order(
        kind="network", target=f"file:{video}", shown="x", options={}, fps=None, rate_hz=None,
        open_s=60, stall_s=60, packets=wanted,
    )  # fmt: skip
    ours, theirs = channel_ends()
    with ours, theirs:
        stream = NetworkStream(av, order)
        camera, memory = NetworkCamera(ParentLink(theirs), stream, None, order), SharedMemory()
        camera.grab()
        assert camera.retrieve(memory) == ([48, 64, 3], 0)
        size = len(memory.room(0))
        assert isinstance(camera.packets(0), PacketsReady) is wanted
        stream.close()
        memory.close()
    assert bool(taken_packets) is wanted
    assert (size > 64 * 48 * 3 + mmap.PAGESIZE) is wanted
