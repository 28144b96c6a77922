"""The packets of H.264 cameras come beside the frames that are decoded from them, for whoever asks."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from galago_edge.contract.settings import SourceSettings
from galago_edge.contract.streams import Coded, Frame
from galago_edge.sources import Capture, open_capture, parse_source
from galago_edge.sources.capture.shared_connections import SharedConnections
from real_parts import RtspServer
from test_kit.coded import decoded
from test_kit.videos import H264, HEVC, REORDERED, make_video

FOREVER_S = 60.0


def opened(text: str, *, packets: bool = True, fps: float | None = None) -> Capture:
    more = {} if fps is None else {"fps": fps}
    settings = SourceSettings(address=text, open_s=FOREVER_S, stall_s=FOREVER_S, **more)
    return open_capture(parse_source(text), settings, packets=packets)


def frames(capture: Capture, count: int) -> list[tuple[Frame, Coded]]:
    """The next frames, each with what came with it."""
    found: list[tuple[Frame, Coded]] = []
    while len(found) < count:
        item = capture.read(FOREVER_S)
        if isinstance(item, Frame):
            assert item.coded is not None
            found.append((item, item.coded))
    return found


def check_again(found: list[tuple[Frame, Coded]]) -> None:
    """Decoding the packets again gives every frame to the last bit."""
    pictures = decoded([coded for _, coded in found])
    for frame, coded in found:
        np.testing.assert_array_equal(pictures[coded.shown], frame.pixels)


def test_every_packet_of_an_rtsp_camera_comes_with_the_frame_it_belongs_to(rtsp_camera: RtspServer) -> None:
    capture = opened(f"camera:{rtsp_camera.url}")
    try:
        found = frames(capture, 25)
    finally:
        capture.close()
    assert [coded.begins for _, coded in found] == [True] + 24 * [False]
    packets = [packet for _, coded in found for packet in coded.packets]
    assert packets[0].key and b"\x00\x00\x01\x67" in packets[0].data, "its parameter sets are in it"
    numbers = [packet.number for packet in packets]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "none is left out"
    for (before, _), (frame, coded) in itertools.pairwise(found):
        arrived = [frame.captured_ns - packet.before_ns for packet in coded.packets]
        assert arrived == sorted(arrived) and arrived[0] >= before.captured_ns
    check_again(found)


@pytest.mark.parametrize("codec", [H264, REORDERED, HEVC], ids=["h264", "reordered", "hevc"])
def test_packets_of_a_container_without_start_codes_are_decoded_again_to_the_same_pictures(
    codec: tuple[str, ...], tmp_path: Path
) -> None:
    video = make_video(tmp_path / "a.mp4", *codec, source="testsrc2=size=96x64:rate=25:duration=2")
    capture = opened(f"camera:file:{video}")
    try:
        found = frames(capture, 20)
    finally:
        capture.close()
    packets = [packet for _, coded in found for packet in coded.packets]
    assert all(packet.data.startswith((b"\x00\x00\x01", b"\x00\x00\x00\x01")) for packet in packets)
    check_again(found)


def test_packets_between_frames_that_do_not_count_come_too(tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", *H264, source="testsrc2=size=96x64:rate=25:duration=2")
    capture = opened(f"camera:file:{video}", fps=5)
    try:
        found = frames(capture, 6)
    finally:
        capture.close()
    assert max(len(coded.packets) for _, coded in found) > 2
    check_again(found)


def test_a_file_that_begins_again_begins_a_new_row_of_packets(tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", *H264, source="testsrc2=size=96x64:rate=25:duration=0.4")
    capture = opened(f"camera:file:{video}?loop=yes")
    try:
        found = frames(capture, 25)
    finally:
        capture.close()
    begins = [at for at, (_, coded) in enumerate(found) if coded.begins]
    assert len(begins) >= 2
    assert all(found[at][1].packets[0].number == 0 and found[at][1].packets[0].key for at in begins)
    for start, end in itertools.pairwise(begins):
        check_again(found[start:end])


def test_nobody_who_does_not_ask_gets_a_packet(rtsp_camera: RtspServer) -> None:
    capture = opened(f"camera:{rtsp_camera.url}", packets=False)
    try:
        got = [capture.read(FOREVER_S) for _ in range(3)]
    finally:
        capture.close()
    assert all(frame.coded is None for frame in got if isinstance(frame, Frame))


def test_packets_come_over_a_connection_that_gives_sound_too(rtsp_sound: RtspServer) -> None:
    connections = SharedConnections()
    picture, sound = f"camera:{rtsp_sound.url}", f"microphone:{rtsp_sound.url}"
    tables = [SourceSettings(address=text, open_s=FOREVER_S, stall_s=FOREVER_S) for text in (picture, sound)]
    connections.expect(parse_source(sound), tables[1])
    connections.expect(parse_source(picture), tables[0], packets=True)
    heard = connections.open(parse_source(sound), tables[1], 16_000)
    seen = connections.open(parse_source(picture), tables[0], None)
    assert heard is not None and seen is not None
    try:
        check_again(frames(seen, 5))
    finally:
        seen.close()
        heard.close()


@pytest.fixture
def rtsp_sound(tmp_path: Path, real_part: object) -> RtspServer:
    """A camera with sound."""
    server = real_part(RtspServer, tmp_path, sound="aac")  # type: ignore[operator]
    started: RtspServer = server.start()
    return started
