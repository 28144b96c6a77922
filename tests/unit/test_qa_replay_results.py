"""Results of replays: named by what they are made of, whole or absent, and computed again when damaged."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import BundleError, InputError, LinkError, Reason
from galago_edge.contract.settings import ViewSettings
from galago_edge.contract.streams import Span, WindowSeen
from galago_workstation.qa.replay_environment import cpu_features, environment_here
from galago_workstation.qa.replay_job import (
    Computing,
    ReplayChanges,
    ReplayJob,
    computing_here,
    ordered_query,
)
from galago_workstation.qa.replay_results import (
    JOB,
    RECORDS,
    SCORES,
    ReplayResults,
    StoredFailure,
    StoredReplay,
    file_sha256,
    write_stored,
)
from galago_workstation.qa.score_arrays import ScoreCollector, read_scores
from test_kit.corpora import policy_labels

A_DAY_NS = 86_400_000_000_000
COMPUTING = Computing(galago_edge="1", code="c", runtime="r 1", decoders={"av": "1", "soxr": "2"})
JOB_A = ReplayJob(
    recording="a" * 64,
    form=".wav",
    query="",
    started_ns=None,
    bundle="b" * 64,
    stream="replay",
    changes=ReplayChanges(),
    computing=COMPUTING,
)


def test_the_digest_of_a_job_is_that_of_its_canonical_json() -> None:
    """Written by hand; a change here makes every stored result unknown."""
    canonical = (
        '{"bundle":"' + "b" * 64 + '","changes":{"drops":"none","faults":null,"from_ns":0,'
        '"max_fps":null,"thresholds":{},"to_ns":null,"view":{}},"computing":{"code":"c","decoders":{"av":"1","soxr":"2"},"galago_edge":"1",'
        '"runtime":"r 1"},"form":".wav","query":"","recording":"' + "a" * 64 + '","started_ns":null,'
        '"stream":"replay","v":1}'
    )
    assert JOB_A.digest == hashlib.sha256(canonical.encode()).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        {"recording": "c" * 64},
        {"form": ".flac"},
        {"query": "channel=2"},
        {"started_ns": 1},
        {"bundle": "d" * 64},
        {"stream": "door"},
        {"changes": ReplayChanges.of({"low": {"on": 0.5}})},
        {"changes": ReplayChanges.of(view=ViewSettings(rotate=90))},
        {"changes": ReplayChanges.of(max_fps=5.0)},
        {"changes": ReplayChanges.of(from_ns=1)},
        {"changes": ReplayChanges.of(to_ns=1)},
        {"computing": msgspec.structs.replace(COMPUTING, runtime="r 2")},
        {"computing": msgspec.structs.replace(COMPUTING, code="d")},
        {"computing": msgspec.structs.replace(COMPUTING, decoders={"av": "2"})},
    ],
)
def test_whatever_may_change_an_answer_changes_the_digest(change: dict[str, object]) -> None:
    assert msgspec.structs.replace(JOB_A, **change).digest != JOB_A.digest


def test_the_order_in_which_things_are_said_does_not() -> None:
    one, two = {"on": 0.5}, {"off": 0.25}
    there = ReplayChanges.of({"low": one | two, "high": one})
    back = ReplayChanges.of({"high": one, "low": two | one})
    digests = {msgspec.structs.replace(JOB_A, changes=changes).digest for changes in (there, back)}
    assert len(digests) == 1
    assert ordered_query("rate=16000&channel=2") == ordered_query("channel=2&rate=16000")


def test_a_job_comes_back_from_json_with_its_digest() -> None:
    job = msgspec.structs.replace(
        JOB_A, changes=ReplayChanges.of({"low": {"on": 1}}, view=ViewSettings(region=(0.0, 0.1, 0.5, 1.0)))
    )
    assert from_json(msgspec.json.encode(job), type=ReplayJob).digest == job.digest


def test_what_computes_is_the_same_in_every_process_of_this_computer() -> None:
    code = (
        "import sys, msgspec; from galago_workstation.qa.replay_job import computing_here; "
        "sys.stdout.buffer.write(msgspec.json.encode(computing_here()))"
    )
    elsewhere = subprocess.check_output([sys.executable, "-c", code])
    assert from_json(elsewhere, type=Computing) == computing_here()


def test_features_of_the_processor_are_those_that_choose_kernels(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(
        "processor\t: 0\nflags\t\t: fpu avx2 avx512f lahf_lm sse4_2\nprocessor\t: 1\nflags\t: x\n"
    )
    assert cpu_features(path) == ("avx2", "avx512f", "sse4_2")
    path.write_text("processor\t: 0\nFeatures\t: fp asimd asimddp crc32\n")
    assert cpu_features(path) == ("asimd", "asimddp")
    assert cpu_features(tmp_path / "none") == ()


# the folder of results


def stored(**changes: object) -> StoredReplay:
    plain = StoredReplay(
        job=JOB_A,
        name="night.wav",
        labels=tuple(policy_labels("quiet", "low")),
        receptive_ns=1,
        duration_ns=2,
        windows=0,
        events=0,
        gaps=0,
        failure=None,
        stages=None,
        files={},
        environment=environment_here(),
    )
    return msgspec.structs.replace(plain, **changes)


def put(results: ReplayResults, **changes: object) -> Path:
    with results.writing(JOB_A.digest) as folder:
        (folder / RECORDS).write_bytes(b"{}\n")
        (folder / SCORES).write_bytes(b"scores")
        files = {name: file_sha256(folder / name) for name in (RECORDS, SCORES)}
        write_stored(folder, stored(files=files, **changes))
    return results.place(JOB_A.digest)


def parts(results: ReplayResults) -> list[str]:
    return [path.name for path in results.folder.rglob(".*")]


def test_a_result_comes_back_as_it_was_put_down(tmp_path: Path) -> None:
    results = ReplayResults(tmp_path)
    assert results.find(JOB_A.digest) == (None, "")
    place = put(results)
    assert place == tmp_path / JOB_A.digest[:2] / JOB_A.digest
    found, fault = results.find(JOB_A.digest)
    assert found is not None and not fault
    assert found == stored(files=found.files)
    assert parts(results) == []


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        (RECORDS, b"{}\n{}\n", "records.jsonl was changed"),
        (SCORES, b"score", "scores.npz was changed"),
        (RECORDS, None, "records.jsonl is missing"),
        (SCORES, None, "scores.npz is missing"),
        (JOB, None, "job.json is missing"),
        (JOB, b"", "job.json is damaged or of another version"),
        (JOB, b'{"schema":"galago.replay/2"}', "job.json is damaged or of another version"),
        (JOB, b"[" * 10_000, "job.json is damaged or of another version"),
    ],
)
def test_a_damaged_result_counts_as_absent_says_why_and_is_replaced(
    tmp_path: Path, name: str, content: bytes | None, fault: str
) -> None:
    results = ReplayResults(tmp_path)
    path = put(results) / name
    path.unlink() if content is None else path.write_bytes(content)
    found, said = results.find(JOB_A.digest)
    assert found is None and said.startswith(fault)
    put(results)
    assert results.find(JOB_A.digest)[0] is not None
    assert parts(results) == []


def edited(place: Path, *path: str, value: object) -> None:
    """Change one value of ``job.json`` and leave it well-formed."""
    job = table = json.loads((place / JOB).read_bytes())
    for key in path[:-1]:
        table = table[key]
    table[path[-1]] = value
    (place / JOB).write_text(json.dumps(job))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("duration_ns",), 3),
        (("windows",), 1),
        (("events",), 7),
        (("name",), "other.wav"),
        (("environment", "cpu"), "another"),
        (("sha256",), "0" * 64),
        (("sha256",), 5),
    ],
    ids=lambda one: ".".join(one) if isinstance(one, tuple) else str(one)[:8],
)
def test_a_number_that_was_edited_in_a_result_is_noticed(
    tmp_path: Path, path: tuple[str, ...], value: object
) -> None:
    results = ReplayResults(tmp_path)
    edited(put(results), *path, value=value)
    found, fault = results.find(JOB_A.digest)
    assert found is None and fault.startswith("job.json was changed: its SHA-256 is ")
    assert results.described(JOB_A.digest)[0] is None
    put(results)
    assert results.find(JOB_A.digest)[0] is not None


def test_records_that_were_exchanged_with_their_hash_are_noticed_all_the_same(tmp_path: Path) -> None:
    results = ReplayResults(tmp_path)
    place = put(results)
    (place / RECORDS).write_bytes(b"{}\n{}\n")
    edited(place, "files", RECORDS, value=file_sha256(place / RECORDS))
    assert results.find(JOB_A.digest)[1].startswith("job.json was changed: ")


def test_a_result_of_a_build_without_such_a_hash_is_computed_again(tmp_path: Path) -> None:
    results = ReplayResults(tmp_path)
    place = put(results)
    job = json.loads((place / JOB).read_bytes())
    del job["sha256"]
    (place / JOB).write_text(json.dumps(job))
    assert results.find(JOB_A.digest) == (None, "job.json was changed: it has no hash of itself")


def test_how_a_result_is_laid_out_on_its_lines_does_not_matter(tmp_path: Path) -> None:
    results = ReplayResults(tmp_path)
    place = put(results)
    edited(place, "windows", value=0)  # as it was, in another layout
    assert results.find(JOB_A.digest)[0] is not None


@pytest.mark.parametrize("leads_to", ["a result", "nothing"])
def test_a_link_in_the_place_of_a_result_is_not_followed_and_makes_way(tmp_path: Path, leads_to: str) -> None:
    other = ReplayResults(tmp_path / "other")
    aim = put(other) if leads_to == "a result" else tmp_path / "nowhere"
    results = ReplayResults(tmp_path / "results")
    place = results.place(JOB_A.digest)
    place.parent.mkdir(parents=True)
    place.symlink_to(aim)
    assert results.find(JOB_A.digest) == (None, "a link is in its place, expected a folder")
    put(results)
    assert results.find(JOB_A.digest)[0] is not None and not place.is_symlink()
    assert parts(results) == []
    assert leads_to == "nothing" or other.find(JOB_A.digest)[0] is not None


def test_the_result_of_another_job_is_foreign(tmp_path: Path) -> None:
    results = ReplayResults(tmp_path)
    other = msgspec.structs.replace(JOB_A, stream="door").digest
    place = put(results)
    results.place(other).parent.mkdir(exist_ok=True)
    place.rename(results.place(other))
    assert results.find(other) == (None, "job.json is of another job")


def test_a_result_without_hashes_counts_as_absent_only_for_those_who_want_them(tmp_path: Path) -> None:
    results = ReplayResults(tmp_path)
    put(results)
    assert results.find(JOB_A.digest)[0] is not None
    assert results.find(JOB_A.digest, stages=True) == (None, "")


def test_what_fails_half_way_leaves_nothing_and_what_was_there_stays(tmp_path: Path) -> None:
    results = ReplayResults(tmp_path)
    with pytest.raises(KeyboardInterrupt), results.writing(JOB_A.digest) as folder:
        (folder / RECORDS).write_bytes(b"{}\n")
        raise KeyboardInterrupt
    assert results.find(JOB_A.digest) == (None, "") and parts(results) == []
    put(results)
    with pytest.raises(RuntimeError), results.writing(JOB_A.digest):
        raise RuntimeError
    assert results.find(JOB_A.digest)[0] is not None and parts(results) == []


def test_of_two_that_finish_the_same_result_the_first_stays(tmp_path: Path) -> None:
    results = ReplayResults(tmp_path)
    with results.writing(JOB_A.digest) as slow:
        (slow / RECORDS).write_bytes(b"half")
        put(results, name="first.wav")
    found, _ = results.find(JOB_A.digest)
    assert found is not None and found.name == "first.wav"
    assert parts(results) == []


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    results = ReplayResults(tmp_path)
    gone = subprocess.Popen(["true"])
    gone.wait()
    with results.writing(JOB_A.digest) as mine:
        left = mine.with_name(mine.name.replace(f".{os.getpid()}.", f".{gone.pid}."))
        elsewhere = mine.with_name(f".{JOB_A.digest}.another-host.{gone.pid}.00.part")
        left.mkdir()
        elsewhere.mkdir()
        results.clear(JOB_A.digest)
        assert mine.exists() and elsewhere.exists() and not left.exists()
    elsewhere.rmdir()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / JOB_A.digest[:2]).write_text("")
    with pytest.raises(LinkError, match="could not write"), ReplayResults(tmp_path).writing(JOB_A.digest):
        pass


@pytest.mark.parametrize("kind", [InputError, LinkError, BundleError])
def test_a_failure_comes_back_with_its_class_and_exit_code(kind: type[InputError]) -> None:
    error = kind(Reason.AUDIO_TRUNCATED, "it is cut off", hint="copy it again")
    again = StoredFailure.of(error).error()
    assert (type(again), str(again), again.hint, again.exit_code) == (
        kind,
        "it is cut off",
        "copy it again",
        kind.exit_code,
    )


# scores


def windows(count: int, labels: int = 3) -> list[WindowSeen]:
    rng = np.random.default_rng(1)
    none = np.zeros(labels, np.int64)
    return [
        WindowSeen(
            Span(index * 5, index * 5 + 9, index * 10**9, index * 10**9 + 7),
            np.zeros(labels, np.int8),
            rng.integers(0, 65_537, labels),
            none,
            bool(index % 7 == 3),
            False,
            (),
            restart=index % 11 == 0,
        )
        for index in range(count)
    ]


@pytest.mark.parametrize("count", [0, 1, 4_095, 4_096, 4_097, 9_000])
def test_scores_come_back_to_the_bit_however_many_there_are(tmp_path: Path, count: int) -> None:
    seen = windows(count)
    with ScoreCollector(tmp_path, 3) as collector:
        for window in seen:
            collector.take(window)
        collector.save(tmp_path / SCORES)
    assert [path.name for path in tmp_path.iterdir()] == [SCORES]
    found = read_scores(tmp_path / SCORES, 3, A_DAY_NS)
    assert found.span.shape == (count, 4) and found.span.dtype == np.int64
    assert found.q16.shape == (count, 3) and found.q16.dtype == np.int32
    assert [Span(*row) for row in found.span.tolist()] == [window.span for window in seen]
    assert found.q16.tolist() == [window.scores.tolist() for window in seen]
    assert found.skipped.tolist() == [window.skipped for window in seen]
    assert found.restart.tolist() == [window.restart for window in seen]
    with pytest.raises(ValueError, match="read-only"):
        found.q16[:] = 0


def test_the_same_scores_give_the_same_bytes(tmp_path: Path) -> None:
    contents = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        with ScoreCollector(tmp_path / name, 3) as collector:
            for window in windows(100):
                collector.take(window)
            collector.save(tmp_path / name / SCORES)
        contents.add((tmp_path / name / SCORES).read_bytes())
    assert len(contents) == 1


def test_memory_does_not_grow_with_the_windows(tmp_path: Path) -> None:
    (window,) = windows(1)

    def peak_bytes(count: int) -> int:
        tracemalloc.start()
        try:
            with ScoreCollector(tmp_path, 3) as collector:
                for _ in range(count):
                    collector.take(window)
                collector.save(tmp_path / SCORES)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak_bytes(10)  # what is imported with the first
    assert peak_bytes(40_000) < 1.2 * peak_bytes(8_000)


@pytest.mark.parametrize(
    "changed",
    [
        {"q16": np.zeros((2, 2), np.int32)},
        {"q16": np.full((3, 2), np.nan)},
        {"q16": np.full((3, 2), 65_537, np.int32)},
        {"span": np.zeros((3, 3), np.int64)},
        {"skipped": np.zeros(4, np.bool_)},
        {"restart": np.zeros(3, np.int8)},
        {"span": np.int64(3)},
        {"span": np.array([[0, 9, 0, 9], [5, 9, 5, 9], [4, 9, 4, 9]])},
        {"span": np.array([[0, 9, 0, 9], [-1, 9, 0, 9], [4, 9, 4, 9]])},
        {"span": np.array([[0, 9, 9, 0], [1, 9, 9, 0], [4, 9, 9, 0]])},
        {"span": np.full((3, 4), 1 << 62)},
        {"q16": np.zeros((3, 5_000), np.int32)},
    ],
    ids=[
        *("too few", "no numbers", "above one", "no spans", "too many", "another type", "no rows"),
        *("not in order", "before the beginning", "backwards", "in ages", "of many labels"),
    ],
)
def test_scores_that_contradict_themselves_are_refused(changed: dict[str, Any], tmp_path: Path) -> None:
    whole = {
        "span": np.zeros((3, 4), np.int64),
        "q16": np.zeros((3, 2), np.int32),
        "skipped": np.zeros(3, np.bool_),
        "restart": np.zeros(3, np.bool_),
    }
    np.savez(tmp_path / SCORES, **whole)
    read_scores(tmp_path / SCORES, 2, A_DAY_NS)
    np.savez(tmp_path / SCORES, **(whole | changed))

    with pytest.raises(InputError, match="holds no scores") as caught:
        read_scores(tmp_path / SCORES, 2, A_DAY_NS)

    assert caught.value.reason == Reason.RUN_BAD


def test_scores_of_windows_behind_the_end_of_their_recording_are_refused(tmp_path: Path) -> None:
    span = np.array([[0, 16, 0, 1_000], [16, 32, 1_000, 2_000]])
    none = {"skipped": np.zeros(2, np.bool_), "restart": np.zeros(2, np.bool_)}
    np.savez(tmp_path / SCORES, span=span, q16=np.zeros((2, 2), np.int32), **none)
    read_scores(tmp_path / SCORES, 2, 2_000)
    with pytest.raises(InputError, match="a window ends at 2000 ns, and the recording at 1999 ns") as caught:
        read_scores(tmp_path / SCORES, 2, 1_999)
    assert caught.value.reason == Reason.RUN_BAD and "replay again" in caught.value.hint


def test_a_packed_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / SCORES, span=np.zeros((1_000_000, 4), np.int64))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="compressed"):
            read_scores(tmp_path / SCORES, 2, A_DAY_NS)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "member",
    [
        b"abc",
        b"\x93NUMPY\x01\x00\x05\x00{'''\n ",
        b"\x93NUMPY\x01\x00\xff\xff",
        b"\x93NUMPY\x01\x00\x04\x00" + b"[" * 4,
    ],
)
def test_a_member_that_is_no_array_is_one_line(member: bytes, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / SCORES, "w") as archive:
        archive.writestr("span.npy", member)
    with pytest.raises(InputError, match="holds no scores"):
        read_scores(tmp_path / SCORES, 2, A_DAY_NS)


def test_what_holds_no_scores_is_refused(tmp_path: Path) -> None:
    path = tmp_path / SCORES
    for content in (b"", b"PK\3\4nothing", b"\x93NUMPY"):
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            read_scores(path, 2, A_DAY_NS)
        assert caught.value.reason == Reason.RUN_BAD
