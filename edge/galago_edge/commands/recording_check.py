"""``galago recording check``: is it what was recorded, and does a replay say what the device said?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from galago_edge.commands.cli import json_option, say, say_data
from galago_edge.commands.options import PATH, bundle_option, opened_bundle, own_opencv, trust_option
from galago_edge.commands.recording import report_lines
from galago_edge.contract.errors import CallerError, Reason

if TYPE_CHECKING:
    from galago_edge.editing.recorded_answers import AnswersReport


@click.command()
@click.argument("path", metavar="RECORDING", type=PATH)
@click.option("--replay", "replayed", is_flag=True, help="Replay it, too, and compare with what it says.")
@bundle_option("With --replay: the bundle that the device had.")
@click.option("--stream", help="With --replay: the stream to compare.  [default: the only one]")
@trust_option
@json_option
@click.pass_context
def check(
    ctx: click.Context,
    path: Path,
    replayed: bool,
    bundle: Path | None,
    stream: str | None,
    trusted: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Check that RECORDING is whole, or what a replay says.

    Checksums of chunks and of the file, its .sha256, the order and numbers of all items, gaps. With --replay
    the bundle decides again on what was recorded, and every event, score, gap and state must be as the device
    wrote it. Ends with 1 if anything is wrong.

    \b
    Examples:
      galago recording check night.mcap
      galago recording check night.mcap --replay --bundle alarms-1.4.0.galago
    """
    from galago_edge.editing.file_check import check_file

    if replayed != (bundle is not None):
        given, missing = ("--replay", "--bundle BUNDLE") if replayed else ("--bundle", "--replay")
        raise CallerError(Reason.USAGE, f"{given} is given without {missing}", hint=f"add {missing}")
    report = check_file(path)
    answers: AnswersReport | None = None
    if bundle is not None:
        from galago_edge.editing.recorded_answers import compare_answers

        opened = opened_bundle(bundle, trusted)
        own_opencv([opened.modality])
        answers = compare_answers(path, opened, stream)
    faults = report.faults()
    wrong = bool(faults) or (answers is not None and answers.difference is not None)
    if as_json:
        say_data(report.data() | ({} if answers is None else {"replay": _data(answers)}) | {"ok": not wrong})
    else:
        for line in report_lines(report):
            say(line)
        for name, state in (("sha256", report.sha256), ("checksum", report.checksum)):
            say(f"{name:<12}{state or 'not known'}")
        for fault in faults:
            say(f"{'wrong':<12}{fault}")
        for line in [] if answers is None else _lines(answers):
            say(line)
        say("it is as it was recorded" if not wrong else "it is NOT as it was recorded")
    if wrong:
        ctx.exit(1)


def _lines(answers: AnswersReport) -> list[str]:
    told = f"stream {answers.stream}, {answers.compared} records compared, {answers.left_out} not"
    if answers.difference is None:
        return [f"{'replay':<12}{told}: all equal"]
    device, replayed = answers.difference
    return [
        f"{'replay':<12}{told}: DIFFERENT from record {answers.place} on",
        f"{'  device':<12}{device or '(nothing more)'}",
        f"{'  replay':<12}{replayed or '(nothing more)'}",
    ]


def _data(answers: AnswersReport) -> dict[str, Any]:
    difference = None
    if answers.difference is not None:
        device, replayed = answers.difference
        difference = {"record": answers.place, "device": device, "replay": replayed}
    return {
        "stream": answers.stream,
        "compared": answers.compared,
        "not_compared": answers.left_out,
        "first_difference": difference,
    }
