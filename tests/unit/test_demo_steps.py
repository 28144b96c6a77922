"""The demo runs the public commands, shows them, and stops where one fails."""

from __future__ import annotations

import io
import shlex
import sys
from pathlib import Path

import click
import pytest

from galago_edge.commands.cli import main
from galago_edge.contract.errors import CallerError, LinkError, Reason
from galago_workstation.demo import demo_run
from galago_workstation.demo.steps import (
    PROFILES,
    STREAMS,
    DemoStep,
    FinishedStep,
    StepError,
    plan,
    run_step,
    this_profile,
)


def run(*arguments: str) -> tuple[FinishedStep | StepError, list[str], str]:
    log, said = io.StringIO(), []
    try:
        result: FinishedStep | StepError = run_step(DemoStep(arguments), log, said.append)
    except StepError as error:
        result = error
    return result, said, log.getvalue()


def test_a_command_is_shown_before_its_output_and_logged() -> None:
    result, said, log = run("--version")
    assert isinstance(result, FinishedStep)
    assert said[0] == "$ galago --version"
    assert "galago, version" in said[1]
    assert log.splitlines() == said
    assert "galago, version" in result.output


def test_a_failed_command_ends_the_demo_with_its_own_exit_code() -> None:
    result, said, _ = run("no-such-command")
    assert isinstance(result, StepError)
    assert result.exit_code == 2
    assert result.reason is Reason.STEP_FAILED
    assert str(result) == "`galago no-such-command` ended with exit code 2"
    assert any("no-such-command" in line for line in said[1:]), "its own message is shown"


def test_a_killed_command_gives_what_a_shell_gives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    suicide = tmp_path / "python"
    suicide.write_text("#!/bin/sh\nkill -9 $$\n")
    suicide.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(suicide))
    result, _, _ = run("--version")
    assert isinstance(result, StepError)
    assert result.exit_code == 137


def test_a_step_that_must_fail_is_fine_when_it_does_and_ends_the_demo_when_it_does_not() -> None:
    log = io.StringIO()
    assert isinstance(run_step(DemoStep(("no-such-command",), exit_code=2), log, str), FinishedStep)
    with pytest.raises(StepError, match="ended with exit code 0, expected 1") as caught:
        run_step(DemoStep(("--version",), exit_code=1), log, str)
    assert caught.value.exit_code == 1


def test_the_comparison_with_the_worse_bundle_must_fail_and_nothing_else() -> None:
    steps = plan(Path("demo"), "generic-x86-64", 0)
    assert {step.arguments[:2] for step in steps if step.exit_code} == {("qa", "diff")}


def test_a_shown_command_can_be_pasted_into_a_shell() -> None:
    step = DemoStep(("train", "my data/x.toml"))
    assert shlex.split(str(step)) == ["galago", "train", "my data/x.toml"]


def test_every_step_is_a_public_command() -> None:
    context = click.Context(main)
    for step in plan(Path("demo"), "generic-x86-64", 0):
        command = main.get_command(context, step.arguments[0])
        assert command is not None, step
        if isinstance(command, click.Group):
            assert command.get_command(context, step.arguments[1]) is not None, step


def test_the_whole_way_is_gone_for_both_streams() -> None:
    steps = [" ".join(step.arguments) for step in plan(Path("demo"), "generic-x86-64", 0)]
    verbs = ("demo-data", "train", "convert", "evaluate", "bundle build", "install", "replay")
    for verb in (*verbs, "bundle repolicy", "qa diff"):
        assert sum(step.startswith(f"{verb} ") for step in steps) == len(STREAMS), verb


def test_everything_stays_below_the_folder() -> None:
    for step in plan(Path("elsewhere"), "generic-x86-64", 0):
        assert not [word for word in step.arguments if word.startswith(("demo/", "/", "runs"))]


def test_the_profile_is_this_computers(monkeypatch: pytest.MonkeyPatch) -> None:
    from galago_devices import names

    assert set(PROFILES.values()) <= set(names())
    for machine, profile in (("AMD64", "generic-x86-64"), ("arm64", "generic-arm64")):
        monkeypatch.setattr("platform.machine", lambda machine=machine: machine)
        assert this_profile() == profile
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(CallerError, match="riscv64"):
        this_profile()


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("chapter 1")
    with pytest.raises(CallerError) as caught:
        demo_run.run_demo(tmp_path, seed=0, echo=lambda line: None)
    assert caught.value.reason is Reason.EXISTS
    assert (tmp_path / "thesis.txt").read_text() == "chapter 1"


def test_an_older_demo_is_removed_and_a_failure_stops_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "demo"
    out.mkdir()
    (out / demo_run.LOG_FILE).write_text("old")
    (out / "old.txt").write_text("old")
    monkeypatch.setattr(
        demo_run, "plan", lambda *_: [DemoStep(("--version",)), DemoStep(("nonsense",)), DemoStep(("x",))]
    )
    said: list[str] = []
    with pytest.raises(StepError) as caught:
        demo_run.run_demo(out, seed=0, echo=said.append)
    assert caught.value.exit_code == 2
    assert not (out / "old.txt").exists()
    assert [line for line in said if line.startswith("$")] == ["$ galago --version", "$ galago nonsense"]
    assert (out / demo_run.LOG_FILE).read_text().splitlines() == said


def test_a_disk_that_is_full_from_the_start_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises((LinkError, CallerError)):
        demo_run.run_demo(blocked / "demo", seed=0, echo=lambda line: None)
