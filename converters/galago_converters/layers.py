"""Finds the Keras layer that a tensor or an operator of the converted graph came from."""

from __future__ import annotations

import re
from typing import Any


class LayerNames:
    """The layers of one Keras model by name."""

    def __init__(self, model_name: str = "", names: frozenset[str] = frozenset()) -> None:
        self._model_name = model_name
        self._names = names

    @classmethod
    def of_model(cls, model: Any) -> LayerNames:
        """Collect the names of all layers, nested ones too."""
        return cls(model.name, frozenset(layer.name for layer in all_layers(model) if layer is not model))

    def of(self, path: str) -> str:
        """Return the innermost layer on a graph path, or the path itself when none is known.

        TensorFlow adds ``_1`` to every scope when it traces the model a second time.

        >>> LayerNames("net", frozenset({"conv", "conv_1"})).of("net_1/conv_1_1/BiasAdd;net_1/conv_1_1/add")
        'conv_1'
        """
        scopes = path.partition(";")[0].split("/")
        traced_again = scopes[0] != self._model_name
        for scope in reversed(scopes):
            name = re.sub(r"_\d+$", "", scope) if traced_again else scope
            if name in self._names:
                return name
        return path


def all_layers(model: Any) -> list[Any]:
    """Return the model and every layer below it, outermost first."""
    found = [model]
    for layer in getattr(model, "layers", []):
        found.extend(all_layers(layer))
    return found
