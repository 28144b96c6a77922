"""The tier follows from what lies outside Galago; scores move no further than steps of the output allow."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.decision.activation import Activation
from galago_workstation.qa.exactness_tiers import OutputSteps, Tier, choose_tier
from galago_workstation.qa.replay_environment import ReplayEnvironment
from galago_workstation.qa.replay_job import Computing

HERE = ReplayEnvironment(
    computing=Computing(
        galago_edge="1.0", code="c" * 64, runtime="litert 2", decoders={"av": "18", "soxr": "1"}
    ),
    python="3.11.7",
    packages={"galago": "1.0", "numpy": "2.4"},
    arch="x86_64",
    cpu="AMD EPYC",
    cpu_features=("avx2", "fma"),
    threads=1,
)


def other(**changes: Any) -> ReplayEnvironment:
    """``HERE`` with other values, those of what computes among them."""
    own = {name: changes.pop(name) for name in Computing.__struct_fields__ if name in changes}
    computing = msgspec.structs.replace(HERE.computing, **own)
    return msgspec.structs.replace(HERE, computing=computing, **changes)


@pytest.mark.parametrize(
    ("golden", "tier", "reason"),
    [
        (HERE, Tier.T0, None),
        (other(cpu="Intel Xeon"), Tier.T1, "processor: Intel Xeon -> AMD EPYC"),
        (other(cpu_features=("avx2",)), Tier.T1, "features: avx2 -> avx2 fma"),
        (other(arch="aarch64"), Tier.T1, "arch: aarch64 -> x86_64"),
        (other(threads=2), Tier.T1, "threads: 2 -> 1"),
        (other(runtime="litert 1"), Tier.T1, "runtime: litert 1 -> litert 2"),
        (other(packages={"galago": "1.0"}), Tier.T1, "numpy: none -> 2.4"),
        (other(decoders={"av": "17", "soxr": "1"}), Tier.T2, "av: 17 -> 18"),
        (other(decoders={"soxr": "1"}, arch="aarch64"), Tier.T2, "av: none -> 18"),
    ],
)
def test_the_tier_is_chosen_from_two_environments(
    golden: ReplayEnvironment, tier: Tier, reason: str | None
) -> None:
    found = choose_tier(golden, HERE, same_bundle=True)
    assert found.tier is tier
    assert found.reasons[:1] == (() if reason is None else (reason,))


@pytest.mark.parametrize(
    "golden",
    [
        other(galago_edge="0.9"),
        other(code="d" * 64),
        other(python="3.12.0"),
        other(packages={"numpy": "2.4"}),
    ],
)
def test_what_a_golden_tests_lowers_no_tier_and_is_told(golden: ReplayEnvironment) -> None:
    found = choose_tier(golden, HERE, same_bundle=True)
    assert (found.tier, found.reasons, len(found.notes)) == (Tier.T0, (), 1)


def test_another_bundle_is_not_compared_in_any_environment() -> None:
    assert choose_tier(HERE, HERE, same_bundle=False).tier is Tier.T3


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
@given(
    codes=st.lists(st.tuples(st.integers(-128, 127), st.integers(-8, 8)), min_size=2, max_size=6),
    scale=st.sampled_from([0.02, 0.09, 0.25, 1.5]),
    steps=st.integers(0, 8),
)
def test_no_score_leaves_its_bounds_while_no_output_is_off_by_more_steps(
    kind: Literal["softmax", "sigmoid"], codes: list[tuple[int, int]], scale: float, steps: int
) -> None:
    activation = Activation(kind, scale, 0)
    here = np.array([code for code, _ in codes], np.int8)
    moves = np.array([min(max(move, -steps), steps) for _, move in codes])
    there = (here + moves).clip(-128, 127).astype(np.int8)
    output = OutputSteps(scale, 2 if kind == "softmax" else 1)
    low, high = output.bounds(activation.scores(here).astype(np.int32), steps)
    elsewhere = activation.scores(there)
    assert (low <= elsewhere).all() and (elsewhere <= high).all()
