"""``[model] kind = "tiny_cnn"``: a few convolutions, for pictures and for log-mel windows."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from galago_workstation.training.network_kind import NetworkKind, NetworkOptions
from galago_workstation.training.network_layers import Layers


class TinyCnn(NetworkOptions, frozen=True, kw_only=True, tag="tiny_cnn"):
    """Convolutions that halve the picture and double the channels."""

    filters: Annotated[int, msgspec.Meta(ge=4, le=64)] = 8
    layers: Annotated[int, msgspec.Meta(ge=1, le=4)] = 2


def _body(layers: Layers, x: Any, options: TinyCnn) -> Any:
    for number in range(options.layers):
        x = layers.conv(x, options.filters * 2**number, stride=2)
    return x


NETWORK = NetworkKind(options=TinyCnn, body=_body, inputs=("image", "audio"))
