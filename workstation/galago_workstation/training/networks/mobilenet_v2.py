"""``mobilenet_v2``: inverted residuals with linear bottlenecks; takes the weights of Keras applications."""

from __future__ import annotations

from typing import Any

from galago_workstation.training.network_kind import Activation, Dropout, NetworkKind, NetworkOptions
from galago_workstation.training.network_layers import Layers
from galago_workstation.training.networks.mobilenet_v1 import Width
from galago_workstation.training.weights.published_weights import KerasFiles

STAGES = (
    # repeats, stride, expansion, channels
    (1, 1, 1, 16),
    (2, 2, 6, 24),
    (3, 2, 6, 32),
    (4, 2, 6, 64),
    (3, 1, 6, 96),
    (3, 2, 6, 160),
    (1, 1, 6, 320),
)
"""Table 2 of arXiv:1801.04381."""
LAST_CHANNELS = 1280


class MobileNetV2(NetworkOptions, frozen=True, kw_only=True, tag="mobilenet_v2"):
    """MobileNetV2 (arXiv:1801.04381), for pictures of 96 pixels and more; 300 million multiply-adds at 224
    and width 1."""

    width: Width = 1.0
    """Multiplier of all channels; of the last ones only above 1. Weights are published for 0.35, 0.5, 0.75,
    1, 1.3 and 1.4."""
    activation: Activation = "relu6"
    dropout: Dropout = 0.2


def eighths(channels: float) -> int:
    """Return the multiple of 8 that is nearest, at least 8 and at least 90 % of ``channels``.

    As ``_make_divisible`` of Keras applications and of the paper's own code: published weights have these
    sizes.

    >>> [eighths(channels) for channels in (5.6, 11.2, 33.6, 12)]
    [8, 16, 32, 16]
    """
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def _body(layers: Layers, x: Any, options: MobileNetV2) -> Any:
    x = layers.conv(x, eighths(32 * options.width), stride=2)
    for repeats, stride, expansion, channels in STAGES:
        for repeat in range(repeats):
            x = layers.inverted_residual(
                x,
                eighths(int(channels * options.width)),
                stride=stride if repeat == 0 else 1,
                expansion=expansion,
            )
    last = eighths(LAST_CHANNELS * options.width) if options.width > 1.0 else LAST_CHANNELS
    return layers.conv(x, last, kernel=1)


NETWORK = NetworkKind(
    options=MobileNetV2,
    body=_body,
    inputs=("image",),
    keras_files=KerasFiles(
        address="https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/",
        licence="Apache-2.0",
        source="MobileNetV2 trained on ImageNet, of Keras applications",
        pixel_scale=1 / 127.5,
        pixel_offset=-1.0,
    ),
)
