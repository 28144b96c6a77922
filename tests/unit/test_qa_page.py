"""What a page of QA holds, and how it is written; and that nothing of it becomes markup."""

from __future__ import annotations

import datetime
import hashlib
import html.parser
import io
import json
import wave
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.errors import CallerError, LinkError, Reason
from galago_edge.contract.manifest import Label
from galago_edge.contract.printable import printable
from galago_edge.contract.settings import ViewSettings
from galago_edge.sources.recording_digest import recording_sha256
from galago_workstation.commands.qa_diff import diff
from galago_workstation.commands.qa_score import score as score_command
from galago_workstation.progress_lines import PlainReport
from galago_workstation.qa.corpus_score import score
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.page import page_file
from galago_workstation.qa.page.cut_media import PICTURES, cut_media
from galago_workstation.qa.page.event_reasons import score_trace
from galago_workstation.qa.page.page_content import PageContent, PageMedia
from galago_workstation.qa.page.page_events import PAGE_EVENTS, PageWish, heard_ns
from galago_workstation.qa.page.page_file import (
    INDEX,
    MARK,
    MEDIA,
    MOST_MEDIA_BYTES,
    check_page_path,
    render,
    write_page,
)
from galago_workstation.qa.page.page_making import MadePage, comparison_page, score_page
from galago_workstation.qa.page.shown_event import ShownEvent, chosen
from galago_workstation.qa.recording_place import RecordingPlace
from galago_workstation.qa.replay_comparison import compare_bundles
from galago_workstation.qa.replayed import Replayed, Truth
from galago_workstation.qa.why import heard_of
from test_kit import wav_bytes
from test_kit.corpora import RATE_HZ, night_samples
from test_kit.replays import BUNDLE, S, decided, event, plain_label, truths, written

AT = datetime.datetime(2026, 11, 30, 12, 0, tzinfo=datetime.UTC)
NEW = "e1" * 32
RULE = MatchingRule(post_ns=S)
HOSTILE = '</script><img src=x onerror="document.title=1">&amp;<!--\u2028'


def wish(**fields: Any) -> PageWish:
    return PageWish(**{"at": AT, "report": PlainReport(), **fields})


def compared(old: Sequence[Replayed], new: Sequence[Replayed], **fields: Any) -> PageContent:
    found = compare_bundles(old, new, rule=RULE)
    return comparison_page(found, RULE, wish(**fields)).content


def by_new(one: Replayed) -> Replayed:
    return replace(one, bundle=NEW)


def q16(*scores: float) -> list[list[int]]:
    """Windows of one label."""
    return [[round(65_536 * one)] for one in scores]


def rows(content: PageContent) -> list[tuple[str, str, int, str]]:
    return [(one.kind, one.label, one.at_ms, one.truth) for one in content.events]


def test_a_page_lists_what_differs_what_new_misses_and_what_both_say_wrongly() -> None:
    truth = truths((10, 12, "a"), (20, 22, "a"), (30, 32, "a"), (40, 42, "b"))
    old = written([("a", 10.5), ("a", 20.5), ("b", 60.5), ("a", 70.5)], truth, duration_s=100)
    new = written([("a", 10.5), ("b", 60.5), ("a", 71.0), ("b", 80.5)], truth, duration_s=100)
    content = compared([old], [by_new(new)])
    assert rows(content) == [
        ("lost", "a", 20_500, "right"),
        ("missed", "a", 30_000, "missed"),
        ("missed", "b", 40_000, "missed"),
        ("false alarm", "b", 60_500, "false alarm"),
        ("moved", "a", 70_500, "false alarm"),
        ("gained", "b", 80_500, "false alarm"),
    ]
    marks = [one.marks for one in content.events]
    assert marks[0] == ("lost", "missed")
    assert marks[4] == ("moved", "false alarm")
    assert content.events[0].sides[0].at_ms == 20_500 and content.events[0].sides[1].at_ms is None
    assert content.events[1].what == "both bundles missed it"


def test_each_event_has_the_reason_and_the_smallest_change_of_each_bundle() -> None:
    scores = q16(0.1, 0.9, 0.9, 0.1, 0.1, 0.1)
    old = decided(scores, [plain_label("a", on=0.6, off=0.6)])
    new = by_new(decided(scores, [plain_label("a", on=0.95, off=0.6)]))
    (lost,) = compared([old], [new], media_events=1).events
    was, now = lost.sides
    assert (was.cause, now.cause) == ("given", "threshold")
    assert "smoothed 0.90" in now.reason and "on is 0.95" in now.reason
    assert now.change.startswith("on 0.8999 instead of 0.95: an event at 0:00:00.")
    assert was.change == ""


def test_scores_are_those_that_were_stored_and_smoothed_as_the_policy_says() -> None:
    one = decided(q16(0.0, 0.5, 1.0, 0.25, 0.25), [plain_label("a", smoothing_windows=2)])
    found = score_trace(heard_of(one, "a"), (0, 100 * S))
    assert found.raw == (0, 5000, 10_000, 2500, 2500)
    assert found.smooth == (None, 2500, 7500, 6250, 2500)
    assert len(found.ms) == 5 and found.ms == tuple(sorted(found.ms))
    assert found.begins == (0,) and found.every == 1


def test_a_trace_of_very_many_windows_holds_one_of_several_and_says_so() -> None:
    one = decided(q16(*[0.5] * 1_500), [plain_label("a")])
    found = score_trace(heard_of(one, "a"), (0, 1 << 60))
    assert (found.every, len(found.raw)) == (3, 500)


def test_what_a_baseline_cannot_tell_is_said() -> None:
    old = replace(written([("a", 10.5)], duration_s=60), scores=None)
    (lost,) = compared([old], [by_new(written((), duration_s=60))]).events
    assert lost.sides[0].trace is None and "no scores are stored" in lost.sides[0].reason
    assert lost.sides[1].trace is not None


def test_hours_gaps_and_the_curves_of_both_bundles_are_held() -> None:
    truth = truths((10, 12, "a"), (20, 22, "a"))
    old = written([("a", 10.5), ("a", 21.0)], truth, duration_s=100, gaps=[(50, 60, "drop")])
    new = by_new(written([("a", 10.5)], truth, duration_s=100, gaps=[(50, 60, "drop")]))
    content = compared([old], [new])
    for bundle in content.bundles:
        parts = sum(hours for part, hours in bundle.hours.items() if part != "duration")
        assert bundle.hours["duration"] == pytest.approx(100 / 3600, abs=2e-6)
        assert parts == pytest.approx(bundle.hours["duration"], abs=1e-5)
        assert bundle.hours["gap"] == pytest.approx(10 / 3600, abs=2e-6)
    assert [(one.from_ms, one.to_ms, one.cause) for one in content.gaps] == [(50_000, 60_000, "drop")]
    (curve,) = content.curves  # nothing of b is there
    assert [(one.found, one.truths, one.quantiles_ms, one.half_ms) for one in curve.delay] == [
        (2, 2, (500, 1000), 500),
        (1, 2, (500,), 500),
    ]
    assert all(one is not None and one.truths == 2 for one in curve.det)


def test_recordings_without_labels_are_compared_without_a_word_about_right_and_wrong() -> None:
    old = written([("a", 10.5)], None, duration_s=60)
    content = compared([old], [by_new(written((), None, duration_s=60))])
    assert rows(content) == [("lost", "a", 10_500, "")]
    assert content.curves == () and not content.recordings[0].labelled
    assert content.bundles[1].hours["valid"] == 0 < content.bundles[1].hours["unlabelled"]


def test_what_is_judged_is_the_time_of_recordings_that_have_labels() -> None:
    gap = [(50.0, 60.0, "drop")]
    one = written([("a", 10.5)], truths((10, 12, "a")), duration_s=100)
    other = written([("a", 10.5)], None, duration_s=200, gaps=gap, name="yard.wav")
    for content in (
        score_page([one, other], score([one, other], RULE), RULE, wish()).content,
        compared([one, other], [by_new(one), by_new(other)]),
    ):
        hours = content.bundles[-1].hours
        assert hours["valid"] == pytest.approx(99 / 3600, abs=1e-4)
        assert hours["unlabelled"] == pytest.approx(188 / 3600, abs=1e-4)
        parts = sum(time for part, time in hours.items() if part != "duration")
        assert parts == pytest.approx(hours["duration"], abs=1e-5) == pytest.approx(300 / 3600, abs=1e-5)


def test_labels_without_a_letter_are_no_counts_and_no_arrow_can_be_broken() -> None:
    labels = [plain_label("7", on=0.5), plain_label("12", on=0.5)]
    truth = truths((1, 2, "7"), (3, 4, "12"))
    seen = [[65_536 if 10 <= at < 15 else 0, 60_000 if 30 <= at < 35 else 0] for at in range(60)]
    paler = [[score * 9 // 10 for score in row] for row in seen]
    one, other = decided(seen, labels, truth=truth), by_new(decided(paler, labels, truth=truth))
    content = compared([one], [other])
    assert [event.what for event in content.events] == [
        "score 1.000 \u2192 0.900", "score 0.916 \u2192 0.824"
    ]  # fmt: skip
    assert any('labels "7", "12"' in fact for fact in content.head.facts)
    assert [row[0] for row in content.head.tables[0].rows] == ["all", '"7"', '"12"']
    scored = score_page([one], score([one], RULE), RULE, wish()).content
    assert 'Refractory: "7" 0 s, "12" 0 s.' in scored.head.facts[0]
    confusion = next(table for table in scored.head.tables if table.title.startswith("What was there"))
    assert {'"7"', '"12"'} < {*confusion.heads} and confusion.rows[0][0] == '"7"'


def test_half_of_all_counts_what_is_missed_as_later_than_any() -> None:
    truth = truths(*((start, start + 2, "a") for start in (10, 20, 30, 40, 50)))
    found = written([("a", 10.1), ("a", 20.2), ("a", 30.3)], truth, duration_s=100)
    few = by_new(written([("a", 10.1), ("a", 20.2)], truth, duration_s=100))
    (curve,) = compared([found], [few]).curves
    assert [one.half_ms for one in curve.delay] == [300, None]


def test_what_nobody_could_find_is_not_listed_as_missed() -> None:
    one = written([], truths((10, 12, "a"), (52, 55, "a")), duration_s=100, gaps=[(50, 60, "drop")])
    content = score_page([one], score([one], RULE), RULE, wish()).content
    assert [one.marks for one in content.events] == [("missed",), ("unwatched",)]


def test_a_score_lists_every_fate() -> None:
    truth = truths((10, 12, "a"), (20, 22, "a"), (30, 32, "b"))
    one = written([("a", 10.5), ("a", 11.5), ("a", 30.5), ("b", 50.5)], truth, duration_s=100)
    content = score_page([one], score([one], RULE), RULE, wish()).content
    assert rows(content) == [
        ("found", "a", 10_500, "found"),
        ("repeat", "a", 11_500, "repeat"),
        ("missed", "a", 20_000, "missed"),
        ("missed", "b", 30_000, "missed"),
        ("cross-trigger", "a", 30_500, "cross-trigger"),
        ("false alarm", "b", 50_500, "false alarm"),
    ]
    assert [one.name for one in content.bundles] == ["Bundle"]
    assert "Labels" in [table.title for table in content.head.tables]


def test_what_is_decided_behind_the_bound_on_delays_is_listed_as_late_and_as_missed() -> None:
    rule = MatchingRule(post_ns=S, most_delay_ns=S)
    one = written([("a", 11.5)], truths((10, 12, "a")), duration_s=100)
    content = score_page([one], score([one], rule), rule, wish()).content
    assert rows(content) == [("missed", "a", 10_000, "missed"), ("late", "a", 11_500, "late")]


def shown(kind: str, name: str, at_s: float) -> ShownEvent:
    one = written((), name=name, duration_s=100)
    return ShownEvent(kind, (one,), "a", (event("a", at_s, 0),), ((0, 0),), "")


def test_media_go_to_every_kind_and_every_recording_before_a_second_of_one() -> None:
    many = [shown("moved", "night", at) for at in range(5)]
    listed = [*many, shown("lost", "dawn", 1), shown("lost", "dawn", 2), shown("lost", "dusk", 1)]
    assert chosen(listed, 4) == [5, 0, 7, 1]
    assert sorted(chosen(listed, 100)) == list(range(8))
    assert chosen([], 5) == []


def test_a_sound_is_the_event_with_a_second_around_it_and_at_most_20_s() -> None:
    one = written((), duration_s=100)
    short = ShownEvent("lost", (one,), "a", (event("a", 10.0, 0, 8.0),), ((0, 0),), "")
    assert heard_ns(short) == (7 * S, 11 * S)
    long = ShownEvent("lost", (one,), "a", (event("a", 90.0, 0, 8.0),), ((0, 0),), "")
    assert heard_ns(long) == (71 * S, 91 * S)
    unheard = ShownEvent("missed", (one,), "a", (None,), ((0, 0),), "", missing=Truth(20 * S, 99 * S, "a"))
    assert heard_ns(unheard) == (19 * S, 39 * S)
    last = ShownEvent("lost", (one,), "a", (event("a", 99.9, 0, 99.0),), ((0, 0),), "")
    assert heard_ns(last) == (98 * S, 100 * S)


# ---- sounds and pictures


def at_rate(one: Replayed, rate: int) -> Replayed:
    """The replay with windows that count samples, or frames, of this rate."""
    assert one.scores is not None
    span = one.scores.span.copy()
    span[:, :2] = span[:, 2:] * rate // S
    return replace(one, scores=replace(one.scores, span=span))


def of_sound(path: Path, name: str = "a.wav") -> tuple[Replayed, RecordingPlace]:
    path.write_bytes(wav_bytes(night_samples(300, 4), RATE_HZ))
    one = replace(written((), duration_s=4, name=name), sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    return at_rate(one, RATE_HZ), RecordingPlace(str(path), ViewSettings())


def test_a_sound_is_cut_from_the_recording_to_the_sample(tmp_path: Path) -> None:
    replayed, place = of_sound(tmp_path / "a.wav")
    (cut, late) = cut_media(replayed, place, [("7", (500_000_000, 1_500_000_000)), ("8", (3 * S, 9 * S))])
    assert cut.media is not None and (cut.media.from_ms, cut.media.to_ms) == (500, 1500)
    with wave.open(io.BytesIO(cut.files["7.wav"])) as file:
        assert (file.getframerate(), file.getnframes()) == (RATE_HZ, RATE_HZ)
        samples = np.frombuffer(file.readframes(RATE_HZ), "<i2")
    np.testing.assert_array_equal(samples, night_samples(300, 4)[RATE_HZ // 2 : RATE_HZ * 3 // 2])
    assert late.media is not None and (late.media.from_ms, late.media.to_ms) == (3000, 4000)
    assert late.media.missing_ms == 0


@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100])
def test_no_sample_is_lost_between_blocks_at_any_rate(rate: int, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    samples = np.arange(3 * rate, dtype=np.int16)
    path.write_bytes(wav_bytes(samples, rate))
    one = replace(written((), duration_s=3), sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    place = RecordingPlace(str(path), ViewSettings())
    (cut,) = cut_media(at_rate(one, rate), place, [("0", (1_005_000_000, 2_500_000_000))])
    assert cut.media is not None and cut.media.missing_ms == 0
    with wave.open(io.BytesIO(cut.files["0.wav"])) as file:
        found = np.frombuffer(file.readframes(1 << 20), "<i2")
    first = 1_005 * rate // 1000  # the sample at the beginning
    np.testing.assert_array_equal(found, samples[first : first + len(found)])


def pictures(folder: Path, count: int = 30) -> tuple[Replayed, RecordingPlace]:
    folder.mkdir()
    for number in range(count):
        cv2.imwrite(str(folder / f"{number:03}.png"), np.full((48, 640, 3), 8 * number, np.uint8))
    one = replace(written((), duration_s=3), sha256=recording_sha256(folder) or "")
    return at_rate(one, 10), RecordingPlace(f"{folder}?fps=10", ViewSettings(mask=[[0.0, 0.0, 0.5, 1.0]]))


def test_frames_of_a_stretch_are_small_jpegs_behind_the_mask_of_the_replay(tmp_path: Path) -> None:
    replayed, place = pictures(tmp_path / "frames")
    (cut,) = cut_media(replayed, place, [("3", (1 * S, 2 * S))])
    assert cut.media is not None and cut.media.kind == "pictures"
    assert [one.at_ms for one in cut.media.pictures] == [1000, 1200, 1400, 1600, 1800, 2000]
    assert len(cut.files) == PICTURES
    for number, one in enumerate(cut.media.pictures):
        picture = cv2.imdecode(np.frombuffer(cut.files[one.file], np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None and picture.shape[1] == 320
        assert picture[:, :150].max() < 16, "what was hidden from the bundle is shown to nobody"
        assert abs(int(picture[10, 300, 0]) - 8 * (10 + 2 * number)) < 6


def test_a_recording_that_is_gone_changed_or_unknown_is_said_and_is_no_error(tmp_path: Path) -> None:
    replayed, place = of_sound(tmp_path / "a.wav")
    (unknown,) = cut_media(replayed, None, [("0", (0, S))])
    assert unknown.media is None and unknown.without == "nobody says where the recording lies"
    (changed,) = cut_media(replace(replayed, sha256="0" * 64), place, [("0", (0, S))])
    assert changed.without == "the recording was changed since it was replayed"
    (tmp_path / "a.wav").unlink()
    (gone,) = cut_media(replayed, place, [("0", (0, S))])
    assert gone.without == "the recording is not there any more"


def test_a_page_is_made_of_stored_replays_alone_and_says_how_many_have_their_sound(tmp_path: Path) -> None:
    replayed, place = of_sound(tmp_path / "a.wav")
    old = replace(replayed, events=(event("a", 1.5, 0, 1.0), event("b", 3.0, 1, 2.0)), truth=None)
    new = by_new(replace(replayed, truth=None))
    without = compared([old], [new])
    assert without.media_text == "0 of 2 events have their sound"
    assert {one.without for one in without.events} == {"nobody says where the recording lies"}
    first = compared([old], [new], places={replayed.sha256: place}, media_events=1)
    assert first.media_text == "1 of 2 events has its sound; --page-events N for more"
    assert [one.media is not None for one in first.events] == [True, False]


# ---- the file


class _Reading(html.parser.HTMLParser):
    """Every element of a page with its attributes, and the text of the embedded data."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.data = ""
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = ("id", "data") in attrs

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.data += data


def read_page(content: bytes) -> _Reading:
    reading = _Reading()
    reading.feed(content.decode())
    reading.close()
    return reading


def hostile_page(text: str, media: dict[str, bytes] | None = None) -> MadePage:
    label = printable(text)  # a manifest is UTF-8; names of files need not be
    labels = (Label(name="a"), Label(name=label))
    old = written([("a", 10.5)], truths((10, 12, "a"), (20, 21, label)), duration_s=60, labels=labels)
    old = replace(old, recording=text, tags={text: text})
    new = by_new(replace(old, events=()))
    found = compare_bundles([old], [new], rule=RULE)
    made = comparison_page(found, RULE, wish())
    return MadePage(made.content, media or {})


TAGS = [tag for tag, _ in read_page(render(hostile_page("a.wav").content, {})).tags]


@given(st.text(st.characters(exclude_categories=[]), min_size=1) | st.just(HOSTILE))
def test_no_text_from_outside_becomes_markup_or_is_lost(text: str) -> None:
    page = read_page(render(hostile_page(text).content, {}))
    assert [tag for tag, _ in page.tags] == TAGS
    assert not any(sign in page.data for sign in "<>&\u2028\u2029")
    name = json.loads(page.data)["recordings"][0]["name"]
    assert name == text or "\\" in name


def test_a_page_names_nothing_that_lies_elsewhere_and_allows_its_own_script_alone() -> None:
    content = render(hostile_page("a.wav").content, {})
    page = read_page(content)
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "action", "data"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, attributes)
    (policy,) = [one["content"] or "" for tag, one in page.tags if one.get("http-equiv")]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy and "http" not in policy
    assert b"//" not in content.replace(b"http://www.w3.org/2000/svg", b"").split(b"<script>")[0]


def test_a_file_holds_media_and_a_folder_has_them_beside_it(tmp_path: Path) -> None:
    made = with_sounds(2, 100)
    write_page(tmp_path / "page.html", made)
    assert b'id="media-1.wav">' in (tmp_path / "page.html").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html"]
    write_page(tmp_path / "page", made)
    assert b"media-1.wav" not in (tmp_path / "page" / INDEX).read_bytes()
    assert (tmp_path / "page" / MEDIA / "1.wav").read_bytes() == made.media["1.wav"]


def with_sounds(count: int, size: int) -> MadePage:
    """A page of so many events with sounds of so many bytes."""
    content = hostile_page("a.wav").content
    heard = [
        msgspec.structs.replace(
            content.events[0],
            media=PageMedia(kind="sound", from_ms=0, to_ms=1, file=f"{number}.wav"),
        )
        for number in range(count)
    ]
    content = msgspec.structs.replace(content, events=tuple(heard))
    return MadePage(content, {f"{number}.wav": bytes([number]) * size for number in range(count)})


def test_what_has_no_room_in_one_file_is_left_out_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_file, "MOST_MEDIA_BYTES", 250)
    content = write_page(tmp_path / "page.html", with_sounds(3, 100))
    assert [one.media is not None for one in content.events] == [True, True, False]
    assert "no room in one file" in content.events[2].without
    assert content.media_text.endswith(
        "for 1 there was no room in one file: give --html a folder, a path without .html"
    )
    assert b"media-2.wav" not in (tmp_path / "page.html").read_bytes()


@pytest.mark.parametrize("command", [diff, score_command], ids=["diff", "score"])
def test_the_help_says_what_the_limits_are(command: click.Command) -> None:
    said = {one.name: one.help for one in command.params if isinstance(one, click.Option)}
    assert f"[default: {PAGE_EVENTS}]" in (said["page_events"] or "")
    assert f"up to {MOST_MEDIA_BYTES >> 20} MiB" in (said["html"] or "")


def test_only_a_former_page_is_written_over(tmp_path: Path) -> None:
    made = hostile_page("a.wav")
    file, folder = tmp_path / "report.html", tmp_path / "report"
    file.write_text("<!doctype html><title>somebody's</title>")
    folder.mkdir()
    (folder / "index.html").write_text("somebody's")
    for path in (file, folder):
        with pytest.raises(CallerError, match="no page of galago qa") as refused:
            check_page_path(path)
        assert refused.value.reason is Reason.EXISTS
        with pytest.raises(CallerError):
            write_page(path, made)
    assert file.read_text().endswith("</title>") and [one.name for one in folder.iterdir()] == ["index.html"]
    for path in (tmp_path / "new.html", tmp_path / "new"):
        write_page(path, made)
        check_page_path(path)
        write_page(path, with_sounds(1, 10))
    assert (tmp_path / "new" / MARK).is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "new.html", "report", "report.html"]


def test_a_disk_that_refuses_leaves_the_former_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "page.html"
    write_page(path, hostile_page("a.wav"))
    before = path.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("galago_workstation.files.replace_file", full)
    with pytest.raises(LinkError) as failed:
        write_page(path, hostile_page("b.wav"))
    assert failed.value.reason is Reason.NO_SPACE
    assert path.read_bytes() == before


def test_a_page_of_very_many_events_lists_some_and_says_how_many_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("galago_workstation.qa.page.page_events.MOST_EVENTS", 3)
    old = written([("a", float(at)) for at in range(10, 60, 10)], None, duration_s=100)
    content = compared([old], [by_new(written((), None, duration_s=100))])
    assert (len(content.events), content.more_events) == (3, 2)
    assert content.bundles[0].id == BUNDLE
