"""The same replays on a Dask cluster: a real scheduler and real worker processes on loopback."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import galago_edge
from galago_edge.commands.cli import main
from galago_edge.contract.errors import DeviceError, LinkError
from galago_workstation import cluster_tasks
from galago_workstation.qa.corpus import read_corpus
from galago_workstation.qa.corpus_replay import CorpusReplay, ReplayPlan, replay_corpus
from real_parts import DaskCluster, free_port, wait_for
from real_parts.processes import Child
from test_kit.corpora import microphone_bundle, write_long_night, write_night

LONG_S = 1_200


def galago(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def microphone(tmp_path_factory: pytest.TempPathFactory, tiny_audio_model: bytes) -> Path:
    return microphone_bundle(tmp_path_factory.mktemp("mic") / "mic.galago", tiny_audio_model)


@pytest.fixture
def cluster(real_part: Callable[..., Any], tmp_path: Path) -> DaskCluster:
    """A scheduler without workers."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    started: DaskCluster = real_part(DaskCluster, folder).start()
    return started


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    top = tmp_path / "corpus"
    for number, tone_hz in enumerate((300, 3_100, 0, 900)):
        write_night(top / f"{number}.wav", tone_hz)
    return top


def replay(corpus: Path, bundle: Path, results: Path, plan: ReplayPlan) -> CorpusReplay:
    return replay_corpus(read_corpus(corpus), galago_edge.open_bundle(bundle, unverified=True), results, plan)


def contents(found: CorpusReplay) -> list[tuple[str, ...]]:
    return [
        (one.digest, *one.stored.files.values(), *(one.stored.stages or {}).values())
        for one in found.replays
        if one.stored is not None
    ]


def test_one_sha256_over_processes_hosts_of_a_cluster_and_block_sizes(
    cluster: DaskCluster, corpus: Path, microphone: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        cluster.add_worker(replay=1)
    plans = [
        ReplayPlan(stages=True, jobs=1),
        ReplayPlan(stages=True, jobs=2, block_samples=7),
        ReplayPlan(stages=True, scheduler=cluster.address),
        ReplayPlan(stages=True, scheduler=cluster.address, block_samples=1_000),
    ]
    found = [
        contents(replay(corpus, microphone, tmp_path / str(turn), plan)) for turn, plan in enumerate(plans)
    ]
    assert len(found[0]) == 4
    assert found[0] == found[1] == found[2] == found[3]


def test_the_command_says_the_same_whoever_computed_and_finds_what_the_cluster_stored(
    cluster: DaskCluster, corpus: Path, microphone: Path, tmp_path: Path
) -> None:
    cluster.add_worker(replay=1)
    (corpus / "3.wav").write_bytes((corpus / "3.wav").read_bytes()[:50_000])
    run, bundle = tmp_path / "run", ["--bundle", microphone]
    far = galago("replay", corpus, *bundle, "--out", run, "--scheduler", cluster.address)
    here = galago("replay", corpus, *bundle, "--out", tmp_path / "here")
    assert (far.exit_code, far.stdout) == (1, here.stdout.replace("/here", "/run"))
    assert far.stderr == here.stderr and "[AUDIO_TRUNCATED]" in far.stderr
    again = galago("replay", corpus, *bundle, "--out", run)
    assert "4 found as stored before" in again.stdout


def test_a_worker_that_is_killed_half_way_has_its_replays_given_to_another(
    cluster: DaskCluster, microphone: Path, tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus"
    for tone_hz in (300, 500, 900):
        write_long_night(corpus / f"{tone_hz}.wav", LONG_S, tone_hz)
    workers = {str(worker.pid): worker for worker in (cluster.add_worker(replay=1) for _ in range(2))}
    found: list[CorpusReplay] = []
    results = tmp_path / "results"
    plan = ReplayPlan(scheduler=cluster.address)
    thread = threading.Thread(target=lambda: found.append(replay(corpus, microphone, results, plan)))
    thread.start()

    def at_work() -> Child | None:
        """The worker whose child writes a result just now: the child's process id is in the folder's name."""
        for path in results.rglob(".*.part/records.jsonl"):
            with contextlib.suppress(FileNotFoundError):
                status = Path(f"/proc/{path.parent.name.split('.')[3]}/status").read_text()
                return workers.get(status.partition("PPid:")[2].split()[0])
        return None

    wait_for(at_work, "a worker at work").kill()  # type: ignore[union-attr]
    thread.join()
    (done,) = found
    assert [one.error for one in done.replays] == [None] * 3
    assert done.exit_code == 0
    alone = replay(corpus, microphone, tmp_path / "alone", ReplayPlan(jobs=2))
    assert contents(done) == contents(alone)


def test_a_cluster_without_the_declared_resource_is_an_error_and_not_a_wait(
    cluster: DaskCluster, corpus: Path, microphone: Path, tmp_path: Path
) -> None:
    asked = [
        "replay",
        corpus,
        "--bundle",
        microphone,
        "--out",
        tmp_path / "run",
        "--scheduler",
        cluster.address,
    ]
    empty = galago(*asked)
    assert empty.exit_code == 3
    assert f"{cluster.address} has no worker with the resource replay" in empty.stderr
    for resources in ({}, {"gpu": 1}):
        cluster.add_worker(**resources)
    undeclared = galago(*asked)
    assert undeclared.exit_code == 3
    assert f"none of the 2 workers of {cluster.address} declares the resource replay" in undeclared.stderr
    assert '--resources "replay=1"' in undeclared.stderr
    assert not (tmp_path / "run" / "run.json").exists()


def test_when_the_last_worker_with_the_resource_goes_the_wait_ends(
    cluster: DaskCluster, corpus: Path, microphone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_tasks, "_LOOK_S", 0.2)
    write_long_night(corpus / "long.wav", LONG_S)
    worker = cluster.add_worker(replay=1)
    failures: list[LinkError] = []

    def run() -> None:
        try:
            replay(corpus, microphone, tmp_path / "results", ReplayPlan(scheduler=cluster.address))
        except LinkError as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_for(lambda: list((tmp_path / "results").rglob(".*.part/span.raw")), "a worker at work")
    worker.kill()
    thread.join()
    assert "has no worker with the resource replay" in str(failures[0])


def test_a_worker_that_cannot_read_a_recording_is_told_by_its_address(
    cluster: DaskCluster, corpus: Path, microphone: Path, tmp_path: Path
) -> None:
    cluster.add_worker(replay=1)
    known = read_corpus(corpus)
    (corpus / "1.wav").unlink()  # as on a worker that does not see the shared folder
    opened = galago_edge.open_bundle(microphone, unverified=True)
    done = replay_corpus(known, opened, tmp_path / "results", ReplayPlan(scheduler=cluster.address))
    errors = [one.error for one in done.replays]
    assert [error is None for error in errors] == [True, False, True, True]
    assert str(errors[1]).startswith("worker tcp://127.0.0.1:") and "1.wav does not exist" in str(errors[1])
    assert done.exit_code == 3


def test_a_scheduler_that_does_not_answer_is_an_error(
    corpus: Path,
    microphone: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    real_part: Callable[..., Any],
) -> None:
    real_part(DaskCluster, tmp_path)
    monkeypatch.setattr(cluster_tasks, "_CONNECT_S", 0.5)
    address = f"tcp://127.0.0.1:{free_port()}"
    result = galago(
        "replay", corpus, "--bundle", microphone, "--out", tmp_path / "run", "--scheduler", address, "--json"
    )
    assert result.exit_code == 3
    assert json.loads(result.stdout)["error"]["reason"] == "TRANSPORT"
    assert f"no Dask scheduler answers at {address}" in result.stderr
    wrong = galago(
        "replay", corpus, "--bundle", microphone, "--out", tmp_path / "run", "--scheduler", "no:such:x"
    )
    assert wrong.exit_code == 3 and "[TRANSPORT]" in wrong.stderr


def test_what_a_cluster_needs_is_named_when_it_is_not_installed(
    corpus: Path, microphone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(DeviceError, match="distributed, which is not installed") as caught:
        replay(corpus, microphone, tmp_path / "results", ReplayPlan(scheduler="tcp://127.0.0.1:1"))
    assert caught.value.hint == 'pip install "galago[cluster]"'
