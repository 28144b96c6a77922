"""Why FFmpeg does not open a file, in words: its own say "Invalid data found" of everything."""

from __future__ import annotations

_LATE_INDEX = (b"ftyp", b"mdat", b"moov", b"wide", b"free", b"skip")
"""How an MP4 or MOV begins; its index most often stands at its end."""

WHOLE_FILE = "record or copy it again, from its first byte to its last"


def why_not_opened(head: bytes) -> tuple[str, bool]:
    """Return what is wrong with a file of which ``head`` are the first 12 bytes, and whether it was known.

    >>> why_not_opened(b"")
    ('it is empty', True)
    >>> why_not_opened(b"this is no video")
    ('FFmpeg knows no such format', False)
    """
    if not head:
        return "it is empty", True
    if head[4:8] in _LATE_INDEX:
        return "its index (moov) is missing or damaged: the recording was not finished, or is cut off", True
    if head[:4] == b"caff":
        why = "its packet table (pakt) is missing or damaged: the recording was not finished, or is cut off"
        return why, True
    return "FFmpeg knows no such format", False
