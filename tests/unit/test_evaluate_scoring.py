"""The figures of an evaluated run, counted by hand over five pictures; no network is trained here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from msgspec import UNSET

from galago_converters import model_runs
from galago_converters.conversion_record import Conversion, HeldOut, encode, read_conversion
from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.manifest import ImagePreprocess, Operator, Tensor
from galago_edge.decision.activation import Activation
from galago_workstation.data.sample import Sample
from galago_workstation.evaluation import scoring
from galago_workstation.evaluation.evaluation_record import Evaluation, read_evaluation
from galago_workstation.evaluation.inference_cost import Cost, Latency
from galago_workstation.progress_lines import PlainReport
from galago_workstation.training_config import DecisionOptions

LABELS = ("dark", "mid", "bright")
TRUTH = (0, 0, 1, 1, 1)
"""No picture is bright."""
LEVELS = (10, 120, 120, 130, 240)
"""What the tiny model, whose borders are 85 and 170, calls dark, mid, mid, mid, bright."""
KERAS = (0, 0, 1, 1, 2)
FLOAT = (2, 0, 1, 2, 2)


def votes(labels: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Logits ``(n, 3)`` that give these labels."""
    return np.eye(3, dtype=np.float32)[list(labels)]


class KerasModel:
    """Answers by the pictures' order, and keeps how it was called."""

    def __init__(self) -> None:
        self.calls: list[tuple[tuple[int, ...], bool]] = []

    def __call__(self, batch: Any, *, training: bool) -> npt.NDArray[np.float32]:
        self.calls.append((np.shape(batch), training))
        return votes(KERAS)[: len(batch)]


class RunFolder:
    """What :func:`evaluate_run` asks of a run, with pictures of one level each."""

    labels = LABELS
    preprocess = ImagePreprocess(width=16, height=16)
    config = SimpleNamespace(decision=DecisionOptions(activation="sigmoid", temperature=1.5))

    def __init__(self, path: Path, samples: list[Sample]) -> None:
        self.path, self._samples = path, samples
        self.model = KerasModel()

    def samples(self, part: str) -> list[Sample]:
        assert part == "test"
        return self._samples

    def samples_sha256(self, part: str) -> str:
        return hashlib.sha256(part.encode()).hexdigest()

    def inputs(self, samples: list[Sample]) -> npt.NDArray[np.uint8]:
        assert samples == self._samples
        levels = np.array(LEVELS, np.uint8)[:, None, None, None]
        return np.broadcast_to(levels, (5, 16, 16, 3)).copy()

    def keras_model(self) -> KerasModel:
        return self.model


def tensor(name: str, index: int, shape: tuple[int, ...], dtype: Any, scale: float, layout: Any) -> Tensor:
    return Tensor(name=name, index=index, shape=shape, dtype=dtype, scale=scale, zero_point=0, layout=layout)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def run(tmp_path: Path, tiny_image_model: bytes) -> RunFolder:
    """A converted run: the int8 file is the tiny model, the other files are as long as their names."""
    folder = tmp_path / "converted"
    folder.mkdir()
    (tmp_path / "model.keras").write_bytes(b"keras")
    (folder / "float.tflite").write_bytes(b"float file")
    (folder / "int8.tflite").write_bytes(tiny_image_model)
    (folder / "calibration.json").write_bytes(b"{}")
    record = Conversion(
        created_utc="2026-01-02T03:04:05Z",
        labels=LABELS,
        input=tensor("input", 0, (1, 16, 16, 3), "uint8", 1.0, "NHWC"),
        output=tensor("logits", 9, (1, 3), "int8", 0.1, "NC"),
        ops=(Operator(name="CONV_2D", version=3, count=1),),
        per_channel=True,
        model_sha256=sha256(b"keras"),
        float_sha256=sha256(b"float file"),
        int8_sha256=sha256(tiny_image_model),
        calibration_sha256=sha256(b"{}"),
        preprocess_sha256="0" * 64,
        float_delta=0.0,
        held_out=HeldOut(samples=9, accuracy_float=1.0, accuracy_int8=1.0, flips=0, max_loss_points=1.0),
        versions={},
    )
    (folder / "conversion.json").write_bytes(encode(record))
    samples = [Sample(f"{index}.png", None, "0" * 64, label) for index, label in enumerate(TRUTH)]
    return RunFolder(tmp_path, samples)


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> dict[str, int | None]:
    """Costs that the test knows, and no TensorFlow; ``heap`` may be changed."""
    heap: dict[str, int | None] = {"heap": 4_321}

    def measure(form: str, model: Path) -> Cost:
        assert model.name == f"{form}.tflite"
        if form == "float":
            return Cost(Latency(70, 80), 9_999_999, 9_999)
        return Cost(Latency(30, 40), 55_000_000, heap["heap"])

    def time_calls(call: Callable[[], object]) -> Latency:
        call()
        return Latency(500, 600)

    def float_logits(model: bytes, inputs: Any, spec: Any, progress: Any) -> npt.NDArray[np.float32]:
        assert model == b"float file"
        return votes(FLOAT)

    monkeypatch.setattr(scoring, "measure", measure)
    monkeypatch.setattr(scoring, "time_calls", time_calls)
    monkeypatch.setattr(model_runs, "float_logits", float_logits)
    tensorflow = SimpleNamespace(constant=np.asarray, function=lambda called: called)
    monkeypatch.setattr(scoring, "import_tensorflow", lambda: tensorflow)
    return heap


def evaluated(run: RunFolder, report: PlainReport | None = None) -> Evaluation:
    faked: Any = run
    return scoring.evaluate_run(faked, report=report or PlainReport()).evaluation


def test_accuracy_is_the_share_of_samples_that_get_their_true_label(run: RunFolder) -> None:
    found = evaluated(run)
    assert found.test_samples == 5
    assert found.keras.accuracy == 4 / 5
    assert found.tflite_float.accuracy == 2 / 5
    assert found.tflite_int8.accuracy == 3 / 5


def test_recall_is_per_true_label_and_says_nothing_of_a_label_without_samples(run: RunFolder) -> None:
    found = evaluated(run)
    assert found.keras.recall == {"dark": 1.0, "mid": 2 / 3}
    assert found.tflite_float.recall == {"dark": 1 / 2, "mid": 1 / 3}
    assert found.tflite_int8.recall == {"dark": 1 / 2, "mid": 2 / 3}


def test_the_matrix_has_true_labels_as_rows_and_given_ones_as_columns(run: RunFolder) -> None:
    found = evaluated(run)
    assert found.labels == LABELS
    assert found.keras.confusion == ((2, 0, 0), (0, 2, 1), (0, 0, 0))
    assert found.tflite_float.confusion == ((1, 0, 1), (0, 1, 2), (0, 0, 0))
    assert found.tflite_int8.confusion == ((1, 1, 0), (0, 2, 1), (0, 0, 0))


def test_disagreements_are_counted_against_keras_not_against_the_truth(run: RunFolder) -> None:
    found = evaluated(run)
    assert (found.keras.flips, found.tflite_float.flips, found.tflite_int8.flips) == (0, 2, 1)


def test_each_form_has_its_own_size_and_latency(run: RunFolder, tiny_image_model: bytes) -> None:
    found = evaluated(run)
    assert (found.keras.bytes, found.keras.p50_us, found.keras.p99_us) == (5, 500, 600)
    assert (found.tflite_float.bytes, found.tflite_float.p50_us, found.tflite_float.p99_us) == (10, 70, 80)
    assert found.tflite_int8.bytes == len(tiny_image_model)
    assert (found.tflite_int8.p50_us, found.tflite_int8.p99_us) == (30, 40)


def test_memory_is_that_of_the_int8_model(run: RunFolder, measured: dict[str, int | None]) -> None:
    found = evaluated(run)
    assert (found.rss_peak_bytes, found.engine_heap_bytes) == (55_000_000, 4_321)
    measured["heap"] = None  # a C library that does not tell
    assert evaluated(run).engine_heap_bytes is UNSET


def test_keras_is_scored_on_all_samples_and_timed_on_one_both_in_inference_mode(run: RunFolder) -> None:
    evaluated(run)
    assert run.model.calls == [((5, 16, 16, 3), False), ((1, 16, 16, 3), False)]


def test_the_record_names_what_was_scored(run: RunFolder, tiny_image_model: bytes) -> None:
    found = evaluated(run)
    assert found.model_sha256 == sha256(b"keras")
    assert found.int8_sha256 == sha256(tiny_image_model)
    assert found.calibration_sha256 == sha256(b"{}")
    assert (found.train_sha256, found.test_sha256) == (sha256(b"train"), sha256(b"test"))


def test_what_is_returned_is_what_lies_in_the_run_beside_its_picture(run: RunFolder) -> None:
    found = evaluated(run)
    assert read_evaluation(run.path) == found
    assert (run.path / "evaluation.png").read_bytes().startswith(b"\x89PNG")


def test_the_steps_are_said_in_their_order(run: RunFolder) -> None:
    lines: list[str] = []
    evaluated(run, PlainReport(lines.append))
    assert lines == [
        "reading 5 test samples",
        "scoring Keras, float TFLite and int8 TFLite",
        "measuring latency and memory",
    ]


def test_a_run_that_was_trained_again_since_it_was_converted_is_refused(run: RunFolder) -> None:
    (run.path / "model.keras").write_bytes(b"other")
    with pytest.raises(InputError, match="the run was trained again") as caught:
        evaluated(run)
    assert caught.value.reason is Reason.RUN_BAD
    assert not (run.path / "evaluation.json").exists()


def test_a_run_without_test_samples_is_refused(tmp_path: Path, run: RunFolder) -> None:
    empty = RunFolder(tmp_path, [])
    with pytest.raises(InputError, match="has no test samples") as caught:
        evaluated(empty)
    assert caught.value.reason is Reason.RUN_BAD


def test_scores_are_those_that_a_device_would_make_of_the_logits(run: RunFolder) -> None:
    faked: Any = run
    found = scoring.evaluate_run(faked, report=PlainReport())
    output = read_conversion(run.path).output
    assert found.int8_scores.shape == (len(TRUTH), len(LABELS))
    codes = np.arange(-128, 128).astype(np.int8)[:, None]
    possible = Activation("sigmoid", output.scale, output.zero_point, 1.5).scores(codes)
    assert set(found.int8_scores.ravel().tolist()) <= set(possible.ravel().tolist())
