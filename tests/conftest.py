"""Fixtures that several parts' tests share. What one part alone needs stays in its own test file."""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings

from real_parts import (
    Broker,
    MissingPartError,
    MjpegServer,
    RtspServer,
    SoundServer,
    WallClock,
    WebCamera,
    WebhookServer,
    build_delegate,
    missing_part,
    open_browser,
)

# a busy machine is not a failed promise
settings.register_profile("galago", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("galago")

DATA = Path(__file__).parent / "data"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage while thousands of tests are read, and never again among what was read."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


TFLITE_RUNTIME_PYTHON = Path(__file__).parents[1] / ".venv-tflite-runtime" / "bin" / "python"


@pytest.fixture(scope="session")
def tiny_image_model() -> bytes:
    """int8 model, uint8 (1, 16, 16, 3) -> 3 logits: dark, mid, bright (borders at levels 85 and 170).

    Made by tests/data/make_tiny_models.py, as are the other models.
    """
    return (DATA / "tiny_image.tflite").read_bytes()


@pytest.fixture(scope="session")
def tiny_audio_model() -> bytes:
    """int8 model, int8 (1, 20, 10), scale 1/64 -> 3 logits: quiet, low bands loud, high bands loud.

    With the log-mel frontend at 10 bands: silence is quiet, a tone of 400 or 1000 Hz low, of 3100 Hz high.
    """
    return (DATA / "tiny_audio.tflite").read_bytes()


@pytest.fixture(scope="session")
def block_model() -> bytes:
    """int8 model, uint8 (1, 32, 32, 3) -> 11 logits without a meaning, for comparing runtimes."""
    return (DATA / "block_net.tflite").read_bytes()


@pytest.fixture(scope="session")
def bad_models() -> dict[str, bytes]:
    """tiny_image with something bad in it: ``crash``, ``loop``, ``memory``, ``deaf``.

    Made by tests/data/make_bad_models.py, which says what they do and which numbers are still to be set.
    """
    return {kind: (DATA / f"bad_{kind}.tflite").read_bytes() for kind in ("crash", "loop", "memory", "deaf")}


@pytest.fixture(scope="session")
def tflite_runtime_python() -> Path:
    """Python of an environment that has galago-edge on tflite-runtime instead of ai-edge-litert."""
    if not TFLITE_RUNTIME_PYTHON.exists():
        missing_part("no .venv-tflite-runtime: run python tests/setup/tflite_runtime_env.py")
    return TFLITE_RUNTIME_PYTHON


@pytest.fixture(scope="session")
def delegate_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """External TFLite delegate that fails as its options say: tests/data/test_delegate.c, compiled."""
    try:
        return build_delegate(tmp_path_factory.mktemp("delegate"))
    except MissingPartError as missing:
        missing_part(str(missing))


@pytest.fixture
def few_attacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds alter one byte in twenty in front of a bundle's files: all take most of a build's time.

    ``test_packing_self_attack.py`` and one test of the command alter them all.
    """
    monkeypatch.setattr("galago_workstation.packing.self_attack.MOST_FRONT_BYTES", 256)


# Real parts: tests/real/README.md says what can be done to them.

Part = TypeVar("Part")
RealPart = Callable[..., Any]


@pytest.fixture
def real_part() -> Iterator[RealPart]:
    """Returns what makes a part, ``real_part(RtspServer, tmp_path, fps=5)``, and stops it after the test."""
    with ExitStack() as parts:

        def make(kind: Callable[..., Part], *args: Any, **options: Any) -> Part:
            try:
                part = kind(*args, **options)
            except MissingPartError as missing:
                missing_part(str(missing))
            for end in ("stop", "quit"):
                if hasattr(part, end):
                    parts.callback(getattr(part, end))
            return part

        yield make


@pytest.fixture
def rtsp_camera(real_part: RealPart, tmp_path: Path) -> RtspServer:
    """A running RTSP camera, H.264, 320 x 240, 10 frames a second."""
    return real_part(RtspServer, tmp_path).start()


@pytest.fixture
def mjpeg_camera(real_part: RealPart) -> MjpegServer:
    """A running MJPEG camera, 320 x 240, 10 frames a second."""
    return real_part(MjpegServer).start()


@pytest.fixture
def web_camera() -> Iterator[WebCamera]:
    """The web server of a camera, which answers as the test says."""
    with WebCamera() as camera:
        yield camera


@pytest.fixture
def microphone(real_part: RealPart, tmp_path: Path) -> SoundServer:
    """A running sound server with a microphone of 48 kHz that hears a quiet room."""
    return real_part(SoundServer, tmp_path).start()


@pytest.fixture
def broker(real_part: RealPart, tmp_path: Path) -> Broker:
    """A running MQTT broker that accepts everybody."""
    return real_part(Broker, tmp_path).start()


@pytest.fixture
def webhook(real_part: RealPart) -> WebhookServer:
    """A running web server that accepts everything."""
    return real_part(WebhookServer).start()


@pytest.fixture
def wall_clock(real_part: RealPart, tmp_path: Path) -> WallClock:
    """A wall clock that shows the true time, for processes that get its environment."""
    return real_part(WallClock, tmp_path)


@pytest.fixture
def browser(real_part: RealPart, tmp_path: Path) -> Any:
    """Chromium as a Selenium driver, 1280 x 800."""
    return real_part(open_browser, tmp_path / "chromium")
