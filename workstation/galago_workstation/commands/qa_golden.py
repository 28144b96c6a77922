"""``galago qa golden``: what a bundle said to a corpus, kept in a file, and whether it still says so."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from galago_edge.commands.cli import (
    GalagoGroup,
    json_option,
    say,
    say_data,
    show_error,
    show_read_in_part,
)
from galago_edge.commands.options import PATH, bundle_options, opened_bundle
from galago_edge.commands.output_places import check_outputs
from galago_edge.host.former_output import junit_kind, refuse_other_kind
from galago_workstation.commands.qa_options import jobs_option

if TYPE_CHECKING:
    from galago_edge.bundle import Bundle
    from galago_workstation.qa.corpus import Corpus
    from galago_workstation.qa.exactness_tiers import TierChoice
    from galago_workstation.qa.golden_file import GoldenFile
    from galago_workstation.qa.golden_replay import FreshReplay

F = TypeVar("F", bound=Callable[..., Any])


@click.group(cls=GalagoGroup, prefix="qa.golden.")
def golden() -> None:
    """Keep every stage of a replay, and verify it later.

    docs/qa-golden.md.
    """


def _replay_options(command: F) -> F:
    """Add the options of what is replayed now; :class:`_Asked` takes them."""
    keep = click.option(
        "--keep", type=PATH, metavar="FOLDER", help="Keep the results of the replays here, a new folder."
    )
    return bundle_options(jobs_option(keep(command)))


def _why_options(why: str | None = None) -> Callable[[F], F]:
    """Add who and why, which the file keeps; without a default ``why`` somebody must say it."""
    asked: dict[str, Any] = {"required": True} if why is None else {"default": why, "show_default": True}

    def add(command: F) -> F:
        command = click.option(
            "--by", metavar="NAME", help="Who records it.  [default: the user who runs this]"
        )(command)
        return click.option("--why", **asked, metavar="TEXT", callback=_said, help="Why, kept in the file.")(
            command
        )

    return add


_SUITE = "galago qa golden verify"
"""Of JUnit; as ``golden_junit`` calls it."""


def _said(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    if not value.strip():
        raise click.BadParameter("it is empty; say why in some words", ctx, parameter)
    return value


@dataclass(frozen=True, slots=True)
class _Asked:
    """A corpus and a bundle, and how they are replayed."""

    place: Path
    bundle: Path
    trusted: tuple[Path, ...]
    jobs: int | None
    keep: Path | None
    as_json: bool

    def opened(self) -> tuple[Corpus, Bundle]:
        """Return the corpus and the bundle.

        Raises:
            GalagoError: See ``opened_bundle`` and ``read_corpus``.
        """
        from galago_workstation.progress_lines import command_report
        from galago_workstation.qa.corpus import read_corpus

        opened = opened_bundle(self.bundle, self.trusted)
        report = command_report(_note, as_json=self.as_json)
        return read_corpus(self.place, report=report).of_modality(opened.modality), opened

    def replayed(self, corpus: Corpus, bundle: Bundle) -> list[FreshReplay]:
        """Return what the bundle says to the corpus, computed now.

        Raises:
            GalagoError: See ``replay_afresh``.
        """
        from galago_workstation.progress_lines import command_report
        from galago_workstation.qa.golden_replay import replay_afresh, results_folder

        for note in corpus.notes:
            _note(note)
        report = command_report(_note, as_json=self.as_json)
        with results_folder(self.keep) as folder:
            fresh = replay_afresh(corpus, bundle, folder, jobs=self.jobs, report=report)
        for one in fresh:
            if (loss := one.replayed.loss) is not None:
                (show_error if one.replayed.failed else show_read_in_part)(loss.error())
        return fresh


def _note(line: str) -> None:
    """Progress is not the answer, which may be read by a program."""
    say(line, err=True)


@golden.command()
@click.argument("place", metavar="CORPUS", type=PATH)
@click.option("--out", type=PATH, required=True, metavar="FILE", help="File to write, to be committed.")
@_why_options("first recorded")
@_replay_options
@json_option
def record(place: Path, out: Path, why: str, by: str | None, as_json: bool, **options: Any) -> None:
    """Replay a corpus now and keep every stage in a file.

    \b
    Example:
      galago qa golden record golden --bundle alarms-1.0.0.galago --out alarms.golden.json
    """
    from galago_workstation.qa.golden_file import check_new

    check_new(out)  # before minutes of replaying
    check_outputs({"--out": out}, {"--keep": options["keep"]})
    asked = _Asked(place, as_json=as_json, **options)
    _recorded(out, asked, why, by, None)


@golden.command()
@click.argument("file", metavar="FILE", type=PATH)
@click.argument("place", metavar="CORPUS", type=PATH)
@_why_options()
@_replay_options
@json_option
def rerecord(file: Path, place: Path, why: str, by: str | None, as_json: bool, **options: Any) -> None:
    """Record a golden again, for a reason that it keeps.

    Bundle and corpus may be others than before. Where nothing is different the file stays as it is.

    \b
    Example:
      galago qa golden rerecord alarms.golden.json golden --bundle alarms-1.1.0.galago --why "release 1.1.0"
    """
    from galago_workstation.qa.golden_file import read_golden

    asked = _Asked(place, as_json=as_json, **options)
    before = read_golden(file)
    check_outputs({"FILE": file}, {"--keep": options["keep"]})
    _recorded(file, asked, why, by, before)


def _recorded(out: Path, asked: _Asked, why: str, by: str | None, before: GoldenFile | None) -> None:
    import msgspec

    from galago_workstation.qa.golden_file import check_new, write_golden
    from galago_workstation.qa.golden_record import is_same, make_golden, who
    from galago_workstation.qa.golden_replay import losses_of
    from galago_workstation.qa.replay_environment import environment_here

    fresh = asked.replayed(*(opened := asked.opened()))
    now = datetime.datetime.now(datetime.UTC)
    by = by or who()
    made = make_golden(opened[1], fresh, environment_here(), at=now, by=by, why=why, before=before)
    same = before is not None and is_same(before, made)
    if not same:
        if before is None:
            check_new(out)
        write_golden(out, made)
    last = made.history[-1]
    if asked.as_json:
        rows = [
            {"recording": one.recording, "sha256": one.sha256, "stages": one.stages}
            for one in made.recordings
        ]
        data = {"path": str(out), "written": not same, "bundle": made.bundle, "what": last.what}
        say_data(data | {"recordings": rows, "losses": msgspec.to_builtins(losses_of(fresh))})
    elif same:
        say(f"{out}: nothing is different, and it stays as it is")
    else:
        say(f"{out}: {last.what} ({made.bundle_name})")


@golden.command()
@click.argument("file", metavar="FILE", type=PATH)
@click.argument("place", metavar="CORPUS", type=PATH)
@click.option(
    "--tier",
    type=click.Choice(["T0", "T1", "T2"]),
    help="Compare at this tier, whatever follows from the environments and the bundle.",
)
@click.option(
    "--junit", type=PATH, metavar="FILE", help="Write a test case for each recording, as JUnit XML."
)
@_replay_options
@json_option
@click.pass_context
def verify(
    ctx: click.Context,
    /,
    file: Path,
    place: Path,
    tier: str | None,
    junit: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Replay a golden's corpus now and name what is different.

    How exactly it must be the same is chosen from the environments, T0 (equal to the byte) to T2 (the same
    events). The exit code is the verdict: 0 as the golden, 1 different, 7 nothing compares: another bundle.

    \b
    Example:
      galago qa golden verify alarms.golden.json golden --bundle alarms-1.0.0.galago --junit golden.xml
    """
    from galago_workstation.files import write_bytes
    from galago_workstation.qa.exactness_tiers import OutputSteps, Tier
    from galago_workstation.qa.golden_comparison import (
        GoldenFinding,
        check_corpus,
        check_labels,
        compare_golden,
    )
    from galago_workstation.qa.golden_file import read_golden
    from galago_workstation.qa.golden_report import finding_data, finding_lines, golden_junit
    from galago_workstation.qa.junit_report import junit_of_failure

    refuse_other_kind(junit, junit_kind(_SUITE))
    check_outputs({"--junit": junit}, {"--keep": options["keep"]})
    with junit_of_failure(junit, _SUITE):
        kept = read_golden(file)
        asked = _Asked(place, as_json=as_json, **options)
        corpus, bundle = asked.opened()
        choice = _choice(kept, bundle, tier)
        found = GoldenFinding(str(file), choice)
        if choice.tier is not Tier.T3:
            check_labels(kept, str(file), bundle.manifest.labels)
            check_corpus(kept, str(file), corpus)
            fresh = asked.replayed(corpus, bundle)
            found = compare_golden(kept, str(file), fresh, choice, OutputSteps.of(bundle.manifest))
    if junit is not None:
        write_bytes(junit, golden_junit(found, at=datetime.datetime.now(datetime.UTC)))
    if as_json:
        say_data(finding_data(found))
    else:
        for line in finding_lines(found):
            say(line)
    ctx.exit(found.stance.exit_code)


def _choice(kept: GoldenFile, bundle: Bundle, tier: str | None) -> TierChoice:
    """Return at which tier is compared."""
    from dataclasses import replace

    from galago_workstation.qa.exactness_tiers import Tier, choose_tier
    from galago_workstation.qa.replay_environment import environment_here

    chosen = choose_tier(kept.environment, environment_here(), same_bundle=kept.bundle == bundle.id)
    if tier is None or chosen.tier is Tier(tier):
        return chosen
    return replace(chosen, tier=Tier(tier), asked=True)
