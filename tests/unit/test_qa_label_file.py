"""``.labels.tsv``: what is read, what is refused in one line, and that what is written is read again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.errors import CallerError, GalagoError, InputError, Reason
from galago_edge.contract.manifest import Label
from galago_workstation.qa.label_file import (
    LabelFile,
    format_labels,
    labels_path,
    parse_labels,
    read_labels,
    write_labels,
)
from galago_workstation.qa.label_rows import refuse_unknown
from galago_workstation.qa.replayed import IGNORED, Truth, TruthList

HEAD = "# galago.labels/1\nstart_ns\tend_ns\tlabel\n"
SHA, OTHER = "ab" * 32, "cd" * 32


def parsed(text: str, *, duration_ns: int | None = None) -> LabelFile:
    return parse_labels(text.encode(), name="x.labels.tsv", duration_ns=duration_ns)


def test_events_moments_and_stretches_to_be_ignored_are_read() -> None:
    found = parsed(
        f"{HEAD}# seen twice\n5\t9\tsmoke alarm\n\n20\t20\tdog\n30\t40\t(ignore)\n35\t50\t(ignore)\n"
    )
    assert found.truth.events == (Truth(5, 9, "smoke alarm"), Truth(20, 20, "dog"))
    assert found.truth.ignored == ((30, 50),)
    assert (found.sha256, found.unsorted) == (None, 0)


def test_a_file_made_by_hand_on_another_system_is_read() -> None:
    data = b"\xef\xbb\xbfstart_ns\tend_ns\tlabel\r\n1\t2\td\xc3\xb6g\r\n"
    assert parse_labels(data, name="x").truth.events == (Truth(1, 2, "dög"),)


def test_lines_in_any_order_mean_the_same_and_are_counted() -> None:
    found = parsed(f"{HEAD}50\t60\ta\n10\t20\ta\n70\t80\ta\n")
    assert [event.start_ns for event in found.truth.events] == [10, 50, 70]
    assert found.unsorted == 1


def test_events_of_different_labels_may_overlap_and_those_of_one_may_touch() -> None:
    assert len(parsed(f"{HEAD}0\t10\ta\n5\t15\tb\n10\t20\ta\n20\t20\ta\n").truth.events) == 4


REFUSED = {
    "no columns": ("", "met no line with the names of the columns"),
    "data first": ("1\t2\ta\n", "line 1: met '1\\t2\\ta', expected the names of the columns"),
    "two columns": (f"{HEAD}1\t2\n", "line 3: has 2 columns, expected start_ns, end_ns, label"),
    "seconds": (f"{HEAD}1.5\t2\ta\n", "line 3: start_ns is '1.5', expected whole nanoseconds"),
    "empty end": (f"{HEAD}1\t\ta\n", "line 3: end_ns is '', expected whole nanoseconds"),
    "end before start": (f"{HEAD}5\t4\ta\n", "line 3: a ends at 4 ns, before it starts at 5 ns"),
    "negative": (f"{HEAD}-5\t4\ta\n", "line 3: a starts at -5 ns, expected 0 or later"),
    "beyond": (f"{HEAD}5\t9999999999999999999\ta\n", "expected at most 9007199254740991 ns"),
    "blank label": (f"{HEAD}5\t6\t \n", "line 3: the label is ' ', expected 1 to 64 characters"),
    "long label": (f"{HEAD}5\t6\t{'x' * 65}\n", "expected 1 to 64 characters"),
    "overlap": (
        f"{HEAD}0\t10\ta\n5\t15\ta\n",
        "line 4: a from 5 ns overlaps the one of line 3, which ends at 10 ns; expected one after the other",
    ),
    "overlap, unsorted": (f"{HEAD}5\t15\ta\n0\t10\ta\n", "line 3: a from 5 ns overlaps the one of line 4"),
    "a moment inside": (f"{HEAD}0\t10\ta\n5\t5\ta\n", "line 4: a from 5 ns overlaps"),
    "a moment twice": (f"{HEAD}5\t5\ta\n5\t5\ta\n", "line 4: a from 5 ns overlaps"),
    "ignored moment": (f"{HEAD}5\t5\t(ignore)\n", "line 3: (ignore) at 5 ns has no length"),
    "another version": ("# galago.labels/2\n", "line 1: format galago.labels/2, expected galago.labels/1"),
    "no hash": ("# recording sha256 abc\n", "line 1: met the SHA-256 'abc', expected 64 hexadecimal digits"),
    "two recordings": (
        f"# recording sha256 {SHA}\n# recording sha256 {OTHER}\n",
        "line 2: names a second recording, expected one",
    ),
}


@pytest.mark.parametrize(("text", "told"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_is_told_in_one_line_with_its_number(text: str, told: str) -> None:
    with pytest.raises(InputError) as failure:
        parsed(text)
    assert told in str(failure.value) and str(failure.value).startswith("x.labels.tsv")
    assert failure.value.reason == Reason.DATA_BAD
    assert failure.value.hint


def test_no_utf8_is_told_with_its_line() -> None:
    with pytest.raises(InputError, match="x, line 3: is no UTF-8 text"):
        parse_labels(HEAD.encode() + b"1\t2\t\xff\n", name="x")


def test_a_time_behind_the_end_of_the_recording_is_refused_and_a_sample_is_cut_off() -> None:
    """A bundle that hears at 8 kHz knows a recording's end to 125 us."""
    assert parsed(f"{HEAD}5\t100\ta\n", duration_ns=100).truth.events == (Truth(5, 100, "a"),)
    assert parsed(f"{HEAD}5\t1000100\ta\n", duration_ns=100).truth.events == (Truth(5, 100, "a"),)
    for line, end in (("5\t1000101", 1_000_101), ("101\t102", 102)):
        with pytest.raises(
            InputError, match=f"line 3: a ends at {end} ns, behind the recording's end at 100"
        ):
            parsed(f"{HEAD}{line}\ta\n", duration_ns=100)


def test_labels_of_another_recording_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "porch.labels.tsv"
    write_labels(path, TruthList((Truth(1, 2, "a"),)), sha256=SHA)
    assert read_labels(path, sha256=SHA).truth.events == (Truth(1, 2, "a"),)
    assert read_labels(path).sha256 == SHA
    with pytest.raises(InputError, match=f"the SHA-256 {SHA[:16]}…, expected this one's, {OTHER[:16]}…"):
        read_labels(path, sha256=OTHER)


def test_labels_that_name_no_recording_are_those_of_any(tmp_path: Path) -> None:
    path = tmp_path / "porch.labels.tsv"
    path.write_text(f"{HEAD}1\t2\ta\n")
    assert read_labels(path, sha256=SHA).truth.events == (Truth(1, 2, "a"),)


def test_nothing_is_written_over_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "porch.labels.tsv"
    write_labels(path, TruthList(()))
    before = path.read_bytes()
    with pytest.raises(CallerError, match="exists, expected a new file"):
        write_labels(path, TruthList((Truth(1, 2, "a"),)))
    assert path.read_bytes() == before
    write_labels(path, TruthList((Truth(1, 2, "a"),)), replace=True)
    assert read_labels(path).truth.events == (Truth(1, 2, "a"),)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(GalagoError, match="could not read"):
        read_labels(tmp_path / "none.labels.tsv")


@pytest.mark.parametrize("truth", [Truth(1, 2, "a\nb"), Truth(2, 1, "a"), Truth(0, 1, "")], ids=str)
def test_what_no_file_can_hold_is_refused_before_it_is_written(truth: Truth) -> None:
    with pytest.raises(CallerError):
        format_labels(TruthList((truth,)))


def test_labels_lie_beside_their_recording() -> None:
    assert labels_path(Path("a/porch.wav")) == Path("a/porch.wav.labels.tsv")


def test_more_labels_than_a_recording_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("galago_workstation.qa.label_file.MOST_LABELS", 2)
    lines = "".join(f"{start}\t{start + 1}\tsmoke\n" for start in range(0, 6, 2))
    with pytest.raises(InputError, match="holds 3 labels, expected at most 2"):
        parse_labels(f"start_ns\tend_ns\tlabel\n{lines}".encode(), name="x")


def test_a_label_that_the_bundle_does_not_have_is_refused_with_the_nearest() -> None:
    labels = [Label(name="smoke"), Label(name="dog")]
    refuse_unknown(TruthList((Truth(1, 2, "dog"),)), labels, name="x")
    with pytest.raises(InputError, match="x: label 'smok' at 1 ns is none of the bundle's") as failure:
        refuse_unknown(TruthList((Truth(1, 2, "smok"),)), labels, name="x")
    assert "did you mean smoke?" in failure.value.hint


NAMES = st.text(st.characters(exclude_categories=["Cs", "Z", "Cc"]), min_size=1, max_size=20).filter(
    lambda name: name == name.strip() and name != IGNORED
)


@st.composite
def truth_lists(draw: st.DrawFn) -> TruthList:
    """Anything that a person can mean: events of one label one behind the other, others as they like."""
    events = []
    for label in draw(st.lists(NAMES, max_size=3, unique=True)):
        marks = sorted(draw(st.sets(st.integers(0, 2**53 - 1), max_size=8)))
        events += [Truth(start, end, label) for start, end in zip(marks[::2], marks[1::2], strict=False)]
    marks = sorted(draw(st.sets(st.integers(0, 2**53 - 1), max_size=6)))
    events.sort(key=lambda event: (event.start_ns, event.end_ns, event.label))
    return TruthList(tuple(events), tuple(zip(marks[::2], marks[1::2], strict=False)))


@given(truth_lists(), st.sampled_from([None, SHA]))
def test_what_is_written_is_read_again(truth: TruthList, sha256: str | None) -> None:
    data = format_labels(truth, sha256=sha256)
    assert parse_labels(data, name="x") == LabelFile(truth, sha256, 0)
    assert format_labels(parse_labels(data, name="x").truth, sha256=sha256) == data


LINES = st.lists(
    st.sampled_from([HEAD, "1\t2\ta", "start_ns\tend_ns\tlabel", "# recording sha256 ", "\t", "9\t1\tb", "#"])
    | st.text(max_size=8),
    max_size=8,
)


@given(st.binary(max_size=80) | LINES.map("\n".join).map(lambda text: text.encode(errors="replace")))
def test_no_bytes_end_in_a_traceback(data: bytes) -> None:
    try:
        parse_labels(data, name="x")
    except InputError as error:
        assert error.reason == Reason.DATA_BAD and "\n" not in str(error)
