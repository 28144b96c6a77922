"""The server of the review page over real sockets: what it answers, and whom it refuses."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from galago_edge.contract.errors import LinkError, Reason
from galago_edge.contract.settings import PageSettings
from galago_edge.recording.sample_media import wav_bytes
from galago_edge.service.page.server import PageServer
from galago_workstation.progress_lines import PlainReport
from galago_workstation.review.field_samples import find_field_samples
from galago_workstation.review.review_app import ReviewApp
from galago_workstation.review.review_file import ReviewFile
from galago_workstation.review.review_session import ReviewSession

TOKEN = "correct-horse-battery"


@dataclass
class Review:
    """A review that is served, and what a browser would send."""

    server: PageServer
    session: ReviewSession
    folder: Path

    def ask(
        self, path: str, body: Any = None, *, token: str = TOKEN, host: str | None = None, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        """Ask as the page does: with its origin, its kind of content and the token."""
        own = f"127.0.0.1:{self.server.port}"
        sent = {"Host": own if host is None else host, "Authorization": f"Bearer {token}"}
        if body is not None:
            sent |= {"Content-Type": "application/json", "Origin": f"http://{own}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        try:
            data = None if body is None else json.dumps(body)
            connection.request("GET" if body is None else "POST", path, data, sent)
            answer = connection.getresponse()
            return answer.status, answer.read(), dict(answer.getheaders())
        finally:
            connection.close()

    def answer(self, number: int, label: str | None) -> tuple[int, Any]:
        sample = self.session.samples[number]
        status, content, _ = self.ask(
            "/api/answer", {"number": number, "sha256": sample.sha256, "label": label}
        )
        return status, json.loads(content)


@pytest.fixture
def review(tmp_path: Path) -> Iterator[Review]:
    for label, level in (("dark", 30), ("bright", 220), ("dark/deep", 60)):
        (tmp_path / "samples" / label).mkdir(parents=True)
        path = tmp_path / "samples" / label / f"{level}.png"
        cv2.imwrite(str(path), np.full((12, 16, 3), level, np.uint8))
    file = ReviewFile(tmp_path / "out", "ada")
    found = find_field_samples(tmp_path / "samples", sounds=None)
    session = ReviewSession(found, file, None, ("mid",), PlainReport())
    app = ReviewApp(session, TOKEN, "ada")
    with PageServer(PageSettings(port=0, token=TOKEN), app) as server:
        yield Review(server, session, tmp_path / "out")
    file.close()


def test_the_page_shows_all_samples_labels_and_answers(review: Review) -> None:
    status, content, headers = review.ask("/api/review")
    told = json.loads(content)
    assert status == 200 and told["labels"] == ["bright", "dark", "mid"] and told["reviewer"] == "ada"
    assert [one["id"] for one in told["samples"]] == ["bright/220.png", "dark/30.png", "dark/deep/60.png"]
    assert [one["proposed"] for one in told["samples"]] == ["bright", "dark", "dark"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY" and headers["Cache-Control"] == "no-store"
    assert review.ask("/media/2.jpg")[1].startswith(b"\xff\xd8")
    page = review.ask("/")[1].decode()
    assert "{{" not in page and "http://" not in page.replace("http://www.w3.org", "")


def test_an_answer_is_on_the_disk_before_it_is_told(review: Review) -> None:
    status, told = review.answer(1, "mid")
    assert (status, told["number"], told["answer"], told["answered"]) == (200, 1, {"label": "mid"}, 1)
    assert "samples/dark/30.png,mid" in (review.folder / "samples.csv").read_text()
    assert review.answer(0, None)[1]["answer"] == {"label": None}
    status, content, _ = review.ask("/api/undo", {})
    assert json.loads(content)["number"] == 0 and json.loads(content)["answer"] is None
    assert json.loads(review.ask("/api/review")[1])["answers"] == {"1": {"label": "mid"}}
    review.ask("/api/undo", {})
    assert json.loads(review.ask("/api/undo", {})[1])["number"] is None, "there is nothing to take back"
    assert review.session.summary()["answered"] == 0


def test_a_new_label_is_one_that_a_bundle_can_hold(review: Review) -> None:
    assert review.answer(0, "half light")[1]["labels"][-1] == "half light"
    for label, reason in (("DARK", "LABELS_REPEAT"), (" x", "DATA_BAD"), ("x\u200b", "DATA_BAD")):
        status, told = review.answer(1, label)
        assert (status, told["reason"]) == (409, reason)
    assert review.session.labels[-1] == "half light"


def test_a_sample_that_changed_is_not_labelled(review: Review) -> None:
    path = review.session.samples[0].path
    path.write_bytes(review.session.samples[1].path.read_bytes())
    status, told = review.answer(0, "dark")
    assert status == 409 and "has changed" in told["message"] and not review.session.answered()
    path.unlink()
    assert review.answer(0, "dark")[0] == 409 and review.ask("/media/0.jpg")[0] == 409


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/media/3.jpg",
        "/media/0.wav",
        "/media/-1.jpg",
        "/context/0/0.jpg",
        "/context/9/0.jpg",
        "/../x",
    ],
)
def test_there_is_nothing_else(review: Review, path: str) -> None:
    assert review.ask(path)[0] == 404


def test_nobody_gets_in_without_the_token(review: Review) -> None:
    for path in ("/", "/api/review", "/media/0.jpg", "/?token=wrong-horse-battery"):
        assert review.ask(path, token="wrong-horse-battery")[0] == 401
    assert review.ask("/api/undo", {}, token="wrong-horse-battery")[0] == 401


def test_a_browser_gets_a_cookie_for_the_token_that_no_other_site_can_use(review: Review) -> None:
    status, _, headers = review.ask(f"/?token={TOKEN}", token="")
    assert status == 200
    cookie = headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and TOKEN not in cookie
    assert review.ask("/api/review", token="", Cookie=cookie.partition(";")[0])[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8390", "localhost.evil.example", ""])
def test_a_name_that_was_pointed_here_is_refused(review: Review, host: str) -> None:
    assert review.ask("/api/review", host=host)[0] in (400, 421)
    assert review.ask("/api/undo", {}, host=host)[0] in (400, 421)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "https://127.0.0.1"},
        {"Content_Type": "text/plain"},
        {"Content_Type": "application/x-www-form-urlencoded"},
    ],
)
def test_another_page_cannot_answer_whatever_its_browser_knows(
    review: Review, headers: dict[str, str]
) -> None:
    sample = review.session.samples[0]
    body = {"number": 0, "sha256": sample.sha256, "label": "dark"}
    assert review.ask("/api/answer", body, **headers)[0] == 403
    assert review.ask("/api/undo", {}, **headers)[0] == 403
    assert not review.session.answered()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"number": 0},
        [],
        {"number": 0, "sha256": "x", "label": ""},
        {"number": 0, "sha256": "x", "label": "y" * 65},
        {"number": 0, "sha256": "x" * 9_000, "label": "y"},
    ],
)
def test_what_is_no_answer_is_refused(review: Review, body: Any) -> None:
    assert review.ask("/api/answer", body)[0] == 400


def test_answers_are_posted_and_the_rest_is_read(review: Review) -> None:
    assert review.ask("/api/answer")[0] == 405
    assert review.ask("/api/review", {})[0] == 405
    sample = review.session.samples[0]
    assert review.ask("/api/answer", {"number": 1, "sha256": sample.sha256, "label": "dark"})[0] == 409


def test_a_port_that_is_taken_is_one_line_that_names_the_option(review: Review) -> None:
    settings = PageSettings(port=review.server.port, token=TOKEN)
    app = ReviewApp(review.session, TOKEN, "ada")
    second = PageServer(settings, app, name="the review page", remedy="give another --port")
    with pytest.raises(LinkError) as refused:
        second.start()
    assert refused.value.reason is Reason.IO
    assert "the review page cannot listen" in str(refused.value) and "--port" in refused.value.hint


def test_what_no_bundle_could_hold_is_shown_and_not_offered(tmp_path: Path) -> None:
    for number, label in enumerate(("dark", "Dark", "x\u200b", "y" * 70)):
        (tmp_path / "samples" / label).mkdir(parents=True)
        pixels = np.full((8, 8, 3), 40 * number, np.uint8)
        cv2.imwrite(str(tmp_path / "samples" / label / f"{number}.png"), pixels)
    file = ReviewFile(tmp_path / "out", "ada")
    session = ReviewSession(
        find_field_samples(tmp_path / "samples", sounds=None), file, None, (), PlainReport()
    )
    assert session.labels == ("Dark",) and len(session.samples) == 4
    file.close()


def test_samples_that_were_moved_are_found_by_their_content(tmp_path: Path) -> None:
    (tmp_path / "old" / "dark").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "old" / "dark" / "1.png"), np.zeros((8, 8, 3), np.uint8))
    for place in ("old", "new"):
        file = ReviewFile(tmp_path / "out", "ada")
        session = ReviewSession(
            find_field_samples(tmp_path / place, sounds=None), file, None, (), PlainReport()
        )
        if place == "old":
            session.answer(0, session.samples[0].sha256, "dark")
            (tmp_path / "old").rename(tmp_path / "new")
        file.close()
    assert "../new/dark/1.png,dark" in (tmp_path / "out" / "samples.csv").read_text()


def test_the_command_shows_its_page_until_it_is_interrupted(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    cv2.imwrite(str(tmp_path / "samples" / "1.png"), np.zeros((8, 8, 3), np.uint8))
    command = [sys.executable, "-m", "galago_edge", "data", "review", str(tmp_path / "samples"), "--json"]
    command += ["--label", "dark", "--out", str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stderr is not None
        found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\?token=(\S{16,})\n", next(child.stderr))
        assert found is not None and "Ctrl+C" in next(child.stderr)
        connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=30)
        connection.request("GET", "/api/review", headers={"Authorization": f"Bearer {found[2]}"})
        assert json.loads(connection.getresponse().read())["labels"] == ["dark"]
        connection.close()
        child.send_signal(signal.SIGINT)
        told = json.loads(child.stdout.read())
    assert child.returncode == 0 and (told["samples"], told["answered"]) == (1, 0)


def test_sounds_are_heard_and_seen(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav_bytes(np.arange(8_000).astype(np.int16), 16_000))
    file = ReviewFile(tmp_path / "out", "ada")
    session = ReviewSession(find_field_samples(tmp_path, sounds=None), file, None, (), PlainReport())
    app = ReviewApp(session, TOKEN, "ada")
    with PageServer(PageSettings(port=0, token=TOKEN), app) as server:
        asked = Review(server, session, tmp_path)
        assert asked.ask("/media/0.wav")[1].startswith(b"RIFF")
        assert asked.ask("/media/0.jpg")[1].startswith(b"\xff\xd8")
    file.close()
