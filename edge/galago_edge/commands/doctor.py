"""``galago doctor``: what is wrong with this device, and the line that fixes it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from galago_edge.commands.cli import json_option, say, say_data
from galago_edge.commands.options import PATH
from galago_edge.commands.store_options import root_option

if TYPE_CHECKING:
    from galago_edge.doctor import Finding


@click.command()
@root_option
@click.option(
    "--config",
    type=PATH,
    help="Also check what this galago.toml names.",
)
@json_option
@click.pass_context
def doctor(ctx: click.Context, root: Path, config: Path | None, as_json: bool) -> None:
    """Check everything this device needs and say how to fix it.

    Libraries, TFLite runtime, store, bundles and their golden samples, accelerators, cameras and
    microphones with stable names, disk, memory, clock, heat, systemd unit; with --config also the
    streams, their sources, broker, webhook and page. Nothing is changed. Exit code 1 when a check fails.

    \b
    Examples:
      galago doctor --root /var/lib/galago
      sudo -u galago galago doctor --root /var/lib/galago --config /etc/galago/galago.toml
    """
    from galago_edge.doctor import examine

    findings: list[Finding] = []
    for finding in examine(root, config):
        findings.append(finding)
        if not as_json:
            _show(finding)
    counts = {level: sum(finding.level == level for finding in findings) for level in ("fail", "warn", "ok")}
    if as_json:
        data = {
            "root": str(root),
            "healthy": counts["fail"] == 0,
            "findings": [
                {"name": one.name, "level": one.level, "met": one.met, "fix": one.fix} for one in findings
            ],
        }
        say_data(data)
    else:
        say()
        say(f"{counts['fail']} failed, {counts['warn']} to see to, {counts['ok']} ok")
    if counts["fail"]:
        ctx.exit(1)


def _show(finding: Finding) -> None:
    say(f"{finding.level:<5} {finding.name}: {finding.met}")
    if finding.fix:
        say(f"      fix: {finding.fix}")
