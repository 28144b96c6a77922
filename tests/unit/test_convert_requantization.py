"""Every format made of two small float files, read again from the flatbuffer and run by the interpreter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from galago_converters.frameworks import import_tensorflow
from galago_converters.inputs import InputSpec
from galago_converters.inspection import report
from galago_converters.requantization import MODEL_FORMATS, ModelFormat, requantized
from galago_edge.contract.errors import BundleError, ModelError, Reason

PICTURE = InputSpec((8, 8, 3), "uint8", 1.0, "NHWC")
SOUND = InputSpec((8, 10), "int8", 1 / 64, "NTF")
OTHERS: tuple[ModelFormat, ...] = ("int16x8", "float16", "dynamic", "int4")
Codes = npt.NDArray[Any]


def codes(spec: InputSpec, count: int, seed: int = 1) -> Codes:
    low, high = spec.code_range
    drawn = np.random.default_rng(seed).integers(low // 2, high // 2, (count, *spec.shape))
    return drawn.astype(spec.numpy_dtype)


def float_file(
    spec: InputSpec, *, last: Callable[[Any], Any] = lambda logits: logits, factor: float = 1 / 64
) -> bytes:
    """Convolution, depthwise convolution, mean and dense layer; no signature, as in many files of others."""
    tf = import_tensorflow()
    random = np.random.default_rng(3)
    channels = spec.shape[2] if len(spec.shape) == 3 else 1

    def weights(*shape: int) -> npt.NDArray[np.float32]:
        return random.normal(0, 0.3, shape).astype(np.float32)

    first, each, dense = weights(3, 3, channels, 8), weights(3, 3, 8, 1), weights(8, 4)

    def network(x: Any) -> Any:
        x = tf.reshape(x, (1, *spec.shape[:2], channels)) * factor
        x = tf.nn.relu6(tf.nn.conv2d(x, first, 2, "SAME"))
        x = tf.nn.relu(tf.nn.depthwise_conv2d(x, each, (1, 1, 1, 1), "SAME"))
        return last(tf.matmul(tf.reduce_mean(x, (1, 2)), dense))

    given = tf.TensorSpec((1, *spec.shape), tf.float32, name="input")
    function = tf.function(network).get_concrete_function(given)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    return bytes(converter.convert())


@pytest.fixture(scope="module")
def picture() -> bytes:
    return float_file(PICTURE)


@pytest.fixture(scope="module")
def sound() -> bytes:
    return float_file(SOUND)


def answers(model: bytes, spec: InputSpec, inputs: Codes) -> npt.NDArray[np.float64]:
    """Logits in real numbers; codes go in as they are when the file takes codes."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    [fed], [given] = interpreter.get_input_details(), interpreter.get_output_details()
    found = []
    for sample in inputs:
        real = sample if fed["dtype"] == spec.numpy_dtype else spec.real(sample)
        interpreter.set_tensor(fed["index"], real[np.newaxis])
        interpreter.invoke()
        logits = interpreter.get_tensor(given["index"])[0].astype(np.float64)
        scale, zero_point = given["quantization"]
        found.append((logits - zero_point) * scale if scale else logits)
    return np.stack(found)


def refusal(*arguments: Any, **options: Any) -> tuple[Reason, str]:
    with pytest.raises(ModelError) as caught:
        requantized(*arguments, **options)
    assert "\n" not in str(caught.value)
    return caught.value.reason, str(caught.value)


@pytest.mark.parametrize("what", ["picture", "sound"])
def test_int8_takes_the_codes_of_the_device_and_gives_int8_logits(
    what: str, request: pytest.FixtureRequest
) -> None:
    model, spec = request.getfixturevalue(what), PICTURE if what == "picture" else SOUND
    made = requantized(model, model_format="int8", spec=spec, samples=codes(spec, 6))
    found = report(made)
    assert (found.inputs[0].dtype, found.inputs[0].scales, found.inputs[0].zero_points) == (
        spec.dtype,
        (spec.scale,),
        (0,),
    )
    assert found.outputs[0].dtype == "int8"
    assert not {tensor.dtype for tensor in found.tensors} & {"float32", "float16"}


@pytest.mark.parametrize("model_format", [*OTHERS, "int8"])
def test_every_format_answers_as_float_within_its_precision(
    picture: bytes, model_format: ModelFormat
) -> None:
    inputs = codes(PICTURE, 8)  # those that calibrate: beyond their ranges, answers are cut off
    made = requantized(picture, model_format=model_format, spec=PICTURE, samples=inputs)
    expected, found = answers(picture, PICTURE, inputs), answers(made, PICTURE, inputs)
    span = expected.max() - expected.min()
    limit = {"int16x8": 0.02, "float16": 0.002, "dynamic": 0.05, "int4": 0.3, "int8": 0.05}[model_format]
    assert 0 < np.abs(found - expected).max() < limit * span


@pytest.mark.parametrize("model_format", OTHERS)
def test_the_other_formats_keep_float_ends(picture: bytes, model_format: ModelFormat) -> None:
    made = requantized(picture, model_format=model_format, spec=PICTURE, samples=codes(PICTURE, 2))
    found = report(made)
    assert (found.inputs[0].dtype, found.outputs[0].dtype) == ("float32", "float32")


def test_int4_weights_are_in_convolutions_and_dense_layers_but_not_in_depthwise_ones(picture: bytes) -> None:
    found = report(requantized(picture, model_format="int4"))
    dtypes = {node.name: found.tensors[node.inputs[1]].dtype for node in found.nodes if "CONV" in node.name}
    assert dtypes == {"CONV_2D": "int4", "DEPTHWISE_CONV_2D": "int8"}


def test_float32_is_the_file_itself(picture: bytes) -> None:
    assert requantized(picture, model_format="float32") == picture


@pytest.mark.parametrize("model_format", MODEL_FORMATS)
def test_same_model_and_samples_give_the_same_bytes(sound: bytes, model_format: ModelFormat) -> None:
    made = [
        requantized(sound, model_format=model_format, spec=SOUND, samples=codes(SOUND, 3)) for _ in range(2)
    ]
    assert made[0] == made[1]


def test_the_order_of_the_samples_does_not_matter(picture: bytes) -> None:
    samples = codes(PICTURE, 5)
    made = [
        requantized(picture, model_format="int8", spec=PICTURE, samples=given)
        for given in (samples, samples[::-1])
    ]
    assert made[0] == made[1]


def test_nothing_is_printed(picture: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    requantized(picture, model_format="int8", spec=PICTURE, samples=codes(PICTURE, 2))
    assert capfd.readouterr() == ("", "")


def plain_file(network: Callable[[Any], Any]) -> bytes:
    tf = import_tensorflow()
    function = tf.function(network).get_concrete_function(
        tf.TensorSpec((1, *PICTURE.shape), tf.float32, name="input")
    )
    return bytes(tf.lite.TFLiteConverter.from_concrete_functions([function]).convert())


def test_ranges_are_the_smallest_and_largest_value_of_all_samples_and_zero() -> None:
    """Pictures of 10 and 100 everywhere, three channels added: logits 30 and 300: 0 to 300 in 255 steps."""
    tf = import_tensorflow()
    model = plain_file(lambda x: tf.matmul(tf.reduce_mean(x, (1, 2)), tf.ones((3, 4))))
    samples = np.stack([np.full(PICTURE.shape, level, np.uint8) for level in (100, 10)])
    [logits] = report(requantized(model, model_format="int8", spec=PICTURE, samples=samples)).outputs
    assert logits.scales == (pytest.approx(300 / 255, rel=1e-6),) and logits.zero_points == (-128,)


def test_a_file_with_a_signature_becomes_int8_too(tmp_path: Path) -> None:
    tf = import_tensorflow()
    module = tf.Module()
    module.answer = tf.function(
        lambda x: tf.matmul(tf.reduce_mean(x, (1, 2)), tf.ones((3, 4))),
        input_signature=[tf.TensorSpec((1, *PICTURE.shape), tf.float32, name="input")],
    )
    tf.saved_model.save(module, str(tmp_path), {"serving_default": module.answer})
    model = bytes(tf.lite.TFLiteConverter.from_saved_model(str(tmp_path)).convert())
    made = requantized(model, model_format="int8", spec=PICTURE, samples=codes(PICTURE, 2))
    assert report(made).inputs[0].scales == (1.0,)


@pytest.mark.parametrize("model_format", ["float16", "dynamic", "int4"])
def test_a_model_without_weights_has_no_format_of_weights(model_format: ModelFormat) -> None:
    tf = import_tensorflow()
    reason, message = refusal(plain_file(lambda x: tf.reduce_mean(x, (1, 2))), model_format=model_format)
    assert reason is Reason.EXPORT_FAILED and message.startswith("no operator of the model has")


def test_values_that_are_not_finite_are_refused_with_their_tensor() -> None:
    reason, message = refusal(
        float_file(PICTURE, factor=np.nan), model_format="int8", spec=PICTURE, samples=codes(PICTURE, 2)
    )
    assert reason is Reason.EXPORT_FAILED and "is not finite on a calibration sample" in message


def test_probabilities_are_refused_in_int8() -> None:
    model = float_file(PICTURE, last=import_tensorflow().nn.softmax)
    reason, message = refusal(model, model_format="int8", spec=PICTURE, samples=codes(PICTURE, 2))
    assert reason is Reason.EXPORT_FAILED and "ends with SOFTMAX" in message


def test_an_operator_without_an_int8_form_is_named() -> None:
    model = float_file(PICTURE, last=import_tensorflow().math.sin)
    reason, message = refusal(model, model_format="int8", spec=PICTURE, samples=codes(PICTURE, 2))
    assert reason in (Reason.OP_NOT_INT8, Reason.TENSOR_MISMATCH) and "\n" not in message


def test_an_operator_without_an_int16_form_is_named() -> None:
    model = float_file(PICTURE, last=import_tensorflow().math.sin)
    reason, message = refusal(model, model_format="int16x8", spec=PICTURE, samples=codes(PICTURE, 2))
    assert (reason, message) == (
        Reason.EXPORT_FAILED,
        "operator SIN computes in float32: it has no int16x8 form",
    )


def test_what_is_quantized_already_is_refused(picture: bytes) -> None:
    made = requantized(picture, model_format="int8", spec=PICTURE, samples=codes(PICTURE, 2))
    reason, message = refusal(made, model_format="float16")
    assert reason is Reason.TENSOR_MISMATCH and message.endswith("is uint8, expected float32")


@pytest.mark.parametrize("model_format", ["dynamic", "float16"])
def test_quantized_weights_between_float_ends_are_refused(picture: bytes, model_format: ModelFormat) -> None:
    made = requantized(picture, model_format=model_format)
    reason, message = refusal(made, model_format="int8", spec=PICTURE, samples=codes(PICTURE, 2))
    assert reason is Reason.TENSOR_MISMATCH and "expected float32" in message


@pytest.mark.parametrize("samples", [None, codes(PICTURE, 2)[:0], codes(SOUND, 2), codes(PICTURE, 2) * 1.0])
@pytest.mark.parametrize("model_format", ["int8", "int16x8"])
def test_samples_of_another_form_are_refused(picture: bytes, model_format: str, samples: Any) -> None:
    reason, message = refusal(picture, model_format=model_format, spec=PICTURE, samples=samples)
    assert reason is Reason.CALIBRATION_BAD and "calibration" in message


def test_what_is_not_a_model_is_refused() -> None:
    with pytest.raises(BundleError):
        requantized(b"not a model", model_format="float16")
