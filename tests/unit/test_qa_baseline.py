"""A committed file in place of OLD."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.errors import CallerError, InputError, LinkError, Reason
from galago_edge.contract.manifest import Label
from galago_edge.contract.records import EventRecord, GapRecord
from galago_workstation.qa.baseline import (
    Baseline,
    encode_baseline,
    make_baseline,
    read_baseline,
    write_baseline,
)
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.replay_comparison import compare_bundles
from galago_workstation.qa.replayed import Replayed, Truth, TruthList
from galago_workstation.qa.sealed_json import unsealed

S = 1_000_000_000
RULE = MatchingRule(post_ns=2 * S)  # these replays have no scores that tell the hop
HASHES = {name: f"{number:064x}" for number, name in enumerate(("a.wav", "b.wav", "night/c.mcap"), 1)}

OLD = "0123456789abcdef" * 4


def event(at_s: int, score: float = 0.5) -> EventRecord:
    return EventRecord(
        stream="mic", seq=0, label="smoke", score=score, start_index=3, end_index=9, start_ns=at_s * S,
        end_ns=at_s * S + 7, bundle=OLD, backend="cpu",
    )  # fmt: skip


def replayed(name: str, *events: EventRecord) -> Replayed:
    return Replayed(
        recording=name, sha256=HASHES[name], bundle=OLD,
        labels=(Label(name="smoke"), Label(name="none", background=True)), receptive_ns=S,
        duration_ns=3_600 * S, events=events, states=(), tags={"site": "barn"},
        gaps=(GapRecord(stream="mic", from_ns=5, to_ns=9, cause="lost"),),
        truth=TruthList((Truth(10 * S, 12 * S, "smoke"), Truth(50 * S, 52 * S, "smoke"))),
    )  # fmt: skip


RUN = [replayed("b.wav", event(11), event(30, 0.25)), replayed("a.wav"), replayed("night/c.mcap", event(11))]


def test_nothing_differs_from_its_own_baseline(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    write_baseline(file, make_baseline(RUN, RULE))
    found = compare_bundles(read_baseline(file), RUN, rule=RULE)
    assert found.diff.changes == () and found.diff.same == 3
    assert found.windows.without_scores == 3
    assert found.right[0].both == 2 and found.right[0].neither == 4


def test_a_baseline_is_one_line_for_each_recording_by_name_and_the_same_bytes_every_time() -> None:
    content = encode_baseline(make_baseline(RUN, RULE))
    assert content == encode_baseline(make_baseline(RUN[::-1], RULE))
    lines = content.decode().splitlines()
    assert [line.split('"')[3] for line in lines if '"recording"' in line] == sorted(HASHES)
    decoded = unsealed(content, Baseline)
    assert decoded == make_baseline(RUN, RULE)
    (figure,) = decoded.figures
    assert (figure.events, figure.there, figure.found, figure.false_alarms) == (3, 6, 2, 1)
    assert decoded.hours == 3.0


@given(st.lists(st.tuples(st.integers(0, 3_000), st.floats(0, 1)), max_size=5))
def test_every_event_comes_back_as_it_was(events: list[tuple[int, float]]) -> None:
    baseline = make_baseline([replayed("a.wav", *(event(*each) for each in events))], RULE)
    assert unsealed(encode_baseline(baseline), Baseline) == baseline


def test_a_baseline_is_written_over_only_when_asked(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    write_baseline(file, make_baseline(RUN, RULE))
    before = file.read_bytes()
    with pytest.raises(CallerError, match=r"baseline\.json exists") as refused:
        write_baseline(file, make_baseline(RUN[:1], RULE))
    assert refused.value.reason == "EXISTS" and file.read_bytes() == before
    write_baseline(file, make_baseline(RUN[:1], RULE), replace=True)
    assert len(read_baseline(file)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["baseline.json"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[1", b'{"schema":"galago.baseline/2"}', b"\xff\xfe", b"[" * 5_000],
    ids=["empty", "no fields", "cut", "other version", "no text", "deep"],
)
def test_what_is_no_baseline_is_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "baseline.json"
    file.write_bytes(content)
    with pytest.raises(InputError, match="is no baseline") as refused:
        read_baseline(file)
    assert refused.value.reason == "DATA_BAD"
    with pytest.raises(LinkError):
        read_baseline(tmp_path / "missing.json")


def test_a_baseline_is_of_one_bundle_and_of_different_recordings() -> None:
    other = replace(RUN[0], bundle="f" * 64)
    tuned = replace(RUN[0], labels=RUN[0].labels[:1])
    for replays, met in (
        ([], "0 bundles"),
        ([*RUN[1:], other], "2 bundles with 1 policy"),
        ([*RUN[1:], tuned], "1 bundle with 2 policies"),
        ([*RUN, replace(RUN[0], recording="copy")], "one recording twice"),
    ):
        with pytest.raises(InputError, match=met):
            make_baseline(replays)


def test_a_truth_whose_label_the_bundle_does_not_have_is_refused() -> None:
    odd = replace(RUN[0], truth=TruthList((Truth(1, 2, "smok"),)))
    with pytest.raises(InputError, match=r"labels of b\.wav: label 'smok' at 1 ns is none of the bundle's"):
        make_baseline([odd], RULE)


@pytest.mark.parametrize(
    "change",
    [{"bundle": "zzz"}, {"recordings": []}, {"bundle": "f" * 64}, {"figures": []}, {"hours": 3.1}],
    ids=str,
)
def test_a_baseline_that_somebody_edited_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    assert "baseline" in edited(tmp_path, lambda said: said | change)


def test_a_baseline_without_figures_and_with_events_that_nobody_said_is_refused(tmp_path: Path) -> None:
    """The counts agree: nothing but the hash tells it."""

    def forged(said: dict[str, Any]) -> dict[str, Any]:
        for recording in said["recordings"]:
            recording["events"] = [["smoke", 0.5, 1, 2, 3, 4]]
        return said | {"figures": []}

    assert "is not as galago qa baseline writes it: its SHA-256 is " in edited(tmp_path, forged)


def test_a_baseline_of_an_earlier_build_says_how_it_is_made_anew(tmp_path: Path) -> None:
    def unsealed_one(said: dict[str, Any]) -> dict[str, Any]:
        del said["sha256"]
        return said

    assert "it has no hash of itself" in edited(tmp_path, unsealed_one)


def edited(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> str:
    """What is said of a baseline that is as it was written but for this."""
    path = folder / "baseline.json"
    write_baseline(path, make_baseline(RUN, RULE))
    read_baseline(path)
    path.write_bytes(msgspec.json.encode(change(msgspec.json.decode(path.read_bytes()))))
    with pytest.raises(InputError) as caught:
        read_baseline(path)
    assert caught.value.reason is Reason.DATA_BAD
    assert f"galago qa baseline CORPUS --bundle OLD --out {path} --replace" in caught.value.hint
    return str(caught.value)
