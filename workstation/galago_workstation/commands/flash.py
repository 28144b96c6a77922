"""``galago flash``: bring a bundle to devices."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from galago_edge.commands.cli import json_option, say, say_json
from galago_edge.commands.options import PATH, FiniteRange
from galago_workstation.commands.target_options import target_options

if TYPE_CHECKING:
    from galago_workstation.flashing.results import FlashReport


@click.command()
@click.argument("bundle", type=PATH)
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@click.option(
    "--dry-run", is_flag=True, help="Only let every device check manifest, board, release and space."
)
@click.option("--stage-only", is_flag=True, help="Install it, but do not make it active.")
@click.option(
    "--trial-s",
    type=click.IntRange(min=1),
    help="Length of each trial in seconds, not the manifest's.",
)
@click.option(
    "--wait",
    "wait_s",
    type=FiniteRange(min=0, max=7 * 86_400),
    default=0.0,
    help="Wait this many seconds at most for each device's trial to end.",
)
@click.option("--allow-downgrade", is_flag=True, help="Take it even if a later release is active.")
@click.option("--allow-bad", is_flag=True, help="Take it even where it failed before.")
@click.option("--ignore-compatible", is_flag=True, help="Take it even on boards that it was not built for.")
@click.option("--jobs", type=click.IntRange(1, 256), default=16, show_default=True, help="Devices at a time.")
@target_options
@click.option(
    "--results",
    type=PATH,
    help="Write the results to this file, as JSON.",
)
@click.option(
    "--logs",
    type=PATH,
    help="Write a log for each device into this folder.",
)
@click.option(
    "--retry-failed",
    type=PATH,
    metavar="RESULTS",
    help="Flash again those devices that did not get it in the run that wrote RESULTS.",
)
@json_option
@click.pass_context
def flash(
    ctx: click.Context,
    bundle: Path,
    targets: tuple[str, ...],
    fleet: Path | None,
    dry_run: bool,
    stage_only: bool,
    trial_s: int | None,
    wait_s: float,
    allow_downgrade: bool,
    allow_bad: bool,
    ignore_compatible: bool,
    jobs: int,
    root: str | None,
    galago: str | None,
    user: str | None,
    ssh_config: Path | None,
    results: Path | None,
    logs: Path | None,
    retry_failed: Path | None,
    as_json: bool,
) -> None:
    """Install BUNDLE on many devices, by ssh or on mounted disks.

    A TARGET is user@host, a name of ~/.ssh/config, ssh://host:port/root, a folder with a slash (the
    store on a mounted disk or card, or the disk's root), or @name of the fleet file. All run at once,
    and one row reports each. Each device checks everything for itself. An interrupted transfer resumes
    when the command is run again.

    The exit code is that of the device that fared worst. With --wait it is 4 while one is still on trial
    and 6 when one has gone back; without it a device on trial counts as done.

    \b
    Example:
      galago flash alarms-1.4.0.galago pi@porch pi@barn /media/sdcard --results flash.json
      galago flash alarms-1.4.0.galago --retry-failed flash.json
      galago flash alarms-1.4.0.galago @barns --wait 600
    """
    from galago_edge.contract.wishes import Wishes
    from galago_edge.host.former_output import refuse_other_kind
    from galago_workstation.flashing.flash_run import Choice, run_flash
    from galago_workstation.flashing.order import FlashOptions, Package
    from galago_workstation.flashing.rows import LoggedRows, result_line, shown
    from galago_workstation.output_kinds import FLASH_RESULTS

    refuse_other_kind(results, FLASH_RESULTS)
    package = Package.of(bundle)
    options = FlashOptions(
        dry_run=dry_run,
        wait_s=wait_s,
        wishes=Wishes(
            stage_only=stage_only,
            allow_downgrade=allow_downgrade,
            allow_bad=allow_bad,
            ignore_compatible=ignore_compatible,
            trial_s=trial_s,
        ),
    )
    choice = Choice.of(
        targets,
        fleet=fleet,
        retry_failed=retry_failed,
        bundle_id=package.id,
        root=root,
        galago=galago,
        user=user,
        ssh_config=ssh_config,
    )
    names = [target.name for target in choice.targets]
    with shown(names, lambda line: say(line, err=True), as_json=as_json) as rows:
        seen = rows if logs is None else LoggedRows(rows, logs)
        report = run_flash(package, choice, options, seen, jobs=jobs, results=results, until=on_signals)
    if as_json:
        import msgspec

        say_json(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
    else:
        width = max(map(len, names), default=0)
        for result in report.devices:
            say(f"{result.target:<{width}}  {result_line(result)}")
            if result.hint:
                say(f"{'':<{width}}  Hint: {result.hint}")
        say(_last_line(report))
    ctx.exit(report.exit)


def _last_line(report: FlashReport) -> str:
    from galago_workstation.flashing.results import summary

    return f"{report.bundle}: {summary(report.devices)}; {report.seconds:.1f} s"


@contextlib.contextmanager
def on_signals(interrupt: Callable[[], None]) -> Iterator[None]:
    """Call ``interrupt`` at each SIGINT, SIGTERM, and SIGHUP: a terminal that goes away."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # under nohup a terminal may go away
        numbers.append(signal.SIGHUP)
    # A Python handler runs when the main thread gets to it, which may be within another handler or, of two
    # signals that come together, not before something else wakes it. The byte is written at once.
    reading, writing = socket.socketpair()
    writing.setblocking(False)

    def listen() -> None:
        while told := reading.recv(64):
            for number in told:
                if number in numbers:
                    interrupt()

    listener = threading.Thread(target=listen, name="interrupts", daemon=True)
    listener.start()
    wakeup = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        writing.close()
        listener.join()
        reading.close()
