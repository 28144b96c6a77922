"""Softmax and sigmoid as integers: right, and the same bits everywhere."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galago_edge.decision import ONE, Activation, to_q16


def codes(*values: int) -> np.ndarray:
    return np.array(values, np.int8)


def exp(exponent: Fraction) -> Fraction:
    """exp by its power series, halved into fast convergence; off by less than 2**-100 of the result."""
    halvings = 0
    while abs(exponent) > Fraction(1, 4):
        exponent /= 2
        halvings += 1
    term = total = Fraction(1)
    for order in range(1, 40):
        term = term * exponent / order
        total += term
    for _ in range(halvings):
        total = Fraction(round(total * total * 2**300), 2**300)
    return total


def true_softmax(logits: list[int], step: Fraction) -> list[Fraction]:
    powers = [exp((code - max(logits)) * step) for code in logits]
    return [power / sum(powers) for power in powers]


def true_sigmoid(logit: Fraction) -> Fraction:
    return 1 / (1 + exp(-logit))


def test_equal_logits_share_evenly() -> None:
    assert Activation("softmax", 0.1, 5).scores(codes(7, 7)).tolist() == [32768, 32768]
    assert Activation("softmax", 0.1, 5).scores(codes(7, 7, 7)).tolist() == [21845, 21845, 21845]


def test_softmax_by_hand() -> None:
    """A step of ln 3 makes one code of distance worth a factor of 3: 9, 3, 1 of 13."""
    scores = Activation("softmax", log(3), 0).scores(codes(2, 1, 0))
    assert scores.tolist() == [45371, 15124, 5041]
    assert scores.dtype == np.int64


def test_softmax_holds_over_the_whole_range_of_codes() -> None:
    """127 against -128 is a distance of 255, which int8 cannot hold."""
    assert Activation("softmax", 1.0, 0).scores(codes(-128, 127, 127)).tolist() == [0, 32768, 32768]


def test_sigmoid_by_hand() -> None:
    """The zero point stands for logit 0; a step of ln 3 gives 3/4 above it and 1/4 below."""
    scores = Activation("sigmoid", log(3), -10).scores(codes(-10, -9, -11, 127, -128))
    assert scores.tolist() == [32768, 49152, 16384, 65536, 0]
    assert scores.dtype == np.int64


def test_kinds_differ() -> None:
    logits = codes(10, 20)
    assert (
        Activation("softmax", 0.1, 0).scores(logits) != Activation("sigmoid", 0.1, 0).scores(logits)
    ).all()


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_temperature_divides_the_logits(kind: str) -> None:
    logits = codes(-3, 8, 30)
    hot = Activation(kind, 0.5, 0, temperature=4.0).scores(logits)
    assert hot.tolist() == Activation(kind, 0.125, 0).scores(logits).tolist()
    assert hot.tolist() != Activation(kind, 0.5, 0).scores(logits).tolist()


def test_softmax_ignores_the_zero_point_and_sigmoid_does_not() -> None:
    logits = codes(-3, 8, 30)
    assert (
        Activation("softmax", 0.1, 0).scores(logits) == Activation("softmax", 0.1, 9).scores(logits)
    ).all()
    assert (
        Activation("sigmoid", 0.1, 0).scores(logits) != Activation("sigmoid", 0.1, 9).scores(logits)
    ).all()


scales = st.floats(1e-4, 4.0)
temperatures = st.floats(0.1, 20.0)


@settings(max_examples=50)
@given(st.lists(st.integers(-128, 127), min_size=1, max_size=20), scales, temperatures)
def test_softmax_is_within_one_step_of_the_true_value(
    logits: list[int], scale: float, temperature: float
) -> None:
    scores = Activation("softmax", scale, 0, temperature).scores(codes(*logits))
    step = Fraction(scale) / Fraction(temperature)
    for score, true in zip(scores.tolist(), true_softmax(logits, step), strict=True):
        assert abs(score - true * ONE) <= Fraction(51, 100)


@settings(max_examples=50)
@given(st.integers(-128, 127), scales, st.integers(-128, 127), temperatures)
def test_sigmoid_is_the_true_value_rounded(
    code: int, scale: float, zero_point: int, temperature: float
) -> None:
    score = int(Activation("sigmoid", scale, zero_point, temperature).scores(codes(code))[0])
    logit = Fraction(scale) / Fraction(temperature) * (code - zero_point)
    assert score == round(true_sigmoid(logit) * ONE)


@pytest.mark.parametrize(
    ("kind", "sha256"),
    [
        ("softmax", "d3d539d3a3680c92d4eb25032b2f1ed04a0893f41a147bd5afbd99f40e8901fa"),
        ("sigmoid", "7298da8326f6cca25d6baa68aa45f0516b3e7cb258fa25b87df84076bcecfaf7"),
    ],
)
def test_scores_are_the_same_bits_on_every_machine(kind: str, sha256: str) -> None:
    """Hash of the little-endian scores of 256 rows of 16 codes; a change means that every replay changes."""
    places = np.arange(4096)
    logits = ((places * places * 13 + places * 37) % 251 - 125).astype(np.int8).reshape(256, 16)
    activation = Activation(kind, 0.0941, -42, 1.7)
    scores = np.stack([activation.scores(row) for row in logits]).astype("<i8")
    assert hashlib.sha256(scores.tobytes()).hexdigest() == sha256


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_scores_of_many_windows_at_once_are_those_of_each(kind: str) -> None:
    logits = np.random.default_rng(5).integers(-128, 128, (300, 7)).astype(np.int8)
    activation = Activation(kind, 0.0941, -42, 1.7)
    found = activation.scores(logits)
    assert found.dtype == np.int64
    assert found.tolist() == [activation.scores(row).tolist() for row in logits]


def test_ten_thousand_labels_do_not_overflow() -> None:
    scores = Activation("softmax", 1e-6, 0).scores(np.zeros(10_000, np.int8))
    assert set(scores.tolist()) == {7}  # 65536 / 10000 = 6.55


@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e300])
def test_extreme_temperatures_saturate(temperature: float) -> None:
    scores = Activation("softmax", 0.1, 0, temperature).scores(codes(1, 0)).tolist()
    assert scores == ([32768, 32768] if temperature > 1 else [65536, 0])
    scores = Activation("sigmoid", 0.1, 0, temperature).scores(codes(1, -1)).tolist()
    assert scores == ([32768, 32768] if temperature > 1 else [65536, 0])


@pytest.mark.parametrize(
    ("scale", "temperature"), [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.0), (float("nan"), 1.0), (1.0, float("inf"))]
)
def test_scale_and_temperature_are_positive_and_finite(scale: float, temperature: float) -> None:
    with pytest.raises(ValueError, match="must be positive and finite"):
        Activation("softmax", scale, 0, temperature)


def test_wrong_calls_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown activation 'relu'"):
        Activation("relu", 1.0, 0)
    with pytest.raises(ValueError, match="logits are int64, expected int8"):
        Activation("softmax", 1.0, 0).scores(np.array([1, 2]))


def test_scores_leave_the_logits_alone_and_are_new_every_time() -> None:
    activation, logits = Activation("softmax", 0.1, 0), codes(1, 2)
    first = activation.scores(logits)
    second = activation.scores(codes(2, 1))
    assert logits.tolist() == [1, 2]
    assert first.tolist() == second.tolist()[::-1]


@pytest.mark.parametrize(
    ("probability", "expected"), [(0.0, 0), (1.0, 65536), (0.5, 32768), (0.7, 45875), (2.5 / 65536, 2)]
)
def test_to_q16(probability: float, expected: int) -> None:
    assert to_q16(probability) == expected
