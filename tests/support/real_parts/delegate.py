"""The external TFLite delegate of the tests."""

from __future__ import annotations

import subprocess
from pathlib import Path

from real_parts.processes import tool

SOURCE = Path(__file__).parents[2] / "data" / "test_delegate.c"


def build_delegate(folder: Path) -> Path:
    """Compile tests/data/test_delegate.c into a shared library in ``folder``; its head says what it can do.

    Raises:
        MissingPartError: There is no C compiler.
    """
    library = folder / "libgalago_test_delegate.so"
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([tool("gcc"), *flags, "-o", str(library), str(SOURCE), "-lm"], check=True)
    return library
