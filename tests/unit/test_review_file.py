"""Answers of a review: on the disk when they are told to be, taken back one by one, and found again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from galago_edge.contract.errors import BusyError, CallerError, InputError, LinkError, Reason
from galago_workstation.data.sample_manifest import manifest_rows
from galago_workstation.review.review_file import REVIEW_FILE, ReviewAnswer, ReviewFile


def answer(number: int, label: str | None = "dark") -> ReviewAnswer:
    return ReviewAnswer(sha256=f"{number:064}", path=f"../samples/{number}.png", label=label, group="g")


def labels(file: ReviewFile) -> list[str | None]:
    return [one.label for one in file.answers.values()]


def test_answers_are_a_table_for_training_with_who_and_when(tmp_path: Path) -> None:
    file = ReviewFile(tmp_path / "new" / "out", "ada")
    file.answer(answer(2)), file.answer(answer(1, "bright")), file.answer(answer(3, None))
    rows = [row for _, row in manifest_rows(tmp_path / "new" / "out" / "samples.csv")]
    assert [(row.path, row.label, row.group, row.reviewer) for row in rows] == [
        ("../samples/1.png", "bright", "g", "ada"),
        ("../samples/2.png", "dark", "g", "ada"),
    ]
    assert all(row.reviewed_utc.endswith("Z") for row in rows)


def test_the_last_answer_is_taken_back_first_and_a_former_one_stands_again(tmp_path: Path) -> None:
    file = ReviewFile(tmp_path, "ada")
    file.answer(answer(1)), file.answer(answer(2)), file.answer(answer(1, "mid"))
    assert file.undo() == f"{1:064}" and labels(file) == ["dark", "dark"]
    assert file.undo() == f"{2:064}" and file.undo() == f"{1:064}" and file.undo() is None
    assert not file.answers
    assert (tmp_path / "samples.csv").read_text() == "path,label\n"


def test_a_review_goes_on_where_it_was_ended_and_can_take_back_what_was_before(tmp_path: Path) -> None:
    first = ReviewFile(tmp_path, "ada")
    first.answer(answer(1)), first.answer(answer(2, None)), first.undo(), first.answer(answer(3))
    first.close()
    second = ReviewFile(tmp_path, "ben")
    assert list(second.answers) == [f"{1:064}", f"{3:064}"] and not second.torn
    assert second.undo() == f"{3:064}" and second.answers[f"{1:064}"].reviewer == "ada"


@pytest.mark.parametrize("cut", [1, 20])
def test_half_a_line_is_no_answer_and_is_told(tmp_path: Path, cut: int) -> None:
    first = ReviewFile(tmp_path, "ada")
    first.answer(answer(1)), first.answer(answer(2))
    first.close()
    path = tmp_path / REVIEW_FILE
    path.write_bytes(path.read_bytes()[:-cut])
    second = ReviewFile(tmp_path, "ada")
    assert second.torn and list(second.answers) == [f"{1:064}"]
    second.answer(answer(3))
    second.close()
    assert list(ReviewFile(tmp_path, "ada").answers) == [f"{1:064}", f"{3:064}"]


def test_the_table_is_made_again_when_the_power_failed_between_the_two_files(tmp_path: Path) -> None:
    first = ReviewFile(tmp_path, "ada")
    first.answer(answer(1))
    first.close()
    (tmp_path / "samples.csv").unlink()
    ReviewFile(tmp_path, "ada").close()
    assert len(list(manifest_rows(tmp_path / "samples.csv"))) == 1


def test_two_reviews_do_not_write_to_one_folder(tmp_path: Path) -> None:
    first = ReviewFile(tmp_path, "ada")
    with pytest.raises(BusyError) as refused:
        ReviewFile(tmp_path, "ben")
    assert refused.value.reason is Reason.LOCKED
    first.close()
    ReviewFile(tmp_path, "ben").close()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("x")
    for place in (tmp_path, tmp_path / "thesis.txt"):
        with pytest.raises(CallerError) as refused:
            ReviewFile(place, "ada")
        assert refused.value.reason is Reason.EXISTS
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    "line", ['{"kind": "answer"}', "{", '{"kind": "undone", "sha256": "1"}', '{"kind": "begun"}', "\xff"]
)
def test_a_damaged_line_is_named_and_nothing_is_written(tmp_path: Path, line: str) -> None:
    first = ReviewFile(tmp_path, "ada")
    first.answer(answer(1))
    first.close()
    path = tmp_path / REVIEW_FILE
    path.write_bytes(path.read_bytes() + line.encode("latin-1") + b"\n")
    before = path.read_bytes()
    with pytest.raises(InputError, match="line 3: ") as refused:
        ReviewFile(tmp_path, "ada")
    assert refused.value.reason is Reason.DATA_BAD and path.read_bytes() == before


def test_a_full_disk_keeps_no_half_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = ReviewFile(tmp_path, "ada")
    file.answer(answer(1))
    whole = os.write
    before = (tmp_path / REVIEW_FILE).read_bytes()
    monkeypatch.setattr(os, "write", lambda fd, data: whole(fd, data[:10]))
    with pytest.raises(LinkError) as refused:
        file.answer(answer(2))
    assert refused.value.reason is Reason.NO_SPACE
    assert (tmp_path / REVIEW_FILE).read_bytes() == before and labels(file) == ["dark"]


CHILD = """
import sys
from pathlib import Path
from galago_workstation.review.review_file import ReviewAnswer, ReviewFile
file = ReviewFile(Path(sys.argv[1]), "ada")
for number in range(10_000):
    file.answer(ReviewAnswer(sha256=f"{number:064}", path=f"{number}.png", label="dark"))
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def test_what_was_told_to_be_saved_is_there_after_a_kill(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        told = [int(next(child.stdout)) for _ in range(40)]
        child.send_signal(signal.SIGKILL)
        told += [int(line) for line in child.stdout.read().splitlines()]
    in_table = {row.path for _, row in manifest_rows(tmp_path / "samples.csv")}
    assert {f"{number}.png" for number in told} <= in_table
    assert {f"{number:064}" for number in told} <= set(ReviewFile(tmp_path, "ada").answers)
