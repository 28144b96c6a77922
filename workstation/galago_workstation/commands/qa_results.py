"""``galago qa results``: how much room stored results take, and what of them may go."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from galago_edge.commands.cli import json_option, say, say_data, show_error
from galago_edge.commands.options import PATH, FiniteRange
from galago_edge.contract.count_words import count_of
from galago_edge.contract.errors import CallerError, Reason
from galago_workstation.commands.qa_runs import RESULTS

if TYPE_CHECKING:
    from galago_workstation.qa.kept_results import KeptResult, Removal, Wanted

_NS_PER_S = 1_000_000_000


@click.group()
def results() -> None:
    """Look at stored results of replays, and remove old ones."""


@results.command("list")
@click.argument("folder", metavar="[FOLDER|RUN]", type=PATH, default=RESULTS)
@json_option
def list_results(folder: Path, as_json: bool) -> None:
    """Show what stored results there are, and what room they take.

    FOLDER is one of --results (galago-results unless it is given), or a run, which has its own.

    \b
    Example:
      galago qa results list
    """
    from galago_workstation.qa.kept_results import results_in

    place = _results_of(folder)
    kept = results_in(place)
    if as_json:
        rows = [_row(one) for one in kept.results]
        halves = [str(half) for half in kept.halves]
        say_data({"folder": str(place), "results": rows, "halves": halves, "others": list(kept.others)})
        return
    _tell_bundles(kept.results)
    say(f"{place}: {_amount(kept.results)}")
    _tell_beside(len(kept.halves), kept.others)


@results.command("clean")
@click.argument("folder", metavar="[FOLDER|RUN]", type=PATH, default=RESULTS)
@click.option(
    "--keep",
    "places",
    multiple=True,
    type=PATH,
    metavar="RUN|CORPUS",
    help="Keep what this run lists, or what was said to this corpus; may be given several times.",
)
@click.option(
    "--keep-bundle",
    "bundles",
    multiple=True,
    type=PATH,
    metavar="BUNDLE",
    help="Keep what this bundle said; beside a corpus, to that corpus. May be given several times.",
)
@click.option(
    "--older-than",
    "days",
    type=FiniteRange(0, 36_500),
    metavar="DAYS",
    help="Remove only what was made more than so many days ago.",
)
@click.option("--remove", "really", is_flag=True, help="Remove it; without this, only say what would go.")
@json_option
@click.pass_context
def clean_results(
    ctx: click.Context,
    folder: Path,
    places: tuple[Path, ...],
    bundles: tuple[Path, ...],
    days: float | None,
    really: bool,
    as_json: bool,
) -> None:
    """Say which results nobody needs any more, and remove them.

    Everything goes that is not kept by an option, and only with --remove. What is asked for again later is
    computed again; a run that lists a result that is gone cannot be judged until then. Links are not
    followed. What cannot be removed is told, the others go, and the exit code is 3.

    \b
    Examples:
      galago qa results clean --keep nights --keep-bundle alarms-1.1.0.galago
      galago qa results clean --older-than 30 --remove
    """
    from galago_workstation.qa.kept_results import bytes_of, chosen, remove, results_in

    if not places and not bundles and days is None:
        raise CallerError(
            Reason.USAGE,
            "nothing says which results are still needed",
            hint="give --keep RUN|CORPUS, --keep-bundle BUNDLE or --older-than DAYS; to remove everything, "
            "delete the folder",
        )
    place = _results_of(folder)
    kept = results_in(place)
    removal = chosen(kept, _wanted(place, places, bundles, days))
    if really:
        removal = remove(place, removal)
    for _, error in removal.failures:
        show_error(error)
    code = max((error.exit_code for _, error in removal.failures), default=0)
    if as_json:
        data = {
            "folder": str(place),
            "removed": really,
            "results": [_row(one) for one in removal.results],
            "bytes": bytes_of(removal.results),
            "halves": [str(half) for half in removal.halves],
            "stays": len(removal.stays),
            "failures": [{"path": str(path), "error": error.as_data()} for path, error in removal.failures],
            "others": list(kept.others),
        }
        say_data(data)
    else:
        _tell_removal(place, removal, really=really)
        _tell_beside(0, kept.others)
    ctx.exit(code)


def _results_of(folder: Path) -> Path:
    """Return the folder of results; of a run, that which it names."""
    from galago_workstation.qa.replay_run import RUN, results_of_run

    return results_of_run(folder) if (folder / RUN).is_file() else folder


def _wanted(results: Path, places: Sequence[Path], bundles: Sequence[Path], days: float | None) -> Wanted:
    import time

    import galago_edge
    from galago_workstation.progress_lines import PlainReport
    from galago_workstation.qa.content_hashes import ContentHashes
    from galago_workstation.qa.corpus import read_corpus
    from galago_workstation.qa.kept_results import Wanted, since_days
    from galago_workstation.qa.replay_run import RUN, digests_of_run

    runs = [place for place in places if (place / RUN).is_file()]
    corpora = [
        read_corpus(place, report=PlainReport(), hashes=ContentHashes(results))
        for place in places
        if place not in runs
    ]
    opened = [galago_edge.open_bundle(bundle, unverified=True) for bundle in bundles]
    return Wanted(
        digests=frozenset(digest for run in runs for digest in digests_of_run(run)),
        recordings=frozenset(one.sha256 for corpus in corpora for one in corpus.recordings)
        if corpora
        else None,
        bundles=frozenset(bundle.id for bundle in opened) if opened else None,
        made_after_ns=None if days is None else since_days(days, time.time_ns()),
    )


def _tell_removal(place: Path, removal: Removal, *, really: bool) -> None:
    _tell_bundles(removal.results)
    halves = f", and {len(removal.halves)} half-written" if removal.halves else ""
    goes = f"{_amount(removal.results)}{halves}"
    stays = f"{_amount(removal.stays)} stay"
    if really:
        say(f"{place}: removed {goes}; {stays}")
    else:
        say(f"{place}: would remove {goes}; {stays}. Nothing is removed without --remove.")


def _tell_bundles(found: Sequence[KeptResult]) -> None:
    by_bundle: dict[str, list[KeptResult]] = {}
    for one in found:
        by_bundle.setdefault(one.bundle or "", []).append(one)
    for bundle, those in sorted(by_bundle.items()):
        first, last = (_day(pick(one.made_ns for one in those)) for pick in (min, max))
        named = f"bundle {bundle[:12]}" if bundle else "damaged, or of another version"
        say(f"{named}: {_amount(those)}, made {first}{'' if first == last else f' to {last}'}")


def _tell_beside(halves: int, others: Sequence[str]) -> None:
    if halves:
        say(
            f"half-written by processes that are gone: {halves}; galago qa results clean removes them",
            err=True,
        )
    if others:
        say(f"no results, left alone: {len(others)} ({', '.join(others[:3])})", err=True)


def _amount(found: Sequence[KeptResult]) -> str:
    from galago_workstation.qa.kept_results import bytes_of

    return f"{count_of(len(found), 'result')}, {bytes_of(found) / 1e6:.1f} MB"


def _day(ns: int) -> str:
    return datetime.datetime.fromtimestamp(ns / _NS_PER_S, datetime.UTC).date().isoformat()


def _row(one: KeptResult) -> dict[str, Any]:
    made = datetime.datetime.fromtimestamp(one.made_ns // _NS_PER_S, datetime.UTC)
    return {
        "digest": one.digest,
        "bytes": one.bytes,
        "made": made.isoformat(),
        "bundle": one.bundle,
        "recording": one.recording,
        "name": one.name,
    }
