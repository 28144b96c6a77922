"""Where a command's own output cannot be written, it says so in one line."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from galago_edge.commands.cli import main
from test_kit import trust


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["lines", "json"])
def test_output_that_a_full_disk_does_not_take_is_one_line_and_exit_3(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    with Path("/dev/full").open("wb") as full:
        done = galago(full.fileno(), "keys", "list", "--root", str(trust(tmp_path)), *options)
    assert done.returncode == 3
    assert done.stderr.splitlines() == [
        "Error: could not write the output: No space left on device [NO_SPACE]",
        "Hint: free some space and run the command again",
    ]


def test_a_failure_is_told_on_stderr_when_its_data_cannot_be_written(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = galago(full.fileno(), "scrub", "--root", str(tmp_path / "nowhere"), "--json")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ") and "[NO_SPACE]" not in done.stderr


def test_a_reader_that_goes_away_ends_a_command_quietly(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = galago(writing, "keys", "list", "--root", str(trust(tmp_path)))
    finally:
        os.close(writing)
    assert done.returncode == 1 and done.stderr == ""


@pytest.mark.parametrize("prompting", [False, True], ids=["at work", "at a prompt"])
def test_ctrl_c_ends_any_command_with_one_line_and_exit_130(
    prompting: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(**options: object) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            if prompting:
                raise click.Abort from None  # as click does when it asks
            raise

    command = main.get_command(click.Context(main), "scrub")
    assert command is not None
    monkeypatch.setattr(command, "callback", interrupted)
    result = CliRunner().invoke(main, ["scrub", "--root", "x"])
    assert (result.exit_code, result.output) == (130, "Interrupted\n")


def galago(stdout: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "galago_edge", *arguments]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, timeout=300)


@pytest.mark.parametrize(
    "call", [("-m", "galago_edge"), ("-c", "from galago_edge.__main__ import main; main()")]
)
def test_ctrl_c_while_a_command_still_loads_is_one_line_and_exit_130(
    call: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt")  # as if it came right then
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, *call, "doctor"],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted\n")


def test_the_installed_command_begins_where_ctrl_c_is_minded() -> None:
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parents[2] / "edge" / "setup.cfg")
    assert "galago = galago_edge.__main__:main" in setup["options.entry_points"]["console_scripts"]
