"""Where a command's own output cannot be written, it says so in one line."""

from __future__ import annotations

import configparser
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from galago_edge.bundle.keys import create_key_pair, key_id, public_path, read_private_key, read_public_key
from galago_edge.commands.cli import main
from test_kit import trust
from test_kit.corpora import microphone_bundle, write_night


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


@contextlib.contextmanager
def pipe_that_nobody_reads() -> Iterator[int]:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        yield writing
    finally:
        os.close(writing)


@pytest.mark.parametrize(
    "arguments",
    [
        ("keys", "list", "--root", "ROOT"),
        ("keys", "list", "--root", "ROOT", "--json"),
        ("--help",),
        ("--version",),
        ("keys", "list", "--help"),
        ("replay", "NIGHT", "--bundle", "BUNDLE"),
    ],
    ids=" ".join,
)
def test_a_reader_that_goes_away_ends_any_command_quietly_and_with_no_verdict(
    tmp_path: Path, tiny_audio_model: bytes, arguments: tuple[str, ...]
) -> None:
    """Exit code 1 would be that of a failed gate."""
    words = {"ROOT": trust(tmp_path)}
    if arguments[0] == "replay":
        night = write_night(tmp_path / "night.wav")
        words |= {"NIGHT": night, "BUNDLE": microphone_bundle(tmp_path / "b.galago", tiny_audio_model)}
    call = [str(words.get(word, word)) for word in arguments]
    with pipe_that_nobody_reads() as writing:
        done = galago(writing, *call)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_failure_keeps_its_exit_code_when_nobody_reads_its_data(tmp_path: Path) -> None:
    with pipe_that_nobody_reads() as writing:
        done = galago(writing, "scrub", "--root", str(tmp_path / "nowhere"), "--json")
    assert done.returncode == 2
    assert [line.partition(": ")[0] for line in done.stderr.splitlines()] == ["Error", "Hint"]


@pytest.mark.parametrize("arguments", [("no-such-command",), ("scrub", "--root", "nowhere")], ids=" ".join)
def test_so_does_one_of_what_is_told_beside_the_output(arguments: tuple[str, ...]) -> None:
    with pipe_that_nobody_reads() as writing:
        command = [sys.executable, "-m", "galago_edge", *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=writing, check=False, timeout=300)
    assert (done.returncode, done.stdout) == (141, b"")


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


def every_command() -> list[tuple[str, ...]]:
    """The words of every command and group, but for the root."""

    def below(group: click.Group, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        for name in group.list_commands(click.Context(group)):
            command = group.get_command(click.Context(group), name)
            yield (*words, name)
            if isinstance(command, click.Group):
                yield from below(command, (*words, name))

    return list(below(main, ()))


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
@pytest.mark.parametrize("first", [True, False], ids=["json before", "json behind"])
def test_with_json_a_wrong_call_is_data_too_for_every_command(words: tuple[str, ...], first: bool) -> None:
    wrong = ("--json", "--no-such-option") if first else ("--no-such-option", "--json")
    result = CliRunner().invoke(main, [*words, *wrong])
    error = json.loads(result.stdout)["error"]
    assert result.exit_code == error["exit"] == 2
    assert (error["reason"], error["hint"]) == ("USAGE", f"see galago {' '.join(words)} --help")
    assert ("--no-such-option" in error["message"] or "--json" in error["message"]) and "\n" not in error[
        "message"
    ]
    assert "Error: " in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no-such-command"], "No such command 'no-such-command'"),
        (["bundle", "no-such-command"], "No such command"),
        (["status"], "Missing option '--root'"),
        (["events", "--root", "x", "--kind", "alarm"], "'alarm' is not one of"),
        (["keys", "list", "--root", "x", "left", "over"], "unexpected extra argument"),
        (["install", "x", "--root", "y", "--stage-only", "--commit"], "--stage-only makes nothing active"),
        (["events"], "needs --root, --config or both"),
    ],
)
def test_whatever_is_wrong_with_a_call_json_says_it(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(main, [*arguments, "--json"])
    error = json.loads(result.stdout)["error"]
    assert result.exit_code == error["exit"] == 2 and error["reason"] == "USAGE"
    assert words in error["message"]


def test_a_group_without_a_command_says_so_as_data() -> None:
    result = CliRunner().invoke(main, ["keys", "--json"])
    assert json.loads(result.stdout)["error"]["reason"] == "USAGE"


def test_without_json_and_behind_two_dashes_a_wrong_call_is_said_to_people_alone() -> None:
    for arguments in (["status"], ["status", "--", "--json"]):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 2 and result.stdout == "" and "Error: " in result.stderr


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1", "cp1252", "koi8-r", "utf-16"])
@pytest.mark.parametrize("as_json", [False, True], ids=["lines", "json"])
def test_a_terminal_that_is_not_utf_8_shows_what_it_can(tmp_path: Path, encoding: str, as_json: bool) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": f"{encoding}:strict"}
    name = "Küche 日本 " + os.fsdecode(b"caf\xe9.key")

    def call(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "galago_edge", *arguments, *(["--json"] if as_json else [])],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            check=False,
        )
        text = done.stdout.decode(encoding, errors="replace") + done.stderr.decode(encoding, errors="replace")
        assert "Traceback" not in text, text
        return done.returncode, text

    assert call("keys", "new", name, "--comment", "Tür und Tor")[0] == 0
    code, text = call("keys", "new", name)
    assert code == 2 and "EXISTS" in text
    assert call("keys", "trust", f"{name}.pub", "--root", "device")[0] == 0
    assert call("keys", "list", "--root", "device")[0] == 0
    assert call("events", "--root", name)[0] == 3
    assert call("no-such-command-ü")[0] == 2


@pytest.mark.parametrize("step", range(1, 9))
def test_ctrl_c_leaves_a_whole_pair_of_keys_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """At whatever call to the system it comes."""
    path, calls = tmp_path / "release.key", 0
    originals = {name: getattr(os, name) for name in ("open", "fdopen", "fsync")}

    def interrupting(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == step:
                os.kill(os.getpid(), signal.SIGINT)
            return originals[name](*arguments, **options)

        return call

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for name in originals:
            monkeypatch.setattr(os, name, interrupting(name))
        with contextlib.suppress(KeyboardInterrupt):
            create_key_pair(path)
        monkeypatch.undo()
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(list(tmp_path.iterdir())) in (0, 2)
    if path.exists():
        assert read_public_key(public_path(path))[0] == key_id(read_private_key(path))


@pytest.mark.parametrize("ending", ["atexit", "a thread", "a module"])
def test_ctrl_c_when_a_command_is_done_and_python_clears_up_shows_no_traceback(
    tmp_path: Path, ending: str
) -> None:
    """Behind TensorFlow that takes a second, in which people press it."""
    kill = "os.kill(os.getpid(), signal.SIGINT)"
    prepared = {
        "atexit": f"import atexit; atexit.register(lambda: {kill})",
        "a thread": f"import threading; threading._register_atexit(lambda: {kill})",
        "a module": f"class End:\n  def __del__(self, os=os, signal=signal): {kill}\nend = End()",
    }[ending]
    script = (
        f"import os, signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n{prepared}\n"
        "from galago_edge.__main__ import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "keys", "new", "release.key"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == "" and "id:" in done.stdout
    assert done.returncode == -signal.SIGINT
    assert len(list(tmp_path.iterdir())) == 2


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
