"""Whatever a server sends, a POST request has an answer or fails as a connection does."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galago_edge.host import http_post
from galago_edge.host.http_connection import TimedSocket
from galago_edge.host.http_post import PostAnswer, PostConnection, header_fault
from galago_edge.host.tls_trust import TlsTrust
from real_parts import OwnCertificate, WebCamera, wait_for

LINES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 503 No\n",
        b"HTTP/1.0 204\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"\r\n",
        b"Content-Length: 3\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"ffffffffffffffff\r\n",
        b"abc",
        b": \r\n",
        b" x\n",
    ]
)


def answered(sent: bytes) -> tuple[PostAnswer | None, bool]:
    """Return the answer to a request for which ``sent`` comes, None for none, and whether it can go on."""
    ours, theirs = socket.socketpair()
    with theirs:
        connection = PostConnection(urlsplit("http://host/"))
        connection._deadline.begin(60.0)
        connection._link = TimedSocket(ours, connection._deadline)
        theirs.sendall(sent)
        theirs.shutdown(socket.SHUT_WR)
        try:
            return connection._exchange(b"x"), connection._link is not None
        except OSError:
            return None, False
        finally:
            connection.close()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=5_000) | st.lists(LINES | st.binary(max_size=20), max_size=12).map(b"".join))
def test_no_bytes_are_anything_but_an_answer_or_a_fault_of_the_connection(sent: bytes) -> None:
    answer, _ = answered(sent)
    rest = re.sub(rb"^(\r?\n|HTTP/\d+(\.\d+)? 100 Continue\r?\n\r?\n)+", b"", sent)
    first = re.match(rb"HTTP/1\.[01] (200|503|204)( [A-Z][A-Za-z]\b)?\r?\n", rest)
    if first is not None:
        assert answer is not None and answer.status == int(first[1])


@pytest.mark.parametrize(
    ("sent", "goes_on"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 408 Late\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: x, Keep-Alive\r\n\r\nok", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x, Close\r\n\r\nok", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n02 ;x\r\nok\r\n0\r\nA: b\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokay\r\n0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", False),
    ],
)
def test_a_connection_goes_on_only_where_it_is_certain_where_the_next_answer_begins(
    sent: bytes, goes_on: bool
) -> None:
    answer, open_still = answered(sent)
    assert answer is not None and answer.status == 200
    assert open_still is goes_on


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_text_in_a_head_is_more_than_a_pause(asked: str, date: str) -> None:
    assert PostAnswer(503, "", {"retry-after": asked, "date": date}).pause_s >= 0.0


@pytest.mark.parametrize(
    ("asked", "date", "pause_s"),
    [
        ("Sun, 06 Nov 1994 08:49:57 GMT", "Sun, 06 Nov 1994 08:49:37 GMT", 20.0),
        ("Sunday, 06-Nov-94 08:49:57 GMT", "Sun Nov  6 08:49:37 1994", 20.0),
        ("Sun, 06 Nov 1994 08:49:57 -0000", "Sun, 06 Nov 1994 09:49:37 +0100", 20.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:57 GMT", 0.0),
        ("Sun, 06 Nov 1994 08:49:57 GMT", "", 0.0),
        ("Sun, 06 Nov 9999 99:99:99 GMT", "Sun, 06 Nov 1994 08:49:57 GMT", 0.0),
        ("2.5", "", 2.5),
    ],
)
def test_a_date_is_compared_with_the_servers_own_clock(asked: str, date: str, pause_s: float) -> None:
    assert PostAnswer(503, "", {"retry-after": asked, "date": date}).pause_s == pause_s


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3))
def test_headers_that_pass_can_be_sent_and_end_where_they_should(headers: dict[str, str]) -> None:
    if not header_fault(headers):
        sent = PostConnection(urlsplit("http://host/"))._request(b"body", headers)
        head, _, body = sent.partition(b"\r\n\r\n")
        assert body == b"body"
        assert len(head.split(b"\r\n")) == 2 + len(headers) + ("host" not in map(str.lower, headers))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_over_tls_too_a_connection_is_kept_until_the_server_ends_it(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    """TLS 1.3 sends tickets that nobody asked for: they are no end of the connection."""
    certificate = OwnCertificate.make(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(certificate.path)
    connections: list[ssl.SSLSocket] = []
    bodies: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                served = context.wrap_socket(listener.accept()[0], server_side=True)
                connections.append(served)
                threading.Thread(target=answer, args=(served,), daemon=True).start()

    def answer(served: ssl.SSLSocket) -> None:
        with contextlib.suppress(OSError), served:
            while data := served.recv(65_536):
                bodies.append(data.rpartition(b"\r\n\r\n")[2])
                served.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        url = urlsplit(f"https://127.0.0.1:{listener.getsockname()[1]}/")
        link = PostConnection(url, TlsTrust(ca_file=str(certificate.path)))
        assert link.fresh
        for number in range(3):
            assert link.post(b"%d" % number, {}, 60.0).status == 200
            assert not link.fresh
        connections[0].shutdown(socket.SHUT_RDWR)
        wait_for(lambda: link.fresh, "the end to arrive")
        assert link.post(b"3", {}, 60.0).status == 200
        assert (len(connections), bodies) == (2, [b"0", b"1", b"2", b"3"])
        link.close()
        wait_for(lambda: all(one.fileno() < 0 for one in connections), "the server to have hung up")
        listener.shutdown(socket.SHUT_RDWR)


def test_a_certificate_that_nobody_vouches_for_is_told_as_one(tmp_path: Path) -> None:
    certificate = OwnCertificate.make(tmp_path)
    with WebCamera(certificate=certificate) as server:
        link = PostConnection(urlsplit(server.url("/")))
        with pytest.raises(ssl.SSLCertVerificationError):
            link.post(b"x", {}, 60.0)


@contextlib.contextmanager
def narrow_server(serve: Callable[[socket.socket], None]) -> Iterator[PostConnection]:
    """A server of one connection, which takes little at a time into its own buffer."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)

        def answer() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    serve(connection)

        thread = threading.Thread(target=answer)
        thread.start()
        link = PostConnection(urlsplit(f"http://127.0.0.1:{listener.getsockname()[1]}/"))
        try:
            yield link
        finally:
            link.close()
            thread.join()


def taken(connection: socket.socket, size: int, pause_s: float = 0.0) -> None:
    while size > 0 and (piece := connection.recv(16_384)):
        size -= len(piece)
        time.sleep(pause_s)


@pytest.mark.parametrize("takes", [1 << 40, 100_000], ids=["everything", "the beginning"])
def test_a_server_that_takes_a_big_body_and_says_nothing_is_not_waited_for_as_long_as_sending_may_take(
    takes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_post, "_BUFFER_S", 0.1)
    ended = threading.Event()

    def silent(connection: socket.socket) -> None:
        taken(connection, takes)
        ended.wait()

    with narrow_server(silent) as link:
        failures: list[BaseException] = []

        def post() -> None:
            try:
                link.post(bytes(1 << 20), {}, 0.5, send_s=100_000.0)
            except OSError as error:
                failures.append(error)

        thread = threading.Thread(target=post, daemon=True)
        thread.start()
        try:
            wait_for(lambda: failures, "the sender to give up")
        finally:
            ended.set()
        assert isinstance(failures[0], TimeoutError) and link.reached


def test_a_big_body_may_take_longer_than_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_post, "_BUFFER_S", 1.0)

    def slow(connection: socket.socket) -> None:
        taken(connection, 1 << 20, 0.01)  # some seconds, of which the answer alone had one and a half
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with narrow_server(slow) as link:
        assert link.post(bytes(1 << 20), {}, 0.5, send_s=600.0).status == 200
