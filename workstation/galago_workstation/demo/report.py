"""``report.html``: one page with the numbers, the plots and every command."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from galago_edge.contract.manifest import Manifest
from galago_edge.contract.records import EventRecord, Record, ScoresRecord
from galago_edge.contract.streams import NS_PER_S
from galago_workstation.demo.event_score import Bar, Score
from galago_workstation.demo.sounds import RATE_HZ
from galago_workstation.demo.steps import FinishedStep
from galago_workstation.demo.truth import DemoTruth, TrueEvent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW_S = {"camera": 40, "microphone": 100}
_FOUND, _MISSED, _FALSE = "#2a9d5c", "#d1495b", "#d1495b"


@dataclass(frozen=True, slots=True)
class StreamResult:
    """Everything about one stream that the report shows."""

    name: str
    truth: DemoTruth
    folder: Path
    """Holds the recording."""
    run: Path
    manifest: Manifest
    records: list[Record]
    score: Score
    bars: tuple[Bar, ...]
    page: str
    """Name of the page that compares its bundle with a worse one; it lies beside the report."""


@dataclass(frozen=True, slots=True)
class Section:
    """What the template needs of one stream."""

    name: str
    score: Score
    bars: tuple[Bar, ...]
    page: str
    rows: tuple[tuple[str, ...], ...]
    """label, about, onset, completion, decision, delay, score: one true event each."""
    false: tuple[tuple[str, ...], ...]
    """label, decision, score."""
    pictures: tuple[tuple[str, str], ...]
    """(caption, PNG in base64)."""


def render_report(results: Sequence[StreamResult], done: Sequence[FinishedStep]) -> str:
    """Return the page."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("galago_workstation"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("demo.html").render(
        sections=[_section(result) for result in results],
        done=done,
        seconds=sum(step.seconds for step in done),
    )


def _section(result: StreamResult) -> Section:
    sample = _frames if result.truth.modality == "camera" else _spectrogram
    pictures = [
        ("Scores, thresholds and events against the ground truth", _png(_timeline(result))),
        ("What the device saw" if sample is _frames else "What the device heard", _png(sample(result))),
    ]
    for caption, file in (("Training", "curves.png"), ("Held-out test set, int8", "evaluation.png")):
        if (result.run / file).is_file():
            pictures.append((caption, base64.b64encode((result.run / file).read_bytes()).decode()))
    return Section(
        name=result.name,
        score=result.score,
        bars=result.bars,
        page=result.page,
        rows=tuple(_row(outcome.true, outcome.event) for outcome in result.score.outcomes),
        false=tuple((e.label, _s(e.end_ns), f"{e.score:.3f}") for e in result.score.false),
        pictures=tuple(pictures),
    )


def _row(true: TrueEvent, event: EventRecord | None) -> tuple[str, ...]:
    about = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in true.about.items())
    times = (true.label, about, _s(true.onset_ns), _s(true.complete_ns))
    if event is None:
        return (*times, "missed", "", "")
    return (*times, _s(event.end_ns), _s(event.end_ns - true.complete_ns), f"{event.score:.3f}")


def _s(ns: int) -> str:
    return f"{ns / NS_PER_S:.2f}"


def _png(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    return base64.b64encode(buffer.getvalue()).decode()


def _timeline(result: StreamResult) -> Figure:
    """Draw the smoothed score of every label over the whole stream, in rows."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    row_s = _ROW_S[result.truth.modality]
    rows = -(-result.truth.duration_ns // (row_s * NS_PER_S))
    windows = [record for record in result.records if isinstance(record, ScoresRecord)]
    times = np.array([window.end_ns for window in windows]) / NS_PER_S
    scores = np.array([window.scores for window in windows]).reshape(len(windows), -1)
    figure = Figure(figsize=(15.0, 2.4 * rows), layout="constrained")
    for row, axes in enumerate(np.atleast_1d(figure.subplots(rows, 1))):
        for number, label in enumerate(result.manifest.labels):
            if label.background:
                continue
            smoothed = _smooth(scores[:, number], label.policy.smoothing_windows)
            colour = colormaps["tab10"](number % 10)
            axes.plot(times, smoothed, color=colour, linewidth=1.2, label=label.name)
            axes.axhline(label.policy.on, color="0.4", linestyle="--", linewidth=0.6)
            axes.axhline(label.policy.off, color="0.7", linestyle=":", linewidth=0.6)
        _draw_events(axes, result.score)
        axes.set(xlim=(row * row_s, (row + 1) * row_s), ylim=(0, 1.28), yticks=(0, 0.5, 1))
    figure.axes[0].legend(loc="upper right", ncols=10, fontsize=8)
    figure.axes[-1].set_xlabel("stream time in seconds")
    return figure


def _smooth(scores: npt.NDArray[np.float64], windows: int) -> npt.NDArray[np.float64]:
    """Return the running mean over the last windows; nothing where there are not yet enough."""
    sums = np.cumsum(np.concatenate([[0.0], scores]))
    smoothed = np.full(scores.size, np.nan)
    smoothed[windows - 1 :] = (sums[windows:] - sums[:-windows]) / windows
    return smoothed


def _draw_events(axes: Axes, score: Score) -> None:
    for outcome in score.outcomes:
        true = outcome.true
        colour = _MISSED if outcome.event is None else _FOUND
        begin, end = true.onset_ns / NS_PER_S, true.offset_ns / NS_PER_S
        axes.axvspan(begin, end, color=colour, alpha=0.15, linewidth=0)
        axes.text(begin, 1.12, true.label, fontsize=8, color=colour, clip_on=True)
        if outcome.event is not None:
            axes.plot(outcome.event.end_ns / NS_PER_S, 1.05, marker="v", color=colour, markersize=6)
    for event in score.false:
        axes.plot(event.end_ns / NS_PER_S, 1.05, marker="x", color=_FALSE, markersize=8)
        axes.text(event.end_ns / NS_PER_S, 1.2, event.label, fontsize=8, color=_FALSE, clip_on=True)


def _frames(result: StreamResult) -> Figure:
    """Draw the frame at which each event was decided, or the middle of a card that was missed."""
    import cv2
    from matplotlib.figure import Figure

    moments = {}
    for outcome in result.score.outcomes:
        true = outcome.true
        middle_ns = (true.complete_ns + true.offset_ns) // 2
        moments[middle_ns if outcome.event is None else outcome.event.end_ns] = outcome
    figure = Figure(figsize=(15.0, 7.6), layout="constrained")
    grid = figure.subplots(5, 8).ravel()
    capture = cv2.VideoCapture(str(result.folder / result.truth.recording), cv2.CAP_FFMPEG)
    fps = capture.get(cv2.CAP_PROP_FPS)
    wanted = {round(ns * fps / NS_PER_S): outcome for ns, outcome in moments.items()}
    shown = iter(grid)
    index = 0
    while capture.grab():
        index += 1
        if index in wanted and (axes := next(shown, None)) is not None:
            axes.imshow(capture.retrieve()[1][:, :, ::-1])
            event = wanted[index].event
            said = "missed" if event is None else f"{event.label} ({event.score:.2f})"
            axes.set_title(said, fontsize=9, color=_MISSED if event is None else _FOUND)
    capture.release()
    for axes in grid:
        axes.set_axis_off()
    return figure


def _spectrogram(result: StreamResult) -> Figure:
    """Draw the spectrum of the whole recording in rows, with the events above it."""
    import wave

    from matplotlib.figure import Figure

    with wave.open(str(result.folder / result.truth.recording), "rb") as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32_768
    row_s = _ROW_S["microphone"]
    rows = -(-samples.size // (row_s * RATE_HZ))
    figure = Figure(figsize=(15.0, 2.4 * rows), layout="constrained")
    for row, axes in enumerate(np.atleast_1d(figure.subplots(rows, 1))):
        part = samples[row * row_s * RATE_HZ : (row + 1) * row_s * RATE_HZ]
        axes.specgram(
            part + 1e-5, NFFT=512, Fs=RATE_HZ, noverlap=0, vmin=-120, vmax=-40,
            xextent=(row * row_s, row * row_s + part.size / RATE_HZ),
        )  # fmt: skip
        for outcome in result.score.outcomes:
            begin, end = outcome.true.onset_ns / NS_PER_S, outcome.true.offset_ns / NS_PER_S
            axes.plot([begin, end], [7_700, 7_700], color="white", linewidth=3, solid_capstyle="butt")
            axes.text(begin, 7_000, outcome.true.label, color="white", fontsize=8, clip_on=True)
        axes.set(xlim=(row * row_s, (row + 1) * row_s), ylabel="Hz")
    figure.axes[-1].set_xlabel("stream time in seconds")
    return figure
