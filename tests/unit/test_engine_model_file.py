"""What is not a TFLite file is refused before a native loader can die of it."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

import flatbuffers
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.errors import BundleError, Reason
from galago_edge.engine import check_model_file
from galago_edge.engine.model_file import IDENTIFIER


def changed(model: bytes, change: Callable[[Any], None]) -> bytes:
    """Return the model with one thing different, written again by the reference library."""
    table = schema.ModelT.InitFromPackedBuf(model, 0)
    change(table)
    builder = flatbuffers.Builder(4096)
    builder.Finish(table.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def refusal(model: bytes) -> str:
    with pytest.raises(BundleError) as info:
        check_model_file(model)
    assert info.value.reason is Reason.MODEL_BAD
    assert "\n" not in str(info.value)
    return str(info.value)


def test_real_models_pass(tiny_image_model: bytes, tiny_audio_model: bytes, block_model: bytes) -> None:
    for model in (tiny_image_model, tiny_audio_model, block_model):
        check_model_file(model)
        check_model_file(changed(model, lambda table: None))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "0 bytes"),
        (b"TFL3", "4 bytes"),
        (b"\x1c\0\0\0TFL", "7 bytes"),
        (b"hello, I am a text file\n" * 9, "216 bytes that begin b'hello, I'"),
        (b"\x1c\0\0\0TFL2" + bytes(100), "108 bytes that begin"),
    ],
    ids=["empty", "4 bytes", "7 bytes", "text", "other identifier"],
)
def test_what_is_no_tflite_file_is_called_that(data: bytes, found: str) -> None:
    assert f"the model is not a TFLite file: {found}" in refusal(data)


def test_what_was_checked_is_known_by_its_content_and_what_differs_is_checked(
    tiny_image_model: bytes,
) -> None:
    check_model_file(tiny_image_model)
    check_model_file(bytes(bytearray(tiny_image_model)))
    refusal(tiny_image_model[:-1_000])
    refusal(tiny_image_model[:-1_000])  # what was refused is not taken the next time
    check_model_file(tiny_image_model)


def test_every_truncation_is_noticed(tiny_image_model: bytes) -> None:
    """Offsets point forward to what was written before them, so every cut loses something."""
    for length in range(8, len(tiny_image_model) - 3):  # the last bytes are padding
        assert "is damaged or truncated" in refusal(tiny_image_model[:length])


def test_header_without_tables() -> None:
    assert "is damaged or truncated" in refusal(b"\x08\0\0\0TFL3")
    assert "is damaged or truncated" in refusal(b"\xff\xff\xff\xffTFL3" + bytes(64))


def root_vtable(model: bytes) -> int:
    [root] = struct.unpack_from("<I", model)
    [back] = struct.unpack_from("<i", model, root)
    return int(root - back)


def test_a_table_that_ends_before_its_fields(tiny_image_model: bytes) -> None:
    damaged = bytearray(tiny_image_model)
    struct.pack_into("<H", damaged, root_vtable(tiny_image_model) + 2, 4)
    assert "a field of the table at byte 28 lies behind its end" in refusal(bytes(damaged))


def test_a_vtable_that_is_longer_than_the_file(tiny_image_model: bytes) -> None:
    damaged = bytearray(tiny_image_model)
    struct.pack_into("<H", damaged, root_vtable(tiny_image_model), 0xFFFE)
    assert f"is needed and there are {len(damaged)}" in refusal(bytes(damaged))


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_tables_that_lie_askew_are_refused(tiny_image_model: bytes, shift: int) -> None:
    """The same tables, moved: everything points where it should, but some machines cannot read it there."""
    [root] = struct.unpack_from("<I", tiny_image_model)
    moved = struct.pack("<I", root + shift) + IDENTIFIER + bytes(shift) + tiny_image_model[8:]
    assert f"what is at byte {root + shift} must begin at a multiple of 4" in refusal(moved)


def test_a_name_that_is_longer_than_the_file(tiny_image_model: bytes) -> None:
    damaged = bytearray(tiny_image_model)
    struct.pack_into("<I", damaged, tiny_image_model.index(b"Identity\0") - 4, 0x7FFFFFFF)
    assert f"is needed and there are {len(damaged)}" in refusal(bytes(damaged))


def set_buffer(table: Any) -> None:
    table.subgraphs[0].tensors[0].buffer = 99


def set_input(table: Any) -> None:
    table.subgraphs[0].inputs = [77]


def set_output(table: Any) -> None:
    table.subgraphs[0].outputs = [-1]


def set_operator_input(table: Any) -> None:
    table.subgraphs[0].operators[0].inputs = [66]


def set_operator_output(table: Any) -> None:
    table.subgraphs[0].operators[0].outputs = [55]


def set_code(table: Any) -> None:
    table.subgraphs[0].operators[0].opcodeIndex = 44


def set_shape(table: Any) -> None:
    table.subgraphs[0].tensors[0].shape = [1, -16, 16, 3]


def set_input_zero_point(table: Any) -> None:
    table.subgraphs[0].tensors[0].quantization.zeroPoint = [8192]


def set_inner_zero_point(table: Any) -> None:
    inner = table.subgraphs[0].operators[1].outputs[0]
    table.subgraphs[0].tensors[inner].quantization.zeroPoint = [-129]


def weights_of(table: Any) -> Any:
    return table.subgraphs[0].tensors[table.subgraphs[0].operators[1].inputs[1]]


def set_scale(value: float) -> Callable[[Any], None]:
    def change(table: Any) -> None:
        scales = weights_of(table).quantization.scale
        weights_of(table).quantization.scale = [*scales[:-1], value]

    return change


def weights_at(offset: int, size: int) -> Callable[[Any], None]:
    def change(table: Any) -> None:
        buffer = table.buffers[weights_of(table).buffer]
        buffer.data, buffer.offset, buffer.size = None, offset, size

    return change


def set_custom_options(table: Any) -> None:
    operator = table.subgraphs[0].operators[0]
    operator.largeCustomOptionsOffset, operator.largeCustomOptionsSize = 16, 1 << 40


def set_version(table: Any) -> None:
    table.version = 2


def drop_graphs(table: Any) -> None:
    table.subgraphs = []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (set_buffer, "buffer 99 is used and there are"),
        (set_input, "tensor 77 is used and there are 9"),
        (set_output, "tensor -1 is used and there are 9"),
        (set_operator_input, "tensor 66 is used and there are 9"),
        (set_operator_output, "tensor 55 is used and there are 9"),
        (set_code, "operator code 44 is used and there are"),
        (set_shape, "a tensor has a negative size"),
        (set_input_zero_point, "a tensor has a zero point that its type cannot hold"),
        (set_inner_zero_point, "a tensor has a zero point that its type cannot hold"),
        (set_scale(math.nan), "a tensor has a scale that is negative or no number"),
        (set_scale(math.inf), "a tensor has a scale that is negative or no number"),
        (set_scale(-0.5), "a tensor has a scale that is negative or no number"),
        (weights_at(1 << 20, 64), f"byte {(1 << 20) + 64} is needed and there are"),
        (weights_at(16, 1 << 30), f"byte {(1 << 30) + 16} is needed and there are"),
        (weights_at(2**64 - 64, 128), f"byte {2**64 + 64} is needed and there are"),
        (set_custom_options, f"byte {(1 << 40) + 16} is needed and there are"),
        (set_version, "schema version 2, expected 3"),
        (drop_graphs, "there is no graph in it"),
    ],
)
def test_what_refers_to_nothing_is_refused(
    tiny_image_model: bytes, change: Callable[[Any], None], what: str
) -> None:
    assert what in refusal(changed(tiny_image_model, change))


def test_an_optional_operator_input_may_be_left_out(tiny_image_model: bytes) -> None:
    def drop_bias(table: Any) -> None:
        table.subgraphs[0].operators[1].inputs = [1, 2, -1]

    check_model_file(changed(tiny_image_model, drop_bias))


def test_weights_behind_the_tables_and_channels_of_zeros_are_fine(tiny_image_model: bytes) -> None:
    """Models above 2 GB keep their buffers there; converters give a channel without weights the scale 0."""
    check_model_file(changed(tiny_image_model, weights_at(16, 64)))
    check_model_file(changed(tiny_image_model, set_scale(0.0)))


def test_overlapping_tables_cannot_keep_the_check_busy() -> None:
    """40 kB: a list of 5,000 graphs that are all the same, with 5,000 tensors that are all the same."""
    builder = flatbuffers.Builder(1 << 16)

    def same(table: int) -> int:
        builder.StartVector(4, 5_000, 4)
        for _ in range(5_000):
            builder.PrependUOffsetTRelative(table)
        return builder.EndVector()

    builder.StartObject(1)
    tensors = same(builder.EndObject())
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, tensors, 0)
    graphs = same(builder.EndObject())
    builder.StartObject(3)
    builder.PrependUint32Slot(0, 3, 0)
    builder.PrependUOffsetTRelativeSlot(2, graphs, 0)
    builder.Finish(builder.EndObject(), IDENTIFIER)
    assert "more than 100000 table entries" in refusal(bytes(builder.Output()))


@given(st.data())
def test_damage_never_raises_anything_else(tiny_image_model: bytes, data: st.DataObject) -> None:
    damaged = bytearray(tiny_image_model)
    places = st.integers(0, len(damaged) - 1)
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=12)):
        damaged[place] = value
    try:
        check_model_file(bytes(damaged))
    except BundleError as error:
        assert error.reason is Reason.MODEL_BAD
        assert "\n" not in str(error)
