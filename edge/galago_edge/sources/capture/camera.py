"""A camera through OpenCV, in the child: the devices of V4L2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import LinkError, Reason
from galago_edge.sources.capture.capture_messages import CameraDescription, Order
from galago_edge.sources.capture.frame_memory import SharedMemory
from galago_edge.sources.capture.frame_server import ParentLink, serve
from galago_edge.sources.capture.jpeg_decoding import JpegDecoding
from galago_edge.sources.opencv import import_cv2

_JPEG_END = b"\xff\xd9"
_MJPG = "MJPG"


def run(link: ParentLink, order: Order) -> None:
    """Open the camera that ``order`` names and serve its frames.

    Raises:
        ParentGoneError: The parent is gone; the camera is closed.
        LinkError: SOURCE_MISSING, SOURCE_LOST.
        InputError: IMAGE_TOO_BIG.
        DeviceError: EXTRA_MISSING.
    """
    camera = OpenCvCamera(import_cv2("a camera"), order)
    try:
        link.opened(camera.description())
        serve(link, camera, order.fps)
    finally:
        camera.close()


class OpenCvCamera:
    """An open ``cv2.VideoCapture``."""

    def __init__(self, cv2: Any, order: Order) -> None:
        """Open ``order.target``: a path such as ``/dev/v4l/by-id/...`` or a number.

        Raises:
            LinkError: SOURCE_MISSING.
        """
        self._cv2 = cv2
        self._shown, target = order.shown, order.target
        self._own_jpeg = False
        self._decoding = JpegDecoding(order.shown, conceal=order.conceal)
        self._capture = self._device(target, order.options)
        self._view: npt.NDArray[np.uint8] | None = None

    def description(self) -> CameraDescription:
        """Return what the camera promises."""
        width, height, fps = (
            self._capture.get(name)
            for name in (
                self._cv2.CAP_PROP_FRAME_WIDTH,
                self._cv2.CAP_PROP_FRAME_HEIGHT,
                self._cv2.CAP_PROP_FPS,
            )
        )
        return CameraDescription(
            name=self._shown,
            width=int(width),
            height=int(height),
            fps=round(fps, 3) if 0 < fps <= 1_000 else None,
            encoding="jpeg" if self._own_jpeg else "raw",
        )

    def grab(self) -> None:
        """Wait for the next frame.

        Raises:
            LinkError: SOURCE_LOST.
        """
        if not self._capture.grab():
            raise LinkError(
                Reason.SOURCE_LOST,
                f"camera {self._shown} gives no more frames",
                hint="check its cable, power and network",
            )

    def retrieve(self, memory: SharedMemory) -> tuple[list[int] | None, int] | None:
        """Write the frame to ``memory``; a camera's own JPEG behind its pixels."""
        if self._own_jpeg:
            return self._retrieve_jpeg(memory)
        given, pixels = self._capture.retrieve() if self._view is None else self._capture.retrieve(self._view)
        if not given or pixels is None:
            return None
        if pixels.ndim == 2:
            pixels = self._cv2.cvtColor(pixels, self._cv2.COLOR_GRAY2BGR)
        if self._view is None or not np.may_share_memory(
            pixels, self._view
        ):  # the first one, or of a new size
            self._view = self._write(pixels, memory)
        return list(self._view.shape), 0

    def close(self) -> None:
        """Let go of the device."""
        self._capture.release()

    def _retrieve_jpeg(self, memory: SharedMemory) -> tuple[list[int] | None, int] | None:
        given, raw = self._capture.retrieve()
        if not given or raw is None:
            return None
        data = raw.tobytes()
        end = data.rfind(_JPEG_END)  # drivers may hand over their whole buffer
        if end >= 0:
            data = data[: end + len(_JPEG_END)]
        pixels = self._decoding.pixels(data)
        if pixels is None:
            return None
        room = memory.room(pixels.nbytes + len(data))
        room[pixels.nbytes : pixels.nbytes + len(data)] = data
        self._write(pixels, memory)
        return list(pixels.shape), len(data)

    @staticmethod
    def _write(pixels: npt.NDArray[np.uint8], memory: SharedMemory) -> npt.NDArray[np.uint8]:
        view = np.frombuffer(memory.room(pixels.nbytes), np.uint8, pixels.nbytes).reshape(pixels.shape)
        np.copyto(view, pixels)
        return view

    def _device(self, target: str, options: dict[str, int]) -> Any:
        cv2 = self._cv2
        path = Path(f"/dev/video{target}" if target.isdigit() else target)
        if not path.exists():
            raise LinkError(
                Reason.SOURCE_MISSING,
                f"there is no camera {path}",
                hint="plug it in; galago doctor and ls /dev/v4l/by-id show those that are",
            )
        capture = self._opened(
            cv2.VideoCapture(str(path), cv2.CAP_V4L2),
            "gives pictures, that no other program uses it, and that this user may (group video)",
        )
        # the format first: it decides which sizes and rates there are
        mjpg = cv2.VideoWriter_fourcc(*_MJPG)
        capture.set(cv2.CAP_PROP_FOURCC, mjpg)
        for name, value in (
            (cv2.CAP_PROP_FRAME_WIDTH, options.get("width")),
            (cv2.CAP_PROP_FRAME_HEIGHT, options.get("height")),
            (cv2.CAP_PROP_FPS, options.get("fps")),
        ):
            if value is not None:
                capture.set(name, value)
        if int(capture.get(cv2.CAP_PROP_FOURCC)) == mjpg:
            self._own_jpeg = bool(capture.set(cv2.CAP_PROP_CONVERT_RGB, 0))
        return capture

    def _opened(self, capture: Any, check: str) -> Any:
        if not capture.isOpened():
            raise LinkError(
                Reason.SOURCE_MISSING,
                f"camera {self._shown} cannot be opened",
                hint=f"check that it {check}",
            )
        return capture
