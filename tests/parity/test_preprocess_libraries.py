"""Preprocessing with other versions of its libraries: NumPy 1 and OpenCV 4 give the same golden vectors."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

DATA = Path(__file__).parents[1] / "data"
SCRIPT = """
import json, sys
import cv2, numpy
import make_preprocess_goldens
print(json.dumps([numpy.__version__, cv2.__version__, make_preprocess_goldens.compute()]))
"""


def test_other_libraries_give_the_golden_vectors(tflite_runtime_python: Path) -> None:
    import cv2
    import numpy

    text = subprocess.check_output([tflite_runtime_python, "-c", SCRIPT], cwd=DATA, text=True)
    other_numpy, other_cv2, computed = json.loads(text)
    assert computed == json.loads((DATA / "preprocess_goldens.json").read_text())
    assert (other_numpy, other_cv2) != (numpy.__version__, cv2.__version__), "this compared nothing"
