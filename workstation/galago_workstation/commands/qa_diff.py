"""``galago qa diff`` and ``galago qa baseline``: two bundles on the same recordings, and a verdict."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from galago_edge.commands.cli import json_option, say, say_data
from galago_edge.commands.options import PATH, FiniteRange, refuse_own_inputs
from galago_edge.commands.output_places import check_outputs
from galago_edge.contract.count_words import count_of
from galago_edge.contract.errors import CallerError, Reason
from galago_edge.host.former_output import junit_kind, refuse_other_kind
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
    from galago_edge.contract.manifest import Label
    from galago_workstation.qa.gate_rules import GateRules
    from galago_workstation.qa.matching import MatchingRule
    from galago_workstation.qa.page.page_events import PageWish
    from galago_workstation.qa.page.page_making import MadePage
    from galago_workstation.qa.replay_comparison import BundleComparison
    from galago_workstation.qa.replayed import Replayed

_NS_PER_S = 1_000_000_000
_SUITE = "galago qa diff"
"""Of JUnit; as ``junit_xml`` calls it."""


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
    from galago_workstation.output_kinds import MARKDOWN
    from galago_workstation.qa.baseline import read_baseline
    from galago_workstation.qa.comparison_report import show_comparison, write_reports
    from galago_workstation.qa.gate_rules import load_gates
    from galago_workstation.qa.junit_report import junit_of_failure
    from galago_workstation.qa.replay_comparison import compare_bundles

    refuse_other_kind(junit, junit_kind(_SUITE))
    refuse_other_kind(markdown, MARKDOWN)
    rules = None if gates is None else load_gates(gates)  # before hours of replaying
    check_outputs({"--junit": junit, "--markdown": markdown, **page.files()}, page.folders())
    _check_junit(ctx, junit, gates)
    page.check()
    with junit_of_failure(junit, _SUITE):
        sides = _asked(what, replaying, wanted=2 if baseline is None else 1)
        if baseline is not None:
            sides.insert(0, _Side(replays=read_baseline(baseline)))
        _refuse_before(sides, replaying, rules, gates or "gates", common=common)
        old, new = (one.said(replaying) for one in sides)
        found = compare_bundles(
            old,
            new,
            gates=rules,
            gates_file=gates or "gates",
            common=common,
            tolerance_ns=None if tolerance is None else round(tolerance * _NS_PER_S),
            rule=rule,
            losses=replaying.losses,
        )
    now = datetime.datetime.now(datetime.UTC)
    write_reports(found, at=now, junit=junit, markdown_file=markdown, inconclusive=inconclusive)
    exit_code = show_comparison(found, as_json=as_json)
    page.write(lambda wish: _page(found, rule, wish), replaying)
    ctx.exit(exit_code)


def _page(found: BundleComparison, rule: MatchingRule, wish: PageWish) -> MadePage:
    from galago_workstation.qa.page.page_making import comparison_page

    return comparison_page(found, rule, wish)


@dataclass(slots=True)
class _Side:
    """OLD or NEW: what is there already, or a bundle and what it is to be asked about."""

    replays: list[Replayed] | None = None
    bundle: Path | None = None
    corpus: Path | None = None

    def labels(self, replaying: Replaying) -> Sequence[Label]:
        """Return the bundle's labels; nothing of what has no recording."""
        if self.bundle is not None:
            return replaying.opened(self.bundle).manifest.labels
        return self.replays[0].labels if self.replays else ()

    def tags(self, replaying: Replaying) -> list[Mapping[str, str]]:
        """Return the tags of each recording."""
        if self.bundle is None or self.corpus is None:
            return [one.tags for one in self.replays or ()]
        corpus = replaying.corpus(self.corpus).of_modality(replaying.opened(self.bundle).modality)
        return [one.tags for one in corpus.recordings]

    def said(self, replaying: Replaying) -> list[Replayed]:
        """Return what it said; the corpus is replayed if need be."""
        if self.replays is None and self.corpus is not None:
            self.replays = replaying.of(self.corpus, self.bundle)
        return self.replays or []


def _asked(what: Sequence[Path], replaying: Replaying, *, wanted: int) -> list[_Side]:
    """Return ``wanted`` sides; runs are read, and nothing is replayed.

    Raises:
        CallerError: USAGE; there are too many or too few.
        GalagoError: A run cannot be read.
    """
    from galago_workstation.qa.replay_run import RUN

    runs = [(one / RUN).is_file() for one in what]
    of_runs = len(what) == wanted and all(runs)
    if not of_runs and (len(what) != wanted + 1 or runs[-1]):
        given = f"{len(what)} given, {sum(runs)} of them runs"
        form = "NEW CORPUS, or a run, with --baseline" if wanted == 1 else "OLD NEW CORPUS, or two runs"
        raise CallerError(Reason.USAGE, f"expected {form}; {given}", hint="galago qa diff --help")
    return [
        _Side(replays=replaying.of(one, None)) if is_run else _Side(bundle=one, corpus=what[-1])
        for one, is_run in zip(what[:wanted], runs, strict=False)
    ]


def _refuse_before(
    sides: Sequence[_Side], replaying: Replaying, rules: GateRules | None, file: Path | str, *, common: bool
) -> None:
    """Refuse before hours of replaying what would be refused behind them.

    Raises:
        GalagoError: See ``refuse_before``; a bundle or the corpus cannot be opened.
    """
    from galago_workstation.qa.replay_comparison import refuse_before

    old, new = (one.labels(replaying) for one in sides)
    if old and new:
        tags = sides[1].tags(replaying)
        refuse_before(old, new, tags, gates=rules, gates_file=file, common=common)
    replaying.more_labels = None if common else (*old, *new)


def _check_junit(ctx: click.Context, junit: Path | None, gates: Path | None) -> None:
    """Refuse options that would be about nothing.

    Raises:
        CallerError: USAGE.
    """
    if junit is not None and gates is None:
        text = "--junit has a test case for each gate, and there are none"
        raise CallerError(Reason.USAGE, text, hint="give --gates FILE, or leave --junit out")
    source = ctx.get_parameter_source("inconclusive")
    if junit is None and source is not None and source.name != "DEFAULT":
        text = "--inconclusive is about JUnit, and none is asked for"
        raise CallerError(Reason.USAGE, text, hint="give --junit FILE, or leave it out")


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
    import msgspec

    from galago_workstation.files import refuse_existing
    from galago_workstation.output_kinds import BASELINE
    from galago_workstation.qa.baseline import make_baseline, write_baseline

    refuse_own_inputs([out], [bundle])
    refuse_existing(out, BASELINE, replace=replace)  # before hours of replaying
    check_outputs({"--out": out})
    replays = replaying.of(place, bundle)
    made = make_baseline(replays, rule)
    write_baseline(out, made, replace=replace)
    events = sum(len(one.events) for one in replays)
    if as_json:
        told = {"path": str(out), "bundle": made.bundle, "recordings": len(replays), "events": events}
        say_data(told | {"losses": msgspec.to_builtins(replaying.losses)})
    else:
        told_of = f"{count_of(len(replays), 'recording')}, {count_of(events, 'event')}"
        say(f"{out}: {told_of} of bundle {made.bundle[:12]}")
        for line in replaying.losses.lines():
            say(line)
    ctx.exit(replaying.exit_code)
