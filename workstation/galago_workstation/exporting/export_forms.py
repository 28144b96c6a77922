"""The forms in which a model can be exported: what is written, what it takes and what it gives."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_converters.c_array import bytes_of, c_array
from galago_converters.chatter import captured
from galago_converters.frameworks import import_tensorflow
from galago_converters.graph_edit import GraphEdit
from galago_converters.inputs import input_spec
from galago_converters.interop import interop_model
from galago_edge.contract.errors import CallerError, DeviceError, ModelError, Reason
from galago_edge.contract.manifest import AudioPreprocess
from galago_edge.engine import Engine, interpreter_class
from galago_workstation.exporting.export_record import Form
from galago_workstation.exporting.export_source import ExportSource, Tried

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ExportedForm:
    """A model in another form."""

    files: dict[str, bytes]
    """By their path in the folder."""
    takes: str
    gives: str
    reader: str
    """What read it again here."""
    answers: npt.NDArray[Any]
    """``(n, labels)``: what that reader says to the samples, in the unit of ``expected``."""
    expected: npt.NDArray[Any]
    """``(n, labels)``: what they must be."""
    tolerance: float


def exported(source: ExportSource, form: Form, tried: Tried) -> ExportedForm:
    """Return the model in a form, with what a reader of that form says to the samples.

    Raises:
        CallerError: CONFIG_BAD; the form needs the float network, which a bundle does not hold.
        DeviceError: EXTRA_MISSING; a package that the form needs is not installed.
        ModelError: EXPORT_FAILED; the network cannot be brought into the form.
    """
    return _FORMS[form](source, tried)


def _mediapipe(source: ExportSource, tried: Tried) -> ExportedForm:
    content = interop_model(
        source.model,
        name=source.name,
        labels=source.labels,
        preprocess=source.preprocess,
        decision=source.decision,
    )
    spec = source.preprocess
    if isinstance(spec, AudioPreprocess):
        feed: npt.NDArray[Any] = (tried.raw / 32768).astype(np.float32)
        takes = f"{spec.window_samples} samples of {spec.sample_rate_hz} Hz, mono, float32 from -1 to 1"
    else:
        feed, takes = tried.raw, f"RGB pixels, {spec.width} x {spec.height}, uint8"
    return ExportedForm(
        files={"model.tflite": content, "labels.txt": _labels(source)},
        takes=takes,
        gives="a score from 0 to 1 for each label, float32: of one window, before smoothing",
        reader="interpreter",
        answers=_interpreted(content, feed),
        expected=tried.scores,
        # gray and colours to the byte; of the float frontend some codes differ by one
        tolerance=0.1 if isinstance(spec, AudioPreprocess) else 0.001,
    )


def _plain(source: ExportSource, tried: Tried) -> ExportedForm:
    edit = GraphEdit.of(source.model)
    edit.without_metadata()
    content = edit.content()
    return ExportedForm(
        files={"model.tflite": content, "labels.txt": _labels(source)},
        takes=_codes(source),
        gives=_logit_codes(source),
        reader="interpreter",
        answers=_logits(content, tried.codes),
        expected=tried.logits,
        tolerance=0.0,
    )


def _array(source: ExportSource, tried: Tried) -> ExportedForm:
    edit = GraphEdit.of(source.model)
    edit.without_metadata()
    made = c_array(
        edit.content(), name=source.name, labels=source.labels, fed=source.input, given=source.output
    )
    name = made.source.partition('"')[2].partition(".h")[0]
    return ExportedForm(
        files={f"{name}.c": made.source.encode(), f"{name}.h": made.header.encode()},
        takes=_codes(source),
        gives=_logit_codes(source),
        reader="the bytes in the source file, interpreter",
        answers=_logits(bytes_of(made.source), tried.codes),
        expected=tried.logits,
        tolerance=0.0,
    )


def _onnx(source: ExportSource, tried: Tried) -> ExportedForm:
    network = _float_network(source, "onnx")
    try:
        import onnxruntime
        import tf2onnx
    except ModuleNotFoundError as error:
        raise DeviceError(
            Reason.EXTRA_MISSING,
            f"export to onnx needs {error.name}, which is not installed",
            hint="pip install 'galago[onnx]'",
        ) from None
    with captured() as chatter, tempfile.TemporaryDirectory(prefix="galago-onnx-") as folder:
        path = Path(folder) / "float.tflite"
        path.write_bytes(network)
        try:
            model, _ = tf2onnx.convert.from_tflite(str(path), opset=_OPSET)
        except Exception as error:  # tf2onnx raises what it likes
            raise ModelError(
                Reason.EXPORT_FAILED,
                f"tf2onnx does not take the network: {error or chatter.text()}",
                hint="export it as saved-model",
            ) from error
        content = model.SerializeToString()
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    feed, name = input_spec(source.preprocess).real(tried.codes), session.get_inputs()[0].name
    return ExportedForm(
        files={"model.onnx": content, "labels.txt": _labels(source)},
        takes=_reals(source),
        gives="a logit for each label, float32",
        reader=f"onnxruntime {onnxruntime.__version__}",
        answers=np.concatenate([session.run(None, {name: one[np.newaxis]})[0] for one in feed]),
        expected=_interpreted(network, feed),
        tolerance=_FLOAT_TOLERANCE,
    )


def _saved_model(source: ExportSource, tried: Tried) -> ExportedForm:
    network = _float_network(source, "saved-model")
    assert source.network is not None
    tf, feed = import_tensorflow(), input_spec(source.preprocess).real(tried.codes)
    with captured(), tempfile.TemporaryDirectory(prefix="galago-saved-") as folder:
        place = Path(folder) / "saved_model"
        try:
            source.network().export(str(place), verbose=False)
            loaded = tf.saved_model.load(str(place))
            answers = np.concatenate([np.asarray(loaded.serve(one[np.newaxis])) for one in feed])
        except Exception as error:  # whatever the author's own layers may raise
            raise ModelError(
                Reason.EXPORT_FAILED,
                f"Keras does not export the network: {type(error).__name__}: {error}",
                hint="export it as onnx or tflite-plain",
            ) from error
        files = {
            f"saved_model/{path.relative_to(place).as_posix()}": path.read_bytes()
            for path in sorted(place.rglob("*"))
            if path.is_file()
        }
    return ExportedForm(
        files={**files, "labels.txt": _labels(source)},
        takes=_reals(source),
        gives="a logit for each label, float32",
        reader=f"tensorflow {tf.__version__}",
        answers=answers,
        expected=_interpreted(network, feed),
        tolerance=_FLOAT_TOLERANCE,
    )


_OPSET = 17
_FLOAT_TOLERANCE = 0.01
"""Of a logit: other libraries sum in another order."""
_FORMS: MappingProxyType[Form, Callable[[ExportSource, Tried], ExportedForm]] = MappingProxyType(
    {
        "mediapipe": _mediapipe,
        "tflite-plain": _plain,
        "onnx": _onnx,
        "saved-model": _saved_model,
        "c-array": _array,
    }
)


def _float_network(source: ExportSource, form: Form) -> bytes:
    if source.float_model is None:
        raise CallerError(
            Reason.CONFIG_BAD,
            f"{form} is made of the float network, and a bundle holds the int8 one alone",
            hint="give the run folder that the bundle was built from",
        )
    return source.float_model


def _labels(source: ExportSource) -> bytes:
    return "".join(f"{label}\n" for label in source.labels).encode()


def _codes(source: ExportSource) -> str:
    fed, spec = source.input, source.preprocess
    what = f"log-mel codes of {spec.version}" if isinstance(spec, AudioPreprocess) else f"{spec.color} pixels"
    return f"{what}, {fed.dtype} {list(fed.shape)}"


def _reals(source: ExportSource) -> str:
    spec = source.preprocess
    what = (
        f"log-mel codes of {spec.version}, times {input_spec(spec).scale}"
        if isinstance(spec, AudioPreprocess)
        else f"{spec.color} pixels from 0 to 255"
    )
    return f"{what}, float32 {list(source.input.shape)}"


def _logit_codes(source: ExportSource) -> str:
    given = source.output
    return f"a logit for each label, int8: {given.scale:.6g} x (code - {given.zero_point})"


def _interpreted(model: bytes, feed: npt.NDArray[Any]) -> Floats:
    interpreter = interpreter_class()(model_content=model, num_threads=1)
    with captured():
        interpreter.allocate_tensors()
    into, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    answers = []
    for one in feed:
        interpreter.set_tensor(into, one[np.newaxis])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(result)[0].copy())
    return np.stack(answers)


def _logits(model: bytes, codes: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
    engine, answers = Engine(model), []
    for one in codes:
        engine.input_view()[...] = one
        engine.invoke()
        answers.append(engine.logits())
    return np.stack(answers)
