"""``resnet``: a small residual network, for pictures and for log-mel windows."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from galago_workstation.training.network_kind import NetworkKind, NetworkOptions
from galago_workstation.training.network_layers import Layers


class ResNet(NetworkOptions, frozen=True, kw_only=True, tag="resnet"):
    """Small residual network for 28 to 64 pixels, or for log-mel windows whose rhythm matters; the defaults
    are MLPerf Tiny's ResNet8. Its strides let every output see the whole window."""

    filters: Annotated[int, msgspec.Meta(ge=4, le=256)] = 16
    """Channels of the first stage; each further stage doubles them."""
    stages: Annotated[int, msgspec.Meta(ge=1, le=5)] = 3
    blocks: Annotated[int, msgspec.Meta(ge=1, le=9)] = 1
    """Residual blocks per stage; 2 with three stages is ResNet14."""
    stem_stride: Annotated[int, msgspec.Meta(ge=1, le=2)] = 1
    """2 halves the picture before the first stage: about a quarter of the work."""


def _body(layers: Layers, x: Any, options: ResNet) -> Any:
    x = layers.conv(x, options.filters, stride=options.stem_stride)
    for stage in range(options.stages):
        for block in range(options.blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            x = _residual_block(layers, x, options.filters * 2**stage, stride)
    return x


def _residual_block(layers: Layers, x: Any, channels: int, stride: int) -> Any:
    shortcut = x
    if stride != 1 or x.shape[-1] != channels:
        shortcut = layers.conv(x, channels, kernel=1, stride=stride, activate=False)
    y = layers.conv(x, channels, stride=stride)
    y = layers.conv(y, channels, activate=False)
    return layers.activate(layers.keras.layers.Add()([shortcut, y]))


NETWORK = NetworkKind(options=ResNet, body=_body, inputs=("image", "audio"))
