"""Pictures and sounds of events on their way to webhooks and programs: whole, last, and never in the way."""

from __future__ import annotations

import contextlib
import email.parser
import email.policy
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from galago_edge.contract.attachment import attachment_name
from galago_edge.contract.errors import CallerError
from galago_edge.contract.records import AttachmentRecord, decode_record, encode_record
from galago_edge.contract.settings import AttachmentsSettings
from galago_edge.service.configuration import read_config
from galago_edge.sinks import multipart_body as multipart_module
from galago_edge.sinks.attached_file import AttachedFiles
from galago_edge.sinks.delivery_order import DeliveryOrder
from galago_edge.sinks.kinds import program_sink, webhook_sink
from galago_edge.sinks.kinds.program_sink import ProgramSender, ProgramSettings
from galago_edge.sinks.kinds.webhook_sink import WebhookSender, WebhookSettings
from galago_edge.sinks.multipart_body import Part, multipart_body
from galago_edge.sinks.record_filter import Subject
from galago_edge.sinks.sink_kind import ReceiverParts
from galago_edge.sinks.spool import Entry, Spool
from real_parts import WebhookServer, wait_for

BESIDE = "sink+attachments"
KINDS = ("event", "state", "gap", "attachment")
JPEG = b"\xff\xd8" + bytes(range(256)) * 20 + b"\r\n--galago\r\n"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_sink, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(program_sink, "_FIRST_PAUSE_S", 0.01)


class Store:
    """A store's folder with attachments in it, and a spool with their records."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "attachments").mkdir(exist_ok=True)
        rows = {"sink": KINDS[:3], BESIDE: KINDS[3:]}
        self.spool = Spool(root / "spool", "porch", rows, max_bytes=1 << 22, sync_s=5.0)
        self.spool.lock()
        self.spool.load()

    @property
    def parts(self) -> ReceiverParts:
        attached = AttachedFiles(self.root, AttachmentsSettings())
        return ReceiverParts("sink", "porch", "1.2.3", self.spool, attached=attached, attachments=BESIDE)

    def path(self, number: int, sound: bool = False) -> Path:
        name = attachment_name(
            1_795_348_980_123_000_000, "hall", number, "audio/wav" if sound else "image/jpeg"
        )
        return self.root / "attachments" / name

    def attach(self, number: int, content: bytes = JPEG, *, sound: bool = False, **changes: Any) -> None:
        path = self.path(number, sound)
        path.write_bytes(content)
        record = AttachmentRecord(
            stream="hall", seq=number, label="smoke", start_index=0, end_index=1, start_ns=0, end_ns=1,
            media_type="audio/wav" if sound else "image/jpeg", file=path.name, bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(), from_ns=0, to_ns=1, wall_ns=1_795_349_926_372_714_733,
            clock_synced=True,
        )  # fmt: skip
        line = encode_record(msgspec.structs.replace(record, **changes))
        self.spool.append([Entry("attachment", line, synced=True)])

    def event(self, number: int) -> None:
        line = b'{"v":1,"kind":"event","stream":"hall","seq":%d,"label":"smoke","score":0.9}\n' % number
        self.spool.append([Entry("event", line, synced=True)])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.spool.close()


@contextlib.contextmanager
def sending(store: Store, url: str, **settings: Any) -> Iterator[WebhookSender]:
    table = {"url": url, "backoff_max_s": 0.02, "timeout_s": 30.0, "attachments": True} | settings
    sender = WebhookSender(msgspec.convert(table, WebhookSettings), store.parts)
    sender.start()
    try:
        yield sender
    finally:
        sender.stop(30.0)


@pytest.fixture
def server() -> Iterator[WebhookServer]:
    made = WebhookServer().start()
    yield made
    made.stop()


def fields(headers: dict[str, str], body: bytes) -> dict[str, Any]:
    """The parts of a form by their name, as the standard library's parser for mail sees them."""
    head = f"Content-Type: {headers['content-type']}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    return {part.get_param("name", header="content-disposition"): part for part in message.iter_parts()}


# ---- in which order


def order_of(store: Store, **options: Any) -> DeliveryOrder:
    order = DeliveryOrder(store.spool, "sink", beside=BESIDE, **options)
    order.begin()
    return order


def drained(order: DeliveryOrder) -> list[tuple[str, int]]:
    found = []
    while (delivery := order.next()) is not None:
        found.append((delivery.kind, json.loads(delivery.line)["seq"]))
        order.done(delivery)
    return found


def test_an_attachment_waits_while_anything_else_is_to_be_delivered(store: Store) -> None:
    store.event(0)
    store.attach(0)
    store.attach(1)
    store.event(1)
    store.event(2)
    order = order_of(store)
    assert drained(order) == [
        ("event", 0),
        ("event", 1),
        ("event", 2),
        ("attachment", 0),
        ("attachment", 1),
    ]
    assert [store.spool.consumer(row).pending for row in ("sink", BESIDE)] == [0, 0]
    assert [store.spool.consumer(row).delivered for row in ("sink", BESIDE)] == [3, 2]


def test_however_many_attachments_wait_an_alarm_passes_them_all(store: Store) -> None:
    for number in range(1_100):
        store.attach(number)
    order = order_of(store)
    picture = order.next()
    assert picture is not None and picture.kind == "attachment"
    for number in range(3):
        store.event(number)
        alarm = order.next()
        assert alarm is not None and alarm.kind == "event"
        order.done(alarm)
        order.failed(picture, 0.0, refused=False)
        picture = order.next()
        assert picture is not None and picture.kind == "attachment"


def test_what_was_delivered_before_an_older_attachment_is_not_sent_again_over_a_restart(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path)
    store.attach(0)
    store.event(0)
    order = order_of(store)
    event = order.next()
    assert event is not None and event.kind == "event"
    order.done(event)
    store.event(7)
    refused = order.next()
    assert refused is not None
    order.done(refused, refused=True)
    assert (store.spool.consumer("sink").delivered, store.spool.consumer("sink").lost) == (1, 1)
    store.spool.close()
    again = Store(tmp_path)
    again.event(1)
    assert drained(order_of(again)) == [("event", 1), ("attachment", 0)]
    again.spool.close()


def test_what_is_lost_is_told_once_whatever_waits_in_two_rows(store: Store) -> None:
    store.spool.miss({Subject("event", "hall", "smoke"): 2})
    store.attach(0)
    order = order_of(store)
    told = order.next()
    assert told is not None and told.kind == "state" and json.loads(told.line)["detail"]["lost"] == 2
    order.done(told)
    assert drained(order) == [("attachment", 0)]


def test_one_attachment_at_a_time_is_on_its_way_and_a_pause_holds_only_attachments_up(store: Store) -> None:
    now = 100.0
    order = order_of(store, monotonic=lambda: now)
    store.attach(0)
    store.attach(1)
    first = order.next()
    assert first is not None and order.next() is None and order.on_the_way == 1
    assert not order.failed(first, 5.0, refused=True)
    store.event(0)
    event = order.next()
    assert event is not None and event.kind == "event" and order.next() is None and order.pause_s == 5.0
    now = 105.0
    again = order.next()
    assert again is not None and again.key == first.key


def test_what_arrived_behind_a_waiting_attachment_takes_no_place_on_the_way(store: Store) -> None:
    order = order_of(store)
    store.attach(0)
    for number in range(50):
        store.event(number)
        delivery = order.next()
        assert delivery is not None and order.on_the_way == 1
        order.done(delivery)
    assert order.on_the_way == 0


def attempts(order: DeliveryOrder, **how: bool) -> bool:
    delivery = order.next()
    assert delivery is not None and delivery.kind == "attachment"
    return order.failed(delivery, 0.0, **how)


def test_a_receiver_that_takes_nothing_at_all_is_no_fault_of_an_attachment_for_an_hour(store: Store) -> None:
    now = 0.0
    order = order_of(store, monotonic=lambda: now)
    store.attach(0)
    store.attach(1)
    assert not any(attempts(order, refused=False) for _ in range(100))
    assert not any(attempts(order, refused=False, reached=False) for _ in range(100))
    now = 3_601.0
    assert not any(attempts(order, refused=False, reached=False) for _ in range(100))
    assert [attempts(order, refused=False) for _ in range(4)] == [False, False, False, True]
    assert store.spool.consumer(BESIDE).lost == 1
    assert drained(order) == [("attachment", 1)]


def test_what_a_receiver_refuses_while_it_takes_everything_else_is_given_up(store: Store) -> None:
    order = order_of(store)
    store.attach(0)
    for number in range(5):
        given_up = attempts(order, refused=False)
        assert given_up is (number == 4)
        store.event(number)
        alarm = order.next()
        assert alarm is not None
        order.done(alarm)
    store.attach(1)
    assert [attempts(order, refused=True) for _ in range(5)] == [False, False, False, False, True]
    assert store.spool.consumer(BESIDE).lost == 2


def test_a_damaged_record_is_counted_by_one_row_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.event(0)
    store.attach(0)
    store.event(1)
    store.spool.close()
    (segment,) = (tmp_path / "spool").glob("*.spool")
    data = bytearray(segment.read_bytes())
    data[data.index(b'"kind":"attachment"')] ^= 0xFF
    segment.write_bytes(data)
    again = Store(tmp_path)
    order = order_of(again)
    kinds = []
    while (delivery := order.next()) is not None:
        kinds.append(delivery.kind)
        order.done(delivery)
    assert kinds == ["event", "state", "event"]
    assert [again.spool.consumer(row).lost for row in ("sink", BESIDE)] == [1, 0]
    assert [again.spool.consumer(row).pending for row in ("sink", BESIDE)] == [0, 0]
    again.spool.close()


# ---- the file


@pytest.mark.parametrize("harm", ["deleted", "changed", "shorter", "link", "folder", "elsewhere"])
def test_a_file_that_is_not_what_the_record_says_is_gone(store: Store, tmp_path: Path, harm: str) -> None:
    path = store.path(0)
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(JPEG)
    store.attach(0, **({"file": "../secret.jpg"} if harm == "elsewhere" else {}))
    if harm == "changed":
        path.write_bytes(JPEG[:-1] + b"x")
    elif harm == "shorter":
        path.write_bytes(JPEG[:-1])
    elif harm != "elsewhere":
        path.unlink()
    if harm == "link":
        path.symlink_to(secret)
    elif harm == "folder":
        path.mkdir()
    (delivery,) = store.spool.read(BESIDE, 1)
    attached = store.parts.attached.of(delivery)
    assert attached is not None and attached.content is None
    record = decode_record(attached.delivery.line)
    assert isinstance(record, AttachmentRecord) and record.gone is True and record.key == delivery.key


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(store: Store) -> None:
    store.attach(0)
    store.path(0).unlink()
    os.mkfifo(store.path(0))
    (delivery,) = store.spool.read(BESIDE, 1)
    attached = store.parts.attached.of(delivery)
    assert attached is not None and attached.content is None


# ---- webhooks


def test_the_record_and_the_file_are_two_parts_of_one_request(store: Store, server: WebhookServer) -> None:
    store.attach(3)
    with sending(store, server.url, headers={"content-type": "text/x-own", "X-Own": "yes"}):
        (request,) = server.wait_for(1)
    assert request.headers["x-own"] == "yes" and request.headers["galago-device"] == "porch"
    parts = fields(request.headers, request.body)
    assert list(parts) == ["record", "file"]
    record = json.loads(parts["record"].get_payload(decode=True))
    assert (record["seq"], record["key"]) == (3, request.key)
    assert parts["record"].get_content_type() == "application/json"
    assert (parts["file"].get_filename(), parts["file"].get_content_type()) == (
        store.path(3).name,
        "image/jpeg",
    )
    boundary = request.headers["content-type"].partition("boundary=")[2]
    assert request.body.partition(b"image/jpeg\r\n\r\n")[2].partition(f"\r\n--{boundary}".encode())[0] == JPEG


def test_a_boundary_never_stands_in_what_it_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter(["aa", "aa", "bb"])
    monkeypatch.setattr(multipart_module.secrets, "token_hex", lambda _: next(drawn))
    content_type, body = multipart_body([Part("file", b"x--galago-aay")])
    assert content_type.endswith("galago-bb") and body.endswith(b"\r\n--galago-bb--\r\n")


def test_without_asking_for_them_a_webhook_gets_no_attachments() -> None:
    kinds = webhook_sink.SINK.wanted(WebhookSettings(url="http://x")).kinds
    assert kinds == {"event"}
    for settings in ({"attachments": True}, {"kinds": ("event", "attachment")}):
        wanted = webhook_sink.SINK.wanted(WebhookSettings(url="http://x", **settings))
        assert wanted.kinds == {"event", "attachment"}


@pytest.mark.parametrize(
    "table",
    [{"format": "slack"}, {"format": "home-assistant"}, {"body": "{text}"}],
    ids=["slack", "home-assistant", "body"],
)
def test_what_takes_no_files_is_refused_with_attachments(table: dict[str, str]) -> None:
    with pytest.raises(msgspec.ValidationError, match="attachments: "):
        msgspec.convert({"url": "http://x", "attachments": True, **table}, WebhookSettings)


def test_a_file_that_is_gone_is_told_as_a_message_and_counted_as_lost(
    store: Store, server: WebhookServer
) -> None:
    store.attach(0)
    store.path(0).unlink()
    with sending(store, server.url) as sender:
        (request,) = server.wait_for(1)
        wait_for(lambda: sender.status().pending == 0, "the acknowledgement")
        status = sender.status()
    assert (status.delivered, status.lost, status.state) == (0, 1, "ok")
    assert request.json()["gone"] is True and request.headers["content-type"] == "application/json"


def test_ntfy_gets_the_file_as_the_body_and_the_words_as_headers(store: Store, server: WebhookServer) -> None:
    store.attach(0, label="Rauch ü")
    url = server.url.removesuffix("/events")
    with sending(store, url, format="ntfy", to="my topic", headers={"Authorization": "Bearer tk"}):
        (request,) = server.wait_for(1)
    assert request.path == "/my%20topic" and request.body == JPEG
    assert request.headers["filename"] == store.path(0).name
    assert request.headers["content-type"] == "image/jpeg" and request.headers["authorization"] == "Bearer tk"
    assert request.headers["title"] == "=?UTF-8?B?cG9yY2g6IFJhdWNoIMO8?="


def test_discord_gets_the_message_and_the_file(store: Store, server: WebhookServer) -> None:
    store.attach(0)
    with sending(store, server.url, format="discord"):
        (request,) = server.wait_for(1)
    parts = fields(request.headers, request.body)
    message = json.loads(parts["payload_json"].get_payload(decode=True))
    assert message["content"].startswith("porch: picture of smoke on hall (2026-11-22")
    assert message["allowed_mentions"] == {"parse": []}
    assert parts["files[0]"].get_filename() == store.path(0).name


@pytest.mark.parametrize(
    ("sound", "method", "field"), [(False, "sendPhoto", "photo"), (True, "sendDocument", "document")]
)
def test_telegram_gets_pictures_as_photos_and_sounds_as_documents(
    store: Store, server: WebhookServer, sound: bool, method: str, field: str
) -> None:
    store.attach(0, sound=sound)
    url = server.url.removesuffix("/events") + "/bot1:token/sendMessage"
    with sending(store, url, format="telegram", to="-42"):
        (request,) = server.wait_for(1)
    assert request.path == f"/bot1:token/{method}"
    parts = fields(request.headers, request.body)
    assert parts["chat_id"].get_payload(decode=True).strip() == b"-42"
    what = "sound" if sound else "picture"
    assert parts["caption"].get_payload(decode=True).decode().startswith(f"porch: {what} of smoke on hall")
    assert parts[field].get_filename() == store.path(0, sound).name


def test_an_attachment_that_the_server_refuses_delays_no_event_and_is_given_up(
    store: Store, refusing: Callable[[int], WebhookServer]
) -> None:
    server = refusing(413)
    store.event(0)
    store.attach(0)
    with sending(store, server.url) as sender:
        wait_for(lambda: sender.status().lost == 1, "it to be given up")
        store.event(1)
        wait_for(lambda: sender.status().delivered == 2, "the events")
        status = sender.status()
    assert (status.pending, status.lost) == (0, 1)
    assert len([each for each in server.requests if each.status == 413]) == 5
    assert [each.json()["seq"] for each in server.accepted()] == [0, 1], "no event twice"


def test_events_go_on_while_an_attachment_is_tried_again_and_again(
    store: Store, refusing: Callable[[int], WebhookServer]
) -> None:
    server = refusing(503)  # which may end by itself
    store.attach(0)
    with sending(store, server.url) as sender:
        for number in range(20):
            store.event(number)
            wait_for(lambda n=number: len(server.accepted()) > n, f"event {number}")
        wait_for(lambda: sender.status().lost == 1, "it to be given up")
        wait_for(lambda: sender.status().pending == 0, "the cursor behind it")
    assert [each.json()["seq"] for each in server.accepted()] == list(range(20))


def test_while_a_server_is_away_attachments_wait_and_none_is_given_up(
    store: Store, server: WebhookServer
) -> None:
    store.attach(0)
    server.status = 503
    with sending(store, server.url) as sender:
        wait_for(lambda: len(server.requests) >= 12, "many attempts")
        assert sender.status().lost == 0
        server.status = 200
        server.wait_for(1)


@pytest.fixture
def refusing() -> Iterator[Callable[[int], WebhookServer]]:
    """Returns a server that answers forms with this status, and takes everything else."""
    made: list[WebhookServer] = []

    def make(status: int) -> WebhookServer:
        server = WebhookServer().start()
        server.status_of_forms = status
        made.append(server)
        return server

    yield make
    for server in made:
        server.stop()


# ---- programs


def test_a_program_finds_the_record_on_its_input_and_the_path_of_the_file(
    store: Store, tmp_path: Path
) -> None:
    copy, said = tmp_path / "copy", tmp_path / "said"
    command = ["/bin/sh", "-c", 'cp "$GALAGO_FILE" "$1" && cat > "$2"', "sh", str(copy), str(said)]
    store.attach(2)
    sender = ProgramSender(ProgramSettings(command=tuple(command), kinds=("attachment",)), store.parts)
    sender.start()
    try:
        wait_for(lambda: sender.status().delivered == 1, "the program")
    finally:
        sender.stop(30.0)
    assert copy.read_bytes() == JPEG and json.loads(said.read_text())["file"] == store.path(2).name


def test_a_program_is_told_that_a_file_is_gone(store: Store, tmp_path: Path) -> None:
    said = tmp_path / "said"
    command = ("/bin/sh", "-c", 'cat > "$1"; [ -z "${GALAGO_FILE+x}" ]', "sh", str(said))
    store.attach(2)
    store.path(2).unlink()
    sender = ProgramSender(ProgramSettings(command=command, kinds=("attachment",)), store.parts)
    sender.start()
    try:
        wait_for(lambda: sender.status().pending == 0, "the program")
        assert (sender.status().lost, sender.status().fault) == (1, "")
    finally:
        sender.stop(30.0)
    assert json.loads(said.read_text())["gone"] is True


def test_a_program_that_fails_with_a_file_still_gets_the_events(store: Store) -> None:
    command = ("/bin/sh", "-c", '[ "$GALAGO_KIND" = event ]')
    settings = ProgramSettings(command=command, kinds=("event", "attachment"), tries=3, backoff_max_s=0.02)
    store.attach(0)
    store.event(0)
    sender = ProgramSender(settings, store.parts)
    sender.start()
    try:
        wait_for(lambda: sender.status().pending == 0, "both")
        assert (sender.status().delivered, sender.status().lost) == (1, 1)
    finally:
        sender.stop(30.0)


# ---- the configuration


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ('[webhook]\nurl = "http://x"\nattachments = true\n', "asks for attachments, and there is no"),
        ('[program]\ncommand = ["x"]\nkinds = ["attachment"]\n', "asks for attachments, and there is no"),
        ('[attachments]\nstreams = ["cellar"]\n', "streams names cellar, which is no stream; there is hall"),
        ("[attachments]\nafter_s = 31\n", "after_s"),
        ("[attachments]\nquality = 90\n", "quality"),
    ],
)
def test_a_contradiction_is_refused_at_the_start(tmp_path: Path, more: str, told: str) -> None:
    path = tmp_path / "galago.toml"
    path.write_text(f'[[stream]]\nname = "hall"\nsource = "camera:0"\n{more}')
    with pytest.raises(CallerError, match=told):
        read_config(path)
