"""What ``import galago_edge`` offers: by name, lazily, documented."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import galago_edge

SOURCE = Path(galago_edge.__file__)
OFFERED = [name for name in galago_edge.__all__ if name != "__version__"]


def test_importing_the_package_loads_nothing_but_itself() -> None:
    code = "import sys, galago_edge; print(*(name for name in sys.modules))"
    loaded = set(subprocess.check_output([sys.executable, "-c", code], text=True).split())
    assert {name for name in loaded if name.startswith("galago_edge")} == {"galago_edge"}
    assert not loaded & {"numpy", "cv2", "msgspec", "click", "cryptography", "ai_edge_litert"}


def test_what_has_no_arrays_loads_no_numpy() -> None:
    names = "g.GalagoError, g.Reason, g.EventRecord, g.encode_record, g.read_records"
    code = f"import sys, galago_edge as g; {names}; print(*(name for name in sys.modules))"
    loaded = set(subprocess.check_output([sys.executable, "-c", code], text=True).split())
    assert not loaded & {"numpy", "cv2", "ai_edge_litert", "tflite_runtime"}


def test_all_names_are_sorted_and_are_what_dir_shows() -> None:
    assert galago_edge.__all__ == sorted(galago_edge.__all__)
    assert dir(galago_edge) == galago_edge.__all__
    for name in galago_edge.__all__:
        getattr(galago_edge, name)
    bound = {
        name
        for name, value in vars(galago_edge).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert bound - {"Any", "TYPE_CHECKING", "annotations"} == set(OFFERED)


def test_type_checkers_and_programs_see_the_same_names_from_the_same_places() -> None:
    shown = {
        alias.name: node.module
        for block in ast.parse(SOURCE.read_text(encoding="utf-8")).body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(shown) == sorted(OFFERED)
    for name, module in shown.items():
        assert getattr(galago_edge, name) is getattr(importlib.import_module(str(module)), name)


@pytest.mark.parametrize("name", [name for name in OFFERED if name != "Record"])
def test_every_name_and_all_it_holds_is_documented(name: str) -> None:
    found = getattr(galago_edge, name)
    assert inspect.getdoc(found), name
    if inspect.isclass(found) and found.__module__.startswith("galago_edge.api"):
        for member, value in vars(found).items():
            if not member.startswith("_"):
                assert inspect.getdoc(value), f"{name}.{member}"


def test_an_unknown_name_is_an_attribute_error_and_submodules_are_still_found() -> None:
    with pytest.raises(AttributeError, match="no attribute 'classify_everything'"):
        galago_edge.classify_everything  # noqa: B018
    code = "from galago_edge import pipeline; import galago_edge; assert galago_edge.pipeline is pipeline"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_error_a_program_may_meet_is_a_galago_error() -> None:
    errors = [getattr(galago_edge, name) for name in OFFERED if name.endswith("Error")]
    assert len(errors) == 6
    assert all(issubclass(error, galago_edge.GalagoError) for error in errors)
