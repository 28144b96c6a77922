"""What arrives damaged of a camera: the same bytes are wrong in every replay, so its answer is the same."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.streams import Frame
from galago_edge.sources.faults.fault_tables import Damage

_HEAD_SHARE = 4
"""The first quarter of a picture stays as it is: without its header nothing would be decoded at all."""
_FLIPPED_EVERY = 97
"""One byte of so many is wrong behind it."""


def damaged_bytes(frame: Frame, how: Damage) -> bytes:
    """Return the bytes of a damaged picture, as the device's decoder gets them.

    ``refused``: none. ``cut``: the first half. ``flipped``: every 97th byte behind the first quarter is
    inverted.

    Raises:
        InputError: SOURCE_MISMATCH; the recording does not have the camera's own JPEG, which ``cut`` and
            ``flipped`` need.
    """
    if how == "refused":
        return b""
    if frame.encoded is None:
        raise InputError(
            Reason.SOURCE_MISMATCH,
            f'frame {frame.index} is not kept as the JPEG that a camera sent, which how = "{how}" damages',
            hint='how = "refused" and how = "garbage" damage pictures of any kind',
        )
    if how == "cut":
        return frame.encoded[: len(frame.encoded) // 2]
    flipped = np.frombuffer(frame.encoded, np.uint8).copy()
    flipped[len(flipped) // _HEAD_SHARE :: _FLIPPED_EVERY] ^= 0xFF
    return flipped.tobytes()


def garbage(frame: Frame) -> npt.NDArray[np.uint8]:
    """Return noise of the frame's shape, uint8, that follows from its index alone."""
    noise = hashlib.shake_128(f"galago frame {frame.index}".encode()).digest(frame.pixels.size)
    return np.frombuffer(noise, np.uint8).reshape(frame.pixels.shape).copy()
