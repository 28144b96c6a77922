"""What became of every device: the truth for people, as JSON, and for the next attempt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import CallerError, Reason, disk_error
from galago_workstation.files import write_json

Outcome = Literal[
    "committed",
    "already active",
    "staged",
    "would install",
    "provisioned",
    "on trial",
    "not started",
    "failed",
    "refused",
    "rolled back",
]
_AGAIN = ("not started", "failed", "refused", "rolled back")
_SEVERITY = (0, 4, 5, 3, 2, 1, 6)
"""Exit codes, the worst last: waiting, busy, out of reach, asked wrongly, refused, taken back."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one device."""

    target: str
    outcome: Outcome
    exit: int
    reason: str = ""
    """Reason code, as the device gave it."""
    message: str = ""
    hint: str = ""
    before: str | None = None
    """Version that was active when the device was asked first; None: none, or it was never reached."""
    active: str | None = None
    """Version that is active now; None: none, or unknown."""
    known: bool = True
    """Whether ``active`` is what the device itself says or must be; False: it cannot be reached any more."""
    machine: str | None = None
    """What a fleet file can pin the device by; None: it was never reached, or has no machine id."""
    sent_bytes: int = 0
    """Bytes that were handed to ssh; what of them arrived, the device says at the next attempt."""
    resumed_bytes: int = 0
    """Bytes that were there from an earlier attempt."""
    seconds: float = 0.0


class FlashReport(msgspec.Struct, frozen=True, kw_only=True):
    """One run of ``galago flash``."""

    schema: Literal["galago.flash/1"] = "galago.flash/1"
    bundle: str
    """Name and version."""
    id: str
    size: int
    started_utc: str
    seconds: float
    exit: int
    devices: tuple[Result, ...]
    canaries: tuple[str, ...] = ()
    """Targets that were to go first."""


class Left(NamedTuple):
    """What an earlier run has left to do."""

    targets: list[str]
    """Did not get the bundle, in the order of that run."""
    canaries: frozenset[str]
    """Of that run."""
    known: frozenset[str]
    """All targets of that run."""


def worst(results: Iterable[Result]) -> int:
    """Return the exit code of the device that fared worst; 0 without any."""
    codes = {result.exit for result in results} | {0}
    return max(codes, key=lambda code: _SEVERITY.index(code) if code in _SEVERITY else len(_SEVERITY))


def summary(results: Sequence[Result]) -> str:
    """Return one line: how many ended how, and why.

    >>> summary([Result(target="a", outcome="committed", exit=0)])
    '1 committed'
    """
    counts = Counter((result.outcome, result.reason) for result in results)
    order = {outcome: at for at, outcome in enumerate(Outcome.__args__)}  # type: ignore[attr-defined]
    parts = []
    for (outcome, reason), count in sorted(counts.items(), key=lambda item: (order[item[0][0]], item[0][1])):
        parts.append(f"{count} {outcome}" + (f" ({reason})" if reason else ""))
    return ", ".join(parts) or "no device"


def write_report(path: Path, report: FlashReport) -> None:
    """Write the results file.

    Raises:
        LinkError: The disk refuses.
    """
    write_json(path, report)


def left_over(path: Path, bundle_id: str) -> Left:
    """Return what an earlier run has left to do: a canary that holds others back is asked once more.

    Raises:
        CallerError: CONFIG_BAD; the file is no results file, or is about another bundle.
        LinkError: It cannot be read.
    """
    try:
        report = from_json(path.read_bytes(), type=FlashReport)
    except FileNotFoundError:
        raise CallerError(
            Reason.CONFIG_BAD, f"{path} does not exist", hint="galago flash --results FILE writes one"
        ) from None
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CallerError(
            Reason.CONFIG_BAD, f"{path}: {error}", hint="give what galago flash --results wrote"
        ) from None
    if report.id != bundle_id:
        raise CallerError(
            Reason.CONFIG_BAD,
            f"{path} is about {report.bundle} (id {report.id[:16]}…), the given bundle is {bundle_id[:16]}…",
            hint="give the same bundle, or name the targets: galago flash BUNDLE TARGET",
        )
    held = any(result.outcome == "not started" for result in report.devices)
    again = [
        result.target
        for result in report.devices
        if result.outcome in _AGAIN
        or (held and result.outcome == "on trial" and result.target in report.canaries)
    ]
    known = frozenset(result.target for result in report.devices)
    return Left(again, frozenset(report.canaries), known)
