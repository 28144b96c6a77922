"""Whether an accelerator may run: its answers, its tensors and its time, on a clock that the engines move."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.manifest import GoldenExpected, Label, LabelPolicy
from galago_edge.engine import AcceleratorError, Fault, TensorInfo
from galago_edge.pipeline import parity
from galago_edge.pipeline.parity import GoldenInput, Speed, check_answer, check_speed, check_tensors
from galago_edge.pipeline.threshold_overrides import override_thresholds

INPUT = TensorInfo("input", 0, (1, 2, 2, 3), "uint8", 1.0, 0)
OUTPUT = TensorInfo("logits", 9, (1, 3), "int8", 0.25, -3)


class Clock:
    """Nanoseconds that only engines add to."""

    def __init__(self) -> None:
        self.ns = 7_000_000_000


class Backend:
    """Takes so long for its runs, one after the other, and always gives the same logits."""

    backend = "tpu"

    def __init__(
        self, clock: Clock, times_ns: list[int], logits: tuple[int, ...] = (0, 0, 0), **tensors: TensorInfo
    ) -> None:
        self.input, self.output = tensors.get("input", INPUT), tensors.get("output", OUTPUT)
        self.saw: list[int] = []
        self._clock, self._times_ns = clock, times_ns
        self._view = np.zeros((1, 2, 2, 3), np.uint8)
        self._logits = np.array(logits, np.int8)

    def input_view(self) -> npt.NDArray[Any]:
        return self._view

    def invoke(self) -> None:
        self._clock.ns += self._times_ns[len(self.saw) % len(self._times_ns)]
        self.saw.append(int(self._view[0, 0, 0, 0]))

    def logits(self) -> npt.NDArray[np.int8]:
        return self._logits


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(parity, "time", SimpleNamespace(perf_counter_ns=lambda: made.ns))
    return made


def golden(level: int, *logits: int, atol_steps: int = 4) -> GoldenInput:
    expected = GoldenExpected(
        tensor_sha256=hashlib.sha256(b"").hexdigest(),
        argmax=int(np.argmax(logits)),
        logits=logits,
        atol_steps=atol_steps,
    )
    return GoldenInput(f"golden/{level:02}.png", np.full((2, 2, 3), level, np.uint8), expected)


SAMPLES = [golden(level, 0, 0, 0) for level in (1, 2, 3)]


def timed(clock: Clock, tpu_ns: list[int], cpu_ns: list[int], max_ratio: float) -> Speed:
    engine: Any = Backend(clock, tpu_ns)
    cpu: Any = Backend(clock, cpu_ns)
    return check_speed(engine, cpu, SAMPLES, max_ratio)


# ---- time


def test_the_figures_are_the_medians_of_eight_runs_in_microseconds(clock: Clock) -> None:
    tpu_ns = [9_000_000, 1, 1, 2, 4_000_600, 4_000_600, 4_000_600, 9_000_000]
    cpu_ns = [5_600_499, 5_600_501, 5_600_499, 5_600_501, 1, 1, 90_000_000, 90_000_000]
    assert timed(clock, tpu_ns, cpu_ns, 1.0) == Speed(accelerator_us=4_001, cpu_us=5_600)


@pytest.mark.parametrize(
    ("tpu_ns", "max_ratio", "slow"),
    [(2_000, 2.0, False), (2_001, 2.0, True), (1_000, 1.0, False), (500, 0.5, False), (501, 0.5, True)],
)
def test_an_accelerator_may_take_exactly_so_many_times_as_long(
    tpu_ns: int, max_ratio: float, slow: bool, clock: Clock
) -> None:
    if not slow:
        timed(clock, [tpu_ns], [1_000], max_ratio)
        return
    with pytest.raises(AcceleratorError) as caught:
        timed(clock, [tpu_ns], [1_000], max_ratio)
    assert caught.value.fault is Fault.TOO_SLOW


def test_a_slow_accelerator_is_told_with_both_times(clock: Clock) -> None:
    with pytest.raises(AcceleratorError) as caught:
        timed(clock, [3_500_000], [1_250_000], 2.5)
    assert str(caught.value) == (
        "tpu: 3.500 ms for one window, the CPU takes 1.250 ms; 2.5 times as much is allowed"
    )


def test_both_run_all_samples_in_turn(clock: Clock) -> None:
    engine: Any = Backend(clock, [1])
    cpu: Any = Backend(clock, [1])
    check_speed(engine, cpu, SAMPLES, 1.0)
    assert engine.saw == cpu.saw == [1, 2, 3, 1, 2, 3, 1, 2]


# ---- answers


@pytest.mark.parametrize(
    ("logits", "passes"),
    [
        ((10, 0, -10), True),
        ((14, 4, -14), True),
        ((14, 4, -15), False),
        ((10, 5, -10), False),
        ((6, -4, -6), True),
        ((5, 0, -10), False),
    ],
)
def test_every_logit_may_be_off_by_so_many_steps(logits: tuple[int, ...], passes: bool, clock: Clock) -> None:
    engine: Any = Backend(clock, [1], logits)
    if passes:
        check_answer(engine, golden(5, 10, 0, -10))
        assert engine.saw == [5]
        return
    with pytest.raises(AcceleratorError) as caught:
        check_answer(engine, golden(5, 10, 0, -10))
    assert caught.value.fault is Fault.PARITY_FAILED


def test_the_ends_of_int8_are_255_steps_apart(clock: Clock) -> None:
    engine: Any = Backend(clock, [1], (-128, 0, 0))
    with pytest.raises(
        AcceleratorError, match="is off by 255 quantization steps, 4 are allowed, and label 1 wins where 0"
    ):
        check_answer(engine, golden(5, 127, 0, 0))


def test_another_winner_within_the_tolerance_is_no_parity(clock: Clock) -> None:
    engine: Any = Backend(clock, [1], (10, 11, 0))
    with pytest.raises(AcceleratorError, match=r"golden/05\.png is off by 2 quantization steps") as caught:
        check_answer(engine, golden(5, 10, 9, 0))
    assert caught.value.fault is Fault.PARITY_FAILED


# ---- tensors


def test_the_same_tensors_under_other_names_are_the_same(clock: Clock) -> None:
    renamed = TensorInfo("serving_default", 4, (1, 2, 2, 3), "uint8", 1.0, 0)
    engine: Any = Backend(clock, [1], input=renamed)
    check_tensors(engine, (INPUT, OUTPUT))


@pytest.mark.parametrize(
    ("role", "other"),
    [
        ("input", TensorInfo("input", 0, (1, 2, 3, 3), "uint8", 1.0, 0)),
        ("input", TensorInfo("input", 0, (1, 2, 2, 3), "int8", 1.0, 0)),
        ("output", TensorInfo("logits", 9, (1, 3), "int8", 0.25000003, -3)),
        ("output", TensorInfo("logits", 9, (1, 3), "int8", 0.25, -2)),
    ],
)
def test_another_tensor_is_another_model(role: str, other: TensorInfo, clock: Clock) -> None:
    engine: Any = Backend(clock, [1], **{role: other})
    with pytest.raises(AcceleratorError, match=f"tpu: its model's {role} is ") as caught:
        check_tensors(engine, (INPUT, OUTPUT))
    assert caught.value.fault is Fault.MODEL_MISMATCH


# ---- thresholds of a device


def test_an_override_of_no_label_names_at_most_twenty_that_there_are() -> None:
    labels = [Label(name=f"label{number:02}", policy=LabelPolicy()) for number in range(21)]
    with pytest.raises(CallerError, match="'smoke', which is no label") as caught:
        override_thresholds(labels, {"smoke": {"on": 0.5}})
    assert caught.value.reason is Reason.CONFIG_BAD
    assert caught.value.hint == "its labels: " + ", ".join(f"label{number:02}" for number in range(20))


def test_only_what_differs_is_told_and_everything_else_stays() -> None:
    labels = [
        Label(name="rest", background=True),
        Label(name="bell", policy=LabelPolicy(on=0.75, off=0.25)),
        Label(name="horn", policy=LabelPolicy(on=0.5, off=0.25)),
    ]
    changed, differences = override_thresholds(
        labels, {"bell": {"on": 0.75, "off": 0.5}, "horn": {"on": 0.625}}
    )
    assert differences == {
        "bell": {"off": {"manifest": 0.25, "device": 0.5}},
        "horn": {"on": {"manifest": 0.5, "device": 0.625}},
    }
    assert changed == (
        labels[0],
        Label(name="bell", policy=LabelPolicy(on=0.75, off=0.5)),
        Label(name="horn", policy=LabelPolicy(on=0.625, off=0.25)),
    )
    assert override_thresholds(labels, {}) == (tuple(labels), {})
