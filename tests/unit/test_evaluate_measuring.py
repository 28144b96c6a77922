"""What a model costs is measured in a process of its own, and the heap of its engine is the engine's."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from galago_workstation.evaluation import inference_cost
from galago_workstation.evaluation.inference_cost import heap_bytes, measure

DATA = Path(__file__).parents[1] / "data"


def test_a_larger_model_takes_more_of_the_heap_and_the_same_one_the_same() -> None:
    small, again, large = (
        measure("int8", DATA / name).engine_heap_bytes
        for name in ("tiny_image.tflite", "tiny_image.tflite", "block_net.tflite")
    )
    assert small is not None and again is not None and large is not None
    assert 5_000 < small < large < 1_000_000
    assert abs(small - again) < 4096


def test_the_heap_counts_what_malloc_gave() -> None:
    library = ctypes.CDLL(None)
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
    library.free.argtypes = (ctypes.c_void_p,)
    for size in (100_000, 50_000_000):  # in the heap, and in a mapping of its own
        before = heap_bytes()
        given = library.malloc(size)
        after = heap_bytes()
        library.free(given)
        assert before is not None and after is not None
        assert size <= after - before < size + 100_000


def test_a_library_that_does_not_tell_gives_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference_cost.ctypes, "CDLL", lambda name: object())
    assert heap_bytes() is None
