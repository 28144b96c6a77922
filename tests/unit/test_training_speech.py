"""The speech embedding: our network says what the published one says, and hears nearly what it heard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from galago_converters.frameworks import import_tensorflow
from galago_edge.contract.errors import CallerError, InputError, Reason
from galago_edge.contract.manifest import AudioPreprocess
from galago_edge.preprocess import FEATURE_SCALE, log_mel
from galago_workstation.training.network_kind import build_network
from galago_workstation.training.networks.speech_embedding import (
    EMBEDDING,
    EMBEDDING_SCALE,
    FRONTEND,
    LEVEL_OFFSET,
    LEVEL_SCALE,
    NETWORK,
    SpeechEmbedding,
)
from galago_workstation.training.weights.start_weights import (
    StartWeights,
    open_start_weights,
    put_weights,
    weighted,
)
from galago_workstation.training_config import read_config
from real_parts import MissingPartError, missing_part, packaged_file

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Floats = npt.NDArray[np.float32]
PUBLISHED = NETWORK.published[0]


def part(path: str) -> Path:
    try:
        return packaged_file(path)
    except MissingPartError as error:
        missing_part(str(error))


@pytest.fixture(scope="module")
def start() -> StartWeights:
    return open_start_weights(str(part(PUBLISHED.member)), NETWORK, Path(), pytest.fail)


@pytest.fixture(scope="module")
def body(start: StartWeights) -> Any:
    """Our network up to the embeddings, with the published weights; the values as published."""
    network = build_network(SpeechEmbedding(), (FRONTEND.window_frames, FRONTEND.mel_bands), 3, seed=1)
    put_weights(network, start)
    found = weighted(network)[-1].output / EMBEDDING_SCALE
    return import_tensorflow().keras.Model(network.input, found)


def published(name: str, inputs: Floats) -> Floats:
    from ai_edge_litert.interpreter import Interpreter

    folder = Path(PUBLISHED.member).parent
    interpreter = Interpreter(str(part(f"{folder}/{name}.tflite")), num_threads=1)
    interpreter.resize_tensor_input(0, inputs.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(0, inputs)
    interpreter.invoke()
    found: Floats = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return found


def voices() -> npt.NDArray[np.int16]:
    """Return six windows of vowel-like sounds: harmonics below moving formants, a little noise, a pause."""
    rng = np.random.default_rng(7)
    count = FRONTEND.window_samples
    seconds = np.arange(count) / FRONTEND.sample_rate_hz
    made = []
    for pitch, low, high in ((110, 300, 900), (130, 500, 1500), (170, 700, 1100), (200, 400, 2200),
                             (230, 600, 1800), (150, 250, 2500)):  # fmt: skip
        phase = 2 * np.pi * np.cumsum(pitch * (1 + 0.1 * np.sin(3 * seconds))) / FRONTEND.sample_rate_hz
        formants = [low + (high - low) * seconds / seconds[-1], np.full(count, high)]
        sound = np.zeros(count)
        for k in range(1, 3_600 // pitch):
            near = sum(np.exp(-(((k * pitch - formant) / 180) ** 2)) for formant in formants)
            sound += (near + 0.002) * np.sin(k * phase)
        sound *= np.clip(np.sin(np.pi * seconds / seconds[-1]) * 1.5 - 0.4, 0, 1)
        made.append(np.rint(4_000 * sound / np.abs(sound).max() + rng.normal(0, 4, count)))
    return np.array(made).clip(-32_768, 32_767).astype(np.int16)


def their_mel(window: npt.NDArray[np.int16]) -> Floats:
    """Return what the published frontend gives: its transform reaches 56 samples to both sides."""
    samples = np.pad(window, 56).astype(np.float32)[None]
    return published("melspectrogram", samples)[0, 0, : FRONTEND.window_frames] / 10 + 2


def test_our_network_answers_as_the_published_one_on_the_published_features(body: Any) -> None:
    features = np.array([their_mel(window) for window in voices()])
    expected = np.array([published("embedding_model", one[None, :, :, None]).ravel() for one in features])

    found = body((features - LEVEL_OFFSET) / LEVEL_SCALE, training=False).numpy().reshape(-1, EMBEDDING)

    assert expected.std() > 5
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_features_and_embeddings_of_our_frontend_are_nearly_the_published_ones(body: Any) -> None:
    """As docs/training.md says: of what the published frontend hears above its own floor."""
    theirs = np.array([their_mel(window) for window in voices()])
    codes = np.array([log_mel(FRONTEND, window) for window in voices()])
    inputs = codes.astype(np.float32) * np.float32(FEATURE_SCALE)
    ours = inputs * LEVEL_SCALE + LEVEL_OFFSET

    heard = (theirs > ours.min()) & (theirs > theirs.min(axis=(1, 2), keepdims=True))
    assert heard.mean() > 0.5
    assert np.abs(ours - theirs)[heard].max() < 0.06  # 0.6 dB, of which 0.25 are the rounding to codes

    expected = np.array([published("embedding_model", one[None, :, :, None]).ravel() for one in theirs])
    found = body(inputs, training=False).numpy().reshape(-1, EMBEDDING)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99


def test_what_the_weights_are_is_kept(start: StartWeights) -> None:
    assert start.origin.sha256 == PUBLISHED.sha256
    assert start.origin.licence == "Apache-2.0"
    assert "Google" in start.origin.source


@pytest.mark.parametrize(("frames", "places"), [(76, 1), (84, 2), (148, 10)])
def test_an_embedding_stands_for_76_frames_and_another_for_every_eight_more(frames: int, places: int) -> None:
    network = build_network(SpeechEmbedding(), (frames, 32), 2, seed=1)

    assert weighted(network)[-1].output.shape[1:] == (places, 1, EMBEDDING)
    assert network.get_layer("logits").kernel.shape == (places * EMBEDDING, 2)


def test_without_order_the_logits_see_the_mean_of_the_embeddings() -> None:
    network = build_network(SpeechEmbedding(order=False), (148, 32), 2, seed=1)

    assert network.get_layer("logits").kernel.shape == (EMBEDDING, 2)


def test_a_window_shorter_than_an_embedding_cannot_be_built() -> None:
    with pytest.raises(CallerError, match="75 frames") as caught:
        build_network(SpeechEmbedding(), (75, 32), 2, seed=1)

    assert caught.value.reason == Reason.CONFIG_BAD


def test_a_file_of_a_smaller_network_is_refused(start: StartWeights) -> None:
    network = build_network(SpeechEmbedding(), (76, 32), 2, seed=1)

    with pytest.raises(InputError, match="38 layers"):
        put_weights(network, StartWeights(start.layers[:-2], start.origin))


CONFIG = """
[data]
kind = "audio"
folder = "words"
[preprocess]
kind = "logmel"
version = "logmel/2"
frame_samples = 400
mel_bands = 32
fmax_hz = 3800.0
window_frames = 148
mel_scale = "slaney"
spectrum = "power"
floor_db = -92.0
[model]
kind = "speech_embedding"
weights = "speech"
"""


def test_the_frontend_that_the_weights_know_is_accepted_whatever_the_window(tmp_path: Path) -> None:
    path = tmp_path / "words.toml"
    path.write_text(CONFIG)

    assert read_config(path).preprocess == msgspec.structs.replace(
        FRONTEND, window_frames=148, hop_frames=AudioPreprocess().hop_frames
    )


@pytest.mark.parametrize(
    ("line", "other", "said"),
    [
        ("mel_bands = 32", "mel_bands = 40", "mel_bands is 40.*", ),
        ("floor_db = -92.0", "floor_db = -80.0", "floor_db is -80.0"),
        ("frame_samples = 400\n", "", "frame_samples is 480"),
        ("window_frames = 148", "window_frames = 75", "window_frames is 75"),
    ],
)  # fmt: skip
def test_another_frontend_is_refused_with_what_is_expected(
    line: str, other: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "words.toml"
    path.write_text(CONFIG.replace(line, other))

    with pytest.raises(CallerError, match=said) as caught:
        read_config(path)

    assert caught.value.reason == Reason.CONFIG_BAD
    assert "this network takes" in caught.value.hint
