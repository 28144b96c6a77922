"""What cameras usually see, in ``ROOT/views``: one small file for each, written now and then.

Removing one makes its camera learn anew, while the service runs too.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from galago_edge.host.file_replacement import Durable, replace_file
from galago_edge.host.private_modes import make_private_folder
from galago_edge.store.filesystem import StoreFs

FOLDER = "views"
_LONGEST = 1 << 20
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")


class KeptView:
    """The file of one camera. A :class:`galago_edge.sources.sight.ViewKeeper`."""

    def __init__(self, root: Path, name: str, address: str) -> None:
        """Keep what the source of this name sees in the store at ``root``.

        ``address``: another one is another camera. It may hold a password: the file is its owner's alone.
        """
        self._fs = StoreFs(root)
        self.key = hashlib.sha256(address.encode()).hexdigest()
        self.path = root / FOLDER / f"{name if _PLAIN.match(name) else self.key[:16]}.view"

    def load(self) -> bytes | None:
        """Return what was saved last; None when there is nothing. Raises OSError."""
        data = self._fs.read(self.path, _LONGEST + 1)
        if data is not None and len(data) > _LONGEST:
            raise OSError(f"it has more than {_LONGEST} bytes")
        return data

    def save(self, data: bytes) -> None:
        """Replace what is kept. Raises OSError."""
        make_private_folder(self.path.parent, self._fs.roots)
        temporary = self.path.with_name(f".{self.path.name}.part")
        replace_file(
            self.path, data, durable=Durable.WHOLE, mode=0o600, temporary=temporary, effects=self._fs
        )

    def there(self) -> bool:
        """Tell whether the file is there."""
        try:
            return self._fs.status(self.path) is not None
        except OSError:
            return False
