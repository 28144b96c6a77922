"""Solved logits: the best that there are for what a body gives, whatever its scale."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from galago_workstation.training.solved_logits import Embeddings, SolvedLogits, solve_logits

Reals = npt.NDArray[np.float32]


def solve(
    values: Reals,
    numbers: list[int],
    *,
    activation: str = "softmax",
    smoothing: float = 0.0,
    weights: list[float] | None = None,
    views: int = 1,
) -> SolvedLogits:
    targets = np.eye(max(numbers) + 1, dtype=np.float32)[numbers]
    return solve_logits(
        Embeddings(values, targets, len(values) // views),
        activation=activation,
        label_smoothing=smoothing,
        label_weights=None if weights is None else np.array(weights, np.float32),
    )


def shares(logits: Reals) -> Reals:
    raised = np.exp(logits)
    return raised / raised.sum(axis=-1, keepdims=True)


NOTHING = np.zeros((4, 2), np.float32)


@pytest.mark.parametrize(
    ("weights", "smoothing", "share"),
    [(None, 0.0, 0.75), ([1.0, 3.0], 0.0, 0.5), (None, 0.1, 0.725)],
)
def test_where_the_body_tells_nothing_the_answer_is_how_often_a_label_occurs(
    weights: list[float] | None, smoothing: float, share: float
) -> None:
    found = solve(NOTHING, [0, 0, 1, 0], weights=weights, smoothing=smoothing)

    np.testing.assert_allclose(shares(found.bias), [share, 1 - share], atol=1e-3)
    assert not found.kernel.any()


def test_with_sigmoid_each_label_is_on_its_own() -> None:
    found = solve(NOTHING, [0, 0, 1, 0], activation="sigmoid", smoothing=0.1)

    np.testing.assert_allclose(1 / (1 + np.exp(-found.bias)), [0.725, 0.275], atol=1e-3)


def test_two_samples_on_both_sides_get_the_logits_of_the_formula() -> None:
    found = solve(np.array([[1.0], [-1.0]], np.float32), [0, 1])

    # 2 log(1 + exp(-2a)) + 2 a^2 / 20 is least where a / 5 = 4 / (1 + exp(2a))
    a = float(found.kernel[0, 0])
    assert a == pytest.approx(1.3235, abs=1e-3)
    assert a / 5 == pytest.approx(4 / (1 + np.exp(2 * a)), abs=1e-3)
    np.testing.assert_allclose(found.kernel[0, 1], -a, atol=1e-3)
    np.testing.assert_allclose(found.bias, 0.0, atol=1e-3)


def clouds() -> tuple[Reals, list[int]]:
    rng = np.random.default_rng(3)
    numbers = [number % 3 for number in range(30)]
    return (rng.normal(size=(30, 5)) + 2 * np.eye(3, 5)[numbers]).astype(np.float32), numbers


def test_it_is_the_logistic_regression_of_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    values, numbers = clouds()
    centred = values - values.mean(axis=0)
    centred /= np.sqrt((centred**2).sum(axis=1).mean())
    theirs = LogisticRegression(C=10.0, tol=1e-8, max_iter=1_000).fit(centred, numbers)

    found = solve(values, numbers)

    np.testing.assert_allclose(
        shares(values @ found.kernel + found.bias), theirs.predict_proba(centred), atol=2e-3
    )


def test_scale_offset_and_seeing_a_sample_twice_change_no_answer() -> None:
    values, numbers = clouds()
    once = solve(values, numbers)
    expected = shares(values @ once.kernel + once.bias)

    larger = 50 * values + 7
    scaled = solve(larger, numbers)
    twice = solve(np.concatenate([values, values]), numbers * 2, views=2)

    np.testing.assert_allclose(shares(larger @ scaled.kernel + scaled.bias), expected, atol=5e-3)
    np.testing.assert_allclose(shares(values @ twice.kernel + twice.bias), expected, atol=2e-3)
