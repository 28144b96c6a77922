"""Where the pictures and sounds of events lie, and how their files are called.

::

    ROOT/attachments/20261122T114300123Z-hall-17.jpg     the picture of event 17 of the stream ``hall``
    ROOT/attachments/20261122T114300123Z-door-3.wav      the sound of event 3 of the stream ``door``

Names begin with the moment in UTC, by the wall clock, so that they sort by time. Whoever wants the file of a
record takes the record's ``file``, when :func:`is_attachment` says that it can be one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal

FOLDER = "attachments"
"""Below the store's root."""
TEMPORARY = ".part-"
"""How the name of a file begins that is being written."""

MediaType = Literal["image/jpeg", "audio/wav"]
SUFFIXES: Mapping[MediaType, str] = {"image/jpeg": ".jpg", "audio/wav": ".wav"}

_NAME = re.compile(
    r"[0-9]{8}T[0-9]{9}Z-[A-Za-z0-9][A-Za-z0-9_.-]{0,63}-[0-9]{1,19}(?:-[0-9]{1,9})?\.(?:jpg|wav)"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
_EARLIEST_US = (datetime(1000, 1, 1, tzinfo=UTC) - _EPOCH) // _US
"""Years before have fewer digits."""
_LATEST_US = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _US


def attachment_name(wall_ns: int, stream: str, seq: int, media_type: MediaType) -> str:
    """Return the name of an attachment that is made at this Unix time.

    >>> attachment_name(1_795_348_980_123_000_000, "hall", 17, "image/jpeg")
    '20261122T114300123Z-hall-17.jpg'
    """
    return f"{moment_of(wall_ns)}-{stream}-{seq}{SUFFIXES[media_type]}"


def moment_of(wall_ns: int) -> str:
    """Return how the names of this Unix time begin; a time beyond all calendars is the last of them.

    >>> moment_of(1_795_348_980_123_000_000), moment_of(10**30)
    ('20261122T114300123Z', '99991231T235959999Z')
    """
    # a clock that was never set may stand anywhere, also where no calendar reaches; integers, so that no
    # millisecond is rounded
    moment = _EPOCH + min(max(_EARLIEST_US, wall_ns // 1000), _LATEST_US) * _US
    return f"{moment:%Y%m%dT%H%M%S}{moment.microsecond // 1000:03d}Z"


def is_attachment(name: str) -> bool:
    """Tell whether :func:`attachment_name` gives such names: a plain one, that leads to no other folder.

    >>> is_attachment("20261122T114300123Z-hall-17.jpg"), is_attachment("../keys/factory.jpg")
    (True, False)
    """
    return _NAME.fullmatch(name) is not None
