"""A wall clock that can be set, for one process and its children. The monotonic clock is not touched."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

from real_parts.processes import tool

_SOURCE = Path(__file__).with_name("wall_clock.c")


class WallClock:
    """Give ``environment`` to a process; ``jump`` then sets its wall clock at once.

    A small library in front of the C library's clock. (libfaketime also reaches into waiting times: sleep
    fails under it now and then, even when it is told to leave the monotonic clock alone.)
    """

    def __init__(self, folder: Path) -> None:
        """Make a clock that shows the true time.

        Raises:
            MissingPartError: No C compiler is installed.
        """
        library = folder / "wall_clock.so"
        command = [tool("gcc", "cc"), "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(library)]
        subprocess.run([*command, str(_SOURCE)], check=True)
        self._file = folder / "wall-clock"
        self._file.write_bytes(bytes(8))
        self.environment = {"LD_PRELOAD": str(library), "WALL_CLOCK_FILE": str(self._file)}

    def jump(self, seconds: int) -> None:
        """Show the true time and so many seconds more (or fewer) from now on."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("=q", seconds * 1_000_000_000))
