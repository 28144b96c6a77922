"""Network cameras by FFmpeg: their sound, one connection for both, damage, refusals in words, test files."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from galago_edge.contract.errors import LinkError, Reason
from galago_edge.contract.settings import SourceSettings
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, Gap
from galago_edge.sources import Capture, open_capture, parse_source
from galago_edge.sources.capture.shared_connections import SharedConnections
from real_parts import RtspServer, wait_for
from real_parts.processes import Child, free_port, tool

FOREVER_S = 60.0
TONE_HZ = 440
Open = Callable[..., Capture]
LAVFI_PICTURE = ("-f", "lavfi", "-i", "testsrc=size=160x120:rate=10")
LAVFI_SOUND = ("-f", "lavfi", "-i", f"sine=frequency={TONE_HZ}:sample_rate=16000")
CODECS = (
    "-c:v",
    "libx264",
    "-preset",
    "ultrafast",
    "-tune",
    "zerolatency",
    "-g",
    "10",
    "-pix_fmt",
    "yuv420p",
)


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens captures and closes them after the test."""
    captures: list[Capture] = []

    def open_(text: str, connections: SharedConnections | None = None, **settings: Any) -> Capture:
        settings = {"open_s": FOREVER_S, "stall_s": FOREVER_S} | settings
        own = SourceSettings(address=text, **settings)
        capture = connections.open(parse_source(text), own, 16_000) if connections else None
        captures.append(capture or open_capture(parse_source(text), own, rate_hz=16_000))
        return captures[-1]

    yield open_
    for capture in captures:
        capture.close()


@pytest.fixture
def ffmpeg(tmp_path: Path) -> Iterator[Callable[..., Child]]:
    """Starts ffmpeg and ends it after the test."""
    children: list[Child] = []

    def start(*arguments: str | Path) -> Child:
        command = [tool("ffmpeg"), "-v", "error", "-nostdin", "-y", *map(str, arguments)]
        children.append(Child(command, tmp_path / f"ffmpeg-{len(children)}.log"))
        return children[-1]

    yield start
    for child in children:
        child.kill()


def made(path: Path, *arguments: str) -> Path:
    """A file that ffmpeg makes."""
    subprocess.run([tool("ffmpeg"), "-v", "error", "-nostdin", "-y", *arguments, str(path)], check=True)
    return path


def frame_of(capture: Capture) -> Frame:
    frame = capture.read(FOREVER_S)
    while isinstance(frame, Gap):
        frame = capture.read(FOREVER_S)
    assert isinstance(frame, Frame)
    return frame


def heard(capture: Capture, seconds: float = 0.5) -> tuple[float, int]:
    """The loudest frequency of so long, and the rate; 0 where samples are missing."""
    blocks: list[AudioBlock] = []
    while sum(len(block.samples) / block.rate_hz for block in blocks) < seconds:
        block = capture.read(FOREVER_S)
        if isinstance(block, AudioBlock):
            blocks.append(block)
    samples = np.concatenate([block.samples for block in blocks]).astype(np.float64)
    rate_hz = blocks[0].rate_hz
    if blocks[-1].first_sample + len(blocks[-1].samples) - blocks[0].first_sample != len(samples):
        return 0.0, rate_hz
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate_hz / len(samples)), rate_hz


def hears_tone(capture: Capture) -> bool:
    return abs(heard(capture)[0] - TONE_HZ) < 5


def refused(opened: Open, text: str, **settings: Any) -> LinkError:
    with pytest.raises(LinkError) as caught:
        opened(text, **settings)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(("codec", "rate_hz"), [("alaw", 8_000), ("aac", 48_000), ("opus", 48_000)])
def test_the_sound_of_a_network_camera_is_heard_at_its_own_rate(
    codec: str, rate_hz: int, real_part: Any, tmp_path: Path, opened: Open
) -> None:
    camera = real_part(RtspServer, tmp_path, sound=codec).start()
    capture = opened(f"microphone:{camera.url}")
    assert capture.description()["rate_hz"] == rate_hz
    wait_for(lambda: hears_tone(capture), "the tone is not heard")
    assert heard(capture)[1] == rate_hz
    camera.stop()
    with pytest.raises(LinkError) as caught:
        while True:
            capture.read(1.0)
    assert caught.value.reason is Reason.SOURCE_LOST


def test_picture_and_sound_of_one_camera_come_over_one_connection(
    real_part: Any, tmp_path: Path, opened: Open
) -> None:
    camera = real_part(RtspServer, tmp_path, sound="alaw").start()
    connections = SharedConnections()
    pictures, sound = both_of(camera.url, opened, connections)
    wait_for(lambda: hears_tone(sound), "the tone is not heard")
    frame_of(pictures)
    camera.mute()
    wait_for(lambda: sound.read(0.5) is None, "the sound goes on")
    sound.close()
    frame_of(pictures)
    camera.unmute()
    again = opened(f"microphone:{camera.url}", connections)
    assert again.pid != pictures.pid  # type: ignore[attr-defined]
    wait_for(lambda: hears_tone(again), "the tone is not heard again")
    frame_of(pictures)


def test_pictures_that_lean_on_a_lost_one_are_no_frames(rtsp_camera: RtspServer, opened: Open) -> None:
    capture = opened(f"camera:{rtsp_camera.url}")
    frame_of(capture)
    holes: list[Gap] = []

    def hole_is_told() -> bool:
        if not holes:
            rtsp_camera.lose(1)
        item = capture.read(FOREVER_S)
        if isinstance(item, Gap):
            holes.append(item)
        return bool(holes) and isinstance(item, Frame) and item.captured_ns >= holes[0].to_ns

    wait_for(hole_is_told, "the damage is not told")
    assert holes[0].cause == "unreadable" and holes[0].from_ns < holes[0].to_ns


@pytest.mark.parametrize("damaged", ["skip", "conceal"])
def test_damaged_pictures_count_only_where_that_is_wanted(damaged: str, tmp_path: Path, opened: Open) -> None:
    whole, holed = made(tmp_path / "whole.mkv", *LAVFI_PICTURE, "-t", "2", *CODECS), tmp_path / "holed.mkv"
    with av.open(str(whole)) as source, av.open(str(holed), "w") as sink:
        track = source.streams.video[0]
        copy = sink.add_stream_from_template(track)
        for number, packet in enumerate(source.demux(track)):
            if packet.size and number != 4:  # 0 and 10 are key frames
                packet.stream = copy
                sink.mux(packet)
    capture = opened(f"camera:file:{holed}", damaged=damaged)
    frames, gaps = [], []
    with pytest.raises(LinkError):
        while True:
            item = capture.read(FOREVER_S)
            (gaps if isinstance(item, Gap) else frames).append(item)
    assert [gap.cause for gap in gaps] == (["unreadable"] if damaged == "skip" else [])
    assert (len(frames) <= 14) == (damaged == "skip")  # of 19 that are there, 5 lean on the lost one


@pytest.mark.parametrize("digest", [False, True], ids=["basic", "digest"])
def test_a_password_of_any_letters_opens_a_camera_by_any_method(
    digest: bool, real_part: Any, tmp_path: Path, opened: Open
) -> None:
    camera = real_part(RtspServer, tmp_path, login=("ad min", "p@s%s#x/ü:"), digest=digest).start()
    frame_of(opened(f"camera:{camera.url.replace('rtsp', 'RTSP')}"))
    wrong = refused(opened, f"camera:{camera.url.replace('p%40s', 'hunter2')}")
    assert "refuses this user and password (401)" in str(wrong) and "hunter2" not in f"{wrong}{wrong.hint}"
    nobody = refused(opened, f"camera:rtsp://127.0.0.1:{camera.port}/live")
    assert "wants a user and a password (401)" in str(nobody)


def test_what_no_stream_is_is_said_in_words(rtsp_camera: RtspServer, tmp_path: Path, opened: Open) -> None:
    base = f"127.0.0.1:{rtsp_camera.port}"
    assert "no stream at this path (404)" in str(refused(opened, f"camera:rtsp://{base}/other"))
    assert "no stream at this path (404)" in str(refused(opened, f"camera:rtsp://{base}/a b/für"))
    silent = refused(opened, f"microphone:rtsp://{base}/live")
    assert " no sound" in str(silent) and silent.reason is Reason.SOURCE_MISMATCH
    closed = free_port()
    assert "nothing listens" in str(refused(opened, f"camera:rtsp://127.0.0.1:{closed}/live"))
    assert "nothing listens" in str(refused(opened, f"camera:rtsp://[::1]:{closed}/live"))
    assert "cannot be resolved" in str(refused(opened, "camera:rtsp://no-such-camera.invalid/live"))
    unknown = refused(opened, f"camera:gopher2://{base}/live")
    assert "no way to open gopher2://" in str(unknown) and unknown.reason is Reason.SOURCE_MISMATCH
    assert "cannot be opened" in str(refused(opened, f"camera:file:{tmp_path}/none.mp4"))
    (tmp_path / "text.mp4").write_text("this is no video")
    assert "is no video or sound" in str(refused(opened, f"camera:file:{tmp_path}/text.mp4"))


def test_an_rtsp_camera_may_send_by_udp(rtsp_camera: RtspServer, opened: Open) -> None:
    capture = opened(f"camera:{rtsp_camera.url}", transport="udp")
    assert frame_of(capture).pixels.shape == (240, 320, 3)
    rtsp_camera.level(220)
    wait_for(lambda: abs(float(frame_of(capture).pixels[:60].mean()) - 220) < 12, "the new level is not seen")


def test_what_answers_but_is_no_camera_is_a_mismatch(opened: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(FOREVER_S)
                    if connection.recv(4_096):
                        connection.sendall(b"SSH-2.0-hello\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        fault = refused(opened, f"camera:rtsp://127.0.0.1:{server.getsockname()[1]}/live")
        assert fault.reason is Reason.SOURCE_MISMATCH and "does not answer as RTSP" in str(fault)
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server of ``tmp_path``, and of pictures and sound as they are made at ``/live/CONTAINER``."""
    sound = ("-c:a", "aac", "-ar", "44100", "-ac", "2")
    live = (
        tool("ffmpeg"),
        "-v",
        "error",
        "-nostdin",
        "-re",
        *LAVFI_PICTURE,
        "-re",
        *LAVFI_SOUND,
        *CODECS,
        *sound,
    )

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            """Send a stream for as long as somebody takes it, or a file."""
            if not self.path.startswith("/live/"):
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("Content-Type", "video/x-flv" if self.path.endswith("flv") else "video/mp2t")
            self.end_headers()
            with subprocess.Popen([*live, "-f", Path(self.path).name, "-"], stdout=subprocess.PIPE) as child:
                assert child.stdout is not None
                with contextlib.suppress(OSError):
                    while data := child.stdout.read1(4_096):  # type: ignore[attr-defined]
                        self.wfile.write(data)
                child.kill()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Whoever has seen enough goes away."""

    server = Server(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def both_of(url: str, opened: Open, connections: SharedConnections | None = None) -> tuple[Capture, Capture]:
    """Pictures and sound, over one connection."""
    addresses = [f"{kind}:{url}" for kind in ("camera", "microphone")]
    connections = connections or SharedConnections()
    for text in addresses:
        connections.expect(parse_source(text), SourceSettings(address=text, open_s=FOREVER_S))
    pictures, sound = (opened(text, connections) for text in addresses)
    assert pictures.pid == sound.pid  # type: ignore[attr-defined]
    return pictures, sound


@pytest.mark.parametrize("container", ["mpegts", "flv"])
def test_pictures_and_sound_of_a_stream_over_http(container: str, web: str, opened: Open) -> None:
    pictures, sound = both_of(f"{web}/live/{container}", opened)
    assert frame_of(pictures).pixels.shape == (120, 160, 3)
    assert (sound.description()["rate_hz"], sound.description()["channels"]) == (44_100, 2)
    wait_for(lambda: hears_tone(sound), "the tone is not heard")


@pytest.mark.parametrize("container", ["mpegts", "flv"])
def test_no_sound_is_missing_where_pictures_share_its_connection(
    container: str, web: str, opened: Open
) -> None:
    pictures, sound = both_of(f"{web}/live/{container}", opened)
    frame_of(pictures)
    next_sample, rate_hz = 0, 44_100
    while next_sample < 2 * rate_hz:
        block = sound.read(FOREVER_S)
        assert isinstance(block, AudioBlock), f"{block} before sample {next_sample}"
        assert block.first_sample == next_sample
        next_sample += len(block.samples)


def test_hls_is_played_at_its_pace_and_not_in_bursts(
    web: str, tmp_path: Path, ffmpeg: Callable[..., Child], opened: Open
) -> None:
    ffmpeg(
        "-re", *LAVFI_PICTURE, "-re", *LAVFI_SOUND, *CODECS, "-c:a", "aac", "-f", "hls", "-hls_time", "2",
        "-hls_list_size", "4", tmp_path / "live.m3u8",
    )  # fmt: skip
    wait_for(lambda: (tmp_path / "live1.ts").exists(), "there is no stream")
    pictures, sound = both_of(f"{web}/live.m3u8", opened)
    assert sound.description()["rate_hz"] == 16_000
    wait_for(lambda: hears_tone(sound), "the tone is not heard")
    frames = [frame_of(pictures) for _ in range(15)]
    # a burst would be a whole segment at once, of which the last is taken
    assert frames[-1].captured_ns - frames[0].captured_ns > NS_PER_S
    assert frames[-1].index - frames[0].index < 30


@pytest.mark.parametrize("name", ["yard.mp4", "yard.avi"])
def test_a_file_is_a_live_source_that_may_begin_again(name: str, tmp_path: Path, opened: Open) -> None:
    codec = CODECS if name.endswith("mp4") else ("-c:v", "mjpeg", "-q:v", "3")
    made(tmp_path / name, *LAVFI_PICTURE, "-t", "0.7", *codec)
    capture = opened(f"camera:file:{tmp_path / name}?loop=yes")
    frames = [frame_of(capture) for _ in range(16)]
    assert frames[0].pixels.shape == (120, 160, 3)
    passed_s = (frames[-1].captured_ns - frames[0].captured_ns) / 1e9
    assert frames[-1].index * 0.1 - passed_s < 0.5  # at its pace: 10 a second, the loops without a pause
    if name.endswith("avi"):
        first = frames[0]
        assert first.encoded is not None
        np.testing.assert_array_equal(first.pixels, cv2.imdecode(np.frombuffer(first.encoded, np.uint8), 1))
    once = opened(f"camera:file:{tmp_path / name}")
    with pytest.raises(LinkError) as caught:
        while True:
            frame_of(once)
    assert caught.value.reason is Reason.SOURCE_LOST


def test_a_sound_file_is_a_live_microphone(tmp_path: Path, opened: Open) -> None:
    path = made(tmp_path / "hall.wav", *LAVFI_SOUND, "-t", "0.5", "-c:a", "pcm_s24le")
    capture = opened(f"microphone:file://{path}?loop=yes")
    assert capture.description()["rate_hz"] == 16_000
    began = time.monotonic()
    frequency, _ = heard(capture, 2.0)
    assert abs(frequency - TONE_HZ) < 5 and time.monotonic() - began > 1.5


def test_a_sound_file_gives_the_channel_that_is_named(tmp_path: Path, opened: Open) -> None:
    two = ("-f", "lavfi", "-i", f"aevalsrc='0|0.5*sin({TONE_HZ}*2*PI*t)':sample_rate=16000:duration=3")
    path = made(tmp_path / "hall.wav", *two)
    assert opened(f"microphone:file:{path}?channel=1").description()["channel"] == 1
    frequency, _ = heard(opened(f"microphone:file:{path}?channel=2"), 1.0)
    assert abs(frequency - TONE_HZ) < 5
