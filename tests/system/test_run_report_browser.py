"""The report of a run in Chromium: opened from a disk, clicked and heard, on a desk and on a small phone.

With ``GALAGO_SCREENSHOTS=docs`` in the environment the pictures in docs/ are made again, of the report that
``GALAGO_REPORT`` names: ``demo/runs/alarms/report.html``.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galago_workstation.evaluation.model_doubts import ModelDoubt
from galago_workstation.evaluation.page import run_report
from galago_workstation.evaluation.page.run_report import TrainingRates, write_report
from real_parts.browser import CONTRASTS, open_browser, resize_browser, text_of, texts, visible
from real_parts.missing import missing_part
from real_parts.processes import MissingPartError, wait_for
from test_kit.scored_runs import scored_run

HOSTILE = "<img src=x onerror=document.title='taken'>"
LABELS = ("犬 собака دخان", HOSTILE, "7")
SIZES = [(1280, 900), (360, 740)]


def first_as_second(run: Any) -> Callable[[Any], Any]:
    """Return the samples of a run, of which the first looks as the second one does."""
    (one, other, *_), raw = run.test, run.raw
    return lambda sample: raw(other if sample is one else sample)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, tiny_image_model: bytes) -> dict[str, Path]:
    """The page of pictures and the page of sounds: 60 samples each, a fifth of them wrong."""
    rng = np.random.default_rng(1)
    truth = (np.arange(60) % 3).tolist()
    scores = rng.dirichlet((0.6, 0.6, 0.6), 60) * 0.6
    scores[np.arange(60), truth] += 0.4
    scores[::5] = np.roll(scores[::5], 1, axis=1)
    scores[0] = [0.02, 0.97, 0.01]
    doubt = ModelDoubt(code="few_test_samples", text=f"few test samples of {HOSTILE!r}")
    found = {}
    patched = pytest.MonkeyPatch()
    patched.setattr(run_report, "augmentation_samples", lambda *arguments, **options: [])
    for kind, sounds in (("pictures", False), ("sounds", True)):
        folder = tmp_path_factory.mktemp(kind)
        groups = [f"話者 {number % 4}" for number in range(60)]
        run, scored = scored_run(folder, LABELS, truth, scores.tolist(), sounds=sounds, groups=groups)
        if not sounds:  # the picture of the first sample is the second one's, whose label is another
            patched.setattr(run, "raw", first_as_second(run))
            (folder / "converted").mkdir()
            (folder / "converted" / "int8.tflite").write_bytes(tiny_image_model)
        write_report(run, scored, (doubt,), TrainingRates(price_per_hour=0.4, watts=65))
        found[kind] = folder / "report.html"
    patched.undo()
    return found


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    try:
        driver = open_browser(tmp_path_factory.mktemp("chromium"))
    except MissingPartError as missing:
        missing_part(str(missing))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium: Any) -> Iterator[Any]:
    """The browser; it must not have complained when the test is over."""
    chromium.get("about:blank")
    resize_browser(chromium, SIZES[0])
    chromium.get_log("browser")  # what is read is forgotten
    yield chromium
    assert chromium.get_log("browser") == []


def show(browser: Any, path: Path) -> None:
    browser.get("about:blank")
    browser.get(path.as_uri())
    wait_for(lambda: visible(browser, "#reliability svg"), "the curves")


def choose(browser: Any, css: str, value: str) -> None:
    script = """arguments[0].value = arguments[1];
      for (const kind of ["input", "change"]) arguments[0].dispatchEvent(new Event(kind))"""
    browser.execute_script(script, browser.find_element("css selector", css), value)


def test_the_report_is_looked_through_by_clicks(pages: dict[str, Path], browser: Any) -> None:
    show(browser, pages["pictures"])
    assert text_of(browser, "#forms tr td + td").endswith("%")
    everything = len(texts(browser, "#wrong li"))
    assert everything >= 12 and f"{everything} of {everything} wrong answers" in text_of(
        browser, "#errors-text"
    )
    browser.find_elements("css selector", "#kinds button")[1].click()
    assert 1 <= len(texts(browser, "#wrong li")) < everything, "only what casts doubt on its label"
    assert "label right?" in text_of(browser, "#wrong li")
    browser.find_elements("css selector", "#kinds button")[0].click()
    choose(browser, "#wrong-label", "2")
    assert all('true "7"' in one for one in texts(browser, "#wrong li"))
    browser.find_element("css selector", "#wrong button").click()
    loaded = "return document.querySelector('#large img').naturalWidth"
    wait_for(lambda: browser.execute_script(loaded) == 160, "the large picture")
    browser.find_element("css selector", "#large form > button:last-child").click()
    choose(browser, "#at", "0")
    assert text_of(browser, "#threshold-text").startswith(
        f"at 0.00: 100.0 % of {LABELS[0]} reach it, and 100.0 %"
    )
    choose(browser, "#plotted", "1")
    assert HOSTILE in text_of(browser, "#threshold-text")
    assert len(texts(browser, "#confusion tbody tr")) == 3
    assert text_of(browser, "#groups tbody tr").startswith("話者")
    assert browser.execute_script("return document.querySelectorAll('main img[src=x]').length") == 0
    assert "taken" not in browser.title


def test_samples_that_contradict_each_other_and_boards_are_on_the_page(
    pages: dict[str, Path], browser: Any
) -> None:
    show(browser, pages["pictures"])
    assert "pair" in text_of(browser, "#alike-text")
    (first, *_) = browser.find_elements("css selector", "#alikes > div")
    assert "100.0 % alike" in first.text
    pictures = first.find_elements("css selector", "li button")
    assert len(pictures) == 2
    pictures[1].click()
    wait_for(lambda: "2 of 2" in text_of(browser, "#large-title"), "the second of the two")
    browser.find_element("css selector", "#large form > button:last-child").click()
    boards = texts(browser, "#boards tbody tr")
    assert any(one.startswith("Raspberry Pi 5") and "yes" in one for one in boards)
    assert "No board was measured" in text_of(browser, "#boards .sub")
    show(browser, pages["sounds"])
    assert not visible(browser, "#alikes") and text_of(browser, "#alike-text").startswith("0 pairs among")
    assert texts(browser, "#boards tbody tr") == []


def test_a_sound_is_played_from_the_page_itself(pages: dict[str, Path], browser: Any) -> None:
    show(browser, pages["sounds"])
    browser.find_element("css selector", "h1").click()  # before that, nothing may be heard
    browser.execute_script("document.querySelector('#wrong audio').play()")
    position = "return document.querySelector('#wrong audio').currentTime"
    wait_for(lambda: browser.execute_script(position) > 0.05, "the sound to play")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_and_desk_show_all_of_it_and_every_text_can_be_read(
    scheme: str, pages: dict[str, Path], browser: Any
) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    for kind, size in itertools.product(pages, SIZES):
        resize_browser(browser, size)
        show(browser, pages[kind])
        assert browser.execute_script("return document.documentElement.scrollWidth") == size[0]
        contrasts: dict[str, float] = browser.execute_script(CONTRASTS)
        assert len(contrasts) > 40
        assert {text: round(ratio, 2) for text, ratio in contrasts.items() if ratio < 4.5} == {}  # WCAG AA


def test_a_phone_shows_tables_whole_and_the_confusions_as_a_table(
    pages: dict[str, Path], browser: Any
) -> None:
    resize_browser(browser, SIZES[1])
    show(browser, pages["sounds"])
    script = """return [...document.querySelectorAll(".scroll:not(:has(.matrix))")].map(
      (one) => one.scrollWidth - one.clientWidth)"""
    moved = browser.execute_script(script)
    assert len(moved) >= 4 and set(moved) == {0}, "nothing is to be moved sideways to be read"
    assert browser.execute_script(
        "return getComputedStyle(document.querySelector('#forms td:last-child'), '::before').content"
    ).startswith('"TFLite int8')
    assert visible(browser, "table.matrix thead th"), "its heads are labels"


@pytest.mark.parametrize(
    ("size", "name"), [((1280, 1600), "run-report.png"), ((360, 1400), "run-report-phone.png")]
)
def test_a_screenshot_for_the_documents(
    size: tuple[int, int], name: str, pages: dict[str, Path], browser: Any, tmp_path: Path
) -> None:
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if size[0] < 600 else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    resize_browser(browser, size)
    show(browser, Path(os.environ.get("GALAGO_REPORT", pages["sounds"])).absolute())
    path = Path(os.environ.get("GALAGO_SCREENSHOTS", tmp_path)) / name
    assert browser.save_screenshot(str(path)) and path.stat().st_size > 20_000


def test_nothing_is_asked_of_any_network(pages: dict[str, Path], browser: Any) -> None:
    show(browser, pages["sounds"])
    names = "return performance.getEntriesByType('resource').map((one) => one.name)"
    assert [one for one in browser.execute_script(names) if not one.startswith(("data:", "file:"))] == []
