from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from galago_converters import inspection, metadata, quality_gate
from galago_converters.flat import TableReader
from galago_converters.inputs import input_spec
from galago_edge.contract.errors import ModelError, Reason
from galago_edge.contract.manifest import AudioPreprocess, ImagePreprocess
from galago_edge.engine import Engine

IMAGE = ImagePreprocess(width=16, height=16)
AUDIO = AudioPreprocess(window_frames=20, mel_bands=10)
LABELS = ("dark", "mid", "größer")


@pytest.fixture
def embedded(tiny_image_model: bytes) -> bytes:
    return metadata.embed(tiny_image_model, name="levels", labels=LABELS, preprocess=IMAGE)


def test_what_is_written_is_read_back(embedded: bytes, tiny_audio_model: bytes) -> None:
    assert metadata.read(embedded) == metadata.EmbeddedMetadata(
        name="levels", labels=LABELS, mean=(0.0,), std=(1.0,), sample_rate_hz=None, channels=None
    )
    audio = metadata.embed(tiny_audio_model, name="sounds", labels=LABELS, preprocess=AUDIO)
    assert metadata.read(audio) == metadata.EmbeddedMetadata(
        name="sounds", labels=LABELS, mean=None, std=None, sample_rate_hz=16_000, channels=1
    )


def test_other_tools_find_every_field_where_the_schema_has_it(embedded: bytes) -> None:
    """Field numbers of metadata_schema.fbs, written out; mediapipe's displayer prints the same."""
    root = schema.Model.GetRootAs(embedded, 0)
    entries = {root.Metadata(i).Name(): root.Metadata(i).Buffer() for i in range(root.MetadataLength())}
    content = root.Buffers(entries[b"TFLITE_METADATA"]).DataAsNumpy().tobytes()
    assert content[4:8] == b"M001"
    model = TableReader.root(content)
    assert (model.text(0), model.text(7)) == ("levels", "1.3.0")
    (graph,) = model.children(3)
    (image,), (scores,) = graph.children(2), graph.children(3)
    properties = image.child(3)
    assert properties is not None
    assert properties.number(0, "<B") == 2  # ContentProperties.ImageProperties
    details = properties.child(1)
    assert details is not None
    size = details.child(1)
    assert details.number(0, "<b") == 1  # ColorSpaceType.RGB
    assert size is not None
    assert (size.number(0, "<I"), size.number(1, "<I")) == (16, 16)
    (unit,) = image.children(4)
    assert unit.number(0, "<B") == 1  # ProcessUnitOptions.NormalizationOptions
    (file,) = scores.children(6)
    assert (file.text(0), file.number(2, "<b")) == ("labels.txt", 2)  # TENSOR_AXIS_LABELS


def test_labels_lie_in_an_uncompressed_zip_behind_the_model(embedded: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(embedded)) as archive:
        (info,) = archive.infolist()
        assert (info.filename, info.compress_type) == ("labels.txt", zipfile.ZIP_STORED)
        assert archive.read("labels.txt").decode() == "dark\nmid\ngrößer\n"


def test_the_model_computes_what_it_did(tiny_image_model: bytes, embedded: bytes) -> None:
    plain, other = Engine(tiny_image_model), Engine(embedded)
    for seed in range(20):
        pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
        for engine in (plain, other):
            engine.input_view()[...] = pixels
            engine.invoke()
        assert (plain.logits() == other.logits()).all()
    assert (other.input.name, other.output.name) == ("input", "logits")


def test_the_gate_still_passes_it(embedded: bytes) -> None:
    quality_gate.check_int8(inspection.report(embedded), input_spec(IMAGE), labels=3)


def test_same_arguments_same_bytes(tiny_image_model: bytes, embedded: bytes) -> None:
    assert metadata.embed(tiny_image_model, name="levels", labels=LABELS, preprocess=IMAGE) == embedded


def test_weights_stay_aligned_to_16_bytes(embedded: bytes) -> None:
    """Neon loads of unaligned int32 biases end the process on some 32-bit boards."""
    root = schema.Model.GetRootAs(embedded, 0)
    buffers = [root.Buffers(i) for i in range(root.BuffersLength()) if root.Buffers(i).DataLength()]
    starts = [buffer._tab.Vector(buffer._tab.Offset(4)) for buffer in buffers]
    assert len(starts) > 3
    assert {start % 16 for start in starts} == {0}


def test_metadata_is_not_embedded_twice(embedded: bytes) -> None:
    with pytest.raises(ModelError, match="already carries metadata"):
        metadata.embed(embedded, name="levels", labels=LABELS, preprocess=IMAGE)


def test_a_model_without_metadata_claims_nothing(tiny_image_model: bytes) -> None:
    assert metadata.read(tiny_image_model) is None
    metadata.cross_check(tiny_image_model, labels=LABELS, preprocess=IMAGE)


def test_contradictions_are_refused(embedded: bytes, tiny_audio_model: bytes) -> None:
    metadata.cross_check(embedded, labels=LABELS, preprocess=IMAGE)
    with pytest.raises(ModelError, match="embedded labels are dark, mid, größer, expected mid") as caught:
        metadata.cross_check(embedded, labels=("mid", "dark", "größer"), preprocess=IMAGE)
    assert caught.value.reason is Reason.LABELS_MISMATCH
    audio = metadata.embed(tiny_audio_model, name="sounds", labels=LABELS, preprocess=AUDIO)
    with pytest.raises(ModelError, match="sample rate 16000, the preprocessing 8000") as caught:
        metadata.cross_check(audio, labels=LABELS, preprocess=AudioPreprocess(sample_rate_hz=8_000))
    assert caught.value.reason is Reason.PREPROCESS_MISMATCH


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=200)
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_damaged_metadata_is_read_or_refused(embedded: bytes, place: float, value: int) -> None:
    report = schema.Model.GetRootAs(embedded, 0)
    buffer = report.Buffers(report.Metadata(report.MetadataLength() - 1).Buffer())
    start, length = buffer._tab.Vector(buffer._tab.Offset(4)), buffer.DataLength()
    content = bytearray(embedded)
    content[start + int(place * length)] = value
    try:
        metadata.read(bytes(content))
    except ModelError as error:
        assert error.reason is Reason.MODEL_BAD
