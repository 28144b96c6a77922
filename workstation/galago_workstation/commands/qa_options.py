"""Options that several commands of ``galago qa`` share, and what is made of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from galago_edge.commands.options import PATH, FiniteRange, bundle_option, trust_option
from galago_workstation.commands.qa_runs import RESULTS, Replaying

if TYPE_CHECKING:
    from galago_workstation.qa.matching import MatchingRule

F = TypeVar("F", bound=Callable[..., Any])

_NS_PER_S = 1_000_000_000

place_argument = click.argument("place", metavar="RUN|CORPUS", type=PATH)
run_bundle_option = bundle_option("What a corpus is replayed with; a run has its own.")
replace_option = click.option("--replace", is_flag=True, help="Write over a file that exists.")
markdown_option = click.option(
    "--markdown", type=PATH, metavar="FILE", help="Write the tables as Markdown, too."
)
jobs_option = click.option(
    "--jobs", type=click.IntRange(1, 4_096), help="Processes at a time.  [default: one a core]"
)


def replaying_options(command: F) -> F:
    """Add the options of a corpus that may have to be replayed; the command gets them as ``replaying``.

    It must have ``--json``, too.
    """

    @functools.wraps(command)
    def with_replaying(
        *args: Any,
        trusted: tuple[Path, ...],
        results: Path,
        jobs: int | None,
        scheduler: str | None,
        rehash: bool,
        as_json: bool,
        **options: Any,
    ) -> Any:
        replaying = Replaying(trusted, results, jobs, scheduler, as_json, rehash)
        return command(*args, replaying=replaying, as_json=as_json, **options)

    added: F = _with(
        with_replaying,
        trust_option,
        click.option(
            "--results",
            type=PATH,
            default=RESULTS,
            metavar="FOLDER",
            help="Keep what was replayed here, and replay nothing twice.  [default: galago-results]",
        ),
        jobs_option,
        click.option("--scheduler", metavar="ADDRESS", help="Replay on the Dask cluster of this scheduler."),
        click.option(
            "--rehash",
            is_flag=True,
            help="Read every recording, also those that are as when they were hashed.",
        ),
    )
    return added


def rule_options(command: F) -> F:
    """Add the options of the matching rule; the command gets it as ``rule``."""

    @functools.wraps(command)
    def with_rule(*args: Any, pre: float, post: float | None, max_delay: float | None, **options: Any) -> Any:
        return command(*args, rule=_matching_rule(pre, post, max_delay), **options)

    added: F = _with(
        with_rule,
        click.option(
            "--pre",
            type=FiniteRange(0, 3600),
            default=0.0,
            metavar="SECONDS",
            help="An event may be decided so long before the onset.  [default: 0]",
        ),
        click.option(
            "--post",
            type=FiniteRange(0, 3600),
            metavar="SECONDS",
            help="An event may be decided so long behind the end.  [default: receptive field and one hop]",
        ),
        click.option(
            "--max-delay",
            type=FiniteRange(0, 86_400, min_open=True),
            metavar="SECONDS",
            help="What is decided later than this behind the onset is missed.  [default: no bound]",
        ),
    )
    return added


def _with(command: Callable[..., Any], *options: Callable[[Any], Any]) -> Any:
    """Add options, which stand in this order in the help."""
    for option in reversed(options):
        command = cast("Callable[..., Any]", option(command))
    return command


def _matching_rule(pre: float, post: float | None, max_delay: float | None) -> MatchingRule:
    """Return the rule of seconds."""
    from galago_workstation.qa.matching import MatchingRule

    return MatchingRule(
        pre_ns=round(pre * _NS_PER_S),
        post_ns=None if post is None else round(post * _NS_PER_S),
        most_delay_ns=None if max_delay is None else round(max_delay * _NS_PER_S),
    )
