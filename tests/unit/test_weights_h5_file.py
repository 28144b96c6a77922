"""Weights of Keras' H5 files are read exactly, as arrays, and nothing leads out of the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from galago_edge.contract.errors import InputError, LinkError, Reason
from galago_workstation.training.weights.h5_file import read_h5_file

KERNEL = np.arange(54, dtype=np.float32).reshape(3, 3, 3, 2)
NORM = {name: np.full(2, at, np.float32) for at, name in enumerate(("gamma", "beta", "moving_mean"))}


def write(path: Path, *, inside: str = "/", suffix: str = "", layer: str = "Conv1") -> None:
    """Write a convolution, a layer without weights and a norm, as Keras does."""
    with h5py.File(path, "w") as file:
        root = file.require_group(inside)
        root.attrs["layer_names"] = [layer, "relu", "norm"]
        root.create_group(layer).create_dataset(f"{layer}/kernel{suffix}", data=KERNEL)
        root[layer].attrs["weight_names"] = [f"{layer}/kernel{suffix}"]
        root.create_group("relu").attrs["weight_names"] = np.array([], "S1")
        for name, array in NORM.items():
            root.require_group("norm").create_dataset(f"norm/{name}{suffix}", data=array, compression="gzip")
        root["norm"].attrs["weight_names"] = [f"norm/{name}{suffix}".encode() for name in NORM]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.h5"


@pytest.mark.parametrize(
    ("inside", "suffix"), [("/", ":0"), ("/model_weights", "")], ids=["keras2", "keras3"]
)
def test_both_forms_give_layers_and_arrays_in_the_order_of_the_file(
    path: Path, inside: str, suffix: str
) -> None:
    write(path, inside=inside, suffix=suffix)

    first, second = read_h5_file(path)

    assert (first.name, list(first.arrays)) == ("Conv1", ["kernel"])
    np.testing.assert_array_equal(first.arrays["kernel"], KERNEL)
    assert (second.name, list(second.arrays)) == ("norm", list(NORM))
    np.testing.assert_array_equal(second.arrays["beta"], NORM["beta"])


def test_names_in_pieces_and_with_strokes_are_read(path: Path) -> None:
    write(path, layer="block/Conv1")
    with h5py.File(path, "a") as file:
        names = list(file.attrs["layer_names"])
        del file.attrs["layer_names"]
        file.attrs["layer_names0"], file.attrs["layer_names1"] = names[:1], names[1:]

    assert [layer.name for layer in read_h5_file(path)] == ["block/Conv1", "norm"]


def test_what_the_file_says_of_a_model_is_never_looked_at(path: Path) -> None:
    write(path, inside="/model_weights")
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = '{"class_name": "Lambda", "config": {"function": "boom"}}'
        file["model_weights"].attrs["more"] = b"cposix\nsystem\n(S'touch trap'\ntR."

    assert len(read_h5_file(path)) == 2


def soft(file: Any) -> None:
    file["away"] = h5py.SoftLink("/norm")
    file.attrs["layer_names"] = ["away"]


def external(file: Any) -> None:
    file["away"] = h5py.ExternalLink("other.h5", "/norm")
    file.attrs["layer_names"] = ["away"]


def stored_elsewhere(file: Any) -> None:
    del file["Conv1/Conv1/kernel"]
    place = [("/etc/passwd", 0, 216)]
    file["Conv1/Conv1"].create_dataset("kernel", (3, 3, 3, 2), np.float32, external=place)


def virtual(file: Any) -> None:
    del file["Conv1/Conv1/kernel"]
    layout = h5py.VirtualLayout((3,), np.float32)
    layout[:] = h5py.VirtualSource("other.h5", "x", (3,))
    file["Conv1/Conv1"].create_virtual_dataset("kernel", layout)


def lzf(file: Any) -> None:
    del file["Conv1/Conv1/kernel"]
    file["Conv1/Conv1"].create_dataset("kernel", data=KERNEL, compression="lzf")


def whole_numbers(file: Any) -> None:
    del file["Conv1/Conv1/kernel"]
    file["Conv1/Conv1/kernel"] = KERNEL.astype(np.int32)


def huge(file: Any) -> None:
    del file["Conv1/Conv1/kernel"]
    file["Conv1/Conv1"].create_dataset("kernel", (1 << 40,), np.float32, compression="gzip")


def nameless(file: Any) -> None:
    del file.attrs["layer_names"]


def gone(file: Any) -> None:
    file.attrs["layer_names"] = ["Conv1", "Conv2"]


def through_an_array(file: Any) -> None:
    file["Conv1"].attrs["weight_names"] = ["Conv1/kernel/kernel"]


def twice(file: Any) -> None:
    file["Conv1"].create_dataset("more/kernel", data=KERNEL)
    file["Conv1"].attrs["weight_names"] = ["Conv1/kernel", "more/kernel"]


def numbers_as_names(file: Any) -> None:
    file.attrs["layer_names"] = [1, 2]


CHANGES: list[tuple[Callable[[Any], None], str]] = [
    (soft, "away is missing, or a link"),
    (external, "away is missing, or a link"),
    (stored_elsewhere, "lies in another file"),
    (virtual, "lies in another file"),
    (lzf, "packed in a way"),
    (whole_numbers, "no array of floats"),
    (huge, "larger than 1 GiB"),
    (nameless, "no layer_names"),
    (gone, "Conv2 is missing"),
    (through_an_array, "leads through an array"),
    (twice, "kernel twice"),
    (numbers_as_names, "are no names"),
]


@pytest.mark.parametrize(("change", "said"), CHANGES, ids=lambda one: getattr(one, "__name__", ""))
def test_what_is_no_array_in_the_file_itself_is_refused(
    path: Path, change: Callable[[Any], None], said: str
) -> None:
    write(path)
    with h5py.File(path, "a") as file:
        change(file)

    with pytest.raises(InputError, match=said) as caught:
        read_h5_file(path)

    assert caught.value.reason == Reason.WEIGHTS_BAD


@pytest.mark.parametrize("kept", [0, 4, 600, 1_500])
def test_a_file_that_is_cut_off_is_refused_in_one_line(path: Path, kept: int) -> None:
    write(path)
    path.write_bytes(path.read_bytes()[:kept])

    with pytest.raises(InputError, match="damaged or no HDF5 file") as caught:
        read_h5_file(path)

    assert caught.value.reason == Reason.WEIGHTS_BAD
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_says_so(path: Path) -> None:
    with pytest.raises(LinkError):
        read_h5_file(path)
