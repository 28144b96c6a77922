"""The profiles' operator tables against the runtimes themselves."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from galago_devices import names, profile

ROOT = Path(__file__).parents[2]


def measured(python: Path | str) -> dict[str, int]:
    script = ROOT / "tests" / "setup" / "op_tables.py"
    text = subprocess.check_output([sys.executable, str(script), str(python)], text=True)
    table: dict[str, int] = tomllib.loads(text)["runtime"]["ops"]
    return table


def tables_for(package: str) -> list[dict[str, int]]:
    runtimes = [profile(name).runtime for name in names()]
    return [runtime.ops for runtime in runtimes if runtime.package == package]


@pytest.mark.slow
def test_every_operator_of_the_tables_is_in_the_installed_runtime() -> None:
    """The tables are those of the oldest version that is allowed; a newer runtime only has more."""
    here = measured(sys.executable)
    tables = tables_for("ai-edge-litert")
    assert len(tables) == 3
    for table in tables:
        assert set(table) == set(here)
        assert {name: version for name, version in table.items() if version > here[name]} == {}


@pytest.mark.slow
def test_the_table_for_tflite_runtime_is_exactly_what_it_has(tflite_runtime_python: Path) -> None:
    assert tables_for("tflite-runtime") == [measured(tflite_runtime_python)]
