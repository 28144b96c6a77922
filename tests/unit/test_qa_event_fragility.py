"""What a few steps of the model's output can change in its events is fragile, and nothing else is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galago_edge.contract.manifest import Label
from galago_edge.decision.activation import Activation
from galago_workstation.qa.baseline import BaselineEvent
from galago_workstation.qa.exactness_tiers import OutputSteps
from galago_workstation.qa.golden_comparison import compare_events
from test_kit.goldens import fresh_replay
from test_kit.replays import decided, plain_label

SCALE = 0.1
OUTPUT = OutputSteps(SCALE, 2)
ACTIVATION = Activation("softmax", SCALE, 0)
QUIET = plain_label("quiet", background=True)
HORN = plain_label("horn", on=0.7, off=0.4, smoothing_windows=2, refractory_ms=300)


def compared(
    golden: Sequence[int], here: Sequence[int], label: Label = HORN, off_by: int = 4
) -> tuple[list[str], list[str]]:
    """Compare two streams of logits, one for each window; that of the background is 0."""
    sides = [_decided(np.array([[0, code] for code in codes], np.int8), label) for codes in (golden, here)]
    events = [BaselineEvent.of(one) for one in sides[0].events]
    return compare_events(events, fresh_replay(sides[1]), OUTPUT, off_by)


def _decided(logits: npt.NDArray[np.int8], label: Label) -> object:
    return decided([ACTIVATION.scores(row).tolist() for row in logits], [QUIET, label])


LOUD, SILENT, NEARLY = 60, -60, 9  # a score of 0.998, of 0.002, and of 0.711, just above 0.7


def test_equal_events_are_neither_lost_nor_fragile() -> None:
    codes = [SILENT] * 5 + [LOUD] * 5 + [SILENT] * 5
    assert compared(codes, codes) == ([], [])


def test_a_clear_event_that_is_missing_is_broken() -> None:
    broken, fragile = compared([SILENT] * 5 + [LOUD] * 5 + [SILENT] * 5, [SILENT] * 15)
    assert broken == ["lost: horn 0.997528, 0.6 s to 0.7 s"] and fragile == []


def test_a_clear_event_that_is_new_is_broken() -> None:
    broken, _ = compared([SILENT] * 15, [SILENT] * 5 + [LOUD] * 5 + [SILENT] * 5)
    assert broken == ["gained: horn 0.997528, 0.6 s to 0.7 s"]


def test_an_event_just_above_its_threshold_may_go_and_is_named() -> None:
    here = [SILENT] * 5 + [NEARLY - 2] * 5 + [SILENT] * 5
    broken, fragile = compared([SILENT] * 5 + [NEARLY] * 5 + [SILENT] * 5, here)
    assert broken == [] and fragile == ["lost: horn 0.710953, 0.6 s to 0.7 s"]


def test_an_event_may_come_one_window_later_and_no_more() -> None:
    golden = [SILENT] * 5 + [LOUD] * 6 + [SILENT] * 5
    one, two = ([SILENT] * (5 + late) + [LOUD] * (6 - late) + [SILENT] * 5 for late in (1, 2))
    assert compared(golden, one) == ([], [])
    broken, fragile = compared(golden, two)
    assert [text.partition(":")[0] for text in broken] == ["lost", "gained"] and fragile == []


def test_an_event_of_the_same_moment_with_a_score_that_no_step_explains_is_broken() -> None:
    label = plain_label("horn", on=0.2, off=0.1)
    golden = [SILENT] * 5 + [0] * 3 + [SILENT] * 5
    assert compared(golden, [SILENT] * 5 + [4] * 3 + [SILENT] * 5, label) == ([], [])
    broken, _ = compared(golden, [SILENT] * 5 + [40] * 3 + [SILENT] * 5, label)
    assert broken == ["rescored: horn 0.5, 0.5 s to 0.6 s, now 0.98201"]


def test_an_event_that_hung_on_the_label_turning_off_is_fragile() -> None:
    dip = -5  # a score of 0.378, just below 0.4, twice: the smoothed one is, too
    golden = [SILENT] * 3 + [LOUD] * 5 + [dip] * 2 + [LOUD] * 5
    here = [SILENT] * 3 + [LOUD] * 5 + [dip + 3] * 2 + [LOUD] * 5
    broken, fragile = compared(golden, here)
    assert broken == [] and [text.partition(":")[0] for text in fragile] == ["lost"]


CODES = st.lists(
    st.tuples(st.sampled_from([-60, -12, -5, -2, 0, 4, 8, 10, 14, 60]), st.integers(-4, 4)),
    min_size=1,
    max_size=60,
)


@settings(max_examples=400)
@given(
    codes=CODES,
    smoothing=st.integers(1, 3),
    count=st.integers(1, 3),
    refractory_ms=st.sampled_from([0, 250, 1_000]),
)
def test_nothing_within_the_steps_is_ever_called_broken(
    codes: list[tuple[int, int]], smoothing: int, count: int, refractory_ms: int
) -> None:
    label = plain_label(
        "horn", on=0.7, off=0.4, smoothing_windows=smoothing, min_count=count, refractory_ms=refractory_ms
    )
    golden = [code for code, _ in codes]
    here = [min(max(code + move, -128), 127) for code, move in codes]
    assert compared(golden, here, label)[0] == []


@pytest.mark.parametrize("off_by", [0, 4])
def test_with_no_step_allowed_nothing_is_fragile(off_by: int) -> None:
    golden = [SILENT] * 5 + [NEARLY] * 5 + [SILENT] * 5
    broken, fragile = compared(golden, [SILENT] * 15, off_by=off_by)
    # silence is no few steps away from it, so it is lost either way
    assert len(broken) == 1 and fragile == []
