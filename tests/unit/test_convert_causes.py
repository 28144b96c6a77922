"""Texts of the converter and of Keras as TensorFlow 2.21 and Keras 3.15 write them."""

from __future__ import annotations

from galago_converters.causes import export_failed, failing_layer
from galago_converters.layers import LayerNames
from galago_edge.contract.errors import Reason

LAYERS = LayerNames("net", frozenset({"gamma", "gamma_1", "conv"}))

WHERE = (
    'callsite(fused["Erfinv:", "net_1/{layer}/Erfinv@__inference_<lambda>_632"] at callsite(fused['
    '"StatefulPartitionedCall:", "StatefulPartitionedCall@__inference_signature_wrapper_<lambda>_652"] at'
    ' fused["StatefulPartitionedCall:", "StatefulPartitionedCall"]))'
)


def missing(layer: str, op: str = "Erfinv") -> str:
    where = WHERE.format(layer=layer)
    return (
        f"<unknown>:0: error: loc({where}): 'tf.{op}' op is neither a custom op nor a flex op\n"
        '<unknown>:0: note: loc(fused["StatefulPartitionedCall:", "StatefulPartitionedCall"]): called from\n'
        f"<unknown>:0: note: loc({where}): Error code: ERROR_NEEDS_FLEX_OPS\n"
    )


def test_missing_operators_are_named_with_their_layers() -> None:
    text = "Could not translate MLIR to FlatBuffer." + missing("gamma_1") + missing("gamma_1_1", "Lgamma")
    error = export_failed(RuntimeError(text), LAYERS)
    assert error.reason is Reason.OP_NOT_INT8
    assert (
        str(error)
        == "TensorFlow Lite has no builtin operator for Erfinv (layer gamma), Lgamma (layer gamma_1)"
    )


def test_many_missing_operators_stay_one_line() -> None:
    text = "".join(missing("conv_1", f"Op{number}") for number in range(9))
    assert str(export_failed(RuntimeError(text), LAYERS)).endswith("Op2 (layer conv) and 6 more")


def test_what_was_only_printed_counts_too() -> None:
    error = export_failed(RuntimeError("conversion failed"), LAYERS, printed=missing("conv_1"))
    assert error.reason is Reason.OP_NOT_INT8


def test_other_diagnostics_are_reduced_to_their_first_line() -> None:
    text = f"<unknown>:0: error: loc({WHERE.format(layer='conv_1')}): failed to legalize\nnote: much more\n"
    error = export_failed(RuntimeError(text), LAYERS)
    assert error.reason is Reason.EXPORT_FAILED
    assert str(error) == ("the model cannot be exported: RuntimeError: failed to legalize (layer conv)")


def test_terminal_colours_and_blank_lines_are_dropped() -> None:
    error = export_failed(ValueError("\n\n  \x1b[1mwrong rank\x1b[0m\n\nArguments received"), LAYERS)
    assert str(error).endswith("ValueError: wrong rank")


def test_endless_messages_are_cut() -> None:
    assert len(str(export_failed(ValueError("x" * 10_000), LAYERS))) < 400


def test_an_exception_without_text_has_its_name() -> None:
    assert "KeyError: no message" in str(export_failed(KeyError(), LAYERS))


def test_code_outside_any_layer_names_none() -> None:
    try:
        raise ValueError
    except ValueError as error:
        assert failing_layer(error.__traceback__) == ""
