"""Where a service stands: which phase may follow which, and which failure it ends with."""

from __future__ import annotations

from itertools import permutations

import pytest

from galago_edge.contract.errors import DeviceError, LinkError, Reason
from galago_edge.service.life import NEXT, Cause, Life, Phase

WAYS = {
    Phase.STARTING: [],
    Phase.RUNNING: [Phase.RUNNING],
    Phase.STOPPING: [Phase.RUNNING, Phase.STOPPING],
    Phase.ENDED: [Phase.RUNNING, Phase.ENDED],
}
"""How to get there from the start."""
ALLOWED = {
    (Phase.STARTING, Phase.RUNNING),
    (Phase.RUNNING, Phase.STOPPING),
    (Phase.RUNNING, Phase.ENDED),
    (Phase.STOPPING, Phase.ENDED),
}


def life_in(phase: Phase) -> Life:
    life = Life()
    for step in WAYS[phase]:
        life.go(step)
    return life


@pytest.mark.parametrize("before", Phase)
@pytest.mark.parametrize("after", Phase)
def test_a_phase_is_followed_by_those_that_are_written_down_and_by_no_other(
    before: Phase, after: Phase
) -> None:
    life = life_in(before)
    if (before, after) in ALLOWED:
        life.go(after)
        assert life.phase is after
    else:
        with pytest.raises(RuntimeError, match=f"{before.value} cannot be {after.value}"):
            life.go(after)
        assert life.phase is before


def test_every_phase_says_what_may_follow_and_can_be_left_towards_the_end() -> None:
    assert set(NEXT) == set(Phase)
    assert NEXT[Phase.ENDED] == frozenset()
    assert all(Phase.ENDED in NEXT[phase] for phase in (Phase.RUNNING, Phase.STOPPING))


def test_what_is_asked_of_it_in_each_phase() -> None:
    asked = {phase: (life_in(phase).started, life_in(phase).stopping) for phase in Phase}
    assert asked == {
        Phase.STARTING: (False, False),
        Phase.RUNNING: (True, False),
        Phase.STOPPING: (True, True),
        Phase.ENDED: (True, True),
    }


FAILURES = {
    Cause.RECORDS: LinkError(Reason.NO_SPACE, "the disk is full"),
    Cause.FAULT: ZeroDivisionError("division by zero"),
    Cause.MEMORY: DeviceError(Reason.MEMORY_LIMIT, "it has grown"),
}


@pytest.mark.parametrize("order", list(permutations(Cause)), ids=str)
def test_records_that_cannot_be_written_are_told_before_a_fault_and_a_fault_before_memory(
    order: tuple[Cause, ...],
) -> None:
    life = Life()
    assert life.failure is None
    met: list[Cause] = []
    for cause in order:
        assert not life.met(cause)
        assert life.failed(cause, FAILURES[cause])
        met.append(cause)
        assert life.met(cause) and life.failure is FAILURES[min(met)]


def test_the_first_failure_of_a_cause_is_the_one_that_counts() -> None:
    life = Life()
    first, second = ValueError("first"), ValueError("second")
    assert life.failed(Cause.FAULT, first) and not life.failed(Cause.FAULT, second)
    assert life.failure is first
