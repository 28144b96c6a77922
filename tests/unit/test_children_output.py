"""What a child writes is there whatever becomes of it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from galago_edge.children.output import Output


def written(text: str) -> Output:
    output = Output("test-output")
    os.write(output.fileno(), text.encode())
    return output


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("", ""),
        ("\n \n", ""),
        ("one", "one"),
        ("one\n  two  \n\n", "two"),
        ("a fault\nINFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n", "a fault"),
        ("INFO: nothing else\n", ""),
        ("x" * 1000, "x" * 200),
        ("first\n" + "y" * 10_000 + "\nlast\n", "last"),
    ],
)
def test_the_last_line_is_one_that_explains_something(text: str, last: str) -> None:
    with written(text) as output:
        assert output.last_line() == last
        assert output.text() == text


def test_what_a_child_wrote_before_it_crashed_is_whole() -> None:
    with Output("test-output") as output:
        code = "import os; os.write(1, b'z' * 500_000 + b'\\nend\\n'); os.kill(os.getpid(), 9)"
        subprocess.run([sys.executable, "-c", code], stdout=output.fileno(), check=False)
        assert len(output.read()) == 500_005 and output.last_line() == "end"


def test_reading_does_not_move_where_the_child_writes() -> None:
    with written("one\n") as output:
        assert output.read() == b"one\n"
        os.write(output.fileno(), b"two\n")
        assert output.read() == b"one\ntwo\n"


def test_bytes_that_are_no_text_are_no_failure() -> None:
    with Output("test-output") as output:
        os.write(output.fileno(), b"\xff\xfe broken\n")
        assert output.last_line().endswith("broken")


def test_closed_it_is_empty() -> None:
    output = written("text\n")
    output.close()
    output.close()
    assert (output.read(), output.last_line()) == (b"", "")
