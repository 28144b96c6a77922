"""The CPU engine: what it runs, what it gives back, what it refuses to load."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from galago_edge.contract.errors import BundleError, DeviceError, Reason
from galago_edge.engine import Backend, Engine, TensorInfo, cpu
from galago_edge.engine.tensors import delegated

DATA = Path(__file__).parents[1] / "data"


def changed(model: bytes, change: Callable[[Any], None]) -> bytes:
    """Return the model with one thing different, written again by the reference library."""
    table = schema.ModelT.InitFromPackedBuf(model, 0)
    change(table)
    builder = flatbuffers.Builder(4096)
    builder.Finish(table.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def answer(engine: Backend, level: int) -> list[int]:
    engine.input_view()[:] = level
    engine.invoke()
    return engine.logits().tolist()


def test_tensors_are_described(tiny_image_model: bytes, tiny_audio_model: bytes) -> None:
    image, audio = Engine(tiny_image_model), Engine(tiny_audio_model)
    assert image.input == TensorInfo("input", 0, (1, 16, 16, 3), "uint8", 1.0, 0)
    assert image.output == TensorInfo("Identity", 8, (1, 3), "int8", pytest.approx(24 / 255), 42)
    assert audio.input == TensorInfo("input", 0, (1, 20, 10), "int8", 1 / 64, 0)
    assert image.backend == audio.backend == "cpu"


@pytest.mark.parametrize(("level", "winner"), [(20, 0), (128, 1), (240, 2)])
def test_image_model_answers(tiny_image_model: bytes, level: int, winner: int) -> None:
    assert np.argmax(answer(Engine(tiny_image_model), level)) == winner


@pytest.mark.parametrize(
    ("low", "high", "winner"), [(-128, -128, 0), (60, -60, 1), (-60, 60, 2)], ids=["quiet", "low", "high"]
)
def test_audio_model_answers(tiny_audio_model: bytes, low: int, high: int, winner: int) -> None:
    engine = Engine(tiny_audio_model)
    view = engine.input_view()
    view[:, :5], view[:, 5:] = low, high
    engine.invoke()
    assert engine.logits().argmax() == winner


def test_logits_are_int8_codes_of_their_own(tiny_image_model: bytes) -> None:
    engine = Engine(tiny_image_model)
    assert answer(engine, 0) == [127, 42, -128]  # +8, 0 and -16 by the output's scale and zero point
    logits = engine.logits()
    assert (logits.dtype, logits.shape) == (np.int8, (3,))
    assert answer(engine, 255) == [-128, 42, 127]
    assert logits.tolist() == [127, 42, -128]  # the older copy has not changed


def test_input_view_is_the_tensors_own_memory(tiny_image_model: bytes) -> None:
    """No copy: what is written is there at once, without the batch axis, and again in the next view."""
    engine = Engine(tiny_image_model)
    view = engine.input_view()
    assert (view.shape, view.dtype, view.flags.writeable) == ((16, 16, 3), np.uint8, True)
    view[3, 4] = (1, 2, 3)
    assert engine.input_view()[3, 4].tolist() == [1, 2, 3]
    assert np.shares_memory(view, engine.input_view())
    assert engine._interpreter.get_tensor(0)[0, 3, 4].tolist() == [1, 2, 3]


def test_a_view_that_is_still_held_does_not_stop_the_engine(tiny_image_model: bytes) -> None:
    """The runtimes' own views do: "There is at least 1 reference to internal data"."""
    engine = Engine(tiny_image_model)
    view = engine.input_view()
    part = view[2:4]
    for level in (0, 255):
        view[:] = level
        engine.invoke()
    assert engine.logits().argmax() == 2
    assert part.max() == 255
    raw = engine._interpreter.tensor(0)()
    with pytest.raises(BundleError, match="reference to internal data"):
        engine.invoke()
    del raw
    engine.invoke()


def test_a_view_outlives_its_engine(tiny_image_model: bytes) -> None:
    engine = Engine(tiny_image_model)
    view = engine.input_view()
    view[:] = 7
    del engine
    gc.collect()
    Engine(tiny_image_model).input_view()[:] = 9
    assert (view == 7).all()


def test_a_view_follows_memory_that_moved(tiny_image_model: bytes) -> None:
    engine = Engine(tiny_image_model)
    elsewhere = np.zeros((1, 16, 16, 3), np.uint8)
    engine._input_tensor = lambda: elsewhere
    engine.input_view()[:] = 5
    assert (elsewhere == 5).all()


def test_the_model_bytes_need_not_be_kept(tiny_image_model: bytes) -> None:
    """The runtimes read weights from the caller's buffer as long as they run."""
    engine = Engine(bytes(bytearray(tiny_image_model)))
    gc.collect()
    rubbish = [bytes([255]) * len(tiny_image_model) for _ in range(200)]
    assert answer(engine, 255) == [-128, 42, 127]
    assert len(rubbish) == 200


def test_engines_of_several_threads_do_not_disturb_each_other(tiny_image_model: bytes) -> None:
    wrong: list[int] = []

    def work(level: int, expected: list[int]) -> None:
        engine = Engine(tiny_image_model)
        wrong.extend(level for _ in range(300) if answer(engine, level) != expected)

    workers = [
        threading.Thread(target=work, args=(level, answer(Engine(tiny_image_model), level)))
        for level in (0, 100, 255)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_handed_to_the_runtime(
    tiny_image_model: bytes, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    """Unsaid, the runtimes choose a number of their own."""
    asked: list[int] = []
    real = cpu.interpreter_class()

    def spy(*, model_content: bytes, num_threads: int) -> Any:
        asked.append(num_threads)
        return real(model_content=model_content, num_threads=num_threads)

    monkeypatch.setattr(cpu, "interpreter_class", lambda: spy)
    assert answer(Engine(tiny_image_model, threads=threads), 255) == [-128, 42, 127]
    Engine(tiny_image_model)
    assert asked == [threads, 1]


def test_no_threads_is_a_wrong_call(tiny_image_model: bytes) -> None:
    with pytest.raises(ValueError, match="0 threads, expected at least 1"):
        Engine(tiny_image_model, threads=0)


def test_the_parts_that_a_delegate_runs_are_counted(
    tiny_image_model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    interpreter = Engine(tiny_image_model)._interpreter
    plan = interpreter._get_ops_details()
    assert delegated(interpreter)  # XNNPACK: ai-edge-litert on any CPU that Galago's tests run on
    own = [op for op in plan if op["op_name"] != "DELEGATE"]
    monkeypatch.setattr(interpreter, "_get_ops_details", lambda: own)
    assert delegated(interpreter) == 0


def test_a_runtime_that_does_not_tell_what_is_delegated_is_not_guessed() -> None:
    assert delegated(object()) is None


def refusal(model: bytes, reason: Reason) -> str:
    with pytest.raises(BundleError) as info:
        Engine(model)
    assert info.value.reason is reason
    assert "\n" not in str(info.value)
    assert info.value.hint
    return str(info.value)


def tensor(table: Any, role: str) -> Any:
    graph = table.subgraphs[0]
    return graph.tensors[getattr(graph, role)[0]]


def second_input(table: Any) -> None:
    table.subgraphs[0].inputs = [0, 1]


def second_output(table: Any) -> None:
    table.subgraphs[0].outputs = [8, 7]


def float_input(table: Any) -> None:
    tensor(table, "inputs").type = schema.TensorType.FLOAT32


def float_output(table: Any) -> None:
    tensor(table, "outputs").type = schema.TensorType.FLOAT32


def uint8_output(table: Any) -> None:
    tensor(table, "outputs").type = schema.TensorType.UINT8


def dynamic_input(table: Any) -> None:
    tensor(table, "inputs").shapeSignature = [-1, 16, 16, 3]


def batch_of_two(table: Any) -> None:
    tensor(table, "inputs").shape = [2, 16, 16, 3]


def scalar_input(table: Any) -> None:
    tensor(table, "inputs").shape = [1]


def image_output(table: Any) -> None:
    tensor(table, "outputs").shape = [1, 1, 3]


def no_quantization(table: Any) -> None:
    tensor(table, "inputs").quantization = None


def scale_of_zero(table: Any) -> None:
    tensor(table, "outputs").quantization.scale = [0.0]


def scale_per_channel(table: Any) -> None:
    tensor(table, "inputs").quantization.scale = [1.0, 1.0, 1.0]
    tensor(table, "inputs").quantization.zeroPoint = [0, 0, 0]
    tensor(table, "inputs").quantization.quantizedDimension = 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (second_input, "the model has 2 inputs, expected one"),
        (second_output, "the model has 2 outputs, expected one"),
        (float_input, "the model's input is float32, expected uint8 or int8"),
        (float_output, "the model's output is float32, expected uint8 or int8"),
        (uint8_output, "the model's output is uint8 of shape (1, 3), expected int8 (1, labels)"),
        (dynamic_input, "the model's input has the dynamic shape (-1, 16, 16, 3), expected a fixed one"),
        (batch_of_two, "the model's input has the shape (2, 16, 16, 3), expected a batch of 1"),
        (scalar_input, "the model's input has the shape (1,), expected a batch of 1"),
        (image_output, "the model's output is int8 of shape (1, 1, 3), expected int8 (1, labels)"),
        (no_quantization, "the model's input has the scales [], expected one positive scale"),
        (scale_of_zero, "the model's output has the scales [0.0], expected one positive scale"),
        (scale_per_channel, "the model's input has the scales [1.0, 1.0, 1.0], expected one positive scale"),
    ],
)
def test_what_is_no_int8_classifier_is_refused(
    tiny_image_model: bytes, change: Callable[[Any], None], message: str
) -> None:
    assert refusal(changed(tiny_image_model, change), Reason.TENSOR_MISMATCH) == message


def test_shapes_that_change_when_the_model_is_prepared_are_refused(tiny_image_model: bytes) -> None:
    """The dense layer's weights give 3 labels, the file promises 4."""

    def four_labels(table: Any) -> None:
        tensor(table, "outputs").shape = [1, 4]

    message = refusal(changed(tiny_image_model, four_labels), Reason.TENSOR_MISMATCH)
    assert message == "the operators of the model give other shapes than its input and output have"


def test_what_is_no_model_is_refused() -> None:
    assert "is not a TFLite file" in refusal(b"not a model at all", Reason.MODEL_BAD)


def test_what_the_runtime_refuses_is_one_line(tiny_image_model: bytes) -> None:
    def shorter_weights(table: Any) -> None:
        weights = table.subgraphs[0].tensors[table.subgraphs[0].operators[1].inputs[1]]
        table.buffers[weights.buffer].data = [1, 2, 3]

    message = refusal(changed(tiny_image_model, shorter_weights), Reason.MODEL_BAD)
    assert message.startswith("the model does not run: ")


def test_an_operator_that_this_runtime_lacks_is_named(tiny_image_model: bytes) -> None:
    """The device is too old for the model, or the model was not built for it: not a damaged file."""

    def newer_operator(table: Any) -> None:
        table.operatorCodes[table.subgraphs[0].operators[1].opcodeIndex].version = 99

    def custom_operator(table: Any) -> None:
        code = table.operatorCodes[table.subgraphs[0].operators[1].opcodeIndex]
        code.deprecatedBuiltinCode = code.builtinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = "edgetpu-custom-op"

    for change, name in ((newer_operator, "CONV_2D version 99"), (custom_operator, "edgetpu-custom-op")):
        with pytest.raises(DeviceError) as info:
            Engine(changed(tiny_image_model, change))
        assert info.value.reason is Reason.OP_UNSUPPORTED
        assert str(info.value) == f"the TFLite runtime here has no operator {name}"


def test_a_failing_operator_is_one_line(tiny_image_model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(tiny_image_model)

    def fail() -> None:
        raise RuntimeError("tflite/kernels/add.cc:96 NumInputs(node) != 2\nNode number 1 (ADD) failed.\n")

    monkeypatch.setattr(engine._interpreter, "invoke", fail)
    with pytest.raises(BundleError) as info:
        engine.invoke()
    wanted = r"the model does not run: .* != 2 Node number 1 \(ADD\) failed\."
    assert re.fullmatch(wanted, str(info.value))


LOAD = """
import sys
from galago_edge.engine import Engine
Engine(open(sys.argv[1], "rb").read())
"""


def run_python(script: str) -> tuple[str, str]:
    command = [sys.executable, "-c", script, str(DATA / "tiny_image.tflite")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout, done.stderr


def test_loading_leaves_stderr_to_the_command() -> None:
    """LiteRT announces its XNNPACK delegate from C++; a command's stderr is for one line about a failure."""
    assert run_python(LOAD + "print('mine', file=sys.stderr)") == ("", "mine\n")


def test_loading_works_without_stderr() -> None:
    """A daemon may have closed it."""
    assert run_python("import os; os.close(2)\n" + LOAD + "print('loaded')") == ("loaded\n", "")
