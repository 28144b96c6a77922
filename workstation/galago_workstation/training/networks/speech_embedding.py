"""``speech_embedding``: Google's network that was trained on what is said, for words from few recordings."""

from __future__ import annotations

from typing import Any

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.manifest import AudioPreprocess
from galago_workstation.training.network_kind import Dropout, NetworkKind, NetworkOptions
from galago_workstation.training.network_layers import Layers
from galago_workstation.training.weights.published_weights import PublishedWeights

FRONTEND = AudioPreprocess(
    version="logmel/2",
    sample_rate_hz=16_000,
    frame_samples=400,
    frame_hop_samples=160,
    mel_bands=32,
    fmin_hz=60.0,
    fmax_hz=3_800.0,
    window_frames=76,
    hop_frames=8,
    mel_scale="slaney",
    spectrum="power",
    floor_db=-92.0,
)
"""What the weights were trained with, but for the floor: theirs lay 80 dB below each clip's maximum, which a
stream cannot know."""

_FULL_SCALE_DB = 112.0
"""What a full-scale sine has in theirs: samples are integers, triangles have the area one."""
LEVEL_SCALE = 64 / 2 / 10
LEVEL_OFFSET = (_FULL_SCALE_DB - 108 / 2) / 10 + 2
"""Their input is level / 10 + 2, ours (2 level + 108) / 64 with the level below full scale."""

_STAGES = (
    # channels, pairs of convolutions (along the bands, along time), pooling behind them
    (24, 1, (2, 2)),
    (48, 2, (1, 2)),
    (72, 2, (2, 2)),
    (96, 2, (1, 2)),
    (96, 2, (2, 2)),
)
LIFT = 2.0
"""What is added to the biases of all convolutions but the last; see :func:`_leak`."""
_LEAK = 0.2
EMBEDDING = 96
"""Values of an embedding: one for 76 frames, and one more for every ``EMBEDDING_HOP``."""
EMBEDDING_HOP = 8
EMBEDDING_SCALE = 1 / 16
"""Theirs have a deviation of about 16."""


class SpeechEmbedding(NetworkOptions, frozen=True, kw_only=True, tag="speech_embedding"):
    """A convolutional network of 42 million multiply-adds for 0.76 s (Lin et al. 2020, arXiv:2002.01322)."""

    dropout: Dropout = 0.2
    order: bool = True
    """The logits see which embedding came when, which words need; false: their mean, for sounds that last."""


def _body(layers: Layers, x: Any, options: SpeechEmbedding) -> Any:
    if x.shape[1] < FRONTEND.window_frames:
        raise CallerError(
            Reason.CONFIG_BAD,
            f"a speech embedding is of {FRONTEND.window_frames} frames, the window has {x.shape[1]} frames",
            hint=f"set [preprocess] window_frames to {FRONTEND.window_frames} or more",
        )
    x = layers.keras.layers.Rescaling(LEVEL_SCALE, LEVEL_OFFSET, name="level")(x)
    x = layers.keras.layers.ZeroPadding2D((0, 1))(x)
    x = _leak(layers, layers.conv(x, 24, kernel=3, padding="valid"))
    for channels, pairs, pool in _STAGES:
        for pair in range(pairs):
            x = _leak(layers, layers.conv(x, channels, kernel=(1, 3)))
            x = layers.conv(x, channels, kernel=(3, 1), padding="valid")
            if pair == pairs - 1:  # in the middle of the activation, which keeps the order of values
                x = layers.keras.layers.MaxPooling2D(pool, padding="same")(x)
            x = _leak(layers, x)
    x = layers.conv(x, EMBEDDING, kernel=(3, 1), padding="valid", activate=False)
    return layers.keras.layers.Flatten()(x) if options.order else x


def _leak(layers: Layers, x: Any) -> Any:
    """Return the rest of the published network's activation.

    That is x above zero, x / 5 below, and never less than -0.4. Here a convolution gives x + 2, of which
    ReLU leaves what is above -2: all that is known as int8 by XNNPACK, unlike a maximum with -0.4.
    """
    x = layers.keras.layers.Rescaling(1.0, -LIFT)(x)
    return layers.keras.layers.LeakyReLU(_LEAK)(x)


PUBLISHED = PublishedWeights(
    name="speech",
    package="pyopen-wakeword",
    version="1.1.0",
    member="pyopen_wakeword/models/embedding_model.tflite",
    sha256="c0aea21eb84a4ce90a08c870da41b7a7173b45269e6a3207c71d67c40f3a59d8",
    size=1_330_312,
    licence="Apache-2.0",
    source="speech embedding by Google, converted by openWakeWord",
    bias_lift=LIFT,
    last_scale=EMBEDDING_SCALE,
    platform="manylinux_2_35_x86_64",
)

NETWORK = NetworkKind(
    options=SpeechEmbedding,
    body=_body,
    inputs=("audio",),
    frontend=FRONTEND,
    published=(PUBLISHED,),
)
