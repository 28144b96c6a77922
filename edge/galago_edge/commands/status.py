"""``galago status``: what a device has, whether it is whole, and what its service does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from galago_edge.commands.cli import json_option, say, say_data
from galago_edge.commands.service_lines import service_lines
from galago_edge.commands.store_options import PENDING_EXIT, root_option, slot_data
from galago_edge.contract.errors import DeviceError, GalagoError, LinkError
from galago_edge.contract.status import ServiceStatus

if TYPE_CHECKING:
    from galago_edge.contract.profile import RuntimeInfo
    from galago_edge.store.inventory import Inventory, SlotReport

_HEADING = 9
"""Characters of the column of headings, as long as none of them is longer."""


@click.command()
@root_option
@json_option
@click.pass_context
def status(ctx: click.Context, root: Path, as_json: bool) -> None:
    """Show what this device runs and how it is.

    Board, runtime, active bundles, trusted keys, the health of the store and of the running service.
    Every byte of every active bundle is checked, and who signed it. Exit code 1 when the next start
    would not load one, when keys, profile or the store's state cannot be read, when there is no TFLite
    runtime, or when a service runs and does not answer; 4 when a bundle is on trial and no service runs
    that could judge it. What a service reports about its sources, streams and sinks does not change the
    exit code.

    \b
    Example:
      galago status --root /var/lib/galago
    """
    from galago_edge.store.inventory import take_inventory
    from galago_edge.store.running_service import ask_status

    inventory = take_inventory(root, _runtime())
    running: ServiceStatus | GalagoError | None
    try:
        running = ask_status(root)
    except LinkError as silent:
        running = silent
    if as_json:
        data = _data(inventory) | _trust_data(inventory) | _service_data(running)
        say_data(data)
    else:
        parts = _lines(inventory) | _service_lines(running)
        width = max(_HEADING, *(len(title) + 1 for title in parts))
        for title, lines in parts.items():
            for number, line in enumerate(lines):
                say(f"{title if number == 0 else '':<{width}}{line}")
    if not inventory.healthy or isinstance(running, GalagoError):
        ctx.exit(1)
    if inventory.on_trial and running is None:
        ctx.exit(PENDING_EXIT)


def _runtime() -> RuntimeInfo | None:
    from galago_edge.engine.runtime import runtime

    try:
        return runtime()
    except DeviceError:  # none is installed: that is what status must be able to say
        return None


def _service_lines(running: ServiceStatus | GalagoError | None) -> dict[str, list[str]]:
    if running is None:
        return {"service": ["none runs on this store"]}
    if isinstance(running, GalagoError):
        return {"service": [running.line, running.hint]}
    return service_lines(running)


def _service_data(running: ServiceStatus | GalagoError | None) -> dict[str, Any]:
    """Return the same two keys always: ``service`` is null when none runs or when it does not answer."""
    if isinstance(running, GalagoError):
        return {"service": None, "service_fault": running.as_data()}
    return {"service": msgspec.to_builtins(running), "service_fault": None}


def _lines(inventory: Inventory) -> dict[str, list[str]]:
    profile, runtime = inventory.profile, inventory.runtime
    faults = {part: [fault.line, f"  {fault.hint}"] for part, fault in inventory.faults}
    board = f"{profile.id} ({profile.title})" if profile else "none: board and operators are not checked"
    interpreter = f"{runtime.package} {runtime.version}" if runtime else "NO TFLITE RUNTIME"
    copies = [f"{name} is {health}" for name, health in inventory.copies.items() if health != "ok"]
    if not inventory.slots:
        copies = []  # nothing was installed yet
    if inventory.leftovers:
        copies.append(f"{inventory.leftovers} leftovers of broken installs, which the next one removes")
    return {
        "device": [str(inventory.root)],
        "profile": faults.get("profile", [board]),
        "machine": [f"{inventory.arch}, galago-edge {inventory.edge_version}, {interpreter}"],
        "bundles": [line for slot in inventory.slots for line in _slot_lines(slot)]
        or ["unknown" if "store" in faults else "none"],
        "trusts": faults.get("trust", _trust_lines(inventory)),
        "store": faults.get("store", copies or ["ok"]),
    }


def _trust_lines(inventory: Inventory) -> list[str]:
    trust = inventory.trust
    lines = [f"{keyid[:16]}… {comment}".rstrip() for keyid, comment in trust.comments.items()]
    lines = lines or ["nobody: galago keys trust KEY.pub --root DIR"]
    lines += [f"REVOKED {keyid[:16]}… {why}".rstrip() for keyid, why in trust.revoked.items()]
    if trust.threshold > 1:
        lines.append(f"{trust.threshold} of {len(trust)} trusted keys must have signed a bundle")
    if trust.channel is not None:
        lines.append(f"only bundles of the channel {trust.channel} are taken")
    # of a bundle, it is said beside the bundle
    return lines + [
        f"{entry.at_utc}: --{entry.reason}" for entry in inventory.overrides if entry.name is None
    ]


def _trust_data(inventory: Inventory) -> dict[str, Any]:
    """Return whom the device believes besides ``trusted``, and every override that the history still has."""
    trust = inventory.trust
    revoked = [{"id": keyid, "why": why} for keyid, why in trust.revoked.items()]
    fields = ("seq", "at_utc", "name", "id", "version", "reason")
    return {
        "threshold": trust.threshold,
        "channel": trust.channel,
        "revoked": revoked,
        "overrides": [{field: getattr(entry, field) for field in fields} for entry in inventory.overrides],
    }


def _slot_lines(report: SlotReport) -> list[str]:
    slot, active = report.slot, report.slot.active
    lines = [f"{report.name} {active.version} (id {active.id[:16]}…, {report.modality or 'damaged'})"]
    lines.append(f"  since {active.since_utc}, release counter {active.release_counter}")
    if slot.floor:
        lines[-1] += f", floor {slot.floor}"
    if slot.previous is not None:
        lines[-1] += f", before it {slot.previous.version}"
    if slot.trial is not None:
        lines.append(f"  ON TRIAL: loaded {slot.trial.boots} times, {slot.trial.left} boot attempts left")
    if slot.staged is not None:
        lines.append(f"  staged: {slot.staged.version} (id {slot.staged.id[:16]}…)")
    if report.last_rollback is not None and report.last_rollback.id in slot.bad:
        entry = report.last_rollback
        lines.append(f"  rolled back: {entry.version} at {entry.at_utc}, {entry.reason}")
    lines += [f"  installed with --{override}" for override in _overridden(report)]
    if (fault := report.fault) is not None:
        how = "DAMAGED" if report.modality is None else "NOT LOADED AT THE NEXT START"
        lines.append(f"  {how}: {fault.line}; {fault.hint}")
    return lines


def _data(inventory: Inventory) -> dict[str, Any]:
    profile, runtime = inventory.profile, inventory.runtime
    return {
        "root": str(inventory.root),
        "healthy": inventory.healthy,
        "profile": {"id": profile.id, "title": profile.title} if profile else None,
        "arch": inventory.arch,
        "galago_edge": inventory.edge_version,
        "runtime": {"package": runtime.package, "version": runtime.version} if runtime else None,
        "slots": [_slot_data(report) for report in inventory.slots],
        "trusted": [{"id": keyid, "comment": comment} for keyid, comment in inventory.trust.comments.items()],
        "store": {"copies": inventory.copies, "leftovers": inventory.leftovers},
        "factory": list(inventory.factory),
        "faults": {part: fault.as_data() for part, fault in inventory.faults},
    }


def _slot_data(report: SlotReport) -> dict[str, Any]:
    fault, entry = report.fault, report.last_rollback
    return {
        **slot_data(report.name, report.slot),
        "modality": report.modality,
        "overrides": _overridden(report),
        "last_rollback": entry
        and {"id": entry.id, "version": entry.version, "at_utc": entry.at_utc, "reason": entry.reason},
        "fault": fault.as_data() if fault else None,
    }


def _overridden(report: SlotReport) -> list[str]:
    """Return each override once: a bundle may be staged with it and activated with it."""
    return list(dict.fromkeys(entry.reason for entry in report.overrides))
