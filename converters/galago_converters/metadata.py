"""Embedded TFLite metadata: what other tools need to use the same file. Written here, never trusted.

Format: a flatbuffer of ``metadata_schema.fbs`` (tflite-support, also in mediapipe; version 1.3.0 is the first
with audio properties) in a model buffer named ``TFLITE_METADATA``, and a zip archive with the label file
behind the model. Readers of the model ignore what follows it; readers of the zip start at its end.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Sequence
from typing import Literal

import msgspec

from galago_converters.flat import TableReader, TableWriter
from galago_converters.graph_edit import GraphEdit
from galago_converters.inputs import input_spec
from galago_edge.contract.errors import ModelError, Reason
from galago_edge.contract.manifest import AudioPreprocess, ImagePreprocess, Preprocess

ENTRY = "TFLITE_METADATA"
LABELS_FILE = "labels.txt"
INPUT_NAME = "input"
OUTPUT_NAME = "logits"
SCORES_NAME = "scores"

Form = Literal["device", "interop"]
"""``device``: what a bundle holds: logits out, gray pixels or log-mel codes in. ``interop``: scores out, RGB
pixels or samples in, as :mod:`galago_converters.interop` makes it."""

_IDENTIFIER = b"M001"
_PARSER_VERSION = "1.3.0"
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the oldest a zip can say: same model, same bytes

# union members and enum values of metadata_schema.fbs
_FEATURE, _IMAGE, _AUDIO = 1, 2, 4
_NORMALIZATION = 1
_RGB, _GRAYSCALE = 1, 2
_TENSOR_AXIS_LABELS = 2


class EmbeddedMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """What the metadata of a model claims; ``None`` where it claims nothing."""

    name: str
    labels: tuple[str, ...] | None
    mean: tuple[float, ...] | None
    """``(pixel - mean) / std`` is what the model's float form would be fed."""
    std: tuple[float, ...] | None
    sample_rate_hz: int | None
    channels: int | None


def embed(
    model: bytes, *, name: str, labels: Sequence[str], preprocess: Preprocess, form: Form = "device"
) -> bytes:
    """Return the model with metadata, and with its input and output named ``input`` and ``logits``.

    Same arguments, same bytes. The output of an interop model is named ``scores``.

    Raises:
        BundleError: MODEL_BAD; it is not a TFLite file.
        ModelError: MODEL_BAD; the model already carries metadata.
    """
    edit = GraphEdit.of(model)
    if edit.has_metadata(ENTRY):
        raise ModelError(Reason.MODEL_BAD, "the model already carries metadata", hint="convert it again")
    edit.input().name = INPUT_NAME
    edit.output().name = OUTPUT_NAME if form == "device" else SCORES_NAME
    edit.add_metadata(ENTRY, _flatbuffer(name, preprocess, form))
    content = edit.content()
    return content + _zip_tail(labels, offset=len(content))


def _zip_tail(labels: Sequence[str], offset: int) -> bytes:
    info = zipfile.ZipInfo(LABELS_FILE, _ZIP_TIME)
    info.create_system = 3  # else it depends on the machine
    info.external_attr = 0o644 << 16
    # other readers map the label file into memory: stored, not compressed
    with io.BytesIO(bytes(offset)) as file:
        with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED) as archive:
            archive.writestr(info, "".join(f"{label}\n" for label in labels))
        return file.getvalue()[offset:]


def _flatbuffer(name: str, preprocess: Preprocess, form: Form) -> bytes:
    import flatbuffers

    tables = TableWriter(flatbuffers.Builder(1024))
    if isinstance(preprocess, ImagePreprocess):
        inputs = _image_input(tables, preprocess, form)
    else:
        inputs = _audio_input(tables, preprocess, form)
    labels_file = tables.add(
        {0: tables.text(LABELS_FILE), 1: tables.text("one label a line, in output order")},
        int8={2: _TENSOR_AXIS_LABELS},
    )
    outputs = tables.add(
        {
            0: tables.text(OUTPUT_NAME if form == "device" else SCORES_NAME),
            1: tables.text(
                "one logit per label; softmax or sigmoid is applied outside the model"
                if form == "device"
                else "one score per label, from 0 to 1"
            ),
            3: tables.union(_FEATURE, tables.add({})),
            6: tables.vector([labels_file]),
        }
    )
    graph = tables.add({2: tables.vector([inputs]), 3: tables.vector([outputs])})
    model = tables.add(
        {
            0: tables.text(name),
            1: tables.text("int8 classifier made with Galago"),
            3: tables.vector([graph]),
            7: tables.text(_PARSER_VERSION),
        }
    )
    return tables.finish(model, _IDENTIFIER)


def _image_input(tables: TableWriter, preprocess: ImagePreprocess, form: Form) -> int:
    color = _GRAYSCALE if preprocess.color == "gray" and form == "device" else _RGB
    size = tables.add({}, uint32={0: preprocess.width, 1: preprocess.height})
    content = tables.union(_IMAGE, tables.add({1: size}, int8={0: color}))
    # the network rescales pixels itself: it is fed 0 to 255 as they are
    normalization = tables.union(
        _NORMALIZATION, tables.add({0: tables.floats([0.0]), 1: tables.floats([1.0])})
    )
    return tables.add(
        {
            0: tables.text(INPUT_NAME),
            1: tables.text("pixels, 0 to 255"),
            3: content,
            4: tables.vector([normalization]),
            5: tables.add({0: tables.floats([255.0]), 1: tables.floats([0.0])}),
        }
    )


def _audio_input(tables: TableWriter, preprocess: AudioPreprocess, form: Form) -> int:
    spec = input_spec(preprocess)
    if form == "device":
        low, high = (code * spec.scale for code in spec.code_range)
        about = (
            f"log-mel codes of frontend {preprocess.version}, {spec.shape[0]} frames of {spec.shape[1]} "
            "bands, made outside the model; not samples"
        )
    else:
        low, high = -1.0, 1.0
        about = f"{preprocess.window_samples} samples, -1 to 1"
    audio = tables.add({}, uint32={0: preprocess.sample_rate_hz, 1: 1})
    return tables.add(
        {
            0: tables.text(INPUT_NAME),
            1: tables.text(about),
            3: tables.union(_AUDIO, audio),
            5: tables.add({0: tables.floats([high]), 1: tables.floats([low])}),
        }
    )


def read(model: bytes) -> EmbeddedMetadata | None:
    """Return what a model's metadata claims, or None when it carries none.

    Raises:
        ModelError: MODEL_BAD; the metadata is damaged.
    """
    try:
        content = _metadata_buffer(model)
        return None if content is None else _claims(content, _labels(model))
    except (struct.error, IndexError, ValueError, TypeError, OverflowError, zipfile.BadZipFile) as error:
        raise ModelError(
            Reason.MODEL_BAD,
            f"the embedded metadata is damaged: {type(error).__name__}: {error}",
            hint="convert the model again",
        ) from None


def _metadata_buffer(model: bytes) -> bytes | None:
    from ai_edge_litert import schema_py_generated as schema

    root = schema.Model.GetRootAs(model, 0)
    for position in range(root.MetadataLength()):
        entry = root.Metadata(position)
        if entry.Name() == ENTRY.encode():
            content: bytes = root.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
            if content[4:8] != _IDENTIFIER:
                raise ValueError(f"identifier {content[4:8]!r}, expected {_IDENTIFIER!r}")
            return content
    return None


def _labels(model: bytes) -> tuple[str, ...] | None:
    if not zipfile.is_zipfile(io.BytesIO(model)):
        return None
    with zipfile.ZipFile(io.BytesIO(model)) as archive:
        if LABELS_FILE not in archive.namelist():  # other tools write empty archives
            return None
        lines = archive.read(LABELS_FILE).decode("utf-8").split("\n")
    return tuple(lines[:-1] if lines[-1] == "" else lines)


def _claims(content: bytes, labels: tuple[str, ...] | None) -> EmbeddedMetadata:
    root = TableReader.root(content)
    graphs = root.children(3)
    inputs = graphs[0].children(2) if graphs else []
    mean = std = None
    rate = channels = None
    if inputs:
        union = inputs[0].child(3)
        if union is not None and union.number(0, "<B") == _AUDIO and (audio := union.child(1)) is not None:
            rate, channels = audio.number(0, "<I"), audio.number(1, "<I")
        for unit in inputs[0].children(4):
            if unit.number(0, "<B") == _NORMALIZATION and (options := unit.child(1)) is not None:
                mean, std = options.floats(0), options.floats(1)
    return EmbeddedMetadata(
        name=root.text(0), labels=labels, mean=mean, std=std, sample_rate_hz=rate, channels=channels
    )


def cross_check(model: bytes, *, labels: Sequence[str], preprocess: Preprocess) -> None:
    """Refuse a model whose embedded metadata contradicts what the run or the bundle says.

    A model without metadata passes: the metadata is for others, the truth is elsewhere.

    Raises:
        ModelError: LABELS_MISMATCH, PREPROCESS_MISMATCH or, when damaged, MODEL_BAD.
    """
    found = read(model)
    if found is None:
        return
    if found.labels is not None and found.labels != tuple(labels):
        raise ModelError(
            Reason.LABELS_MISMATCH,
            f"the model's embedded labels are {_shown(found.labels)}, expected {_shown(labels)}",
            hint="the file belongs to another run: convert this one again",
        )
    audio = preprocess if isinstance(preprocess, AudioPreprocess) else None
    for what, claimed, expected in (
        ("mean", found.mean, None if audio else (0.0,)),
        ("std", found.std, None if audio else (1.0,)),
        ("sample rate", found.sample_rate_hz, audio.sample_rate_hz if audio else None),
        ("channel count", found.channels, 1 if audio else None),
    ):
        if claimed is not None and claimed != expected:
            raise ModelError(
                Reason.PREPROCESS_MISMATCH,
                f"the model's embedded metadata says {what} {claimed}, the preprocessing {expected}",
                hint="the file belongs to another run: convert this one again",
            )


def _shown(labels: Sequence[str]) -> str:
    more = f" ... ({len(labels)})" if len(labels) > 5 else ""
    return ", ".join(labels[:5]) + more
