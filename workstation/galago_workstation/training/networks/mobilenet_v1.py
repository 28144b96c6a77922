"""``mobilenet_v1``: depthwise separable blocks, for pictures and for log-mel windows."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from galago_workstation.training.network_kind import Activation, NetworkKind, NetworkOptions
from galago_workstation.training.network_layers import Layers

Width = Annotated[float, msgspec.Meta(ge=0.1, le=2.0)]


class MobileNetV1(NetworkOptions, frozen=True, kw_only=True, tag="mobilenet_v1"):
    """Depthwise separable blocks (arXiv:1704.04861, table 1) without the fully connected top."""

    width: Width = 0.25
    """Multiplier of all channel counts (32 to 1024), rounded to multiples of 8."""
    depth: Annotated[int, msgspec.Meta(ge=0, le=5)] = 5
    """How many of the five equal blocks in the middle are kept."""
    activation: Activation = "relu6"


def _body(layers: Layers, x: Any, options: MobileNetV1) -> Any:
    def channels(count: int) -> int:
        return max(8, round(count * options.width / 8) * 8)

    x = layers.conv(x, channels(32), stride=2)
    plan = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
    plan += [(512, 1)] * options.depth + [(1024, 2), (1024, 1)]
    for count, stride in plan:
        x = layers.depthwise(x, stride=stride)
        x = layers.conv(x, channels(count), kernel=1)
    return x


NETWORK = NetworkKind(options=MobileNetV1, body=_body, inputs=("image", "audio"))
