"""How often one and the same record was tried in a row."""

from __future__ import annotations


class Attempts:
    """Counts up to the attempt after which a record is given up."""

    def __init__(self, most: int) -> None:
        """Give up a record after ``most`` attempts."""
        self.most = most
        self._key = ""
        self._made = 0

    def last(self, key: str) -> bool:
        """Count an attempt that the receiver refused; return whether it was the record's last one."""
        self._made = self._made + 1 if key == self._key else 1
        self._key = key
        return self._made >= self.most
