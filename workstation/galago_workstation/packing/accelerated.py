"""Models for accelerators, which go into a bundle beside the CPU's: a vendor's compiler makes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from galago_converters.conversion_record import read_file
from galago_converters.inspection import ModelTensor, report
from galago_edge.bundle import file_entry
from galago_edge.contract.errors import CallerError, ModelError, Reason
from galago_edge.contract.manifest import BackendName, FileEntry, Model, Tensor


@dataclass(frozen=True, slots=True)
class AcceleratedFile:
    """One accelerated form of the model."""

    entry: Model
    """For the manifest."""
    data: bytes | None
    """Content of its file; None when it is the CPU model's own."""


def read_accelerated(specs: Sequence[str], cpu: Model) -> list[AcceleratedFile]:
    """Read what ``--accelerated NAME[=FILE]`` names; without a file the CPU model serves that backend too.

    Raises:
        CallerError: CONFIG_BAD; a name that cannot be, is ``cpu`` or is there twice.
        InputError: RUN_BAD; there is no such file.
        ModelError: TENSOR_MISMATCH; its input or output is not the CPU model's.
        BundleError: MODEL_BAD; it is no TFLite file.
        LinkError: The disk.
    """
    found: list[AcceleratedFile] = []
    for spec in specs:
        name, separator, file = spec.partition("=")
        _check_name(name, [given.entry.backend for given in found])
        if not separator:
            found.append(AcceleratedFile(msgspec.structs.replace(cpu, backend=name), None))
            continue
        data = read_file(Path(file), remedy="compile the int8 model for the accelerator first")
        model = report(data)
        entry = Model(
            file=f"model-{name}.tflite",
            backend=name,
            input=_same(file, "input", model.inputs, cpu.input),
            output=_same(file, "output", model.outputs, cpu.output),
        )
        found.append(AcceleratedFile(entry, data))
    return found


def contents_of(files: Sequence[AcceleratedFile]) -> dict[str, bytes]:
    """Return content by path of those that have a file of their own."""
    return {given.entry.file: given.data for given in files if given.data is not None}


def file_entries(files: Sequence[AcceleratedFile]) -> list[FileEntry]:
    """Return the manifest's entries of those that have a file of their own."""
    return [file_entry(path, "model", data) for path, data in contents_of(files).items()]


def _check_name(name: str, taken: Sequence[str]) -> None:
    try:
        msgspec.convert(name, BackendName)
    except msgspec.ValidationError:
        problem = "is no name of a backend"
    else:
        if name != "cpu" and name not in taken:
            return
        problem = "is given twice" if name in taken else "is the model that every bundle has"
    raise CallerError(
        Reason.CONFIG_BAD,
        f"galago bundle build: --accelerated {name!r} {problem}",
        hint="give NAME=FILE, with NAME as in the device profile's [accelerator.NAME]",
    )


def _same(file: str, role: str, found: Sequence[ModelTensor], wanted: Tensor) -> Tensor:
    """Return the tensor as the manifest states it, if it means the same as the CPU model's."""
    met = [(info.dtype, info.shape, info.scales, info.zero_points) for info in found]
    if met != [(wanted.dtype, wanted.shape, (wanted.scale,), (wanted.zero_point,))]:
        raise ModelError(
            Reason.TENSOR_MISMATCH,
            f"{file}: its {role} is {_words(found)}, the CPU model's is {wanted.dtype} {list(wanted.shape)} "
            f"with scale {wanted.scale:g} and zero point {wanted.zero_point}",
            hint="compile it from the int8 model of this very run",
        )
    return msgspec.structs.replace(wanted, name=found[0].name, index=found[0].index)


def _words(found: Sequence[ModelTensor]) -> str:
    told = [
        f"{info.dtype} {list(info.shape)} with scales {list(info.scales)} and zero points "
        f"{list(info.zero_points)}"
        for info in found
    ]
    return "; ".join(told) or "missing"
