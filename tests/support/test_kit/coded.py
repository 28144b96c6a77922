"""Decodes again what a capture gave beside its frames, as whoever replays a recording of it does."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from galago_edge.contract.streams import Coded, CodedFormat
from galago_edge.sources.media.picture_decoder import Picture, PictureDecoder
from galago_edge.sources.picture_header import LARGEST_CAMERA_PIXELS


def decoded(coded: Sequence[Coded]) -> dict[int, npt.NDArray[np.uint8]]:
    """The pixels of every whole picture, by the number of its packet; a new decoder begins with the first."""
    first = next(one.packets[0].number for one in coded if one.packets)
    decoder = _decoder(coded[0].format)
    pictures: dict[int, npt.NDArray[np.uint8]] = {}
    for one in coded:
        for packet in one.packets:
            again = av.Packet(packet.data)
            again.pts, again.is_keyframe = packet.pts, packet.key
            again.time_base = Fraction(*one.format.time_base)
            for found in decoder.decode(again, damaged=packet.damaged):
                if isinstance(found, Picture):
                    pictures[first + found.packet] = found.pixels
    for found in decoder.flush():
        if isinstance(found, Picture):
            pictures[first + found.packet] = found.pixels
    return pictures


def _decoder(form: CodedFormat) -> PictureDecoder:
    context: Any = av.CodecContext.create(form.codec, "r")
    context.extradata = form.extradata or None
    track = SimpleNamespace(codec_context=context)
    return PictureDecoder(track, "a recording", largest_pixels=LARGEST_CAMERA_PIXELS, prompt=True)
