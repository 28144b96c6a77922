"""Chatter is dropped, everything else arrives."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from galago_edge.engine.native_log import without_chatter


def test_only_info_lines_are_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    os.write(2, b"before\n")
    with without_chatter():
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\nERROR: kept\n")
        os.write(2, b"a line without INFO: in front\nno newline")
    os.write(2, b"\nINFO: after\n")
    assert capfd.readouterr().err == (
        "before\nERROR: kept\na line without INFO: in front\nno newline\nINFO: after\n"
    )


def test_what_was_held_back_arrives_after_a_failure_too(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="broken"), without_chatter():
        os.write(2, b"the reason\n")
        raise ValueError("broken")
    assert capfd.readouterr().err == "the reason\n"


def open_files() -> set[str]:
    gc.collect()  # what tests before this one left is not closed in the middle of it
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_no_file_descriptor_is_left_open() -> None:
    before = open_files()
    for _ in range(3):
        with without_chatter():
            pass
    assert open_files() == before
