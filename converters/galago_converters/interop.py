"""The same network for other tools: probabilities out, RGB pixels or samples in, everything said in metadata.

MediaPipe's ImageClassifier takes uint8 or float32 pixels, three channels, and uint8 or float32 scores; its
AudioClassifier takes float32 samples. A Galago model gives int8 logits, may take one gray channel, and hears
log-mel codes. So operators are added in front and behind; what is between stays as it is, byte for byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from galago_converters import metadata
from galago_converters.float_frontend import float_frontend
from galago_converters.graph_edit import GraphEdit
from galago_edge.contract.errors import ModelError, Reason
from galago_edge.contract.manifest import AudioPreprocess, Decision, Preprocess
from galago_edge.preprocess.audio import FEATURE_SCALE, FEATURE_ZERO_POINT

_GRAY = np.array([9798, 19235, 3735], np.float32) / 2**15
"""ITU-R BT.601 weights of red, green and blue, as in :mod:`galago_edge.preprocess.image`; with float32 exact
for pixels, so that gray is the device's to the byte."""


def interop_model(
    model: bytes, *, name: str, labels: Sequence[str], preprocess: Preprocess, decision: Decision
) -> bytes:
    """Return a model that metadata readers such as MediaPipe Tasks load.

    In: uint8 RGB pixels ``(1, height, width, 3)``, or float32 samples ``(1, window_samples)`` from -1 to 1 at
    the frontend's rate. Out: float32 ``(1, labels)``, the scores that a device computes from one window,
    before smoothing. Same arguments, same bytes.

    Args:
        model: A full-int8 classifier of Galago.
        name: Stands in the metadata.
        labels: In output order.
        preprocess: What the model's input is made with.
        decision: How its logits become scores.

    Raises:
        ModelError: EXPORT_FAILED; it has several inputs or outputs, or is not a full-int8 classifier.
        BundleError: MODEL_BAD; it is not a TFLite file.
    """
    edit = GraphEdit.of(model)
    edit.without_metadata()
    _check_types(edit)
    _add_scores(edit, decision)
    if isinstance(preprocess, AudioPreprocess):
        _add_frontend(edit, preprocess)
    elif preprocess.color == "gray":
        _add_gray(edit)
    return metadata.embed(edit.content(), name=name, labels=labels, preprocess=preprocess, form="interop")


def _check_types(edit: GraphEdit) -> None:
    from ai_edge_litert import schema_py_generated as schema

    names = {code: name.lower() for name, code in vars(schema.TensorType).items() if isinstance(code, int)}
    fed, given = names[edit.input().type], names[edit.output().type]
    if fed not in ("uint8", "int8") or given != "int8":
        raise ModelError(
            Reason.EXPORT_FAILED,
            f"the model takes {fed} and gives {given}, expected uint8 or int8 and int8 logits",
            hint="export a model that galago convert made",
        )


def _add_scores(edit: GraphEdit, decision: Decision) -> None:
    """Turn the int8 logits into scores: the activation of ``galago_edge.decision`` in float32."""
    from ai_edge_litert import schema_py_generated as schema

    shape = list(edit.output().shape)
    logits = edit.tensor("real_logits", shape, "FLOAT32")
    edit.operator("DEQUANTIZE", edit.graph.outputs, [logits], version=2, options=schema.DequantizeOptionsT())
    scores = edit.tensor("scores", shape, "FLOAT32")
    if decision.activation == "softmax":
        softmax = schema.SoftmaxOptionsT()
        softmax.beta = 1 / decision.temperature
        edit.operator("SOFTMAX", [logits], [scores], options=softmax)
    else:
        factor = edit.tensor("factor", [1], "FLOAT32", data=np.array([1 / decision.temperature], np.float32))
        scaled = edit.tensor("scaled_logits", shape, "FLOAT32")
        edit.operator("MUL", [logits, factor], [scaled], options=schema.MulOptionsT())
        edit.operator("LOGISTIC", [scaled], [scores])
    edit.graph.outputs = [scores]


def _add_gray(edit: GraphEdit) -> None:
    """Take RGB pixels and make them gray as the device does."""
    from ai_edge_litert import schema_py_generated as schema

    _, height, width, _ = (int(size) for size in edit.input().shape)
    (gray,) = edit.graph.inputs
    pixels = edit.tensor("rgb", (1, height, width, 3), "UINT8", scale=1.0)
    colours = edit.tensor("real_rgb", (1, height, width, 3), "FLOAT32")
    real_gray = edit.tensor("real_gray", (1, height, width, 1), "FLOAT32")
    weights = edit.tensor("gray_weights", (1, 1, 1, 3), "FLOAT32", data=_GRAY)
    bias = edit.tensor("gray_bias", (1,), "FLOAT32", data=np.zeros(1, np.float32))
    convolution = schema.Conv2DOptionsT()
    convolution.strideH = convolution.strideW = 1
    convolution.dilationHFactor = convolution.dilationWFactor = 1
    convolution.padding = schema.Padding.VALID
    edit.operator("QUANTIZE", [real_gray], [int(gray)], options=schema.QuantizeOptionsT(), first=True)
    edit.operator("CONV_2D", [colours, weights, bias], [real_gray], options=convolution, first=True)
    edit.operator("DEQUANTIZE", [pixels], [colours], options=schema.DequantizeOptionsT(), first=True)
    edit.graph.inputs = [pixels]


def _add_frontend(edit: GraphEdit, spec: AudioPreprocess) -> None:
    """Take samples and make log-mel codes of them; see :mod:`galago_converters.float_frontend`."""
    from ai_edge_litert import schema_py_generated as schema

    (codes,) = edit.graph.inputs
    found: Any = edit.input().quantization
    if found is None or list(found.scale) != [FEATURE_SCALE] or list(found.zeroPoint) != [FEATURE_ZERO_POINT]:
        raise ModelError(
            Reason.EXPORT_FAILED,
            "the model's input has another quantization than log-mel codes",
            hint="export a model that galago convert made",
        )
    levels = edit.tensor("levels", edit.input().shape, "FLOAT32")
    edit.operator("QUANTIZE", [levels], [int(codes)], options=schema.QuantizeOptionsT(), first=True)
    edit.put_in_front(GraphEdit.of(float_frontend(spec)), output=levels)
