"""Small pieces of ``make recording`` and ``make cut-recordings``, and proof that they find what is wrong."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from campaigns import recording_kills, recording_round_trip
from campaigns.cut_recordings import judge_all
from campaigns.recording_mutants import (
    Judge,
    Mutant,
    boundaries,
    head_flips,
    mutants,
    record_places,
    shrinks,
)
from campaigns.recording_subjects import KINDS, Subject, make_subject, messages_of
from campaigns.recording_witness import WitnessedFile, digest
from galago_edge.bundle import open_bundle
from galago_edge.recorded import record_walk
from real_parts import MissingPartError, RtspServer, SoundServer, missing_part

ROOT = Path(__file__).parents[2]
STEPS = 24
"""Frames, or blocks of 100 ms: a second and more on each side of the outage."""


def run(program: str, tmp_path: Path, *options: str) -> tuple[dict[str, Any], str]:
    """Run a campaign of real parts; return its figures and what it printed."""
    try:
        RtspServer(tmp_path), SoundServer(tmp_path)
    except MissingPartError as missing:
        missing_part(str(missing))
    out = tmp_path / "figures.json"
    command = [sys.executable, "-m", program, *options, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, cwd=ROOT)
    said = done.stdout + done.stderr
    assert out.exists(), said
    return json.loads(out.read_text()), said


def test_a_replay_of_what_the_running_service_recorded_says_what_it_said(tmp_path: Path) -> None:
    found, said = run("campaigns.recording_round_trip", tmp_path, "--seconds", "12", "--away", "1")
    assert set(found["sources"]) == {"yard", "gate", "hall"}, said
    for source in found["sources"].values():
        assert source["check"] == source["replay"] == source["log_differs"] == 0, said
        assert not any(source["different"].values()) and all(source["compared"].values()), said
    assert not found["run"]["lost"] and not found["run"]["exit_code"], said


def test_of_a_service_that_is_killed_while_it_records_every_written_message_is_read(tmp_path: Path) -> None:
    """How late the last second is, is the long run's to judge: this machine may be busy."""
    found, said = run("campaigns.recording_kills", tmp_path, "--kills", "2", "--seed", "3")
    for source in found["sources"].values():
        assert source["files"] == 2 and 0 < source["written"] <= source["read"] <= source["handed"], said
        assert not [one for one in source["wrong"] if "before the kill is lost" not in one], said


@pytest.fixture(scope="module", params=KINDS)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return make_subject(request.param, tmp_path_factory.mktemp(request.param), STEPS)


def test_of_a_recording_that_is_cut_or_flipped_nothing_is_invented_and_nothing_lost_in_silence(
    subject: Subject,
) -> None:
    rng = random.Random(4)
    chosen = list(mutants(subject.data, 8, 8, rng, every=12))
    verdict = judge_all(subject, [*chosen, *head_flips(subject.data, 20, rng)], jobs=1)
    assert verdict.violations == []
    assert verdict.counts["cut", "some lost"] > 8 and verdict.counts["flip", "nothing lost"] > 8


def test_places_to_cut_at_are_the_ends_of_records_within_chunks_too(subject: Subject) -> None:
    places = boundaries(subject.data)
    assert len(places) > len(subject.messages), "behind every message"
    assert places[:2] == [0, 8] and places[-1] < len(subject.data)


# Campaigns that could not fail would prove nothing.


class Anything(int):
    """Equal to every checksum."""

    def __ne__(self, other: object) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


@pytest.fixture(scope="module")
def jpeg(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return make_subject("jpeg", tmp_path_factory.mktemp("one"), 12)


def in_a_picture(subject: Subject) -> Mutant:
    picture = next(data for topic, _, _, data in subject.messages if topic.startswith("/cam/"))
    return Mutant("flip", subject.data.index(picture) + len(picture) // 2, 1)


def judged(subject: Subject, mutant: Mutant) -> list[str]:
    judge = Judge(subject)
    try:
        return judge.judge(mutant).violations
    finally:
        judge.close()


def test_a_reader_that_believes_damaged_chunks_is_noticed(
    jpeg: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert judged(jpeg, in_a_picture(jpeg)) == []
    monkeypatch.setattr(record_walk, "zlib", SimpleNamespace(crc32=lambda *_: Anything()))
    assert any("nobody wrote" in one for one in judged(jpeg, in_a_picture(jpeg)))


def test_a_reader_that_gives_up_behind_damage_and_a_traceback_are_noticed(
    jpeg: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Judge(jpeg)
    monkeypatch.setattr(record_walk.RecordWalk, "_next_place", lambda self, at: self.size)
    head = next(at for at, _, kind in record_places(jpeg.data) if kind == 6)
    told = judge.judge(Mutant("flip", head, 0x40)).violations
    assert any("whole chunks are not read" in one for one in told)
    monkeypatch.setattr(record_walk.RecordWalk, "_record", lambda self, at: [][0])
    assert any("IndexError" in one for one in judge.judge(in_a_picture(jpeg)).violations)
    judge.close()


def test_time_that_grows_where_a_file_is_cut_earlier_is_noticed() -> None:
    assert shrinks([(10, 5), (30, 9), (20, 5)])
    assert not shrinks([(10, 5), (20, 4)])


def test_a_written_message_that_is_not_read_and_one_that_nobody_wrote_are_noticed(jpeg: Subject) -> None:
    handed = [(topic, number, ns, digest(data)) for topic, number, ns, data in messages_of(jpeg.path)]
    part = jpeg.path.with_name("jpeg.mcap.part")
    part.write_bytes(jpeg.data[: -len(jpeg.data) // 3])
    bundle = open_bundle(jpeg.bundle)

    def wrong(handed: list[Any], written: int, ago_s: float = 0.5) -> list[str]:
        account = recording_kills.Account()
        file = WitnessedFile(part, handed, [0] * len(handed), written)
        recording_kills.judge(account, file, round(ago_s * 1e9), "jpeg", bundle)
        part.with_name("recovered-jpeg.mcap").unlink()
        part.with_name("recovered-jpeg.mcap.sha256").unlink()
        return account.wrong

    there = len(messages_of(part))
    assert 0 < there < len(handed) and wrong(handed, there) == []
    assert any("1 written ones are not read" in one for one in wrong(handed, there + 1))
    assert any("1.50 s before the kill" in one for one in wrong(handed, there, 1.5))
    other = [*handed[:3], ("/cam/door", 1, 1, "00"), *handed[4:]]
    assert any("other messages" in one for one in wrong(other, there))


def test_a_replay_that_differs_and_an_outage_that_was_none_miss_their_bars() -> None:
    source: dict[str, Any] = {
        "log_differs": 0, "different": {"event": 0}, "compared": {"event": 3}, "check": 0, "check_faults": [],
        "replay": 0, "gaps": {"disconnect": 1, "stall": 1},
    }  # fmt: skip
    run = {"never_came_back": [], "lost": {}, "exit_code": 0}

    def missed(**changed: Any) -> list[str]:
        return recording_round_trip.misses({"run": run, "sources": {"yard": {**source, **changed}}})

    assert missed() == []
    for changed in (
        {"log_differs": 1}, {"different": {"event": 1}}, {"compared": {"event": 0}}, {"check": 1},
        {"replay": 1}, {"gaps": {"disconnect": 1}},
    ):  # fmt: skip
        assert len(missed(**changed)) == 1
    assert recording_round_trip._different([{"a": 1}, {"a": 2}], [{"a": 1}]) == 1
