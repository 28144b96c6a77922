"""``galago replay`` of many: real recordings, real models, real processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result

import galago_edge
from galago_edge.commands import extension
from galago_edge.commands.cli import main
from galago_edge.contract.errors import GalagoError, InputError
from galago_edge.contract.records import StateRecord
from galago_edge.contract.streams import Span
from galago_edge.decision import Decider, Fired
from galago_workstation.qa.corpus import corpus_of, read_corpus
from galago_workstation.qa.corpus_replay import CorpusReplay, ReplayPlan, replay_corpus
from galago_workstation.qa.label_file import write_labels
from galago_workstation.qa.replay_job import ReplayChanges
from galago_workstation.qa.replay_results import RECORDS, ReplayResults, write_stored
from galago_workstation.qa.replay_run import read_run, record_lines, run_of
from galago_workstation.qa.replay_work import ReplayOrder, fulfil
from galago_workstation.qa.replayed import Replayed, Truth, TruthList
from real_parts import wait_for
from real_parts.processes import DEADLINE_S
from test_kit import make_bundle, set_numbers, with_model
from test_kit.corpora import (
    camera_bundle,
    microphone_bundle,
    policy_labels,
    write_long_night,
    write_night,
)

GALAGO = (sys.executable, "-m", "galago_edge")
LONG_S = 1_200
"""Long enough that a process is met at work."""


def galago(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def microphone(tmp_path_factory: pytest.TempPathFactory, tiny_audio_model: bytes) -> Path:
    return microphone_bundle(tmp_path_factory.mktemp("mic") / "mic.galago", tiny_audio_model)


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory, tiny_image_model: bytes) -> Path:
    return camera_bundle(tmp_path_factory.mktemp("cam") / "cam.galago", tiny_image_model)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Three sounds, two of them with something in it."""
    top = tmp_path / "corpus"
    write_night(top / "barn" / "a.wav", 300)
    write_night(top / "barn" / "b.wav", 3_100, seconds=4)
    write_night(top / "porch" / "c.wav", 0)
    return top


def replayed(
    corpus: Path, bundle: Path, results: Path, plan: ReplayPlan | None = None
) -> tuple[CorpusReplay, list[Replayed]]:
    opened = galago_edge.open_bundle(bundle, unverified=True)
    found = replay_corpus(read_corpus(corpus), opened, results, plan or ReplayPlan(jobs=2))
    return found, run_of(found)


def result_folders(results: Path) -> set[Path]:
    return {path.parent for path in results.rglob("job.json")}


def half_written(results: Path) -> list[Path]:
    return list(results.rglob(".*.part"))


def test_the_records_of_each_are_those_of_replaying_it_alone_to_the_byte(
    corpus: Path, microphone: Path, tmp_path: Path
) -> None:
    result = galago("replay", corpus, "--bundle", microphone, "--out", tmp_path / "run", "--stream", "door")
    assert result.exit_code == 0, result.output
    found, _ = read_run(tmp_path / "run")
    assert [one.recording for one in found] == ["barn/a.wav", "barn/b.wav", "porch/c.wav"]
    run = json.loads((tmp_path / "run" / "run.json").read_bytes())
    for row in run["recordings"]:
        alone = tmp_path / "alone.jsonl"
        galago("replay", corpus / row["name"], "--bundle", microphone, "--stream", "door", "--out", alone)
        place = ReplayResults(tmp_path / "run" / "results").place(row["digest"])
        assert (place / RECORDS).read_bytes() == alone.read_bytes()


def test_each_is_told_in_the_order_of_the_corpus_and_summed_up(
    corpus: Path, microphone: Path, tmp_path: Path
) -> None:
    first = galago("replay", corpus, "--bundle", microphone, "--out", tmp_path / "run")
    assert first.stdout.splitlines() == [
        "barn/a.wav: 56 windows, 1 event, 0 gaps",
        "barn/b.wav: 76 windows, 1 event, 0 gaps",
        "porch/c.wav: 56 windows, 0 events, 0 gaps",
        "tiny 1.0.0: 3 recordings, 10 s, 188 windows, 2 events, 0 gaps; 0 found as stored before"
        f" -> {tmp_path / 'run'}",
    ]
    again = galago("replay", corpus, "--bundle", microphone, "--out", tmp_path / "run")
    assert again.stdout == first.stdout.replace("0 found", "3 found")


def test_the_events_follow_from_the_stored_scores_exactly(
    corpus: Path, microphone: Path, tmp_path: Path
) -> None:
    _, found = replayed(corpus, microphone, tmp_path / "results")
    assert sum(len(one.events) for one in found) == 2
    for one in found:
        assert one.scores is not None and len(one.scores.span) > 50
        decider, fired = Decider(one.labels), []
        rows = zip(one.scores.span.tolist(), one.scores.q16.astype(np.int64), one.scores.restart, strict=True)
        for span, scores, restart in rows:
            if restart:
                decider.reset()
            fired += [event for event in decider.step(scores, Span(*span)) if isinstance(event, Fired)]
        assert [(event.label, event.span.end_ns) for event in fired] == [
            (event.label, event.end_ns) for event in one.events
        ]


def test_a_run_says_of_each_recording_what_it_is(corpus: Path, microphone: Path, tmp_path: Path) -> None:
    (corpus / "barn" / "a.wav.labels.tsv").write_text("1 s to 2 s: low")
    (corpus / "list.toml").write_text(
        '[[recording]]\npath = "barn/a.wav"\ntags = { site = "barn" }\n[[recording]]\npath = "porch/c.wav"\n'
    )
    result = galago("replay", corpus / "list.toml", "--bundle", microphone, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    shutil.rmtree(corpus / "porch")  # nothing that judges opens a recording
    asked: list[tuple[Path, str, int]] = []
    truth = TruthList((Truth(1_000_000_000, 2_000_000_000, "low"),))

    def read_truth(path: Path, sha256: str, duration_ns: int) -> TruthList:
        asked.append((path.resolve(), sha256, duration_ns))
        return truth

    (barn, porch), missing = read_run(tmp_path / "run", read_truth)
    assert missing == []
    assert asked == [(corpus / "barn" / "a.wav.labels.tsv", barn.sha256, 3_000_000_000)]
    assert (barn.truth, dict(barn.tags), porch.truth, dict(porch.tags)) == (truth, {"site": "barn"}, None, {})
    assert (barn.receptive_ns, barn.duration_ns) == (220_000_000, 3_000_000_000)
    assert [label.name for label in barn.labels] == ["quiet", "low", "high"]
    assert [state.state for state in barn.states] == ["started", "off", "ended"]


def test_nothing_is_computed_twice_and_what_is_new_is(corpus: Path, microphone: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    replayed(corpus, microphone, results)
    before = {path: path.stat().st_ino for path in result_folders(results)}
    write_night(corpus / "new.wav", 900)
    found, _ = replayed(corpus, microphone, results)
    assert [one.fresh for one in found.replays] == [False, False, True, False]
    assert {path: path.stat().st_ino for path in result_folders(results)}.items() >= before.items()
    changed = ReplayPlan(changes=ReplayChanges.of({"low": {"on": 0.9}}))
    found, _ = replayed(corpus, microphone, results, changed)
    assert all(one.fresh for one in found.replays)
    (label,) = [label for label in run_of(found)[0].labels if label.name == "low"]
    assert label.policy.on == 0.9


def test_a_recording_that_was_renamed_is_not_replayed_again_and_its_records_bear_the_new_name(
    corpus: Path, microphone: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    replayed(corpus, microphone, results)
    moved = tmp_path / "moved" / "z.wav"
    moved.parent.mkdir()
    (corpus / "barn" / "a.wav").rename(moved)
    found, _ = replayed(moved.parent, microphone, results)
    (only,) = found.replays
    assert not only.fresh and only.stored is not None and only.stored.name == "a.wav"
    galago("replay", moved, "--bundle", microphone, "--out", tmp_path / "alone.jsonl")
    lines = record_lines(only.stored, ReplayResults(found.results), "z.wav")
    assert lines == (tmp_path / "alone.jsonl").read_bytes()


def test_a_damaged_result_is_said_and_computed_again(corpus: Path, microphone: Path, tmp_path: Path) -> None:
    first = galago("replay", corpus, "--bundle", microphone, "--out", tmp_path / "run")
    digest = json.loads((tmp_path / "run" / "run.json").read_bytes())["recordings"][1]["digest"]
    path = ReplayResults(tmp_path / "run" / "results").place(digest) / RECORDS
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(
        InputError, match=r"the result of barn/b.wav cannot be used: records.jsonl was changed"
    ):
        read_run(tmp_path / "run")
    again = galago("replay", corpus, "--bundle", microphone, "--out", tmp_path / "run")
    assert again.stderr == (
        "the result of barn/b.wav is no good and is computed again: records.jsonl was changed\n"
    )
    assert again.stdout == first.stdout.replace("0 found", "2 found")
    assert path.read_bytes() == whole


def test_a_damaged_recording_is_a_result_too_and_ends_as_when_it_is_replayed_alone(
    corpus: Path, microphone: Path, tmp_path: Path
) -> None:
    cut = corpus / "barn" / "b.wav"
    cut.write_bytes(cut.read_bytes()[:60_000])
    (corpus / "empty.wav").write_bytes(b"")
    alone = {
        path: galago("replay", path, "--bundle", microphone, "--out", tmp_path / path.name)
        for path in (cut, corpus / "empty.wav")
    }
    for fresh in (True, False):
        result = galago("replay", corpus, "--bundle", microphone, "--out", tmp_path / "run", "--json")
        assert result.exit_code == alone[cut].exit_code == alone[corpus / "empty.wav"].exit_code == 1
        rows = {row["recording"]: row for row in json.loads(result.stdout)["recordings"]}
        assert [row["fresh"] for row in rows.values()] == [fresh] * 4
        assert (
            rows["barn/b.wav"]["error"]["reason"] == "AUDIO_TRUNCATED" and rows["barn/b.wav"]["windows"] > 0
        )
        assert rows["empty.wav"]["error"]["reason"] in alone[corpus / "empty.wav"].stderr
        outcomes = ["whole", "read in part", "failed", "whole"]
        assert [rows[name]["outcome"] for name in sorted(rows)] == outcomes
        assert rows["empty.wav"]["windows"] == 0
        assert "error" not in rows["barn/a.wav"]
    found, missing = read_run(tmp_path / "run")
    assert len(found) == 4 and missing == []
    (ended,) = [state for state in found[1].states if state.subject == "stream" and state.state != "started"]
    assert isinstance(ended, StateRecord) and ended.state == "failed"


def test_a_cut_recording_is_read_in_part_for_replays_and_judges_alike_told_once_and_counted(
    corpus: Path, microphone: Path, tmp_path: Path
) -> None:
    cut, run = corpus / "barn" / "b.wav", tmp_path / "run"
    cut.write_bytes(cut.read_bytes()[:60_000])
    write_labels(cut.with_name("b.wav.labels.tsv"), TruthList(()))
    (corpus / "empty.wav").write_bytes(b"")
    alone = galago("replay", cut, "--bundle", microphone, "--out", tmp_path / "b.jsonl")
    many = galago("replay", corpus, "--bundle", microphone, "--out", run)
    judged = galago("qa", "score", run)
    assert [one.exit_code for one in (alone, many, judged)] == [1, 1, 1]
    for said in (alone, many, judged):
        (line,) = [line for line in said.output.splitlines() if "[AUDIO_TRUNCATED]" in line]
        assert line.startswith("read in part, the rest is a gap: ") and "is cut off" in line
        assert "failed: " not in said.output
    assert many.stdout.count("b.wav") == 1 and many.stderr.count("Error: empty.wav: ") == 1
    assert "; 1 read in part; 1 failed -> " in many.stdout
    (corpus / "empty.wav").unlink()
    again = galago("replay", corpus, "--bundle", microphone, "--out", run)
    assert again.exit_code == 1 and "; 1 read in part -> " in again.stdout, "the whole of it was asked for"
    judged = galago("qa", "score", run)
    assert judged.exit_code == 0, "what was decided is judged"


def test_a_run_of_another_bundle_or_something_else_is_not_written_over(
    corpus: Path, microphone: Path, tiny_audio_model: bytes, tmp_path: Path
) -> None:
    other = make_bundle(
        tmp_path / "o.galago", tiny_audio_model, policy_labels("a", "b", "c"), modality="microphone"
    )
    run = tmp_path / "run"
    galago("replay", corpus, "--bundle", microphone, "--out", run)
    before = (run / "run.json").read_bytes()
    for args in (["--bundle", other], ["--bundle", microphone, "--stream", "door"]):
        result = galago("replay", corpus, *args, "--out", run)
        assert result.exit_code == 2 and "[EXISTS]" in result.stderr
    less = galago("replay", corpus / "barn", "--bundle", microphone, "--out", run)
    assert less.exit_code == 2 and "holds a run of another list" in less.stderr
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", corpus):
        result = galago("replay", corpus, "--bundle", microphone, "--out", place)
        assert result.exit_code == 2 and "[EXISTS]" in result.stderr
    assert (run / "run.json").read_bytes() == before and (tmp_path / "file").read_text() == "mine"
    shared = galago(
        "replay", corpus, "--bundle", other, "--out", tmp_path / "two", "--results", run / "results"
    )
    assert shared.exit_code == 0 and len(result_folders(run / "results")) == 6


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "--out is missing, the folder that keeps the results"),
        (["--out", "x", "--scores"], "--scores is for one recording"),
        (["--out", "x", "--start-time", "2026-05-01T22:00:00Z"], "--start-time is for one recording"),
        (["--out", "x", "--jobs", "2", "--scheduler", "tcp://x:1"], "expected one of them"),
    ],
)
def test_what_means_nothing_for_many_is_refused(
    corpus: Path,
    microphone: Path,
    args: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = galago("replay", corpus, "--bundle", microphone, *args)
    assert result.exit_code == 2 and said in result.stderr and "Hint: " in result.stderr
    assert not (tmp_path / "x").exists()


def test_thresholds_that_no_replay_could_have_are_refused_before_any(
    corpus: Path, microphone: Path, tmp_path: Path
) -> None:
    opened = galago_edge.open_bundle(microphone, unverified=True)
    for wrong in ({"smoke": {"on": 0.5}}, {"low": {"on": 0.1, "off": 0.9}}):
        plan = ReplayPlan(changes=ReplayChanges.of(wrong))
        with pytest.raises(GalagoError, match=r"smoke|low"):
            replay_corpus(read_corpus(corpus), opened, tmp_path / "results", plan)
    assert not (tmp_path / "results").exists()


def test_a_device_without_the_workstation_takes_one_and_says_what_many_need(
    corpus: Path, microphone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extension, "entry_points", lambda **_: ())
    alone = galago("replay", corpus / "barn" / "a.wav", "--bundle", microphone)
    assert alone.exit_code == 0
    several = galago("replay", corpus / "barn" / "a.wav", corpus / "barn" / "b.wav", "--bundle", microphone)
    assert several.exit_code == 1 and "needs the workstation" in several.stderr
    assert "--scheduler" not in galago("replay", "--help").stdout


def test_recordings_may_be_named_one_by_one_with_their_options(tmp_path: Path, camera: Path) -> None:
    for name in ("door", "hall"):
        (tmp_path / name).mkdir()
        for number in range(8):
            level = 128 + (name == "hall")
            cv2.imwrite(str(tmp_path / name / f"{number}.png"), np.full((48, 64, 3), level, np.uint8))
    result = galago(
        "replay", f"{tmp_path}/door?fps=2", tmp_path / "hall", "--bundle", camera, "--out", tmp_path / "run"
    )
    assert result.exit_code == 0, result.output
    (door, hall), _ = read_run(tmp_path / "run")
    assert (door.recording, hall.recording) == ("door", "hall")
    assert door.duration_ns == 3_500_000_000 and hall.duration_ns < door.duration_ns
    assert door.receptive_ns == 0 and door.scores is not None and len(door.scores.span) == 8


def test_settings_of_a_device_count_for_all(corpus: Path, microphone: Path, tmp_path: Path) -> None:
    config = tmp_path / "galago.toml"
    config.write_text(
        '[[stream]]\nname = "door"\nsource = "microphone:0"\nbundle = "mic"\n'
        "thresholds = { low = { on = 1.0 } }\n"
    )
    result = galago(
        "replay", corpus, "--bundle", microphone, "--config", config, "--out", tmp_path / "run", "--to", "2"
    )
    assert result.exit_code == 0, result.output
    found, _ = read_run(tmp_path / "run")
    assert {label.policy.on for one in found for label in one.labels if label.name == "low"} == {1.0}
    assert [one.duration_ns for one in found] == [2_000_000_000] * 3
    assert {state.stream for one in found for state in one.states} == {"door"}


def test_every_stage_is_hashed_on_demand_and_a_result_without_hashes_is_completed(
    corpus: Path, microphone: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    galago("replay", corpus, "--bundle", microphone, "--out", run)
    before = {path.name: (path / RECORDS).read_bytes() for path in result_folders(run / "results")}
    shown = galago("replay", corpus, "--bundle", microphone, "--out", run, "--hashes")
    rows = [line.split() for line in shown.stdout.splitlines() if line.startswith("barn/a.wav: ")][1:]
    stages = ["recording", "items", "decoded", "tensors", "logits", "scores", "smoothed", "events"]
    assert [row[1] for row in rows] == stages
    after = {path.name: (path / RECORDS).read_bytes() for path in result_folders(run / "results")}
    assert after == before
    again = galago("replay", corpus, "--bundle", microphone, "--out", run, "--hashes", "--json")
    told = json.loads(again.stdout)["recordings"][0]
    assert list(told["stages"].items()) == [(row[1], row[2]) for row in rows] and not told["fresh"]


def test_one_sha256_over_processes_and_block_sizes(corpus: Path, microphone: Path, tmp_path: Path) -> None:
    """Hosts of a cluster: test_qa_cluster.py."""
    digests = set()
    for turn, (jobs, block) in enumerate([(1, None), (2, None), (2, 1_000), (1, 7), (2, 160)]):
        plan = ReplayPlan(jobs=jobs, block_samples=block, stages=True)
        found, _ = replayed(corpus, microphone, tmp_path / str(turn), plan)
        digests.add(
            tuple(
                (one.digest, *one.stored.files.values(), *(one.stored.stages or {}).values())
                for one in found.replays
                if one.stored is not None
            )
        )
    assert len(digests) == 1 and len(digests.pop()) == 3


# processes that die


def children_of(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += map(int, task.read_text().split())
    return found


def long_corpus(folder: Path) -> Path:
    write_long_night(folder / "a.wav", LONG_S)
    write_night(folder / "b.wav", 500)
    return folder


def begun(out: Path, bundle: Path, corpus: Path, *more: str) -> subprocess.Popen[bytes]:
    """Start replaying, and return when the long recording is being written."""
    command = [
        *GALAGO,
        "replay",
        str(corpus),
        "--bundle",
        str(bundle),
        "--out",
        str(out),
        "--jobs",
        "1",
        *more,
    ]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )
    wait_for(lambda: list(out.rglob(".*.part/records.jsonl")), "a result that is being written")
    return process


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    return process.returncode, out.decode(), err.decode()


def test_ctrl_c_leaves_whole_results_only_and_the_next_run_goes_on(microphone: Path, tmp_path: Path) -> None:
    corpus, out = long_corpus(tmp_path / "corpus"), tmp_path / "run"
    process = begun(out, microphone, corpus)
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert (code, err.splitlines()[-1]) == (130, "Interrupted")
    assert half_written(out) == [] and not (out / "run.json").exists()
    result = galago("replay", corpus, "--bundle", microphone, "--out", out)
    assert result.exit_code == 0, result.output
    assert len(result_folders(out)) == 2


def test_a_killed_run_leaves_no_process_and_the_next_one_clears_up(microphone: Path, tmp_path: Path) -> None:
    corpus, out = long_corpus(tmp_path / "corpus"), tmp_path / "run"
    process = begun(out, microphone, corpus)
    (child,) = children_of(process.pid)
    process.kill()
    ended(process)
    wait_for(lambda: not Path(f"/proc/{child}").exists(), "the end of its child")
    assert len(half_written(out)) == 1
    result = galago("replay", corpus, "--bundle", microphone, "--out", out)
    assert result.exit_code == 0, result.output
    assert half_written(out) == [] and len(result_folders(out)) == 2


def test_a_process_that_dies_once_is_replaced_and_nobody_is_the_worse_for_it(
    microphone: Path, tmp_path: Path
) -> None:
    corpus, out = long_corpus(tmp_path / "corpus"), tmp_path / "run"
    process = begun(out, microphone, corpus)
    (child,) = children_of(process.pid)
    os.kill(child, signal.SIGKILL)
    code, _, err = ended(process)
    assert (code, err) == (0, "")
    assert half_written(out) == [] and len(result_folders(out)) == 2


def test_what_every_process_dies_of_is_told_for_each_recording(
    tmp_path: Path, bad_models: dict[str, bytes], camera: Path
) -> None:
    """The model crashes as soon as it is loaded, whatever it is shown."""
    bad = with_model(camera, set_numbers(bad_models["crash"]), tmp_path / "bad.galago")
    folders = [tmp_path / name for name in ("door", "hall")]
    for level, folder in enumerate(folders):
        folder.mkdir()
        cv2.imwrite(str(folder / "0.png"), np.full((48, 64, 3), level, np.uint8))
    opened = galago_edge.open_bundle(bad, unverified=True)
    found = replay_corpus(corpus_of([*map(str, folders)]), opened, tmp_path / "results", ReplayPlan(jobs=2))
    for one in found.replays:
        assert one.stored is None and one.error is not None and one.error.reason == "WORKER_LOST"
        assert "was ended by SIG" in str(one.error) and "2 times" in str(one.error)
    assert found.exit_code == 3
    assert half_written(tmp_path / "results") == [] and run_of(found) == []


def test_a_recording_that_cannot_be_read_is_told_and_has_no_result(
    corpus: Path, microphone: Path, tmp_path: Path
) -> None:
    opened = galago_edge.open_bundle(microphone, unverified=True)
    known = read_corpus(corpus)
    (corpus / "barn" / "a.wav").unlink()
    write_night(corpus / "barn" / "b.wav", 1_234)  # another one by now
    found = replay_corpus(known, opened, tmp_path / "results", ReplayPlan(jobs=1))
    told = {one.recording.name: one.error for one in found.replays}
    assert str(told["barn/a.wav"].reason) == "SOURCE_MISSING"  # type: ignore[union-attr]
    assert "was changed while the corpus was replayed" in str(told["barn/b.wav"])
    assert told["porch/c.wav"] is None and len(result_folders(tmp_path / "results")) == 1
    assert found.exit_code == 3


def test_a_bundle_that_is_replaced_meanwhile_gives_no_results_under_its_name(
    corpus: Path, microphone: Path, tiny_audio_model: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "mic.galago"
    shutil.copy(microphone, path)
    opened = galago_edge.open_bundle(path, unverified=True)
    make_bundle(path, tiny_audio_model, policy_labels("a", "b", "c"), modality="microphone")
    found = replay_corpus(read_corpus(corpus), opened, tmp_path / "results")
    assert {str(one.error.reason) for one in found.replays if one.error is not None} == {"DATA_BAD"}
    assert result_folders(tmp_path / "results") == set()


def test_two_environments_in_one_run_are_told(corpus: Path, microphone: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    galago("replay", corpus, "--bundle", microphone, "--out", run)
    for path in sorted(result_folders(run / "results"))[:1]:
        stored, _ = ReplayResults(run / "results").find(path.name)
        assert stored is not None
        elsewhere = msgspec.structs.replace(stored.environment, cpu="another")
        write_stored(path, msgspec.structs.replace(stored, environment=elsewhere))
    result = galago("replay", corpus, "--bundle", microphone, "--out", run)
    assert result.exit_code == 0
    assert "Warning: the results come from 2 environments: " in result.stderr
    assert "1 on another" in result.stderr


def test_what_computes_otherwise_gives_no_result_under_the_name_of_the_job(
    corpus: Path, microphone: Path, tmp_path: Path
) -> None:
    """As a worker of a cluster with another version."""
    _, found = replayed(corpus, microphone, tmp_path / "results")
    (stored, _) = ReplayResults(tmp_path / "results").find(
        next(iter(result_folders(tmp_path / "results"))).name
    )
    assert found and stored is not None
    other = msgspec.structs.replace(stored.job.computing, galago_edge="9.9.9")
    order = ReplayOrder.of(
        msgspec.structs.replace(stored.job, computing=other),
        str(corpus / "barn" / "a.wav"),
        microphone,
        tmp_path / "other",
    )
    outcome = fulfil(order)
    assert outcome.error is not None and outcome.error.reason == "ENVIRONMENT_MISMATCH"
    assert "the job is for galago-edge 9.9.9" in outcome.error.message
    assert not (tmp_path / "other").exists()
