"""Balanced sampling: every label equally often, by seed and position alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.errors import CallerError, Reason
from galago_workstation.data.batches import Batches, Witness
from galago_workstation.data.feed import ChangedInputs
from galago_workstation.data.listing import Listing
from galago_workstation.data.sample import Sample
from galago_workstation.data.sample_order import BalancedOrder, NaturalOrder, TurnSamples
from galago_workstation.data.worker_crew import Begin
from galago_workstation.training.training_job import _data_lines
from galago_workstation.training_config import TrainOptions, read_config

CONFIG = """
[data]
kind = "images"
folder = "birds"
[preprocess]
kind = "image"
width = 32
height = 32
[model]
kind = "resnet"
[train]
sampling = "balanced"
"""


def labels_of(counts: list[int]) -> npt.NDArray[np.int32]:
    return np.repeat(np.arange(len(counts), dtype=np.int32), counts)


def test_the_only_sample_of_a_label_is_shown_as_often_as_three_of_another_and_never_alike() -> None:
    shown = BalancedOrder(labels_of([3, 1]), shown=4, seed=1).turn(0)
    assert sorted(zip(shown.indices.tolist(), shown.uses.tolist(), strict=True))[-2:] == [(3, 0), (3, 1)]
    assert len(set(shown.indices.tolist())) == 3


@given(
    counts=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    shown=st.integers(1, 30),
    turns=st.integers(1, 6),
    seed=st.integers(0, 2**31 - 1),
)
def test_up_to_any_turn_labels_and_samples_of_a_label_are_shown_equally_often(
    counts: list[int], shown: int, turns: int, seed: int
) -> None:
    labels = labels_of(counts)
    order = BalancedOrder(labels, shown, seed)
    told = [order.turn(number) for number in range(turns)]
    pairs = [pair for one in told for pair in zip(one.indices.tolist(), one.uses.tolist(), strict=True)]
    assert all(len(one.indices) == shown for one in told) and len(set(pairs)) == len(pairs)
    of_sample = Counter(index for index, _ in pairs)
    per_label = [sum(of_sample[index] for index in np.flatnonzero(labels == label)) for label in set(labels)]
    assert max(per_label) - min(per_label) <= 1
    for label in set(labels):
        per_sample = [of_sample[index] for index in np.flatnonzero(labels == label)]
        assert max(per_sample) - min(per_sample) <= 1


def test_a_turn_depends_on_seed_and_number_alone() -> None:
    def turn(number: int, seed: int = 1) -> list[int]:
        found: TurnSamples = BalancedOrder(labels_of([20, 5]), 24, seed).turn(number)
        return found.indices.tolist()

    assert turn(7) == turn(7)
    assert turn(7) != turn(8) and turn(7) != turn(7, seed=2)


def test_natural_sampling_shows_each_sample_once_a_turn() -> None:
    shown = NaturalOrder(6, 4, seed=3).turn(2)
    assert len(set(shown.indices.tolist())) == 4 and set(shown.uses.tolist()) == {2}


class NotingFeed:
    """A feed whose inputs are position and use of each sample."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def plain(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        return np.stack([indices, np.full(len(indices), 255)], axis=1).astype(np.uint8)

    def name(self, index: int) -> str:
        return f"sample {index}"

    def augmented(
        self, epoch: int, indices: npt.NDArray[np.int64], begin: Begin | None = None
    ) -> ChangedInputs:
        inputs = np.stack([indices, np.full(len(indices), epoch)], axis=1).astype(np.uint8)
        return ChangedInputs(inputs, indices.copy(), np.ones(len(indices), np.float32))


def balanced_batches() -> Batches:
    feed = NotingFeed(12)
    labels = labels_of([10, 2]).tolist()
    return Batches(feed, labels, classes=2, batch_size=4, seed=5, sampling="balanced", witness=Witness(feed))


def test_batches_are_made_of_what_the_order_says_and_each_use_is_changed_in_its_own_way() -> None:
    batches = balanced_batches()
    order = BalancedOrder(labels_of([10, 2]), 12, seed=5)
    for epoch in range(3):
        inputs, targets = (
            np.concatenate(parts) for parts in zip(*batches.of(range(epoch, epoch + 1)), strict=True)
        )
        assert inputs.tolist() == np.stack(order.turn(epoch), axis=1).tolist()
        assert targets.sum(axis=0).tolist() == [6.0, 6.0]


def test_a_training_that_goes_on_sees_the_same_balanced_batches() -> None:
    whole = [inputs.tolist() for inputs, _ in balanced_batches().of(range(4))]
    assert [inputs.tolist() for inputs, _ in balanced_batches().of(range(2, 4))] == whole[6:]


def test_balanced_sampling_and_class_weights_together_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(CONFIG)
    assert read_config(path).train.sampling == "balanced"
    path.write_text(CONFIG + "class_weights = true\n")
    with pytest.raises(CallerError, match="both make up for unequal labels") as caught:
        read_config(path)
    assert caught.value.reason == Reason.CONFIG_BAD and "give one of the two" in caught.value.hint


def said(options: TrainOptions) -> str:
    samples = [Sample(str(at), None, "0" * 64, int(label)) for at, label in enumerate(labels_of([36, 4]))]
    listing = Listing(labels=("jay", "owl"), pool=tuple(samples), test=None)
    return "\n".join(_data_lines(listing, {"train": samples, "validation": [], "test": []}, options))


def test_the_start_says_how_often_samples_are_shown_or_what_makes_up_for_unequal_labels() -> None:
    assert (
        "of each label about 20 samples for every 40 shown; each one of owl 5.0 times, of jay 0.56 times"
        in said(TrainOptions(sampling="balanced"))
    )
    assert 'sampling = "balanced" or class_weights = true makes up for it' in said(TrainOptions())
    assert "makes up" not in said(TrainOptions(class_weights=True))
