"""A camera through OpenCV: its own thread captures, the newest frame wins."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from galago_edge.contract.errors import LinkError, Reason
from galago_edge.contract.streams import Frame, Gap, Item
from galago_edge.sources.address import Modality, hide_credentials
from galago_edge.sources.live import NewestBuffer
from galago_edge.sources.opencv import import_cv2

_KEPT = 2  # the frame that is next, and the one that is being captured
_NS_PER_MS = 1_000_000
DEFAULT_GAP_MS = 1_000
_JOIN_S = 2.0
_OPEN_TIMEOUT_MS = 10_000
_READ_TIMEOUT_MS = 10_000


class Camera:
    """A V4L2 device, or a URL that FFmpeg opens.

    When decisions take longer than frames, frames are dropped; that is how a live camera is meant to
    work, so a dropped frame alone is counted and no gap. Where no frame arrived at the stream for
    ``gap_ms``, there is a gap ``drop``.
    """

    modality: Modality = "camera"
    live = True

    def __init__(
        self,
        device: str,
        *,
        width: int | None = None,
        height: int | None = None,
        fps: int | None = None,
        gap_ms: int = DEFAULT_GAP_MS,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Open ``device``: a number, a path such as ``/dev/v4l/by-id/...``, or a URL.

        Raises:
            LinkError: SOURCE_MISSING.
            DeviceError: EXTRA_MISSING.
        """
        cv2 = import_cv2("a camera")
        self._shown = hide_credentials(device)
        self._capture = _open(cv2, device, self._shown)
        wanted = {
            cv2.CAP_PROP_FRAME_WIDTH: width,
            cv2.CAP_PROP_FRAME_HEIGHT: height,
            cv2.CAP_PROP_FPS: fps,
        }
        for name, value in wanted.items():
            if value is not None:
                self._capture.set(name, value)
        self._size = (
            int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        )
        self._gap_ns = gap_ms * _NS_PER_MS
        self._clock_ns = clock_ns
        self._buffer: NewestBuffer[Frame] = NewestBuffer(_KEPT)
        self._stopping = threading.Event()
        self._captured = 0

    def description(self) -> dict[str, Any]:
        """Return the device, without credentials, and the size it promises."""
        return {"kind": "camera", "name": self._shown, "width": self._size[0], "height": self._size[1]}

    def conversion(self) -> None:
        """Return None: frames are taken as they come."""
        return

    def __iter__(self) -> Generator[Item, None, None]:
        """Yield the newest frame each time, and gaps where nobody looked for long."""
        thread = threading.Thread(target=self._run, name=f"camera {self._shown}", daemon=True)
        thread.start()
        last: Frame | None = None
        try:
            for frame in self._buffer:
                if last is not None and self._unwatched(last, frame):
                    yield Gap(last.captured_ns, frame.captured_ns, "drop")
                last = frame
                yield frame
        finally:
            self._stopping.set()
            thread.join(_JOIN_S)  # a driver may never return; the thread is a daemon then

    def summary(self) -> dict[str, Any]:
        """Return how many frames were captured and how many nobody looked at."""
        return {"captured_frames": self._captured, "dropped_frames": self._buffer.dropped}

    def stop(self) -> None:
        """Capture no more; the frames that are waiting are still given."""
        self._stopping.set()
        self._buffer.close()

    def _unwatched(self, last: Frame, frame: Frame) -> bool:
        dropped = frame.index > last.index + 1
        return dropped and frame.captured_ns - last.captured_ns >= self._gap_ns

    def _run(self) -> None:
        start_ns = self._clock_ns()
        try:
            while not self._stopping.is_set():
                more, pixels = self._capture.read()
                captured_ns = self._clock_ns() - start_ns
                if not more:
                    break
                self._buffer.put(Frame(pixels, self._captured, captured_ns))
                self._captured += 1
        finally:  # whatever happens here, the stream must not wait for ever
            self._capture.release()
            self._buffer.close(None if self._stopping.is_set() else self._lost())

    def _lost(self) -> LinkError:
        return LinkError(
            Reason.SOURCE_LOST,
            f"camera {self._shown} gives no more frames (after {self._captured})",
            hint="check its cable and power, then start again",
        )


def _open(cv2: Any, device: str, shown: str) -> Any:
    if "://" in device:
        timeouts = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_TIMEOUT_MS),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_TIMEOUT_MS),
        ]
        capture = cv2.VideoCapture(device, cv2.CAP_FFMPEG, timeouts)
    else:
        path = Path(f"/dev/video{device}" if device.isdigit() else device)
        if not path.exists():
            raise LinkError(
                Reason.SOURCE_MISSING,
                f"there is no camera {path}",
                hint="ls /dev/v4l/by-id shows those that are",
            )
        capture = cv2.VideoCapture(str(path), cv2.CAP_V4L2)
    if not capture.isOpened():
        raise LinkError(
            Reason.SOURCE_MISSING,
            f"camera {shown} cannot be opened",
            hint="check that it is on, that no other program uses it, and that this user may",
        )
    return capture
