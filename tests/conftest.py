"""Fixtures that several parts' tests share. What one part alone needs stays in its own test file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("galago", deadline=None)  # a busy machine is not a failed promise
settings.load_profile("galago")

DATA = Path(__file__).parent / "data"
TFLITE_RUNTIME_PYTHON = Path(__file__).parents[1] / ".venv-tflite-runtime" / "bin" / "python"


@pytest.fixture(scope="session")
def tiny_image_model() -> bytes:
    """int8 model, uint8 (1, 16, 16, 3) -> 3 logits: dark, mid, bright (borders at levels 85 and 170).

    Made by tests/data/make_tiny_models.py, as are the other models.
    """
    return (DATA / "tiny_image.tflite").read_bytes()


@pytest.fixture(scope="session")
def tiny_audio_model() -> bytes:
    """int8 model, int8 (1, 20, 10), scale 1/64 -> 3 logits: quiet, low bands loud, high bands loud.

    With the log-mel frontend at 10 bands: silence is quiet, a tone of 400 or 1000 Hz low, of 3100 Hz high.
    """
    return (DATA / "tiny_audio.tflite").read_bytes()


@pytest.fixture(scope="session")
def block_model() -> bytes:
    """int8 model, uint8 (1, 32, 32, 3) -> 11 logits without a meaning, for comparing runtimes."""
    return (DATA / "block_net.tflite").read_bytes()


@pytest.fixture(scope="session")
def tflite_runtime_python() -> Path:
    """Python of an environment that has galago-edge on tflite-runtime instead of ai-edge-litert."""
    if not TFLITE_RUNTIME_PYTHON.exists():
        missing = "no .venv-tflite-runtime: run python tests/setup/tflite_runtime_env.py"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return TFLITE_RUNTIME_PYTHON
