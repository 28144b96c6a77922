"""The golden run with answers that the test falsifies; the tiny model says (-1, 42, 0) to level 128."""

from __future__ import annotations

import hashlib
import io
import wave

import cv2
import numpy as np
import pytest

from galago_edge.contract.errors import BundleError, Reason
from galago_edge.contract.manifest import Golden, GoldenExpected, ImagePreprocess
from galago_edge.engine import Engine
from galago_edge.pipeline.golden_run import GoldenResult, GoldenRunner, check_golden, expected_answer
from galago_edge.preprocess import ImagePreprocessor, LogMelFrontend
from test_kit import TINY_AUDIO

LOGITS = (-1, 42, 0)
TENSOR = hashlib.sha256(np.full((1, 16, 16, 3), 128, np.uint8).tobytes()).hexdigest()


def png(level: int = 128) -> bytes:
    content: bytes = cv2.imencode(".png", np.full((20, 20, 3), level, np.uint8))[1].tobytes()
    return content


@pytest.fixture
def runner(tiny_image_model: bytes) -> GoldenRunner:
    return GoldenRunner(Engine(tiny_image_model), ImagePreprocessor(ImagePreprocess(width=16, height=16)))


def golden(
    logits: tuple[int, ...] = LOGITS, argmax: int = 1, atol_steps: int = 4, tensor_sha256: str = TENSOR
) -> Golden:
    expected = GoldenExpected(
        tensor_sha256=tensor_sha256, argmax=argmax, logits=logits, atol_steps=atol_steps
    )
    return Golden(file="golden/00.png", label="mid", expected=expected)


def refusal(runner: GoldenRunner, wanted: Golden) -> tuple[Reason, str]:
    with pytest.raises(BundleError) as caught:
        check_golden(runner, wanted, png())
    return caught.value.reason, str(caught.value)


def test_what_is_expected_is_what_the_device_says(runner: GoldenRunner) -> None:
    assert expected_answer(runner, png(), 4) == golden().expected
    assert expected_answer(runner, png(10), 0).logits == (117, 42, -118)


@pytest.mark.parametrize(
    ("logits", "atol_steps", "difference"),
    [(LOGITS, 0, 0), ((3, 38, -4), 4, 4), ((-1, 42, 1), 1, 1), ((-5, 42, 0), 4, 4)],
)
def test_an_answer_within_the_tolerance_is_told_with_its_largest_difference(
    logits: tuple[int, ...], atol_steps: int, difference: int, runner: GoldenRunner
) -> None:
    found = check_golden(runner, golden(logits, atol_steps=atol_steps), png())
    assert found == GoldenResult("golden/00.png", "mid", difference)


def test_one_step_more_than_allowed_is_a_failure_that_names_no_other_winner(runner: GoldenRunner) -> None:
    assert refusal(runner, golden((-1, 47, 0))) == (
        Reason.GOLDEN_FAIL,
        "golden sample golden/00.png (mid): the answer is off by 5 quantization steps, 4 are allowed",
    )


def test_another_winner_is_a_failure_however_near_it_is(runner: GoldenRunner) -> None:
    assert refusal(runner, golden(argmax=2)) == (
        Reason.GOLDEN_FAIL,
        "golden sample golden/00.png (mid): the answer is off by 0 quantization steps, 4 are allowed,"
        " and label 1 wins where 2 must",
    )


def test_logits_at_both_ends_of_int8_are_far_apart(runner: GoldenRunner) -> None:
    tensor = hashlib.sha256(bytes(16 * 16 * 3)).hexdigest()
    wanted = golden((-128, 42, 127), argmax=0, tensor_sha256=tensor)
    with pytest.raises(BundleError, match="off by 255 quantization steps"):  # the model says (127, 42, -128)
        check_golden(runner, wanted, png(0))


def test_another_tensor_is_told_before_any_answer(runner: GoldenRunner) -> None:
    reason, message = refusal(runner, golden((9, 9, 9), tensor_sha256="ab" * 32))
    assert reason is Reason.PREPROCESS_MISMATCH
    assert f"has sha256 {TENSOR[:16]}…, the bundle says abababababababab…" in message


def test_an_answer_for_another_number_of_labels_is_a_failure(runner: GoldenRunner) -> None:
    reason, message = refusal(runner, golden((-1, 42)))
    assert reason is Reason.GOLDEN_FAIL
    assert "the model gives 3 logits for 2 labels" in message


def test_of_a_sound_the_first_window_counts_and_less_than_one_is_refused(tiny_audio_model: bytes) -> None:
    runner = GoldenRunner(Engine(tiny_audio_model), LogMelFrontend(TINY_AUDIO))
    window = np.random.default_rng(4).integers(-9_000, 9_000, TINY_AUDIO.window_samples).astype("<i2")

    def wav(samples: np.ndarray) -> bytes:
        out = io.BytesIO()
        with wave.open(out, "wb") as file:
            file.setparams((1, 2, TINY_AUDIO.sample_rate_hz, len(samples), "NONE", ""))
            file.writeframes(samples.tobytes())
        return out.getvalue()

    longer = runner.answer(wav(np.concatenate((window, window[:1_000]))))
    assert longer.tensor_sha256 == runner.answer(wav(window)).tensor_sha256
    with pytest.raises(BundleError, match="a sample has 3519 samples, 3520 are needed") as caught:
        runner.answer(wav(window[1:]))
    assert caught.value.reason is Reason.GOLDEN_FAIL
