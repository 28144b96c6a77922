"""Records to a real web server that fails, is slow, drips, refuses, goes away and comes back."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.records import EventRecord, GapRecord
from galago_edge.contract.status import SinkStatus
from galago_edge.sinks import Outbox
from galago_edge.sinks.kinds import webhook_sink as webhook_module
from galago_edge.sinks.sink_tables import settings_of
from real_parts import Broker, WebhookServer, wait_for
from real_parts.processes import DEADLINE_S

OpenOutbox = Callable[..., Outbox]


@pytest.fixture
def outbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenOutbox]:
    """Returns what starts an outbox towards an address; all are stopped after the test."""
    monkeypatch.setattr(webhook_module, "_FIRST_PAUSE_S", 0.02)
    opened: list[Outbox] = []

    def start(url: str, *, mqtt: dict[str, Any] | None = None, **options: Any) -> Outbox:
        given = {"url": url, "backoff_max_s": 0.1, "timeout_s": DEADLINE_S} | options
        tables: dict[str, Any] = {"stream": [{"name": "hall", "source": "x"}], "webhook": given}
        box = Outbox(settings_of(tables | ({"mqtt": mqtt} if mqtt else {})), tmp_path, "porch")
        box.start()
        opened.append(box)
        return box

    yield start
    for box in opened:
        box.stop(0.0)


def event(number: int) -> EventRecord:
    return EventRecord(
        stream="hall", seq=number, label="smoke", score=0.9, start_index=0, end_index=1, start_ns=0, end_ns=1,
        bundle="b", backend="cpu",
    )  # fmt: skip


def status(box: Outbox, name: str = "webhook") -> SinkStatus:
    return next(each for each in box.status() if each.name == name)


def numbers(webhook: WebhookServer) -> list[int]:
    return [request.json()["seq"] for request in webhook.accepted()]


def test_events_are_posted_in_order_each_with_its_key(webhook: WebhookServer, outbox: OpenOutbox) -> None:
    box = outbox(webhook.url, headers={"Authorization": "Bearer secret"})
    box.emit([event(number) for number in range(50)])
    box.emit([GapRecord(stream="hall", from_ns=0, to_ns=1, cause="drop")])  # not among the kinds
    box.emit([event(50)])
    requests = webhook.wait_for(51)
    assert numbers(webhook) == list(range(51))
    first = requests[0]
    assert first.path == "/events"
    assert first.headers["content-type"] == "application/json"
    assert first.headers["authorization"] == "Bearer secret"
    assert first.headers["galago-device"] == "porch"
    assert first.key == first.json()["key"] and first.key.startswith("porch-")
    assert len({request.key for request in requests}) == 51
    wait_for(lambda: status(box).pending == 0, "the last acknowledgement")


@pytest.mark.parametrize("code", [500, 503, 429, 408, 301, 401, 404])
def test_a_server_that_cannot_take_it_now_gets_the_same_request_until_it_can(
    webhook: WebhookServer, outbox: OpenOutbox, code: int
) -> None:
    webhook.status = code
    box = outbox(webhook.url)
    box.emit([event(0), event(1)])
    wait_for(lambda: len(webhook.requests) > webhook_module._TRIES + 2, "many tries")
    assert str(code) in status(box).fault
    assert status(box).state == ("failed" if code in (301, 401, 404) else "retrying")
    webhook.status = 201
    webhook.wait_for(2)
    assert numbers(webhook) == [0, 1]
    assert len({request.key for request in webhook.requests}) == 2
    wait_for(lambda: status(box).state == "ok" and status(box).pending == 0, "the fault to be over")
    assert status(box).lost == 0


def test_a_server_is_asked_again_only_after_the_time_it_asks_for(
    webhook: WebhookServer, outbox: OpenOutbox
) -> None:
    webhook.status, webhook.headers = 429, {"Retry-After": "1"}
    box = outbox(webhook.url)
    box.emit([event(0)])
    wait_for(lambda: len(webhook.requests) >= 2, "the second try")
    first, second, *_ = webhook.requests
    assert second.at_s - first.at_s > 0.8
    webhook.status = 200
    webhook.wait_for(1)


def test_a_record_that_the_server_refuses_is_given_up_with_the_reason_and_the_next_one_follows(
    webhook: WebhookServer, outbox: OpenOutbox
) -> None:
    webhook.status = 422
    box = outbox(webhook.url)
    box.emit([event(0)])
    wait_for(lambda: status(box).lost == 1, "the record to be given up")
    assert len(webhook.requests) == webhook_module._TRIES
    assert "422" in status(box).fault and webhook.requests[0].key in status(box).fault
    webhook.status = 200
    box.emit([event(1)])
    webhook.wait_for(1)
    assert numbers(webhook) == [1]


def test_a_slow_server_is_left_after_the_timeout_and_never_holds_up_mqtt(
    webhook: WebhookServer, broker: Broker, outbox: OpenOutbox
) -> None:
    webhook.delay_s = 60.0
    box = outbox(webhook.url, timeout_s=0.5, mqtt={"host": "127.0.0.1", "port": broker.port})
    box.emit([event(number) for number in range(20)])
    wait_for(lambda: status(box, "mqtt").delivered == 20, "the broker to have all")
    wait_for(lambda: status(box).state == "retrying", "the timeout")
    assert status(box).pending == 20
    webhook.delay_s = 0.0
    wait_for(lambda: set(range(20)) <= set(numbers(webhook)), "all at the web server")


def test_a_server_that_drips_is_left_after_the_timeout_too(outbox: OpenOutbox) -> None:
    """Each byte comes in time, the answer never."""
    stopping = threading.Event()
    tries: list[float] = []

    def drip(server: socket.socket) -> None:
        server.settimeout(0.05)
        while not stopping.is_set():
            try:
                connection, _ = server.accept()
            except TimeoutError:
                continue
            tries.append(time.monotonic())
            with connection:
                while not stopping.wait(0.05):
                    try:
                        connection.sendall(b"H" if len(tries) % 2 else b"HTTP/1.1 103 Hints\r\nX: ")
                    except OSError:
                        break

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        try:
            box = outbox(f"http://127.0.0.1:{server.getsockname()[1]}/", timeout_s=0.4)
            box.emit([event(0)])
            wait_for(lambda: len(tries) >= 3, "three tries")
            assert "in time" in status(box).fault or "timed out" in status(box).fault
            assert status(box).delivered == 0
        finally:
            stopping.set()
            thread.join()


@pytest.mark.parametrize(
    "answer",
    [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 20", b"HTTP/1.1 999999 ?\r\n\r\n"],
    ids=["hangs up", "no HTTP", "half a status", "no status"],
)
def test_an_answer_that_is_none_is_no_acknowledgement(outbox: OpenOutbox, answer: bytes) -> None:
    stopping = threading.Event()
    tries = 0

    def serve(server: socket.socket) -> None:
        nonlocal tries
        server.settimeout(0.05)
        while not stopping.is_set():
            try:
                connection, _ = server.accept()
            except TimeoutError:
                continue
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)
            tries += 1

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        try:
            box = outbox(f"http://127.0.0.1:{server.getsockname()[1]}/")
            box.emit([event(0)])
            wait_for(lambda: tries >= 3, "three tries")
            assert (status(box).delivered, status(box).pending) == (0, 1)
            assert status(box).state == "retrying" and status(box).fault
        finally:
            stopping.set()
            thread.join()


def test_a_server_that_goes_away_and_comes_back_gets_every_event_once(
    webhook: WebhookServer, outbox: OpenOutbox
) -> None:
    box = outbox(webhook.url)
    box.emit([event(number) for number in range(20)])
    webhook.wait_for(20)
    webhook.stop()
    box.emit([event(number) for number in range(20, 40)])
    wait_for(lambda: status(box).state == "retrying", "the fault")
    webhook.start()
    wait_for(lambda: status(box).pending == 0, "all to be delivered")
    assert list(dict.fromkeys(numbers(webhook))) == list(range(40))


def test_a_name_that_does_not_exist_is_a_fault_that_is_told(outbox: OpenOutbox) -> None:
    box = outbox("http://no-such-host.invalid/events")
    box.emit([event(0)])
    wait_for(lambda: status(box).fault.startswith("no-such-host.invalid: "), "the fault")
    assert (status(box).state, status(box).pending) == ("retrying", 1)


@pytest.mark.parametrize(
    "options",
    [
        {"url": "http:///events"},
        {"url": "http://user:hunter2@host/"},
        {"url": "http://host:99999/"},
        {"headers": {"X": "two\r\nlines"}},
        {"headers": {"": "none"}},
    ],
    ids=str,
)
def test_an_address_or_header_that_cannot_be_one_is_refused_at_the_start(
    outbox: OpenOutbox, options: dict[str, Any]
) -> None:
    with pytest.raises(CallerError) as caught:
        outbox(**({"url": "http://127.0.0.1/"} | options))
    assert caught.value.reason is Reason.CONFIG_BAD
    assert "hunter2" not in str(caught.value)


def test_user_and_password_are_sent_as_they_stand_in_the_file_and_read_again_when_refused(
    webhook: WebhookServer, outbox: OpenOutbox, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    box = outbox(webhook.url, user="anna", password_file=str(file))
    box.emit([event(0)])
    wait_for(lambda: status(box).state == "failed", "the missing file to be told")
    assert "password_file" in status(box).fault and not webhook.requests
    webhook.status = 401
    file.write_text("wrong#secret\n")
    wait_for(lambda: "401" in status(box).fault, "the refusal")
    file.write_text("ü:p@ss/w%rd\r\n", encoding="utf-8")
    right = "Basic " + base64.b64encode("anna:ü:p@ss/w%rd".encode()).decode()
    wait_for(lambda: webhook.requests[-1].headers["authorization"] == right, "the new password")
    webhook.status = 200
    assert webhook.wait_for(1)[0].headers["authorization"] == right
    assert "secret" not in status(box).fault
