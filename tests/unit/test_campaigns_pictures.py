"""The campaign of few pictures: what is in it, who is on which side, and what a miss is."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from campaigns.few_pictures import QUARTERS, SeedOutcome, missed, pictures, quarters, report, settings
from galago_edge.contract.decoding import from_toml
from galago_workstation.training.config_proposal import FEW_PICTURES

PROPOSAL = """
[data]
kind = "images"
[preprocess]                      # pictures are 64x64 in the median
kind = "image"
width = 160
height = 160
[model]
kind = "efficientnet_lite0"
weights = "imagenet"              # begins
[augment]
# flip = true                     # if left
strength = "usual"
[train]
epochs = 6
class_weights = true
body_rate = 0.2
"""


def test_the_set_is_few_pictures_of_four_classes_each_once() -> None:
    found = pictures()

    assert Counter(one.label for one in found) == {"animal": 122, "clothing": 39, "food": 121, "vehicle": 55}
    assert len(found) < FEW_PICTURES
    for names in zip(*((one.name, one.image, one.sha256) for one in found), strict=True):
        assert len(set(names)) == len(found)


def test_no_group_is_torn_and_each_quarter_has_its_share_of_every_label() -> None:
    where = quarters(pictures())

    sides: dict[tuple[str, str], set[int]] = {}
    for picture, quarter in where.items():
        sides.setdefault((picture.label, picture.group), set()).add(quarter)
    assert all(len(side) == 1 for side in sides.values())
    counts = Counter((picture.label, quarter) for picture, quarter in where.items())
    for label, whole in Counter(picture.label for picture in where).items():
        for quarter in range(QUARTERS):
            assert abs(counts[label, quarter] - whole / QUARTERS) <= 3, (label, quarter)


def test_what_begins_with_chance_has_the_usual_training_and_the_same_changes() -> None:
    warm, scratch, small = (
        from_toml(settings(PROPOSAL, network, 2))
        for network in ("warm", "efficientnet_lite0", "mobilenet_v1")
    )

    assert warm["data"]["manifest"] == "samples-1.csv"
    assert warm["model"].pop("weights") == "imagenet"
    assert warm["train"] == {"epochs": 6, "class_weights": True, "body_rate": 0.2, "seed": 2}
    usual = {"epochs": 30, "class_weights": True, "seed": 2}
    assert scratch == warm | {"train": usual}
    assert small["model"] == {"kind": "mobilenet_v1", "width": 0.25}
    assert small["preprocess"]["width"] == 96
    assert warm["augment"] == small["augment"] == {"flip": True, "strength": "usual"}
    assert small["train"] == usual


def outcome(**changes: Any) -> SeedOutcome:
    fields = {
        "network": "warm",
        "seed": 1,
        "tested": 80,
        "accuracy_float": 0.95,
        "accuracy_int8": 0.95,
        "processor_s": 30.0,
        "wall_s": 20.0,
    }
    return SeedOutcome(**(fields | changes))


@pytest.mark.parametrize(
    ("others", "told"),
    [
        ([], []),
        ([outcome(accuracy_int8=0.80, accuracy_float=0.80)], ["int8 87.5 % is below", "15.0 points apart"]),
        ([outcome(accuracy_int8=0.90)], ["int8 loses 2.5 points"]),
        ([outcome(network="mobilenet_v1", accuracy_int8=0.70)], []),
        ([outcome(network="mobilenet_v1", accuracy_int8=0.85)], ["10.0 points are gained over mobilenet_v1"]),
    ],
)
def test_every_bar_that_is_missed_is_told(others: list[SeedOutcome], told: list[str]) -> None:
    found = list(missed([outcome(), *others]))

    assert len(found) == len(told)
    assert all(words in line for words, line in zip(told, found, strict=True))


def test_accuracies_are_over_all_pictures_and_not_over_the_tests() -> None:
    found = [outcome(tested=60, accuracy_int8=1.0), outcome(tested=20, accuracy_int8=0.8)]

    (line,) = report(found)

    assert line.startswith("warm: int8 95.0 % (100.0, 80.0)")
    assert "of 80 pictures" in line
