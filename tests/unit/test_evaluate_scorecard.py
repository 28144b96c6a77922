from __future__ import annotations

import itertools
import warnings

import cv2
import msgspec
import numpy as np
import pytest

from galago_workstation.evaluation.evaluation_record import Evaluation, Variant
from galago_workstation.evaluation.inference_cost import time_calls
from galago_workstation.evaluation.scorecard import confusion_png, table
from galago_workstation.progress_lines import PlainReport


def variant(accuracy: float, flips: int = 0) -> Variant:
    return Variant(
        accuracy=accuracy,
        recall={"bell": 1.0, "horn": 0.5},
        flips=flips,
        bytes=12_345,
        p50_us=1_250,
        p99_us=2_000,
        confusion=((4, 0, 0), (1, 1, 0), (0, 0, 0)),
    )


@pytest.fixture
def found() -> Evaluation:
    return Evaluation(
        labels=("bell", "horn", "rest"),
        test_samples=6,
        keras=variant(5 / 6),
        tflite_float=variant(5 / 6),
        tflite_int8=variant(4 / 6, flips=1),
        model_sha256="0" * 64,
        int8_sha256="1" * 64,
        train_sha256="2" * 64,
        calibration_sha256="3" * 64,
        test_sha256="4" * 64,
        rss_peak_bytes=55_000_000,
        cpu="a processor",
        runtime="ai-edge-litert 2.3.0",
    )


def test_the_table_has_a_column_per_form_and_a_row_per_figure(found: Evaluation) -> None:
    lines = table(found)
    assert lines[:4] == [
        "6 test samples         Keras float  TFLite float  TFLite int8",
        "accuracy                   83.33 %       83.33 %      66.67 %",
        "recall bell               100.00 %      100.00 %     100.00 %",
        "recall horn                50.00 %       50.00 %      50.00 %",
    ]
    assert [line[:21].strip() for line in lines[4:8]] == [
        "disagreements (flips)",
        "size",
        "latency p50",
        "latency p99",
    ]
    assert lines[4].split()[-3:] == ["0", "0", "1"]
    assert lines[5].endswith("12.3 kB")
    assert lines[6].endswith("1.25 ms")
    assert "a processor" in lines[8]


def test_a_label_is_one_row_whatever_it_holds(found: Evaluation) -> None:
    label = "bell\nfake  100.00 %\u2028\x1b[2J"
    forms = {
        name: msgspec.structs.replace(getattr(found, name), recall={label: 0.5})
        for name in ("keras", "tflite_float", "tflite_int8")
    }
    lines = table(msgspec.structs.replace(found, labels=(label,), **forms))
    assert len(lines) == 8
    assert lines[2].startswith("recall bell\\nfake  100.00 %\\u2028\\x1b[2J  ")
    assert len({len(line) for line in lines[:7]}) == 1, "columns stand under each other"


def test_the_picture_shows_every_class(found: Evaluation) -> None:
    picture = cv2.imdecode(np.frombuffer(confusion_png(found), np.uint8), cv2.IMREAD_COLOR)
    assert min(picture.shape[:2]) > 300
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 3


def test_the_picture_of_labels_in_any_script_is_drawn_without_a_warning(found: Evaluation) -> None:
    labels = ("дым 煙 دخان कछ", "$x", "$\\frac$ $")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert confusion_png(msgspec.structs.replace(found, labels=labels)).startswith(b"\x89PNG")


def test_latency_is_a_percentile_of_single_calls() -> None:
    """99 calls of 1 ms and every hundredth of 50 ms, on a clock that the test moves."""
    now_ns = 0
    calls = itertools.count(-5)  # the warm-up comes first

    def call() -> None:
        nonlocal now_ns
        now_ns += 50_000_000 if next(calls) % 100 == 99 else 1_000_000

    latency = time_calls(call, clock=lambda: now_ns)
    assert latency.p50_us == 1_000
    assert 1_000 < latency.p99_us <= 50_000


def test_slow_models_are_called_often_enough() -> None:
    called = 0
    now_ns = 0

    def call() -> None:
        nonlocal called, now_ns
        called += 1
        now_ns += 10**9

    assert time_calls(call, clock=lambda: now_ns).p50_us == 10**6
    assert called == 55


def test_logs_get_lines_and_json_gets_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []
    for report in (PlainReport(lines.append), PlainReport()):
        report.say("a line")
        with report.track("int8", 10) as done:
            done(5)
    assert lines == ["a line"]
    assert capsys.readouterr() == ("", "")
