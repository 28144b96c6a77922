"""``galago qa diff`` and ``galago qa baseline``: two bundles on the same recordings, and a verdict."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from galago_edge.commands.cli import json_option, say, say_data
from galago_edge.commands.options import PATH, FiniteRange, refuse_own_inputs
from galago_edge.commands.output_places import check_outputs
from galago_edge.contract.errors import CallerError, Reason
from galago_workstation.commands.qa_options import (
    markdown_option,
    place_argument,
    replace_option,
    replaying_options,
    rule_options,
    run_bundle_option,
)
from galago_workstation.commands.qa_page import WantedPage, page_options
from galago_workstation.commands.qa_runs import Replaying

if TYPE_CHECKING:
    from galago_workstation.qa.matching import MatchingRule
    from galago_workstation.qa.page.page_events import PageWish
    from galago_workstation.qa.page.page_making import MadePage
    from galago_workstation.qa.replay_comparison import BundleComparison
    from galago_workstation.qa.replayed import Replayed

_NS_PER_S = 1_000_000_000


@click.command()
@click.argument("what", metavar="[OLD] NEW [CORPUS]", nargs=-1, type=PATH)
@click.option("--baseline", type=PATH, metavar="FILE", help="What OLD said, written by galago qa baseline.")
@click.option("--gates", type=PATH, metavar="FILE", help="What NEW must not break, in TOML: docs/qa-diff.md.")
@click.option("--common", is_flag=True, help="Compare the recordings and labels that both have.")
@click.option(
    "--tolerance",
    type=FiniteRange(0, 3600),
    metavar="SECONDS",
    help="How far an event may move and is the same.  [default: one window, at least 1]",
)
@rule_options
@click.option("--junit", type=PATH, metavar="FILE", help="Write a test case for each gate, as JUnit XML.")
@markdown_option
@page_options
@click.option(
    "--inconclusive",
    type=click.Choice(["error", "failure", "skipped"]),
    default="error",
    show_default=True,
    help="What an inconclusive gate is in JUnit.",
)
@replaying_options
@json_option
@click.pass_context
def diff(
    ctx: click.Context,
    what: tuple[Path, ...],
    baseline: Path | None,
    gates: Path | None,
    common: bool,
    tolerance: float | None,
    rule: MatchingRule,
    junit: Path | None,
    markdown: Path | None,
    page: WantedPage,
    inconclusive: Literal["error", "failure", "skipped"],
    replaying: Replaying,
    as_json: bool,
) -> None:
    """Compare two bundles on the same recordings.

    OLD and NEW are bundles, with which CORPUS is replayed, or runs that galago replay --out has written. With
    --baseline there is no OLD. With --gates the exit code is the verdict: 0 pass, 1 fail, 7 inconclusive.

    \b
    Examples:
      galago qa diff alarms-1.0.0.galago alarms-1.1.0.galago corpus --gates gates.toml --junit qa.xml
      galago qa diff --baseline alarms.baseline.json alarms-1.1.0.galago corpus --gates gates.toml
      galago qa diff alarms-1.0.0.galago alarms-1.1.0.galago corpus --html diff.html
    """
    from galago_workstation.files import refuse_other_report
    from galago_workstation.qa.baseline import read_baseline
    from galago_workstation.qa.comparison_report import show_comparison, write_reports
    from galago_workstation.qa.gate_rules import load_gates
    from galago_workstation.qa.replay_comparison import compare_bundles

    refuse_other_report(junit, ".xml")
    refuse_other_report(markdown, ".md", ".markdown")
    rules = None if gates is None else load_gates(gates)  # before hours of replaying
    check_outputs({"--junit": junit, "--markdown": markdown, **page.files()}, page.folders())
    page.check()
    kept = None if baseline is None else read_baseline(baseline)
    sides = _sides(what, replaying, wanted=2 if kept is None else 1)
    old, new = (kept, sides[0]) if kept is not None else (sides[0], sides[1])
    found = compare_bundles(
        old,
        new,
        gates=rules,
        gates_file=gates or "gates",
        common=common,
        tolerance_ns=None if tolerance is None else round(tolerance * _NS_PER_S),
        rule=rule,
    )
    now = datetime.datetime.now(datetime.UTC)
    write_reports(found, at=now, junit=junit, markdown_file=markdown, inconclusive=inconclusive)
    exit_code = show_comparison(found, as_json=as_json)
    page.write(lambda wish: _page(found, rule, wish), replaying)
    ctx.exit(exit_code or replaying.exit_code)


def _page(found: BundleComparison, rule: MatchingRule, wish: PageWish) -> MadePage:
    from galago_workstation.qa.page.page_making import comparison_page

    return comparison_page(found, rule, wish)


def _sides(what: Sequence[Path], replaying: Replaying, *, wanted: int) -> list[list[Replayed]]:
    """Return what each of ``wanted`` bundles or runs said.

    Raises:
        CallerError: USAGE; there are too many or too few.
    """
    from galago_workstation.qa.replay_run import RUN

    runs = [(one / RUN).is_file() for one in what]
    if len(what) == wanted and all(runs):
        return [replaying.of(one, None) for one in what]
    if len(what) == wanted + 1 and not runs[-1]:
        corpus = what[-1]
        return [
            replaying.of(one, None) if is_run else replaying.of(corpus, one)
            for one, is_run in zip(what[:-1], runs, strict=False)
        ]
    given = f"{len(what)} given, {sum(runs)} of them runs"
    form = "NEW CORPUS, or a run, with --baseline" if wanted == 1 else "OLD NEW CORPUS, or two runs"
    raise CallerError(Reason.USAGE, f"expected {form}; {given}", hint="galago qa diff --help")


@click.command()
@place_argument
@run_bundle_option
@click.option("--out", type=PATH, required=True, metavar="FILE", help="File to write, to be committed.")
@replace_option
@rule_options
@replaying_options
@json_option
@click.pass_context
def baseline(
    ctx: click.Context,
    place: Path,
    bundle: Path | None,
    out: Path,
    replace: bool,
    rule: MatchingRule,
    replaying: Replaying,
    as_json: bool,
) -> None:
    """Keep what a bundle said to a corpus in a small file.

    galago qa diff --baseline takes it in place of the old bundle.

    \b
    Example:
      galago qa baseline corpus --bundle alarms-1.0.0.galago --out alarms.baseline.json
    """
    from galago_workstation.files import refuse_existing
    from galago_workstation.qa.baseline import make_baseline, write_baseline

    refuse_existing(out, replace=replace)  # before hours of replaying
    check_outputs({"--out": out})
    refuse_own_inputs([out], [bundle])
    replays = replaying.of(place, bundle)
    made = make_baseline(replays, rule)
    write_baseline(out, made, replace=replace)
    events = sum(len(one.events) for one in replays)
    if as_json:
        say_data({"path": str(out), "bundle": made.bundle, "recordings": len(replays), "events": events})
    else:
        say(f"{out}: {len(replays)} recordings, {events} events of bundle {made.bundle[:12]}")
    ctx.exit(replaying.exit_code)
