"""``galago qa tune``: the policy of each label for a budget of false alarms, from stored scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from galago_edge.commands.cli import json_option, say, say_data, show_error
from galago_edge.commands.options import PATH, FiniteRange, refuse_own_inputs
from galago_edge.commands.output_places import check_outputs
from galago_workstation.commands.qa_options import (
    place_argument,
    replace_option,
    replaying_options,
    rule_options,
    run_bundle_option,
)
from galago_workstation.commands.qa_runs import Replaying

if TYPE_CHECKING:
    from galago_workstation.qa.matching import MatchingRule


@click.command()
@place_argument
@run_bundle_option
@click.option(
    "--false-per-day",
    type=FiniteRange(0, 1_000_000),
    required=True,
    metavar="COUNT",
    help="Budget of false alarms of each label in a watched day.",
)
@click.option(
    "--label", "labels", multiple=True, metavar="LABEL", help="Tune this label; repeatable.  [default: all]"
)
@click.option(
    "--folds", type=click.IntRange(2, 100), default=5, show_default=True, help="Parts for cross-validation."
)
@click.option("--group-by", metavar="TAG", help="Recordings with the same value of this tag stay together.")
@click.option("--out", type=PATH, metavar="FILE", help="Write the policy, for galago bundle repolicy.")
@click.option(
    "--allow-nothing-found", is_flag=True, help="Write also a policy that is promised to find nothing."
)
@replace_option
@rule_options
@replaying_options
@json_option
@click.pass_context
def tune(
    ctx: click.Context,
    place: Path,
    bundle: Path | None,
    false_per_day: float,
    labels: tuple[str, ...],
    folds: int,
    group_by: str | None,
    out: Path | None,
    allow_nothing_found: bool,
    replace: bool,
    rule: MatchingRule,
    replaying: Replaying,
    as_json: bool,
) -> None:
    """Find policies that miss least within a budget of false alarms.

    What is promised was measured on recordings that the choice has not seen. A policy that finds nothing
    there is told and not written.

    \b
    Examples:
      galago qa tune runs/alarms-1.1.0 --false-per-day 0.5 --out policy.toml
      galago bundle repolicy alarms-1.1.0.galago policy.toml --key release.key
    """
    import msgspec

    from galago_workstation.files import refuse_existing, write_bytes
    from galago_workstation.output_kinds import POLICY
    from galago_workstation.qa.tune_report import tune_labels
    from galago_workstation.qa.tuning import TuneGoal
    from galago_workstation.qa.tuning_words import nothing_found, policy_toml, tune_data, tune_lines

    refuse_own_inputs([out], [bundle])
    if out is not None:
        refuse_existing(out, POLICY, replace=replace)  # before hours of replaying
    check_outputs({"--out": out})
    if bundle is not None:
        replaying.refuse_unknown_label(bundle, labels)
    replays = replaying.of(place, bundle)
    found = tune_labels(replays, labels, TuneGoal(false_per_day, folds, group_by=group_by), rule=rule)
    refused = None if out is None or allow_nothing_found else nothing_found(found)
    if out is not None and refused is None:
        write_bytes(out, policy_toml(found))
    if as_json:
        written = {"written": out is not None and refused is None}
        say_data(tune_data(found) | written | {"losses": msgspec.to_builtins(replaying.losses)})
    else:
        for line in (*tune_lines(found), *replaying.losses.lines()):
            say(line)
    if refused is not None:
        show_error(refused)  # behind the table, which says why
        ctx.exit(refused.exit_code)
    ctx.exit(replaying.exit_code)
