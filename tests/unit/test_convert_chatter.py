from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

import pytest

from galago_converters.chatter import captured


def test_neither_python_nor_native_output_gets_through(capfd: pytest.CaptureFixture[str]) -> None:
    with captured() as chatter:
        print("from Python")
        print("also from Python", file=sys.stderr)
        os.write(1, b"from C\n")
        os.write(2, b"error from C\n")
        warnings.warn("about somebody's code", stacklevel=1)
        text = chatter.text()
    for line in ("from Python", "also from Python", "from C", "error from C"):
        assert line in text
    assert capfd.readouterr() == ("", "")


def test_output_works_again_afterwards_even_after_an_exception(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), captured():
        raise KeyError
    print("visible")
    os.write(2, b"native too\n")
    assert capfd.readouterr() == ("visible\n", "native too\n")


def test_no_descriptor_is_left_open() -> None:
    def opened() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    with captured():
        pass
    before = opened()
    for _ in range(5):
        with captured():
            pass
    assert opened() == before


def test_what_was_printed_before_keeps_its_place(capfd: pytest.CaptureFixture[str]) -> None:
    sys.stdout.write("first ")
    with captured():
        os.write(1, b"hidden")
    sys.stdout.write("second")
    sys.stdout.flush()
    assert capfd.readouterr().out == "first second"
