"""The demo from the first command to the verdict."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from galago_edge.contract.errors import CallerError, InputError, Reason, disk_error
from galago_workstation.demo.event_score import bars, events_of, read_records, score
from galago_workstation.demo.report import StreamResult, render_report
from galago_workstation.demo.steps import STREAMS, DemoStream, FinishedStep, plan, run_step, this_profile
from galago_workstation.demo.truth import read_truth
from galago_workstation.files import write_bytes, write_json

LOG_FILE = "log.txt"
REPORT_FILE = "report.html"
SUMMARY_FILE = "summary.json"

Echo = Callable[[str], None]


def run_demo(out: Path, *, seed: int, echo: Echo) -> None:
    """Run every command, score the streams, write report and summary, print the table.

    Raises:
        StepError: A command failed; carries its exit code.
        InputError: BAR_MISSED; all ran, but a stream is worse than promised.
        CallerError: EXISTS; ``out`` is not an older demo. TARGET_UNKNOWN; no profile for this computer.
        LinkError: The disk is full or read-only.
    """
    profile = this_profile()
    began = time.perf_counter()
    _clear(out)
    done = []
    try:
        with (out / LOG_FILE).open("w", encoding="utf-8") as log:
            for step in plan(out, profile, seed):
                done.append(run_step(step, log, echo))
    except OSError as error:
        raise disk_error(error, f"write {out / LOG_FILE}") from error
    results = [_result(stream, out) for stream in STREAMS]
    _write(out, results, done)
    for line in _table(results):
        echo(line)
    pages = ", ".join(str(stream.page(out)) for stream in STREAMS)
    echo(f"what a bundle that was made worse on purpose loses: {pages}")
    echo(f"report: {out / REPORT_FILE}; {time.perf_counter() - began:.0f} s")
    missed = [f"{result.name}: {bar.text}" for result in results for bar in result.bars if not bar.holds]
    if missed:
        raise InputError(
            Reason.BAR_MISSED, f"does not hold: {'; '.join(missed)}", hint=f"see {out / REPORT_FILE}"
        )


def _clear(out: Path) -> None:
    """Make ``out`` empty, if it is a demo's folder; the log is in it from the first moment."""
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())) and not (out / LOG_FILE).is_file():
            raise CallerError(
                Reason.EXISTS,
                f"{out} exists and is not a demo's folder ({LOG_FILE} is missing)",
                hint="choose another folder with --out, or move this one away",
            )
        if out.exists():
            shutil.rmtree(out)
        (out / "device").mkdir(parents=True)
        (out / "keys").mkdir()
    except OSError as error:
        raise disk_error(error, f"create {out}") from error


def _result(stream: DemoStream, out: Path) -> StreamResult:
    from galago_edge.bundle import open_bundle

    truth = read_truth(stream.folder(out))
    records = read_records(stream.events(out))
    scored = score(truth.events, events_of(records))
    return StreamResult(
        name=stream.name,
        truth=truth,
        folder=stream.folder(out),
        run=stream.run(out),
        manifest=open_bundle(stream.bundle(out)).manifest,
        records=records,
        score=scored,
        bars=bars(truth.modality, scored),
        page=stream.page(out).name,
    )


def _write(out: Path, results: Sequence[StreamResult], done: Sequence[FinishedStep]) -> None:
    write_bytes(out / REPORT_FILE, render_report(results, done).encode())
    streams = {
        stream.name: result.score.summary(
            (stream.folder(out) / stream.recording).as_posix(), stream.bundle(out).as_posix()
        )
        for stream, result in zip(STREAMS, results, strict=True)
    }
    write_json(out / SUMMARY_FILE, {"streams": streams})


def _table(results: Sequence[StreamResult]) -> list[str]:
    lines = [f"{'stream':<12}{'expected':>9}{'found':>7}{'missed':>8}{'false':>7}{'delay p50':>11}"]
    for result in results:
        scored = result.score
        delay = "-" if scored.delay_s_p50 is None else f"{scored.delay_s_p50:.2f} s"
        lines.append(
            f"{result.name:<12}{scored.expected:>9}{scored.found:>7}"
            f"{scored.expected - scored.found:>8}{len(scored.false):>7}{delay:>11}"
        )
        lines += [f"  {'holds' if bar.holds else 'MISSED'}: {bar.text}" for bar in result.bars]
    return lines
