"""Which machine this is, of several of the same board: so that a swapped address does not go unnoticed."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

_FILE = Path("etc/machine-id")
_DOMAIN = b"galago.device/1\0"
_LENGTH = 16
_SYSTEMD = re.compile(rb"[0-9a-f]{32}\s*\Z")


def machine_id(system: Path = Path("/")) -> str | None:
    """Return 16 hexadecimal digits that stay the same for one installed system; None when it has no id.

    ``system``: root of the machine's file system. systemd's own id is not to be told to others as it is,
    so this is made of its hash.
    """
    try:
        text = (system / _FILE).read_bytes()
    except OSError:
        return None
    if _SYSTEMD.match(text) is None:
        return None
    return hashlib.sha256(_DOMAIN + text.strip()).hexdigest()[:_LENGTH]
