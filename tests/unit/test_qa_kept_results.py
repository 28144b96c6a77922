"""Stored results can be listed and removed; what is wanted stays, and what is no result is never touched."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import galago_edge
from galago_edge.commands.cli import main
from galago_edge.contract.errors import CallerError, InputError, Reason
from galago_workstation.qa.corpus import Corpus, read_corpus
from galago_workstation.qa.corpus_replay import CorpusReplay, ReplayPlan, replay_corpus
from galago_workstation.qa.kept_results import results_in
from galago_workstation.qa.replay_run import check_run_grows, check_run_place, read_run_file, write_run
from test_kit import with_model
from test_kit.corpora import microphone_bundle, write_night

Replays = Callable[[Path], CorpusReplay]


def galago(*args: str | Path) -> Result:
    return CliRunner().invoke(main, ["qa", "results", *map(str, args)])


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory, tiny_audio_model: bytes) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("bundles")
    old = microphone_bundle(folder / "old.galago", tiny_audio_model)
    return old, with_model(old, tiny_audio_model, folder / "new.galago", bundle__version="1.1.0")


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> tuple[Corpus, Corpus]:
    top = tmp_path_factory.mktemp("corpora")
    write_night(top / "barn" / "a.wav", 300)
    write_night(top / "barn" / "b.wav", 3_100)
    write_night(top / "porch" / "c.wav", 0)
    return read_corpus(top / "barn"), read_corpus(top / "porch")


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, bundles: tuple[Path, Path], corpora: tuple[Corpus, Corpus]
) -> Path:
    """Six results, of two bundles on two recordings of the barn and one of the porch; a run of the porch."""
    top = tmp_path_factory.mktemp("whole")
    for bundle in bundles:
        opened = galago_edge.open_bundle(bundle, unverified=True)
        for corpus in corpora:
            replayed = replay_corpus(corpus, opened, top / "results", ReplayPlan(jobs=1))
    write_run(top / "run", replayed)
    return top


@pytest.fixture
def results(whole: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    copy = tmp_path / "results"
    for path in sorted((whole / "results").rglob("*")):
        if path.is_file():
            target = copy / path.relative_to(whole / "results")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return copy


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in results_in(folder).results)


def test_the_list_says_how_many_there_are_of_each_bundle_and_how_large(
    results: Path, bundles: tuple[Path, Path]
) -> None:
    listed = galago("list", results)
    assert listed.exit_code == 0, listed.output
    ids = [galago_edge.open_bundle(bundle, unverified=True).id[:12] for bundle in bundles]
    lines = listed.stdout.splitlines()
    assert [line.partition(", made")[0].rpartition(", ")[0] for line in lines[:2]] == [
        f"bundle {one}: 3 results" for one in sorted(ids)
    ]
    assert lines[2].startswith(f"{results}: 6 results, ")
    rows = json.loads(galago("list", results, "--json").stdout)["results"]
    assert sum(row["bytes"] for row in rows) == sum(
        path.stat().st_size for path in results.rglob("*") if path.is_file()
    )
    assert sorted(row["name"] for row in rows) == ["a.wav", "a.wav", "b.wav", "b.wav", "c.wav", "c.wav"]


def test_nothing_is_removed_unless_it_is_said_twice(results: Path, corpora: tuple[Corpus, Corpus]) -> None:
    asked = ("clean", results, "--keep", corpora[1].name)
    dry = galago(*asked)
    assert dry.exit_code == 0, dry.output
    assert "would remove 4 results" in dry.stdout and "2 results, " in dry.stdout
    assert "Nothing is removed without --remove" in dry.stdout
    assert len(names(results)) == 6
    done = galago(*asked, "--remove")
    assert "removed 4 results" in done.stdout
    assert names(results) == ["c.wav", "c.wav"]
    assert not [path for path in results.iterdir() if path.is_dir() and not any(path.iterdir())]


def test_what_a_bundle_said_stays_and_beside_a_corpus_only_to_that(
    results: Path, bundles: tuple[Path, Path], corpora: tuple[Corpus, Corpus]
) -> None:
    assert "would remove 3 results" in galago("clean", results, "--keep-bundle", bundles[1]).stdout
    galago("clean", results, "--keep-bundle", bundles[1], "--keep", corpora[0].name, "--remove")
    assert names(results) == ["a.wav", "b.wav"]


def test_what_a_run_lists_stays(results: Path, whole: Path) -> None:
    galago("clean", results, "--keep", whole / "run", "--remove")
    assert names(results) == ["c.wav"]


def test_young_results_stay(results: Path) -> None:
    old = [path.parent for path in sorted(results.rglob("job.json"))][:2]
    for place in old:
        os.utime(place / "job.json", (1_000_000_000, 1_000_000_000))
    assert "would remove 0 results" in galago("clean", results, "--older-than", "36500").stdout
    galago("clean", results, "--older-than", "30", "--remove")
    assert len(names(results)) == 4 and not any(place.exists() for place in old)


def test_a_run_may_be_named_in_place_of_its_results(whole: Path) -> None:
    listed = galago("list", whole / "run")
    assert listed.exit_code == 0 and "6 results" in listed.stdout


def test_damaged_results_go_whatever_is_kept(results: Path, bundles: tuple[Path, Path]) -> None:
    next(iter(sorted(results.rglob("job.json")))).write_bytes(b"{")
    listed = galago("list", results)
    assert "damaged, or of another version: 1 result, " in listed.stdout
    galago("clean", results, "--keep-bundle", bundles[0], "--keep-bundle", bundles[1], "--remove")
    assert len(names(results)) == 5


def test_what_is_no_result_is_left_alone_and_told(results: Path) -> None:
    (results / "notes.txt").write_text("mine")
    shelf = next(path for path in sorted(results.iterdir()) if path.is_dir())
    (shelf / "other").mkdir()
    cleaned = galago("clean", results, "--older-than", "0", "--remove")
    assert cleaned.exit_code == 0
    assert f"no results, left alone: 2 ({shelf.name}/other, notes.txt)" in cleaned.stderr
    assert (results / "notes.txt").read_text() == "mine" and (shelf / "other").is_dir()
    assert not [*results.rglob("job.json")]


def test_links_are_never_followed_and_the_others_go_all_the_same(results: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "job.json").write_text("{}")
    shelf = next(path for path in sorted(results.iterdir()) if path.is_dir())
    host = socket.gethostname().replace(".", "-")
    free = next(name for name in ("00", "11", "22", "33", "44", "55", "66") if not (results / name).exists())
    half = f".{shelf.name * 32}.{host}.4194399.00000000.part"
    links = [shelf / (shelf.name * 32), shelf / half, results / free]
    for link in links:
        link.symlink_to(mine)
    (next(shelf.glob("[0-9a-f]*/")) / "dangling").symlink_to(tmp_path / "nowhere")
    cleaned = galago("clean", results, "--older-than", "0", "--remove")
    assert cleaned.exit_code == 0, cleaned.output
    assert "removed 6 results" in cleaned.stdout
    assert "no results, left alone: 3 (" in cleaned.stderr
    assert not [path for path in results.glob("*/*/job.json") if not path.parent.is_symlink()]
    assert (mine / "job.json").read_text() == "{}"
    assert all(link.is_symlink() for link in links)


@pytest.mark.parametrize("as_json", [False, True], ids=["lines", "json"])
def test_what_cannot_be_removed_is_told_the_others_go_and_the_exit_code_is_3(
    results: Path, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    stuck = sorted(results.rglob("job.json"))[2].parent
    rename = Path.rename

    def refusing(path: Path, target: Path) -> Path:
        if path == stuck:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refusing)
    cleaned = galago("clean", results, "--older-than", "0", "--remove", *["--json"][: int(as_json)])
    assert cleaned.exit_code == 3, cleaned.output
    assert f"Error: could not remove {stuck}: Permission denied" in cleaned.stderr
    assert [one.digest for one in results_in(results).results] == [stuck.name]
    if as_json:
        told = json.loads(cleaned.stdout)
        assert (len(told["results"]), told["stays"]) == (5, 1)
        assert [failure["path"] for failure in told["failures"]] == [str(stuck)]
    else:
        assert "removed 5 results" in cleaned.stdout and "1 result, " in cleaned.stdout


def test_halves_of_processes_that_are_gone_are_removed_and_those_of_living_ones_are_not(
    results: Path,
) -> None:
    digest = "ab" * 32
    host = socket.gethostname().replace(".", "-")
    (results / "ab").mkdir(exist_ok=True)
    gone = results / "ab" / f".{digest}.{host}.4194399.00000000.part"
    alive = results / "ab" / f".{digest}.{host}.{os.getpid()}.00000000.part"
    elsewhere = results / "ab" / f".{digest}.elsewhere.1.00000000.part"
    for part in (gone, alive, elsewhere):
        part.mkdir()
    assert "half-written by processes that are gone: 1" in galago("list", results).stderr
    galago("clean", results, "--older-than", "36500", "--remove")
    assert not gone.exists() and alive.exists() and elsewhere.exists()
    assert len(names(results)) == 6


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (("clean", "results"), 2, "nothing says which results are still needed"),
        (("list", "nowhere"), 3, "there are no results in"),
        (("list", "letters"), 1, "holds no results of replays, but 1 other thing (a.txt ...)"),
    ],
)
def test_what_cannot_be_done_is_one_line(tmp_path: Path, args: tuple[str, str], code: int, text: str) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("")
    verb, folder = args
    refused = galago(verb, tmp_path / folder)
    assert refused.exit_code == code, refused.output
    assert text in refused.stderr and "Traceback" not in refused.output
    assert len(refused.stderr.strip().splitlines()) == 2


@pytest.mark.parametrize("seal", ["", '"sha256": "abc"'], ids=["of an earlier build", "edited"])
def test_a_run_that_is_not_as_it_was_written_is_told_and_written_anew_in_its_place(
    seal: str, whole: Path, tmp_path: Path
) -> None:
    run = read_run_file(whole / "run")
    text = (whole / "run" / "run.json").read_text()
    changed = re.sub(r',\s*"sha256": "[0-9a-f]{64}"\s*}\s*\Z', f"{',' * bool(seal)}{seal}}}", text)
    (tmp_path / "run.json").write_text(changed)
    with pytest.raises(InputError, match=r"run\.json is not as galago replay writes it: it") as refused:
        read_run_file(tmp_path)
    assert refused.value.reason is Reason.RUN_BAD and "galago replay CORPUS" in refused.value.hint
    check_run_place(tmp_path, run.bundle, run.stream, run.changes)
    with pytest.raises(CallerError, match="holds a run of another bundle"):
        check_run_place(tmp_path, "f" * 64, run.stream, run.changes)


def test_a_run_of_another_list_is_not_written_over(whole: Path, corpora: tuple[Corpus, Corpus]) -> None:
    barn, porch = corpora  # the run is of the porch
    with pytest.raises(CallerError) as refused:
        check_run_grows(whole / "run", barn.recordings)
    assert refused.value.reason is Reason.EXISTS and "another folder with --out" in refused.value.hint
    assert str(refused.value).endswith("of another list: 1 recording before, 2 now, without c.wav")
    assert check_run_grows(whole / "run", porch.recordings) == []
    assert check_run_grows(whole / "none", barn.recordings) == []


def test_a_list_may_grow_and_what_changes_is_told(whole: Path, corpora: tuple[Corpus, Corpus]) -> None:
    barn, (porch,) = corpora[0].recordings, corpora[1].recordings
    renamed = replace(porch, name="z.wav", tags={"site": "yard"}, labels=Path("z.tsv"))
    (told,) = check_run_grows(whole / "run", [*barn, renamed])
    assert told.endswith(
        "1 recording before, 3 now; other name of 1 recording; other tags of 1 recording; "
        "other labels of 1 recording"
    )
    (told,) = check_run_grows(whole / "run", [replace(porch, sha256="0" * 64)])
    assert told == f"{whole / 'run'} is written anew: other content of 1 recording"


@pytest.mark.parametrize("damage", ["cut off", "a mark before it", "noise", "empty"])
def test_a_damaged_list_of_a_run_is_written_anew_by_the_same_replay(
    whole: Path, tmp_path: Path, damage: str
) -> None:
    run = read_run_file(whole / "run")
    content = (whole / "run" / "run.json").read_bytes()
    damaged = {"cut off": content[:120], "a mark before it": b"\xef\xbb\xbf" + content, "noise": b"\xff{"}
    (tmp_path / "run.json").write_bytes(damaged.get(damage, b""))
    if damage == "noise":  # the results beside it say what it was
        (tmp_path / "results" / "ab").mkdir(parents=True)
    with pytest.raises(InputError, match=r"run\.json"):
        read_run_file(tmp_path)
    told = check_run_place(tmp_path, run.bundle, run.stream, run.changes)
    assert "run.json" in told and told.endswith("; it is written anew")


def test_a_damaged_list_that_nothing_says_was_galagos_stays(whole: Path, tmp_path: Path) -> None:
    run = read_run_file(whole / "run")
    (tmp_path / "run.json").write_text('{"speed": ')
    with pytest.raises(InputError) as caught:
        check_run_place(tmp_path, run.bundle, run.stream, run.changes)
    assert caught.value.hint and "another folder" in caught.value.hint
