"""``galago flash`` as a function: which devices, one run, one report."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from galago_edge.contract.errors import CallerError, Reason
from galago_workstation.flashing.device_session import Rows
from galago_workstation.flashing.fleet import fleet_targets, read_fleet
from galago_workstation.flashing.order import FlashOptions, Package
from galago_workstation.flashing.results import FlashReport, Result, left_over, worst, write_report
from galago_workstation.flashing.rollout import Rollout
from galago_workstation.flashing.targets import Target, parse_target

_FLEET_FILE = Path("fleet.toml")

Until = Callable[[Callable[[], None]], contextlib.AbstractContextManager[None]]
"""Calls what it is given when somebody wants to end the run, as long as the block lasts."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The devices of one run."""

    targets: tuple[Target, ...]
    canaries: frozenset[str]
    canary_wait_s: float

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        *,
        bundle_id: str,
        fleet: Path | None = None,
        retry_failed: Path | None = None,
        root: str | None = None,
        galago: str | None = None,
        user: str | None = None,
        ssh_config: Path | None = None,
    ) -> Choice:
        """Find the devices that are meant, each once, in the order in which they were named.

        ``root``, ``galago``, ``user`` and ``ssh_config`` come before what the fleet file says.

        Raises:
            CallerError: TARGET_UNKNOWN or CONFIG_BAD; nobody is meant, or a name or file is wrong.
            LinkError: A file cannot be read.
        """
        if not names and retry_failed is None:
            raise CallerError(
                Reason.TARGET_UNKNOWN, "no device is named", hint="galago flash BUNDLE pi@porch /media/sdcard"
            )
        left = left_over(retry_failed, bundle_id) if retry_failed else None
        wanted = names or (left.targets if left else ())
        path = fleet or _FLEET_FILE
        known = read_fleet(path) if fleet or any(name.startswith("@") for name in wanted) else None
        given = {"galago": galago, "user": user, "ssh_config": ssh_config}
        said = {key: value for key, value in given.items() if value is not None}
        found: dict[tuple[object, ...], Target] = {}
        canaries: set[str] = set(left.canaries) if left and not names else set()
        for name in wanted:
            if name.startswith("@") and known is not None:
                members, first = fleet_targets(known, path, name[1:], root)
                canaries |= first
            else:
                members = [parse_target(name, root)]
            for member in members:
                target = replace(member, **said)  # type: ignore[arg-type]
                there = found.setdefault(target.place(), target)
                if target.name.startswith("@") and not there.name.startswith("@"):
                    found[target.place()] = target  # the fleet file knows more than an address
        targets = list(found.values())
        if left is not None and retry_failed is not None:
            strangers = [target.name for target in targets if target.name not in left.known]
            if targets and len(strangers) == len(targets):
                raise CallerError(
                    Reason.TARGET_UNKNOWN,
                    f"{retry_failed} says nothing of {', '.join(strangers)}",
                    hint="name targets of that run, or none: galago flash BUNDLE --retry-failed FILE",
                )
            targets = [target for target in targets if target.name in left.targets]
        wait_s = known.defaults.canary_wait_s if known is not None else 0.0
        return cls(tuple(targets), frozenset(canaries), wait_s)


def run_flash(
    package: Package,
    choice: Choice,
    options: FlashOptions,
    rows: Rows,
    *,
    jobs: int = 16,
    results: Path | None = None,
    until: Until = lambda _: contextlib.nullcontext(),
) -> FlashReport:
    """Flash every chosen device and return the truth about each; write it to ``results`` too.

    What fails on one device is its result and hinders no other.

    Raises:
        LinkError: ``results`` cannot be written; the report is lost then, so that is tried before.
    """
    began, started = time.monotonic(), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def report(devices: tuple[Result, ...], code: int) -> FlashReport:
        return FlashReport(
            bundle=package.title,
            id=package.id,
            size=package.size,
            started_utc=started,
            seconds=round(time.monotonic() - began, 3),
            exit=code,
            devices=devices,
            canaries=tuple(sorted(choice.canaries)),
        )

    if results is not None:  # what has not ended was not started, should this process be killed
        waiting = tuple(
            Result(target=target.name, outcome="not started", exit=4, known=False)
            for target in choice.targets
        )
        write_report(results, report(waiting, 4))
    rollout = Rollout(package, options, rows, jobs)
    with until(rollout.interrupt):
        done = tuple(rollout.run(choice.targets, choice.canaries, choice.canary_wait_s))
    final = report(done, worst(done))
    if results is not None:
        write_report(results, final)
    return final
