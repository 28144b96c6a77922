"""The examples of docs/python-training.md, run as one program, and the notebook that is made of them."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from galago_workstation import workflow

ROOT = Path(__file__).parents[2]
LEVELS = {"off": 40, "dim": 128, "on": 215}
MARK = "--- next example ---"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("maker", ROOT / "tests/data/make_training_notebook.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def prepare(folder: Path) -> None:
    rng = np.random.default_rng(1)
    for name, level in LEVELS.items():
        (folder / "lights" / name).mkdir(parents=True)
        for number in range(40):
            pixels = rng.integers(level - 25, level + 25, (16, 16), np.uint8)
            cv2.imwrite(str(folder / "lights" / name / f"{number}.png"), pixels)
    subprocess.run(
        [sys.executable, "-m", "galago_edge", "keys", "new", "release.key"], cwd=folder, check=True
    )


def test_the_examples_print_what_the_page_shows(maker: ModuleType, tmp_path: Path) -> None:
    prepare(tmp_path)
    examples = maker.examples()
    code = f"\nprint({MARK!r}, flush=True)\n".join(code for code, _ in examples)
    (tmp_path / "example.py").write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(f"{MARK}\n") == [output for _, output in examples]


def test_the_notebook_is_the_page(maker: ModuleType) -> None:
    assert maker.NOTEBOOK.read_text(encoding="utf-8") == maker.notebook(), "run make_training_notebook.py"
    cells = json.loads(maker.NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"] == [
        code.rstrip("\n") for code, _ in maker.examples()
    ]


def test_the_page_names_every_function_and_importing_loads_none() -> None:
    page = (ROOT / "docs/python-training.md").read_text(encoding="utf-8")
    functions = set(workflow.__all__) - {"EvaluatedRun"}
    assert all(f"`{name}(" in page for name in functions)
    assert all(callable(getattr(workflow, name)) for name in functions)
    heavy = "{'tensorflow', 'cv2', 'numpy'}"
    code = f"import sys, galago_workstation.workflow; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
