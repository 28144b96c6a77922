"""Golden vectors. Made by tests/data/make_preprocess_goldens.py; see there what to do after a change."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

MAKER = Path(__file__).parents[1] / "data" / "make_preprocess_goldens.py"
REMAKE = f"if this change is intended: python tests/data/{MAKER.name}, and raise the implementation number"


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_preprocess_goldens", MAKER)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def computed(maker: ModuleType) -> dict[str, Any]:
    return maker.compute()


@pytest.fixture(scope="module")
def golden(maker: ModuleType) -> dict[str, Any]:
    return json.loads(maker.GOLDENS.read_text())


@pytest.mark.parametrize("part", ["fingerprint", "tables", "codes"])
def test_audio_frontend_still_gives_its_golden_vectors(
    computed: dict[str, Any], golden: dict[str, Any], part: str
) -> None:
    assert computed["audio"].keys() == golden["audio"].keys()
    for name, values in golden["audio"].items():
        assert computed["audio"][name][part] == values[part], f"{name}: {REMAKE}"


@pytest.mark.parametrize("part", ["fingerprint", "tensors"])
def test_image_preprocessing_still_gives_its_golden_tensors(
    computed: dict[str, Any], golden: dict[str, Any], part: str
) -> None:
    assert computed["image"].keys() == golden["image"].keys()
    for name, values in golden["image"].items():
        assert computed["image"][name][part] == values[part], f"{name}: {REMAKE}"


def test_golden_signals_exercise_the_frontend(golden: dict[str, Any]) -> None:
    """Silence and what lies below the lowest code give that one; signals give many different ones."""
    codes = golden["audio"]["default"]["codes"]
    assert set(codes["silence"]["frame 20"]) == {-128}
    assert set(codes["-1 LSB"]["frame 20"]) == {-128}
    for name in ("full-scale square", "chirp", "noise", "quiet noise", "DC"):
        assert len(set(codes[name]["frame 20"])) > 10, name
