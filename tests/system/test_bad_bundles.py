"""Small run of ``make bad-bundles``: the same program, on one device for all bad bundles."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from galago_edge.commands.cli import main
from galago_edge.pipeline import isolated_load
from galago_edge.store import Store

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "bad_bundles.py"


def load_program() -> Any:
    spec = importlib.util.spec_from_file_location("bad_bundles", PROGRAM)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bad_bundles"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


BENCH = load_program()


def galago(arguments: Sequence[str]) -> tuple[int, str]:
    result = CliRunner().invoke(main, list(arguments))
    return result.exit_code, result.stdout


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A device that runs a good bundle, and to which all the bad ones come."""
    path: Path = BENCH.new_device(tmp_path_factory.mktemp("bad"), galago)
    return path


@pytest.mark.parametrize("case", BENCH.CASES, ids=lambda case: case.name)
def test_a_bad_bundle_leaves_the_old_one_active_and_nothing_of_itself(
    case: Any, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if case.reason == "LOAD_TIMEOUT":
        monkeypatch.setattr(isolated_load, "BASE_S", 1.0)
    row = BENCH.bring(case, root, tmp_path, galago)
    assert row.kept, row
    assert "\n" not in row.message


def test_the_next_good_one_is_not_blocked(tmp_path: Path) -> None:
    root = BENCH.new_device(tmp_path, galago)
    crash = next(case for case in BENCH.CASES if case.reason == "LOAD_CRASH")
    assert BENCH.bring(crash, root, tmp_path, galago).kept
    assert BENCH.bring_next(root, tmp_path, galago) == 0
    assert Store(root).active(BENCH.NAME).manifest.bundle.version == "3.0.0"
