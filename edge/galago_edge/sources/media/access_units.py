"""Packets of a video as access units that stand for themselves: Annex B, parameter sets at each key frame."""

from __future__ import annotations

from collections import deque
from typing import Any

from galago_edge.contract.streams import Coded, CodedFormat, CodedPacket

KEPT_CODECS = ("h264", "hevc")
"""Of other codecs a recorder gets the pictures."""
_LENGTHS = b"\x01"
"""How extradata begins whose packets have lengths in place of start codes (ISO/IEC 14496-15, 5.3.3.1)."""
_START_CODE = b"\x00\x00\x01"
_PARAMETERS = {"h264": (7,), "hevc": (32, 33)}
"""Types of the NAL units without which no key frame is decoded (ITU-T H.264, table 7-1; H.265, table 7-1)."""


class AccessUnits:
    """Makes access units of the packets of one track."""

    def __init__(self, track: Any) -> None:
        """Prepare for ``track``, an ``av.VideoStream`` of one of :data:`KEPT_CODECS`."""
        context = track.codec_context
        codec = str(context.codec.canonical_name)
        extradata = bytes(context.extradata or b"")
        self._filter = _annex_b(track, codec) if extradata.startswith(_LENGTHS) else None
        base = track.time_base
        self.format = CodedFormat(
            codec,
            b"" if self._filter is not None else extradata,
            (int(base.numerator), int(base.denominator)) if base else (0, 1),
        )
        """How they are coded."""

    def bytes_of(self, packet: Any) -> bytes:
        """Return the unit of an ``av.Packet``, which is left as it is."""
        data = bytes(packet)
        if self._filter is not None:
            import av

            copy = av.Packet(data)  # a filter takes its packet away, and the decoder wants it too
            copy.pts, copy.dts, copy.is_keyframe = packet.pts, packet.dts, packet.is_keyframe
            return b"".join(bytes(done) for done in self._filter.filter(copy))
        missing = bool(packet.is_keyframe) and not self._names_parameters(data)
        return self.format.extradata + data if missing else data

    def _names_parameters(self, data: bytes) -> bool:
        """Tell whether parameter sets stand before the picture, as most cameras send them."""
        at, codec = 0, self.format.codec
        types = _PARAMETERS[codec]
        while (at := data.find(_START_CODE, at)) >= 0 and at + len(_START_CODE) < len(data):
            at += len(_START_CODE)
            kind = data[at] & 0x1F if codec == "h264" else data[at] >> 1 & 0x3F
            if kind in types:
                return True
            if kind in (1, 5) if codec == "h264" else kind < types[0]:
                return False
        return False


class PictureUnits:
    """The units of a recording, kept until the picture comes that is made of them."""

    def __init__(self, track: Any) -> None:
        """Prepare for ``track``, as :class:`AccessUnits`."""
        self._units = AccessUnits(track)
        self._kept: deque[CodedPacket] = deque()
        self._count = 0
        self._begun = False

    def take(self, packet: Any) -> None:
        """Take the next packet that the decoder gets; those before the first key frame are of no use."""
        number, self._count = self._count, self._count + 1
        self._begun |= bool(packet.is_keyframe)
        if self._begun:
            data, key = self._units.bytes_of(packet), bool(packet.is_keyframe)
            self._kept.append(CodedPacket(data, number, key, 0, packet.pts, damaged=False))

    def of(self, shown: int) -> Coded:
        """Return all units up to that of packet ``shown``; none when a later picture came before this one."""
        packets = []
        while self._kept and self._kept[0].number <= shown:
            packets.append(self._kept.popleft())
        return Coded(self._units.format, tuple(packets), shown, begins=False)


def _annex_b(track: Any, codec: str) -> Any:
    from av.bitstream import BitStreamFilterContext

    return BitStreamFilterContext(f"{codec}_mp4toannexb", track)
