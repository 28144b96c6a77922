"""What answers over HTTP and is no MJPEG is opened as the stream that it is."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from galago_edge.contract.settings import SourceSettings
from galago_edge.contract.streams import Frame
from galago_edge.sources import open_capture, parse_source
from real_parts import WebCamera, missing_part
from real_parts.web_camera import answers

FOREVER_S = 60.0


@pytest.fixture(params=["flv", "mpegts"])
def stream(request: pytest.FixtureRequest, tmp_path: Path) -> bytes:
    """Two seconds of an even gray of level 128, as a camera with this container sends it."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        missing_part("ffmpeg is not installed")
    path = tmp_path / f"clip.{request.param}"
    picture = ["-f", "lavfi", "-i", "color=0x808080:size=64x48:rate=10:duration=2"]
    command = [str(ffmpeg), "-v", "error", *picture, "-c:v", "libx264", "-f", request.param, str(path)]
    subprocess.run(command, check=True)
    return path.read_bytes()


def test_a_container_is_opened_as_a_network_camera(web_camera: WebCamera, stream: bytes) -> None:
    web_camera.behaviour = answers(200, stream, kind="application/octet-stream")
    settings = SourceSettings(address="x", open_s=FOREVER_S, stall_s=FOREVER_S)
    capture = open_capture(parse_source(f"camera:{web_camera.url('/live')}"), settings)
    try:
        frame = capture.read(FOREVER_S)
    finally:
        capture.close()
    assert isinstance(frame, Frame) and frame.pixels.shape == (48, 64, 3)
    assert abs(float(frame.pixels.mean()) - 128) < 5
