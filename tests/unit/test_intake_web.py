"""A web server that answers what nobody asked, or sends elsewhere: one line, never a traceback."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from galago_edge.bundle.index import INDEX_NAME, INDEX_SIGNATURE_NAME
from galago_edge.contract.errors import CallerError, GalagoError, LinkError, Reason
from galago_edge.intake import pull
from galago_edge.intake.web import Fetched, Server
from real_parts.processes import DEADLINE_S
from test_kit import trust

Answers = Callable[..., str]


@pytest.fixture
def answers() -> Iterator[Answers]:
    """Return what starts a server that says one thing to everybody, and its address."""
    with contextlib.ExitStack() as stack:

        def start(head: str, of: dict[str, bytes] | None = None) -> str:
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            server.settimeout(0.05)
            done = threading.Event()

            def serve() -> None:
                while not done.is_set():
                    with contextlib.suppress(TimeoutError, ConnectionError):
                        connection = server.accept()[0]
                        with connection:
                            connection.settimeout(DEADLINE_S)
                            asked = connection.recv(65_536).split(b" ")[1].decode()
                            content = (of or {}).get(asked)
                            said = head if content is None else "200 OK"
                            answer = f"HTTP/1.1 {said}\r\nConnection: close\r\n\r\n"
                            connection.sendall(answer.encode() + (content or b""))

            thread = threading.Thread(target=serve)
            thread.start()
            stack.callback(thread.join)
            stack.callback(done.set)
            return f"http://127.0.0.1:{server.getsockname()[1]}/"

        yield start


@pytest.mark.parametrize(
    "location",
    [
        "http://[::1",
        "http://[nonsense]/",
        "http://127.0.0.1:port/",
        "http://127.0.0.1:99999/",
        "http://",
        "//[",
        "\\\\[::1",
        "http://127.0.0.1:1\x7f/",
        "http://" + "x" * 70 + "/",
        "ftp://127.0.0.1/",
        "javascript:x",
        "/\x01",
        "",
    ],
)
@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_to_what_is_no_address_is_one_line(answers: Answers, location: str, code: int) -> None:
    server = Server(answers(f"{code} Elsewhere\r\nLocation: {location}"))
    with pytest.raises(GalagoError) as caught:
        server.small("index.json", 100)
    assert caught.value.reason in (Reason.TRANSPORT, Reason.TARGET_UNKNOWN)
    with pytest.raises(GalagoError):
        list(server.file("x.galago", 0, 100, 10.0))


def test_a_redirect_that_goes_round_ends(answers: Answers) -> None:
    with pytest.raises(GalagoError, match=r"30[12]"):
        Server(answers("302 Round\r\nLocation: /index.json")).small("index.json", 100)


def test_not_changed_is_news_for_whoever_asked_and_a_fault_for_everybody_else(answers: Answers) -> None:
    server = Server(answers("304 Not Modified"))
    assert server.small("index.json", 100, etag='"x"') == Fetched(None, '"x"')
    with pytest.raises(LinkError, match="nobody asked") as caught:
        server.small("index.json", 100)
    assert caught.value.reason is Reason.TRANSPORT
    for offset in (0, 5):
        with pytest.raises(LinkError, match="nobody asked"):
            list(server.file("x.galago", offset, 100, 10.0))


@pytest.mark.parametrize("of", [(), (INDEX_NAME,), (INDEX_SIGNATURE_NAME,)])
def test_a_pull_from_a_server_that_says_unchanged_to_everything_is_one_line(
    answers: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: tuple[str, ...]
) -> None:
    monkeypatch.setattr(pull, "_FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(pull, "_LONGEST_PAUSE_S", 0.001)
    url = answers("304 Not Modified", of={f"/{name}": b"{}" for name in of})
    with pytest.raises(GalagoError):
        pull.pull(url, trust(tmp_path / "device"), names=["eyes"])


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1/", "http://[x]/", "http://h:abc/", "http://h:99999/", "http://a..b/", "http:///x",
        "http:x",
        "http://" + "x" * 64 + "/", "http://h\x00/", "http://h x/", "ftp://h/", "h/x", "", "http://h/?a=b",
        "http://h/#a", "//h/",
    ],
)  # fmt: skip
def test_what_is_no_address_of_a_folder_is_refused_at_once(url: str) -> None:
    with pytest.raises(CallerError, match="no address of a folder") as caught:
        Server(url)
    assert caught.value.reason is Reason.CONFIG_BAD


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://h/a", "http://h/a/"),
        ("http://h", "http://h/"),
        ("http://h:81/a%20b/", "http://h:81/a%20b/"),
        ("http://[::1]:81/", "http://[::1]:81/"),
        ("http://h/Küche/ü", "http://h/K%C3%BCche/%C3%BC/"),
        ("https://bücher.example:81/", "https://xn--bcher-kva.example:81/"),
    ],
)
def test_letters_beyond_ascii_are_escaped_in_an_address(url: str, asked: str) -> None:
    assert Server(url).url == asked
