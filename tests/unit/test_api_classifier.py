"""``galago_edge.Classifier``: exactly what ``galago classify`` says, with arrays and files.

The modules galago_edge.api.classifier, galago_edge.api.arrays and galago_edge.api.sole_user.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner

import galago_edge
from galago_edge import Bundle, Classification, Classifier, DeviceError, InputError, LinkError, Reason
from galago_edge.commands.cli import main
from galago_edge.contract.manifest import Label
from galago_edge.pipeline import LoadedBundle
from test_kit import make_bundle, wav_bytes

RATE_HZ = 16_000


@pytest.fixture
def camera(tmp_path: Path, tiny_image_model: bytes) -> Bundle:
    path = make_bundle(tmp_path / "cam.galago", tiny_image_model, ["dark", "mid", "bright"])
    return galago_edge.open_bundle(path, unverified=True)


@pytest.fixture
def microphone(tmp_path: Path, tiny_audio_model: bytes) -> Bundle:
    labels = [Label(name="quiet", background=True), "low", "high"]
    path = make_bundle(tmp_path / "mic.galago", tiny_audio_model, labels, modality="microphone")
    return galago_edge.open_bundle(path, unverified=True)


def noise_picture(seed: int = 1) -> npt.NDArray[np.uint8]:
    """Every pixel another one, so that a wrong order of colours or rows is seen."""
    pixels = np.random.default_rng(seed).integers(0, 256, (48, 64, 3))
    pixels[:, :, 2] //= 3  # little red
    return pixels.astype(np.uint8)


def tone(seconds: float = 2.0, rate_hz: int = RATE_HZ) -> npt.NDArray[np.int16]:
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return np.rint(12_000 * np.sin(2 * np.pi * 300 * time_s) * (time_s >= seconds / 2)).astype(np.int16)


def as_row(found: Classification) -> dict[str, Any]:
    top = [
        {
            "label": ranked.label,
            "score": round(ranked.score, 6),
            "start_ns": ranked.span.start_ns,
            "end_ns": ranked.span.end_ns,
        }
        for ranked in found.ranked[:3]
    ]
    row: dict[str, Any] = {"label": found.label, "score": round(found.score, 6), "top": top}
    row |= {"windows": found.windows, "padded_samples": found.padded_samples}
    return row if found.conversion is None else row | {"conversion": found.conversion}


def command_says(path: Path, bundle: Bundle) -> dict[str, Any]:
    result = CliRunner().invoke(main, ["classify", str(path), "--bundle", str(bundle.path), "--json"])
    (row,) = json.loads(result.stdout)["files"]
    del row["file"]
    return dict(row)


def test_an_image_is_what_the_command_says_as_file_and_as_array_in_both_orders(
    camera: Bundle, tmp_path: Path
) -> None:
    pixels, path = noise_picture(), tmp_path / "a.png"
    cv2.imwrite(str(path), pixels)
    expected = command_says(path, camera)
    with Classifier(camera) as classifier:
        assert as_row(classifier.classify_file(path)) == expected
        assert as_row(classifier.classify_file(str(path))) == expected
        assert as_row(classifier.classify_image(pixels)) == expected
        assert as_row(classifier.classify_image(pixels[:, :, ::-1], color="rgb")) == expected
        assert as_row(classifier.classify_image(np.asfortranarray(pixels))) == expected


def test_the_order_of_colours_counts(tmp_path: Path, tiny_image_model: bytes) -> None:
    seen = []
    path = make_bundle(tmp_path / "cam.galago", tiny_image_model, ["dark", "mid", "bright"])
    cv2.imwrite(str(tmp_path / "a.png"), noise_picture())
    with Classifier(galago_edge.open_bundle(path, unverified=True)) as classifier:
        for classify in (
            lambda: classifier.classify_file(tmp_path / "a.png"),
            lambda: classifier.classify_image(noise_picture()),
            lambda: classifier.classify_image(noise_picture(), color="rgb"),
        ):
            classify()
            seen.append(classifier._loaded.engine.input_view().copy())
    assert np.array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[1], seen[2])
    assert np.array_equal(seen[1], seen[2][..., ::-1])


@pytest.mark.parametrize("seconds", [0.1, 0.7, 3.3])
def test_a_clip_is_what_the_command_says_as_file_and_as_array(
    seconds: float, microphone: Bundle, tmp_path: Path
) -> None:
    samples, path = tone(seconds), tmp_path / "a.wav"
    path.write_bytes(wav_bytes(samples, RATE_HZ))
    expected = command_says(path, microphone)
    with Classifier(microphone) as classifier:
        assert as_row(classifier.classify_file(path)) == expected
        assert as_row(classifier.classify_clip(samples, RATE_HZ)) == expected
        assert as_row(classifier.classify_clip(np.repeat(samples, 2)[::2], np.int32(RATE_HZ))) == expected
    assert expected["padded_samples"] == (1_920 if seconds == 0.1 else 0)


def test_a_clip_at_another_rate_is_converted_as_a_file_is(microphone: Bundle, tmp_path: Path) -> None:
    samples, path = tone(5.0, 48_000), tmp_path / "a.wav"
    path.write_bytes(wav_bytes(samples, 48_000))
    expected = command_says(path, microphone)
    with Classifier(microphone) as classifier:
        assert as_row(classifier.classify_clip(samples, 48_000)) == expected
    assert expected["conversion"]["from"]["rate_hz"] == 48_000


def test_one_answer_leaves_nothing_behind_for_the_next(microphone: Bundle) -> None:
    with Classifier(microphone) as classifier:
        first = classifier.classify_clip(tone(0.9), RATE_HZ)
        classifier.classify_clip(-tone(0.3), RATE_HZ)
        assert classifier.classify_clip(tone(0.9), RATE_HZ) == first


def test_the_bundle_may_be_closed_once_it_is_loaded(camera: Bundle) -> None:
    with camera:
        classifier = Classifier(camera, threads=2)
    assert classifier.classify_image(np.full((10, 10, 3), 225, np.uint8)).label == "bright"
    with pytest.raises(ValueError, match=r"tiny 1\.0\.0 is closed"):
        Classifier(camera)


WRONG_PICTURES: list[tuple[Any, type[Exception], str]] = [
    ([[[1, 2, 3]]], TypeError, "pixels are of type list, expected a numpy array of uint8"),
    (np.zeros((4, 4, 3), np.float32), TypeError, "pixels are float32, expected a numpy array of uint8"),
    (np.zeros((4, 4), np.uint8), ValueError, r"pixels have shape \(4, 4\), expected .*\(height, width, 3\)"),
    (np.zeros((4, 4, 4), np.uint8), ValueError, r"pixels have shape \(4, 4, 4\)"),
    (np.zeros((1, 4, 4, 3), np.uint8), ValueError, r"pixels have shape \(1, 4, 4, 3\)"),
    (np.zeros((0, 4, 3), np.uint8), ValueError, r"pixels have shape \(0, 4, 3\)"),
]


@pytest.mark.parametrize(("pixels", "error", "message"), WRONG_PICTURES)
def test_a_wrong_picture_is_told_what_was_met_and_expected(
    pixels: Any, error: type[Exception], message: str, camera: Bundle
) -> None:
    with Classifier(camera) as classifier, pytest.raises(error, match=message):
        classifier.classify_image(pixels)


WRONG_CLIPS: list[tuple[Any, Any, type[Exception], str]] = [
    (b"\0\0", RATE_HZ, TypeError, "samples are of type bytes, expected a numpy array of int16"),
    (np.zeros(9, np.float64), RATE_HZ, TypeError, "samples are float64, expected a numpy array of int16"),
    (np.zeros(9, ">i2"), RATE_HZ, TypeError, "samples are >i2, expected a numpy array of int16"),
    (np.zeros((9, 2), np.int16), RATE_HZ, ValueError, r"samples have shape \(9, 2\), .* one channel"),
    (np.zeros(0, np.int16), RATE_HZ, ValueError, "samples hold nothing, expected at least one"),
    (np.zeros(9, np.int16), 16_000.0, TypeError, r"rate_hz is 16000\.0, expected an integer"),
    (np.zeros(9, np.int16), 16, ValueError, "rate_hz is 16, expected 1000 to 1000000"),
    (np.zeros(9, np.int16), None, TypeError, "rate_hz is None, expected an integer"),
]


@pytest.mark.parametrize(("samples", "rate_hz", "error", "message"), WRONG_CLIPS)
def test_a_wrong_clip_is_told_what_was_met_and_expected(
    samples: Any, rate_hz: Any, error: type[Exception], message: str, microphone: Bundle
) -> None:
    with Classifier(microphone) as classifier, pytest.raises(error, match=message):
        classifier.classify_clip(samples, rate_hz)


def test_a_wrong_order_or_number_of_threads_is_a_value_error(camera: Bundle) -> None:
    with Classifier(camera) as classifier, pytest.raises(ValueError, match="color is 'RGB', expected 'bgr'"):
        classifier.classify_image(noise_picture(), color="RGB")
    with pytest.raises(ValueError, match="threads is 0, expected 1 to 256"):
        Classifier(camera, threads=0)
    with pytest.raises(ValueError, match="threads is 100000, expected 1 to 256"):
        Classifier(camera, threads=100_000)
    for odd in (1.5, True, "2", None):
        with pytest.raises(TypeError, match="expected an int"):
            Classifier(camera, threads=odd)  # type: ignore[arg-type]


def test_a_picture_for_a_microphone_and_a_clip_for_a_camera_are_a_mismatch(
    camera: Bundle, microphone: Bundle
) -> None:
    with Classifier(microphone) as classifier, pytest.raises(InputError) as caught:
        classifier.classify_image(noise_picture())
    assert caught.value.reason is Reason.SOURCE_MISMATCH
    with Classifier(camera) as classifier, pytest.raises(InputError) as caught:
        classifier.classify_clip(tone(), RATE_HZ)
    assert caught.value.reason is Reason.SOURCE_MISMATCH


def test_a_file_that_is_not_there_is_a_missing_source(camera: Bundle, tmp_path: Path) -> None:
    with Classifier(camera) as classifier, pytest.raises(LinkError) as caught:
        classifier.classify_file(tmp_path / "none.png")
    assert caught.value.reason is Reason.SOURCE_MISSING


def test_a_sound_that_is_cut_off_is_refused_and_nobody_is_told_that_it_was_used(
    microphone: Bundle, tmp_path: Path
) -> None:
    path = tmp_path / "cut.wav"
    path.write_bytes(wav_bytes(tone(), RATE_HZ)[:40_000])
    with Classifier(microphone) as classifier, pytest.raises(InputError) as classified:
        classifier.classify_file(path)
    assert classified.value.reason is Reason.AUDIO_TRUNCATED
    assert classified.value.hint == "record or copy it again; galago replay decides on what is there"
    replayed = galago_edge.replay(path, microphone).write(lambda _: None)
    assert replayed is not None and replayed.as_data() == classified.value.as_data()


def test_an_odd_rate_without_its_library_names_the_extra(
    microphone: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "soxr", None)
    with Classifier(microphone) as classifier, pytest.raises(DeviceError) as caught:
        classifier.classify_clip(tone(), 47_999)
    assert caught.value.reason is Reason.EXTRA_MISSING


@pytest.mark.parametrize(
    "use",
    [
        lambda classifier: classifier.classify_image(noise_picture()),
        lambda classifier: classifier.classify_file("a.png"),
    ],
)
def test_a_closed_classifier_says_so(use: Callable[[Classifier], object], camera: Bundle) -> None:
    with Classifier(camera) as classifier:
        pass
    with pytest.raises(ValueError, match=r"the classifier of tiny 1\.0\.0 is closed"):
        use(classifier)
    classifier.close()


def test_what_was_loaded_is_closed_once_by_everything_that_loads(
    microphone: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[LoadedBundle] = []
    monkeypatch.setattr(LoadedBundle, "close", lambda loaded: closed.append(loaded))
    (tmp_path / "a.wav").write_bytes(wav_bytes(tone(), RATE_HZ))
    for user in (
        Classifier(microphone),
        galago_edge.Stream(microphone),
        galago_edge.replay(tmp_path / "a.wav", microphone),
    ):
        with user:
            assert closed == []
        user.close()
        assert closed.pop() is user._loaded
        assert closed == []


def test_a_second_thread_in_the_middle_of_a_call_is_refused(camera: Bundle) -> None:
    with Classifier(camera) as classifier:
        inside, leave = threading.Event(), threading.Event()

        def hold() -> None:
            with classifier._use():
                inside.set()
                leave.wait(30)

        thread = threading.Thread(target=hold)
        thread.start()
        try:
            assert inside.wait(30)
            with pytest.raises(RuntimeError, match="in use by another call; expected one thread at a time"):
                classifier.classify_image(noise_picture())
        finally:
            leave.set()
            thread.join()
        classifier.classify_image(noise_picture())


def test_threads_with_a_classifier_each_share_a_bundle_and_agree(microphone: Bundle) -> None:
    found: list[Classification] = []

    def work() -> None:
        with Classifier(microphone) as classifier:
            found.extend(classifier.classify_clip(tone(1.1), RATE_HZ) for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20
    assert all(one == found[0] for one in found)
