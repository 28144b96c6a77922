"""A small run of what ``make determinism`` does at length, and proof that it would see a difference."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from campaigns import determinism
from campaigns.determinism import WAYS, Told
from real_parts import MissingPartError
from real_parts.missing import missing_part


def test_processes_a_cluster_and_other_blocks_and_names_give_one_sha256(tmp_path: Path) -> None:
    try:
        found = list(determinism.determinism(tmp_path, WAYS[:3], 3))
    except MissingPartError as missing:
        missing_part(str(missing))
    assert [one.way for one in found] == [way.name for way in WAYS[:3]]
    assert len({one.sha256 for one in found}) == 1


def test_the_ways_are_twenty_and_differ_in_all_that_must_not_matter() -> None:
    assert len({way.name for way in WAYS}) == len(WAYS) == 20
    assert len({way.block_samples for way in WAYS}) >= 8
    assert {way.jobs for way in WAYS} == {1, 2, 5}
    assert sum(way.cluster for way in WAYS) >= 4


def test_two_answers_end_with_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*_: Any) -> Iterator[Told]:
        yield from (Told("one process", "a" * 64, 1.0), Told("cluster", "b" * 64, 1.0))

    monkeypatch.setattr(determinism, "determinism", told)
    monkeypatch.setattr(sys, "argv", ["determinism", "--out", str(tmp_path / "out" / "figures.json")])
    assert determinism.main() == 1
    assert capsys.readouterr().out.splitlines()[-1] == "2 replays of 5 recordings, 2 SHA-256"
