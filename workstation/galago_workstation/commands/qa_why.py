"""``galago qa why``: why a recording gave an event or none, and what would have changed that."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from galago_edge.commands.cli import json_option, say, say_data
from galago_edge.commands.options import PATH, FiniteRange, bundle_option
from galago_edge.contract.errors import CallerError, Reason
from galago_workstation.commands.qa_options import replaying_options, rule_options
from galago_workstation.commands.qa_runs import Replaying

if TYPE_CHECKING:
    from galago_workstation.qa.matching import MatchingRule

_NS_PER_S = 1_000_000_000


@click.command()
@click.argument("recording")
@click.option(
    "--at", required=True, metavar="TIME", help="When: seconds, MM:SS or HH:MM:SS of the recording."
)
@click.option("--label", required=True, metavar="LABEL", help="Which label.")
@click.option(
    "--within",
    type=FiniteRange(0, 3600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How long before and after an event would have been right.",
)
@bundle_option("What decided; with a recording.")
@click.option("--run", "run_folder", type=PATH, metavar="RUN", help="RECORDING is a name in this run.")
@click.option(
    "--corpus",
    type=PATH,
    metavar="RUN|CORPUS",
    help="Labelled recordings on which each change is tried.  [default: the run]",
)
@rule_options
@replaying_options
@json_option
@click.pass_context
def why(
    ctx: click.Context,
    recording: str,
    at: str,
    label: str,
    within: float,
    bundle: Path | None,
    run_folder: Path | None,
    corpus: Path | None,
    rule: MatchingRule,
    replaying: Replaying,
    as_json: bool,
) -> None:
    """Say why a recording gave an event, or none.

    Where there was none, also which smallest changes of policy would have given it, and what they cost.

    \b
    Examples:
      galago qa why corpus/night.flac --bundle alarms-1.1.0.galago --label smoke --at 1:02:13.5
      galago qa why night.flac --run runs/alarms-1.1.0 --label smoke --at 3733.5 --json
    """
    import msgspec

    from galago_edge.sources.stream_position import read_position
    from galago_workstation.qa.replay_run import RUN
    from galago_workstation.qa.why import why_data, why_lines, why_replayed

    try:
        at_ns = read_position(at)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param_hint="--at") from None
    if (bundle is None) is (run_folder is None):
        text = "RECORDING needs --bundle, or --run where it has been replayed; one of them"
        raise CallerError(Reason.USAGE, text, hint="galago qa why --help")
    if run_folder is not None:
        replaying.asked = recording
        others = replaying.of(run_folder, None)
        asked = next((one for one in others if one.recording == recording), None)
        if asked is None:
            if lost := next((one for one in replaying.losses.failed if one.recording == recording), None):
                raise lost.error()
            from galago_edge.contract.known_names import known_names

            known = known_names(recording, [one.recording for one in others])
            raise CallerError(Reason.USAGE, f"{run_folder} has no recording {recording}: {known}", hint="")
    else:
        assert bundle is not None
        replaying.refuse_unknown_label(bundle, [label])
        asked, others = replaying.one(recording, bundle), []
        replaying.asked = asked.recording
    if corpus is not None:
        others = replaying.of(corpus, None if (corpus / RUN).is_file() else bundle)
    told = why_replayed(asked, label, at_ns, within_ns=round(within * _NS_PER_S), corpus=others, rule=rule)
    if as_json:
        say_data(why_data(told) | {"losses": msgspec.to_builtins(replaying.losses)})
    else:
        in_part = tuple(one for one in replaying.losses.read_in_part if one.recording == asked.recording)
        losses = msgspec.structs.replace(replaying.losses, read_in_part=in_part)
        for line in (*why_lines(told), *losses.lines()):
            say(line)
    ctx.exit(replaying.exit_code)
