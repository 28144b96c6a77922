"""``galago install``: take a bundle into a device's store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from galago_edge.commands.cli import json_option, say, say_data
from galago_edge.commands.options import PATH, FiniteRange
from galago_edge.commands.store_options import (
    await_verdict,
    notify_service,
    root_option,
    slot_data,
    telling_what_is_active,
    wish_options,
)

if TYPE_CHECKING:
    from galago_edge.intake.receiver import Receipt
    from galago_edge.store.state import Slot


@click.command()
@click.argument("bundle", type=PATH)
@root_option
@click.option("--stage-only", is_flag=True, help="Only stage it beside the active one; see galago activate.")
@wish_options
@click.option("--allow-bad", is_flag=True, help="Take a bundle that failed on this device before.")
@click.option("--ignore-compatible", is_flag=True, help="Take a bundle that was built for other boards.")
@click.option(
    "--wait",
    "wait_s",
    type=FiniteRange(0),
    help="Wait this many seconds at most for the trial to end.",
)
@json_option
@click.pass_context
def install(
    ctx: click.Context,
    bundle: Path,
    root: Path,
    stage_only: bool,
    commit: bool,
    allow_downgrade: bool,
    allow_bad: bool,
    ignore_compatible: bool,
    trial_s: int | None,
    wait_s: float | None,
    as_json: bool,
) -> None:
    """Check BUNDLE, test it on this device and make it active.

    It is loaded once in a process of its own and must answer its golden samples. Where there is a bundle
    to go back to, the new one is active on trial: the running service is told, judges it by live input,
    and commits it or goes back. Without a service it is judged from the next start on. Exit code 0:
    installed as asked. With --wait: 0 committed, 4 still on trial, 6 rolled back.

    If anything fails, the bundle that was active before stays active. ROOT must trust the signer (galago
    keys trust); with a profile in ROOT (galago devices show NAME -o ROOT/profile.toml) board, runtime
    and operators are checked too.

    \b
    Example:
      galago install alarms-1.4.0.galago --root /var/lib/galago --wait 300
    """
    from galago_edge.contract.wishes import Wishes
    from galago_edge.intake.receiver import receive
    from galago_edge.store import Store

    if stage_only and (commit or wait_s is not None or trial_s is not None):
        raise click.UsageError("--stage-only makes nothing active, so there is nothing to commit or wait for")
    with telling_what_is_active(root):
        receipt = receive(
            bundle,
            root,
            wishes=Wishes(
                stage_only=stage_only,
                commit=commit,
                allow_downgrade=allow_downgrade,
                allow_bad=allow_bad,
                ignore_compatible=ignore_compatible,
                trial_s=trial_s,
            ),
        )
        told = None
        if receipt.phase != "staged" and receipt.outcome != "already installed":
            told = notify_service(root)
        code, slot = 0, receipt.slot
        name = receipt.bundle.name
        if wait_s is not None:
            code, slot = await_verdict(Store(root), name, receipt.bundle.id, wait_s)
    if as_json:
        say_data(_data(receipt, slot, told))
    else:
        for line in _lines(receipt, root, told):
            say(line)
        if wait_s is not None and receipt.phase == "on trial":
            say(_verdict(slot, code))
    ctx.exit(code)


_SAID = {
    ("installed", "committed"): "is installed and active",
    ("installed", "on trial"): "is installed and active on trial",
    ("installed", "staged"): "is installed and staged",
    ("already installed", "committed"): "was active already and is whole",
    ("already installed", "on trial"): "was active on trial already and is whole",
    ("already installed", "staged"): "was staged already and is whole",
    ("repaired", "committed"): "was damaged and is repaired",
    ("repaired", "on trial"): "was damaged and is repaired, still on trial",
}


def _lines(receipt: Receipt, root: Path, told: int | None) -> list[str]:
    said = _SAID[receipt.outcome, receipt.phase]
    lines = [f"{receipt.bundle} {said} in {root} (id {receipt.bundle.id[:16]}…)"]
    if receipt.golden:
        worst = max(result.largest_difference for result in receipt.golden)
        answered = f"golden samples: {len(receipt.golden)} answered"
        lines.append(f"{answered}, at most {worst} quantization steps off")
    if receipt.profile is None:
        lines.append(f"no profile in {root}: board and operators were not checked, machine and runtime were")
    if receipt.phase == "on trial":
        back = receipt.slot.previous
        to = f"{back.version}" if back else "the factory's bundle"
        judge = f"the service (process {told}) judges it now" if told else "the next galago run judges it"
        lines.append(f"{judge}; if it fails, {to} is active again; galago status shows how it goes")
    elif receipt.phase == "staged":
        name = receipt.bundle.name
        lines.append(f"{receipt.active_version} stays active; galago activate {name} --root {root}")
    return lines


def _verdict(slot: Slot, code: int) -> str:
    if code == 0:
        return f"committed: {slot.active.version} stays"
    if code == 4:
        return f"still on trial, {slot.trial.left if slot.trial else 0} boot attempts left"
    return f"rolled back: {slot.active.version} is active again; galago history says why"


def _data(receipt: Receipt, slot: Slot, told: int | None) -> dict[str, Any]:
    info = receipt.bundle.manifest.bundle
    return {
        "outcome": receipt.outcome,
        "phase": receipt.phase,
        "name": info.name,
        "version": info.version,
        "id": receipt.bundle.id,
        "folder": str(receipt.folder),
        "profile": receipt.profile,
        "golden": [
            {"file": result.file, "label": result.label, "difference": result.largest_difference}
            for result in receipt.golden
        ],
        "service": told,
        "slot": slot_data(info.name, slot),
    }
