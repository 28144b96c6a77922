"""Weights of a Keras ``.h5`` file, read as arrays and nothing else.

Such a file may also hold a whole model, whose configuration Keras can run code from (``Lambda``). Here only
what ``weight_names`` lists is looked at, and only floats that lie in the file itself: links to elsewhere,
storage in other files and filters other than gzip are refused, so that reading opens no other file and loads
no code.

The form is Keras' own, ``keras/src/legacy/saving/legacy_h5_format.py``: groups named in ``layer_names``, each
with arrays named in ``weight_names``, in the root or in ``model_weights``.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import InputError, Reason, disk_error

H5_SUFFIXES = (".h5", ".hdf5")
_LARGEST_BYTES = 1 << 30
"""Of the file, and of what it unpacks to."""
_MOST_NAMES = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class KerasLayer:
    """A layer that has weights."""

    name: str
    arrays: dict[str, npt.NDArray[np.float32]]
    """By what they are to the layer: ``kernel``, ``gamma`` and so on, in the order of the file."""


class _RefusedError(Exception):
    """What was met in the file that is not allowed there."""


def read_h5_file(path: Path) -> list[KerasLayer]:
    """Return the layers that have weights, in the order of the file, which is the model's.

    Args:
        path: What Keras 2 wrote as weights or as a model, or ``model.save("FILE.h5")`` of Keras 3.

    Raises:
        InputError: WEIGHTS_BAD; it is no such file, is damaged, leads to other files, or holds arrays that
            are no floats.
        LinkError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
    import h5py

    try:
        if len(content) > _LARGEST_BYTES:
            raise _RefusedError(f"it is larger than {_LARGEST_BYTES >> 30} GiB")
        with h5py.File(io.BytesIO(content), "r") as opened:
            return list(_layers(h5py, opened))
    except _RefusedError as error:
        raise _unreadable(path, str(error)) from None
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError):  # of the HDF5 library
        raise _unreadable(path, "it is damaged or no HDF5 file") from None


def _unreadable(path: Path, what: str) -> InputError:
    return InputError(
        Reason.WEIGHTS_BAD,
        f"{path} holds no weights that can be read: {what}",
        hint='expected a weights file of Keras applications, or what model.save("FILE.h5") writes',
    )


def _layers(h5py: Any, file: Any) -> Iterator[KerasLayer]:
    root = _inside(h5py, file, "model_weights") if "model_weights" in file else file
    left = _LARGEST_BYTES
    for layer in _names(root, "layer_names"):
        group = _inside(h5py, root, layer)
        arrays: dict[str, npt.NDArray[np.float32]] = {}
        for name in _names(group, "weight_names"):
            dataset = _inside(h5py, group, name)
            _check(h5py, dataset, f"{layer}/{name}")
            left -= int(dataset.nbytes)
            if left < 0:
                raise _RefusedError(f"its arrays are larger than {_LARGEST_BYTES >> 30} GiB")
            part = name.rpartition("/")[2].partition(":")[0]
            if part in arrays:
                raise _RefusedError(f"layer {layer} has {part} twice: a model inside a model is not taken")
            arrays[part] = np.asarray(dataset[()], np.float32)
        if arrays:
            yield KerasLayer(layer, arrays)


def _names(group: Any, name: str) -> list[str]:
    """Return a list of names; Keras divides one that is longer than 64 KiB into ``name0``, ``name1`` ..."""
    attributes = group.attrs
    if name in attributes:
        found = list(attributes[name])
    else:
        found, number = [], 0
        while f"{name}{number}" in attributes:
            found += list(attributes[f"{name}{number}"])
            number += 1
        if not number:
            raise _RefusedError(f"it has no {name}, which Keras writes")
    if len(found) > _MOST_NAMES:
        raise _RefusedError(f"its {name} are {len(found)}, expected at most {_MOST_NAMES}")
    names = [one.decode() if isinstance(one, bytes) else one for one in found]
    if not all(isinstance(one, str) and one for one in names):
        raise _RefusedError(f"its {name} are no names")
    return names


def _inside(h5py: Any, group: Any, path: str) -> Any:
    """Return what lies at a path below a group, reached without leaving the file."""
    for part in path.split("/"):
        if not isinstance(group, h5py.Group):
            raise _RefusedError(f"{path} leads through an array")
        if not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise _RefusedError(f"{path} is missing, or a link")
        group = group[part]
    return group


def _check(h5py: Any, dataset: Any, name: str) -> None:
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind != "f" or dataset.shape is None:
        raise _RefusedError(f"{name} is no array of floats")
    if dataset.external or dataset.is_virtual:
        raise _RefusedError(f"{name} lies in another file")
    kinds = dataset.id.get_create_plist()
    known = (h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32)
    if any(kinds.get_filter(number)[0] not in known for number in range(kinds.get_nfilters())):
        raise _RefusedError(f"{name} is packed in a way that is not taken")
