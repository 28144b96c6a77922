"""What was found in a model, as lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from galago_converters.inspection import ModelTensor
from galago_converters.model_content import ModelContent
from galago_edge.contract.count_words import count_of
from galago_workstation.looking.look_messages import ModelLook, RuntimeLook
from galago_workstation.looking.model_look import BoardVerdict

_MOST_LISTED = 12
_NAME = 60
"""Characters of a tensor's name that are shown."""


def look_rows(look: ModelLook, boards: Sequence[BoardVerdict]) -> Iterator[tuple[str, str]]:
    """Yield rows: what, and what was found; what is empty continues the row above."""
    content, run = look.content, look.run
    yield "what is inside", content.inside
    yield from _listed("input", [tensor_words(one) for one in content.inputs])
    yield from _listed("output", [tensor_words(one) for one in content.outputs])
    yield from _listed("operators", _operators(content))
    yield (
        "size",
        (
            f"{content.bytes} bytes: weights {content.weight_bytes}, "
            f"metadata {sum(one.bytes for one in content.metadata)}, the rest {content.other_bytes}"
        ),
    )
    yield "parameters", str(content.parameters)
    yield from _listed("multiply-adds", _multiply_adds(content))
    yield (
        "quantized tensors",
        (
            f"{content.quantized_per_tensor} with one scale, "
            f"{content.quantized_per_channel} with one per channel"
        ),
    )
    yield "state", _state(content)
    yield from _listed("metadata", _metadata(content))
    yield from _listed(
        "signatures",
        [f"{one.key}: {', '.join(one.inputs)} -> {', '.join(one.outputs)}" for one in content.signatures],
    )
    yield from _run_rows(content, run)
    yield "classifier", "Galago's engine takes it" if not run.classifier else f"no: {run.classifier}"
    yield from _listed(
        "boards",
        [f"{one.board}: " + ("; ".join(one.why_not) if one.why_not else "can run it") for one in boards],
    )


def tensor_words(tensor: ModelTensor) -> str:
    """Return a tensor in one phrase."""
    shape = "x".join(map(str, tensor.shape)) or "one value"
    text = f"{tensor.name[:_NAME]}: {tensor.dtype} {shape}"
    if len(tensor.scales) == 1:
        zero = tensor.zero_points[0] if tensor.zero_points else 0
        return f"{text}, scale {tensor.scales[0]:.6g}, zero point {zero}"
    return f"{text}, {len(tensor.scales)} scales" if tensor.scales else text


def _listed(what: str, lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    shown = [*lines[:_MOST_LISTED]] or ["none"]
    if len(lines) > _MOST_LISTED:
        shown.append(f"and {len(lines) - _MOST_LISTED} more: --json has all")
    for place, line in enumerate(shown):
        yield "" if place else what, line


def _operators(content: ModelContent) -> list[str]:
    uses = sorted(content.operators, key=lambda one: -one.nodes)
    return [
        f"{one.nodes} {one.name} v{one.version}" + (" (custom)" if one.custom else "") for one in uses
    ]  # fmt: skip


def _multiply_adds(content: ModelContent) -> list[str]:
    counted = content.multiply_adds
    of = ", ".join(f"{name} {number}" for name, number in counted.by_operator.items())
    lines = [f"{counted.total}" + (f" ({of})" if of else "")]
    why: dict[str, list[str]] = {}
    for one in counted.uncounted:
        why.setdefault(one.why, []).append(f"{one.nodes} {one.operator}")
    lines += [f"not counted: {', '.join(names)}: {reason}" for reason, names in why.items()]
    if content.unsized_tensors:
        lines.append(
            f"{count_of(content.unsized_tensors, 'tensor')} without a fixed size: as the file has it"
        )
    return lines


def _state(content: ModelContent) -> str:
    state = content.state
    parts = [count_of(content.graphs, "graph")]
    if state.variables:
        parts.append(count_of(state.variables, "variable"))
    if state.variable_tensors:
        parts.append(count_of(state.variable_tensors, "variable tensor"))
    if state.control_flow:
        parts.append(f"control flow: {', '.join(state.control_flow)}")
    return ("keeps values between runs: " if state.keeps else "none: ") + ", ".join(parts)


def _metadata(content: ModelContent) -> list[str]:
    lines = [
        f"{one.name}, {one.bytes} bytes" + (" (of a vendor)" if one.vendor else "")
        for one in content.metadata
    ]  # fmt: skip
    if content.min_runtime_version:
        lines.append(f"says that it needs TensorFlow {content.min_runtime_version}")
    return [*lines, *(f"file behind the model: {name}" for name in content.packed_files)]


def _run_rows(content: ModelContent, run: RuntimeLook) -> Iterator[tuple[str, str]]:
    estimate = f"{content.arena_estimate_bytes} bytes by liveness of its tensors"
    if not run.loads:
        yield "arena", f"{estimate}; not measured"
        yield "runtime here", f"{run.runtime} does not load it: {run.why_not}".lstrip()
        return
    open_tensors = (
        f", {count_of(run.unplanned_tensors, 'tensor')} planned later" if run.unplanned_tensors else ""
    )
    yield "arena", f"{run.arena_bytes} bytes planned here{open_tensors}; {estimate}"
    heap = "" if run.heap_bytes is None else f"; loading takes {run.heap_bytes} bytes of heap"
    yield "runtime here", f"{run.runtime}{heap}"
    if run.delegated is None:
        yield "XNNPACK", "the runtime does not tell"
    elif run.delegated == run.nodes:
        yield "XNNPACK", f"takes every node ({run.nodes})"
    else:
        left = ", ".join(f"{number} {name}" for name, number in run.left.items())
        yield "XNNPACK", f"takes {run.delegated} of {count_of(run.nodes, 'node')}; left: {left}"
