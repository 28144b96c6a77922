"""A baseline: one small file with what OLD said, so that it need not be replayed to compare with it.

It is meant to be committed: JSON with one line for each recording, by the recording's content, in the order
of names, so that a change shows as a change of few lines. It holds no scores and no truth: window scores are
not compared with a baseline, and the truth is that of the corpus when it is compared. Its last field is the
hash of the others (``sealed_json``): what was edited is no baseline any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from galago_edge.contract.count_words import count_of
from galago_edge.contract.errors import InputError, Reason, disk_error
from galago_edge.contract.manifest import Label, Natural, Sha256
from galago_edge.contract.printable import printable
from galago_edge.contract.records import EventRecord, GapRecord
from galago_workstation.files import refuse_existing, write_bytes
from galago_workstation.output_kinds import BASELINE
from galago_workstation.qa.label_rows import refuse_unknown
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.replayed import Replayed
from galago_workstation.qa.sealed_json import BrokenSealError, seal_of, unsealed
from galago_workstation.qa.truth_outcomes import outcomes

SCHEMA: Literal["galago.baseline/1"] = "galago.baseline/1"


class BaselineEvent(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One event: a list of six, in this order."""

    label: str
    score: float
    start_ns: Natural
    end_ns: Natural
    start_index: Natural
    end_index: Natural

    @classmethod
    def of(cls, one: EventRecord) -> BaselineEvent:
        """Return what is kept of an event."""
        return cls(one.label, one.score, one.start_ns, one.end_ns, one.start_index, one.end_index)


class BaselineRecording(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What OLD said to one recording."""

    recording: str
    sha256: Sha256
    duration_ns: Natural
    receptive_ns: Natural
    gaps: tuple[tuple[Natural, Natural, str], ...] = ()
    """From, to, cause."""
    tags: dict[str, str] = {}
    events: tuple[BaselineEvent, ...] = ()


class BaselineFigure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How OLD did when the baseline was written, for people; nothing is decided by it."""

    label: str
    events: int
    there: int
    found: int
    false_alarms: int


class Baseline(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    schema: Literal["galago.baseline/1"] = SCHEMA
    bundle: Sha256
    """Id of OLD: sha256 of its manifest."""
    labels: tuple[Label, ...]
    hours: float
    """Recorded, and of those with labels judged, when it was written."""
    hours_judged: float
    figures: tuple[BaselineFigure, ...]
    recordings: tuple[BaselineRecording, ...]


def make_baseline(replays: Sequence[Replayed], rule: MatchingRule | None = None) -> Baseline:
    """Return the baseline of what one bundle said. ``rule``: for its figures; None: as in a score.

    Raises:
        InputError: SOURCE_MISMATCH; there is no replay, two are of one recording, or of several bundles, or
            one has faults. LABELS_MISMATCH; a truth has a label that the bundle does not have.
        CallerError: USAGE; nobody knows how late an event may come.
    """
    bundles = {each.bundle for each in replays}
    policies = {each.labels for each in replays}
    met = ""
    if len(bundles) != 1 or len(policies) != 1:
        met = f"{count_of(len(bundles), 'bundle')} with {count_of(len(policies), 'policy', 'policies')}"
    elif len({each.sha256 for each in replays}) != len(replays):
        met = "one recording twice"
    elif any(each.faults for each in replays):
        met = "recordings with faults (galago replay --faults)"
    if met:
        raise InputError(
            Reason.SOURCE_MISMATCH,
            f"a baseline is of one bundle and different recordings, and these are of {met}",
            hint="replay the corpus with one bundle",
        )
    for each in replays:
        if each.truth is not None:
            refuse_unknown(each.truth, each.labels, name=f"labels of {each.recording}")
    judged = [outcomes(each, rule or MatchingRule()) for each in replays if each.truth is not None]
    figures = [
        BaselineFigure(
            label=label.name,
            events=sum(event.label == label.name for each in replays for event in each.events),
            there=sum(one.truth.label == label.name for each in judged for one in each.outcomes),
            found=sum(
                one.found and one.truth.label == label.name for each in judged for one in each.outcomes
            ),
            false_alarms=sum(event.label == label.name for each in judged for event in each.false_alarms),
        )
        for label in replays[0].labels
        if not label.background
    ]
    hour_ns = 3_600_000_000_000
    return Baseline(
        bundle=replays[0].bundle,
        labels=replays[0].labels,
        hours=round(sum(each.duration_ns for each in replays) / hour_ns, 4),
        hours_judged=round(sum(each.valid_ns for each in judged) / hour_ns, 4),
        figures=tuple(figures),
        recordings=tuple(_recording(each) for each in sorted(replays, key=lambda each: each.recording)),
    )


def _recording(each: Replayed) -> BaselineRecording:
    return BaselineRecording(
        recording=printable(each.recording),
        sha256=each.sha256,
        duration_ns=each.duration_ns,
        receptive_ns=each.receptive_ns,
        gaps=tuple((gap.from_ns, gap.to_ns, gap.cause) for gap in each.gaps),
        tags=dict(sorted(each.tags.items())),
        events=tuple(BaselineEvent.of(one) for one in each.events),
    )


def encode_baseline(baseline: Baseline) -> bytes:
    """Return the file's bytes: indented, but each figure and each recording in one line, and sealed."""
    head = msgspec.structs.replace(baseline, figures=(), recordings=())
    text = msgspec.json.format(msgspec.json.encode(head), indent=2).decode()
    for key, rows in (("figures", baseline.figures), ("recordings", baseline.recordings)):
        lines = ",\n".join(f"    {msgspec.json.encode(row).decode()}" for row in rows)
        if rows:  # its own key is the first with this name and indentation, nothing of a label can be
            text = text.replace(f'\n  "{key}": []', f'\n  "{key}": [\n{lines}\n  ]', 1)
    seal = f',\n  "sha256": "{seal_of(baseline)}"\n}}\n'
    return (text.removesuffix("\n}") + seal).encode()


def write_baseline(path: Path, baseline: Baseline, *, replace: bool = False) -> None:
    """Write the file, whole or not at all.

    Raises:
        CallerError: EXISTS; there is one, and ``replace`` is not asked for.
        LinkError: The disk refuses.
    """
    refuse_existing(path, BASELINE, replace=replace)
    write_bytes(path, encode_baseline(baseline))


def read_baseline(path: Path) -> list[Replayed]:
    """Return what OLD said, as replays without scores, states and truth.

    Raises:
        InputError: DATA_BAD; it is no baseline, is damaged, was edited, or is of a build that sealed none.
        LinkError: It cannot be read.
    """
    hint = f"write it again: galago qa baseline CORPUS --bundle OLD --out {path} --replace"
    try:
        found = unsealed(path.read_bytes(), Baseline)
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
    except msgspec.DecodeError as error:
        raise InputError(Reason.DATA_BAD, f"{path} is no baseline: {error}", hint=hint) from None
    except BrokenSealError as error:
        raise InputError(
            Reason.DATA_BAD,
            f"{path} is not as galago qa baseline writes it: {error}",
            hint=f"bring the committed file back; where that is of an earlier build, {hint}",
        ) from None
    return [_replayed(found, each) for each in found.recordings]


def _replayed(found: Baseline, each: BaselineRecording) -> Replayed:
    stream = each.recording
    events = [
        EventRecord(
            stream=stream, seq=number, label=one.label, score=one.score, start_index=one.start_index,
            end_index=one.end_index, start_ns=one.start_ns, end_ns=one.end_ns, bundle=found.bundle,
            backend="cpu",
        )
        for number, one in enumerate(each.events)
    ]  # fmt: skip
    gaps = [GapRecord(stream=stream, from_ns=low, to_ns=high, cause=cause) for low, high, cause in each.gaps]
    return Replayed(
        recording=each.recording, sha256=each.sha256, bundle=found.bundle, labels=found.labels,
        receptive_ns=each.receptive_ns, duration_ns=each.duration_ns, events=tuple(events), gaps=tuple(gaps),
        states=(), tags=each.tags,
    )  # fmt: skip
