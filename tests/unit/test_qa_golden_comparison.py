"""A golden against a replay: the first stage that differs, where, and whether the tier allows it."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from galago_edge.contract.errors import InputError, Reason
from galago_edge.pipeline.stage_hashes import STAGES
from galago_workstation.qa.corpus import Corpus
from galago_workstation.qa.corpus_rows import CorpusRecording
from galago_workstation.qa.exactness_tiers import OutputSteps, Tier, TierChoice
from galago_workstation.qa.golden_comparison import (
    GoldenFinding,
    RecordingFinding,
    StepTally,
    check_corpus,
    check_labels,
    compare_golden,
    compare_recording,
)
from galago_workstation.qa.golden_file import GoldenFile, GoldenRecording
from galago_workstation.qa.golden_replay import FreshReplay
from galago_workstation.qa.golden_report import difference_text, finding_lines, golden_junit
from galago_workstation.qa.release_verdict import Stance
from test_kit.corpora import policy_labels
from test_kit.goldens import fresh_replay, golden_of
from test_kit.replays import decided, plain_label

LABELS = (plain_label("quiet", background=True), plain_label("horn"))
STEPS = OutputSteps(0.1, 2)
LOUD = [[65_536, 0]] * 5 + [[0, 65_536]] * 3 + [[65_536, 0]] * 12
"""One event in 2 s; a window ends every 100 ms."""


def outputs(**changed: int) -> npt.NDArray[np.int8]:
    """Outputs of 20 windows, of which some codes of ``horn`` (``w7=3``) are moved."""
    codes = np.tile(np.array([[40, -40]], np.int8), (20, 1))
    for name, move in changed.items():
        codes[int(name[1:]), 1] += move
    return codes


def replayed(codes: npt.NDArray[np.int8] | None = None, **changes: Any) -> FreshReplay:
    return fresh_replay(decided(LOUD, LABELS), outputs() if codes is None else codes, **changes)


EXPECTED = replayed().said


def staged(**changes: str) -> dict[str, str]:
    return EXPECTED.stages | {stage: digit * 64 for stage, digit in changes.items()}


def found(fresh: FreshReplay, tier: Tier = Tier.T0, expected: GoldenRecording = EXPECTED) -> RecordingFinding:
    return compare_recording(expected, fresh, tier, STEPS, 2)


def test_equal_stages_are_equal_at_every_tier() -> None:
    for tier in (Tier.T0, Tier.T1, Tier.T2):
        assert found(replayed(), tier) == RecordingFinding("porch.wav", None)


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage not in ("logits", "events")])
def test_the_first_stage_that_differs_is_named_whatever_differs_behind_it(stage: str) -> None:
    behind = STAGES[STAGES.index(stage) :]
    first = found(replayed(stages=staged(**dict.fromkeys(behind, "a")))).first
    assert first is not None and first.stage == stage


def test_the_place_of_a_stage_is_between_the_last_equal_mark_and_the_first_other_one() -> None:
    marks = dict(EXPECTED.marks, decoded="1 0:aaaaaaaa 1:bbbbbbbb")
    expected = msgspec.structs.replace(EXPECTED, marks=marks)
    here = dict(marks, decoded="1 0:aaaaaaaa 1:cccccccc")
    first = found(replayed(stages=staged(decoded="d"), marks=here), expected=expected).first
    assert first is not None
    assert difference_text(first) == (
        "decoded, 0:00:01.000 to 0:00:02.000, windows 9 to 18: "
        f"expected sha256 {EXPECTED.stages['decoded'][:16]}…, found sha256 dddddddddddddddd…"
    )


def test_the_first_output_that_differs_is_told_with_its_window_and_both_codes() -> None:
    result = found(replayed(outputs(w7=3, w9=1)))
    assert result.first is not None and result.broken == ("logits must be equal to the byte",)
    assert difference_text(result.first) == (
        "logits, 0:00:00.700 to 0:00:00.800, window 7: expected [40, -40], found [40, -37]"
    )


def test_outputs_that_end_early_differ_where_they_end() -> None:
    result = found(replayed(outputs()[:15], skipped=((15, 20),)))
    assert result.first is not None
    assert (result.first.found, result.first.to_ns) == ("no run 15", None)


def test_the_first_event_that_differs_is_told_on_both_sides() -> None:
    quiet = fresh_replay(decided([[65_536, 0]] * 20, LABELS), outputs())
    first = found(quiet).first
    assert first is not None
    assert difference_text(first) == (
        "events, at 0:00:00.600, window 5: expected horn 1, 0.5 s to 0.6 s, found no event"
    )


def test_a_replay_that_ends_otherwise_differs_in_its_ending() -> None:
    result = found(replayed(failure="AUDIO_TRUNCATED"))
    assert result.first is not None
    told = (result.first.stage, result.first.expected, result.first.found)
    assert told == ("ending", "nothing wrong", "AUDIO_TRUNCATED")
    assert "it ended with AUDIO_TRUNCATED, nothing wrong is expected" in result.broken


@pytest.mark.parametrize(
    ("stage", "tiers"),
    [
        ("items", [Tier.T0, Tier.T1]),
        ("decoded", [Tier.T0, Tier.T1]),
        ("tensors", [Tier.T0, Tier.T1, Tier.T2]),
        ("scores", [Tier.T0, Tier.T1, Tier.T2]),
        ("smoothed", [Tier.T0, Tier.T1, Tier.T2]),
    ],
)
def test_decoders_may_differ_at_t2_and_what_galago_computes_itself_nowhere(
    stage: str, tiers: list[Tier]
) -> None:
    fresh = replayed(stages=staged(**{stage: "a"}))
    broken = [tier for tier in (Tier.T0, Tier.T1, Tier.T2) if found(fresh, tier).broken]
    assert broken == tiers


def test_other_windows_behind_a_gate_are_no_other_preprocessing() -> None:
    fresh = replayed(outputs()[:19], stages=staged(tensors="a", logits="b"), skipped=((19, 20),))
    assert found(fresh, Tier.T1).broken == ()


@pytest.mark.parametrize(("move", "broken"), [(6, ()), (7, ("outputs are up to 7 steps off, 6 may be",))])
def test_at_t1_no_output_may_be_more_than_six_steps_off(move: int, broken: tuple[str, ...]) -> None:
    result = found(replayed(outputs(w2=move)), Tier.T1)
    assert result.broken == broken
    assert result.steps == StepTally(40, move, 1)
    assert found(replayed(outputs(w2=move)), Tier.T2).broken == ()


@pytest.mark.parametrize(("moved", "stance"), [(1, Stance.PASS), (2, Stance.FAIL)])
def test_at_t1_few_outputs_of_all_recordings_may_be_more_than_two_steps_off(
    moved: int, stance: Stance
) -> None:
    fresh = replayed(outputs(**{f"w{number}": 3 for number in range(moved)}))
    result = compare_golden(golden_of([EXPECTED]), "g", [fresh], TierChoice(Tier.T1), STEPS)
    assert result.stance is stance
    assert [text[:40] for text in result.broken] == (
        ["2 of 40 outputs are more than 2 steps of"] if stance is Stance.FAIL else []
    )


def test_another_bundle_is_inconclusive_and_an_error_in_junit() -> None:
    nothing = GoldenFinding("a.golden.json", TierChoice(Tier.T3, ("another bundle",)))
    assert nothing.stance.exit_code == 7
    assert list(finding_lines(nothing)) == [
        "a.golden.json: tier T3: another bundle",
        "nothing compares: at T3 only statistics do, with galago qa diff",
    ]
    content = golden_junit(nothing, at=datetime.datetime(2026, 5, 1, tzinfo=datetime.UTC))
    assert b'tests="1" failures="0" errors="1"' in content


def corpus(**recordings: str) -> Corpus:
    found = [
        CorpusRecording(name=f"{name}.wav", path=Path(name), query="", sha256=digit * 64)
        for name, digit in recordings.items()
    ]
    return Corpus("nights", tuple(found))


@pytest.mark.parametrize(
    ("here", "told"),
    [
        (corpus(a="1", b="2"), None),
        (corpus(renamed="1", b="2"), None),
        (corpus(a="1"), "missing: b.wav"),
        (corpus(a="3", b="2"), "changed: a.wav"),
        (corpus(a="1", b="2", c="3"), "not in the golden: c.wav"),
        (corpus(b="3", c="4"), "changed: b.wav; missing: a.wav; not in the golden: c.wav"),
    ],
)
def test_a_corpus_that_is_not_the_goldens_is_refused_with_what_is_wrong(
    here: Corpus, told: str | None
) -> None:
    golden = golden_of(
        [
            msgspec.structs.replace(EXPECTED, recording=f"{name}.wav", sha256=digit * 64)
            for name, digit in (("a", "1"), ("b", "2"))
        ]
    )
    if told is None:
        check_corpus(golden, "g.json", here)
        return
    with pytest.raises(InputError) as caught:
        check_corpus(golden, "g.json", here)
    assert caught.value.reason is Reason.SOURCE_MISMATCH
    assert str(caught.value) == f"nights does not hold the recordings of g.json: {told}"


def test_labels_in_another_order_are_refused() -> None:
    golden: GoldenFile = golden_of([EXPECTED])
    check_labels(golden, "g.json", policy_labels("quiet", "horn"))
    with pytest.raises(InputError, match="the bundle has horn, quiet"):
        check_labels(golden, "g.json", policy_labels("horn", "quiet"))
