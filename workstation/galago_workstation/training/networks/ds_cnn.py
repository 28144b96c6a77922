"""``ds_cnn``: depthwise separable layers for log-mel windows."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from galago_workstation.training.network_kind import Dropout, NetworkKind, NetworkOptions
from galago_workstation.training.network_layers import Layers


class DsCnn(NetworkOptions, frozen=True, kw_only=True, tag="ds_cnn"):
    """Depthwise separable network for log-mel windows (arXiv:1711.07128)."""

    filters: Annotated[int, msgspec.Meta(ge=4, le=512)] = 64
    blocks: Annotated[int, msgspec.Meta(ge=1, le=12)] = 4
    dropout: Dropout = 0.2


def _body(layers: Layers, x: Any, options: DsCnn) -> Any:
    # the first kernel spans 10 frames and 4 bands and halves both axes, as in the paper's small net
    x = layers.conv(x, options.filters, kernel=(10, 4), stride=2)
    for _ in range(options.blocks):
        x = layers.depthwise(x)
        x = layers.conv(x, options.filters, kernel=1)
    return x


NETWORK = NetworkKind(options=DsCnn, body=_body, inputs=("audio",))
