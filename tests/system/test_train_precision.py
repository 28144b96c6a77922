"""Mixed precision leaves a float32 network and an exact int8 file; memory that runs out is one line."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from galago_converters.frameworks import import_tensorflow
from galago_edge.contract.errors import DeviceError, GalagoError, LinkError, Reason
from galago_workstation.conversion.conversion_run import convert_run
from galago_workstation.run_folder import Run
from galago_workstation.training.learner import Learner
from galago_workstation.training.machines import Machines
from galago_workstation.training.progress import PlainProgress
from galago_workstation.training.training_faults import faults_told
from galago_workstation.training.training_run import train
from test_kit.hostile_data import encoded

pytestmark = [
    pytest.mark.slow,
    # Keras 3.15 saves its variables through an interface that numpy 2 is about to drop
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

NOW = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
CONFIG = """
[data]
kind = "images"
folder = "pictures"
[preprocess]
kind = "image"
width = 8
height = 8
[model]
kind = "resnet"
filters = 4
stages = 1
[train]
epochs = 6
min_steps = 60
batch_size = 16
average = 0.5
precision = "{precision}"
[convert]
calibration_samples = 20
max_loss_points = 20.0
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give pictures of two labels that anybody can tell: bright ones and dark ones."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(1)
    for label, level in (("bright", 190), ("dark", 60)):
        (folder / "pictures" / label).mkdir(parents=True)
        for number in range(30):
            pixels = rng.integers(level - 40, level + 40, (8, 8, 3), np.uint8)
            (folder / "pictures" / label / f"{number}.png").write_bytes(encoded(".png", pixels))
    return folder


def config(folder: Path, precision: str) -> Path:
    path = folder / f"{precision}.toml"
    path.write_text(CONFIG.format(precision=precision))
    return path


def test_a_network_that_learned_in_float16_is_float32_and_converts(folder: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    run = train(config(folder, "mixed_float16"), tmp_path / "run", PlainProgress(lines.append))
    assert sum("mixed_float16 is for GPUs" in line for line in lines) == 1
    assert any(line.startswith("trains on ") and line.endswith("; mixed_float16") for line in lines)
    model = run.keras_model()
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
    assert {weight.dtype for weight in model.get_weights()} == {np.dtype(np.float32)}
    assert run.record.result.validation_accuracy == 1.0

    conversion = convert_run(Run.open(tmp_path / "run"), now=NOW)

    assert conversion.float_delta < 1e-4 and conversion.held_out.accuracy_int8 >= 0.9


def test_a_network_learns_in_bfloat16(folder: Path, tmp_path: Path) -> None:
    run = train(config(folder, "mixed_bfloat16"), tmp_path / "run", PlainProgress(lambda _: None))
    assert run.record.result.validation_accuracy == 1.0
    assert {weight.dtype for weight in run.keras_model().get_weights()} == {np.dtype(np.float32)}


def test_memory_that_runs_out_is_one_line_and_leaves_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_much(learner: Learner, *_: object, **__: object) -> bool:
        return bool(learner._tf.zeros([1 << 22, 1 << 24])[0, 0] > 0)

    monkeypatch.setattr(Learner, "learn", too_much)
    with pytest.raises(DeviceError) as caught:
        train(config(folder, "float32"), tmp_path / "run", PlainProgress(lambda _: None))
    assert caught.value.reason == Reason.TRAIN_MEMORY and caught.value.exit_code == 1
    assert "the computer has too little memory for this training: batches of 16" in str(caught.value)
    assert "[4194304,16777216]" in str(caught.value) and "lower [train] batch_size" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


MACHINES = Machines(("a:1", "b:2"), 0, ("/job:worker/replica:0/task:0", "/job:worker/replica:0/task:1"))


def told(kind: str, text: str, machines: Machines | None = None) -> GalagoError:
    error = getattr(import_tensorflow().errors, kind)(None, None, text)
    with pytest.raises(GalagoError) as caught, faults_told(64, machines):
        raise error
    return caught.value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (
            "ResourceExhaustedError",
            "OOM when allocating tensor with shape[64,9] and type float on "
            "/job:localhost/replica:0/task:0/device:GPU:1 by allocator GPU_1_bfc",
        ),
        ("InternalError", "Failed to call cublasCreate: CUBLAS_STATUS_ALLOC_FAILED on device:GPU:1"),
        ("UnknownError", "CUDA_ERROR_OUT_OF_MEMORY: out of memory, device:GPU:1"),
    ],
)
def test_what_a_gpu_without_memory_says_is_told_as_that(kind: str, text: str) -> None:
    error = told(kind, text)
    assert error.reason == Reason.TRAIN_MEMORY
    assert str(error).startswith("GPU 1 has too little memory for this training: batches of 64")


def test_a_connection_that_breaks_names_the_machine() -> None:
    error = told("UnavailableError", "Connection reset by peer /job:worker/replica:0/task:1", MACHINES)
    assert isinstance(error, LinkError) and error.reason == Reason.WORKER_LOST
    assert str(error) == "machine 1 of 2 lost the connection to machine 2 (b:2)"
    assert "another machine" in str(told("AbortedError", "Collective ops is aborted", MACHINES))


def test_other_mistakes_stay_what_they_are() -> None:
    errors = import_tensorflow().errors
    with pytest.raises(errors.InvalidArgumentError), faults_told(64, None):
        raise errors.InvalidArgumentError(None, None, "shapes")
    with pytest.raises(ValueError, match="ours"), faults_told(64, MACHINES):
        raise ValueError("ours")
