"""The process that looks at a model: ``python -m galago_workstation.looking.look_child``.

A file may be made to end whoever reads or loads it. Here that happens alone, within bounds;
``galago_workstation.looking.model_look`` starts this process and tells what became of it. Arguments: a file
descriptor for the answer, the model's path, and bounds in bytes and seconds. The answer grows line by line,
as ``look_messages`` says: what the file holds is told before a runtime touches it.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from galago_converters.model_content import ModelContent, content_of
from galago_edge.children.confinement import Confinement, confine
from galago_edge.children.lifeline import die_with_parent
from galago_edge.contract.errors import GalagoError, disk_error
from galago_edge.engine import Engine, interpreter_class, runtime
from galago_workstation.evaluation.inference_cost import heap_bytes
from galago_workstation.looking.look_messages import CONTENT, FAILED, RUN, LookFailure, RuntimeLook

_SAID = 200
"""Characters of what a runtime says."""


def main(arguments: list[str]) -> None:
    """Look at one file; write the answer."""
    die_with_parent()
    answer, path = int(arguments[0]), Path(arguments[1])
    memory_bytes, seconds = int(arguments[2]), float(arguments[3])
    interpreter_class()  # the bounds are for the model, not for libraries
    from ai_edge_litert import schema_py_generated  # noqa: F401

    confine(Confinement(memory_bytes, seconds, seconds))
    try:
        model = path.read_bytes()
        content = content_of(model)
    except GalagoError as error:
        _fail(answer, error)
        return
    except OSError as error:
        _fail(answer, disk_error(error, f"read {path}"))
        return
    _write(answer, CONTENT + msgspec.json.encode(content))
    _write(answer, RUN + msgspec.json.encode(look_at_run(model, content)))


def look_at_run(model: bytes, content: ModelContent) -> RuntimeLook:
    """Load a well-formed model, first as the builtin kernels do, then as the runtime does by itself."""
    here = runtime()
    name = f"{here.package} {here.version}"
    try:
        plain = _loaded(model, builtin=True)
        arena, unplanned = _arena(plain, content)
        del plain
        before = heap_bytes()
        usual = _loaded(model, builtin=False)
        after = heap_bytes()
    except (ValueError, RuntimeError, MemoryError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        return RuntimeLook(runtime=name, loads=False, why_not=said[:_SAID], classifier=_refusal(model))
    taken = _taken(usual, len(content.nodes))
    left = [node[0] for place, node in enumerate(content.nodes) if taken is not None and place not in taken]
    return RuntimeLook(
        runtime=name,
        loads=True,
        arena_bytes=arena,
        unplanned_tensors=unplanned,
        heap_bytes=None if before is None or after is None else max(0, after - before),
        nodes=len(content.nodes),
        delegated=None if taken is None else len(taken),
        left=dict(Counter(left).most_common()),
        classifier=_refusal(model),
    )


def _loaded(model: bytes, *, builtin: bool) -> Any:
    kind = interpreter_class()
    if builtin:
        resolver = sys.modules[kind.__module__].OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        interpreter = kind(model_content=model, num_threads=1, experimental_op_resolver_type=resolver)
    else:
        interpreter = kind(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def _arena(interpreter: Any, content: ModelContent) -> tuple[int, int]:
    """Return the bytes that planned tensors cover, and how many tensors have no memory yet.

    Tensors that live at different times share bytes, so the union of their places is what was planned. Those
    whose values lie in the file have no place there: they are the ones that no node writes and nobody feeds.
    """
    written = {index for node in content.nodes for index in node[2]} | {one.index for one in content.inputs}
    places, unplanned = [], 0
    for detail in interpreter.get_tensor_details():
        index = int(detail["index"])
        if index < len(content.tensors) and index not in written:
            continue
        try:
            memory = interpreter.tensor(index)()
        except ValueError:  # it gets its memory in a run, if at all
            memory = None
        if memory is None:  # as resources have none
            unplanned += 1
            continue
        if not isinstance(memory, np.ndarray):
            continue  # a single number comes as a copy, without its place; it takes some bytes
        places.append((memory.ctypes.data, memory.ctypes.data + memory.nbytes))
    return covered(places), unplanned


def covered(places: Iterable[tuple[int, int]]) -> int:
    """Return how many bytes lie in at least one of ``(first, behind the last)``."""
    total, reached = 0, 0
    for start, end in sorted(places):
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total


def _taken(interpreter: Any, count: int) -> set[int] | None:
    """Return the nodes, of the first ``count``, that a delegate runs; None where the runtime does not tell.

    The runtime lists a delegate's part as one more node. What it replaces are the nodes that its outputs are
    computed by, back to its inputs.
    """
    details = getattr(interpreter, "_get_ops_details", None)  # experimental in both runtimes
    if details is None:
        return None
    listed = details()
    writers = {
        int(index): place for place, one in enumerate(listed[:count]) for index in np.ravel(one["outputs"])
    }
    taken: set[int] = set()
    for part in listed[count:]:
        if part["op_name"] != "DELEGATE":
            continue
        known = {int(index) for index in np.ravel(part["inputs"])}
        todo = [int(index) for index in np.ravel(part["outputs"])]
        while todo:
            index = todo.pop()
            place = writers.get(index)
            if index in known or place is None or place in taken:
                continue
            taken.add(place)
            todo += [int(one) for one in np.ravel(listed[place]["inputs"])]
    return taken


def _refusal(model: bytes) -> str:
    """Return why the engine does not take a model, in its own words; empty where it does."""
    try:
        Engine(model).close()
    except GalagoError as error:
        return str(error)
    return ""


def _fail(answer: int, error: GalagoError) -> None:
    told = LookFailure(reason=str(error.reason.value), message=str(error), hint=error.hint or "")
    _write(answer, FAILED + msgspec.json.encode(told))


def _write(answer: int, line: bytes) -> None:
    view = memoryview(line + b"\n")
    while view:
        view = view[os.write(answer, view) :]


if __name__ == "__main__":
    main(sys.argv[1:])
    os._exit(0)  # what a broken runtime does when it is taken down is of no use to anybody
