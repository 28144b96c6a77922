"""Models for other tools: what a device answers, in one file that says what it takes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st

from galago_converters import inspection, metadata
from galago_converters.c_array import bytes_of, c_array
from galago_converters.graph_edit import GraphEdit
from galago_converters.interop import interop_model
from galago_edge.contract.errors import BundleError, ModelError, Reason
from galago_edge.contract.manifest import AudioPreprocess, Decision, ImagePreprocess, Preprocess, Tensor
from galago_edge.decision.activation import ONE, Activation
from galago_edge.engine import Engine, interpreter_class
from galago_edge.preprocess.audio import log_mel
from test_kit import TINY_AUDIO, TINY_IMAGE, changed

LABELS = ("dark", "mid", "größer")
COLD = Decision(temperature=2.5)
EACH = Decision(activation="sigmoid", temperature=0.5)


def interop(model: bytes, spec: Preprocess, decision: Decision = COLD) -> bytes:
    return interop_model(model, name="levels", labels=LABELS, preprocess=spec, decision=decision)


def gray_model(model: bytes) -> bytes:
    """The same classifier for one channel: its three are that one."""
    edit = GraphEdit.of(model)
    (colours,) = edit.graph.inputs
    gray = edit.tensor("gray", (1, 16, 16, 1), "UINT8", scale=1.0)
    options = schema.ConcatenationOptionsT()
    options.axis = 3
    edit.operator("CONCATENATION", [gray] * 3, [int(colours)], version=2, options=options, first=True)
    edit.graph.inputs = [gray]
    return edit.content()


def scores_of(content: bytes, feed: Any) -> Any:
    interpreter = interpreter_class()(model_content=content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], feed[np.newaxis])
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]


def device_scores(model: bytes, codes: Any, decision: Decision) -> Any:
    engine = Engine(model)
    engine.input_view()[...] = codes
    engine.invoke()
    output = engine.output
    activation = Activation(decision.activation, output.scale, output.zero_point, decision.temperature)
    return activation.scores(engine.logits()) / ONE


@pytest.mark.parametrize("decision", [COLD, EACH])
def test_pixels_have_the_scores_of_the_device(tiny_image_model: bytes, decision: Decision) -> None:
    content = interop(tiny_image_model, TINY_IMAGE, decision)
    rng = np.random.default_rng(1)
    for level in range(0, 250, 25):
        pixels = rng.integers(level, level + 6, (16, 16, 3), np.uint8)
        expected = device_scores(tiny_image_model, pixels, decision)
        np.testing.assert_allclose(scores_of(content, pixels), expected, atol=1e-4)


def test_gray_is_made_of_colours_as_the_device_makes_it(tiny_image_model: bytes) -> None:
    model = gray_model(tiny_image_model)
    content = interop(model, changed(TINY_IMAGE, color="gray"))
    rng = np.random.default_rng(2)
    for level in range(0, 200, 10):
        rgb = rng.integers(level, level + 56, (16, 16, 3), np.uint8)
        gray = cv2.cvtColor(np.ascontiguousarray(rgb[:, :, ::-1]), cv2.COLOR_BGR2GRAY)
        expected = device_scores(model, gray[:, :, np.newaxis], COLD)
        np.testing.assert_allclose(scores_of(content, rgb), expected, atol=1e-4)


@pytest.mark.parametrize(
    "spec",
    [
        TINY_AUDIO,
        AudioPreprocess(
            version="logmel/2", mel_bands=10, window_frames=20, mel_scale="slaney", spectrum="power",
            floor_db=-80.0, frame_samples=400, fmax_hz=3_800.0,
        ),
    ],
)  # fmt: skip
def test_samples_have_the_scores_of_the_device(tiny_audio_model: bytes, spec: AudioPreprocess) -> None:
    content = interop(tiny_audio_model, spec)
    rng = np.random.default_rng(3)
    time = np.arange(spec.window_samples) / spec.sample_rate_hz
    found, expected = [], []
    for hz in (0.0, 400.0, 1_000.0, 3_100.0):
        for loudness in (100.0, 8_000.0):
            sound = loudness * np.sin(2 * np.pi * hz * time) + rng.normal(0, 3, len(time))
            samples = np.rint(sound).astype(np.int16)
            found.append(scores_of(content, (samples / 32768).astype(np.float32)))
            expected.append(device_scores(tiny_audio_model, log_mel(spec, samples), COLD))
    np.testing.assert_allclose(found, expected, atol=0.03)
    assert {int(answer.argmax()) for answer in expected} == {0, 1, 2}


@pytest.mark.parametrize("spec", [TINY_IMAGE, TINY_AUDIO])
def test_the_file_says_what_it_takes_and_has_builtin_operators_only(
    tiny_image_model: bytes, tiny_audio_model: bytes, spec: Preprocess
) -> None:
    picture = isinstance(spec, ImagePreprocess)
    model = tiny_image_model if picture else tiny_audio_model
    content = interop(metadata.embed(model, name="former", labels=("a", "b", "c"), preprocess=spec), spec)
    assert content == interop(
        metadata.embed(model, name="former", labels=("a", "b", "c"), preprocess=spec), spec
    )
    assert b"former" not in content and content.count(b"M001") == 1
    said, found = metadata.read(content), inspection.report(content)
    assert said is not None and said.labels == LABELS
    assert (said.sample_rate_hz, said.channels) == ((None, None) if picture else (16_000, 1))
    assert found.custom == () and found.subgraphs == 1
    (fed,), (given_,) = found.inputs, found.outputs
    assert (fed.dtype, given_.dtype, given_.name) == ("uint8" if picture else "float32", "float32", "scores")


def test_what_is_no_int8_classifier_is_refused(tiny_image_model: bytes, tiny_audio_model: bytes) -> None:
    with pytest.raises(ModelError) as caught:
        interop(interop(tiny_image_model, TINY_IMAGE), TINY_IMAGE)
    assert caught.value.reason is Reason.EXPORT_FAILED and "gives float32" in str(caught.value)
    with pytest.raises(BundleError) as damaged:
        interop(tiny_image_model[:500], TINY_IMAGE)
    assert damaged.value.reason is Reason.MODEL_BAD
    with pytest.raises(ModelError) as other:
        interop(tiny_image_model, TINY_AUDIO)
    assert other.value.reason is Reason.EXPORT_FAILED
    edit = GraphEdit.of(tiny_audio_model)
    edit.graph.outputs = [*edit.graph.outputs, *edit.graph.outputs]
    with pytest.raises(ModelError) as several:
        interop(edit.content(), TINY_AUDIO)
    assert "2 outputs" in str(several.value)


# ---- C

FED = Tensor(name="i", index=0, shape=(1, 16, 16, 3), dtype="uint8", scale=1.0, zero_point=0, layout="NHWC")
GIVEN = Tensor(name="o", index=1, shape=(1, 3), dtype="int8", scale=0.125, zero_point=-3, layout="NC")


@given(st.binary(min_size=1, max_size=99), st.text(max_size=12), st.lists(st.text(), max_size=3))
def test_c_source_holds_every_byte(model: bytes, name: str, labels: list[str]) -> None:
    made = c_array(model, name=name, labels=labels, fed=FED, given=GIVEN)
    assert bytes_of(made.source) == model
    assert made.source.isascii() and made.header.isascii()


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler is installed")
def test_c_source_compiles_and_gives_the_model_back(tmp_path: Path, tiny_image_model: bytes) -> None:
    labels = ["dark", 'a "quoted"\\ label?', "größer 7"]
    made = c_array(tiny_image_model, name="3 levels", labels=labels, fed=FED, given=GIVEN)
    (tmp_path / "model_3_levels.c").write_text(made.source)
    (tmp_path / "model_3_levels.h").write_text(made.header)
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include <stdint.h>\n#include "model_3_levels.h"\nint main(void) {\n'
        "  if ((uintptr_t)model_3_levels % 16 || MODEL_3_LEVELS_INPUT_SIZE != 768) return 1;\n"
        "  if (MODEL_3_LEVELS_OUTPUT_SCALE != 0.125f || MODEL_3_LEVELS_OUTPUT_ZERO_POINT != -3) return 2;\n"
        "  for (int i = 0; i < MODEL_3_LEVELS_LABELS; i++) puts(model_3_levels_labels[i]);\n"
        "  fwrite(model_3_levels, 1, sizeof model_3_levels, stdout);\n  return 0;\n}\n"
    )
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror"]
    files = [str(tmp_path / name) for name in ("main.c", "model_3_levels.c")]
    subprocess.run(["cc", *flags, *files, "-o", str(tmp_path / "main")], check=True)
    said = subprocess.run([str(tmp_path / "main")], check=True, capture_output=True).stdout
    assert said == "".join(f"{label}\n" for label in labels).encode() + tiny_image_model
