"""From a converted, evaluated run to one signed bundle.

Nothing is measured here and no clock is read: the same run, options and keys give the same bytes. What
goes in was computed by the device's own code, and the finished file is opened, run and attacked as on a
device before it takes its place.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import UNSET

import galago_workstation
from galago_converters import metadata
from galago_converters.conversion_record import (
    CONVERTED_FOLDER,
    INT8_FILE,
    Conversion,
    read_conversion,
    read_file,
)
from galago_converters.inspection import report
from galago_converters.quality_gate import check_loss
from galago_devices import names, profile
from galago_edge.bundle import file_entry
from galago_edge.bundle.allowed_doubts import ALLOWED_KEY, Allowed
from galago_edge.bundle.bundle_place import check_bundle_place
from galago_edge.bundle.compatibility import unsupported_ops
from galago_edge.bundle.keys import read_private_key
from galago_edge.bundle.weights_origin import WEIGHTS_KEY
from galago_edge.contract.errors import CallerError, DeviceError, InputError, ModelError, Reason
from galago_edge.contract.manifest import (
    AudioPreprocess,
    BundleInfo,
    BundleName,
    Compatibility,
    FileEntry,
    Manifest,
    Model,
    Natural,
    PreprocessEntry,
    Provenance,
    Version,
)
from galago_edge.contract.profile import DeviceProfile
from galago_edge.pipeline.isolated_load import board_memory_bytes
from galago_edge.preprocess import FrontendTables, fingerprint
from galago_workstation.evaluation.evaluation_record import Evaluation, read_evaluation
from galago_workstation.evaluation.model_doubts import ModelDoubt, doubts_of, refuse_doubtful
from galago_workstation.packing.accelerated import (
    AcceleratedFile,
    contents_of,
    file_entries,
    read_accelerated,
)
from galago_workstation.packing.golden_choice import ChosenGolden, choose_golden
from galago_workstation.packing.sealing import Sealed, seal
from galago_workstation.run_folder import CONFIG_FILE, MODEL_FILE, Run

MODEL_PATH = "model.tflite"
MIN_RUNTIME_VERSION = "0.1.0"
"""Oldest galago-edge that knows ``image/1``, ``logmel/1``, ``logmel/2`` and every field of the manifest."""
_BLOCK_BYTES = 4096


class BuildOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the run does not know."""

    name: BundleName
    version: Version
    release_counter: Natural
    channel: BundleName = "stable"
    description: str = ""
    build_id: Annotated[str, msgspec.Meta(max_length=200)] = ""
    allow: Annotated[str, msgspec.Meta(max_length=500)] = ""
    """Why the bundle shall be built although something grave speaks against the model; it is kept there."""
    devices: tuple[str, ...] = ()
    """Boards that must be able to take it; none named: every board of the catalogue that can."""


_OPTION_TYPES = {field.name: field.type for field in msgspec.structs.fields(BuildOptions)}
_A_NAME = "a letter, then letters, digits and dashes, all lower-case and 40 at most"
_WANTED = {
    "name": _A_NAME,
    "version": "three numbers, such as 1.4.0",
    "release_counter": "a whole number below 2**53",
    "channel": _A_NAME,
    "description": "a text",
    "build_id": "a text of at most 200 characters",
    "allow": "a text of at most 500 characters",
    "devices": "the names of boards",
}


@dataclass(frozen=True, slots=True)
class Packed(Sealed):
    """A finished bundle."""

    not_for: dict[str, str]
    """Boards of the catalogue that cannot take it, and everything that they lack."""
    doubts: tuple[ModelDoubt, ...]
    """What speaks against the model."""


@dataclass(frozen=True, slots=True)
class _Contents:
    """What becomes the files of the bundle."""

    model: bytes
    tables: dict[str, bytes]
    golden: Sequence[ChosenGolden]
    accelerated: Sequence[AcceleratedFile]

    def files(self) -> dict[str, bytes]:
        """Content by path, in archive order."""
        samples = {chosen.golden.file: chosen.data for chosen in self.golden}
        return {MODEL_PATH: self.model, **contents_of(self.accelerated), **self.tables, **samples}

    def entries(self) -> tuple[FileEntry, ...]:
        """The manifest's list of the same."""
        return (
            file_entry(MODEL_PATH, "model", self.model),
            *file_entries(self.accelerated),
            *(file_entry(path, "frontend", data) for path, data in self.tables.items()),
            *(file_entry(chosen.golden.file, "golden", chosen.data) for chosen in self.golden),
        )


def build_options(run: Path, **given: object) -> BuildOptions:
    """Fill in what was left out (None): the name from the run's folder, the counter from the version.

    Raises:
        CallerError: CONFIG_BAD; a value that cannot be.
    """
    values = {key: value for key, value in given.items() if value is not None}
    values.setdefault("name", re.sub(r"[^a-z0-9]+", "-", run.resolve().name.lower()).strip("-"))
    values.setdefault("version", "1.0.0")
    if "release_counter" not in values:
        values["release_counter"] = counter_of(str(values["version"]))
    for option, value in values.items():
        try:
            msgspec.convert(value, _OPTION_TYPES[option])
        except msgspec.ValidationError:
            raise CallerError(
                Reason.CONFIG_BAD,
                f"galago bundle build: {value!r} cannot be the {option.replace('_', ' ')} of a bundle",
                hint=f"give --{option.replace('_', '-')} as {_WANTED[option]}",
            ) from None
    return msgspec.convert(values, BuildOptions)


def counter_of(version: str) -> int:
    """Return a release counter that grows with the version.

    >>> counter_of("1.4.12")
    1004012

    Raises:
        CallerError: CONFIG_BAD; not a version of three numbers, or minor or patch above 999.
    """
    match = re.fullmatch(r"([0-9]{1,6})\.([0-9]{1,3})\.([0-9]{1,3})", version)
    if match is None:
        raise CallerError(
            Reason.CONFIG_BAD,
            f"no release counter follows from version {version!r}, only from such as 1.4.12",
            hint="give one: --release-counter N, higher than that of every bundle before",
        )
    major, minor, patch = map(int, match.groups())
    return major * 1_000_000 + minor * 1_000 + patch


def build_bundle(
    run_path: Path,
    options: BuildOptions,
    keys: Sequence[Path],
    out: Path,
    *,
    accelerated: Sequence[str] = (),
    replace: bool = False,
) -> Packed:
    """Pack, sign, reopen and try a bundle; ``out`` is replaced only when all of it went well.

    ``accelerated``: ``NAME=FILE``, or ``NAME`` for an accelerator that takes the CPU model as it is.
    ``replace``: even if ``out`` is another bundle.

    Raises:
        InputError: RUN_BAD; the run is not converted or evaluated, its files do not fit each other, or its
            configuration or network is not the one that training left.
        DeviceError: OP_UNSUPPORTED or MEMORY; a named board, or every board, lacks an operator or memory.
        ModelError: MODEL_DOUBTFUL; something grave speaks against the model, and nobody has said why it
            shall be built. No test sample is answered right, or the model is not what its conversion says;
            TAMPER_MISSED, this machine would take altered copies of the bundle.
        BundleError: A device would refuse the result.
        CallerError: A key or a board that is none. EXISTS; ``out`` is no bundle, or another one.
        LinkError: The disk.
    """
    check_bundle_place(out)
    private_keys = [read_private_key(path) for path in keys]
    run = Run.open(run_path)
    run.check_untouched()
    conversion, evaluation = read_conversion(run_path), read_evaluation(run_path)
    _check_labels(run, conversion, evaluation)
    _check_origin(run, conversion, evaluation)
    doubts = doubts_of(run, evaluation)
    if not options.allow:
        refuse_doubtful(run, doubts)
    model = read_file(run_path / CONVERTED_FOLDER / INT8_FILE, remedy=f"galago convert {run_path}")
    _check_model(run, conversion, model)
    boards, not_for = _boards(conversion, evaluation, options.devices)
    cpu = Model(file=MODEL_PATH, input=conversion.input, output=conversion.output)
    contents = _Contents(model, _tables(run), choose_golden(run, model), read_accelerated(accelerated, cpu))
    manifest = _manifest(run, options, conversion, evaluation, boards, contents)
    extra: dict[str, object] = {} if run.record.weights is UNSET else {WEIGHTS_KEY: run.record.weights}
    if options.allow:
        grave = tuple(doubt.text for doubt in doubts if doubt.refuses)
        extra[ALLOWED_KEY] = Allowed(reason=options.allow, doubts=grave)
    sealed = seal(out, manifest, contents.files(), private_keys, extra=extra, replace=replace)
    return Packed(
        path=sealed.path, bundle=sealed.bundle, attacks=sealed.attacks, not_for=not_for, doubts=doubts
    )


def _check_labels(run: Run, conversion: Conversion, evaluation: Evaluation) -> None:
    for what, labels in (("converted", conversion.labels), ("evaluated", evaluation.labels)):
        if labels != run.labels:
            raise InputError(
                Reason.RUN_BAD,
                f"{run.path} was {what} with other labels than it was trained with",
                hint=f"galago convert {run.path} && galago evaluate {run.path}",
            )


def _check_origin(run: Run, conversion: Conversion, evaluation: Evaluation) -> None:
    """Refuse what was converted from, or with, something else than lies in the run; it is as trained."""
    network = hashlib.sha256(read_file(run.path / MODEL_FILE, remedy="galago train")).hexdigest()
    for what, name, then, now in (
        ("converted", MODEL_FILE, conversion.model_sha256, network),
        ("converted", CONFIG_FILE, conversion.config_sha256, run.record.config_sha256),
        ("evaluated", MODEL_FILE, evaluation.model_sha256, network),
    ):
        if then is not UNSET and then != now:  # older conversions do not say which configuration it was
            raise InputError(
                Reason.RUN_BAD,
                f"{run.path} was {what} with another {name} than the one it was trained with",
                hint=f"galago convert {run.path} && galago evaluate {run.path}",
            )


def _check_model(run: Run, conversion: Conversion, model: bytes) -> None:
    """Believe the model, not the record: operators and embedded metadata are read from the file."""
    found = report(model)
    if found.custom:
        raise ModelError(
            Reason.OP_UNSUPPORTED,
            f"{run.path}: the int8 model uses {', '.join(found.custom)}, which no TFLite runtime has",
            hint=f"galago convert {run.path}; an accelerator's compiled model goes into --accelerated",
        )
    if found.operators != conversion.ops:
        raise ModelError(
            Reason.MODEL_BAD,
            f"{run.path}: the int8 model has other operators than its conversion.json says",
            hint=f"galago convert {run.path}",
        )
    held_out = conversion.held_out
    check_loss(
        accuracy_float=held_out.accuracy_float,
        accuracy_int8=held_out.accuracy_int8,
        max_loss_points=held_out.max_loss_points,
        samples=held_out.samples,
    )
    metadata.cross_check(model, labels=run.labels, preprocess=run.preprocess)


def _boards(
    conversion: Conversion, evaluation: Evaluation, wanted: Sequence[str]
) -> tuple[list[DeviceProfile], dict[str, str]]:
    """Return the boards that can run the model, and of the others everything that they lack."""
    fitting: list[DeviceProfile] = []
    lacking: dict[str, list[tuple[Reason, str]]] = {}
    for board in map(profile, dict.fromkeys(wanted or names())):
        if found := list(_lacking(conversion, evaluation, board)):
            lacking[board.id] = found
        else:
            fitting.append(board)
    not_for = {board: "; ".join(text for _, text in found) for board, found in lacking.items()}
    if lacking and (wanted or not fitting):
        reason = next(reason for found in lacking.values() for reason, _ in found)
        raise DeviceError(
            reason,
            ". ".join(f"{board}: {text}" for board, text in not_for.items()),
            hint="name other boards, or train another model",
        )
    return fitting, not_for


def _lacking(
    conversion: Conversion, evaluation: Evaluation, board: DeviceProfile
) -> Iterator[tuple[Reason, str]]:
    for text in unsupported_ops(conversion.ops, board.runtime):
        yield Reason.OP_UNSUPPORTED, text
    if evaluation.rss_peak_bytes > board.ram_mb << 20:
        needed = evaluation.rss_peak_bytes >> 20
        yield Reason.MEMORY, f"the model needs {needed} MB of memory, the board has {board.ram_mb}"
    heap, most = evaluation.engine_heap_bytes, board_memory_bytes(board)
    if heap is not UNSET and heap > most:  # the board itself would say so, when it is there to be asked
        yield (
            Reason.MEMORY,
            f"loading the model takes {heap / 1e6:.0f} MB, the board allows {most / 1e6:.0f}",
        )


def _tables(run: Run) -> dict[str, bytes]:
    spec = run.preprocess
    if not isinstance(spec, AudioPreprocess):
        return {}
    return {f"frontend/{name}": data for name, data in FrontendTables.build(spec).files().items()}


def _manifest(
    run: Run,
    options: BuildOptions,
    conversion: Conversion,
    evaluation: Evaluation,
    boards: Sequence[DeviceProfile],
    contents: _Contents,
) -> Manifest:
    entries = contents.entries()
    return Manifest(
        bundle=BundleInfo(
            name=options.name,
            version=options.version,
            release_counter=options.release_counter,
            channel=options.channel,
            created_utc=conversion.created_utc,
            producer=f"galago {galago_workstation.__version__}",
            description=options.description,
        ),
        modality=run.modality,
        compat=Compatibility(
            device_profiles=tuple(board.id for board in boards),
            arch=tuple(sorted({board.arch for board in boards})),
            min_runtime_version=MIN_RUNTIME_VERSION,
            ops=conversion.ops,
            features=_features(run),
        ),
        model=(
            Model(file=MODEL_PATH, input=conversion.input, output=conversion.output),
            *(given.entry for given in contents.accelerated),
        ),
        preprocess=PreprocessEntry(
            spec=run.preprocess, sha256=fingerprint(run.preprocess), tables=tuple(contents.tables)
        ),
        labels=run.label_specs(),
        decision=run.config.decision.decision(),
        gate=run.config.gate,
        golden=tuple(chosen.golden for chosen in contents.golden),
        resources=evaluation.resources(min_free_disk_bytes=_on_disk(entries)),
        data=evaluation.data_summary(),
        provenance=Provenance(
            build_id=options.build_id,
            trained_utc=run.record.created_utc,
            trained_by=run.record.producer,
            seed=run.record.seed,
            config_sha256=run.record.config_sha256,
            model_sha256=conversion.model_sha256,
            float_sha256=conversion.float_sha256,
            float_delta=conversion.float_delta,
            versions=dict(sorted(conversion.versions.items())),
            measured_with=evaluation.runtime,
        ),
        files=entries,
    )


def _features(run: Run) -> tuple[str, ...]:
    """Return what the device's runtime must know."""
    gate = run.config.gate
    return (run.preprocess.version,) if gate is UNSET else (run.preprocess.version, gate.version)


def _on_disk(entries: Sequence[FileEntry]) -> int:
    """Return what the files take on a disk with blocks of 4 KiB."""
    return sum(-(-entry.size // _BLOCK_BYTES) * _BLOCK_BYTES for entry in entries)
