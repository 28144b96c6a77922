"""The status page in Chromium: what a visitor sees, on a desk and on a phone, with the service and without.

With ``GALAGO_SCREENSHOTS=docs`` in the environment the pictures in docs/ are made again.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import re
import signal
import sys
import threading
import time
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from galago_edge.commands.cli import main
from galago_edge.contract.attachment import MediaType, attachment_name
from galago_edge.contract.records import AttachmentRecord
from galago_edge.contract.settings import PageSettings
from galago_edge.contract.status import (
    AttachmentsStatus,
    BackendStatus,
    CoverageStatus,
    GateStatus,
    LabelLevel,
    ScrubStatus,
    ServiceStatus,
    SetAsideStatus,
    SinkStatus,
    TrialStatus,
)
from galago_edge.host.time_zone import TimeZone
from galago_edge.service.page import Page, attached_files
from galago_workstation.demo.scenes import Light, Pose, Room, digit_card
from real_parts.browser import CONTRASTS, open_browser, resize_browser, text_of, texts, visible
from real_parts.missing import missing_part
from real_parts.mjpeg import MjpegServer
from real_parts.processes import DEADLINE_S, Child, MissingPartError, wait_for
from test_kit import changed, make_bundle, make_service_status, trust

DESK, PHONE = (1280, 860), (390, 844)
TOKEN = "correct-horse-battery"

IDENTITY = ("stream", "seq", "label", "start_index", "end_index", "start_ns", "end_ns")


@dataclass
class Scene:
    """A page whose status and pictures the test changes."""

    status: ServiceStatus = field(default_factory=make_service_status)
    picture: bytes | None = None
    token: str = ""
    port: int = 0
    page: Page | None = None
    root: Path = Path("/nowhere")
    """The store, whose attachments are shown."""

    def start(self) -> Scene:
        settings = PageSettings(port=self.port, token=self.token)
        self.page = Page(
            settings,
            lambda: self.status,
            lambda stream: self.picture,
            lambda name: attached_files(self.root)(name),
        )
        self.page.start()
        self.port = self.page.port
        return self

    def stop(self) -> None:
        if self.page is not None:
            self.page.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One browser for all tests of this file: starting it takes longer than most of them."""
    try:
        driver = open_browser(tmp_path_factory.mktemp("chromium"), size=DESK)
    except MissingPartError as missing:
        missing_part(str(missing))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium: Any) -> Any:
    """The browser as if it were new: no page, no cookie, no complaint, the size of a desk's."""
    chromium.get("about:blank")
    chromium.execute_cdp_cmd("Network.clearBrowserCookies", {})
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    resize_browser(chromium, DESK)
    chromium.get_log("browser")  # what is read is forgotten
    return chromium


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(root=tmp_path).start()
    yield scene
    scene.stop()


@pytest.fixture
def seen(browser: Any, scene: Scene) -> Iterator[Any]:
    """The browser with the page open, which must not have complained when the test is over."""
    browser.get(scene.url)
    wait_for(lambda: text_of(browser, "#device") == scene.status.device, "the page to show the device")
    yield browser
    complaints = [
        line for line in browser.get_log("browser") if "ERR_CONNECTION_REFUSED" not in line["message"]
    ]
    assert complaints == []


def jpeg(level: int, size: tuple[int, int] = (320, 240)) -> bytes:
    done, encoded = cv2.imencode(".jpg", np.full((size[1], size[0], 3), level, np.uint8))
    assert done
    return bytes(encoded)


def wav(seconds: float = 0.6, rate: int = 16_000) -> bytes:
    samples = (np.sin(np.arange(round(seconds * rate)) * 0.2) * 9_000).astype("<i2")
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return content.getvalue()


def with_attachment(
    scene: Scene, event: dict[str, Any], content: bytes, *, kept: bool = True
) -> dict[str, Any]:
    """The event with a picture or sound, which lies where the page looks for it, if it is ``kept``."""
    media_type: MediaType = "audio/wav" if content.startswith(b"RIFF") else "image/jpeg"
    name = attachment_name(event["wall_ns"], event["stream"], abs(event["seq"]), media_type)
    (scene.root / "attachments").mkdir(exist_ok=True)
    if kept:
        (scene.root / "attachments" / name).write_bytes(content)
    record = AttachmentRecord(
        **{key: event[key] for key in (*IDENTITY, "wall_ns", "clock_synced")},
        media_type=media_type,
        file=name,
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        from_ns=0,
        to_ns=round((len(content) - 44) / 32_000 * 1e9) if media_type == "audio/wav" else 0,
    )
    return {**event, "attachment": msgspec.to_builtins(record)}


def all_of(browser: Any, css: str) -> list[Any]:
    found: list[Any] = browser.execute_script("return [...document.querySelectorAll(arguments[0])]", css)
    return found


def shows(browser: Any, css: str, pattern: str) -> None:
    wait_for(
        lambda: any(re.search(pattern, text) for text in texts(browser, css)), f"{css} to show {pattern}"
    )


def pixel(browser: Any) -> list[int]:
    """The middle of the preview as it is painted; empty while there is none."""
    found: list[int] = browser.execute_script(
        """const image = document.querySelector(".picture img");
        if (!image || !image.complete || !image.naturalWidth) return [];
        const canvas = document.createElement("canvas");
        canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
        const context = canvas.getContext("2d");
        context.drawImage(image, 0, 0);
        return [...context.getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data]"""
    )
    return found


def many_labels(labels: int) -> tuple[LabelLevel, ...]:
    return tuple(
        LabelLevel(label=f"label {n:02}", score=n / labels, on=0.99, off=0.5, active=False)
        for n in range(labels)
    )


def in_trouble() -> ServiceStatus:
    """Everything that can be wrong at once."""
    ok = make_service_status()
    door = changed(
        ok.streams[0],
        every=4,
        state="waiting",
        levels=(*ok.streams[0].levels, *many_labels(9)),
        backend=BackendStatus(backend="cpu", wanted="edgetpu", reason="delegate_crashed", falls=2),
        coverage=(CoverageStatus(day="2026-11-22", watched_s=100.0, gap_s={"stall": 900.0}),),
    )
    return make_service_status(
        state="degraded",
        clock_synced=False,
        temperature_c=84.0,
        problems=(
            "source yard is escalated for 40 s: no answer from 192.168.1.20",
            "sink mqtt has lost 3 records",
        ),
        sources=(
            changed(ok.sources[0], liveness="escalated", fault="no answer from 192.168.1.20", for_s=40.0),
            changed(ok.sources[1], liveness="recovering", alarms=("clipped", "offset"), level_dbfs=-2.5),
        ),
        streams=(door, changed(ok.streams[1], state="failed")),
        sinks=(SinkStatus(name="mqtt", state="retrying", fault="connection refused", pending=12, lost=3),),
    )


# ---- what a visitor sees


def test_device_streams_sources_events_and_deliveries_are_shown(seen: Any) -> None:
    assert text_of(seen, "#state") == "all is well"
    assert texts(seen, "#streams h3") == ["door", "hall"] and texts(seen, "#sources h3") == [
        "yard",
        "ceiling",
    ]
    assert text_of(seen, "#streams .sub") == "digits 1.4.0 on yard"
    assert "54 °C" in text_of(seen, "#facts") and "11 h 43 min" in text_of(seen, "#facts")
    assert re.search(r"seven on door 0\.91", text_of(seen, ".events li"))
    assert texts(seen, ".sinks h3") == ["log", "mqtt"] and "waiting 1" in text_of(seen, "#sinks")
    assert "99.97 % watched today" in text_of(seen, ".coverage") and "12 s stall" in text_of(
        seen, ".coverage"
    )
    assert "61,203" in text_of(seen, "#streams .counts")
    assert not visible(seen, "#problems") and not visible(seen, "#gone") and not visible(seen, "#samples")


def test_levels_stand_against_their_thresholds(scene: Scene, seen: Any) -> None:
    found = seen.execute_script(
        """return [...document.querySelectorAll("#streams .card:first-child .level")].map((row) => {
          const bar = row.querySelector(".bar").getBoundingClientRect();
          const at = (css) => {
            const box = row.querySelector(css)?.getBoundingClientRect();
            return box ? (box.left + box.width / 2 - bar.left) / bar.width : null;
          };
          const meter = row.querySelector("[role=meter]");
          return {name: row.querySelector(".name").innerText, on: at(".mark:not(.off)"), off: at(".mark.off"),
            now: Number(meter.getAttribute("aria-valuenow")), text: meter.getAttribute("aria-valuetext"),
            active: row.classList.contains("on")};
        })"""
    )
    nothing, seven, three = found
    assert (nothing["name"], nothing["on"], nothing["off"]) == ("nothing", None, None)
    assert seven["on"] == pytest.approx(0.8, abs=0.02) and seven["off"] == pytest.approx(0.55, abs=0.02)
    assert (seven["now"], seven["active"], three["active"]) == (0.91, True, False)
    assert seven["text"] == "0.91, on; goes on at 0.80, off at 0.55"
    # the fill follows the score
    door = scene.status.streams[0]
    scene.status = make_service_status(
        streams=(changed(door, levels=(changed(door.levels[2], score=0.5),)), scene.status.streams[1])
    )
    shows(seen, "#streams .number", r"^0\.50$")
    filled = """const run = document.querySelector(".level .run"), style = getComputedStyle(run, "::before");
        return 1 + new DOMMatrix(style.transform).m41 / run.getBoundingClientRect().width"""
    wait_for(lambda: abs(seen.execute_script(filled) - 0.5) < 0.01, "the bar to be half full")


def test_the_highest_score_of_the_last_minute_stays_marked(scene: Scene, seen: Any) -> None:
    door = scene.status.streams[0]
    three = door.levels[2]
    for score in (0.7, 0.1):
        changed_door = changed(door, levels=(changed(three, score=score),))
        scene.status = make_service_status(streams=(changed_door,), sources=scene.status.sources[:1])
        shows(seen, "#streams .number", f"^{score:.2f}$")
    assert seen.execute_script("return document.querySelector('.level .peak').style.left") == "70%"
    assert visible(seen, ".level .peak")


def test_the_preview_is_live(scene: Scene, seen: Any) -> None:
    assert text_of(seen, ".picture") == "No picture yet"
    for level in (40, 200):
        scene.picture = jpeg(level)
        wait_for(
            lambda level=level: pixel(seen)[:1] and abs(pixel(seen)[0] - level) <= 3,
            f"a picture of level {level}",
        )
    assert not visible(seen, ".picture figcaption")
    assert all_of(seen, ".picture img")[0].get_attribute("alt") == "Newest picture of yard"
    scene.picture = b"\xff\xd8 not a picture"
    polls = seen.execute_script("return performance.getEntriesByType('resource').length")
    count = "return performance.getEntriesByType('resource').length"
    wait_for(lambda: seen.execute_script(count) > polls + 4, "two more polls")
    assert (
        len(all_of(seen, ".picture img")) == 1 and abs(pixel(seen)[0] - 200) <= 3
    )  # the last good one stays


def test_a_new_event_appears_on_top_and_is_announced(scene: Scene, seen: Any) -> None:
    first = scene.status.last_events[0]
    event = {**first, "seq": 17, "label": "three", "score": 0.77, "wall_ns": first["wall_ns"] + 10**9}
    scene.status = make_service_status(last_events=(event, first))
    shows(seen, ".events li:first-child", r"three on door 0\.77")
    assert len(texts(seen, ".events li")) == 2
    shows(seen, "#told", "Event three on door, score 0.77")


def test_the_picture_of_an_event_arrives_behind_it_and_opens_large(scene: Scene, seen: Any) -> None:
    event = scene.status.last_events[0]
    assert not visible(seen, ".events .own")
    seen.execute_script("document.querySelector('.events li').mine = true")
    scene.status = make_service_status(last_events=(with_attachment(scene, event, jpeg(90, (640, 480))),))
    small = "const one = document.querySelector('.events img'); return one ? one.naturalWidth : 0"
    wait_for(lambda: seen.execute_script(small) == 640, "the picture")
    assert seen.execute_script("return document.querySelector('.events li').mine"), "the row has stayed"
    image = all_of(seen, ".events img")[0]
    assert image.get_attribute("alt") == "Picture of seven on door"
    assert (image.size["width"], image.size["height"]) == (64, 48)
    assert not visible(seen, "#large")
    image.click()
    shows(seen, "#large", r"seven on door, 2026-11-18 11:06:40Z")
    assert all_of(seen, "#large img")[0].size["width"] == 640
    all_of(seen, "#large button")[0].click()
    wait_for(lambda: not visible(seen, "#large"), "the picture to be closed")


def test_a_picture_can_be_opened_alone_and_does_nothing(scene: Scene, browser: Any) -> None:
    event = with_attachment(scene, scene.status.last_events[0], jpeg(90, (640, 480)))
    scene.status = make_service_status(last_events=(event,))
    browser.get(scene.url)
    address = wait_for(lambda: all_of(browser, ".events a"), "the link")[0].get_attribute("href")
    assert address.startswith(f"{scene.url}attachments/2026")
    browser.get(address)
    script = "return [document.images[0].naturalWidth, self.origin]"
    wait_for(lambda: browser.execute_script(script) == [640, "null"], "the picture in a sandbox")
    assert [line for line in browser.get_log("browser") if "/favicon.ico" not in line["message"]] == []


def test_the_sound_of_an_event_is_loaded_and_played_when_somebody_wants_it(scene: Scene, seen: Any) -> None:
    scene.status = make_service_status(
        last_events=(with_attachment(scene, scene.status.last_events[0], wav(1.4)),)
    )
    shows(seen, ".events .play", "^0:02$")
    asked = (
        "return performance.getEntriesByType('resource').filter((one) => one.name.includes('.wav')).length"
    )
    assert seen.execute_script(asked) == 0
    button = all_of(seen, ".play")[0]
    assert button.get_attribute("aria-label") == "Play the sound of seven on door"
    button.click()
    wait_for(lambda: visible(seen, ".play.on"), "the sound to play")
    assert button.get_attribute("aria-label") == "Stop the sound of seven on door"
    wait_for(lambda: seen.execute_script("return document.querySelector('.seek').value > 1.3"), "its end")
    wait_for(lambda: not visible(seen, ".play.on"), "the button to offer it again")
    assert text_of(seen, ".play") == "0:02"


@pytest.mark.parametrize("content", [jpeg(90), wav()], ids=["picture", "sound"])
def test_what_the_device_has_deleted_is_said_to_be_no_longer_kept(
    content: bytes, scene: Scene, browser: Any
) -> None:
    event = with_attachment(scene, scene.status.last_events[0], content, kept=False)
    scene.status = make_service_status(last_events=(event,))
    browser.get(scene.url)
    if content.startswith(b"RIFF"):  # it is asked for when somebody wants to hear it
        wait_for(lambda: all_of(browser, ".play"), "the button")[0].click()
    shows(browser, ".events .own", "^no longer kept$")
    assert not visible(browser, ".seek") and not visible(browser, ".events img")


def test_a_picture_that_cannot_be_read_now_is_asked_for_again(scene: Scene, browser: Any) -> None:
    event = with_attachment(scene, scene.status.last_events[0], jpeg(90))
    scene.status = make_service_status(last_events=(event,))
    path = scene.root / "attachments" / event["attachment"]["file"]
    whole, broken = scene.root, Path(f"/proc/{os.getpid()}/mem")  # no folder: an error of the disk's kind
    scene.root = broken
    browser.get(scene.url)
    browser.execute_script(
        """const later = setTimeout; window.setTimeout = (f, ms) => later(f, Math.min(ms, 200));"""
    )
    wait_for(lambda: all_of(browser, ".events img"), "the picture")
    assert path.exists() and "no longer kept" not in text_of(browser, "#events")
    scene.root = whole
    small = "return document.querySelector('.events img')?.naturalWidth"
    wait_for(lambda: browser.execute_script(small) == 320, "the picture after all")


def test_what_is_wrong_is_said_in_words(scene: Scene, seen: Any) -> None:
    scene.status = in_trouble()
    shows(seen, "#state", "2 problems")
    assert texts(seen, "#problems li") == list(scene.status.problems)
    assert "lost for 40 s" in text_of(seen, "#sources .card") and "no answer from" in text_of(
        seen, "#sources .card"
    )
    assert "too loud, clipped" in text_of(seen, "#sources .card:last-child")
    assert "cpu instead of edgetpu: delegate_crashed" in text_of(seen, "#streams .card")
    assert "slowed: every 4th window" in text_of(seen, "#streams .card")
    assert "10.00 % watched today" in text_of(seen, ".coverage")
    assert "lost 3" in text_of(seen, "#sinks") and "connection refused" in text_of(seen, "#sinks")
    assert "unsynced" in text_of(seen, "#facts")
    assert seen.title == "(!) porch · Galago"
    scene.status = make_service_status()
    shows(seen, "#state", "all is well")
    assert not visible(seen, "#problems") and seen.title == "porch · Galago"


def test_the_page_says_when_the_service_is_gone_and_goes_on_when_it_is_back(scene: Scene, seen: Any) -> None:
    scene.stop()
    shows(
        seen,
        "#gone",
        r"does not answer since \d\d:\d\d:\d\dZ \(no connection\)\. What you see is from then\.",
    )
    assert text_of(seen, "#state") == "no answer" and texts(seen, "#streams h3") == ["door", "hall"]
    scene.status = make_service_status(device="porch-2")
    scene.start()
    shows(seen, "#device", "porch-2")
    assert not visible(seen, "#gone") and text_of(seen, "#state") == "all is well"


def test_it_works_without_a_camera(scene: Scene, browser: Any) -> None:
    ok = scene.status
    scene.status = make_service_status(sources=ok.sources[1:], streams=ok.streams[1:])
    browser.get(scene.url)
    shows(browser, "#sources .sub", "−43 dBFS|−44 dBFS")
    assert not visible(browser, ".picture") and "16.00 kHz" in text_of(browser, "#sources .counts")
    asked = browser.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert not [url for url in asked if "/preview/" in url]


def test_a_service_that_only_starts_has_a_page(scene: Scene, browser: Any) -> None:
    scene.status = make_service_status(
        state="starting", sources=(), streams=(), sinks=(), last_events=(), temperature_c=None
    )
    browser.get(scene.url)
    shows(browser, "#state", "starting")
    assert "No event yet" in text_of(browser, "#events") and "standard output" in text_of(browser, "#sinks")
    assert not visible(browser, "#sources") and browser.get_log("browser") == []


def test_what_is_kept_for_retraining_is_shown(scene: Scene, seen: Any) -> None:
    scene.status = make_service_status(
        samples={
            "dir": "/var/lib/galago/samples",
            "kept": 12,
            "kept_today": 5,
            "bytes_today": 1_258_291,
            "bytes": 31_457_280,
            "bytes_per_day": 52_428_800,
            "max_bytes": 524_288_000,
            "by_trigger": {"uncertain": 8, "near_threshold": 4},
            "by_label": {"7": 9, "3": 3},
            "refused": {"duplicate": 31, "quota": 0},
            "fault": "",
        }
    )
    shows(seen, "#samples", r"5 kept, 1\.2 MB of 50 MB")
    assert "uncertain: 8 · near threshold: 4" in text_of(seen, "#samples")
    assert "duplicate: 31" in text_of(seen, "#samples") and "quota" not in text_of(seen, "#samples")
    assert "“7”: 9 · “3”: 3" in text_of(seen, "#samples")  # a label may be a number


def test_many_labels_are_folded_and_can_be_unfolded(scene: Scene, seen: Any) -> None:
    door = changed(scene.status.streams[0], levels=many_labels(40))
    scene.status = make_service_status(streams=(door,), sources=scene.status.sources[:1])
    shows(seen, ".more", "Show all 40 labels")
    assert texts(seen, ".level .name") == ["label 38", "label 39"]  # the highest two
    all_of(seen, ".more")[0].click()
    wait_for(lambda: len(texts(seen, ".level")) == 40, "all labels")
    assert all_of(seen, ".more")[0].get_attribute("aria-expanded") == "true"


def test_of_idle_labels_the_two_that_came_highest_are_shown(scene: Scene, seen: Any) -> None:
    def show(active: tuple[int, ...], **scores: float) -> None:
        levels = [
            LabelLevel(label=name, score=score, on=0.8, off=0.5, active=n in active)
            for n, (name, score) in enumerate(scores.items())
        ]
        door = changed(scene.status.streams[0], levels=tuple(levels))
        scene.status = make_service_status(streams=(door,), sources=scene.status.sources[:1])

    show((0, 2), a=0.9, b=0.1, c=0.95, d=0.3, e=0.2)
    shows(seen, ".more", "Show all 5 labels")
    assert texts(seen, ".level .name") == ["a", "c", "d", "e"]
    show((0, 2), a=0.9, b=0.15, c=0.95, d=0.1, e=0.05)  # they do not change places all the time
    shows(seen, ".number", r"^0\.10$")
    assert texts(seen, ".level .name") == ["a", "c", "d", "e"]


def trial(**fields: Any) -> TrialStatus:
    usual = {"name": "digits", "bundle_id": "5b" * 32, "version": "1.5.0", "left": 1, "streams": ("door",)}
    usual |= {
        "state": "judging",
        "inferences": 12,
        "needed": 20,
        "live_s": 30.0,
        "trial_s": 120.0,
        "p99_ms": 8.24,
    }
    return msgspec.convert(usual | fields, TrialStatus)


def test_a_trial_shows_how_far_it_is_and_how_it_ended(scene: Scene, seen: Any) -> None:
    assert not visible(seen, "#trials")
    scene.status = make_service_status(trials=(trial(),))
    shows(seen, "#trials .chip", "is being judged")
    text = text_of(seen, "#trials .card")
    assert "digits 1.5.0" in text and "on door" in text and "30 s of 2 min 0 s" in text
    assert "12, each stream needs 20" in text and "8.2 ms" in text and "boot attempts left: 1" in text
    meter = all_of(seen, "#trials [role=meter]")[0]
    assert meter.get_attribute("aria-valuenow") == "0.250"
    scene.status = make_service_status(trials=(trial(state="waiting", inferences=0),))
    shows(seen, "#trials .chip", "waits for something to see or hear")
    scene.status = make_service_status(trials=(trial(state="passed"),))
    shows(seen, "#trials .chip", "passed")
    scene.status = make_service_status(
        state="degraded", problems=("x",), trials=(trial(state="failed", left=0, fault="TOO_SLOW"),)
    )
    shows(seen, "#trials .chip.bad", "failed")
    assert "TOO_SLOW" in text_of(seen, "#trials") and visible(seen, "#state.bad")
    scene.status = make_service_status()
    wait_for(lambda: not visible(seen, "#trials"), "the trial to be over")


def test_the_last_scrub_is_shown(scene: Scene, seen: Any) -> None:
    assert text_of(seen, "#store dl") == "read whole not since the start"
    scene.status = make_service_status(scrub=ScrubStatus(ago_s=5_400.0, bundles=3, damaged=1))
    shows(seen, "#store dl", "read whole 1 h 30 min ago bundles 3 damaged 1")
    assert visible(seen, "#store .note")


def test_a_source_that_is_lost_is_red(scene: Scene, seen: Any) -> None:
    ok = scene.status
    for liveness, lost in (("alarmed", True), ("escalated", True), ("failed", True), ("recovering", False)):
        yard = changed(ok.sources[0], liveness=liveness, for_s=40.0)
        scene.status = make_service_status(state="degraded", problems=("x",), sources=(yard, ok.sources[1]))
        shows(seen, "#sources .chip", "for 40 s")
        wait_for(lambda lost=lost: visible(seen, "#sources .card.lost") is lost, liveness)
        assert visible(seen, "#state.bad") is lost and visible(seen, "#problems.bad") is lost


@pytest.mark.parametrize(
    ("alarm", "words"),
    [("moved", "camera was moved"), ("defocused", "out of focus"), ("covered", "covered in part")],
)
def test_a_blind_camera_is_told_on_its_picture(alarm: str, words: str, scene: Scene, seen: Any) -> None:
    scene.picture = jpeg(120)
    wait_for(lambda: pixel(seen), "the picture")
    assert not visible(seen, ".picture .band")
    yard = changed(scene.status.sources[0], alarms=(alarm,), learning=True, unjudged=True)
    scene.status = make_service_status(
        state="degraded",
        problems=(f"source yard is not plausible: {alarm}",),
        sources=(yard, scene.status.sources[1]),
    )
    shows(seen, ".picture .band", f"^{words}$")
    assert words in texts(seen, "#sources .chip.bad") and "learning its view" in texts(seen, "#sources .chip")
    assert "too little seen to judge" in texts(seen, "#sources .chip")
    assert visible(seen, "#state.bad")


@pytest.mark.parametrize("attached", [True, False], ids=["with pictures", "without"])
@pytest.mark.parametrize("width", [320, 500, 1100, 1300, 1500])
def test_an_uncertain_time_never_runs_into_what_stands_beside_it(
    width: int, attached: bool, scene: Scene, browser: Any
) -> None:
    usual = scene.status.last_events[0]
    doubted = [{**usual, "seq": number, "clock_synced": False} for number in range(2)]
    doubted.append({**usual, "seq": 2, "clock_synced": False, "wall_ns": usual["wall_ns"] - 10**15})
    if attached:
        doubted[0] = with_attachment(scene, doubted[0], jpeg(90))
    scene.status = make_service_status(clock_synced=False, last_events=tuple(doubted))
    resize_browser(browser, (width, 800))
    browser.get(scene.url)
    shows(browser, ".events time", "\u2248")
    gaps = browser.execute_script(
        """return [...document.querySelectorAll(".events li")].map((line) => {
          const text = document.createRange();
          text.selectNodeContents(line.querySelector("time"));
          const what = line.querySelector(".what").getBoundingClientRect();
          return what.left - text.getBoundingClientRect().right;
        })"""
    )
    assert len(gaps) == 3 and min(gaps) >= 5


@pytest.mark.parametrize(
    "size", [(240, 320), (320, 240), (640, 360), (1280, 360)], ids=lambda size: f"{size}"
)
@pytest.mark.parametrize("width", [320, 768, 1100, 1500])
def test_a_preview_is_whole_whatever_its_shape_and_the_width(
    width: int, size: tuple[int, int], scene: Scene, browser: Any
) -> None:
    usual = scene.status
    scene.picture = jpeg(90, size)
    event = with_attachment(scene, usual.last_events[0], jpeg(90, size))
    scene.status = make_service_status(sources=usual.sources[:1], last_events=(event,))
    resize_browser(browser, (width, 900))
    browser.get(scene.url)
    wait_for(lambda: pixel(browser) != [], "the preview")
    wait_for(lambda: visible(browser, ".events img"), "the picture of the event")
    shown = browser.execute_script(
        """const found = [".picture img", ".events img"].map((css) => document.querySelector(css));
        return found.map((image) => {
          const box = image.getBoundingClientRect(), fit = getComputedStyle(image).objectFit;
          return [fit, Math.min(box.width, box.height * image.naturalWidth / image.naturalHeight)];
        })"""
    )
    assert [fit for fit, _ in shown] == ["contain", "contain"]
    assert shown[0][1] >= min(180, size[0])  # and large enough to see something


def test_what_the_clock_made_uncertain_is_said(scene: Scene, seen: Any) -> None:
    door = changed(
        scene.status.streams[0],
        coverage=(CoverageStatus(day="2026-11-22", watched_s=0.0, gap_s={}, doubt="unsynced"),),
        set_aside=(SetAsideStatus(day="2027-11-22", why="future", watched_s=60.0, gap_s={"stall": 2.0}),),
    )
    scene.status = make_service_status(streams=(door,))
    shows(seen, ".coverage", "nothing yet watched today")
    assert "Not certain: the clock is not synchronised" in text_of(seen, ".coverage")
    said = "Counts for no day: 1 min 2 s dated 2027-11-22, when the clock had jumped ahead"
    assert said in text_of(seen, ".coverage")


def test_times_name_their_zone_and_can_be_utc(scene: Scene, seen: Any) -> None:
    ns = 1_795_390_200_000_000_000  # 23:30 UTC on the 22nd of November
    event = {**scene.status.last_events[0], "wall_ns": ns - 10**9}
    scene.status = make_service_status(timezone="Europe/Berlin", wall_ns=ns, last_events=(event,))
    shows(seen, "#facts", r"00:30:00\+01:00")
    assert text_of(seen, "#events .zone") == "Europe/Berlin" and "00:29:59" in text_of(seen, ".events li")
    assert re.fullmatch(r"As of \d\d:\d\d:\d\d\+0[12]:00", text_of(seen, "#asof"))
    title = all_of(seen, ".events time")[0].get_attribute("title")
    assert title == TimeZone("Europe/Berlin").written(ns - 10**9) == "2026-11-23 00:29:59+01:00"
    seen.execute_script(
        """const box = document.getElementById("zone");
        box.value = "UTC"; box.dispatchEvent(new Event("change"));"""
    )
    shows(seen, "#facts", "23:30:00Z")
    assert text_of(seen, "#events .zone") == "UTC" and "23:29:59" in text_of(seen, ".events li")
    seen.refresh()
    shows(seen, "#facts", "23:30:00Z")  # it is remembered
    seen.execute_script("localStorage.clear()")


def test_text_of_the_device_is_never_taken_for_a_page(scene: Scene, seen: Any) -> None:
    attack = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
    ok = make_service_status()
    event = {**ok.last_events[0], "label": attack, "seq": 99}
    scene.status = make_service_status(
        device=attack,
        state="degraded",
        problems=(attack,),
        sources=(changed(ok.sources[0], name=attack, fault=attack),),
        streams=(
            changed(ok.streams[0], source=attack, levels=(changed(ok.streams[0].levels[0], label=attack),)),
        ),
        sinks=(SinkStatus(name=attack, state="failed", fault=attack),),
        last_events=(event,),
    )
    shows(seen, "#device", "<img")
    assert text_of(seen, "#problems li") == attack and text_of(seen, ".level .name") == attack
    assert seen.execute_script("return window.hacked === undefined && !document.querySelector('main img')")


def test_nothing_is_asked_of_anybody_else(scene: Scene, seen: Any) -> None:
    count = "return performance.getEntriesByType('resource').length"
    wait_for(lambda: seen.execute_script(count) > 3, "some polls")
    asked = seen.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert all(url.startswith(scene.url) for url in asked)


# ---- who may see it


def test_the_token_is_asked_for_once(browser: Any) -> None:
    scene = Scene(token=TOKEN).start()
    try:
        browser.get(scene.url)
        for token in ("wrong-horse-battery", TOKEN):
            box = browser.find_element("id", "token")
            box.send_keys(token)
            box.submit()
            shows(browser, "body", "not the token" if token != TOKEN else "all is well")
        assert browser.current_url == scene.url
        browser.get(scene.url)
        shows(browser, "#state", "all is well")  # the cookie is enough
        assert browser.execute_script("return document.cookie") == ""  # and no script can read it
    finally:
        scene.stop()


def test_a_link_with_the_token_leads_to_a_page_without_it(browser: Any) -> None:
    scene = Scene(token=TOKEN).start()
    try:
        browser.get(f"{scene.url}?token={TOKEN}")
        shows(browser, "#state", "all is well")
        assert browser.current_url == scene.url
    finally:
        scene.stop()


# ---- behind a proxy, in a frame


class Prefix(ThreadingHTTPServer):
    """A reverse proxy that has one page under each path: ``/porch/``."""

    def __init__(self, pages: dict[str, int]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.forward()

            def do_POST(self) -> None:
                self.forward()

            def forward(self) -> None:
                prefix, _, rest = self.path.removeprefix("/").partition("/")
                name, _, query = prefix.partition("?")
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                inner = http.client.HTTPConnection("127.0.0.1", pages[name], timeout=DEADLINE_S)
                path = f"/{rest}" + (f"?{query}" if query else "")
                inner.request(self.command, path, body, dict(self.headers) | {"Host": "localhost"})
                answer = inner.getresponse()
                content = answer.read()
                self.send_response(answer.status)
                for key, value in answer.getheaders():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(content)
                inner.close()

            def log_message(self, *args: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


def test_two_devices_behind_two_paths_of_one_name(browser: Any, tmp_path: Path) -> None:
    """Each asks for its token once, and neither logs the other out."""
    tokens = {"porch": TOKEN, "barn": TOKEN[::-1]}
    scenes = {
        name: Scene(make_service_status(device=name), jpeg(90), token, root=tmp_path / name).start()
        for name, token in tokens.items()
    }
    for scene in scenes.values():
        scene.root.mkdir()
        attached = with_attachment(scene, scene.status.last_events[0], jpeg(90))
        scene.status = changed(scene.status, last_events=(attached,))
    proxy = Prefix({name: scene.port for name, scene in scenes.items()})
    try:
        for name, token in tokens.items():
            browser.get(f"{proxy.url}{name}")  # without the slash that everything of it begins behind
            there = f"return location.pathname.endsWith('/{name}/') && document.readyState === 'complete'"
            wait_for(lambda there=there: browser.execute_script(there), "the page behind the slash")
            box = browser.find_element("id", "token")
            box.send_keys(token)
            box.submit()
            shows(browser, "#device", name)
            wait_for(lambda: pixel(browser), "the picture")
            small = "return document.querySelector('.events img')?.naturalWidth"
            wait_for(lambda small=small: browser.execute_script(small) == 320, "the picture of the event")
        for name in tokens:
            browser.get(f"{proxy.url}{name}/")
            shows(browser, "#device", name)
    finally:
        proxy.shutdown()
        proxy.server_close()
        for scene in scenes.values():
            scene.stop()


@pytest.mark.parametrize("allowed", [False, True])
def test_only_a_page_that_is_named_may_show_it_in_a_frame(allowed: bool, browser: Any) -> None:
    class Home(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b'<!doctype html><link rel="icon" href="data:,"><iframe id="frame"></iframe>')

        def log_message(self, *args: object) -> None:
            pass

    home = ThreadingHTTPServer(("127.0.0.1", 0), Home)
    threading.Thread(target=home.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{home.server_port}"
    with Page(
        PageSettings(port=0, frame_ancestors=(address,) if allowed else ()), make_service_status
    ) as page:
        browser.get(address)
        script = "document.getElementById('frame').src = arguments[0]"
        browser.execute_script(script, f"{page.url}?in=frame")
        try:
            if allowed:
                browser.switch_to.frame("frame")
                shows(browser, "#state", "all is well")
            else:
                complaint = "frame-ancestors"
                wait_for(
                    lambda: any(complaint in line["message"] for line in browser.get_log("browser")),
                    complaint,
                )
        finally:
            browser.switch_to.default_content()
            home.shutdown()
            home.server_close()


# ---- on a phone, in the dark, for everybody


@pytest.mark.parametrize(
    "size", [PHONE, (320, 640), (768, 1024), DESK, (1920, 1080)], ids=lambda size: f"{size[0]}px"
)
def test_nothing_sticks_out_at_any_width(size: tuple[int, int], scene: Scene, browser: Any) -> None:
    long = "a-name-without-any-place-to-break-it-that-somebody-gave-to-a-thing"
    status = in_trouble()
    usual = status.last_events[0]
    events = [
        with_attachment(scene, {**usual, "seq": number, "label": label}, content, kept=number < 3)
        for number, (label, content) in enumerate(
            [(long, jpeg(90)), (long, wav()), ("a", wav()), ("b", jpeg(9))]
        )
    ]
    older = {**usual, "seq": 9, "wall_ns": usual["wall_ns"] - 10**15, "clock_synced": False, "stream": long}
    scene.status = make_service_status(
        last_events=(*events, older),
        device=long,
        state="degraded",
        problems=(long * 3,),
        sources=(changed(status.sources[0], name=long, fault=long * 2), status.sources[1]),
        streams=(changed(status.streams[0], name=long, source=long), status.streams[1]),
        sinks=(changed(status.sinks[0], fault=long * 3),),
    )
    resize_browser(browser, size)
    browser.get(scene.url)
    shows(browser, "#device", long)
    shows(browser, ".events .own", "no longer kept")
    all_of(browser, ".play")[0].click()
    wait_for(lambda: visible(browser, ".seek"), "the place in the sound")
    wide = browser.execute_script(
        """const wide = document.documentElement.clientWidth;
        const shown = (one) => !one.closest(".unseen, svg, .run") && one.getClientRects().length;
        return [...document.querySelectorAll("body *")]
          .filter((one) => shown(one) && one.getBoundingClientRect().right > wide + 1)
          .map((one) => one.outerHTML.slice(0, 90))"""
    )
    assert wide == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= size[0]


@pytest.mark.parametrize("width", [1280, 1920, 2560])
def test_the_columns_fill_the_screen(width: int, scene: Scene, browser: Any) -> None:
    resize_browser(browser, (width, 1080))
    browser.get(scene.url)
    shows(browser, "#state", "all is well")
    left, right = browser.execute_script(
        """const cards = [...document.querySelectorAll("main .card")];
        const boxes = cards.map((one) => one.getBoundingClientRect()).filter((box) => box.width);
        return [Math.min(...boxes.map((box) => box.left)), Math.max(...boxes.map((box) => box.right))]"""
    )
    assert left <= 30 and right >= width - 45
    tall = browser.execute_script("return document.documentElement.scrollHeight")
    assert width < 1900 or tall <= 1080  # what fits beside each other does not stand below


def test_a_phone_shows_one_column_that_can_be_read_and_tapped(scene: Scene, browser: Any) -> None:
    scene.status = in_trouble()
    resize_browser(browser, PHONE, 2.0)
    browser.get(scene.url)
    shows(browser, "#state", "2 problems")
    boxes = browser.execute_script(
        """return ["events", "sources", "streams", "sinks", "store"].map(
          (id) => document.getElementById(id).getBoundingClientRect().toJSON())"""
    )
    assert [box["top"] for box in boxes] == sorted(box["top"] for box in boxes)
    assert len({round(box["left"]) for box in boxes}) == 1 and all(box["width"] > 340 for box in boxes)
    smallest = browser.execute_script(
        """return Math.min(...[...document.querySelectorAll("body *")].map(
          (one) => parseFloat(getComputedStyle(one).fontSize)))"""
    )
    assert smallest >= 12
    assert (
        browser.execute_script("return document.querySelector('.more').getBoundingClientRect().height") >= 36
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_is_attached_can_be_read_tapped_and_named_in_both_schemes(
    scheme: str, scene: Scene, browser: Any
) -> None:
    usual = scene.status.last_events[0]
    events = [
        with_attachment(scene, {**usual, "seq": number}, content, kept=number < 2)
        for number, content in enumerate([jpeg(90), wav(), jpeg(9)])
    ]
    scene.status = make_service_status(last_events=tuple(events))
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    resize_browser(browser, PHONE, 2.0)
    browser.get(scene.url)
    shows(browser, ".events .own", "no longer kept")
    contrasts: dict[str, float] = browser.execute_script(CONTRASTS)
    assert contrasts["no longer kept"] >= 4.5 and contrasts["0:01"] >= 4.5
    all_of(browser, ".play")[0].click()
    wait_for(lambda: visible(browser, ".seek"), "the place in the sound")
    for css in (".play", ".events a"):
        box = all_of(browser, css)[0].size
        assert box["height"] >= 36 and box["width"] >= 44
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"] and "role" in node
    ]
    assert ("link", "Picture of seven on door") in named
    assert ("slider", "Where in the sound of seven on door") in named
    wait_for(lambda: not visible(browser, ".play.on"), "the end of the sound")
    all_of(browser, ".events a")[0].send_keys("\n")
    shows(browser, "#large", "seven on door")
    assert browser.switch_to.active_element.text == "Close"
    browser.switch_to.active_element.send_keys("\ue00c")  # Escape
    wait_for(lambda: not visible(browser, "#large"), "the picture to be closed")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("status", [make_service_status, in_trouble], ids=["well", "in trouble"])
def test_every_text_can_be_read_in_both_schemes(
    scheme: str, status: Callable[[], ServiceStatus], scene: Scene, browser: Any
) -> None:
    scene.status = status()
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get(scene.url)
    shows(browser, "#device", "porch")
    contrasts: dict[str, float] = browser.execute_script(CONTRASTS)
    assert len(contrasts) > 40
    assert {text: round(ratio, 2) for text, ratio in contrasts.items() if ratio < 4.5} == {}  # WCAG AA


def test_a_screen_reader_finds_names_for_everything(seen: Any) -> None:
    nodes = seen.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"] and "role" in node
    ]
    for role in ("meter", "heading", "link", "region", "button", "image"):
        assert all(name for kind, name in named if kind == role), role
    assert ("meter", "seven") in named and ("meter", "Loudness of ceiling") in named
    assert ("region", "Streams") in named and ("main", "") in named
    levels = seen.execute_script(
        """return [...document.querySelectorAll("h1, h2, h3")].filter((one) => one.getClientRects().length)
          .map((one) => Number(one.tagName[1]))"""
    )
    assert levels[0] == 1 and all(after <= before + 1 for before, after in pairwise(levels))


def test_elements_stay_while_their_numbers_change(scene: Scene, seen: Any) -> None:
    """What somebody reads or has marked is not taken away every second."""
    seen.execute_script("document.querySelectorAll('main *').forEach((one) => { one.mine = true; })")
    door = changed(scene.status.streams[0], windows=99_999)
    scene.status = make_service_status(streams=(door, scene.status.streams[1]))
    shows(seen, "#streams .counts", "99,999")
    assert seen.execute_script("return [...document.querySelectorAll('main *')].every((one) => one.mine)")


# ---- with the whole service behind it


@dataclass
class Device:
    """A device with a camera and a page, whose service is started and ended."""

    folder: Path
    camera: MjpegServer
    model: bytes
    tables: str = ""
    child: Child | None = None

    def __post_init__(self) -> None:
        self.root = trust(self.folder / "device")
        bundle = make_bundle(
            self.folder / "eyes-1.0.0.galago", self.model, ["dark", "mid", "bright"], name="eyes"
        )
        installed = CliRunner().invoke(main, ["install", str(bundle), "--root", str(self.root)])
        assert installed.exit_code == 0, installed.output
        self.config = self.folder / "galago.toml"
        self.config.write_text(
            f"""
            [device]
            name = "barn"
            [source.yard]
            address = "camera:{self.camera.url}"
            [[stream]]
            name = "door"
            source = "yard"
            bundle = "eyes"
            [log]
            path = "{self.folder}/events.jsonl"
            [page]
            port = 0
            {self.tables}
            """
        )

    def start(self) -> tuple[Child, str]:
        """Return the service and where its page is."""
        command = [sys.executable, "-m", "galago_edge", "run"]
        command += ["--config", str(self.config), "--root", str(self.root)]
        service = self.child = Child(command, self.folder / f"service-{time.monotonic_ns()}.log")
        found = service.wait_until(lambda: re.search(r"http://\S+/", service.said()), "the page's address")
        return service, found[0]

    def stop(self) -> None:
        if self.child is not None:
            self.child.signal(signal.SIGTERM)
            assert self.child.process.wait(DEADLINE_S) == 0, self.child.said()


def test_a_running_service_shows_its_camera_its_events_and_its_troubles(
    browser: Any, tmp_path: Path, mjpeg_camera: MjpegServer, tiny_image_model: bytes
) -> None:
    device = Device(tmp_path, mjpeg_camera, tiny_image_model)
    mjpeg_camera.level = 30
    service, url = device.start()
    try:
        browser.get(url)
        shows(browser, "#device", "barn")
        wait_for(lambda: pixel(browser)[:1] and abs(pixel(browser)[0] - 30) <= 45, "the dark picture")
        shows(browser, ".events li", "dark on door")
        mjpeg_camera.level = 220
        shows(browser, ".events li:first-child", "bright on door")
        wait_for(lambda: abs(pixel(browser)[0] - 220) <= 45, "the bright picture")
        mjpeg_camera.stop()
        shows(browser, "#problems", "source yard is")
        shows(browser, "#streams .chip", "^waits for its source$")
        wait_for(lambda: visible(browser, ".picture.old"), "the picture to be an old one")
        mjpeg_camera.start()
        shows(browser, "#sources .chip", "healthy")
        service.signal(signal.SIGTERM)
        shows(browser, "#gone", "does not answer")
        assert service.process.wait(DEADLINE_S) == 0, service.said()
    finally:
        service.kill()


def thumbnails(browser: Any) -> list[int]:
    """How bright the pictures of the last events are, the newest first; -1 while one is not there."""
    found: list[int] = browser.execute_script(
        """return [...document.querySelectorAll(".events li")].map((line) => {
          const image = line.querySelector("img");
          if (!image || !image.complete || !image.naturalWidth) return -1;
          const canvas = document.createElement("canvas");
          canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
          canvas.getContext("2d").drawImage(image, 0, 0);
          return canvas.getContext("2d").getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data[0];
        })"""
    )
    return found


def test_the_last_events_have_their_pictures_at_once_and_again_after_a_restart(
    browser: Any, tmp_path: Path, mjpeg_camera: MjpegServer, tiny_image_model: bytes
) -> None:
    device = Device(tmp_path, mjpeg_camera, tiny_image_model, "[attachments]\nkeep_free_mb = 0")
    mjpeg_camera.level = 30
    service, url = device.start()
    try:
        browser.get(url)
        shows(browser, ".events li", "dark on door")
        mjpeg_camera.level = 220
        shows(browser, ".events li:first-child", "bright on door")

        def both() -> bool:
            bright, dark = (*thumbnails(browser), -1)[:2]
            return abs(bright - 220) <= 45 and abs(dark - 30) <= 45

        wait_for(both, "the pictures of both events, without a reload")
        shows(browser, "#attachments dl", r"^kept \d files?, ")
        device.stop()
        mjpeg_camera.stop()  # so that nothing new happens
        service, url = device.start()
        browser.get(url)
        shows(browser, ".events li", "dark on door")
        wait_for(both, "the pictures of both events after a restart")
        device.stop()
    finally:
        service.kill()


# ---- the pictures in the documents


DIGITS = {
    "three": ("05dggb10", "0891bg50", "0000dg20", "000egd20", "0002cge1", "00000cg4", "0b429gg1", "06cggd40"),
    "seven": ("06cgggc0", "0agggg80", "00008g40", "0000ec00", "0006g600", "000cd000", "003g8000", "006g4000"),
    "nine": ("03cggb20", "0cg36gb0", "0gb00dg0", "0bgbcgg0", "01aeedg0", "00000cg0", "0720aga0", "06dggb10"),
}
"""Digits of 8 x 8 points, ink from 0 to g (16)."""


def room(digit: str = "seven") -> bytes:
    """A frame as the demo's camera gives it: a card with a digit, held up in a room."""
    rng = np.random.default_rng(5)
    shape = (480, 640)
    ink = np.array([[int(point, 17) for point in line] for line in DIGITS[digit]], np.float64)
    noise = rng.normal(0.0, 1.0, (*shape, 3)).astype(np.float32)
    pixels = Room(rng, shape).render(
        digit_card(ink, rng), Pose(0.52, 0.5, 0.62, 6.0), Light(gain=0.95), noise
    )
    done, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 85])
    assert done
    return bytes(encoded)


def levels(scores: dict[str, float], on: float, off: float) -> tuple[LabelLevel, ...]:
    """The first label is the background."""
    return tuple(
        LabelLevel(label=name, score=score, on=on, off=off, active=n > 0 and score > on, background=n == 0)
        for n, (name, score) in enumerate(scores.items())
    )


def showcase() -> ServiceStatus:
    """A device with one thing that is not as it should be, at the present time."""
    now_ns = time.time_ns()
    ok = make_service_status()
    gaps_s: dict[str, dict[str, float]] = {
        "2026-11-15": {"disconnect": 40.0},
        "2026-11-16": {},
        "2026-11-17": {"stall": 1_300.0},
        "2026-11-18": {},
        "2026-11-19": {"restart": 9.0},
        "2026-11-20": {},
        "2026-11-21": {"stall": 5.0},
        "2026-11-22": {"connecting": 0.5, "stall": 12.0},
    }
    days = tuple(
        CoverageStatus(day=day, watched_s=86_400.0 - sum(gap_s.values()), gap_s=gap_s)
        for day, gap_s in gaps_s.items()
    )
    door = changed(
        ok.streams[0],
        levels=levels({"nothing": 0.03, "three": 0.21, "seven": 0.93, "nine": 0.34}, 0.8, 0.55),
        coverage=days,
    )
    hall = changed(
        ok.streams[1],
        levels=levels(
            {"household": 0.64, "smoke alarm": 0.08, "carbon monoxide alarm": 0.02, "siren": 0.31}, 0.7, 0.4
        ),
        coverage=tuple(changed(day, gap_s={}) for day in days),
        gate=GateStatus(kind="level", open=True, level=-43.5, threshold=-55.0),
        backend=BackendStatus(
            backend="cpu",
            wanted="edgetpu",
            reason="delegate_crashed",
            falls=1,
            promotions=1,
            invoke_p50_us=410,
            invoke_max_us=870,
        ),
    )
    events = [
        ("door", "seven", 0.93, 4),
        ("door", "three", 0.88, 65),
        ("hall", "smoke alarm", 0.97, 1_830),
        ("door", "nine", 0.85, 2_410),
        ("door", "seven", 0.91, 5_250),
    ]
    return make_service_status(
        wall_ns=now_ns,
        timezone="Europe/Berlin",
        scrub=ScrubStatus(ago_s=5_400.0, bundles=3, damaged=0),
        attachments=AttachmentsStatus(
            files=57, bytes=7_400_000, max_bytes=8_000_000, made=190, deleted=133, skipped={"rate": 12}
        ),
        uptime_s=1_067_410.0,
        state="degraded",
        problems=("stream hall runs on cpu, not on edgetpu: delegate_crashed",),
        streams=(door, hall),
        last_events=tuple(
            ok.last_events[0]
            | {
                "stream": stream,
                "label": label,
                "score": score,
                "seq": -ago_s,
                "wall_ns": now_ns - ago_s * 10**9,
            }
            for stream, label, score, ago_s in events
        ),
    )


@pytest.mark.parametrize(
    ("name", "size", "scheme", "scale"),
    [("status-page.png", DESK, "light", 1.25), ("status-page-phone.png", PHONE, "dark", 1.25)],
    ids=["desk", "phone"],
)
def test_a_screenshot_for_the_documents(
    name: str, size: tuple[int, int], scheme: str, scale: float, scene: Scene, browser: Any, tmp_path: Path
) -> None:
    scene.status, scene.picture = showcase(), room()
    shown = [
        with_attachment(scene, event, room(event["label"]) if event["stream"] == "door" else wav(6.0))
        for event in scene.status.last_events
    ]
    scene.status = changed(scene.status, last_events=tuple(shown))
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    resize_browser(browser, size, scale)
    browser.get(scene.url)
    wait_for(lambda: pixel(browser), "the preview")
    pictures = sum(event["stream"] == "door" for event in shown)
    wait_for(lambda: sum(level >= 0 for level in thumbnails(browser)) == pictures, "the pictures of events")
    height = browser.execute_script("return document.documentElement.scrollHeight")
    resize_browser(browser, (size[0], height), scale)
    wait_for(lambda: browser.execute_script("return innerHeight") == height, "the whole page to be visible")
    path = Path(os.environ.get("GALAGO_SCREENSHOTS", tmp_path)) / name
    browser.save_screenshot(str(path))
    picture = cv2.imread(str(path))
    assert picture is not None
    assert abs(picture.shape[0] - height * scale) <= 1 and abs(picture.shape[1] - size[0] * scale) <= 1
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 1_000  # something is on it
