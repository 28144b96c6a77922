"""``galago qa labels``: labels from other programs and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from galago_edge.commands.cli import json_option, say, say_data
from galago_edge.commands.options import PATH, refuse_own_inputs
from galago_edge.commands.output_places import check_outputs
from galago_edge.contract.count_words import count_of, noun_of
from galago_edge.contract.errors import CallerError, GalagoError, Reason
from galago_edge.contract.printable import printable
from galago_workstation.commands.qa_options import replace_option

if TYPE_CHECKING:
    from galago_workstation.qa.frame_times import FrameTimes, RecordingExtent
    from galago_workstation.qa.replayed import TruthList

F = TypeVar("F", bound=Callable[..., Any])

FORMATS = ("audacity", "cvat", "label-studio", "raven", "sed")
_IN_FRAMES = ("cvat", "label-studio")


@click.group()
def labels() -> None:
    """Bring labels from other programs and back."""


recording_option = click.option(
    "--recording",
    type=PATH,
    metavar="RECORDING",
    help="What the labels are about; tells its hash, its name, its end, and when each frame was taken.",
)


def _shared(command: F) -> F:
    """Add what both directions take."""
    kind = click.option(
        "--format",
        "kind",
        type=click.Choice(FORMATS),
        required=True,
        help="What the other program's file is.",
    )
    return kind(recording_option(replace_option(json_option(command))))


@labels.command("import")
@click.argument("file", type=PATH)
@click.option("--out", type=PATH, help="File to write.  [default: RECORDING.labels.tsv]")
@click.option("--label-column", metavar="NAME", help="Column of a table that has the labels.")
@click.option("--confirmed", is_flag=True, help="You have checked all proposals: take those that are left.")
@_shared
def import_(
    file: Path,
    out: Path | None,
    label_column: str | None,
    confirmed: bool,
    kind: str,
    recording: Path | None,
    replace: bool,
    as_json: bool,
) -> None:
    """Read another program's FILE and write a .labels.tsv.

    RECORDING is read to its end, so that nothing lies behind it, and frame numbers become times by its time
    table. What lies behind the end of one that is cut off stays. CVAT counts frames from 0, Label Studio from
    1. What is not taken over is counted and said.

    \b
    Examples:
      galago qa labels import porch.txt --format audacity --recording porch.wav
      galago qa labels import task.xml --format cvat --recording hall.mkv
    """
    from galago_workstation.files import refuse_existing
    from galago_workstation.output_kinds import LABELS
    from galago_workstation.qa.label_exchange import import_labels
    from galago_workstation.qa.label_file import labels_path, write_labels
    from galago_workstation.qa.label_formats.subject import LabelSubject

    if out is None:
        if recording is None:
            text = "nobody says where to write"
            raise CallerError(Reason.USAGE, text, hint="give --out FILE or --recording RECORDING")
        out = labels_path(recording)
    refuse_existing(out, LABELS, replace=replace)  # before a long recording is read
    check_outputs({"--out": out})
    refuse_own_inputs([out], [file, recording])
    extent = _extent(recording, kind)
    subject = LabelSubject(
        str(file),
        recording=printable(recording.name) if recording is not None else None,
        frames=None if extent is None else extent.frames,
        column=label_column,
    )
    end_ns = None if extent is None else extent.end_ns
    found = import_labels(file, kind, subject, duration_ns=end_ns, confirmed=confirmed)
    write_labels(out, found.truth, sha256=_sha256(recording), replace=replace)
    _tell(out, found.truth, found.left_out, extent, as_json=as_json)


@labels.command()
@click.argument("file", metavar="PROPOSALS", type=PATH)
@click.option("--out", type=PATH, help="File to write.  [default: RECORDING.labels.tsv]")
@recording_option
@replace_option
@json_option
def confirm(file: Path, out: Path | None, recording: Path | None, replace: bool, as_json: bool) -> None:
    """Take what is left in PROPOSALS as labels.

    PROPOSALS is a file of galago qa label in which you have corrected what was nearly right and removed what
    was wrong. With RECORDING it is checked that they are of it and lie within it.

    \b
    Example:
      galago qa labels confirm porch.wav.proposed.tsv
    """
    from galago_workstation.files import refuse_existing
    from galago_workstation.output_kinds import LABELS
    from galago_workstation.qa.label_file import LABELS_SUFFIX, labels_path, read_labels, write_labels
    from galago_workstation.qa.label_proposals import PROPOSED_SUFFIX

    if out is None and recording is not None:
        out = labels_path(recording)
    elif out is None:
        if not file.name.endswith(PROPOSED_SUFFIX):
            text = f"{file} is not called RECORDING{PROPOSED_SUFFIX}, and nobody says where to write"
            raise CallerError(Reason.USAGE, text, hint="give --out FILE or --recording RECORDING")
        out = file.with_name(file.name.removesuffix(PROPOSED_SUFFIX) + LABELS_SUFFIX)
    refuse_existing(out, LABELS, replace=replace)
    check_outputs({"--out": out})
    refuse_own_inputs([out], [file, recording])
    sha256 = _sha256(recording)
    extent = _extent(recording)
    end_ns = None if extent is None else extent.end_ns
    read = read_labels(file, sha256=sha256, duration_ns=end_ns, confirmed=True)
    write_labels(out, read.truth, sha256=sha256 or read.sha256, replace=replace)
    _tell(out, read.truth, {}, extent, as_json=as_json)


@labels.command("export")
@click.argument("file", type=PATH)
@click.option("--out", type=PATH, required=True, help="File to write.")
@_shared
def export(file: Path, out: Path, kind: str, recording: Path | None, replace: bool, as_json: bool) -> None:
    """Write the labels of a .labels.tsv FILE for another program.

    Times become frame numbers by the time table of RECORDING.

    \b
    Example:
      galago qa labels export porch.wav.labels.tsv --format audacity --out porch.txt
    """
    from galago_workstation.files import refuse_existing
    from galago_workstation.output_kinds import EXPORTED_LABELS
    from galago_workstation.qa.label_exchange import export_labels
    from galago_workstation.qa.label_file import read_labels
    from galago_workstation.qa.label_formats.subject import LabelSubject
    from galago_workstation.qa.label_rows import rows_of

    refuse_existing(out, EXPORTED_LABELS, replace=replace)
    check_outputs({"--out": out})
    refuse_own_inputs([out], [file, recording])
    read = read_labels(file, sha256=_sha256(recording))
    subject = LabelSubject(
        str(file),
        recording=printable(recording.name) if recording is not None else None,
        frames=frames_of(kind, recording),
    )
    export_labels(rows_of(read.truth), out, kind, subject, replace=replace)
    _tell(out, read.truth, {}, as_json=as_json)
    if read.unsorted and not as_json:
        begin = noun_of(read.unsorted, "begins before the line above it", "begin before the line above them")
        say(f"{file}: {count_of(read.unsorted, 'line')} {begin}; sorted now")


def _sha256(recording: Path | None) -> str | None:
    """Return the recording's hash.

    Raises:
        LinkError: SOURCE_MISSING or IO; it is not there.
    """
    from galago_edge.contract.errors import LinkError
    from galago_edge.sources.recording_digest import recording_sha256

    if recording is None:
        return None
    if not recording.exists():
        raise LinkError(Reason.SOURCE_MISSING, f"{recording} does not exist", hint="check the path")
    return recording_sha256(recording)


def frames_of(kind: str, recording: Path | None) -> FrameTimes | None:
    """Return the time table where the format has frame numbers and the recording frames."""
    from galago_workstation.qa.frame_times import frame_extent

    if recording is None or not _has_numbers(kind, recording):
        return None
    return frame_extent(recording).frames


def _has_numbers(kind: str, recording: Path) -> bool:
    from galago_edge.sources import parse_source

    return kind in _IN_FRAMES and parse_source(str(recording)).modality == "camera"


def _extent(recording: Path | None, kind: str = "") -> RecordingExtent | None:
    """Return how far the recording can be read; None where nobody says which it is."""
    from galago_workstation.qa.frame_times import frame_extent, recording_extent

    if recording is None:
        return None
    return frame_extent(recording) if _has_numbers(kind, recording) else recording_extent(recording)


def _tell(
    out: Path,
    truth: TruthList,
    left_out: dict[str, int],
    extent: RecordingExtent | None = None,
    *,
    as_json: bool,
) -> None:
    if extent is not None and extent.loss is not None:
        say(_part_words(extent, extent.loss, truth), err=True)
    if as_json:
        said = {"path": str(out), "events": len(truth.events), "ignored": len(truth.ignored)}
        if extent is not None:
            loss = None if extent.loss is None else extent.loss.as_data()
            said |= {"read_to_ns": extent.read_to_ns, "loss": loss}
        say_data(said | {"left_out": left_out})
        return
    from galago_workstation.qa.report_words import counts_text

    counts = counts_text(Counter(event.label for event in truth.events))
    stretches = count_of(len(truth.ignored), "stretch", "stretches")
    ignored = f", {stretches} to be ignored" if truth.ignored else ""
    say(f"{out}: {count_of(len(truth.events), 'event')}{f' ({counts})' if counts else ''}{ignored}")
    for what, count in left_out.items():
        say(f"not taken over: {what}, {count_of(count, 'time')}")


def _part_words(extent: RecordingExtent, loss: GalagoError, truth: TruthList) -> str:
    """Say once how much of the recording can be read, and what lies behind that."""
    from galago_workstation.qa.report_words import duration_text

    if not extent.cut:
        return f"read in part: {loss.line}"
    ends = [event.end_ns for event in truth.events] + [end_ns for _, end_ns in truth.ignored]
    behind = sum(end_ns > extent.read_to_ns for end_ns in ends)
    reach = noun_of(behind, "reaches", "reach")
    told = f"; {count_of(behind, 'label')} {reach} behind that, where nobody watched"
    return f"read in part, {duration_text(extent.read_to_ns)} of it: {loss.line}{told if behind else ''}"
