from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_converters import calibration
from galago_converters.inputs import Codes, InputSpec, input_spec
from galago_edge.contract.errors import ModelError, Reason
from galago_edge.contract.manifest import AudioPreprocess, ImagePreprocess

LABELS = ("bell", "horn", "rest")
SPEC = input_spec(ImagePreprocess(width=4, height=3))


@dataclass(frozen=True)
class Sample:
    id: str
    label: int
    content: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content.encode()).hexdigest()


def pool(*counts: int, mark: str = "") -> list[Sample]:
    return [
        Sample(f"{LABELS[label]}/{mark}{number}.png", label, f"{mark}{label}-{number}")
        for label, count in enumerate(counts)
        for number in range(count)
    ]


def codes(count: int, spec: InputSpec = SPEC) -> Codes:
    low, high = spec.code_range
    middle = np.random.default_rng(1).integers(low + 20, high - 20, (count, *spec.shape))
    return calibration.representative(middle.astype(spec.numpy_dtype), spec)


def record(samples: list[Sample], inputs: Codes | None = None, **held_out: list[Sample]) -> Any:
    return calibration.record(
        samples,
        codes(len(samples)) if inputs is None else inputs,
        labels=LABELS,
        seed=7,
        requested=300,
        preprocess_sha256="ab" * 32,
        held_out=held_out,
    )


def refusal(*arguments: Any, **held_out: list[Sample]) -> str:
    with pytest.raises(ModelError) as caught:
        record(*arguments, **held_out)
    assert caught.value.reason is Reason.CALIBRATION_BAD
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_label_is_chosen_equally_often_while_it_lasts() -> None:
    chosen = calibration.choose(pool(500, 500, 20), count=120, seed=1)
    assert Counter(sample.label for sample in chosen) == {0: 50, 1: 50, 2: 20}


@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=3),
    count=st.integers(1, 60),
    seed=st.integers(0, 2**31),
    order=st.randoms(use_true_random=False),
)
def test_the_choice_depends_on_contents_and_seed_alone(
    counts: list[int], count: int, seed: int, order: Any
) -> None:
    samples = pool(*counts)
    shuffled = list(samples)
    order.shuffle(shuffled)
    chosen = calibration.choose(samples, count=count, seed=seed)
    assert calibration.choose(shuffled, count=count, seed=seed) == chosen
    assert len(chosen) == min(count, len(samples))
    sizes = Counter(sample.label for sample in chosen)
    for label, size in enumerate(counts):
        # nobody gets fewer than another who had no more to give
        assert sizes[label] >= min(size, max(sizes.values()) - 1)


def test_another_seed_chooses_others() -> None:
    samples = pool(200, 200, 200)
    assert set(calibration.choose(samples, count=30, seed=1)) != set(
        calibration.choose(samples, count=30, seed=2)
    )


def test_labels_do_not_come_in_blocks_or_in_turn() -> None:
    order = [sample.label for sample in calibration.choose(pool(50, 50, 50), count=150, seed=1)]
    assert len(set(order[:10])) == len(LABELS)
    assert order != [0, 1, 2] * 50


def test_equal_contents_are_chosen_once() -> None:
    twins = [Sample(f"bell/{number}.png", 0, "the same") for number in range(40)]
    assert len(calibration.choose([*twins, *pool(1, 1)], count=40, seed=1)) == 3


@pytest.mark.parametrize(
    ("preprocess", "scale", "zero_point"),
    [
        (ImagePreprocess(width=4, height=3), 1.0, -128),
        (AudioPreprocess(window_frames=5, mel_bands=4), 1 / 64, 0),
    ],
    ids=["image", "audio"],
)
def test_the_extremes_make_the_converters_scale_exact(preprocess: Any, scale: float, zero_point: int) -> None:
    """The converter takes scale = (max - min) / 255 and the zero point at which min becomes -128."""
    spec = input_spec(preprocess)
    real = spec.real(codes(3, spec))
    found = (np.float64(real.max()) - np.float64(real.min())) / 255
    assert found == scale
    assert round(-128 - real.min() / found) == zero_point


def test_the_injected_sample_differs_in_two_values_only() -> None:
    inputs = codes(5)
    assert len(inputs) == 6
    assert np.count_nonzero(inputs[0] != inputs[5]) == 2


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((3, 3, 4, 3), np.float32), np.zeros((3, 4, 3, 3), np.uint8), np.zeros((0, 3, 4, 3), np.uint8)],
    ids=["float pixels", "width and height exchanged", "nothing"],
)
def test_inputs_that_the_device_would_not_feed_are_refused(wrong: Any) -> None:
    with pytest.raises(ModelError, match="expected uint8") as caught:
        calibration.representative(wrong, SPEC)
    assert caught.value.reason is Reason.CALIBRATION_BAD


def test_the_record_names_every_sample_by_content() -> None:
    samples = calibration.choose(pool(9, 9, 9), count=6, seed=3)
    found = record(samples, validation=pool(2, 2, 2, mark="v"), test=pool(3, 0, 0, mark="t"))
    assert [entry.sha256 for entry in found.samples] == [sample.sha256 for sample in samples]
    assert found.per_label == {"bell": 2, "horn": 2, "rest": 2}
    assert [(part.part, part.samples) for part in found.disjoint_from] == [("validation", 6), ("test", 3)]
    assert found.preprocess_sha256 == "ab" * 32


@pytest.mark.parametrize("part", ["validation", "test"])
def test_calibrating_on_held_out_data_is_refused(part: str) -> None:
    """MLPerf Tiny's image classification calibrates on its test set."""
    samples = pool(2, 2, 2)
    copied = [Sample("elsewhere/renamed.png", 0, samples[0].content)]
    assert f"1 samples of the {part} part, such as bell/0.png" in refusal(samples, **{part: copied})


def test_calibrating_on_one_label_is_refused() -> None:
    """MLPerf Tiny's visual wake words calibrates on eleven pictures of one class."""
    assert "no sample of bell, rest" in refusal(pool(0, 11, 0))


def test_the_same_picture_again_and_again_is_refused() -> None:
    assert "4 samples, 3 different" in refusal([*pool(1, 1, 1), Sample("bell/copy.png", 0, "0-0")])


def test_tensors_of_other_samples_are_refused() -> None:
    assert "9 calibration tensors for 3 samples" in refusal(pool(1, 1, 1), codes(8))


def test_the_record_tells_tensors_apart() -> None:
    samples, inputs = pool(1, 1, 1), codes(3)
    other = inputs.copy()
    other[1, 0, 0, 0] += 1
    assert record(samples, inputs).tensor_sha256 != record(samples, other).tensor_sha256


def test_one_sample_with_its_first_and_last_value_at_the_extremes_is_added() -> None:
    inputs = np.full((3, *SPEC.shape), 100, np.uint8)
    inputs[1:] = 50
    found = calibration.representative(inputs, SPEC)
    assert found.shape == (4, *SPEC.shape)
    np.testing.assert_array_equal(found[:3], inputs)
    assert found[3].ravel().tolist() == [0, *[100] * (inputs[0].size - 2), 255]


def test_a_part_is_told_by_its_contents_whatever_their_order() -> None:
    samples = pool(2, 2, 2)
    others = pool(1, 1, 1, mark="v")
    (part,) = record(samples, validation=others).disjoint_from
    contents = b"".join(sorted(bytes.fromhex(other.sha256) for other in others))
    assert (part.part, part.samples) == ("validation", 3)
    assert part.sha256 == hashlib.sha256(contents).hexdigest()
    assert record(samples, validation=others[::-1]).disjoint_from == (part,)
    assert record(samples, test=[]).disjoint_from[0].sha256 == hashlib.sha256(b"").hexdigest()


def test_at_most_five_labels_without_a_sample_are_named() -> None:
    names = [f"label{number}" for number in range(8)]
    with pytest.raises(ModelError) as caught:
        calibration.record(
            [Sample("a.png", 0, "a"), Sample("b.png", 1, "b")],
            codes(2),
            labels=names,
            seed=7,
            requested=300,
            preprocess_sha256="ab" * 32,
            held_out={},
        )
    assert caught.value.reason is Reason.CALIBRATION_BAD
    assert str(caught.value) == (
        "calibration has no sample of label2, label3, label4, label5, label6:"
        " 2 samples of 2 labels, expected every one of 8"
    )
