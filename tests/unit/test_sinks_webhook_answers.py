"""Answers of every shape from a server that is nothing but a socket: the first line alone decides."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from galago_edge.host import http_post
from galago_edge.sinks.kinds import webhook_sink as webhook_module
from galago_edge.sinks.kinds.webhook_sink import WebhookSender, WebhookSettings
from galago_edge.sinks.sink_kind import ReceiverParts
from galago_edge.sinks.spool import Entry, Spool
from real_parts import wait_for

REST_S = 0.5
"""How long the sender waits here for what follows the first line."""
RECORDS = 3


class Hold:
    """Leave the connection open until the sender ends it."""


class Reset:
    """End the connection without ceremony."""


class Close:
    """End the connection; what comes behind an answer goes on with the next request."""


Step = bytes | float | type[Hold] | type[Reset] | type[Close]
Script = list[Step]


class RawServer:
    """Answers each request by the next script, the last one for ever: bytes, pauses in seconds, an end."""

    def __init__(self, *scripts: Script, listens: bool = True) -> None:
        self.scripts = scripts
        self.listens = listens
        self.keys: list[str] = []
        self.connections = 0
        self.ended = threading.Event()
        self.open: list[socket.socket] = []

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        """Give its address."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}/hook"
            finally:
                self.ended.set()
                with contextlib.suppress(OSError):
                    listener.shutdown(socket.SHUT_RDWR)

    def hang_up(self) -> None:
        """End every connection that is open."""
        for connection in self.open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self.connections += 1
                self.open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            while (key := self._request(connection)) is not None:
                script = self.scripts[min(len(self.keys), len(self.scripts) - 1)]
                self.keys.append(key)
                if not self._play(connection, script):
                    return

    def _play(self, connection: socket.socket, script: Script) -> bool:
        for step in script:
            if isinstance(step, bytes):
                connection.sendall(step)
            elif isinstance(step, float):
                self.ended.wait(step)
            elif step is Hold:
                connection.settimeout(60.0)
                connection.recv(1)
                return False
            else:
                if step is Reset:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
        return True

    def _request(self, connection: socket.socket) -> str | None:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65_536)
            if not piece:
                return None
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(re.findall(rb"(?i)content-length: (\d+)", head)[0])
        while self.listens and len(body) < length:
            body += connection.recv(65_536)
        return re.findall(rb"(?i)idempotency-key: (\S+)", head)[0].decode()


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_module, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(http_post, "_REST_S", REST_S)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path, "porch", {"webhook": ("event",)}, max_bytes=1 << 20, sync_s=5.0)
    opened.lock()
    opened.load()
    yield opened
    opened.close()


@contextlib.contextmanager
def sending(spool: Spool, url: str, timeout_s: float = 30.0) -> Iterator[tuple[WebhookSender, list[str]]]:
    """Give a sender and every fault that it ever notes."""
    settings = WebhookSettings(url=url, backoff_max_s=0.02, timeout_s=timeout_s)
    sender = WebhookSender(settings, ReceiverParts("webhook", "porch", "1", spool))
    faults: list[str] = []
    noted = sender._troubled

    def troubled(fault: str, *, hopeless: bool = False) -> None:
        faults.append(fault)
        noted(fault, hopeless=hopeless)

    sender._troubled = troubled  # type: ignore[method-assign]
    sender.start()
    try:
        yield sender, faults
    finally:
        sender.stop(30.0)


def add(spool: Spool, *numbers: int) -> None:
    for number in numbers:
        spool.append([Entry("event", b'{"n":%d}\n' % number, synced=True)])


def delivered(sender: WebhookSender, count: int) -> None:
    wait_for(lambda: sender.status().delivered == count, f"{count} delivered records")


def answer(*lines: bytes, body: bytes = b"", end: bytes = b"\r\n") -> bytes:
    return b"".join(line + end for line in (*lines, b"")) + body


OK = b"HTTP/1.1 200 OK"
LENGTH_2 = b"Content-Length: 2"
HINTS = b"HTTP/1.1 103 Early Hints"
CHUNKED = b"Transfer-Encoding: chunked"
JUNK = (b"no colon here", b": no name", b" folded", b"\xff\xfe: \x00")
SHAPES: dict[str, Script] = {
    "HTTP/1.0, nothing more": [answer(b"HTTP/1.0 200 OK"), Close],
    "HTTP/1.0, a body": [answer(b"HTTP/1.0 200 OK", body=b"thanks"), Close],
    "HTTP/1.0, body later": [answer(b"HTTP/1.0 200 OK"), 0.05, b"thanks", Close],
    "HTTP/1.0, kept": [answer(b"HTTP/1.0 200 OK", b"Connection: keep-alive", LENGTH_2, body=b"ok")],
    "says that it closes": [answer(OK, b"Connection: close", body=b"ok"), Close],
    "says that it closes, in capitals": [answer(OK, b"CONNECTION: Close", LENGTH_2, body=b"ok"), Close],
    "closes without saying so": [answer(OK, LENGTH_2, body=b"ok"), Close],
    "no length, closed": [answer(OK, body=b"ok"), Close],
    "no length, never closed": [answer(OK, body=b"ok"), Hold],
    "body cut": [answer(OK, b"Content-Length: 10", body=b"ok"), Close],
    "body never whole": [answer(OK, b"Content-Length: 10", body=b"ok"), Hold],
    "body longer than it says": [answer(OK, LENGTH_2, body=b"okokok")],
    "body late": [answer(OK, LENGTH_2), 0.05, b"ok"],
    "body too late": [answer(OK, LENGTH_2), REST_S * 2, b"ok"],
    "body slow": [answer(OK, LENGTH_2), b"o", 0.05, b"k"],
    "body huge": [answer(OK, b"Content-Length: 3000000", body=b"x" * 3_000_000), Hold],
    "length no number": [answer(OK, b"Content-Length: two", body=b"ok"), Hold],
    "length negative": [answer(OK, b"Content-Length: -2", body=b"ok"), Hold],
    "two lengths": [answer(OK, LENGTH_2, b"Content-Length: 4", body=b"okok"), Hold],
    "chunks": [answer(OK, CHUNKED, body=b"2\r\nok\r\n0\r\n\r\n")],
    "chunks with extras": [answer(OK, CHUNKED, body=b"2;a=b\r\nok\r\n0\r\nTrailer: x\r\n\r\n")],
    "chunks cut": [answer(OK, CHUNKED, body=b"5\r\nok"), Close],
    "chunks without an end": [answer(OK, CHUNKED, body=b"2\r\nok\r\n"), Hold],
    "chunks nonsense": [answer(OK, CHUNKED, body=b"zz\r\nok\r\n"), Hold],
    "chunks and a length": [answer(OK, CHUNKED, LENGTH_2, body=b"2\r\nok\r\n0\r\n\r\n"), Hold],
    "another coding": [answer(OK, b"Transfer-Encoding: gzip", body=b"ok"), Close],
    "100 before": [answer(b"HTTP/1.1 100 Continue"), answer(OK, LENGTH_2, body=b"ok")],
    "103 before": [answer(HINTS, b"Link: </a>"), 0.05, answer(OK, LENGTH_2, body=b"ok")],
    "all of them before": [
        answer(b"HTTP/1.1 100 Continue"),
        answer(b"HTTP/1.1 102 Processing"),
        answer(HINTS, b"Link: </a>"),
        answer(OK, LENGTH_2, body=b"ok"),
    ],
    "hundreds of headers": [answer(OK, LENGTH_2, *(b"X-%d: y" % n for n in range(500)), body=b"ok")],
    "a header without an end": [OK + b"\r\nX: " + b"y" * 1_000_000, Hold],
    "headers without an end": [OK + b"\r\n" + b"X: y\r\n" * 100_000, Hold],
    "junk between the headers": [answer(OK, *JUNK, LENGTH_2, body=b"ok")],
    "line feeds alone": [answer(OK, LENGTH_2, body=b"ok", end=b"\n")],
    "no words": [answer(b"HTTP/1.1 200", LENGTH_2, body=b"ok")],
    "no words but a blank": [answer(b"HTTP/1.1 200 ", LENGTH_2, body=b"ok")],
    "words that are no ASCII": [answer("HTTP/1.1 200 Schön ✓".encode(), LENGTH_2, body=b"ok")],
    "empty lines before": [b"\r\n\r\n" + answer(OK, LENGTH_2, body=b"ok")],
    "nothing but the first line": [OK + b"\r\n", Close],
    "the first line, then silence": [OK + b"\r\n", Hold],
    "the first line, then a reset": [OK + b"\r\n", 0.05, Reset],
    "headers cut": [OK + b"\r\nContent-Le", Close],
    "first line byte by byte": [b"HT", 0.02, b"TP/1.1 2", 0.02, b"01 O", 0.02, b"K\r", 0.02, b"\n", Close],
    "201": [answer(b"HTTP/1.1 201 Created", LENGTH_2, body=b"ok")],
    "202": [answer(b"HTTP/1.1 202 Accepted", b"Content-Length: 0")],
    "204": [answer(b"HTTP/1.1 204 No Content")],
    "204 with a length": [answer(b"HTTP/1.1 204 No Content", b"Content-Length: 7")],
    "299": [answer(b"HTTP/1.1 299 Odd", b"Content-Length: 0")],
    "a version to come": [answer(b"HTTP/1.9 200 OK", LENGTH_2, body=b"ok")],
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_any_success_is_a_delivery_whatever_follows_its_first_line(shape: str, spool: Spool) -> None:
    server = RawServer(SHAPES[shape])
    with server.running() as url, sending(spool, url) as (sender, faults):
        add(spool, *range(RECORDS))
        delivered(sender, RECORDS)
        assert Counter(server.keys) == dict.fromkeys(dict.fromkeys(server.keys), 1)  # nothing was repeated
        assert len(server.keys) == RECORDS
        assert faults == []


KEPT = (
    "HTTP/1.0, kept", "body late", "body slow", "chunks", "chunks with extras", "100 before", "103 before",
    "all of them before", "hundreds of headers", "line feeds alone", "no words", "words that are no ASCII",
    "204", "204 with a length", "299",
)  # fmt: skip


@pytest.mark.parametrize("shape", KEPT)
def test_an_answer_that_is_as_it_should_be_keeps_its_connection(
    shape: str, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_post, "_REST_S", 60.0)
    server = RawServer(SHAPES[shape])
    with server.running() as url, sending(spool, url) as (sender, _):
        add(spool, *range(RECORDS))
        delivered(sender, RECORDS)
        assert server.connections == 1


@pytest.mark.parametrize("end", [Close, Reset])
def test_an_answer_of_a_server_that_does_not_listen_to_the_end_counts(
    end: type[Close] | type[Reset], spool: Spool
) -> None:
    """Scripts that never read what was posted to them."""
    server = RawServer([OK + b"\r\n\r\n", end], listens=False)
    long = b"x" * 900_000  # more than the system holds back
    with server.running() as url, sending(spool, url) as (sender, faults):
        spool.append([Entry("event", b'{"n":"%s"}\n' % long, synced=True)])
        delivered(sender, 1)
        assert (len(server.keys), faults) == (1, [])


NOTHING: dict[str, Script] = {
    "hangs up": [Close],
    "resets": [Reset],
    "half a line": [b"HTTP/1.1 20", Close],
    "a line without its end": [OK, Close],
    "no HTTP": [b"SSH-2.0-OpenSSH_9.2\r\n", Close],
    "another protocol": [b"ICY 200 OK\r\n\r\n", Close],
    "no status": [b"HTTP/1.1 OK\r\n\r\n", Close],
    "a long status": [b"HTTP/1.1 2000 OK\r\n\r\n", Close],
    "a low status": [b"HTTP/1.1 020 OK\r\n\r\n", Close],
    "interim answers alone": [answer(b"HTTP/1.1 100 Continue"), Close],
    "interim answers for ever": [answer(b"HTTP/1.1 100 Continue") * 1_000, Hold],
    "a line without end": [b"H" * 500_000, Hold],
    "another protocol from now on": [answer(b"HTTP/1.1 101 Switching Protocols"), Hold],
}  # fmt: skip


@pytest.mark.parametrize("shape", NOTHING)
def test_what_is_no_answer_acknowledges_nothing(shape: str, spool: Spool) -> None:
    server = RawServer(NOTHING[shape])
    with server.running() as url, sending(spool, url) as (sender, faults):
        add(spool, 0)
        wait_for(lambda: len(server.keys) >= 3, "three tries")
        assert (sender.status().delivered, sender.status().pending) == (0, 1)
        assert len(set(server.keys)) == 1
        assert all(fault.startswith("127.0.0.1") for fault in faults)


def test_silence_ends_with_the_time_that_a_request_has(spool: Spool) -> None:
    server = RawServer([Hold])
    with server.running() as url, sending(spool, url, timeout_s=0.1) as (sender, faults):
        add(spool, 0)
        wait_for(lambda: len(server.keys) >= 2, "two tries")
        assert "time" in faults[0] and sender.status().delivered == 0


KEEPS = [answer(OK, LENGTH_2, body=b"ok")]


def test_a_connection_that_the_server_ended_meanwhile_is_no_fault_and_repeats_nothing(spool: Spool) -> None:
    server = RawServer(list(KEEPS))
    with server.running() as url, sending(spool, url) as (sender, faults):
        for number in range(RECORDS):
            add(spool, number)
            delivered(sender, number + 1)
            server.hang_up()
            time.sleep(0.02)  # until the end has arrived
        assert faults == []
        assert len(server.keys) == len(set(server.keys)) == RECORDS
        assert server.connections == RECORDS


@pytest.mark.parametrize("end", [Close, Reset])
def test_a_server_that_hangs_up_just_when_it_is_asked_again_is_asked_once_more_at_once(
    spool: Spool, end: type[Close] | type[Reset]
) -> None:
    server = RawServer(list(KEEPS), [end], list(KEEPS))
    with server.running() as url, sending(spool, url) as (sender, faults):
        add(spool, 0, 1)
        delivered(sender, 2)
        assert faults == []
        assert (len(server.keys), len(set(server.keys)), server.connections) == (3, 2, 2)


def test_what_a_server_says_unasked_ends_the_connection(spool: Spool) -> None:
    late = [answer(OK, LENGTH_2, body=b"ok"), 0.05, answer(b"HTTP/1.1 408 Request Timeout")]
    server = RawServer(late, list(KEEPS))
    with server.running() as url, sending(spool, url) as (sender, faults):
        add(spool, 0)
        delivered(sender, 1)
        time.sleep(0.3)  # it comes meanwhile
        add(spool, 1)
        delivered(sender, 2)
        assert (faults, len(server.keys), server.connections) == ([], 2, 2)


def test_a_connection_that_nobody_uses_is_given_up(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_module, "_IDLE_S", 0.05)
    server = RawServer(list(KEEPS))
    with server.running() as url, sending(spool, url) as (sender, faults):
        add(spool, 0)
        delivered(sender, 1)
        gone: Callable[[], bool] = lambda: sender._link._link is None  # noqa: E731
        wait_for(gone, "the connection to be given up")
        add(spool, 1)
        delivered(sender, 2)
        assert (faults, server.connections) == ([], 2)


@pytest.mark.parametrize("status", [200, 503])
def test_a_pause_is_asked_for_in_a_head_that_is_cut_too(status: int, spool: Spool) -> None:
    """Of a 2xx nobody waits; of the others what came of the head counts."""
    cut = b"HTTP/1.1 %d X\r\nRetry-After: 0.01\r\nX-Cut: " % status
    server = RawServer([cut, Close], list(KEEPS))
    with server.running() as url, sending(spool, url) as (sender, _):
        add(spool, 0)
        delivered(sender, 1)
        assert len(server.keys) == (1 if status == 200 else 2)


def test_a_fault_repeats_no_secret_that_a_server_repeats_and_is_short(spool: Spool, tmp_path: Path) -> None:
    said = b"HTTP/1.1 500 no tk_123456 for hunter2-password at /botSECRET/send?key=qwertz " + b"x" * 5_000
    server = RawServer([said + b"\r\n\r\n", Close])
    with server.running() as url:
        settings = WebhookSettings(
            url=f"{url}/botSECRET/send?key=qwertz",
            headers={"X-Token": "tk_123456"},
            user="anna",
            password="hunter2-password",
        )
        sender = WebhookSender(settings, ReceiverParts("webhook", "porch", "1", spool))
        sender.start()
        add(spool, 0)
        fault = wait_for(lambda: sender.status().fault, "the fault")
        sender.stop(30.0)
    assert fault.startswith("127.0.0.1 answered 500 no *** for *** at /***/")
    assert len(fault) < 250
    for secret in ("tk_123456", "hunter2", "botSECRET", "qwertz"):
        assert secret not in fault
