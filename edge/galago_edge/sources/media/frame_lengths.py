"""How many bytes a frame of coded sound says that it has: one that is cut off has fewer.

FFmpeg decodes what is left of such a frame, and makes up the rest. Layouts: ISO 11172-3 and 13818-3, 2.4.1.3
(MPEG audio); ETSI TS 102 366, 4.4.1 and E.1.3 (AC-3, E-AC-3); ETSI TS 102 114, 5.3 (DTS).
"""

from __future__ import annotations

_MPEG_KBITS = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""By version (2 is 2.5 too) and layer, from index 1 on."""
_MPEG_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_AC3_KBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
_LAST_AC3 = 10
"""Higher numbers of the bit stream are E-AC-3."""


def frame_bytes(data: bytes) -> int:
    """Return the length that a frame states; ``data`` holds eight bytes of it. 0 where it is none of these.

    >>> frame_bytes(bytes.fromhex("fffb90c400000000")), frame_bytes(bytes.fromhex("0b77df594c402f84"))
    (417, 416)
    """
    if len(data) < 8:
        return 0
    if data[0] == 0xFF and data[1] & 0xE0 == 0xE0:
        return _mpeg(data)
    if data[:2] == b"\x0bw":
        return _ac3(data)
    if data[:4] == b"\x7f\xfe\x80\x01":
        return ((data[5] & 3) << 12 | data[6] << 4 | data[7] >> 4) + 1
    return 0


def _mpeg(data: bytes) -> int:
    version, layer = data[1] >> 3 & 3, 4 - (data[1] >> 1 & 3)
    number, rate = data[2] >> 4, data[2] >> 2 & 3
    if version == 1 or layer == 4 or not 0 < number < 15 or rate == 3:
        return 0
    generation = 1 if version == 3 else 2
    bits, rate_hz = 1000 * _MPEG_KBITS[generation, layer][number - 1], _MPEG_HZ[version][rate]
    padding = data[2] >> 1 & 1
    if layer == 1:
        return 4 * (12 * bits // rate_hz + padding)
    return (72 if (generation, layer) == (2, 3) else 144) * bits // rate_hz + padding


def _ac3(data: bytes) -> int:
    if data[5] >> 3 > _LAST_AC3:
        return 2 * (((data[2] & 7) << 8 | data[3]) + 1)
    rate, code = data[4] >> 6, data[4] & 63
    if rate == 3 or code // 2 >= len(_AC3_KBITS):
        return 0
    kbits = _AC3_KBITS[code // 2]
    return 2 * (2 * kbits, 320 * kbits // 147 + code % 2, 3 * kbits)[rate]
