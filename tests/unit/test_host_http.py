"""A request ends at its deadline, whatever the server does; an answer without an end only has to go on."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from galago_edge.contract.errors import LinkError
from galago_edge.host.http_connection import Deadline, HttpsConnection, connection_to, request_target
from galago_edge.sources.capture.camera_request import CameraRequest
from galago_edge.sources.capture.capture_messages import Order

SOON_S = 0.3
LONG_S = 60.0
TICK_S = 0.02
HEAD = b"HTTP/1.1 200 OK\r\n"
Answer = Callable[[socket.socket, threading.Event], None]


@contextlib.contextmanager
def serving(*answers: Answer) -> Iterator[str]:
    """Give the address of a server that treats each connection as the next of ``answers`` does."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                with contextlib.suppress(OSError), listener.accept()[0] as connection:
                    connection.recv(65_536)
                    answer(connection, ended)

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        ended.set()
        server.join(LONG_S)


def dripping(before: bytes) -> Answer:
    """Each byte comes in time, only the whole never does."""

    def answer(connection: socket.socket, ended: threading.Event) -> None:
        connection.sendall(before)
        while not ended.wait(TICK_S):
            connection.sendall(b"z")

    return answer


def silent(before: bytes) -> Answer:
    def answer(connection: socket.socket, ended: threading.Event) -> None:
        connection.sendall(before)
        ended.wait(LONG_S)

    return answer


@contextlib.contextmanager
def asked(url: str, deadline: Deadline) -> Iterator[http.client.HTTPResponse]:
    parts = urlsplit(url)
    with contextlib.closing(connection_to(parts, deadline)) as connection:
        connection.request("GET", request_target(parts))
        with connection.getresponse() as answer:
            yield answer


@pytest.mark.parametrize(
    "answer",
    [dripping(HEAD + b"X-Slow: "), dripping(HEAD + b"Content-Length: 100000\r\n\r\n"), silent(b"")],
    ids=["header", "body", "nothing"],
)
def test_a_server_that_drips_or_says_nothing_is_left_at_the_deadline(answer: Answer) -> None:
    deadline = Deadline()
    with serving(answer) as url:
        deadline.begin(SOON_S)
        with pytest.raises(TimeoutError), asked(url, deadline) as came:
            came.read()


def test_each_request_of_a_kept_connection_has_its_own_time() -> None:
    said = HEAD + b"Content-Length: 2\r\n\r\nok"

    def twice(connection: socket.socket, ended: threading.Event) -> None:
        connection.sendall(said)
        connection.recv(65_536)
        dripping(HEAD)(connection, ended)

    deadline = Deadline()
    with serving(twice) as url, contextlib.closing(connection_to(urlsplit(url), deadline)) as connection:
        deadline.begin(LONG_S)
        connection.request("GET", "/")
        with connection.getresponse() as answer:
            assert answer.read() == b"ok"
        deadline.begin(SOON_S)
        connection.request("GET", "/")
        with pytest.raises(TimeoutError):
            connection.getresponse()


def test_an_answer_without_an_end_goes_on_until_it_falls_silent() -> None:
    def answer(connection: socket.socket, ended: threading.Event) -> None:
        connection.sendall(HEAD + b"Connection: close\r\n\r\n")
        for _ in range(30):
            connection.sendall(b"z")
            ended.wait(TICK_S)
        ended.wait(LONG_S)

    deadline = Deadline()
    with serving(answer) as url:
        deadline.begin(LONG_S)
        with asked(url, deadline) as answer_:
            deadline.until, deadline.longest_wait_s = float("inf"), LONG_S
            came = b""
            while len(came) < 30:
                came += answer_.read1(100)
            deadline.longest_wait_s = SOON_S
            with pytest.raises(TimeoutError):
                answer_.read1(100)
    assert came == b"z" * 30


def test_an_answer_can_be_read_after_its_connection_was_closed() -> None:
    """As urllib does; the socket goes with the answer."""

    def answer(connection: socket.socket, ended: threading.Event) -> None:
        connection.sendall(HEAD + b"Connection: close\r\n\r\nwhole")

    deadline = Deadline()
    with serving(answer) as url:
        parts = urlsplit(url)
        connection = connection_to(parts, deadline)
        deadline.begin(LONG_S)
        connection.request("GET", request_target(parts))
        response = connection.getresponse()
        connection.close()
        assert response.read() == b"whole" and response.isclosed()


def test_a_time_that_is_over_begins_nothing() -> None:
    deadline = Deadline()
    deadline.begin(0.0)
    with pytest.raises(TimeoutError, match="no whole answer in time"):
        connection_to(urlsplit("http://127.0.0.1:9/"), deadline).connect()


def test_one_operation_may_be_bounded_tighter_than_the_whole() -> None:
    deadline = Deadline(SOON_S)
    assert deadline.wait_s() == SOON_S
    deadline.begin(LONG_S)
    assert deadline.wait_s() == SOON_S
    assert Deadline().wait_s() is None


def test_a_secure_address_gets_a_connection_that_checks_the_certificate() -> None:
    connection = connection_to(urlsplit("https://example.org/x"), Deadline())
    assert isinstance(connection, HttpsConnection) and (connection.host, connection.port) == (
        "example.org",
        443,
    )
    context: ssl.SSLContext = connection._context  # type: ignore[attr-defined]
    assert context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname


def test_an_ipv6_address_needs_no_port() -> None:
    for url, port in (("http://[::1]/x", 80), ("http://[::1]:8080/x", 8080), ("https://[fe80::1]/", 443)):
        connection = connection_to(urlsplit(url), Deadline())
        assert (connection.host, connection.port) == (urlsplit(url).hostname, port)


def test_a_camera_that_drips_its_header_is_given_up_by_who_opens_it() -> None:
    with serving(dripping(HEAD + b"X-Slow: ")) as url, pytest.raises(LinkError) as caught:
        order = Order(
            kind="mjpeg",
            target=url,
            shown="porch",
            options={},
            fps=None,
            rate_hz=None,
            open_s=SOON_S,
            stall_s=LONG_S,
        )
        CameraRequest(order).open(SOON_S)
    assert caught.value.line == f"camera porch does not answer within {SOON_S:g} s [SOURCE_MISSING]"
