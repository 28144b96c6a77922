"""What the report of a run says, by hand and against scikit-learn; nothing is trained here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from galago_converters.graph_edit import GraphEdit
from galago_devices import names
from galago_edge.contract.errors import InputError
from galago_edge.decision.activation import ONE
from galago_workstation.data.augmentation_samples import ChangedSample
from galago_workstation.evaluation.model_doubts import ModelDoubt
from galago_workstation.evaluation.page import label_contradictions, report_samples, run_report
from galago_workstation.evaluation.page.answer_figures import (
    MOST_POINTS,
    calibration,
    group_figures,
    label_curves,
    label_figures,
)
from galago_workstation.evaluation.page.board_rows import board_rows, cost_note
from galago_workstation.evaluation.page.report_samples import spectrogram, spread
from galago_workstation.evaluation.page.run_report import (
    TrainingRates,
    read_epochs,
    report_of,
    report_page,
    write_report,
)
from galago_workstation.qa.exact_intervals import share_interval
from test_kit.scored_runs import scored_run

LABELS = ("cat", "dog", "rest")
TRUTH = [0, 0, 0, 1, 1, 2]
SCORES = [
    [0.9, 0.1, 0.0],
    [0.6, 0.3, 0.1],
    [0.04, 0.95, 0.01],  # the surest error
    [0.1, 0.8, 0.1],
    [0.5, 0.3, 0.2],
    [0.2, 0.2, 0.6],
]
CONFUSION = [[2, 1, 0], [1, 1, 0], [0, 0, 1]]


@pytest.fixture(autouse=True)
def augmented(monkeypatch: pytest.MonkeyPatch) -> list[ChangedSample]:
    """What augmentation makes of samples; a test may add some."""
    found: list[ChangedSample] = []
    monkeypatch.setattr(run_report, "augmentation_samples", lambda *arguments, **options: found)
    return found


def q16(scores: list[list[float]]) -> np.typing.NDArray[np.int64]:
    return np.round(np.array(scores) * ONE).astype(np.int64)


def test_precision_recall_and_f1_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import precision_recall_fscore_support

    given = np.argmax(SCORES, axis=1)
    expected = precision_recall_fscore_support(TRUTH, given, labels=[0, 1, 2])
    found = label_figures(CONFUSION)
    assert [one.precision.share for one in found] == pytest.approx(expected[0].tolist())
    assert [one.recall.share for one in found] == pytest.approx(expected[1].tolist())
    assert [one.f1 for one in found] == pytest.approx(expected[2].tolist())
    assert (found[0].recall.low, found[0].recall.high) == share_interval(2, 3)


def test_a_label_that_is_neither_there_nor_given_has_no_figures() -> None:
    (_, found) = label_figures([[3, 0], [0, 0]])
    assert (found.precision.share, found.recall.share, found.f1) == (None, None, None)


def test_areas_and_average_precision_are_those_of_scikit_learn_with_ties_too() -> None:
    from sklearn.metrics import average_precision_score, roc_auc_score

    rng = np.random.default_rng(3)
    truth = rng.integers(0, 3, 500)
    scores = rng.integers(0, 40, (500, 3)) * (ONE // 40) + (np.eye(3, dtype=np.int64)[truth] * 5_000)
    found = label_curves(truth, scores)
    for one in found:
        own = truth == one.label
        assert one.auc == pytest.approx(roc_auc_score(own, scores[:, one.label]))
        expected = average_precision_score(own, scores[:, one.label])
        assert one.average_precision == pytest.approx(expected)


def test_the_threshold_curve_counts_samples_that_reach_a_threshold() -> None:
    cat = label_curves(np.array(TRUTH), q16(SCORES))[0]
    rows = {round(value, 2): (recall, false) for value, recall, false in cat.threshold}
    assert rows[0.0] == (1.0, 1.0)
    assert rows[0.5] == (pytest.approx(2 / 3, abs=1e-4), pytest.approx(1 / 3, abs=1e-4)), "0.5 reaches 0.5"
    assert rows[0.51] == (pytest.approx(2 / 3, abs=1e-4), 0.0)
    assert rows[1.0] == (0.0, 0.0)


def test_a_curve_of_many_samples_is_thinned_and_keeps_its_ends() -> None:
    rng = np.random.default_rng(5)
    (one, _) = label_curves(rng.integers(0, 2, 2_000), rng.integers(0, ONE, (2_000, 2)))
    assert len(one.roc) == MOST_POINTS
    assert (one.roc[0], one.roc[-1]) == ((0.0, 0.0), (1.0, 1.0))


def test_a_label_that_all_samples_have_has_no_curve() -> None:
    assert label_curves(np.zeros(4, np.intp), q16([[1.0, 0.0]] * 4)) == ()


def test_calibration_compares_the_mean_score_of_a_tenth_with_its_share_of_right_answers() -> None:
    right = np.array([True, False, True, True])
    found = calibration(right, q16([[0.62, 0.68, 1.0, 0.95]])[0])
    assert [(round(one.score, 3), one.right.count, one.right.of) for one in found.bins] == [
        (0.65, 1, 2),
        (0.975, 2, 2),
    ]
    assert found.error == pytest.approx((2 * 0.15 + 2 * 0.025) / 4, abs=1e-4)


def test_the_worst_group_comes_first_and_samples_without_one_are_left_out() -> None:
    found = group_figures(["a", "b", None, "a", "b"], np.array([True, False, False, True, True]))
    assert [(one.name, one.right.count, one.right.of) for one in found] == [("b", 1, 2), ("a", 2, 2)]


def test_the_errors_come_in_the_order_of_their_sureness_and_a_sure_one_doubts_the_label(
    tmp_path: Path,
) -> None:
    run, scored = scored_run(tmp_path, LABELS, TRUTH, SCORES)
    found, media = report_of(run, scored, (), TrainingRates())
    assert found.wrong == 2
    assert [(one.id, one.label, one.given, one.label_doubtful) for one in found.errors] == [
        ("data/2.png", 0, 1, True),
        ("data/4.png", 1, 0, False),
    ]
    assert found.errors[0].score == pytest.approx(0.95, abs=1e-4)
    assert all(media[one.picture].startswith(b"\xff\xd8") for one in (*found.errors, *found.sheet))
    assert len(found.sheet) == 6 and found.left_out == ""
    scored.given["keras"] = np.array(TRUTH)
    again, _ = report_of(run, scored, (), TrainingRates())
    assert not again.errors[0].label_doubtful, "where the forms disagree, quantization is the nearer cause"


def test_a_sound_has_its_samples_and_what_the_model_is_given(tmp_path: Path) -> None:
    run, scored = scored_run(tmp_path, LABELS, TRUTH, SCORES, sounds=True)
    found, media = report_of(run, scored, (), TrainingRates())
    assert media[found.errors[0].sound].startswith(b"RIFF")
    assert media[found.errors[0].picture].startswith(b"\xff\xd8")


def test_augmentation_is_shown_beside_the_sample_in_the_colours_that_it_has(
    tmp_path: Path, augmented: list[ChangedSample]
) -> None:
    run, scored = scored_run(tmp_path, LABELS, TRUTH, SCORES)
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 200  # RGB, as models have it
    augmented.append(ChangedSample(run.test[0], red, (red // 2,), red, (red // 2,), (None,)))
    found, media = report_of(run, scored, (), TrainingRates())
    assert [one.id for one in found.augmented] == ["data/0.png as it is", "data/0.png in epoch 1"]
    shown = cv2.imdecode(np.frombuffer(media[found.augmented[0].picture], np.uint8), cv2.IMREAD_COLOR)
    assert shown[8, 8, 2] > 150 > 50 > shown[8, 8, 0], "BGR"


def picture_run(monkeypatch: pytest.MonkeyPatch, folder: Path, levels: list[float]) -> tuple[Any, Any]:
    """A run whose pictures are noise, the same where ``levels`` are, and a little brighter each time."""
    run, scored = scored_run(folder, LABELS, TRUTH, SCORES)
    fields = {level: np.random.default_rng(round(level)).integers(0, 200, (32, 32, 3)) for level in levels}

    def raw(sample: Any) -> Any:
        number = int(sample.id.partition("/")[2].partition(".")[0])
        return (fields[levels[number]] + number).astype(np.uint8)

    monkeypatch.setattr(run, "raw", raw, raising=False)
    monkeypatch.setattr(
        run, "samples", lambda part: {"test": run.test[4:], "train": run.test[:4]}.get(part, [])
    )
    return run, scored


def test_what_is_nearly_the_same_and_labelled_otherwise_stands_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # labels 0 0 0 1 1 2: sample 2 is sample 3 with another label, 0 is 5, 0 is 1 with its own label
    run, scored = picture_run(monkeypatch, tmp_path, [7, 7, 8, 8, 9, 7])
    found, media = report_of(run, scored, (), TrainingRates())
    pairs = {tuple(one.id for one in pair.samples): pair for pair in found.alike}
    assert ("data/2.png", "data/3.png") in pairs
    assert any("data/5.png" in pair for pair in pairs)
    assert not any(set(pair) == {"data/0.png", "data/1.png"} for pair in pairs)
    pair = pairs["data/2.png", "data/3.png"]
    assert [(one.label, one.part) for one in pair.samples] == [(0, "train"), (1, "train")]
    assert 0.995 < pair.alike <= 1.0
    assert all(one.picture in media for one in pair.samples)
    assert found.alike_text == f"{len(found.alike)} pairs among 6 samples"


def test_what_contradicts_itself_has_its_place_before_the_contact_sheet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, scored = picture_run(monkeypatch, tmp_path, [7, 1, 8, 8, 9, 2])
    whole, media = report_of(run, scored, (), TrainingRates())
    shown = [one.picture for one in whole.errors]
    shown += [one.picture for pair in whole.alike for one in pair.samples]
    assert len(whole.alike) == 1 and whole.sheet
    monkeypatch.setattr(report_samples, "MOST_MEDIA_BYTES", sum(len(media[name]) for name in shown))
    full, _ = report_of(run, scored, (), TrainingRates())
    assert len(full.alike) == 1 and full.sheet == () and "left out" in full.left_out


def test_where_nothing_contradicts_itself_no_pair_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, scored = picture_run(monkeypatch, tmp_path, [1, 2, 3, 4, 5, 6])
    found, _ = report_of(run, scored, (), TrainingRates())
    assert found.alike == () and found.alike_text == "0 pairs among 6 samples"


def test_of_many_samples_as_many_as_can_be_are_compared_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, scored = picture_run(monkeypatch, tmp_path, [1, 2, 3, 4, 5, 6])
    monkeypatch.setattr(label_contradictions, "MOST_COMPARED", 3)
    found, _ = report_of(run, scored, (), TrainingRates())
    assert found.alike_text == "0 pairs among 3 samples of 6; galago data check compares all that can be read"


def test_boards_say_whether_they_run_the_model_and_what_it_takes(
    tmp_path: Path, tiny_image_model: bytes
) -> None:
    run, scored = scored_run(tmp_path, LABELS, TRUTH, SCORES)
    bare, _ = report_of(run, scored, (), TrainingRates())
    assert bare.boards == () and bare.boards_text == ""
    (tmp_path / "converted").mkdir()
    (tmp_path / "converted" / "int8.tflite").write_bytes(tiny_image_model)
    found, _ = report_of(run, scored, (), TrainingRates())
    heads, *rows = found.boards
    assert heads[:2] == ("board", "runs it") and len(rows) == len(names())
    by_title = {row[0]: row for row in rows}
    assert by_title["Raspberry Pi 5"][1:] == ("yes", "1024 MB", "55.0 MB (5.4 %)")
    assert "million multiply-adds an answer, a file" in found.boards_text
    assert "1.25 ms on a processor. No board was measured" in found.boards_text


def test_what_is_not_counted_is_named(tmp_path: Path, tiny_image_model: bytes) -> None:
    _, scored = scored_run(tmp_path, LABELS, TRUTH, SCORES)
    edit = GraphEdit.of(tiny_image_model)
    edit.operator("CALL_ONCE", [], [])
    (tmp_path / "converted").mkdir()
    (tmp_path / "converted" / "int8.tflite").write_bytes(edit.content())
    assert "multiply-adds an answer without CALL_ONCE" in cost_note(tmp_path, scored.evaluation)


def test_a_board_that_cannot_run_the_model_says_why(tmp_path: Path, tiny_image_model: bytes) -> None:
    _, scored = scored_run(tmp_path, LABELS, TRUTH, SCORES)
    edit = GraphEdit.of(tiny_image_model)
    edit.operator("ATAN2", [0, 0], [edit.tensor("odd", (1, 3), "FLOAT32")])
    (tmp_path / "converted").mkdir()
    (tmp_path / "converted" / "int8.tflite").write_bytes(edit.content())
    large = msgspec.structs.replace(scored.evaluation, rss_peak_bytes=3_000_000_000)
    rows = {row[0]: row[1] for row in board_rows(tmp_path, large)}
    assert "ATAN2" in rows["Raspberry Pi 5"] and "more memory" in rows["Raspberry Pi 5"]


def test_a_spectrogram_has_time_to_the_right_and_high_bands_at_the_top() -> None:
    codes = np.full((100, 40), -128, np.int8)
    codes[90:, 39] = 127  # late, and high
    picture = spectrogram(codes)
    assert picture.shape == (120, 200, 3)
    assert picture[0, -1, 0] == 255 and picture[-1, -1, 0] == picture[0, 0, 0] == 0


def test_what_is_left_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = ["a.png", "b.png", "gone.png", "c.png", "d.png", "e.png"]
    run, scored = scored_run(tmp_path, LABELS, TRUTH, SCORES, ids=ids)
    monkeypatch.setattr(report_samples, "MOST_MEDIA_BYTES", 5_000)
    found, media = report_of(run, scored, (), TrainingRates())
    assert sum(map(len, media.values())) <= 5_000
    shown = len(found.errors) + len(found.sheet)
    assert f"{8 - 2 - shown} samples were left out" in found.left_out
    assert "2 samples are gone, changed or damaged since the training" in found.left_out


def test_the_contact_sheet_takes_every_label_and_its_samples_evenly(tmp_path: Path) -> None:
    run, _ = scored_run(tmp_path, LABELS, [0] * 9 + [1], [[1.0, 0.0, 0.0]] * 10)
    assert [sample.id for sample in spread(run.test, 3, 120, 3)] == [
        *(f"data/{number}.png" for number in (0, 4, 8)),
        "data/9.png",
    ]


def test_cost_is_told_as_far_as_somebody_says_what_it_is_made_of(tmp_path: Path) -> None:
    run, scored = scored_run(tmp_path, LABELS, TRUTH, SCORES)
    plain, _ = report_of(run, scored, (), TrainingRates())
    assert any(line == "training took 1800 s" for line in plain.facts)
    assert not any("price" in line or "energy" in line for line in plain.facts)
    rated, _ = report_of(run, scored, (), TrainingRates(price_per_hour=3.0, watts=60.0))
    assert "price of the training: 1.50, at 3 an hour" in rated.facts
    (energy,) = (line for line in rated.facts if line.startswith("energy"))
    assert "an estimate: 30 Wh" in energy and "--watts; nothing was measured" in energy


def test_a_run_without_its_table_of_epochs_says_so(tmp_path: Path) -> None:
    run, scored = scored_run(tmp_path, LABELS, TRUTH, SCORES)
    (tmp_path / "metrics.csv").unlink()
    found, _ = report_of(run, scored, (), TrainingRates())
    assert found.epochs == () and "no metrics.csv" in found.left_out


def test_names_of_samples_and_labels_are_never_markup(tmp_path: Path) -> None:
    hostile = "</script><img src=x onerror=alert(1)>"
    run, scored = scored_run(
        tmp_path, (hostile, "dog", "rest"), TRUTH, SCORES, ids=[f"{hostile}{n}" for n in range(6)]
    )
    doubt = ModelDoubt(code="label_not_found", text=f"{hostile!r} is never found")
    page = report_page(*report_of(run, scored, (doubt,), TrainingRates())).decode()
    assert hostile not in page and "<img src=x" not in page


def test_the_page_takes_the_place_of_a_former_one(tmp_path: Path) -> None:
    run, scored = scored_run(tmp_path, LABELS, TRUTH, SCORES)
    for _ in range(2):
        write_report(run, scored, (), TrainingRates())
    text = (tmp_path / "report.html").read_text()
    assert text.startswith("<!doctype html>") and "default-src 'none'" in text and "{{" not in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.csv", "report.html"]


@pytest.mark.parametrize("content", ["epoch,loss\n1,2\n", "epoch,loss,accuracy\n1,x,0.5\n"])
def test_a_table_of_epochs_that_training_did_not_write_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=r"metrics\.csv"):
        read_epochs(path)
