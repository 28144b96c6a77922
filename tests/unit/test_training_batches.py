"""What an epoch goes through, what is learned from mixed samples, and the witness of augmentation."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from galago_edge.contract.errors import CallerError, Reason
from galago_workstation.data.batches import Batches, Witness
from galago_workstation.data.feed import ChangedInputs
from galago_workstation.data.worker_crew import Begin


class NumberFeed:
    """A feed of one-byte inputs whose augmentation is a given function of epoch and index."""

    def __init__(self, count: int, change: Any, partners: dict[int, tuple[int, float]] | None = None) -> None:
        self._count = count
        self._change = change
        self._partners = partners or {}

    def __len__(self) -> int:
        return self._count

    def name(self, index: int) -> str:
        return f"number {index}"

    def plain(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        return np.full((len(indices), 4), 100, np.uint8)

    def augmented(
        self, epoch: int, indices: npt.NDArray[np.int64], begin: Begin | None = None
    ) -> ChangedInputs:
        for index in indices.tolist() if begin is not None else ():
            begin(index)
        inputs = np.stack([np.full(4, 100 + self._change(epoch, int(index)), np.uint8) for index in indices])
        mixed = [self._partners.get(index, (index, 1.0)) for index in indices.tolist()]
        partners = np.array([partner for partner, _ in mixed])
        return ChangedInputs(inputs, partners, np.array([share for _, share in mixed], np.float32))


def run_epochs(change: Any, epochs: int = 8) -> tuple[Witness, list[Any]]:
    feed = NumberFeed(100, change)
    witness = Witness(feed)
    batches = Batches(feed, [0] * 100, classes=2, batch_size=10, seed=1, witness=witness)
    assert len(list(batches.of(range(epochs)))) == epochs * batches.steps
    return witness, [witness.close(epoch) for epoch in range(epochs)]


def test_the_witness_is_content_with_an_augmentation_that_works() -> None:
    witness, changes = run_epochs(lambda epoch, index: 1 + (epoch * 31 + index) % 7)
    witness.check()
    assert all(0.0 < change.size <= 7.0 for change in changes)
    assert [change.fresh for change in changes] == [1.0] * 8


@pytest.mark.parametrize(
    ("change", "said"),
    [(lambda epoch, index: 0, "as it is"), (lambda epoch, index: index % 5 + 1, "same in every epoch")],
    ids=["no change", "numbers that repeat"],
)
def test_the_witness_notices_a_dead_augmentation(change: Any, said: str) -> None:
    witness, changes = run_epochs(change)
    with pytest.raises(CallerError, match=said) as caught:
        witness.check()
    assert caught.value.reason == Reason.CONFIG_BAD
    assert changes[-1].fresh == 0.0


def test_every_epoch_sees_every_sample_once_in_a_new_order() -> None:
    seen: list[list[int]] = [[], []]

    def note(epoch: int, index: int) -> int:
        seen[epoch].append(index)
        return 0

    run_epochs(note, epochs=2)
    assert sorted(seen[0]) == sorted(seen[1]) == list(range(100))
    assert seen[0] != seen[1]


def test_a_set_smaller_than_a_batch_is_one_batch() -> None:
    feed = NumberFeed(4, lambda epoch, index: 0)
    batches = Batches(feed, [0, 1, 0, 1], classes=2, batch_size=64, seed=1, witness=Witness(feed))
    assert batches.steps == 1
    assert [len(inputs) for inputs, _ in batches.of(range(2))] == [4, 4]


@pytest.mark.parametrize(("wanted", "samples"), [(64, 7), (7, 100), (1, 100), (5, 5), (2, 2), (1, 3)])
def test_every_batch_is_even_and_no_sample_is_left_out_for_ever(wanted: int, samples: int) -> None:
    seen: set[int] = set()

    def note(epoch: int, index: int) -> int:
        seen.add(index)
        return 0

    feed = NumberFeed(samples, note)
    labels = [index % 2 for index in range(samples)]
    batches = Batches(feed, labels, classes=2, batch_size=wanted, seed=1, witness=Witness(feed))
    sizes = {len(inputs) for inputs, _ in batches.of(range(20))}
    assert sizes == {batches.batch_size}
    assert batches.batch_size % 2 == 0 and 2 <= batches.batch_size <= max(2, wanted)
    assert seen == set(range(samples))


def test_an_epoch_goes_through_a_small_set_until_there_are_enough_steps() -> None:
    seen: list[tuple[int, int]] = []

    def note(epoch: int, index: int) -> int:
        seen.append((epoch, index))
        return 1 + epoch

    feed = NumberFeed(8, note)
    witness = Witness(feed)
    batches = Batches(feed, list(range(8)), classes=8, batch_size=4, least_steps=7, seed=1, witness=witness)

    rows = list(batches.of(range(1, 3)))

    assert (batches.rounds, batches.steps, len(rows)) == (4, 8, 16)
    # every time is changed in its own way, and the second epoch goes on where the first one ended
    assert sorted(seen) == [(turn, index) for turn in range(4, 12) for index in range(8)]
    orders = [
        tuple(np.concatenate([targets.argmax(axis=1) for _, targets in rows[start : start + 2]]))
        for start in range(0, 16, 2)
    ]
    assert all(sorted(order) == list(range(8)) for order in orders)
    assert len(set(orders)) == 8
    assert [witness.close(epoch).size for epoch in (1, 2)] == [8.0, 12.0]


def test_the_target_of_a_mixed_sample_has_the_share_of_each_label() -> None:
    partners = {0: (2, 0.75), 1: (3, 0.5)}  # another label; the same one
    feed = NumberFeed(4, lambda epoch, index: 1, partners)
    batches = Batches(feed, [0, 1, 2, 1], classes=3, batch_size=4, seed=1, witness=Witness(feed))
    ((_, targets),) = batches.of(range(1))
    order = np.random.default_rng((1, 0)).permutation(4)
    assert targets.dtype == np.float32
    assert targets[np.argsort(order)].tolist() == [
        [0.75, 0.0, 0.25],
        [0.0, 1.0, 0.0],
        [0.0, 0.0, 1.0],
        [0.0, 1.0, 0.0],
    ]
