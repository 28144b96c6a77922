"""Keras to TFLite, step by step: float32, fixed batch of 1, inference mode, builtin operators only.

``TFLiteConverter.from_keras_model`` is not used: with Keras 3 it hides the real error behind a second,
misleading one, and it leaves the batch axis open.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_converters import inspection, quality_gate
from galago_converters.causes import export_failed, one_line
from galago_converters.chatter import Chatter, captured
from galago_converters.frameworks import import_tensorflow
from galago_converters.inputs import Codes, InputSpec
from galago_converters.layers import LayerNames, all_layers
from galago_edge.contract.errors import GalagoError, ModelError, Reason

Floats = npt.NDArray[np.float32]

# float16 keeps 11 bits: after a few layers logits of both precisions agree to some percent, and a wrong
# assignment of weights differs by the logits' own size
_REBUILD_TOLERANCE = 0.05
_BATCH = 256
_PROBES = 16  # samples on which a rebuilt model is compared


@dataclass(frozen=True, slots=True)
class Exported:
    """The two files that one Keras model becomes, without embedded metadata."""

    float_model: bytes
    int8_model: bytes
    layers: LayerNames
    rebuilt: bool
    """The model did not compute in float32 and was rebuilt; its logits agree only to some percent."""


def export(model: Any, spec: InputSpec, representative: Codes, *, labels: int) -> Exported:
    """Convert a Keras model to a float and a full-int8 TFLite file; same model and data, same bytes.

    Nothing is printed. The int8 file is not judged here: see :mod:`galago_converters.quality_gate`.

    Args:
        model: Any built Keras 3 model with one float32 input (batch first, then ``spec.shape``) and one
            output of logits.
        spec: The input tensor to make.
        representative: Codes ``(n, *spec.shape)`` that fix the ranges, from
            :func:`galago_converters.calibration.representative`.
        labels: Size of the output.

    Raises:
        ModelError: EXPORT_FAILED; the model has another form or raises. OP_NOT_INT8; an operator is not a
            builtin one, or keeps state.
    """
    layers = LayerNames.of_model(model)
    _check_form(model, spec, labels)
    with captured() as chatter, tempfile.TemporaryDirectory(prefix="galago-export-") as folder:
        try:
            plain = as_float32(model, representative[:_PROBES], spec)
            _save(plain, spec, folder)
            float_model = _convert(folder, spec)
            # the calibrator crashes the process on control flow, so the float file is judged first
            quality_gate.check_float(inspection.report(float_model), spec, labels=labels, layers=layers)
            int8_model = _convert(folder, spec, representative)
        except GalagoError:
            raise
        except Exception as error:  # whatever the author's own layers may raise
            raise _cause(error, layers, chatter) from error
    return Exported(float_model, int8_model, layers, rebuilt=plain is not model)


def export_rounding(network: Any, spec: InputSpec) -> bytes:
    """Convert a network with fake quantization to a full-int8 TFLite file, with the ranges that it has.

    Args:
        network: From :meth:`galago_converters.fake_quantization.FakeQuantized.for_export`.
        spec: The input tensor.

    Raises:
        ModelError: EXPORT_FAILED.
    """
    layers = LayerNames.of_model(network)
    with captured() as chatter, tempfile.TemporaryDirectory(prefix="galago-export-") as folder:
        try:
            _save(network, spec, folder)
            return _convert(folder, spec, ranges_inside=True)
        except Exception as error:  # the converter raises what it likes
            raise _cause(error, layers, chatter) from error


def _cause(error: Exception, layers: LayerNames, chatter: Chatter) -> ModelError:
    return export_failed(error, layers, chatter.text())


def _check_form(model: Any, spec: InputSpec, labels: int) -> None:
    if not model.built:
        raise ModelError(
            Reason.EXPORT_FAILED,
            f"model {model.name} ({type(model).__name__}) has no weights yet: it was never called",
            hint="call it once on a batch of inputs, or train it, before converting",
        )
    inputs = _flat(getattr(model, "inputs", None) or [None])
    if len(inputs) != 1:
        names = ", ".join(tensor.name for tensor in inputs)
        raise ModelError(
            Reason.EXPORT_FAILED,
            f"model {model.name} takes {len(inputs)} inputs ({names}), expected one",
            hint="a Galago model takes one image or one window of audio",
        )
    if inputs[0] is not None:
        _check_shape(model, "input", tuple(inputs[0].shape[1:]), spec.shape)
    outputs = _flat(getattr(model, "outputs", None) or [None])
    if len(outputs) != 1:
        raise ModelError(
            Reason.EXPORT_FAILED,
            f"model {model.name} gives {len(outputs)} outputs, expected one: the logits",
            hint="export the classifier alone",
        )
    if outputs[0] is not None:
        _check_shape(model, "output", tuple(outputs[0].shape[1:]), (labels,))


def _check_shape(model: Any, what: str, found: tuple[int | None, ...], expected: tuple[int, ...]) -> None:
    if len(found) != len(expected) or any(f not in (None, e) for f, e in zip(found, expected, strict=True)):
        raise ModelError(
            Reason.EXPORT_FAILED,
            f"the {what} of model {model.name} has shape {found}, expected {expected}",
            hint="labels and preprocessing must be those that the model was trained with",
        )


def _flat(structure: Any) -> list[Any]:
    if isinstance(structure, dict):
        structure = list(structure.values())
    return list(structure) if isinstance(structure, list | tuple) else [structure]


def as_float32(model: Any, probes: Codes, spec: InputSpec) -> Any:
    """Return the model, or the same network and weights under float32 when a layer computes in less.

    ``mixed_float16`` networks do not convert (tensorflow issues 46380, 40930). The rebuilt network must give
    the logits of the old one on ``probes``, codes ``(n, *spec.shape)``.

    Raises:
        ModelError: EXPORT_FAILED; the network cannot be rebuilt from its configuration, or answers otherwise.
    """
    policies = {layer.dtype_policy.name for layer in all_layers(model) if layer.compute_dtype != "float32"}
    if not policies:
        return model
    rebuilt = _rebuild(model, ", ".join(sorted(policies)))
    before, after = logits(model, probes, spec), logits(rebuilt, probes, spec)
    delta = float(np.abs(before - after).max())
    limit = _REBUILD_TOLERANCE * max(1.0, float(np.abs(after).max()))
    if not delta <= limit:  # a NaN is not within any limit
        raise ModelError(
            Reason.EXPORT_FAILED,
            f"model {model.name} under float32 differs from {', '.join(sorted(policies))} by {delta:.3g},"
            f" expected at most {limit:.3g}",
            hint="train it under the float32 policy",
        )
    return rebuilt


def _rebuild(model: Any, policies: str) -> Any:
    keras = _keras()
    classes = {type(layer).__name__: type(layer) for layer in all_layers(model)}
    try:
        config = _under_float32(keras.saving.serialize_keras_object(model))
        with keras.saving.custom_object_scope(classes):
            # safe_mode guards against code in files; this configuration comes from a live object
            rebuilt = keras.saving.deserialize_keras_object(config, safe_mode=False)
        rebuilt.set_weights(model.get_weights())
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ModelError(
            Reason.EXPORT_FAILED,
            f"model {model.name} computes in {policies} and cannot be rebuilt under float32:"
            f" {one_line(str(error))}",
            hint="give the class a get_config, or train it under the float32 policy",
        ) from None
    return rebuilt


def _under_float32(config: Any) -> Any:
    if isinstance(config, dict):
        if str(config.get("class_name", "")).endswith("DTypePolicy"):
            return "float32"
        return {
            key: "float32" if key == "dtype" and isinstance(value, str) else _under_float32(value)
            for key, value in config.items()
        }
    return [_under_float32(value) for value in config] if isinstance(config, list) else config


def logits(
    model: Any, inputs: Codes, spec: InputSpec, progress: Callable[[int], None] = lambda _: None
) -> Floats:
    """Return a Keras model's logits ``(n, labels)`` for codes ``(n, *spec.shape)``, in inference mode.

    ``progress`` is called with the number of samples done, now and then.
    """
    parts = []
    for start in range(0, len(inputs), _BATCH):
        parts.append(np.asarray(_call(model, spec.real(inputs[start : start + _BATCH])), np.float32))
        progress(min(start + _BATCH, len(inputs)))
    return np.concatenate(parts)


def _call(model: Any, batch: Any) -> Any:
    """Call the model on one batch; a dictionary of one tensor is unpacked on either side."""
    structure = getattr(model, "input", None) if getattr(model, "inputs", None) else None
    if isinstance(structure, dict):
        batch = dict.fromkeys(structure, batch)
    return _flat(model(batch, training=False))[0]


def _keras() -> Any:
    import_tensorflow()  # quiet, and with the right backend
    import keras

    return keras


def _save(model: Any, spec: InputSpec, folder: str) -> None:
    tf = import_tensorflow()
    keras = _keras()
    filtering = keras.config.is_traceback_filtering_enabled()
    keras.config.disable_traceback_filtering()  # else Keras hides which layer failed, and its error
    try:
        archive = keras.export.ExportArchive()
        archive.track(model)
        archive.add_endpoint(
            "serving_default",
            lambda codes: {"logits": _call(model, codes)},
            input_signature=[tf.TensorSpec([1, *spec.shape], tf.float32, name="input")],
        )
        archive.write_out(folder, verbose=False)
    finally:
        if filtering:
            keras.config.enable_traceback_filtering()


def _convert(
    folder: str, spec: InputSpec, representative: Codes | None = None, *, ranges_inside: bool = False
) -> bytes:
    """Return the float file, or the int8 one: with ranges from samples, or from the graph itself."""
    tf = import_tensorflow()
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(Path(folder)), signature_keys=["serving_default"]
    )
    converter.exclude_conversion_metadata = True  # it holds versions and would make bytes depend on them
    if representative is None and not ranges_inside:
        return bytes(converter.convert())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = getattr(tf, spec.dtype)
    converter.inference_output_type = tf.int8
    if representative is not None:
        codes = representative

        def samples() -> Iterator[dict[str, Floats]]:
            for sample in codes:
                yield {"input": spec.real(sample)[np.newaxis]}

        converter.representative_dataset = samples
        # not with ranges inside: the converter then demands samples all the same
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return bytes(converter.convert())
