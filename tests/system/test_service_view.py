"""A camera in the running service, turned, cut and masked: as in a replay, and nothing else is kept."""

from __future__ import annotations

import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from campaigns.trial_rig import Device
from galago_edge.contract.records import EventRecord, StateRecord
from real_parts import MjpegServer

WIDTH, HEIGHT = 64, 48


@pytest.fixture
def device(tmp_path: Path, real_part: Callable[..., MjpegServer]) -> Device:
    """Its camera shows white below and black above."""
    camera = real_part(MjpegServer, size=(WIDTH, HEIGHT), fps=20).start()
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[HEIGHT // 2 :] = 255
    camera.picture = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    return Device(tmp_path, camera)


def test_each_stream_sees_its_own_part_and_samples_and_preview_show_no_more(
    device: Device, tmp_path: Path
) -> None:
    device.more = f"""[[stream]]
name = "turned"
source = "cam"
bundle = "levels"
rotate = 180
region = [0.0, 0.0, 1.0, 0.5]
mask = [[0.0, 0.0, 0.25, 1.0]]
[samples]
dir = "{tmp_path / "samples"}"
min_interval_s = 0
[page]
port = 0
"""
    with device.running():

        def decided() -> set[tuple[str, str]]:
            events = [record for record in device.records() if isinstance(record, EventRecord)]
            return {(event.stream, event.label) for event in events}

        device.until(lambda: ("turned", "bright") in decided(), "an event")
        assert device.process.stderr is not None
        url = device.process.stderr.readline().decode().split("status page: ")[1].strip()

        def previews() -> dict[str, np.ndarray]:
            found = {}
            for stream in ("door", "turned"):
                with urllib.request.urlopen(f"{url.rstrip('/')}/preview/{stream}.jpg") as answer:
                    found[stream] = cv2.imdecode(np.frombuffer(answer.read(), np.uint8), cv2.IMREAD_COLOR)
            return found

        shown = previews()
        device.process.send_signal(signal.SIGTERM)
        assert device.ends() == 0
    started = {
        record.stream: record.detail["source"]
        for record in device.records()
        if isinstance(record, StateRecord) and record.state == "started"
    }
    assert "view" not in started["door"]
    assert started["turned"]["view"] == {
        "rotate": 180,
        "region": [0.0, 0.0, 1.0, 0.5],
        "mask": [[0.0, 0.0, 0.25, 1.0]],
    }
    assert shown["door"].shape == (HEIGHT, WIDTH, 3) and shown["door"][: HEIGHT // 4].mean() < 10
    assert shown["turned"].shape == (HEIGHT // 2, WIDTH, 3)
    assert shown["turned"][:, WIDTH // 2 :].mean() > 200 and shown["turned"][:, : WIDTH // 8].mean() < 10
    (kept,) = [
        path
        for path in (tmp_path / "samples").rglob("*")
        if path.suffix in (".jpg", ".png") and "turned" in path.name and ".context" not in str(path)
    ][:1]
    pixels = cv2.imread(str(kept))
    assert kept.suffix == ".png" and pixels.shape == (HEIGHT // 2, WIDTH, 3)
    assert (pixels[:, : WIDTH // 4] == 0).all()


def test_a_view_that_is_none_is_refused_at_the_start(device: Device, tmp_path: Path) -> None:
    device.more = '[[stream]]\nname = "half"\nsource = "cam"\nbundle = "levels"\nregion = [0.5, 0.0]\n'
    with device.running():
        assert device.ends() == 2
        assert device.process.stderr is not None
        error = device.process.stderr.read().decode()
    assert "[[stream]] half: region: met 2 numbers" in error and "[CONFIG_BAD]" in error
