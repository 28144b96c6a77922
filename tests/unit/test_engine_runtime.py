"""Which runtime is chosen, and what is said when there is none."""

from __future__ import annotations

import importlib.metadata
import sys
from types import ModuleType
from typing import Any

import pytest

from galago_edge.contract.errors import DeviceError, Reason
from galago_edge.contract.profile import RuntimeInfo
from galago_edge.engine import interpreter_class, runtime


def fake_runtime(monkeypatch: pytest.MonkeyPatch, package: str) -> type[Any]:
    module = ModuleType(f"{package}.interpreter")
    module.Interpreter = type("Interpreter", (), {"__module__": module.__name__})
    monkeypatch.setitem(sys.modules, package, ModuleType(package))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module.Interpreter


def remove(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"{package}.interpreter", raising=False)


def test_the_installed_runtime_is_named_with_its_version() -> None:
    assert runtime() == RuntimeInfo("ai-edge-litert", importlib.metadata.version("ai-edge-litert"))


def test_litert_wins_where_both_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    litert = fake_runtime(monkeypatch, "ai_edge_litert")
    fake_runtime(monkeypatch, "tflite_runtime")
    assert interpreter_class() is litert


def test_tflite_runtime_is_taken_where_litert_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    remove(monkeypatch, "ai_edge_litert")
    found = fake_runtime(monkeypatch, "tflite_runtime")
    sys.modules["tflite_runtime"].__version__ = "2.14.0"
    assert interpreter_class() is found
    assert runtime() == RuntimeInfo("tflite-runtime", "2.14.0")  # no metadata here: the package's own word


def test_no_runtime_is_one_line_with_the_command_that_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    remove(monkeypatch, "ai_edge_litert")
    remove(monkeypatch, "tflite_runtime")
    with pytest.raises(DeviceError, match="no TFLite runtime is installed") as info:
        interpreter_class()
    assert info.value.reason is Reason.RUNTIME_MISSING
    assert "pip install ai-edge-litert" in info.value.hint


def test_a_broken_runtime_is_not_hidden_behind_the_next(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    package = tmp_path / "ai_edge_litert"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "interpreter.py").write_text("import numpy_that_is_gone")
    remove(monkeypatch, "ai_edge_litert")
    monkeypatch.delitem(sys.modules, "ai_edge_litert")
    monkeypatch.syspath_prepend(str(tmp_path))
    fake_runtime(monkeypatch, "tflite_runtime")
    with pytest.raises(ModuleNotFoundError, match="numpy_that_is_gone"):
        interpreter_class()
