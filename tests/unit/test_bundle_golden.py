"""The golden run: the same answers here as where the bundle was built, or a refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galago_edge.bundle import Bundle, file_entry, open_bundle, write_bundle
from galago_edge.contract.errors import BundleError, Reason
from galago_edge.pipeline.golden_run import run_golden
from test_kit import TEST_KEY, changed, make_bundle, wav_bytes


@pytest.fixture
def camera(tmp_path: Path, tiny_image_model: bytes) -> Bundle:
    return open_bundle(make_bundle(tmp_path / "eyes.galago", tiny_image_model, ["dark", "mid", "bright"]))


@pytest.fixture
def microphone(tmp_path: Path, tiny_audio_model: bytes) -> Bundle:
    labels = ["quiet", "low", "high"]
    path = make_bundle(tmp_path / "ears.galago", tiny_audio_model, labels, modality="microphone")
    return open_bundle(path)


def rewritten(bundle: Bundle, sample: bytes | None = None, **fields: Any) -> Bundle:
    """Change the first golden sample or what is expected of it, and sign again."""
    manifest = bundle.manifest
    files = {entry.path: bundle.read(entry.path) for entry in manifest.files}
    first = manifest.golden[0]
    if sample is not None:
        files[first.file] = sample
    entries = tuple(file_entry(entry.path, entry.role, files[entry.path]) for entry in manifest.files)
    golden = (changed(first, **fields), *manifest.golden[1:])
    path = bundle.path.with_name("changed.galago")
    return write_bundle(path, changed(manifest, files=entries, golden=golden), files, [TEST_KEY])


def refusal(bundle: Bundle) -> Reason:
    with pytest.raises(BundleError) as caught:
        run_golden(bundle)
    assert bundle.manifest.golden[0].file in str(caught.value) or "sample" in str(caught.value)
    assert "\n" not in str(caught.value) and caught.value.hint
    return caught.value.reason


def test_every_sample_is_answered_as_expected(camera: Bundle, microphone: Bundle) -> None:
    for bundle in (camera, microphone):
        results = run_golden(bundle)
        assert [(result.label, result.largest_difference) for result in results] == [
            (label.name, 0) for label in bundle.manifest.labels
        ]


def test_the_tiny_models_know_their_samples(camera: Bundle, microphone: Bundle) -> None:
    """So that the tests here compare answers that differ."""
    for bundle in (camera, microphone):
        assert [golden.expected.argmax for golden in bundle.manifest.golden] == [0, 1, 2]


def logits_of(bundle: Bundle) -> tuple[int, ...]:
    return bundle.manifest.golden[0].expected.logits


def test_a_difference_within_the_tolerance_is_the_same_model(camera: Bundle) -> None:
    best, *others = logits_of(camera)
    assert best > others[0] > others[1] > -128
    near = rewritten(camera, expected__logits=(best, others[0], others[1] + 1), expected__atol_steps=1)
    assert run_golden(near)[0].largest_difference == 1
    far = rewritten(camera, expected__logits=(best, others[0], others[1] + 2), expected__atol_steps=1)
    assert refusal(far) == Reason.GOLDEN_FAIL
    low = rewritten(camera, expected__logits=(best, others[0] - 2, others[1]), expected__atol_steps=1)
    assert refusal(low) == Reason.GOLDEN_FAIL


def test_another_winner_is_refused_however_small_the_difference(camera: Bundle) -> None:
    logits = logits_of(camera)
    swapped = (logits[0], logits[0], logits[2])
    other = rewritten(
        camera, expected__logits=swapped, expected__argmax=1, expected__atol_steps=logits[0] - logits[1]
    )
    assert refusal(other) == Reason.GOLDEN_FAIL


def test_another_tensor_is_refused_even_when_the_answer_is_the_same(camera: Bundle) -> None:
    assert refusal(rewritten(camera, expected__tensor_sha256="0" * 64)) == Reason.PREPROCESS_MISMATCH


def test_another_sample_is_noticed(microphone: Bundle) -> None:
    samples = np.zeros(microphone.manifest.preprocess.spec.window_samples, np.int16)  # type: ignore[union-attr]
    samples[::50] = 20_000
    assert refusal(rewritten(microphone, wav_bytes(samples, 16_000))) == Reason.PREPROCESS_MISMATCH


SAMPLES = {
    "nothing": b"",
    "no WAV": b"RIFF" + bytes(100),
    "too short": wav_bytes(np.zeros(100, np.int16), 16_000),
    "another rate": wav_bytes(np.zeros(100_000, np.int16), 8_000),
}


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_a_sound_that_is_none_is_refused(microphone: Bundle, sample: bytes) -> None:
    assert refusal(rewritten(microphone, sample)) == Reason.GOLDEN_FAIL


@pytest.mark.parametrize("sample", [b"", b"\x89PNG", b"GIF89a"])
def test_a_picture_that_is_none_is_refused(camera: Bundle, sample: bytes) -> None:
    assert refusal(rewritten(camera, sample)) == Reason.GOLDEN_FAIL
