"""Pictures of events from a running service with a real camera, to a real broker and a web server."""

from __future__ import annotations

import email.parser
import email.policy
import hashlib
import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import paho.mqtt.client as paho
import pytest

from campaigns import trial_rig
from campaigns.trial_rig import Device
from galago_edge.contract.records import AttachmentRecord, EventRecord
from real_parts import Broker, MjpegServer, WebhookServer, wait_for
from real_parts.processes import DEADLINE_S
from real_parts.webhook import Delivery

WIDTH, HEIGHT = 64, 48
CONFIG = "homeassistant/device/galago-porch/config"
PICTURE = "galago/porch/door/picture"


class Listener:
    """A subscriber to everything, which remembers."""

    def __init__(self, client: paho.Client) -> None:
        self.messages: list[paho.MQTTMessage] = []
        client.on_message = lambda client, data, message: self.messages.append(message)

    def payloads(self, topic: str) -> list[bytes]:
        return [bytes(each.payload) for each in tuple(self.messages) if each.topic == topic]

    def images(self) -> set[str]:
        """The image entities that Home Assistant was told of."""
        told = [json.loads(payload)["components"] for payload in self.payloads(CONFIG) if payload]
        return {name for name, each in told[-1].items() if "image_topic" in each} if told else set()

    def kept(self) -> set[str]:
        """The topics of what the broker had when we came, as far as that has come."""
        return {each.topic for each in tuple(self.messages) if each.retain and each.payload}


@contextmanager
def listening(broker: Broker) -> Iterator[Listener]:
    client, ready = paho.Client(paho.CallbackAPIVersion.VERSION2), threading.Event()
    listener = Listener(client)
    client.on_connect = lambda client, *_: client.subscribe("#", 1)
    client.on_subscribe = lambda *_: ready.set()
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        assert ready.wait(DEADLINE_S)
        yield listener
    finally:
        client.disconnect()
        client.loop_stop()


@pytest.fixture
def device(tmp_path: Path, real_part: Callable[..., MjpegServer]) -> Device:
    """Its camera shows white; one stream sees it whole, the other one turned and masked."""
    camera = real_part(MjpegServer, size=(WIDTH, HEIGHT), fps=20).start()
    white = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    camera.picture = cv2.imencode(".jpg", white, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    return Device(tmp_path, camera)


def tables(
    broker: Broker, webhook: WebhookServer, attachments: str = "[attachments]\nkeep_free_mb = 0\n"
) -> str:
    wanted = "attachments = true\n" if attachments else ""
    return f"""[[stream]]
name = "turned"
source = "cam"
bundle = "levels"
rotate = 90
mask = [[0.0, 0.0, 0.25, 1.0]]
[mqtt]
host = "127.0.0.1"
port = {broker.port}
retain_pictures = true
[webhook]
url = "{webhook.url}"
{wanted}{attachments}"""


def decoded(content: bytes) -> npt.NDArray[np.uint8]:
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture.astype(np.uint8)


def of(device: Device, kind: type[Any]) -> list[Any]:
    return [record for record in device.records() if isinstance(record, kind)]


def has(listener: Listener, stream: str) -> bool:
    base = f"galago/porch/{stream}"
    return bool(listener.payloads(f"{base}/attachment") and listener.payloads(f"{base}/picture"))


def test_the_picture_of_an_event_follows_it_to_broker_and_web_server_and_hides_what_is_masked(
    device: Device, broker: Broker, webhook: WebhookServer
) -> None:
    device.more = tables(broker, webhook)
    with listening(broker) as listener, device.running():
        device.until(
            lambda: {each.stream for each in of(device, AttachmentRecord)} == {"door", "turned"}, "both"
        )
        wait_for(lambda: has(listener, "door") and has(listener, "turned"), "both at the broker")
        forms = [each for each in webhook.wait_for(4) if "multipart" in each.headers["content-type"]]
        status = device.status()
        device.process.send_signal(signal.SIGTERM)
        assert device.ends() == 0
    records = device.records()
    attached = [record for record in records if isinstance(record, AttachmentRecord)]
    for record in attached:
        (event,) = [
            e
            for e in records
            if isinstance(e, EventRecord) and (e.stream, e.seq) == (record.stream, record.seq)
        ]
        assert records.index(event) < records.index(record), "an alarm never waits for its picture"
        assert (record.label, record.end_index) == (event.label, event.end_index)
        content = (device.root / "attachments" / record.file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == record.sha256
    whole = decoded(listener.payloads("galago/porch/door/picture")[0])
    assert whole.shape == (HEIGHT, WIDTH, 3) and whole.min() > 245
    turned = decoded(listener.payloads("galago/porch/turned/picture")[0])
    assert turned.shape == (WIDTH, HEIGHT, 3)
    assert turned[:, : HEIGHT // 4 - 4].max() < 30 and turned[:, HEIGHT // 2 :].min() > 245
    told = json.loads(listener.payloads("galago/porch/turned/attachment")[0])
    assert told["sha256"] == hashlib.sha256(listener.payloads("galago/porch/turned/picture")[0]).hexdigest()
    for form in forms:
        head = f"Content-Type: {form.headers['content-type']}\r\n\r\n".encode()
        message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + form.body)
        (record_part, file_part) = message.iter_parts()
        assert json.loads(record_part.get_payload(decode=True))["file"] == file_part.get_filename()
    assert forms and status is not None and status.attachments is not None and status.attachments.made >= 2
    assert (status.attachments.skipped, status.attachments.fault) == ({}, "")


def test_what_the_broker_keeps_of_pictures_is_taken_back_when_they_are_switched_off(
    device: Device, broker: Broker, webhook: WebhookServer
) -> None:
    device.more = tables(broker, webhook)
    with device.running(), listening(broker) as listener:
        wait_for(lambda: has(listener, "door") and has(listener, "turned"), "pictures at the broker")
        wait_for(lambda: listener.images() == {"door-picture", "turned-picture"}, "image entities")
        image = json.loads(listener.payloads(CONFIG)[-1])["components"]["door-picture"]
        device.process.send_signal(signal.SIGTERM)
        assert device.ends() == 0
    assert image["platform"] == "image" and image["content_type"] == "image/jpeg"
    assert image["image_topic"] == PICTURE
    with listening(broker) as later:
        wait_for(lambda: PICTURE in later.kept(), "a picture that is kept")
    device.more = tables(broker, webhook, "")
    with device.running(), listening(broker) as now:
        wait_for(lambda: b"" in now.payloads(PICTURE), "the picture to be taken back")
        wait_for(lambda: now.images() == set(), "no image entity")
        device.process.send_signal(signal.SIGTERM)
        assert device.ends() == 0
    with listening(broker) as later:
        wait_for(lambda: "galago/porch/availability" in later.kept(), "what is kept")
        wait_for(lambda: CONFIG in later.kept(), "what is kept")
        assert not {topic for topic in later.kept() if topic.endswith("/picture")}


def test_a_recording_in_the_running_service_makes_no_attachments(device: Device, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number:03d}.jpg").write_bytes(device.camera.picture)
    device.more = f"""[[stream]]
name = "stored"
source = "{folder}?fps=10"
bundle = "levels"
[attachments]
streams = ["stored"]
keep_free_mb = 0
"""
    with device.running():
        device.until(lambda: "stored" in {each.stream for each in of(device, EventRecord)}, "its event")
        device.until(
            lambda: "door" in {each.stream for each in of(device, EventRecord)}, "the camera's event"
        )
        device.process.send_signal(signal.SIGTERM)
        assert device.ends() == 0
    assert not of(device, AttachmentRecord) and not list(device.root.glob("attachments/*"))


def test_a_test_source_shows_attachments_at_work(device: Device, tmp_path: Path) -> None:
    """It is played as a camera would give it, and so its events have pictures, though it judges no bundle."""
    writer = cv2.VideoWriter(
        str(tmp_path / "loop.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (WIDTH, HEIGHT)
    )
    for _ in range(20):
        writer.write(np.full((HEIGHT, WIDTH, 3), 255, np.uint8))
    writer.release()
    device.more = """[[stream]]
name = "loop"
source = "camera:file:loop.avi?loop=yes"
bundle = "levels"
[attachments]
streams = ["loop"]
keep_free_mb = 0
"""
    with device.running():
        device.until(lambda: bool(of(device, AttachmentRecord)), "a picture")
        status = device.status()
        assert status is not None and status.attachments is not None and status.attachments.made >= 1
        device.process.send_signal(signal.SIGTERM)
        assert device.ends() == 0
    record = of(device, AttachmentRecord)[0]
    assert record.stream == "loop"
    assert decoded((device.root / "attachments" / record.file).read_bytes()).mean() > 250


def test_after_kills_every_record_has_its_whole_file_and_reaches_the_web_server(
    device: Device, webhook: WebhookServer
) -> None:
    device.more = f'''[attachments]
keep_free_mb = 0
per_minute = 6000
[webhook]
url = "{webhook.url}"
attachments = true
[spool]
sync_s = 0
'''

    def made() -> int:
        return len(of(device, AttachmentRecord))

    for kill in range(4):
        before = made()
        with device.running():
            device.until(lambda before=before: made() > before, f"an attachment before kill {kill}")
            device.process.kill()
            device.ends()
    with device.running():
        names = {record.file for record in of(device, AttachmentRecord)}
        device.until(lambda: device.status() is not None, "the service")
        wait_for(lambda: names <= {name for _, name in files_in(webhook)}, "every file at the web server")
        device.process.send_signal(signal.SIGTERM)
        assert device.ends() == 0
    records = of(device, AttachmentRecord)
    assert len(records) >= 4
    for record in records:
        content = (device.root / "attachments" / record.file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == record.sha256
    assert not list((device.root / "attachments").glob(".*"))
    told: dict[str, str] = {}
    for key, name in files_in(webhook):
        assert told.setdefault(key, name) == name, "one key stands for one file"


SLOW_DISK = """
import threading
from galago_edge.host.file_replacement import FileEffects
create, fsync, slow = FileEffects.create, FileEffects.fsync, set()
def create_slowly(self, path):
    fd = create(self, path)
    if ".part-" in path.name:
        slow.add(fd)
    return fd
def fsync_slowly(self, fd):
    if fd in slow:
        threading.Event().wait()
    fsync(self, fd)
FileEffects.create, FileEffects.fsync = create_slowly, fsync_slowly
main()
"""
"""A disk that never takes the file of an attachment."""


def test_pictures_that_a_slow_disk_has_not_taken_at_the_end_are_counted_on_standard_error(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = trial_rig.PROGRAM.rstrip().removesuffix("main()") + SLOW_DISK
    with monkeypatch.context() as patch:
        patch.setattr(trial_rig, "PROGRAM", program)
        device.more = "[attachments]\nkeep_free_mb = 0\n"
        with device.running():
            device.until(lambda: bool(of(device, EventRecord)), "an event")
            device.until(lambda: bool(list(device.root.glob("attachments/.part-*"))), "its picture begun")
            device.process.send_signal(signal.SIGTERM)
            assert device.ends() == 0
            assert device.process.stderr is not None
            said = device.process.stderr.read().decode()
    events = len(of(device, EventRecord))
    were = "1 was" if events == 1 else f"{events} were"
    assert f"attachments: {were} not written before the end and lost: the disk is too slow" in said
    assert not of(device, AttachmentRecord)
    assert list(device.root.glob("attachments/.part-*")), "nobody could remove it"
    with device.running():
        device.until(lambda: bool(of(device, AttachmentRecord)), "a picture after the next start")
        device.process.send_signal(signal.SIGTERM)
        assert device.ends() == 0
    assert not list(device.root.glob("attachments/.*"))


def files_in(webhook: WebhookServer) -> list[tuple[str, str]]:
    """Key and name of every file that came whole in a form."""
    found = []
    for form in webhook.accepted():
        if "multipart" in form.headers["content-type"]:
            head = f"Content-Type: {form.headers['content-type']}\r\n\r\n".encode()
            message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + form.body)
            (record, file) = message.iter_parts()
            assert hashlib.sha256(content_of(form)).hexdigest() in record.get_payload(decode=True).decode()
            found.append((form.key, str(file.get_filename())))
    return found


def content_of(form: Delivery) -> bytes:
    """The bytes of the picture in a form."""
    boundary = form.headers["content-type"].partition("boundary=")[2].encode()
    return form.body.partition(b"image/jpeg\r\n\r\n")[2].partition(b"\r\n--" + boundary)[0]
