"""The review page in Chromium: answered with keys and by clicks, and what then lies on the disk.

With ``GALAGO_SCREENSHOTS=docs`` in the environment the picture in docs/ is made again, of the review that
``GALAGO_REVIEW`` names: the address that ``galago data review`` shows.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from galago_edge.contract.manifest import Label
from galago_edge.contract.settings import PageSettings
from galago_edge.recording.sample_media import wav_bytes
from galago_edge.service.page.server import PageServer
from galago_workstation.data.sample_manifest import manifest_rows
from galago_workstation.progress_lines import PlainReport
from galago_workstation.review.field_samples import find_field_samples
from galago_workstation.review.proposing_model import model_of_bundle
from galago_workstation.review.review_app import ReviewApp
from galago_workstation.review.review_file import ReviewFile
from galago_workstation.review.review_session import ReviewSession
from real_parts.browser import CONTRASTS, open_browser, resize_browser, text_of, texts, visible
from real_parts.missing import missing_part
from real_parts.processes import MissingPartError, wait_for
from test_kit import make_bundle

TOKEN = "correct-horse-battery"
HOSTILE = "<img src=x onerror=document.title='taken'>"
LEVELS = (30, 128, 225, 83, 167)
DESK, PHONE = (1280, 860), (390, 844)


@dataclass
class Served:
    """A review, served."""

    server: PageServer
    session: ReviewSession
    file: ReviewFile

    @property
    def address(self) -> str:
        return f"{self.server.url}?token={TOKEN}"

    def rows(self) -> dict[str, str]:
        """Label by the name of the sample, as training finds them."""
        return {Path(row.path).name: row.label for _, row in manifest_rows(self.file.folder / "samples.csv")}

    def stop(self) -> None:
        self.server.stop()
        self.file.close()


def serve(folder: Path, out: Path, bundle: Path | None, port: int = 0) -> Served:
    model = None if bundle is None else model_of_bundle(bundle)
    file = ReviewFile(out, "ada")
    session = ReviewSession(find_field_samples(folder, sounds=None), file, model, (HOSTILE,), PlainReport())
    server = PageServer(PageSettings(port=port, token=TOKEN), ReviewApp(session, TOKEN, "ada"))
    server.start()
    return Served(server, session, file)


def keep_pictures(folder: Path) -> None:
    """Five samples as a device keeps them; it took the brightest for dark."""
    context = folder / "light" / ".context"
    context.mkdir(parents=True)
    for number, level in enumerate(LEVELS):
        label = "dark" if number in (0, 2, 3) else "mid"
        stem = f"20261122T11430{number}123Z-door-uncertain-00c0d{number}"
        note = {
            "label": label,
            "trigger": "uncertain",
            "device": "porch",
            "stream": HOSTILE,
            "context": [f"{stem}-pre1.jpg"],
        }
        (context / f"{stem}.json").write_text(json.dumps(note))
        pixels = np.full((48, 64, 3), level, np.uint8)
        pixels[8:40, 20:28] = min(level + 25, 255)
        (folder / "light" / label).mkdir(exist_ok=True)
        cv2.imwrite(str(context / f"{stem}-pre1.jpg"), pixels)
        cv2.imwrite(str(folder / "light" / label / f"{stem}.png"), pixels)


@pytest.fixture
def served(tmp_path: Path, tiny_image_model: bytes) -> Iterator[Served]:
    keep_pictures(tmp_path / "samples")
    labels = tuple(Label(name=name) for name in ("dark", "mid", "bright"))
    bundle = make_bundle(tmp_path / "b.galago", tiny_image_model, labels, name="light")
    review = serve(tmp_path / "samples", tmp_path / "out", bundle)
    yield review
    review.stop()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    try:
        driver = open_browser(tmp_path_factory.mktemp("chromium"))
    except MissingPartError as missing:
        missing_part(str(missing))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium: Any) -> Any:
    chromium.get("about:blank")
    chromium.execute_cdp_cmd("Network.clearBrowserCookies", {})
    resize_browser(chromium, DESK)
    chromium.get_log("browser")  # what is read is forgotten
    return chromium


def show(browser: Any, address: str) -> None:
    browser.get(address)
    wait_for(lambda: visible(browser, "#labels button"), "the first sample")


def press(browser: Any, key: str, until: str) -> None:
    """Press a key and wait until the progress says so, or the place."""
    browser.switch_to.active_element.send_keys(key)
    wait_for(lambda: until in (text_of(browser, "#progress"), text_of(browser, "#place")), until)


def test_a_review_is_answered_with_keys_and_goes_on_after_it_was_ended(
    served: Served, browser: Any, tmp_path: Path
) -> None:
    from selenium.webdriver.common.keys import Keys

    show(browser, served.address)
    assert text_of(browser, "#progress") == "0 of 5 answered"
    assert "the device noted dark" in text_of(browser, "#proposal") and "bright" in text_of(
        browser, "#proposal"
    )
    assert "porch" in text_of(browser, "#about") and "kept as uncertain" in text_of(browser, "#about")
    loaded = "return [...document.images].every((one) => one.complete && one.naturalWidth > 0)"
    wait_for(lambda: browser.execute_script(loaded), "the picture and the one before it")
    assert len(texts(browser, "#around img")) == 1
    first = served.session.samples[0].path.name
    press(browser, Keys.ENTER, "1 of 5 answered")
    assert served.rows() == {first: "bright"}, "on the disk when the page says so"
    (
        press(browser, "1", "2 of 5 answered"),
        press(browser, "x", "3 of 5 answered"),
        press(browser, "u", "2 of 5 answered"),
    )
    assert text_of(browser, "#place") == "sample 3 of 5" and text_of(browser, "#answered") == "no answer yet"
    press(browser, "2", "3 of 5 answered")
    press(browser, Keys.ARROW_LEFT, "sample 3 of 5")
    assert text_of(browser, "#answered") == "saved: mid"
    press(browser, "j", "sample 4 of 5")
    port = served.server.port
    served.stop()
    browser.switch_to.active_element.send_keys("3")
    wait_for(lambda: "not saved" in text_of(browser, "#trouble"), "the page to say that nothing was saved")
    assert text_of(browser, "#progress") == "3 of 5 answered"

    again = serve(tmp_path / "samples", tmp_path / "out", None, port)
    try:
        show(browser, again.address)
        assert text_of(browser, "#progress") == "3 of 5 answered"
        assert sorted(again.rows().values()) == ["bright", "dark", "mid"]
        press(browser, "x", "4 of 5 answered"), press(browser, Keys.ENTER, "5 of 5 answered")
    finally:
        again.stop()
    assert len(again.rows()) == 4 and "<img" not in browser.title and "taken" not in browser.title


def test_a_new_label_and_clicks_answer_as_keys_do(served: Served, browser: Any) -> None:
    show(browser, served.address)
    press(browser, "n", "0 of 5 answered")
    press(browser, "half light1x\n", "1 of 5 answered")
    assert "half light1x" in served.rows().values(), "what is typed into the field is no key"
    browser.find_element("css selector", "#labels button:nth-child(4)").click()
    wait_for(lambda: "2 of 5" in text_of(browser, "#progress"), "the click to be saved")
    assert HOSTILE in served.rows().values()
    assert browser.execute_script("return document.activeElement === document.body"), "keys go on"
    browser.find_element("css selector", "#undo").click()
    wait_for(lambda: "1 of 5" in text_of(browser, "#progress"), "the answer to be taken back")
    assert browser.execute_script("return document.querySelectorAll('img[src=x]').length") == 0
    names = "return performance.getEntriesByType('resource').map((one) => new URL(one.name).host)"
    assert set(browser.execute_script(names)) == {f"127.0.0.1:{served.server.port}"}
    assert browser.get_log("browser") == []


def test_a_sound_is_played_by_a_key(browser: Any, tmp_path: Path) -> None:
    sound = np.rint(9_000 * np.sin(np.arange(16_000) * 0.3)).astype(np.int16)
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "a.wav").write_bytes(wav_bytes(sound, 16_000))
    review = serve(tmp_path / "samples", tmp_path / "out", None)
    try:
        show(browser, review.address)
        browser.find_element("css selector", "h1").click()  # before that, nothing may be heard
        browser.switch_to.active_element.send_keys(" ")
        position = "return document.querySelector('#sound').currentTime"
        wait_for(lambda: browser.execute_script(position) > 0.05, "the sound to play")
        assert browser.execute_script("return document.querySelector('#picture').naturalWidth") > 100
    finally:
        review.stop()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_and_desk_show_all_of_it_and_every_text_can_be_read(
    scheme: str, served: Served, browser: Any
) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    for size in (DESK, PHONE):
        resize_browser(browser, size)
        show(browser, served.address)
        assert browser.execute_script("return document.documentElement.scrollWidth") == size[0]
        contrasts: dict[str, float] = browser.execute_script(CONTRASTS)
        assert len(contrasts) > 15
        assert {text: round(ratio, 2) for text, ratio in contrasts.items() if ratio < 4.5} == {}  # WCAG AA


def test_a_screenshot_for_the_documents(served: Served, browser: Any, tmp_path: Path) -> None:
    scheme = [{"name": "prefers-color-scheme", "value": "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    show(browser, os.environ.get("GALAGO_REVIEW", served.address))
    wait_for(lambda: browser.execute_script("return document.images[0].naturalWidth > 0"), "the picture")
    path = Path(os.environ.get("GALAGO_SCREENSHOTS", tmp_path)) / "review.png"
    assert browser.save_screenshot(str(path)) and path.stat().st_size > 20_000
