"""Pictures and sounds of events over real sockets: nothing else is served, from the disk, to many at once."""

from __future__ import annotations

import http.client
import os
import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from galago_edge.contract.settings import PageSettings
from galago_edge.service.page import Page, attached_files, doorkeeper
from real_parts import wait_for
from test_kit import make_service_status

DEADLINE_S = 30.0
TOKEN = "correct-horse-battery"
PICTURE = "20261122T114300123Z-hall-17.jpg"
SOUND = "20261122T114301500Z-door-3.wav"
CONTENT = bytes(range(256)) * 40


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def ask(page: Page, name: str, *, method: str = "GET", host: str = "localhost", **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=DEADLINE_S)
    try:
        connection.putrequest(method, f"/attachments/{name}", skip_host=True)
        connection.putheader("Host", host)
        for key, value in headers.items():
            connection.putheader(key.replace("_", "-"), value)
        connection.endheaders()
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "root" / "attachments"
    folder.mkdir(parents=True)
    for name in (PICTURE, SOUND):
        (folder / name).write_bytes(CONTENT)
    return folder


Serve = Callable[..., Page]


@pytest.fixture
def serve(folder: Path) -> Iterator[Serve]:
    with ExitStack() as pages:

        def start(token: str = "", frame_ancestors: tuple[str, ...] = ()) -> Page:
            settings = PageSettings(port=0, token=token, frame_ancestors=frame_ancestors)
            attached = attached_files(folder.parent)
            return pages.enter_context(Page(settings, make_service_status, attached=attached))

        yield start


@pytest.fixture
def page(serve: Serve) -> Page:
    return serve()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


# ---- what is served, and how


@pytest.mark.parametrize(("name", "kind"), [(PICTURE, "image/jpeg"), (SOUND, "audio/wav")])
def test_a_picture_and_a_sound_are_what_they_are_and_may_be_kept_by_the_visitor_alone(
    name: str, kind: str, page: Page
) -> None:
    answer = ask(page, name)
    assert (answer.status, answer.body) == (200, CONTENT)
    headers = answer.headers
    assert (headers["content-type"], headers["content-length"]) == (kind, str(len(CONTENT)))
    assert headers["cache-control"] == "private, max-age=86400, immutable"
    assert headers["x-content-type-options"] == "nosniff" and headers["accept-ranges"] == "bytes"
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ") and "script" not in policy
    assert "; sandbox; frame-ancestors 'none'" in policy
    assert headers["cross-origin-resource-policy"] == "same-origin"


def test_head_is_answered_without_a_body_and_leaves_no_file_open(page: Page) -> None:
    ask(page, PICTURE)
    before = open_files()
    for _ in range(20):
        answer = ask(page, PICTURE, method="HEAD", Range="bytes=0-9")
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["content-length"] == str(len(CONTENT))
    wait_for(lambda: open_files() <= before, "what was opened to be closed")


@pytest.mark.parametrize("digits", [200, 300, 4_000])
def test_a_name_that_no_folder_can_have_is_not_there(digits: int, page: Page) -> None:
    assert ask(page, f"20261122T114300123Z-hall-17-{'1' * digits}.jpg").status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_put_there_or_deleted(method: str, page: Page, folder: Path) -> None:
    assert ask(page, PICTURE, method=method).status == 405
    assert (folder / PICTURE).exists()


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [
        ("bytes=0-", 0, 10_239),
        ("bytes=0-0", 0, 0),
        ("bytes=100-199", 100, 199),
        ("bytes=10000-99999999", 10_000, 10_239),
        ("bytes=-500", 9_740, 10_239),
        ("bytes=-99999", 0, 10_239),
        ("bytes = 10239- ", 10_239, 10_239),
    ],
)
def test_a_player_gets_the_part_that_it_asks_for(wanted: str, first: int, last: int, page: Page) -> None:
    answer = ask(page, SOUND, Range=wanted)
    assert (answer.status, answer.body) == (206, CONTENT[first : last + 1])
    assert answer.headers["content-range"] == f"bytes {first}-{last}/10240"
    assert answer.headers["content-length"] == str(last - first + 1)


@pytest.mark.parametrize("wanted", ["bytes=10240-", "bytes=10240-10300", "bytes=-0"])
def test_a_part_behind_the_end_is_refused_and_the_length_told(wanted: str, page: Page) -> None:
    answer = ask(page, SOUND, Range=wanted)
    assert answer.status == 416 and answer.headers["content-range"] == "bytes */10240"


@pytest.mark.parametrize(
    "wanted",
    ["bytes=1-0", "bytes=-", "bytes=0-1,5-6", "lines=0-1", "bytes=x-1", "bytes=" + "9" * 30 + "-", "0-1", ""],
)
def test_what_is_no_single_part_gets_the_whole(wanted: str, page: Page) -> None:
    answer = ask(page, SOUND, Range=wanted)
    assert (answer.status, answer.body) == (200, CONTENT)


def test_a_part_under_a_condition_is_the_whole_because_nothing_names_a_version(page: Page) -> None:
    assert ask(page, SOUND, Range="bytes=0-9", If_Range='"v1"').status == 200


def test_an_empty_file_is_an_empty_answer(page: Page, folder: Path) -> None:
    (folder / PICTURE).write_bytes(b"")
    answer = ask(page, PICTURE)
    assert (answer.status, answer.body) == (200, b"")
    assert ask(page, PICTURE, Range="bytes=0-").status == 416


def test_what_the_budget_has_deleted_is_no_longer_kept(page: Page, folder: Path) -> None:
    (folder / PICTURE).unlink()
    answer = ask(page, PICTURE)
    assert answer.status == 404 and b"no longer kept" in answer.body
    assert answer.headers["cache-control"] == "no-store"
    folder.joinpath(SOUND).unlink()
    folder.rmdir()
    assert ask(page, SOUND).status == 404


def test_a_disk_that_fails_costs_the_picture_and_nothing_else(page: Page, folder: Path) -> None:
    folder.parent.rename(folder.parent.with_name("elsewhere"))
    folder.parent.write_bytes(b"no folder")
    answer = ask(page, PICTURE)
    assert answer.status == 503 and answer.headers["retry-after"] == "5"
    assert str(folder).encode() not in answer.body and b"Traceback" not in answer.body


# ---- what is not


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../secret.jpg",
        "%2e%2e/secret.jpg",
        "..%2fsecret.jpg",
        "..%5csecret.jpg",
        f"./{PICTURE}",
        f"{PICTURE}/",
        f"{PICTURE}%00",
        f"{PICTURE}%0a",
        f"{PICTURE}%00.jpg",
        f"x/../{PICTURE}",
        f"/{PICTURE}",
        PICTURE.upper(),
        f".part-{PICTURE}",
        "20261122T114300123Z-..-17.jpg",
        "20261122T114300123Z-hall-%D9%A3.jpg",
        "20261122T114300123Z-h%E4ll-1.jpg",
        "20261122T114300123Z-hall-17.svg",
        "20261122T114300123Z-hall-17.html",
        "notes.jpg",
        "a" * 5_000,
    ],
)
def test_a_name_that_no_attachment_has_is_never_opened(name: str, page: Page, folder: Path) -> None:
    (folder.parent / "secret.jpg").write_bytes(b"secret")
    for inside in (f".part-{PICTURE}", "notes.jpg", PICTURE.replace(".jpg", ".svg")):
        (folder / inside).write_bytes(b"secret")
    answer = ask(page, name)
    assert answer.status == 404 and b"secret" not in answer.body


def test_no_link_is_followed_neither_a_files_nor_the_folders(page: Page, folder: Path) -> None:
    secret = folder.parent / "secret"
    secret.write_bytes(b"secret")
    (folder / PICTURE).unlink()
    (folder / PICTURE).symlink_to(secret)
    assert ask(page, PICTURE).status == 404
    elsewhere = folder.parent.parent / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    assert ask(page, SOUND).status == 404


def test_a_pipe_a_socket_and_a_folder_of_that_name_are_not_there_and_hang_nobody(
    page: Page, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / PICTURE).unlink()
    os.mkfifo(folder / PICTURE)
    assert ask(page, PICTURE).status == 404
    (folder / PICTURE).unlink()
    (folder / PICTURE).mkdir()
    assert ask(page, PICTURE).status == 404
    (folder / PICTURE).rmdir()
    monkeypatch.chdir(folder)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(PICTURE)
        assert ask(page, PICTURE).status == 404


def test_without_the_token_and_under_a_strange_name_nothing_is_served(page: Page, serve: Serve) -> None:
    locked = serve(token=TOKEN)
    for name in (PICTURE, "20200101T000000000Z-hall-1.jpg"):  # nor whether it is there
        answer = ask(locked, name)
        assert (answer.status, answer.headers["cache-control"]) == (401, "no-store")
    assert ask(locked, PICTURE, Authorization=f"Bearer {TOKEN}").body == CONTENT
    assert ask(page, PICTURE, host="evil.example").status == 421


def test_a_page_that_may_show_ours_in_a_frame_may_show_its_pictures_there(serve: Serve) -> None:
    page = serve(frame_ancestors=("https://home.example",))
    assert ask(page, PICTURE).headers["content-security-policy"].endswith("ancestors https://home.example")


# ---- many visitors, and slow ones


def begun(page: Page, requests: int = 1) -> socket.socket:
    """A connection that has asked and takes as little of the answer as it can."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 12)
    connection.settimeout(DEADLINE_S)
    connection.connect(("127.0.0.1", page.port))
    connection.sendall(f"GET /attachments/{SOUND} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * requests)
    return connection


def test_a_large_file_is_in_memory_for_no_visitor(page: Page, folder: Path) -> None:
    size = 200_000_000
    with (folder / SOUND).open("wb") as file:
        file.truncate(size)
    ask(page, PICTURE)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with ExitStack() as visitors:
        slow = [visitors.enter_context(begun(page)) for _ in range(10)]
        for one in slow:
            assert one.recv(1_000).startswith(b"HTTP/1.1 200")
        assert ask(page, PICTURE).status == 200
        assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10 < size // 2


def test_slow_visitors_hold_up_nobody_and_leave_no_file_open(page: Page, folder: Path) -> None:
    (folder / SOUND).write_bytes(bytes(8_000_000))
    ask(page, PICTURE)
    before = open_files()
    with ExitStack() as visitors:
        for _ in range(300):  # more than the server has places
            visitors.enter_context(begun(page))
        assert ask(page, PICTURE).body == CONTENT
        wait_for(
            lambda: open_files() <= before + 300 + 2 * doorkeeper.CONNECTIONS, "what was opened to be closed"
        )
    wait_for(lambda: open_files() <= before, "what was opened to be closed")


def test_who_takes_nothing_of_an_answer_is_sent_away_after_a_while(
    page: Page, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the network takes nothing more, so that the connection can never be written to."""
    monkeypatch.setattr(doorkeeper, "IDLE_S", 0.5)
    (folder / SOUND).write_bytes(bytes(8_000_000))
    ask(page, PICTURE)
    before = open_files()
    with ExitStack() as visitors:
        for _ in range(3):
            visitors.enter_context(begun(page))
        wait_for(lambda: open_files() > before + 6, "the visitors to be there")
        wait_for(lambda: open_files() <= before + 3, "what was opened to be closed")


def test_who_asks_for_hundreds_at_once_and_takes_none_keeps_nobody_out(page: Page, folder: Path) -> None:
    """Beyond what one connection may have waiting, it would hold the threads that answer, and open files."""
    (folder / SOUND).write_bytes(bytes(8_000_000))
    ask(page, PICTURE)
    before = open_files()
    with ExitStack() as greedy:
        for requests in (doorkeeper.AT_ONCE, 100) * 4:  # there are two threads
            greedy.enter_context(begun(page, requests))
        for _ in range(5):
            assert ask(page, PICTURE).body == CONTENT
        most = before + 16 + 4 * doorkeeper.AT_ONCE + 8  # both ends of eight connections, and some air
        wait_for(lambda: open_files() < most, "what was opened to be closed")
    wait_for(lambda: open_files() <= before, "what was opened to be closed")


def test_a_slow_visitor_gets_the_whole_even_when_it_takes_longer_than_an_idle_one_may_stay(
    page: Page, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorkeeper, "IDLE_S", 1.5)
    size = 4_000_000
    (folder / SOUND).write_bytes(bytes(size))
    taken = 0
    with begun(page) as slow:
        began = time.monotonic()
        while time.monotonic() - began < 3 * doorkeeper.IDLE_S:
            taken += len(slow.recv(20_000))
            time.sleep(0.05)
        assert taken < size, "it was not slow"
        while taken < size:
            more = slow.recv(1 << 20)
            assert more, "it was cut off"
            taken += len(more)


def test_a_file_that_is_deleted_while_it_is_sent_arrives_whole(page: Page, folder: Path) -> None:
    (folder / SOUND).write_bytes(bytes(8_000_000))
    with begun(page) as slow:
        taken = len(slow.recv(1_000))
        (folder / SOUND).unlink()
        while taken < 8_000_000:
            more = slow.recv(1 << 20)
            assert more
            taken += len(more)
