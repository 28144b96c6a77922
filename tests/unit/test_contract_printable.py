"""Text from outside stands on one line and moves nothing, in messages, records and on terminals."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.commands import cli
from galago_edge.commands.cli import main, say, say_data
from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.printable import hidden_character, on_one_line, printable, unprintable

ODD = "a\x1b[2Jb\n\r\tc\x7f\x9b31md\u2028e\u202ef\u2066\udce9"


@given(st.text())
def test_whatever_comes_is_one_line_without_controls_and_is_so_the_second_time(text: str) -> None:
    line = on_one_line(text)
    line.encode()
    assert len(f"x{line}x".splitlines()) == 1
    assert not any(0x80 <= ord(char) < 0xA0 or ord(char) < 0x20 or char in "\x7f\u202e" for char in line)
    assert on_one_line(line) == line


@pytest.mark.parametrize(
    "code", [0xAD, 0x200B, 0x200D, 0x2060, 0x202E, 0x2066, 0xFE0F, 0x3164, 0xE0041, 0xE0100]
)
def test_a_character_that_nobody_sees_is_found_and_named(code: int) -> None:
    assert hidden_character(f"smo{chr(code)}ke") == f"U+{code:04X}"
    assert hidden_character("fumée, дым, 煙, धुआँ, ควัน") is None


def test_data_for_programs_stay_what_they_are_with_tags_beyond_16_bits_too() -> None:
    told = {"name": "a\U000e0041b\u200b"}

    @click.command()
    def said() -> None:
        say_data(told)

    out = CliRunner().invoke(said).stdout
    assert json.loads(out) == told and "\u200b" not in out and "\U000e0041" not in out


@given(st.text(st.characters(exclude_categories=["C", "Z"])))
def test_letters_of_every_script_stay_what_they_are(text: str) -> None:
    assert on_one_line(text) == text


@given(st.binary(max_size=40))
def test_a_name_that_is_no_utf8_comes_back(name: bytes) -> None:
    text = name.decode(errors="surrogateescape")
    if "\\x" not in text:
        assert unprintable(printable(text)) == text


def test_every_error_is_one_line() -> None:
    error = InputError(Reason.IMAGE_UNREADABLE, ODD, hint=ODD)
    assert str(error) == error.hint == on_one_line(ODD)
    assert error.line.isprintable()


def test_what_commands_say_is_one_line_and_data_stay_what_they_are() -> None:
    @click.command()
    def told() -> None:
        say(ODD)
        say_data({"name": ODD})

    first, _, rest = CliRunner().invoke(told).stdout.partition("\n")
    assert first.isprintable()
    assert json.loads(rest) == {"name": ODD}
    assert all(line.isprintable() for line in rest.splitlines())


@pytest.mark.parametrize(
    "arguments",
    [
        ["replay", ODD, "--bundle", "none.galago"],
        ["replay", "a.wav", "--bundle", ODD],
        ["replay", "a.wav", "--bundle", "b", "--from", ODD],
        ["replay", "a.wav", "--bundle", "b", "--stream", ODD],
        ["replay", "a.wav", "--bundle", "b", f"--{ODD}"],
        ["replay", "a.wav", "b.wav", ODD, "--bundle", "b"],
        ["replay", "a.wav", "--bundle", "b", "--block-samples", ODD],
        ["run", "--root", "none", "--stream", ODD],
        ["run", "--root", "none", "--stream", f"door=camera:http://{ODD}/"],
        ["run", "--root", "none", "--config", ODD],
        ["classify", ODD, "--bundle", ODD],
        ["status", "--root", ODD],
        ["history", "--root", ODD],
        ["doctor", "--root", ODD, "--config", ODD],
        [ODD],
    ],
)
def test_what_a_caller_writes_is_quoted_on_one_line(
    arguments: list[str], tmp_path: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(str(tmp_path))
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code != 0
    assert result.exception is None or isinstance(result.exception, SystemExit)
    lines = (result.stdout + result.stderr).split("\n")
    assert all(line.isprintable() for line in lines)
    assert "Traceback" not in result.stderr


def test_every_command_of_the_device_says_its_lines_through_one_place() -> None:
    folder = Path(cli.__file__).parent
    others = [path.name for path in folder.glob("*.py") if "click.echo" in path.read_text(encoding="utf-8")]
    assert others == ["cli.py"]
