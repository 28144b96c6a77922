"""The page's server over real sockets: what it answers, and whom it refuses."""

from __future__ import annotations

import configparser
import contextlib
import http.client
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

import galago_edge
from galago_edge.contract.errors import CallerError, DeviceError, LinkError, Reason
from galago_edge.contract.settings import PageSettings
from galago_edge.contract.status import ServiceStatus
from galago_edge.service.page import Page, doorkeeper
from galago_edge.service.page.doorkeeper import Doorkeeper
from test_kit import make_service_status

DEADLINE_S = 30.0
TOKEN = "correct-horse-battery"
PICTURE = b"\xff\xd8 a picture \xff\xd9"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def ask(
    page: Page,
    path: str,
    *,
    method: str = "GET",
    body: str | None = None,
    host: str | None = None,
    **headers: str,
) -> Answer:
    """``Host`` is the page's own address unless given; underscores in other names become dashes."""
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=DEADLINE_S)
    try:
        connection.putrequest(method, path, skip_host=True)
        connection.putheader("Host", f"127.0.0.1:{page.port}" if host is None else host)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders(body.encode() if body is not None else None)
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


Serve = Callable[..., Page]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as pages:

        def start(
            status: Callable[[], ServiceStatus] = make_service_status,
            preview: Callable[[str], bytes | None] = lambda stream: PICTURE if stream == "door" else None,
            **settings: Any,
        ) -> Page:
            return pages.enter_context(Page(PageSettings(port=0, **settings), status, preview))

        yield start


@pytest.fixture
def page(serve: Serve) -> Page:
    return serve()


@pytest.fixture
def locked(serve: Serve) -> Page:
    return serve(host="0.0.0.0", token=TOKEN)


# ---- what it answers


def test_the_page_is_one_file_that_loads_nothing_from_elsewhere(page: Page) -> None:
    answer = ask(page, "/")
    assert answer.status == 200 and answer.headers["content-type"] == "text/html; charset=utf-8"
    text = answer.body.decode()
    assert text.startswith("<!doctype html>")
    outside = re.findall(r"(?:src|href|url\(|fetch\()\s*=?\s*[\"'(]*(https?:|//)", text)
    assert not outside and "<script src" not in text and "@import" not in text


def test_the_pages_own_files_are_part_of_the_distribution() -> None:
    edge = Path(galago_edge.__file__).parents[1]
    parser = configparser.ConfigParser()
    parser.read(edge / "setup.cfg", encoding="utf-8")
    patterns = parser["options.package_data"]["galago_edge"].replace(",", " ").split()
    shipped = {path for pattern in patterns for path in (edge / "galago_edge").glob(pattern)}
    assert {path.name for path in shipped if path.parent.name == "page"} == {"index.html", "login.html"}


def test_the_status_is_told_as_it_is(page: Page) -> None:
    answer = ask(page, "/api/status")
    assert answer.headers["content-type"] == "application/json"
    assert msgspec.json.decode(answer.body, type=ServiceStatus) == make_service_status()


def test_the_metrics_are_read_by_prometheus(page: Page) -> None:
    answer = ask(page, "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    names = {family.name for family in text_string_to_metric_families(answer.body.decode())}
    assert {"galago_state", "galago_stream_events", "galago_source_liveness"} <= names
    opened = ask(page, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert opened.headers["content-type"].startswith("application/openmetrics-text")
    assert opened.body.endswith(b"# EOF\n")


def test_the_rest_works_where_the_metrics_extra_is_missing(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    answer = ask(page, "/metrics")
    assert answer.status == 501 and b"galago-edge[metrics]" in answer.body
    assert ask(page, "/api/status").status == 200


def test_a_preview_is_the_newest_picture_and_nothing_where_there_is_none(page: Page) -> None:
    answer = ask(page, "/preview/door.jpg")
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, "image/jpeg", PICTURE)
    assert (ask(page, "/preview/hall.jpg").status, ask(page, "/preview/.jpg").status) == (204, 204)


def test_many_visitors_of_one_moment_cost_one_picture(serve: Serve) -> None:
    made: list[str] = []

    def preview(stream: str) -> bytes:
        made.append(stream)
        return PICTURE

    page = serve(preview=preview)
    began = time.monotonic()
    for _ in range(10):
        assert ask(page, "/preview/door.jpg").body == PICTURE
        assert ask(page, "/preview/yard.jpg").body == PICTURE
    assert len(made) <= 2 * (1 + (time.monotonic() - began) / 0.5)  # one for each half second at most
    assert {"door", "yard"} == set(made)


def test_names_of_streams_arrive_as_they_are(serve: Serve) -> None:
    asked: list[str] = []
    page = serve(preview=lambda stream: asked.append(stream))
    for path in (
        "/preview/front.door-2.jpg",
        "/preview/a%20b%2Fc.jpg",
        "/preview/%E2%98%83.jpg",
        "/preview/%FF.jpg",
    ):
        assert ask(page, path).status == 204
    assert asked == ["front.door-2", "a b/c", "\u2603", "\ufffd"]


@pytest.mark.parametrize(
    "path", ["/nothing", "/index.html", "/../app.py", "/%2e%2e/app.py", "/preview/door", "/api"]
)
def test_other_paths_are_not_there(path: str, page: Page) -> None:
    assert ask(page, path).status == 404


@pytest.mark.parametrize("path", ["/", "/api/status", "/metrics", "/preview/door.jpg"])
def test_head_is_answered_without_a_body(path: str, page: Page) -> None:
    answer = ask(page, path, method="HEAD")
    assert answer.status == 200 and answer.body == b"" and int(answer.headers["content-length"]) > 0


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_can_be_changed(method: str, page: Page) -> None:
    answer = ask(page, "/api/status", method=method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/", "/api/status", "/metrics", "/nothing", "/login"])
def test_every_answer_forbids_what_a_page_of_ours_never_does(path: str, page: Page) -> None:
    headers = ask(page, path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in headers
    assert "waitress" not in headers.get("server", "")


def test_a_status_that_cannot_be_told_is_an_error_without_its_insides(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> ServiceStatus:
        raise RuntimeError("secret inside")

    page = serve(status=broken)
    answer = ask(page, "/api/status")
    assert answer.status == 500 and b"secret" not in answer.body and b"Traceback" not in answer.body
    assert "secret inside" in caplog.text  # it is for the log
    assert ask(page, "/").status == 200


# ---- who may see it without a token


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:{port}", "127.0.0.1", "127.0.0.1:{port}", "[::1]:{port}", "192.168.1.7"]
)
def test_localhost_and_addresses_are_answered(host: str, page: Page) -> None:
    assert ask(page, "/api/status", host=host.format(port=page.port)).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "",
        "[",
        "a b",
        "localhost:x",
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/status", "/metrics", "/preview/door.jpg", "/login"])
def test_a_name_that_was_pointed_at_this_device_is_refused(host: str, path: str, page: Page) -> None:
    answer = ask(page, path, host=host.format(port=page.port))
    assert answer.status == 421 and b"localhost" in answer.body


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "::1", "[::1]"])
def test_a_loopback_host_needs_no_token(host: str) -> None:
    Page(PageSettings(host=host), make_service_status)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "192.168.1.7", "porch.local", "localhost.example", "127.0.0.1.example"]
)
def test_a_host_that_others_reach_needs_a_token(host: str) -> None:
    with pytest.raises(CallerError, match="no token") as caught:
        Page(PageSettings(host=host), make_service_status)
    assert caught.value.reason is Reason.CONFIG_BAD
    Page(PageSettings(host=host, token=TOKEN), make_service_status)


@pytest.mark.parametrize(
    "token", ["short", "eleven-char", "with spaces in it", "with\nline end it", "ümläut-ümläut"]
)
def test_a_token_that_can_be_guessed_or_not_be_sent_is_refused(token: str) -> None:
    with pytest.raises(CallerError, match="at least 12 printable") as caught:
        Page(PageSettings(token=token), make_service_status)
    assert caught.value.reason is Reason.CONFIG_BAD
    assert token not in str(caught.value)


# ---- who may see it with a token


def cookie_name(page: Page, token: str = TOKEN) -> str:
    return ask(page, f"/?token={token}").headers["set-cookie"].partition("=")[0]


@pytest.mark.parametrize("path", ["/api/status", "/metrics", "/preview/door.jpg", "/nothing"])
def test_without_the_token_nothing_is_told(path: str, locked: Page) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer wrong-horse-battery"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Cookie": f"{cookie_name(locked)}={TOKEN}"},
        {"Cookie": 'a"b,;=; galago'},
    ):
        answer = ask(locked, path, **headers)
        assert answer.status == 401 and answer.headers["www-authenticate"] == "Bearer"
        assert b"porch" not in answer.body and b"galago_" not in answer.body


def test_a_program_sends_the_token_as_bearer(locked: Page) -> None:
    for scheme in ("Bearer", "bearer"):
        assert ask(locked, "/metrics", Authorization=f"{scheme} {TOKEN}").status == 200
    assert ask(locked, "/api/status", host="porch.local", Authorization=f"Bearer {TOKEN}").status == 200


@pytest.mark.parametrize("way", ["link", "form"])
def test_a_browser_gives_the_token_once_and_then_has_a_cookie(way: str, locked: Page) -> None:
    if way == "link":
        entered = ask(locked, f"/?token={TOKEN}")
    else:
        assert b'action="login"' in ask(locked, "/").body
        entered = ask(locked, "/login", method="POST", body=f"token={TOKEN}")
    assert entered.status == 200 and b"refresh" in entered.body
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and TOKEN not in cookie
    name_and_value = cookie.partition(";")[0]
    assert ask(locked, "/api/status", Cookie=f"other=1; {name_and_value}").status == 200
    assert ask(locked, "/api/status", Cookie=name_and_value[:-1] + "_").status == 401


def test_a_new_token_ends_all_cookies(serve: Serve) -> None:
    first = serve(token=TOKEN)
    second = serve(token=TOKEN[::-1])
    cookie = ask(first, f"/?token={TOKEN}").headers["set-cookie"].partition(";")[0].partition("=")[2]
    assert ask(first, "/api/status", Cookie=f"{cookie_name(first)}={cookie}").status == 200
    for name in (cookie_name(first), cookie_name(second, TOKEN[::-1])):
        assert ask(second, "/api/status", Cookie=f"{name}={cookie}").status == 401


def test_no_page_asks_for_an_icon_beside_it(locked: Page) -> None:
    """Behind a path of a proxy, ``/favicon.ico`` is somebody else's."""
    cookie = ask(locked, f"/?token={TOKEN}")
    given = cookie.headers["set-cookie"].partition(";")[0]
    for page in (cookie, ask(locked, "/"), ask(locked, "/", Cookie=given)):
        assert b'<link rel="icon" href="data:' in page.body


def test_two_devices_behind_one_name_do_not_log_each_other_out(serve: Serve) -> None:
    """Through a tunnel both are localhost:8390 to the browser: the second login must leave the first."""
    porch, barn = serve(token=TOKEN), serve(token=TOKEN[::-1])
    jar: dict[str, str] = {}
    for page, token in ((porch, TOKEN), (barn, TOKEN[::-1])):
        name, _, value = ask(page, f"/?token={token}").headers["set-cookie"].partition(";")[0].partition("=")
        jar[name] = value
    cookies = "; ".join(f"{name}={value}" for name, value in jar.items())
    assert ask(porch, "/api/status", Cookie=cookies).status == 200
    assert ask(barn, "/api/status", Cookie=cookies).status == 200


# ---- who may show it in a frame


def test_pages_that_may_show_it_in_a_frame_are_named_and_no_others(serve: Serve) -> None:
    page = serve(frame_ancestors=("'self'", "https://home.example:8123", "http://*.lan"))
    headers = ask(page, "/").headers
    policy = headers["content-security-policy"]
    assert policy.endswith("; frame-ancestors 'self' https://home.example:8123 http://*.lan")
    assert "x-frame-options" not in headers  # older than lists, and stronger


@pytest.mark.parametrize(
    "ancestor",
    [
        "*",
        "'none'",
        "https:",
        "home.example",
        "https://a b",
        "https://a;script-src *",
        "https://a,b",
        "",
        "self",
    ],
)
def test_what_a_browser_would_not_take_for_a_page_is_refused(ancestor: str) -> None:
    with pytest.raises(CallerError, match="frame_ancestors") as caught:
        Page(PageSettings(frame_ancestors=(ancestor,)), make_service_status)
    assert caught.value.reason is Reason.CONFIG_BAD


@pytest.mark.parametrize(
    "body", ["token=wrong-horse-battery", "", "token=", "x" * 5000, "a=1&" * 100, "token=%ff%fe"]
)
def test_a_wrong_token_in_the_form_is_asked_for_again(body: str, locked: Page) -> None:
    answer = ask(locked, "/login", method="POST", body=body)
    assert answer.status == 401 and b"not the token" in answer.body and "set-cookie" not in answer.headers
    assert answer.body.count(b"<script") == 1  # the page's own


@pytest.mark.parametrize("query", ["token=wrong", "token=" + "%00" * 40, "&" * 100 + "a=1&" * 100])
def test_a_wrong_token_in_the_address_is_asked_for_again(query: str, locked: Page) -> None:
    answer = ask(locked, f"/?{query}")
    assert answer.status == 401 and "set-cookie" not in answer.headers


def test_the_token_stands_in_no_answer_and_no_log(locked: Page, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    answers = [
        ask(locked, path) for path in (f"/?token={TOKEN}", "/", "/api/status", f"/nothing?token={TOKEN}")
    ]
    for answer in answers:
        assert TOKEN.encode() not in answer.body and TOKEN not in str(answer.headers)
    assert TOKEN not in caplog.text and TOKEN not in locked.url


def test_without_a_token_the_login_leads_to_the_page(page: Page) -> None:
    answer = ask(page, "/login", method="POST", body="token=x")
    assert (answer.status, answer.headers["location"]) == (303, "./")


# ---- starting, stopping, and clients that misbehave


def test_port_0_takes_a_free_one_and_the_url_says_which(page: Page) -> None:
    assert page.port > 0 and page.url == f"http://127.0.0.1:{page.port}/"


def test_a_host_of_ipv6_works(serve: Serve) -> None:
    try:
        page = serve(host="::1")
    except LinkError as error:
        pytest.skip(f"no IPv6 here: {error}")
    assert page.url == f"http://[::1]:{page.port}/"
    with socket.create_connection(("::1", page.port), timeout=DEADLINE_S) as connection:
        connection.sendall(b"GET /api/status HTTP/1.0\r\nHost: [::1]\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.0 200")


def test_a_taken_port_is_one_line_that_says_what_to_do(page: Page) -> None:
    second = Page(PageSettings(port=page.port), make_service_status)
    with pytest.raises(LinkError, match=f"127.0.0.1 port {page.port}: Address already in use") as caught:
        second.start()
    assert caught.value.reason is Reason.IO and "[page]" in caught.value.hint
    second.stop()
    assert ask(page, "/").status == 200


def test_an_address_of_somebody_else_is_one_line() -> None:
    with pytest.raises(LinkError, match=r"192\.0\.2\.1 port"):
        Page(PageSettings(host="192.0.2.1", port=0, token=TOKEN), make_service_status).start()


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "waitress", None)
    with pytest.raises(DeviceError, match="waitress") as caught:
        Page(PageSettings(port=0), make_service_status).start()
    assert caught.value.reason is Reason.EXTRA_MISSING and "galago-edge[web]" in caught.value.hint


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def own_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name == "page" or t.name.startswith("waitress")]


def test_stopping_closes_the_port_and_ends_the_threads_and_it_can_start_again() -> None:
    page = Page(PageSettings(port=0), make_service_status)
    for _ in range(3):
        page.start()
        assert ask(page, "/").status == 200
        port = page.port
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S):  # one that stays
            page.stop()
        page.stop()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
    wait_until(lambda: not own_threads())


@dataclass
class Slow:
    """A status that takes until it is let go."""

    began: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    def __call__(self) -> ServiceStatus:
        self.began.set()
        assert self.go.wait(DEADLINE_S)
        return make_service_status()


def test_an_answer_that_is_being_made_when_the_page_stops_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    slow = Slow()
    page = Page(PageSettings(port=0), slow)
    page.start()
    with socket.create_connection(("127.0.0.1", page.port), timeout=DEADLINE_S) as connection:
        connection.sendall(b"GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert slow.began.wait(DEADLINE_S)
        stopper = threading.Thread(target=page.stop)
        stopper.start()
        slow.go.set()
        stopper.join(DEADLINE_S)
        assert not stopper.is_alive()
    wait_until(lambda: not own_threads())
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_the_end_never_writes_to_a_file_that_is_closed_already(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop may end by itself between the word to stop and the byte that wakes it."""
    pull, thread = page._server.pull_trigger, page._thread
    assert thread is not None

    def late() -> None:
        pull()  # so the loop ends
        thread.join(0.5)  # and would have closed everything
        pull()

    monkeypatch.setattr(page._server, "pull_trigger", late)
    page.stop()
    assert not thread.is_alive()


LOGIN = b"POST /login HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\x16\x03\x01\x02\x00",
        b"GET /\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET " + b"/x" * 20_000 + b" HTTP/1.1\r\n\r\n",
        LOGIN + b"Content-Length: -5\r\n\r\n",
        LOGIN + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        LOGIN + b"Content-Length: 99999999\r\n\r\n",
    ],
    ids=["nothing", "TLS", "old", "future", "long path", "negative", "bad chunk", "huge"],
)
def test_rubbish_is_refused_and_the_next_visitor_is_served(sent: bytes, page: Page) -> None:
    with (
        contextlib.suppress(ConnectionResetError, BrokenPipeError),  # it may hang up before all is sent
        socket.create_connection(("127.0.0.1", page.port), timeout=DEADLINE_S) as connection,
    ):
        connection.sendall(sent)
        with contextlib.suppress(OSError):  # it has hung up already
            connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        assert answer == b"" or re.match(rb"HTTP/1\.[01] [2-5]\d\d ", answer)
    assert json.loads(ask(page, "/api/status").body)["device"] == "porch"


def test_visitors_who_only_connect_do_not_keep_others_out(page: Page) -> None:
    with ExitStack() as idle:
        for _ in range(20):
            idle.enter_context(socket.create_connection(("127.0.0.1", page.port), timeout=DEADLINE_S))
        assert ask(page, "/api/status").status == 200


def test_a_clock_set_back_does_not_end_the_search_for_idle_connections(page: Page) -> None:
    """waitress looks for them at a wall time; set back by a year, that time does not come."""
    page._server.next_channel_cleanup = time.time() + 365 * 86_400

    def soon() -> bool:
        ask(page, "/api/status")
        return bool(page._server.next_channel_cleanup < time.time() + 3_600)

    wait_until(soon)


# ---- connections that never finish asking


def connected(page: Page) -> socket.socket:
    return socket.create_connection(("127.0.0.1", page.port), timeout=DEADLINE_S)


class Drip:
    """Many connections that send one byte after another, and begin again when they are closed."""

    def __init__(self, page: Page, number: int) -> None:
        self._page = page
        self._open = [connected(page) for _ in range(number)]
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.closed = 0

    def __enter__(self) -> Drip:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        for one in self._open:
            one.close()

    def _run(self) -> None:
        while not self._stopping.wait(0.02):
            for place, one in enumerate(self._open):
                try:
                    one.send(b"x")
                except OSError:
                    one.close()
                    self.closed += 1
                    self._open[place] = connected(self._page)


@pytest.mark.parametrize("number", [80, 300])
def test_eighty_dripping_connections_do_not_keep_a_user_out(number: int, page: Page) -> None:
    """All come from one address, as behind a proxy on this device."""
    with Drip(page, number) as drip:
        for _ in range(5):
            assert ask(page, "/").status == 200 and ask(page, "/api/status").status == 200
        wait_until(lambda: drip.closed > 20)
        assert ask(page, "/api/status").status == 200


def test_a_request_that_drips_is_closed_after_its_time_and_one_that_came_in_pieces_is_answered(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorkeeper, "REQUEST_S", 0.5)
    with connected(page) as slow, connected(page) as dripping:
        for piece in (b"GET /api/status HT", b"TP/1.1\r\nHost: local", b"host\r\n\r\n"):
            slow.sendall(piece)
            time.sleep(0.05)
        assert slow.recv(100).startswith(b"HTTP/1.1 200")
        dripping.settimeout(0.05)
        began = time.monotonic()
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            while time.monotonic() - began < DEADLINE_S:
                dripping.send(b"x")
                with contextlib.suppress(TimeoutError):
                    if dripping.recv(100) == b"":
                        break
        assert time.monotonic() - began < DEADLINE_S


def test_a_few_requests_in_one_piece_are_all_answered(page: Page) -> None:
    with connected(page) as connection:
        asked = doorkeeper.AT_ONCE * b"HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
        connection.sendall(asked + b"GET /api/status HTTP/1.1\r\n")
        answers = b""
        while answers.count(b"HTTP/1.1 200 OK") < doorkeeper.AT_ONCE:
            more = connection.recv(1 << 16)
            assert more
            answers += more


class Channel:
    """A connection as waitress has it."""

    def __init__(self, address: str) -> None:
        self.addr = (address, 50_000)
        self.request: object | None = None
        self.requests: list[object] = []
        self.will_close = False
        self.total_outbufs_len = 0

    def handle_close(self) -> None:
        assert self.will_close


def come(door: Doorkeeper, address: str, number: int = 1) -> list[Channel]:
    found = [Channel(address) for _ in range(number)]
    for channel in found:
        door.came(channel)
    return found


def test_one_address_has_so_many_connections_and_its_oldest_goes() -> None:
    door = Doorkeeper(clock_s=iter(range(1_000)).__next__)
    (friend,) = come(door, "192.168.1.20")
    crowd = come(door, "192.168.1.66", doorkeeper.PER_ADDRESS)
    assert not any(one.will_close for one in crowd)
    crowd[0].requests = [object()]  # it is being answered
    come(door, "192.168.1.66")
    assert [one.will_close for one in crowd[:3]] == [False, True, False] and not friend.will_close


def test_when_all_places_are_taken_the_largest_crowd_gives_one_up() -> None:
    door = Doorkeeper(clock_s=iter(range(1_000)).__next__)
    friends = come(door, "192.168.1.20", 3)
    crowd = come(door, "127.0.0.1", doorkeeper.CONNECTIONS - 3)  # a proxy: no limit of its own
    come(door, "192.168.1.21")
    assert [one.will_close for one in crowd[:2]] == [True, False]
    assert not any(one.will_close for one in friends)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.168.1.5", "192.168.1.5", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
    ],
)
def test_an_address_of_ipv6_is_its_network(one: str, other: str, same: bool) -> None:
    door = Doorkeeper()
    first = come(door, one)[0]
    come(door, other, doorkeeper.PER_ADDRESS)
    assert first.will_close is same


def test_who_asks_and_waits_is_sent_away_later_than_who_never_finishes_asking() -> None:
    now = 0.0
    door = Doorkeeper(clock_s=lambda: now)
    asked, dripping = come(door, "192.168.1.5", 2)
    door.heard(asked)
    dripping.request = object()
    door.heard(dripping)
    now = doorkeeper.REQUEST_S
    door.look()
    assert (asked.will_close, dripping.will_close) == (False, True)
    now = doorkeeper.IDLE_S
    door.look()
    assert asked.will_close


def test_an_answer_that_is_taken_slowly_is_no_idle_connection_and_one_that_is_left_lying_is() -> None:
    now = 0.0
    door = Doorkeeper(clock_s=lambda: now)
    slow, left = come(door, "192.168.1.5", 2)
    for one in (slow, left):
        door.heard(one)
        one.total_outbufs_len = 1_000_000
    door.look()
    for _ in range(10):
        now += doorkeeper.IDLE_S / 2
        slow.total_outbufs_len -= 1_000
        door.look()
    assert (slow.will_close, left.will_close) == (False, True)
