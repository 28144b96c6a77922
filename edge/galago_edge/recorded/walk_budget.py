"""How much work a recording may cause: in proportion to its size, whatever it claims to hold."""

from __future__ import annotations

from pathlib import Path

from galago_edge.contract.errors import InputError, Reason

AT_LEAST = 2 << 30
"""Bytes of work that a file of any size may cause: from one to fifteen seconds of one core, by what it is."""
PER_BYTE = 64
"""Bytes of work for each byte of the file. Pictures and sound packed by zstd or lz4 need 1 to 10. What is
made to keep a reader busy needs 250 (lz4) and 30,000 (zstd), and so does digital silence: a day of it at
16 kHz, 2.6 GiB, is read all the same, for the index of its blocks is not packed."""
OF_A_RECORD = 1024
"""Bytes of work that a record in a packed chunk counts beside its own, however short it is: so long as these
are unpacked, it is looked at."""


class WalkBudget:
    """What one walk through a file may still unpack, and read more than once. For one thread.

    Whatever is read once needs no budget: it is in proportion to the file as it is.
    """

    def __init__(self, path: Path, size: int) -> None:
        """Begin with the budget of a file of ``size`` bytes, which messages call ``path``."""
        self._path = path
        self._given = self._left = AT_LEAST + PER_BYTE * size

    def spend(self, work: int) -> None:
        """Count bytes that are unpacked, or read again.

        Raises:
            InputError: RECORDING_UNREADABLE; it is more than a file of this size may cause.
        """
        self._left -= work
        if self._left < 0:
            raise InputError(
                Reason.RECORDING_UNREADABLE,
                f"{self._path} claims to hold more than {self._given >> 20} MiB, the most that is read of a "
                f"file of its size: {PER_BYTE} bytes for each of its own, and {AT_LEAST >> 30} GiB",
                hint="if it is what it should be, write it without compression (mcap decompress)",
            )
