"""Two bundles are judged on one ground, and what differs in that, or is the same, is said."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path

import pytest

from galago_edge.contract.errors import InputError
from galago_workstation.progress_lines import PlainReport
from galago_workstation.qa.baseline import encode_baseline, make_baseline, read_baseline
from galago_workstation.qa.comparison_report import as_data, markdown, table_lines
from galago_workstation.qa.corpus_score import score
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.page.page_events import PageWish
from galago_workstation.qa.page.page_making import comparison_page
from galago_workstation.qa.replay_comparison import BundleComparison, compare_bundles, refuse_before
from galago_workstation.qa.replayed import Replayed, TruthList
from galago_workstation.qa.score_report import statements
from test_kit.replays import S, plain_label, truths, written

RULE = MatchingRule(post_ns=S)
THERE = truths((10, 12, "a"))


def night(at_s: float, truth: TruthList | None = THERE, bundle: str = "e1" * 32, **tags: str) -> Replayed:
    return replace(written([("a", at_s)], truth, duration_s=60, tags=tags), bundle=bundle)


def compared(old: Replayed, new: Replayed) -> BundleComparison:
    return compare_bundles([old], [new], rule=RULE)


def text(found: BundleComparison) -> str:
    return "\n".join(table_lines(found, width=240))


def test_labels_that_contradict_each_other_are_refused_in_one_line() -> None:
    old, new = night(11, bundle="d0" * 32), night(11, truths((10, 12, "b")))
    with pytest.raises(InputError) as refused:
        compared(old, new)
    told = "the labels of OLD and NEW contradict each other in 1 recording: porch.wav"
    assert (str(refused.value), refused.value.reason, refused.value.exit_code) == (told, "DATA_BAD", 1)
    ignored = night(11, truths((10, 12, "a"), ignored=[(40, 50)]))
    with pytest.raises(InputError, match="contradict each other"):
        compared(old, ignored)


@pytest.mark.parametrize("labelled", ["OLD", "NEW"])
def test_labels_that_one_side_has_alone_judge_both(labelled: str) -> None:
    old = night(11, THERE if labelled == "OLD" else None, "d0" * 32)
    new = night(11, THERE if labelled == "NEW" else None)
    found = compared(old, new)
    assert (found.right[0].both, found.right[0].there) == (1, 1)
    said = "judged by the labels of OLD, NEW has none: porch.wav"
    assert (said in text(found)) == (said in as_data(found)["notes"]) == (labelled == "OLD")


def test_a_baseline_has_no_labels_and_nothing_is_said_of_that(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_bytes(encode_baseline(make_baseline([night(11, bundle="d0" * 32)], RULE)))
    assert compare_bundles(read_baseline(path), [night(11)], rule=RULE).notes == ()


def test_tags_that_differ_are_those_of_new_and_that_is_said() -> None:
    found = compared(night(11, bundle="d0" * 32, site="barn"), night(11, site="porch"))
    assert "the tags are those of NEW, OLD has others: porch.wav" in text(found)


def test_a_bundle_that_is_compared_with_itself_is_told_so() -> None:
    one = night(11)
    assert compared(one, one).notes == ("OLD and NEW are the same bundle",)
    stricter = replace(one, labels=(plain_label("a", on=0.9), one.labels[1]))
    assert compared(one, stricter).notes == (
        "OLD and NEW are the same bundle, with other overrides of the policy",
    )


def test_what_a_moved_event_was_is_told_of_both_bundles_where_that_differs() -> None:
    """NEW decides for the first event 1.5 s behind the end of what was there, when 1 s is allowed."""
    old = replace(written([("a", 11.0), ("a", 30)], THERE, duration_s=60), bundle="d0" * 32)
    new = replace(written([("a", 13.5), ("a", 31)], THERE, duration_s=60), bundle="e1" * 32)
    found = compare_bundles([old], [new], rule=RULE, tolerance_ns=3 * S)
    first, second = found.diff.changes
    assert (first.kind, first.old_truth, first.new_truth, first.truth) == (
        "moved",
        "right",
        "false alarm",
        "right -> false alarm",
    )
    assert second.truth == "false alarm"
    assert "right -> false alarm" in text(found) and "right -> false alarm" in markdown(found)
    row = as_data(found)["changes"][0]
    assert (row["truth"], row["old_truth"], row["new_truth"]) == (
        "right -> false alarm",
        "right",
        "false alarm",
    )
    at = datetime.datetime(2026, 11, 30, tzinfo=datetime.UTC)
    events = comparison_page(found, RULE, PageWish(at=at, report=PlainReport())).content.events
    moved, alike = (one for one in events if one.kind == "moved")
    assert (moved.truth, [one.truth for one in moved.sides]) == (
        "right -> false alarm",
        ["right", "false alarm"],
    )
    assert moved.marks == ("moved", "false alarm")
    assert (alike.truth, [one.truth for one in alike.sides]) == ("false alarm", ["", ""])


def test_bundles_of_other_labels_are_refused_before_anything_is_replayed() -> None:
    with pytest.raises(InputError, match="only OLD has b"):
        refuse_before([plain_label("a"), plain_label("b")], [plain_label("a")], [], gates=None)
    refuse_before([plain_label("a"), plain_label("b")], [plain_label("a")], [], gates=None, common=True)


def test_what_is_in_no_figure_is_said_without_gates_too_in_the_words_of_a_score() -> None:
    bare = replace(written([], None, duration_s=60, name="bare.wav"), bundle="e1" * 32)
    cut = replace(
        written([], truths((10, 12, "a"), (52, 54, "a"), (55, 56, "b")), duration_s=60,
                gaps=[(50, 60, "truncated")], name="cut.wav"),
        bundle="e1" * 32,
    )  # fmt: skip
    found = compare_bundles([bare, cut], [bare, cut], rule=RULE)
    said = (
        "Not labelled and not counted: 1 recording (bare.wav).",
        "Neither found nor missed: 2 truths during which nothing could be decided.",
    )
    page = comparison_page(
        found, RULE, PageWish(at=datetime.datetime.now(datetime.UTC), report=PlainReport())
    ).content
    for line in said:
        assert line in text(found) and line in as_data(found)["notes"] and line in page.head.facts
        assert line in markdown(found)
    scored = statements(score([bare, cut], RULE))
    assert {*said} <= {*scored}
    assert found.right[0].there == 1
