from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from galago_converters import inspection
from galago_edge.contract.errors import BundleError, Reason
from galago_edge.contract.manifest import Operator
from galago_edge.engine import Engine


def test_report_agrees_with_the_interpreter(tiny_image_model: bytes) -> None:
    report, engine = inspection.report(tiny_image_model), Engine(tiny_image_model)
    for found, truth in ((report.inputs[0], engine.input), (report.outputs[0], engine.output)):
        assert (found.index, found.name, found.shape, found.dtype) == (
            truth.index,
            truth.name,
            truth.shape,
            truth.dtype,
        )
        assert (found.scales, found.zero_points) == ((truth.scale,), (truth.zero_point,))


def test_report_counts_operators_with_their_versions(block_model: bytes) -> None:
    report = inspection.report(block_model)
    counts = {(op.name, op.version): op.count for op in report.operators}
    assert sum(counts.values()) == len(report.nodes)
    assert counts["CONV_2D", 3] == 4
    assert counts["DEPTHWISE_CONV_2D", 3] == 2
    assert [op.name for op in report.operators] == sorted(op.name for op in report.operators)
    assert isinstance(report.operators[0], Operator)


def test_report_lists_dtypes_and_per_channel_weights(tiny_audio_model: bytes) -> None:
    report = inspection.report(tiny_audio_model)
    assert {tensor.dtype for tensor in report.tensors} == {"int8", "int32"}
    assert report.per_channel
    assert report.inputs[0].scales == (1 / 64,)
    assert (report.subgraphs, report.custom) == (1, ())


@pytest.mark.parametrize(
    "content",
    [b"", b"TFL3", b"PK\x03\x04 a zip archive", b"\x1c\0\0\0TFL2" + bytes(64), b"\x1c\0\0\0TFL3" + bytes(64)],
    ids=["empty", "four bytes", "zip", "other version", "zeros behind the identifier"],
)
def test_what_is_no_model_is_refused_in_one_line(content: bytes) -> None:
    with pytest.raises(BundleError) as caught:
        inspection.report(content)
    assert caught.value.reason is Reason.MODEL_BAD
    assert "\n" not in str(caught.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=300)
@given(data=st.data())
def test_damaged_models_are_read_or_refused(tiny_image_model: bytes, data: st.DataObject) -> None:
    content = bytearray(tiny_image_model)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([len(content), data.draw(st.integers(0, len(content)))]))
    try:
        inspection.report(bytes(content[:cut]))
    except BundleError as error:
        assert error.reason is Reason.MODEL_BAD
