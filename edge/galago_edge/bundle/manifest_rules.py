"""What a manifest must say beyond its types: that its parts fit each other.

Nothing here opens a file. That the model and the frontend really are what the manifest says is
checked where they are loaded (``galago_edge.pipeline``).
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import UNSET

from galago_edge.contract.errors import BundleError, Reason
from galago_edge.contract.manifest import (
    AudioPreprocess,
    Golden,
    ImagePreprocess,
    Label,
    Manifest,
    Model,
    MotionGate,
    PreprocessEntry,
    Tensor,
)
from galago_edge.contract.printable import hidden_character

BUNDLE_LIMIT_BYTES = 256 * 1024 * 1024
"""A device reads files whole; a Galago model has a few megabytes."""
RESERVED_NAMES = {"manifest.json", "manifest.sig", "accepted.json"}
INPUT_QUANTIZATION = {
    "image/1": ("uint8", "NHWC", 1.0, 0),
    "logmel/1": ("int8", "NTF", 1 / 64, 0),
    "logmel/2": ("int8", "NTF", 1 / 64, 0),
}
"""dtype, layout, scale and zero point that every model of a preprocessing version has at its input."""
_DTYPE_RANGE = {"uint8": (0, 255), "int8": (-128, 127)}
_OUTPUT_LAYOUT = "NC"

Complaint = tuple[Reason, str]


def check_meaning(manifest: Manifest, where: str) -> None:
    """Refuse a manifest whose parts contradict each other.

    Raises:
        BundleError: MANIFEST_BAD, TOO_BIG, LABELS_MISMATCH, TENSOR_MISMATCH or PREPROCESS_MISMATCH.
    """
    for check in (_files, _preprocess, _labels, _models, _gate, _golden, _figures):
        for reason, text in check(manifest):
            raise BundleError(
                reason,
                f"{where}: manifest.json: {text}",
                hint="the bundle contradicts itself: build it again with galago bundle build",
            )


def _files(manifest: Manifest) -> Iterator[Complaint]:
    roles = {entry.path: entry.role for entry in manifest.files}
    if len(roles) != len(manifest.files):
        yield Reason.MANIFEST_BAD, "files: a path is listed twice"
    for path in roles:
        if path in RESERVED_NAMES:
            yield Reason.MANIFEST_BAD, f"files: the name {path} is taken by the format itself"
        if any(other.startswith(path + "/") for other in roles):
            yield Reason.MANIFEST_BAD, f"files: {path} is a file and a folder"
    total = sum(entry.size for entry in manifest.files)
    if total > BUNDLE_LIMIT_BYTES:
        yield Reason.TOO_BIG, f"files: {total} bytes together, at most {BUNDLE_LIMIT_BYTES} are allowed"
    # one file may serve several backends: many delegates take the CPU's model as it is
    references = [(file, "model") for file in dict.fromkeys(model.file for model in manifest.model)]
    references += [(path, "frontend") for path in manifest.preprocess.tables]
    references += [(golden.file, "golden") for golden in manifest.golden]
    for path, role in references:
        if roles.get(path) != role:
            yield (
                Reason.MANIFEST_BAD,
                f"{path} is used as {role}, files lists it as {roles.get(path, 'nothing')}",
            )
    if len({path for path, _ in references}) != len(references):
        yield Reason.MANIFEST_BAD, "a file is used twice"
    unused = {path for path, role in roles.items() if role in ("model", "frontend", "golden")}
    for path in sorted(unused - {path for path, _ in references}):
        yield Reason.MANIFEST_BAD, f"files: nothing uses {path} ({roles[path]})"


def _preprocess(manifest: Manifest) -> Iterator[Complaint]:
    spec = manifest.preprocess.spec
    wanted = "camera" if isinstance(spec, ImagePreprocess) else "microphone"
    if manifest.modality != wanted:
        yield Reason.PREPROCESS_MISMATCH, f"modality is {manifest.modality}, preprocess is for {wanted}"
    if isinstance(spec, AudioPreprocess) and not spec.fmin_hz < spec.fmax_hz <= spec.sample_rate_hz / 2:
        yield (
            Reason.PREPROCESS_MISMATCH,
            f"preprocess: {spec.fmin_hz} to {spec.fmax_hz} Hz is no band at {spec.sample_rate_hz} Hz",
        )
    if spec.version not in manifest.compat.features:
        yield Reason.MANIFEST_BAD, f"compat.features does not name {spec.version}, which preprocess needs"


def _labels(manifest: Manifest) -> Iterator[Complaint]:
    names: set[str] = set()
    for label in manifest.labels:
        if label.name in names:
            yield Reason.LABELS_MISMATCH, f"labels: {label.name!r} is there twice"
        if hidden := hidden_character(label.name):
            yield Reason.MANIFEST_BAD, f"labels: {label.name!a} holds {hidden}, which nobody sees"
        if label.policy.off > label.policy.on:
            yield Reason.MANIFEST_BAD, f"labels: {_off_above_on(label)}"
        names.add(label.name)
    for name in manifest.data.recall_int8:
        if name not in names:
            yield Reason.LABELS_MISMATCH, f"data.recall_int8: {name!r} is no label"


def _off_above_on(label: Label) -> str:
    return f"{label.name!r} turns off at {label.policy.off}, above {label.policy.on} where it turns on"


def _models(manifest: Manifest) -> Iterator[Complaint]:
    first = manifest.model[0]
    if first.backend != "cpu":
        yield (
            Reason.MANIFEST_BAD,
            f"model[0].backend is {first.backend}; the first model is the one for the cpu",
        )
    backends: set[str] = set()
    for number, model in enumerate(manifest.model):
        if model.backend in backends:
            yield Reason.MANIFEST_BAD, f"model[{number}].backend: there are two models for {model.backend}"
        backends.add(model.backend)
        for reason, text in _tensors(model, manifest.preprocess, len(manifest.labels)):
            yield reason, f"model[{number}].{text}"
        if (met := _quantization(model.output)) != (wanted := _quantization(first.output)):
            yield (
                Reason.TENSOR_MISMATCH,
                f"model[{number}].output: {met}, that of the first model is {wanted}",
            )


def _tensors(model: Model, preprocess: PreprocessEntry, labels: int) -> Iterator[Complaint]:
    spec = preprocess.spec
    dtype, layout, scale, zero_point = INPUT_QUANTIZATION[spec.version]
    if isinstance(spec, ImagePreprocess):
        shape: tuple[int, ...] = (1, spec.height, spec.width, 3 if spec.color == "rgb" else 1)
    else:
        shape = (1, spec.window_frames, spec.mel_bands)
    given = model.input
    if given.shape != shape:
        yield Reason.TENSOR_MISMATCH, f"input: shape {list(given.shape)}, preprocess gives {list(shape)}"
    met = (given.dtype, given.layout, given.scale, given.zero_point)
    if met != (dtype, layout, scale, zero_point):
        yield (
            Reason.TENSOR_MISMATCH,
            f"input: {_numbers(*met)}, preprocess {spec.version} gives "
            f"{_numbers(dtype, layout, scale, zero_point)}",
        )
    output = model.output
    if output.dtype != "int8" or output.layout != _OUTPUT_LAYOUT:
        yield (
            Reason.TENSOR_MISMATCH,
            f"output: {output.dtype} {output.layout}, int8 {_OUTPUT_LAYOUT} logits are needed",
        )
    if output.shape != (1, labels):
        yield (
            Reason.LABELS_MISMATCH,
            f"output: shape {list(output.shape)} for {labels} labels, [1, {labels}] is needed",
        )
    low, high = _DTYPE_RANGE["int8"]
    if not low <= output.zero_point <= high:
        yield Reason.TENSOR_MISMATCH, f"output: zero point {output.zero_point} is no int8"


def _quantization(tensor: Tensor) -> str:
    return f"scale {tensor.scale} and zero point {tensor.zero_point}"


def _numbers(dtype: str, layout: str, scale: float, zero_point: int) -> str:
    return f"{dtype} {layout} with scale {scale} and zero point {zero_point}"


def _gate(manifest: Manifest) -> Iterator[Complaint]:
    gate = manifest.gate
    if gate is UNSET:
        return
    wanted = "camera" if isinstance(gate, MotionGate) else "microphone"
    if manifest.modality != wanted:
        yield Reason.MANIFEST_BAD, f"gate: {gate.version} is for a {wanted}, modality is {manifest.modality}"
    if gate.version not in manifest.compat.features:
        yield Reason.MANIFEST_BAD, f"compat.features does not name {gate.version}, which gate needs"


def _golden(manifest: Manifest) -> Iterator[Complaint]:
    names = {label.name for label in manifest.labels}
    for number, golden in enumerate(manifest.golden):
        if golden.label not in names:
            yield Reason.LABELS_MISMATCH, f"golden[{number}]: {golden.label!r} is no label"
        for text in _expected(golden, len(names)):
            yield Reason.MANIFEST_BAD, f"golden[{number}].expected: {text}"


def _expected(golden: Golden, labels: int) -> Iterator[str]:
    logits, argmax = golden.expected.logits, golden.expected.argmax
    low, high = _DTYPE_RANGE["int8"]
    if len(logits) != labels:
        yield f"{len(logits)} logits for {labels} labels"
    elif not all(low <= code <= high for code in logits):
        yield "a logit is no int8"
    elif argmax >= labels or logits[argmax] != max(logits):
        yield f"argmax {argmax} is not where the largest logit is"


def _figures(manifest: Manifest) -> Iterator[Complaint]:
    sizes = {entry.path: entry.size for entry in manifest.files}
    size = sizes[manifest.model[0].file]
    if manifest.resources.model_bytes != size:
        yield (
            Reason.MANIFEST_BAD,
            f"resources.model_bytes is {manifest.resources.model_bytes}, the model has {size}",
        )
    kinds = [(op.name, op.version) for op in manifest.compat.ops]
    if len(set(kinds)) != len(kinds):
        yield Reason.MANIFEST_BAD, "compat.ops: an operator is listed twice"
    if not manifest.health.golden_required:
        yield Reason.MANIFEST_BAD, "health.golden_required is false; no device leaves the golden samples out"
    if not manifest.compat.arch:
        yield Reason.MANIFEST_BAD, "compat.arch names no machine"
    floor = manifest.rollback.min_release_counter_after_commit
    if floor > manifest.bundle.release_counter:
        yield (
            Reason.MANIFEST_BAD,
            f"rollback would set the floor to {floor}, this release is {manifest.bundle.release_counter}",
        )
