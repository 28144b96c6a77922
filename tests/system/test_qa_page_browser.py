"""The page of QA in Chromium: opened from a disk, clicked, heard, and used with a keyboard and on a phone.

With ``GALAGO_SCREENSHOTS=docs`` in the environment the pictures in docs/ are made again, of the page that
``GALAGO_PAGE`` names with an event: ``demo/alarms-diff.html#e7``.
"""

from __future__ import annotations

import datetime
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from galago_edge.commands.cli import main
from galago_edge.contract.manifest import Label
from galago_edge.decision import ONE
from galago_workstation.progress_lines import PlainReport
from galago_workstation.qa.label_file import write_labels
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.page.page_events import PageWish
from galago_workstation.qa.page.page_file import write_page
from galago_workstation.qa.page.page_making import comparison_page
from galago_workstation.qa.replay_comparison import compare_bundles
from galago_workstation.qa.replayed import Truth, TruthList
from real_parts.browser import CONTRASTS, open_browser, resize_browser, text_of, texts, visible
from real_parts.missing import missing_part
from real_parts.processes import MissingPartError, wait_for
from test_kit import make_bundle
from test_kit.corpora import camera_bundle, microphone_bundle, policy_labels, write_night
from test_kit.replays import decided, plain_label, truths

S = 1_000_000_000
DESK, PHONE, SMALLEST = (1280, 860), (390, 844), (320, 640)
HOSTILE = "<img src=x onerror=document.title='taken'>&lt;b&gt;"
SCRIPTS = "дым 煙 دخان कछ"


def galago(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, [str(one) for one in arguments])
    assert result.exit_code == code, result.output
    return result.stderr


def deaf(path: Path, model: bytes, labels: list[Label], modality: Any, **policy: Any) -> Path:
    """A bundle whose last label has another policy."""
    *others, last = labels
    worse = msgspec.structs.replace(last, policy=msgspec.structs.replace(last.policy, **policy))
    return make_bundle(path, model, [*others, worse], modality=modality, version="2.0.0")


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory, tiny_audio_model: bytes) -> Path:
    """A corpus of three sounds, all labelled, two bundles, and the page of their comparison."""
    top = tmp_path_factory.mktemp("sounds")
    for name, tone_hz, label in (("a", 300, "low"), ("b", 3_100, "high"), ("c", 0, "low")):
        path = write_night(top / "corpus" / f"{name}.wav", tone_hz, seconds=4)
        write_labels(path.with_name(f"{path.name}.labels.tsv"), TruthList((Truth(S, 2 * S, label),)))
    old = microphone_bundle(top / "old.galago", tiny_audio_model)
    labels = policy_labels("quiet", "low", "high")
    new = deaf(top / "new.galago", tiny_audio_model, labels, "microphone", min_count=200)
    said = galago("qa", "diff", old, new, top / "corpus", *stored(top), "--html", top / "page.html")
    assert f"page: {top / 'page.html'} (2 of 2 events have their sound)" in said
    return top


def stored(top: Path) -> tuple[object, ...]:
    return ("--results", top / "results", "--jobs", "1")


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory, tiny_image_model: bytes) -> Path:
    """A camera's recording of 5 frames a second, dark but for two seconds, and the page of two bundles."""
    top = tmp_path_factory.mktemp("frames")
    folder = top / "corpus" / "door"
    folder.mkdir(parents=True)
    for number in range(30):
        level = 250 if 10 <= number < 20 else 5
        cv2.imwrite(str(folder / f"{number:03}.png"), np.full((120, 160, 3), level, np.uint8))
    write_labels(top / "corpus" / "door.labels.tsv", TruthList((Truth(2 * S, 4 * S, "bright"),)))
    old = camera_bundle(top / "old.galago", tiny_image_model)
    labels = policy_labels("dark", "mid", "bright")
    new = deaf(top / "new.galago", tiny_image_model, labels, "camera", on=1.0)
    galago("qa", "diff", old, new, top / "corpus", *stored(top), "--html", top / "page")
    return top


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    try:
        driver = open_browser(tmp_path_factory.mktemp("chromium"), size=DESK)
    except MissingPartError as missing:
        missing_part(str(missing))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium: Any) -> Iterator[Any]:
    """The browser as if it were new; it must not have complained when the test is over."""
    chromium.get("about:blank")
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    resize_browser(chromium, DESK)
    chromium.get_log("browser")  # what is read is forgotten
    yield chromium
    assert chromium.get_log("browser") == []


def show(browser: Any, path: Path, place: str = "") -> None:
    browser.get("about:blank")  # a new place in the same page would not load it again
    browser.get(path.as_uri() + place)
    wait_for(lambda: visible(browser, ".row"), "the list of events")


def dark(browser: Any) -> None:
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def click(browser: Any, css: str, number: int = 0) -> None:
    browser.find_elements("css selector", css)[number].click()


def choose(browser: Any, css: str, value: str) -> None:
    script = """arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event("change"))"""
    browser.execute_script(script, browser.find_element("css selector", css), value)


def press(browser: Any, *keys: str) -> None:
    for key in keys:
        ActionChains(browser).send_keys(key).perform()


def drawn(browser: Any, css: str) -> int:
    """How many visible elements of a drawing match, with something drawn in them."""
    script = """return [...document.querySelectorAll(arguments[0])].filter(
      (one) => one.getClientRects().length && (one.tagName !== "path" || one.getAttribute("d"))).length"""
    return int(browser.execute_script(script, css))


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of two bundles whose labels are digits, with other scores; one recording has no labels."""
    labels = [plain_label("7", on=0.5), plain_label("12", on=0.5)]
    seen = [[ONE if 10 <= at < 15 else 0, 60_000 if 30 <= at < 35 else 0] for at in range(60)]
    paler = [[score * 9 // 10 for score in row] for row in seen]
    truth = truths((1, 2, "7"), (3, 4, "12"), ignored=[(5, 5.5)])
    sides = [
        [
            decided(rows, labels, truth=truth, restart=[40], skipped=[33]),
            decided(rows[:9], labels, truth=None, name="b"),
        ]
        for rows in (seen, paler)
    ]
    new = [replace(one, bundle="e1" * 32) for one in sides[1]]
    wish = PageWish(at=datetime.datetime(2026, 12, 1, tzinfo=datetime.UTC), report=PlainReport())
    rule = MatchingRule()
    path = tmp_path_factory.mktemp("numbers") / "page.html"
    write_page(path, comparison_page(compare_bundles(sides[0], new, rule=rule), rule, wish))
    return path


# ---- what a visitor sees and hears


def test_a_lost_event_shows_its_scores_thresholds_and_reasons_and_its_sound_plays(
    sounds: Path, browser: Any
) -> None:
    show(browser, sounds / "page.html")
    assert text_of(browser, "#title") == "tiny 1.0.0 → tiny 2.0.0"
    assert text_of(browser, "#said") == "no gates, so no verdict"
    assert texts(browser, ".row .kind") == ["lost", "missed"]
    click(browser, ".row")
    wait_for(lambda: drawn(browser, ".line path.smooth") == 2, "the smoothed scores of both bundles")
    assert drawn(browser, ".line path.raw") == 2 and drawn(browser, ".line .dot") > 50
    assert drawn(browser, ".line .on") == drawn(browser, ".line .off") == 2
    assert drawn(browser, ".line .decided") == 1, "only OLD decided"
    assert drawn(browser, ".line rect.there") == 1
    assert texts(browser, ".side h3")[0].startswith("OLD: event at 0:00:01.2")
    assert "200 in a row are needed" in texts(browser, ".side")[1]
    assert "smallest change: min_count 21 instead of 200" in texts(browser, ".side")[1]
    duration = "return document.querySelector('audio').duration"
    wait_for(lambda: browser.execute_script(duration) == 3.0, "the length of the sound")
    browser.execute_script("document.querySelector('audio').play()")
    position = "return document.querySelector('audio').currentTime"
    wait_for(lambda: browser.execute_script(position) > 0.1, "the sound to play")
    assert drawn(browser, ".line .head") == 1
    assert [text for text in texts(browser, ".key span") if text not in ("on", "off")] == [
        "score of each window",
        "smoothed",
        "event decided",
        "on, from its first window to the decision",
        "by the labels",
        "heard now; a click plays from there",
    ]


def test_a_click_into_the_scores_is_heard_from_there(sounds: Path, browser: Any) -> None:
    show(browser, sounds / "page.html", "#e0")
    wait_for(
        lambda: browser.execute_script("return document.querySelector('audio').duration > 0"), "the sound"
    )
    click(browser, ".line svg")  # its middle: half-way through 4 s
    position = "return document.querySelector('audio').currentTime"
    wait_for(lambda: abs(browser.execute_script(position) - 2.0) < 0.1, "the sound to be there")


def test_frames_are_shown_and_turned_over_with_the_keyboard(frames: Path, browser: Any) -> None:
    show(browser, frames / "page" / "index.html")
    assert text_of(browser, ".row .kind") == "lost"
    click(browser, ".row")
    loaded = "return [...document.querySelectorAll('.strip img')].map((one) => one.naturalWidth)"
    wait_for(lambda: set(browser.execute_script(loaded)) == {160}, "the frames")
    assert len(browser.execute_script(loaded)) == 6
    assert texts(browser, ".key span")[-1] == "frames above" and drawn(browser, ".line .seen") == 6
    click(browser, ".strip button")
    wait_for(lambda: visible(browser, "#large img"), "the large picture")
    assert text_of(browser, "#large-title").endswith("1 of 6")
    press(browser, Keys.ARROW_RIGHT)
    assert text_of(browser, "#large-title").endswith("2 of 6")
    press(browser, Keys.ESCAPE)
    wait_for(lambda: not visible(browser, "#large"), "the picture to go")
    assert visible(browser, ".detail"), "the event stays open"


def test_the_list_is_filtered_by_kind_label_and_recording(sounds: Path, browser: Any) -> None:
    show(browser, sounds / "page.html")
    assert texts(browser, "#kinds button") == ["all 2", "lost 1", "missed 2"]
    click(browser, "#kinds button", 1)
    assert texts(browser, ".row .name") == ["high"]
    assert text_of(browser, "#count") == "1 of 2 events"
    click(browser, "#kinds button", 2)
    assert texts(browser, ".row .name") == ["high", "low"], "a lost event that was right is missed, too"
    for css, value, left in (("#label", "low", ["low"]), ("#recording", "1", [])):
        choose(browser, css, value)
        assert texts(browser, ".row .name") == left
    assert visible(browser, "#none")


def test_everything_can_be_done_with_the_keyboard(sounds: Path, browser: Any) -> None:
    show(browser, sounds / "page.html")
    browser.execute_script("document.querySelector('.row').focus()")
    press(browser, Keys.ENTER)
    wait_for(lambda: visible(browser, "#e0 .detail"), "the first event")
    press(browser, Keys.ARROW_DOWN)
    wait_for(lambda: visible(browser, "#e1 .detail"), "the next event")
    assert not visible(browser, "#e0 .detail")
    press(browser, Keys.ESCAPE)
    wait_for(lambda: not visible(browser, ".detail"), "no event")
    assert browser.execute_script("return document.activeElement.parentElement.id") == "e1"


def test_a_screen_reader_finds_names_for_everything(sounds: Path, browser: Any) -> None:
    show(browser, sounds / "page.html", "#e0")
    wait_for(lambda: drawn(browser, ".line svg"), "the scores")
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    wanted = {"button", "combobox", "image", "region", "group"}
    named = [
        (node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if "role" in node
    ]
    assert {role for role, name in named if role in wanted and not name} <= {"group"}
    assert any(role == "image" and name.startswith("Scores of high") for role, name in named)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_smallest_phone_shows_all_of_it_without_scrolling_sideways(
    scheme: str, sounds: Path, frames: Path, browser: Any
) -> None:
    if scheme == "dark":
        dark(browser)
    resize_browser(browser, SMALLEST)
    for path in (sounds / "page.html", frames / "page" / "index.html"):
        show(browser, path, "#e0")
        wait_for(lambda: drawn(browser, ".line path.smooth") == 2, "the scores")
        assert browser.execute_script("return document.documentElement.scrollWidth") == SMALLEST[0]
        contrasts: dict[str, float] = browser.execute_script(CONTRASTS)
        assert len(contrasts) > 40
        assert {text: round(ratio, 2) for text, ratio in contrasts.items() if ratio < 4.5} == {}  # WCAG AA


def test_a_page_is_drawn_anew_for_another_width(sounds: Path, browser: Any) -> None:
    show(browser, sounds / "page.html", "#e0")
    width = "return document.querySelector('.line svg').clientWidth"
    wait_for(lambda: browser.execute_script(width) > 1_000, "the scores")
    resize_browser(browser, SMALLEST)
    wait_for(lambda: browser.execute_script(width) < 320, "narrow scores")
    assert browser.execute_script("return document.documentElement.scrollWidth") == SMALLEST[0]


def test_curves_of_both_bundles_are_drawn_for_the_label_that_is_chosen(sounds: Path, browser: Any) -> None:
    show(browser, sounds / "page.html")
    wait_for(lambda: drawn(browser, "#det path.smooth") == 2, "the DET curves")
    assert drawn(browser, "#delay path.smooth") == 2
    assert "OLD: 1 of 2 found" in text_of(browser, "#delay-text")
    choose(browser, "#plotted", "1")
    assert text_of(browser, "#delay-text").startswith(
        "OLD: 1 of 1 found, half of all within 0.22 s · NEW: 0 of 1 found"
    )
    assert text_of(browser, "#delay-text").endswith("0 of 1 found"), (
        "of nothing that was found no half is told"
    )


def test_nothing_is_asked_of_any_network(sounds: Path, frames: Path, browser: Any) -> None:
    for path in (sounds / "page.html", frames / "page" / "index.html"):
        show(browser, path, "#e0")
        wait_for(lambda: drawn(browser, ".line path.smooth") == 2, "the scores")
        names = "return performance.getEntriesByType('resource').map((one) => one.name)"
        assert [
            name for name in browser.execute_script(names) if not name.startswith(("data:", "file:"))
        ] == []
        script = """const done = arguments[arguments.length - 1];
          fetch("http://127.0.0.1:9/").then(() => done("loaded"), () => done("refused"))"""
        assert browser.execute_async_script(script) == "refused"
        complaints = browser.get_log("browser")
        assert complaints and all("Content Security Policy" in one["message"] for one in complaints)


def test_an_address_that_is_changed_on_an_open_page_opens_its_event_as_often_as_it_is_asked_for(
    sounds: Path, browser: Any
) -> None:
    show(browser, sounds / "page.html", "#e0")
    wait_for(lambda: visible(browser, "#e0 .detail"), "the first event")
    click(browser, "#kinds button", 1)  # only what is lost, which the second event is not
    assert texts(browser, ".row .name") == ["high"]
    for _ in range(2):
        browser.execute_script("location.hash = '#e1'")
        wait_for(lambda: visible(browser, "#e1 .detail"), "the event of the address")
        assert texts(browser, ".row .name") == ["high", "low"] and not visible(browser, "#e0 .detail")
        press(browser, Keys.ESCAPE)
        wait_for(lambda: not visible(browser, ".detail"), "no event")
    browser.execute_script("location.hash = '#e999'")
    assert not visible(browser, ".detail")


def test_labels_that_are_digits_and_what_has_no_labels_are_told_as_what_they_are(
    numbers: Path, browser: Any
) -> None:
    resize_browser(browser, (360, 740))
    show(browser, numbers, "#e1")
    wait_for(lambda: drawn(browser, ".line path.smooth"), "the scores")
    assert texts(browser, ".row .name") == ['"7"', '"12"']
    assert texts(browser, ".row .what") == ["score 1.000 → 0.900", "score 0.916 → 0.824"]
    assert text_of(browser, "#made").startswith("two bundles on 2 recordings, 1 of them without labels, made")
    assert {"judged 5.2 s", "without labels 0.8 s"} <= {*texts(browser, ".watched li")}
    assert {"model not run (gate closed)", "gap", "to be ignored"} <= {*texts(browser, ".key span")}
    assert "->" not in text_of(browser, "body")
    assert browser.execute_script("return document.documentElement.scrollWidth") == 360


@pytest.fixture(scope="module")
def gated(sounds: Path) -> Path:
    """The page of the same bundles with gates that have much to say."""
    tags = '{ site = "the barn behind the second house by the river" }'
    recordings = [f'[[recording]]\npath = "corpus/{name}.wav"\ntags = {tags}\n' for name in "abc"]
    (sounds / "corpus.toml").write_text("".join(recordings))
    gate = '[[gate]]\nlabel = "*"\ntags = { site = "*" }\n'
    bounds = ('measure = "missed"\nabove_old_at_most = 0.05\n', 'measure = "false_alarms"\nat_most = 1\n')
    (sounds / "gates.toml").write_text("".join(gate + bound for bound in bounds))
    page = sounds / "gated.html"
    bundles = (sounds / "old.galago", sounds / "new.galago")
    galago(
        *("qa", "diff", *bundles, sounds / "corpus.toml", *stored(sounds)),
        *("--gates", sounds / "gates.toml", "--html", page, "--page-events", "0"),
        code=7,
    )
    return page


def torn(browser: Any, css: str) -> list[str]:
    """Return the texts of the elements that take more than one line."""
    script = """return [...document.querySelectorAll(arguments[0])].filter((one) => {
      const range = document.createRange();
      range.selectNodeContents(one);
      return new Set([...range.getClientRects()].map((line) => Math.round(line.top))).size > 1;
    }).map((one) => one.textContent)"""
    return list(browser.execute_script(script, css))


def test_a_phone_shows_the_tables_whole_with_the_head_of_each_value(gated: Path, browser: Any) -> None:
    resize_browser(browser, (360, 740))
    show(browser, gated)
    assert texts(browser, "#first h2") == ["Gates"]
    widths = """return [document.documentElement, ...document.querySelectorAll(".scroll")].map(
      (one) => one.scrollWidth - one.clientWidth)"""
    assert set(browser.execute_script(widths)) == {0}, "nothing is to be moved sideways to be read"
    before = """return [...document.querySelectorAll("#first tbody tr:first-child td")].map(
      (one) => getComputedStyle(one, "::before").content)"""
    assert browser.execute_script(before)[:3] == ["none", '"verdict"', '"OLD"']
    assert torn(browser, "td.short") == []
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = {node["role"]["value"] for node in nodes if "role" in node}
    assert {"table", "row", "columnheader", "cell"} <= roles, "a table for a screen reader all the same"


def test_times_and_figures_stay_on_one_line_on_a_desk(gated: Path, browser: Any) -> None:
    show(browser, gated)
    browser.execute_script(
        "for (const one of document.querySelectorAll('.row .at')) one.textContent = '123:45:56.789'"
    )
    assert torn(browser, ".row .at") == []
    column = (
        "return [...document.querySelectorAll('#first th')].findIndex((one) => one.textContent === 'time')"
    )
    number = int(browser.execute_script(column)) + 1
    assert number > 0 and len(texts(browser, f"#first td:nth-child({number})")) == 4
    assert torn(browser, f"#first td:nth-child({number})") == []
    overlap = """return [...document.querySelectorAll('.row .at')].some(
      (one) => one.scrollWidth > one.clientWidth)"""
    assert not browser.execute_script(overlap), "a time has room in its column"


# ---- names that nobody would choose, and recordings that are gone


def test_labels_and_file_names_of_any_script_are_texts_and_never_markup(
    tmp_path: Path, tiny_audio_model: bytes, browser: Any
) -> None:
    labels = policy_labels("quiet", HOSTILE, SCRIPTS)
    old = make_bundle(tmp_path / "old.galago", tiny_audio_model, labels, modality="microphone")
    new = deaf(tmp_path / "new.galago", tiny_audio_model, labels, "microphone", min_count=200)
    corpus = tmp_path / "corpus"
    names = ["<b>night<b>.wav", "ночь 夜 &amp; \u202ereversed.wav", f"{'long' * 40}.wav"]
    for seconds, (name, label) in enumerate(zip(names, (SCRIPTS, SCRIPTS, HOSTILE), strict=True), 3):
        path = write_night(corpus / name, 3_100, seconds=seconds)
        write_labels(path.with_name(f"{path.name}.labels.tsv"), TruthList((Truth(S, 2 * S, label),)))
    page = tmp_path / "page.html"
    galago("qa", "diff", old, new, corpus, *stored(tmp_path), "--html", page)
    resize_browser(browser, SMALLEST)
    show(browser, page, "#e0")
    shown = texts(browser, ".row .where")
    assert "<b>night<b>.wav" in shown
    assert any("\\u202e" in one for one in shown), "what turns text around is shown and does nothing"
    assert set(texts(browser, ".row .name")) == {HOSTILE, SCRIPTS}
    assert browser.execute_script("return document.querySelectorAll('main b, main img').length") == 0
    assert "taken" not in browser.title
    for number in range(len(shown)):
        click(browser, f"#e{number} .row") if number else None
        wait_for(lambda at=number: drawn(browser, f"#e{at} .line path.smooth") == 2, "the scores")
        assert browser.execute_script("return document.documentElement.scrollWidth") == SMALLEST[0]


def test_runs_without_their_recordings_give_a_page_that_says_so(
    sounds: Path, tmp_path: Path, browser: Any
) -> None:
    corpus = tmp_path / "corpus"
    shutil.copytree(sounds / "corpus", corpus)
    for side in ("old", "new"):
        galago(
            "replay", corpus, "--bundle", sounds / f"{side}.galago", "--out", tmp_path / side, "--jobs", "1"
        )
    (corpus / "b.wav").write_bytes(b"another sound")
    (corpus / "c.wav").unlink()
    page = tmp_path / "page.html"
    said = galago("qa", "diff", tmp_path / "old", tmp_path / "new", "--html", page)
    assert "0 of 2 events have their sound" in said
    show(browser, page, "#e0")
    wait_for(lambda: drawn(browser, ".line path.smooth") == 2, "the scores, which are stored")
    assert text_of(browser, ".detail .lacking").endswith("the recording was changed since it was replayed")
    click(browser, "#e1 .row")
    assert text_of(browser, ".detail .lacking").endswith("the recording is not there any more")
    assert drawn(browser, ".key .head") == 0, "no legend of what is not there"


def test_a_page_that_was_passed_on_without_its_media_says_so_where_they_would_be(
    frames: Path, tmp_path: Path, browser: Any
) -> None:
    page = tmp_path / "page"
    shutil.copytree(frames / "page", page)
    shutil.rmtree(page / "media")
    show(browser, page / "index.html", "#e0")
    wait_for(lambda: not visible(browser, ".strip"), "the frames to be given up")
    (said,) = texts(browser, ".detail .lacking")
    assert "is missing or cannot be played; the folder media" in said
    assert all("ERR_FILE_NOT_FOUND" in one["message"] for one in browser.get_log("browser"))


def test_a_score_has_its_page_too(sounds: Path, tmp_path: Path, browser: Any) -> None:
    page = tmp_path / "score.html"
    galago(
        *("qa", "score", sounds / "corpus", "--bundle", sounds / "new.galago", *stored(sounds)),
        *("--html", page, "--page-events", "1"),
    )
    show(browser, page)
    assert text_of(browser, "#media-text") == "1 of 3 events has its sound; --page-events N for more"
    assert texts(browser, ".row .kind") == ["found", "missed", "missed"]
    click(browser, ".row", 1)
    wait_for(lambda: drawn(browser, ".line path.smooth") == 1, "the scores of the only bundle")
    assert texts(browser, ".side h3") == ["Bundle: no event"]
    click(browser, ".row", 2)
    assert "this page has them of fewer events" in text_of(browser, ".detail .lacking")
    assert texts(browser, "#first h2") == ["Labels"] and "Time" in texts(browser, "#tables h2")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [(("--page-events", "3"), 2, "--html"), (("--html", "{other}"), 2, "no page of galago qa")],
)
def test_a_page_that_cannot_be_written_is_refused_before_anything_is_replayed(
    arguments: tuple[str, ...], code: int, said: str, sounds: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.html"
    other.write_text("somebody's")
    filled = [one.format(other=other) for one in arguments]
    bundles = (sounds / "old.galago", sounds / "new.galago")
    told = galago("qa", "diff", *bundles, tmp_path / "no-corpus", *filled, code=code)
    assert said in told and other.read_text() == "somebody's"


@pytest.mark.parametrize(
    ("name", "size", "scheme"),
    [
        ("qa-page.png", DESK, "light"),
        ("qa-page-dark.png", DESK, "dark"),
        ("qa-page-phone.png", PHONE, "dark"),
    ],
    ids=["desk", "dark", "phone"],
)
def test_a_screenshot_for_the_documents(
    name: str, size: tuple[int, int], scheme: str, sounds: Path, browser: Any, tmp_path: Path
) -> None:
    if scheme == "dark":
        dark(browser)
    resize_browser(browser, size)
    page, _, event = os.environ.get("GALAGO_PAGE", f"{sounds / 'page.html'}#e0").partition("#")
    show(browser, Path(page).absolute(), f"#{event}")
    wait_for(lambda: drawn(browser, ".line path.smooth"), "the scores")
    height = browser.execute_script("return document.documentElement.scrollHeight")
    resize_browser(browser, (size[0], height))
    wait_for(lambda: browser.execute_script("return innerHeight") == height, "the whole page to be visible")
    path = Path(os.environ.get("GALAGO_SCREENSHOTS", tmp_path)) / name
    browser.save_screenshot(str(path))
    picture = cv2.imread(str(path))
    assert picture is not None and picture.shape[:2] == (height, size[0])
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 200  # something is on it
