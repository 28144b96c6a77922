"""A camera's JPEG pictures, decoded: damaged ones are passed over, unless there are no others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import InputError, LinkError, Reason
from galago_edge.sources.capture.capture_messages import MOST_DAMAGED
from galago_edge.sources.picture_header import LARGEST_CAMERA_PIXELS
from galago_edge.sources.still_image import decode_picture


class JpegDecoding:
    """Decodes one connection's pictures, in their order."""

    def __init__(self, shown: str, *, conceal: bool) -> None:
        """Prepare for the camera ``shown``; with ``conceal``, what a decoder patched up is a picture, too."""
        self._name, self._conceal = f"camera {shown}", conceal
        self._undecodable = self._damaged = 0
        """Of both kinds, how many in a row."""

    def check(self) -> None:
        """Look whether any picture is whole: whoever was told of each damaged one is told of that, too.

        Raises:
            LinkError: SOURCE_MISMATCH; no picture of this camera is whole.
        """
        if self._undecodable + self._damaged >= MOST_DAMAGED:
            raise self._none_whole()

    def pixels(self, data: bytes) -> npt.NDArray[np.uint8] | None:
        """Return uint8, BGR, ``(height, width, 3)``; None for a picture that was damaged on the way.

        Raises:
            InputError: IMAGE_TOO_BIG; it claims more than any camera gives.
            LinkError: As ``check``, before ``data`` is looked at.
            DeviceError: EXTRA_MISSING.
        """
        self.check()
        try:
            pixels, whole = decode_picture(data, self._name, largest_pixels=LARGEST_CAMERA_PIXELS)
        except InputError as error:
            if error.reason is Reason.IMAGE_TOO_BIG:
                raise
            self._undecodable += 1
        else:
            if whole or self._conceal:
                self._undecodable = self._damaged = 0
                return pixels
            self._damaged += 1
        return None

    def _none_whole(self) -> LinkError:
        if self._damaged > self._undecodable:
            what = "are all damaged"
            hint = 'look at its cable or network; damaged = "conceal" takes them as they are decoded'
        else:
            what = "cannot be decoded"
            hint = "choose baseline JPEG with 8 bits in its settings, or take its rtsp:// address"
        return LinkError(
            Reason.SOURCE_MISMATCH,
            f"{self._name} sends pictures that {what}, {self._undecodable + self._damaged} in a row",
            hint=hint,
        )
