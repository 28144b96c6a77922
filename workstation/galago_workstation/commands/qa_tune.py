"""``galago qa tune``: the policy of each label for a budget of false alarms, from stored scores."""

from __future__ import annotations

from pathlib import Path

import click

from galago_edge.commands.cli import json_option, say, say_data
from galago_edge.contract.errors import CallerError, Reason
from galago_workstation.commands.qa_runs import Replaying, bundle_option, replaying_options

_PATH = click.Path(path_type=Path, readable=False)
_NS_PER_S = 1_000_000_000


@click.command()
@click.argument("place", metavar="RUN|CORPUS", type=_PATH)
@bundle_option
@click.option(
    "--false-per-day",
    type=click.FloatRange(0),
    required=True,
    metavar="COUNT",
    help="Budget of false alarms of each label in a watched day.",
)
@click.option(
    "--max-delay",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="A decision that comes later after the onset counts as missed.",
)
@click.option(
    "--label", "labels", multiple=True, metavar="LABEL", help="Tune this label; repeatable.  [default: all]"
)
@click.option(
    "--folds", type=click.IntRange(2, 100), default=5, show_default=True, help="Parts for cross-validation."
)
@click.option("--group-by", metavar="TAG", help="Recordings with the same value of this tag stay together.")
@click.option("--out", type=_PATH, metavar="FILE", help="Write the policy, for galago bundle repolicy.")
@click.option("--replace", is_flag=True, help="Write over a file that exists.")
@replaying_options
@json_option
@click.pass_context
def tune(
    ctx: click.Context,
    place: Path,
    bundle: Path | None,
    false_per_day: float,
    max_delay: float | None,
    labels: tuple[str, ...],
    folds: int,
    group_by: str | None,
    out: Path | None,
    replace: bool,
    trusted: tuple[Path, ...],
    results: Path,
    jobs: int | None,
    scheduler: str | None,
    as_json: bool,
) -> None:
    """Find policies that miss least within a budget of false alarms.

    What is promised was measured on recordings that the choice has not seen.

    \b
    Examples:
      galago qa tune runs/alarms-1.1.0 --false-per-day 0.5 --out policy.toml
      galago bundle repolicy alarms-1.1.0.galago policy.toml --key release.key
    """
    from galago_workstation.files import write_bytes
    from galago_workstation.qa.judged_corpus import MatchRule
    from galago_workstation.qa.tune_report import tune_labels
    from galago_workstation.qa.tuning import TuneGoal
    from galago_workstation.qa.tuning_words import policy_toml, tune_data, tune_lines

    if out is not None and out.exists() and not replace:  # before hours of replaying
        hint = "write it over with --replace, or choose another name"
        raise CallerError(Reason.EXISTS, f"{out} exists", hint=hint)
    replaying = Replaying(trusted, results, jobs, scheduler, as_json)
    replays = replaying.of(place, bundle)
    rule = MatchRule(most_delay_ns=None if max_delay is None else round(max_delay * _NS_PER_S))
    found = tune_labels(replays, labels, TuneGoal(false_per_day, folds, group_by=group_by), rule=rule)
    if out is not None:
        write_bytes(out, policy_toml(found))
    if as_json:
        say_data(tune_data(found))
    else:
        for line in tune_lines(found):
            say(line)
    ctx.exit(replaying.exit_code)
