"""Which samples travel in a bundle: real pictures through the tiny model, whose borders are 85 and 170."""

from __future__ import annotations

import hashlib
import io
import wave
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from galago_edge.contract.errors import ModelError, Reason
from galago_edge.contract.manifest import AudioPreprocess, ImagePreprocess
from galago_edge.recording.sample_media import wav_bytes
from galago_workstation.data.sample import Sample
from galago_workstation.packing import golden_choice
from galago_workstation.packing.golden_choice import choose_golden, png_bytes

DARK, MID, BRIGHT = 0, 1, 2
MARGINS = {10: 75, 60: 25, 80: 5, 84: 1, 128: 42, 168: 2, 172: 2, 200: 31, 255: 85}
"""By gray level: how far the tiny model's best logit is above the second, in int8 steps."""


class RunFolder:
    """What the choice asks of a run; a picture of one level each, and the order in which they were read."""

    labels = ("dark", "mid", "bright")
    preprocess: Any = ImagePreprocess(width=16, height=16)
    path = Path("runs/porch")

    def __init__(self, *pictures: tuple[int, int]) -> None:
        """``pictures``: level and true label, in the order of their hashes."""
        self.levels = {f"{number:064x}": level for number, (level, _) in enumerate(pictures)}
        self.found = [
            Sample(f"{number}.png", None, f"{number:064x}", label)
            for number, (_, label) in enumerate(pictures)
        ]
        self.found.reverse()
        self.read: list[int] = []

    def samples(self, part: str) -> list[Sample]:
        assert part == "test"
        return list(self.found)

    def raw(self, sample: Sample) -> npt.NDArray[np.uint8]:
        self.read.append(self.levels[sample.sha256])
        return np.full((16, 16, 3), self.levels[sample.sha256], np.uint8)


def chosen(run: RunFolder, model: bytes) -> list[tuple[str, str, int, int]]:
    """File, label, gray level and margin of what was chosen."""
    faked: Any = run
    found = []
    for each in choose_golden(faked, model):
        pixels = cv2.imdecode(np.frombuffer(each.data, np.uint8), cv2.IMREAD_COLOR)
        logits = sorted(each.golden.expected.logits)
        margin = logits[-1] - logits[-2]
        found.append((each.golden.file, each.golden.label, int(pixels[0, 0, 0]), margin))
    return found


def test_every_label_gets_one_sample_in_the_order_of_labels(tiny_image_model: bytes) -> None:
    run = RunFolder((255, BRIGHT), (10, DARK), (128, MID), (200, BRIGHT))
    assert chosen(run, tiny_image_model) == [
        ("golden/00.png", "dark", 10, 75),
        ("golden/01.png", "mid", 128, 42),
        ("golden/02.png", "bright", 255, 85),
    ]


def test_the_answer_that_is_written_is_the_devices_own(tiny_image_model: bytes) -> None:
    faked: Any = RunFolder((200, BRIGHT))
    (found,) = choose_golden(faked, tiny_image_model)
    expected = found.golden.expected
    assert expected.logits == (-74, 42, 73)
    assert (expected.argmax, expected.atol_steps) == (BRIGHT, 4)
    tensor = np.full((1, 16, 16, 3), 200, np.uint8)
    assert expected.tensor_sha256 == hashlib.sha256(tensor.tobytes()).hexdigest()


def test_a_clear_answer_ends_the_search_though_a_clearer_one_follows(tiny_image_model: bytes) -> None:
    run = RunFolder((60, DARK), (10, DARK))
    assert chosen(run, tiny_image_model) == [("golden/00.png", "dark", 60, 25)]
    assert run.read == [60]


def test_without_a_clear_answer_the_clearest_of_all_is_taken(tiny_image_model: bytes) -> None:
    """Clear is more than twice the tolerance: 9 steps."""
    run = RunFolder((84, DARK), (80, DARK), (84, DARK))
    assert chosen(run, tiny_image_model) == [("golden/00.png", "dark", 80, 5)]
    assert run.read == [84, 80, 84]


@pytest.mark.parametrize(("level", "margin", "enough"), [(81, 4, False), (77, 8, False), (76, 9, True)])
def test_a_margin_of_more_than_twice_the_tolerance_is_clear(
    level: int, margin: int, enough: bool, tiny_image_model: bytes
) -> None:
    run = RunFolder((level, DARK), (10, DARK))
    assert chosen(run, tiny_image_model) == [
        ("golden/00.png", "dark", level, margin) if enough else ("golden/00.png", "dark", 10, 75)
    ]


def test_of_equally_clear_answers_the_first_is_taken(tiny_image_model: bytes) -> None:
    run = RunFolder((168, MID), (168, MID))
    faked: Any = run
    (found,) = choose_golden(faked, tiny_image_model)
    assert run.read == [168, 168]
    assert MARGINS[168] == 2 and found.golden.expected.logits == (-41, 42, 40)


def test_a_wrong_answer_is_never_taken_and_a_label_without_a_right_one_gets_none(
    tiny_image_model: bytes,
) -> None:
    run = RunFolder((200, DARK), (255, MID), (10, MID), (200, BRIGHT))
    assert chosen(run, tiny_image_model) == [("golden/00.png", "bright", 200, 31)]


def test_a_run_without_any_right_answer_cannot_be_packed(tiny_image_model: bytes) -> None:
    faked: Any = RunFolder((200, DARK))
    with pytest.raises(ModelError, match="runs/porch: the int8 model answers none") as caught:
        choose_golden(faked, tiny_image_model)
    assert caught.value.reason is Reason.GOLDEN_FAIL


@pytest.mark.parametrize(("wrong", "found"), [(24, True), (25, False)])
def test_only_the_first_25_samples_of_a_label_are_tried(
    wrong: int, found: bool, tiny_image_model: bytes
) -> None:
    run = RunFolder(*[(200, DARK)] * wrong, (10, DARK), (128, MID))
    assert chosen(run, tiny_image_model)[0][1] == ("dark" if found else "mid")
    assert run.read.count(200) == wrong


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 31, 32, 33, 500])
def test_at_most_16_labels_get_a_sample_and_they_are_spread_over_all(count: int) -> None:
    labels = golden_choice._labels(count)
    assert len(labels) == len(set(labels)) == min(count, 16)
    if count > 16:
        assert all(16 * label <= place * count < 16 * (label + 1) for place, label in enumerate(labels))
    else:
        assert labels == list(range(count))


# ---- the files


@pytest.mark.parametrize(
    ("shape", "smaller"),
    [
        ((320, 320), (320, 320)),
        ((10, 20), (10, 20)),
        ((321, 321), (320, 320)),
        ((640, 480), (320, 240)),
        ((480, 640), (240, 320)),
        ((1_000, 300), (320, 96)),
        ((2, 2_000), (1, 320)),
        ((2_000, 1), (320, 1)),
    ],
)
def test_a_large_picture_is_made_smaller_in_its_proportions(
    shape: tuple[int, int], smaller: tuple[int, int]
) -> None:
    pixels = np.full((*shape, 3), (1, 2, 3), np.uint8)
    found = cv2.imdecode(np.frombuffer(png_bytes(pixels), np.uint8), cv2.IMREAD_COLOR)
    assert found.shape == (*smaller, 3)
    assert np.unique(found.reshape(-1, 3), axis=0).tolist() == [[1, 2, 3]]


def test_a_picture_that_is_small_enough_is_kept_to_the_pixel() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (320, 31, 3)).astype(np.uint8)
    found = cv2.imdecode(np.frombuffer(png_bytes(pixels), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(found, pixels)


def test_a_clip_is_kept_to_the_sample() -> None:
    samples = np.array([0, 1, -1, 32_767, -32_768], np.int16)
    with wave.open(io.BytesIO(wav_bytes(samples, 16_000))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16_000)
        assert np.frombuffer(file.readframes(9), "<i2").tolist() == samples.tolist()


class ClipRun(RunFolder):
    """The same with half a second of silence or noise."""

    labels = ("quiet", "low", "high")
    preprocess: Any = AudioPreprocess(window_frames=20, mel_bands=10)

    def raw(self, sample: Sample) -> Any:
        return np.zeros(self.preprocess.window_samples, np.int16)


def test_clips_are_wav_files_of_one_window(tiny_audio_model: bytes) -> None:
    faked: Any = ClipRun((0, 0))
    (found,) = choose_golden(faked, tiny_audio_model)
    assert (found.golden.file, found.golden.label) == ("golden/00.wav", "quiet")
    with wave.open(io.BytesIO(found.data)) as file:
        assert (file.getframerate(), file.getnframes()) == (16_000, 3_520)
