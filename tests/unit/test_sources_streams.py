"""Streams from the network, without one: addresses, what FFmpeg says in words, holes in sound, the pace."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.sources.address import anchored_source, parse_source
from galago_edge.sources.capture.capture_messages import Overrun, Sound
from galago_edge.sources.capture.network_sound import SoundTrack, samples_of
from galago_edge.sources.capture.network_stream import Pace
from galago_edge.sources.media.library import import_av
from galago_edge.sources.media.stream_faults import open_fault, read_fault
from galago_edge.sources.media.stream_url import stream_url

S = 1_000_000_000


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("rtsp://10.0.0.7/live", "rtsp://10.0.0.7/live"),
        ("RTSP://admin:p%40ss%23@CAM:554/Live", "rtsp://admin:p%40ss%23@CAM:554/Live"),
        ("rtsp://[fe80::1]:8554/a", "rtsp://[fe80::1]:8554/a"),
        ("rtsp://cam/live stream?name=für dich", "rtsp://cam/live%20stream?name=f%C3%BCr%20dich"),
        ("rtsp://kamera-tür.lan/live", "rtsp://xn--kamera-tr-x9a.lan/live"),
        ("http://cam/a%20b/../c.m3u8?x=1&y=[2]", "http://cam/a%20b/../c.m3u8?x=1&y=[2]"),
        ("udp://@239.0.0.1:1234", "udp://@239.0.0.1:1234"),
    ],
)
def test_a_url_is_handed_to_ffmpeg_as_it_takes_it(text: str, url: str) -> None:
    assert stream_url(text) == url


@pytest.mark.parametrize(
    "text", ["rtsp:///live", "rtsp://cam:port/x", "rtsp://[cam/x", "rtsp://cam/a\nb", "://x"]
)
def test_a_url_that_is_none_is_refused_without_its_text(text: str) -> None:
    with pytest.raises(ValueError, match="it ") as caught:
        stream_url(text.replace("cam", "secret@cam"))
    assert "secret" not in str(caught.value) and caught.value.__cause__ is None


@given(st.text(max_size=80))
def test_what_a_url_becomes_is_ascii_without_blanks(text: str) -> None:
    try:
        url = stream_url(f"rtsp://cam/{text}")
    except ValueError:
        return
    assert url.isascii() and url.startswith("rtsp://cam/") and not any(letter.isspace() for letter in url)


SECRET = "rtsp://admin:hunter2@127.0.0.1:1/live?token=hunter2"


@pytest.mark.parametrize(
    ("kind", "code", "url", "reason", "words"),
    [
        ("HTTPUnauthorizedError", 0, SECRET, Reason.SOURCE_MISSING, "refuses this user and password (401)"),
        (
            "HTTPUnauthorizedError",
            0,
            "rtsp://cam/x",
            Reason.SOURCE_MISSING,
            "wants a user and a password (401)",
        ),
        ("HTTPForbiddenError", 0, SECRET, Reason.SOURCE_MISSING, "(403)"),
        ("HTTPNotFoundError", 0, SECRET, Reason.SOURCE_MISSING, "no stream at this path (404)"),
        ("HTTPServerError", 0, SECRET, Reason.SOURCE_MISSING, "a fault of its own (5xx)"),
        ("ConnectionRefusedError", errno.ECONNREFUSED, SECRET, Reason.SOURCE_MISSING, "nothing listens"),
        ("OSError", errno.EHOSTUNREACH, SECRET, Reason.SOURCE_MISSING, "no route"),
        ("TimeoutError", errno.ETIMEDOUT, SECRET, Reason.SOURCE_MISSING, "does not answer"),
        ("ProtocolNotFoundError", 1, "foo://cam/x", Reason.SOURCE_MISMATCH, "no way to open foo://"),
        ("OSError", errno.EIO, "rtsp://cam.invalid/x", Reason.SOURCE_MISSING, "name cam.invalid cannot be"),
        ("InvalidDataError", 1, SECRET, Reason.SOURCE_MISSING, "Connection refused"),
    ],
)
def test_what_kept_a_stream_from_opening_is_said_in_words(
    kind: str, code: int, url: str, reason: Reason, words: str
) -> None:
    raised = type(kind, (Exception,), {})(url)
    raised.errno, raised.strerror = code, "as FFmpeg says"
    fault = open_fault(raised, url, "camera C", waited_out=False, open_s=10)
    assert (
        fault.reason is reason and fault.hint and str(fault).startswith("camera C ") and words in str(fault)
    )
    late = open_fault(raised, url, "camera C", waited_out=True, open_s=10)
    assert str(late) == "camera C gave no stream within 10 s"
    ended = read_fault(raised, "camera C", 5)
    assert ended.reason is Reason.SOURCE_LOST
    for one in (fault, late, ended):
        assert "hunter2" not in f"{one}{one.hint}"


@pytest.mark.parametrize(
    ("text", "target", "options", "live"),
    [
        ("camera:file:/srv/yard.mp4", "file:/srv/yard.mp4", {}, False),
        ("camera:file:///srv/yard.mp4?loop=yes", "file:///srv/yard.mp4", {"loop": True}, False),
        ("microphone:file:hall.wav?loop=no", "file:hall.wav", {"loop": False}, False),
        ("microphone:rtsp://cam/live?loop=yes", "rtsp://cam/live?loop=yes", {}, True),
        ("microphone:http://cam/live.flv", "http://cam/live.flv", {}, True),
    ],
)
def test_streams_and_test_files_are_read(text: str, target: str, options: dict[str, Any], live: bool) -> None:
    address = parse_source(text)
    assert (address.target, address.options, address.live) == (target, options, live)
    assert address.reopens


@pytest.mark.parametrize(
    "text",
    [
        "camera:file:",
        "camera:file:?loop=yes",
        "camera:0?loop=yes",
        "microphone:default?loop=yes",
        "camera:file:x.mp4?width=7",
        "camera:file:x.mp4?loop=maybe",
        "microphone:file:x.wav?rate=16000",
    ],
)
def test_an_option_of_another_kind_of_target_is_refused(text: str) -> None:
    with pytest.raises(CallerError) as caught:
        parse_source(text)
    assert caught.value.reason is Reason.CONFIG_BAD and caught.value.hint


def test_the_path_of_a_test_file_starts_at_the_configurations_folder() -> None:
    folder = Path("/etc/galago")
    assert (
        anchored_source("camera:file:yard.mp4?loop=yes", folder)
        == "camera:file:/etc/galago/yard.mp4?loop=yes"
    )
    assert anchored_source("microphone:file:/srv/a.wav", folder) == "microphone:file:/srv/a.wav"
    assert anchored_source("camera:rtsp://cam/live", folder) == "camera:rtsp://cam/live"


@pytest.mark.parametrize(
    ("text", "extras"),
    [
        ("camera:0", {"camera"}),
        ("camera:http://cam/video.mjpg", {"camera"}),
        ("camera:rtsp://cam/live", {"camera", "media"}),
        ("camera:file:yard.mp4", {"camera", "media"}),
        ("microphone:default", {"microphone"}),
        ("microphone:rtsp://cam/live", {"media"}),
        ("microphone:file:hall.wav", {"media"}),
    ],
)
def test_what_a_source_needs_depends_on_its_address(text: str, extras: set[str]) -> None:
    address = parse_source(text)
    assert address.described.needs is not None
    needed = address.described.needs(address)
    assert {extra.name for extra in needed} == extras and set(needed) <= set(address.described.extras)


class Link:
    """Takes what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, bytes]] = []

    def tell(self, message: Any, payload: bytes = b"") -> None:
        self.sent.append((message, payload))


class Packets:
    """One track of 20 ms packets at 8 kHz, with stamps as they are given."""

    def __init__(self, *, real_time: bool) -> None:
        self.link = Link()
        self.ns = 100 * S
        context = SimpleNamespace(sample_rate=8_000, layout=SimpleNamespace(nb_channels=1), thread_count=0)
        track = SimpleNamespace(codec_context=context)
        av = import_av("a test")
        self.track = SoundTrack(av, self.link, track, "cam", real_time=real_time)  # type: ignore[arg-type]
        self.track.description()

    def give(
        self, stamp: int | None, *, samples: int = 160, rate_hz: int = 8_000, after_ns: int = 20_000_000
    ) -> None:
        import av

        frame = av.AudioFrame.from_ndarray(np.ones((1, samples), np.int16), "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, stamp, Fraction(1, rate_hz)
        self.ns += after_ns
        self.track.take(SimpleNamespace(decode=lambda: [frame]), now_ns=self.ns)

    def places(self) -> list[int]:
        return [message.first_sample for message, _ in self.link.sent if isinstance(message, Sound)]

    def holes(self) -> list[Overrun]:
        return [message for message, _ in self.link.sent if isinstance(message, Overrun)]


@pytest.mark.parametrize("real_time", [True, False])
def test_a_packet_that_is_missing_is_told_and_the_samples_are_numbered_over_it(real_time: bool) -> None:
    packets = Packets(real_time=real_time)
    for stamp in (7_000, 7_160, 7_320):
        packets.give(stamp)
    packets.give(7_320 + 3 * 160, after_ns=60_000_000)
    assert packets.places() == [0, 160, 320, 800]
    assert len(packets.holes()) == 1


@given(st.lists(st.integers(-8, 8), min_size=2, max_size=50))
def test_stamps_that_jitter_and_clocks_that_drift_lose_nothing(jitter: list[int]) -> None:
    packets = Packets(real_time=True)
    stamp = 0
    for number, step in enumerate(jitter):
        stamp = number * 161 + step  # 0.6 % too fast, and a millisecond to and fro
        packets.give(stamp)
    assert packets.places() == [160 * number for number in range(len(jitter))] and not packets.holes()


def test_a_camera_that_sets_its_clock_loses_nothing_and_a_file_has_the_hole_that_its_stamps_say() -> None:
    for real_time, places in ((True, [0, 160]), (False, [0, 80_160])):
        packets = Packets(real_time=real_time)
        packets.give(0)
        packets.give(80_160)  # ten seconds later, by the stamps alone
        assert packets.places() == places


def test_packets_without_stamps_are_counted_and_a_rate_that_shows_late_is_told() -> None:
    packets = Packets(real_time=True)
    packets.give(None)
    packets.give(None)
    packets.give(None, samples=320, rate_hz=16_000)
    assert packets.places() == [0, 160, 320]
    last = packets.link.sent[-1][0]
    assert (last.rate_hz, last.channels) == (16_000, 1)


@pytest.mark.parametrize("real_time", [True, False])
@pytest.mark.parametrize("missing", [0, 3])
def test_packets_that_only_the_first_of_a_group_has_a_stamp_for_follow_on_each_other(
    missing: int, real_time: bool
) -> None:
    """So come those from which FFmpeg finds out what the stream is, before it knows how long each lasts."""
    packets = Packets(real_time=real_time)
    packets.give(7_000)
    for _ in range(12):
        packets.give(None, after_ns=0)
    packets.give(7_000 + (13 + missing) * 160, after_ns=(13 + missing) * 20_000_000)
    assert packets.places() == [*range(0, 13 * 160, 160), (13 + missing) * 160]
    assert len(packets.holes()) == bool(missing)


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("s16", np.array([[1, -2, 3, -4]], np.int16), [[1, -2], [3, -4]]),
        ("s16p", np.array([[1, 3], [-2, -4]], np.int16), [[1, -2], [3, -4]]),
        ("fltp", np.array([[1.0, 0.5 / 32768], [-1.5, 1.5 / 32768]], np.float32), [[32767, -32768], [0, 2]]),
        ("u8", np.array([[128, 255, 0, 129]], np.uint8), [[0, 32512], [-32768, 256]]),
        ("s32", np.array([[32768, 32767, -32768, 0]], np.int32), [[1, 0], [0, 0]]),
    ],
)
def test_samples_of_any_format_become_those_that_a_file_would_give(
    kind: str, values: Any, expected: list[list[int]]
) -> None:
    import av

    frame = av.AudioFrame.from_ndarray(values, kind, "stereo")
    assert samples_of(frame).tolist() == expected


def test_a_file_is_played_at_its_pace_and_what_is_late_is_not_made_up_for() -> None:
    now, slept = [100.0], []

    def sleep(seconds: float) -> None:
        slept.append(round(seconds, 6))
        now[0] += seconds

    def packets() -> Iterator[Any]:
        for stamp in (500, 600, 700, 800, 90_000, 90_100):
            yield SimpleNamespace(dts=None, pts=stamp, time_base=Fraction(1, 1_000))

    pace = Pace(lambda: now[0], sleep)
    for number, packet in enumerate(packets()):
        pace.wait(packet)
        if number == 2:
            now[0] += 0.3  # the machine was busy
    assert slept == [0.1, 0.1, 0.1]
