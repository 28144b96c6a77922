"""What one webhook does with each answer, over loopback and without anything else of the service."""

from __future__ import annotations

import http.client
import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.sinks.consumer import Delivery
from galago_edge.sinks.kinds import webhook_sink as webhook_module
from galago_edge.sinks.kinds.webhook_sink import WebhookSender, WebhookSettings
from galago_edge.sinks.sink_kind import ReceiverParts
from galago_edge.sinks.spool import Entry, Spool
from real_parts import OwnCertificate, wait_for

ANY_BODY = 65_536
"""So much of an answer is read."""


class Server:
    """Answers as its script says, the last line for ever: status, headers, length of the body."""

    def __init__(self, *script: tuple[int, dict[str, str], int]) -> None:
        self.script = list(script) or [(200, {}, 0)]
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.connections = 0
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                owner.connections += 1

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                owner.requests.append((self.path, dict(self.headers.items()), body))
                place = min(len(owner.requests), len(owner.script)) - 1
                status, headers, length = owner.script[place]
                self.send_response_only(status)
                for name, value in ({"Content-Length": str(length)} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                try:
                    self.wfile.write(b"x" * length)
                except OSError:
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # the sender has hung up

        self.http = Quiet(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator[Server]:
        self.thread.start()
        try:
            yield self
        finally:
            self.http.shutdown()
            self.thread.join()
            self.http.server_close()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path, "porch", {"webhook": ("event",)}, max_bytes=1 << 20, sync_s=5.0)
    opened.lock()
    opened.load()
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_module, "_FIRST_PAUSE_S", 0.01)


def sender_of(spool: Spool, **settings: object) -> WebhookSender:
    parts = ReceiverParts("webhook", "porch", "1.2.3", spool)
    return WebhookSender(WebhookSettings(**settings), parts)  # type: ignore[arg-type]


@contextmanager
def sending(spool: Spool, url: str, records: int = 1, **settings: object) -> Iterator[WebhookSender]:
    """A sender with so many records to deliver."""
    sender = sender_of(spool, **{"url": url, "backoff_max_s": 0.02, "timeout_s": 30.0} | settings)
    sender.start()
    add(spool, *range(records))
    try:
        yield sender
    finally:
        sender.stop(30.0)


def add(spool: Spool, *numbers: int) -> None:
    for number in numbers:
        spool.append([Entry("event", b'{"n":%d}\n' % number, synced=True)])


def delivered(sender: WebhookSender, count: int) -> None:
    wait_for(lambda: sender.status().delivered == count, f"{count} delivered records")


@pytest.mark.parametrize(
    ("path", "asked"), [("", "/"), ("/", "/"), ("/a/b", "/a/b"), ("/a?b=c&d", "/a?b=c&d"), ("?b=c", "/?b=c")]
)
def test_the_whole_path_of_the_address_is_asked_for(path: str, asked: str, spool: Spool) -> None:
    with Server().running() as server, sending(spool, server.url + path) as sender:
        delivered(sender, 1)
        assert server.requests[0][0] == asked


def test_a_request_says_who_sends_it_and_what_it_is(spool: Spool) -> None:
    with (
        Server().running() as server,
        sending(spool, server.url, headers={"X-Site": "hall", "User-Agent": "mine"}) as sender,
    ):
        delivered(sender, 1)
        _, headers, body = server.requests[0]
        assert headers["Content-Type"] == "application/json"
        assert headers["Galago-Device"] == "porch"
        assert (headers["X-Site"], headers["User-Agent"]) == ("hall", "mine")  # the operator's word counts
        assert body.startswith(b'{"n":0') and headers["Idempotency-Key"].encode() in body


def test_a_request_says_by_which_version_it_is_sent(spool: Spool) -> None:
    with Server().running() as server, sending(spool, server.url) as sender:
        delivered(sender, 1)
        assert server.requests[0][1]["User-Agent"] == "galago-edge/1.2.3"


def test_one_connection_carries_all_records(spool: Spool) -> None:
    with Server((200, {}, 10)).running() as server, sending(spool, server.url, records=20) as sender:
        delivered(sender, 20)
        assert (len(server.requests), server.connections) == (20, 1)
        add(spool, 20)  # and one that comes later
        delivered(sender, 21)
        assert server.connections == 1


def test_a_sender_that_has_nothing_to_send_does_not_ask_again_and_again(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    read = spool.read

    def counted(name: str, limit: int) -> list[Delivery]:
        asked.append(limit)
        return read(name, limit)

    monkeypatch.setattr(spool, "read", counted)
    with Server().running() as server, sending(spool, server.url, records=2) as sender:
        delivered(sender, 2)
        threading.Event().wait(0.1)  # however long: it sleeps until the bell rings
        add(spool, 2)
        delivered(sender, 3)
    # one by one; after each of the two times that nothing was left, and for bells that had rung before
    assert len(asked) <= 12
    assert set(asked) == {1}


def test_a_server_that_closes_after_each_answer_is_connected_to_again_without_a_fault(spool: Spool) -> None:
    script = (200, {"Connection": "close"}, 0)
    with Server(script).running() as server, sending(spool, server.url, records=3) as sender:
        delivered(sender, 3)
        assert (len(server.requests), server.connections) == (3, 3)
        assert sender.status().state == "ok"


@pytest.mark.parametrize(("length", "connections"), [(ANY_BODY, 1), (ANY_BODY + 1, 2), (10 * ANY_BODY, 2)])
def test_an_answer_that_is_too_long_counts_but_ends_its_connection(
    length: int, connections: int, spool: Spool
) -> None:
    script = ((200, {}, length), (200, {}, 0))
    with Server(*script).running() as server, sending(spool, server.url, records=2) as sender:
        delivered(sender, 2)
        assert (len(server.requests), server.connections) == (2, connections)


@pytest.mark.parametrize(
    ("status", "taken"), [(200, True), (201, True), (299, True), (300, False), (500, False)]
)
def test_only_the_two_hundreds_acknowledge(status: int, taken: bool, spool: Spool) -> None:
    with Server((status, {}, 0)).running() as server, sending(spool, server.url) as sender:
        if taken:
            delivered(sender, 1)
            assert (sender.status().state, sender.status().fault, len(server.requests)) == ("ok", "", 1)
        else:
            wait_for(lambda: len(server.requests) > 6, "the record to be tried again and again")
            assert (sender.status().state, sender.status().delivered) == ("retrying", 0)
            assert sender.status().fault.startswith(f"127.0.0.1 answered {status} ")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 401, 403, 404, 405, 410])
def test_a_wrong_address_or_password_needs_a_person_and_loses_nothing(status: int, spool: Spool) -> None:
    with Server((status, {}, 0)).running() as server, sending(spool, server.url) as sender:
        wait_for(lambda: len(server.requests) > 6, "the record to be tried again and again")
        assert sender.status().state == "failed"
        assert (sender.status().pending, sender.status().lost) == (1, 0)


@pytest.mark.parametrize("status", [400, 409, 413, 415, 422, 431])
def test_a_record_is_given_up_when_it_was_refused_five_times_in_a_row(status: int, spool: Spool) -> None:
    no, yes = (status, {}, 0), (200, {}, 0)
    with Server(no, no, no, no, no, yes).running() as server, sending(spool, server.url) as sender:
        wait_for(lambda: sender.status().lost == 1, "the record to be given up")
        key = server.requests[0][1]["Idempotency-Key"]
        assert len(server.requests) == 5
        assert sender.status().fault == (
            f"127.0.0.1 answered {status} {http.client.responses[status]} to record {key} 5 times;"
            " it is given up"
        )
        assert (sender.status().pending, sender.status().delivered) == (0, 0)
        add(spool, 1)
        delivered(sender, 1)
        assert len(server.requests) == 6


def test_each_record_has_five_tries_of_its_own(spool: Spool) -> None:
    no, yes = (422, {}, 0), (200, {}, 0)
    script = (no, no, no, no, yes, no, no, no, no, yes)
    with Server(*script).running() as server, sending(spool, server.url, records=2) as sender:
        delivered(sender, 2)
        assert (len(server.requests), sender.status().lost) == (10, 0)


@pytest.mark.parametrize(
    ("header", "rests"),
    [("0", []), ("7", [7.0]), ("300", [300.0]), ("301", [300.0]), ("9" * 400, [300.0])]
    + [("1.5", [1.5]), ("0.25", [0.25]), (".5", [0.5]), ("2.", [2.0])]
    + [("Fri, 31 Dec 2027 23:59:59 GMT", [300.0]), ("Thu, 31 Dec 1998 23:59:59 GMT", [])]
    + [("Thu, 01 Jan 2009 00:00:45 GMT", [45.0]), ("Thursday, 01-Jan-09 00:00:45 GMT", [45.0])]
    + [(odd, []) for odd in ("", "-1", "1e3", "nan", "inf", "soon", "31 Feb 2009", "\xb2")],
)
def test_a_server_may_ask_for_a_pause_in_seconds_or_until_a_date_by_its_own_clock_up_to_five_minutes(
    header: str, rests: list[float], spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rested: list[float] = []
    waiting = WebhookSender._rest

    def rest(sender: WebhookSender, pause_s: float) -> None:
        rested.append(pause_s)
        waiting(sender, 0.0)

    monkeypatch.setattr(WebhookSender, "_rest", rest)
    clock = {"Date": "Thu, 01 Jan 2009 00:00:00 GMT"}  # years from what the clock here says
    script = ((503, clock | {"Retry-After": header}, 0), (200, {}, 0))
    with Server(*script).running() as server, sending(spool, server.url) as sender:
        delivered(sender, 1)
        # the last one is the sender's own, which follows every fault
        assert rested[:-1] == rests
        assert rested[-1] <= 0.02


def test_pauses_between_tries_start_over_after_a_success(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rested: list[float] = []
    monkeypatch.setattr(WebhookSender, "_rest", lambda sender, pause_s: rested.append(pause_s))
    no, yes = (503, {}, 0), (200, {}, 0)
    with (
        Server(no, no, no, yes, no, yes).running() as server,
        sending(spool, server.url, records=2, backoff_max_s=1_000.0) as sender,
    ):
        delivered(sender, 2)
    # doubling, each up to a fifth shorter
    assert len(rested) >= 4
    assert 0.01 >= rested[0] >= 0.008 and 0.04 >= rested[2] >= 0.032
    assert 0.01 >= rested[3] >= 0.008


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url": "http://:80/"}, "url has no host"),
        ({"url": "http://user@127.0.0.1/"}, "takes no password"),
        ({"url": "http://127.0.0.1:port/"}, "url cannot be taken apart"),
        ({"url": "http://127.0.0.1/", "headers": {"X": "\u20ac"}}, "headers: "),
        ({"url": "http://127.0.0.1/", "headers": {"": "1"}}, "headers: "),
        (
            {"url": "http://127.0.0.1/", "headers": {"X": "hunter2\n"}},
            "headers: .X. or its value cannot be sent in a header$",
        ),
    ],
)
def test_what_cannot_be_an_address_or_a_header_is_refused_at_the_start(
    options: dict[str, object], said: str, spool: Spool
) -> None:
    with pytest.raises(CallerError, match=said) as caught:
        sender_of(spool, **options)
    assert caught.value.reason is Reason.CONFIG_BAD


@contextmanager
def encrypted(certificate: OwnCertificate) -> Iterator[Server]:
    """A server of a house: its certificate is its own."""
    server = Server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.path)
    server.http.socket = context.wrap_socket(
        server.http.socket, server_side=True, do_handshake_on_connect=False
    )
    with server.running():
        yield server


def test_a_server_with_a_certificate_of_its_own_is_trusted_by_its_authority_or_its_fingerprint(
    spool: Spool, tmp_path: Path
) -> None:
    ours, other = OwnCertificate.make(tmp_path), OwnCertificate.make(tmp_path)
    with encrypted(ours) as server:
        url = server.url.replace("http:", "https:")
        with sending(spool, url) as sender:
            wait_for(lambda: "certificate" in sender.status().fault, "the certificate to be refused")
            assert sender.status().state == "failed" and not server.requests
        with sending(spool, url, 0, fingerprint=other.fingerprint) as sender:
            wait_for(lambda: other.fingerprint in sender.status().fault, "the other one to be named")
            assert sender.status().state == "failed" and ours.fingerprint in sender.status().fault
        with sending(spool, url, 0, ca_file=str(ours.path)) as sender:
            delivered(sender, 1)
        with sending(spool, url, fingerprint=ours.fingerprint) as sender:
            delivered(sender, 2)
        assert len(server.requests) == 2


def test_the_doctor_asks_the_server_with_the_same_trust(tmp_path: Path) -> None:
    certificate = OwnCertificate.make(tmp_path)
    with encrypted(certificate) as server:
        url = server.url.replace("http:", "https:")
        for trust, level in (({}, "fail"), ({"ca_file": str(certificate.path)}, "ok")):
            assert webhook_module.SINK.check is not None
            (found,) = webhook_module.SINK.check(WebhookSettings(url=url, **trust))
            assert found.level == level, found


@pytest.mark.parametrize(
    ("url", "ca_file", "said"),
    [
        ("http://127.0.0.1/", "/etc/hostname", "this url encrypts nothing"),
        ("https://127.0.0.1/", "/etc/hostname", "ca_file /etc/hostname is no certificate"),
        ("https://127.0.0.1/", "/nowhere/ca.pem", "ca_file /nowhere/ca.pem is no certificate: No such file"),
    ],
)
def test_a_file_that_is_no_authority_is_told_at_the_start(
    url: str, ca_file: str, said: str, spool: Spool
) -> None:
    with pytest.raises(CallerError, match=said) as caught:
        sender_of(spool, url=url, ca_file=ca_file)
    assert caught.value.reason == Reason.CONFIG_BAD
