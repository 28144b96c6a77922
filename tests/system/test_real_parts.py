"""The real parts themselves: what the other tests rely on when they break them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest

from real_parts import Broker, MjpegServer, RtspServer, SoundServer, WallClock, WebhookServer, tone, wait_for
from real_parts.browser import resize_browser
from real_parts.processes import Child

READ_CAMERA = """
import sys, cv2, numpy
camera = cv2.VideoCapture(sys.argv[1], cv2.CAP_FFMPEG)
while True:
    good, frame = camera.read()
    if not good:
        sys.exit(3)
    print(*frame.shape[:2], int(numpy.median(frame)), flush=True)
"""
READ_MICROPHONE = """
import sys, numpy, sounddevice
with sounddevice.RawInputStream(samplerate=48000, channels=1, dtype="int16", device=sys.argv[1]) as stream:
    while True:
        block = numpy.frombuffer(stream.read(4800)[0], "<i2")
        spectrum = numpy.abs(numpy.fft.rfft(block))
        print(round(float(numpy.abs(block).mean())), int(spectrum.argmax()) * 10, flush=True)
"""


class Reader:
    """A program that prints one line for each thing that it read."""

    def __init__(self, folder: Path, program: str, argument: str, env: dict[str, str] | None = None) -> None:
        self.lines = folder / "read.txt"
        self.file = self.lines.open("wb")
        command = [sys.executable, "-c", program, argument]
        self.child = Child(command, folder / "reader.log", env=env, stdout=self.file)

    def last(self) -> list[int]:
        """Return the numbers of the last whole line; what is being written does not count."""
        *lines, _ = self.lines.read_text().split("\n")
        return [int(word) for word in lines[-1].split()] if lines else []

    def count(self) -> int:
        return self.lines.read_text().count("\n")

    def stop(self) -> None:
        self.child.kill()
        self.file.close()


def camera_reader(real_part: Any, folder: Path, url: str) -> Reader:
    return real_part(
        Reader, folder, READ_CAMERA, url, {"OPENCV_FFMPEG_CAPTURE_OPTIONS": "rtsp_transport;tcp"}
    )


@pytest.mark.parametrize("codec", ["h264", "jpeg"])
def test_the_rtsp_camera_shows_the_level_it_is_told_in_the_size_it_is_told(
    codec: str, real_part: Any, tmp_path: Path
) -> None:
    camera = real_part(RtspServer, tmp_path, codec=codec).start()
    reader = camera_reader(real_part, tmp_path, camera.url)
    wait_for(lambda: reader.last()[:2] == [240, 320] and abs(reader.last()[2] - 128) < 8, "a gray picture")
    camera.level(225)
    wait_for(lambda: abs(reader.last()[2] - 225) < 8, "a bright picture")
    camera.resize(160, 128)
    camera.level(30)
    wait_for(lambda: abs(reader.last()[2] - 30) < 8, "a dark picture")
    if codec == "jpeg":  # OpenCV goes on to give the first size for H.264
        wait_for(lambda: reader.last()[:2] == [128, 160], "a smaller picture")


def test_a_stalled_rtsp_camera_keeps_the_connection_and_goes_on(
    rtsp_camera: RtspServer, real_part: Any, tmp_path: Path
) -> None:
    reader = camera_reader(real_part, tmp_path, rtsp_camera.url)
    wait_for(reader.last, "a picture")
    for stall, resume in (
        (rtsp_camera.stall, rtsp_camera.resume),
        (rtsp_camera.hang, rtsp_camera.unhang),
    ):
        stall()
        seen = -1
        while seen != reader.count():  # what was on its way
            seen = reader.count()
            time.sleep(0.4)
        assert reader.child.running
        resume()
        wait_for(lambda seen=seen: reader.count() > seen + 3, "pictures again")


def test_a_stopped_rtsp_camera_is_back_at_the_same_place_with_the_same_picture(
    rtsp_camera: RtspServer, real_part: Any, tmp_path: Path
) -> None:
    url = rtsp_camera.url
    rtsp_camera.level(30)
    rtsp_camera.stop()
    reader = camera_reader(real_part, tmp_path, url)
    assert reader.child.process.wait(60) == 3
    rtsp_camera.start()
    assert rtsp_camera.url == url
    again = tmp_path / "again"
    again.mkdir()
    reader = camera_reader(real_part, again, url)
    wait_for(lambda: reader.last() and abs(reader.last()[2] - 30) < 8, "a dark picture")


def test_an_rtsp_camera_with_a_login_refuses_others(real_part: Any, tmp_path: Path) -> None:
    camera = real_part(RtspServer, tmp_path, login=("admin", "secret"), codec="jpeg").start()
    refused = camera_reader(real_part, tmp_path, camera.url.replace("secret", "wrong"))
    assert refused.child.process.wait(60) == 3
    again = tmp_path / "again"
    again.mkdir()
    reader = camera_reader(real_part, again, camera.url)
    wait_for(reader.last, "a picture")


def test_the_mjpeg_camera_sends_whole_frames_until_one_is_cut(mjpeg_camera: MjpegServer) -> None:
    with urllib.request.urlopen(mjpeg_camera.url, timeout=30) as answer:
        assert answer.headers["Content-Type"] == "multipart/x-mixed-replace; boundary=frame"
        start = answer.read(2_000)
        mjpeg_camera.truncate()
        rest = start + answer.read()
    parts = rest.split(b"--frame\r\n")[1:]
    assert all(part.endswith(b"\xff\xd9\r\n") for part in parts[:-1])
    assert parts[-1].startswith(b"Content-Type: image/jpeg") and b"\xff\xd9" not in parts[-1]


def test_the_microphone_hears_what_it_is_told_and_can_be_unplugged(
    microphone: SoundServer, real_part: Any, tmp_path: Path
) -> None:
    reader = real_part(Reader, tmp_path, READ_MICROPHONE, "galago", microphone.environment)
    wait_for(lambda: reader.count() > 3, "sound")
    assert reader.last()[0] < 10
    microphone.sound = tone(1_000)
    wait_for(lambda: reader.last()[0] > 2_000 and reader.last()[1] == 1_000, "a tone")
    microphone.unplug()
    microphone.plug_in()
    reader.stop()
    microphone.kill()
    microphone.start()
    again = tmp_path / "again"
    again.mkdir()
    reader = real_part(Reader, again, READ_MICROPHONE, "default", microphone.environment)
    wait_for(lambda: reader.last() and reader.last()[1] == 1_000, "the tone again")


def test_the_broker_keeps_what_it_owes_over_a_restart_and_can_refuse(broker: Broker) -> None:
    heard: list[bytes] = []
    listener = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="listener", clean_session=False)
    listener.on_message = lambda client, data, message: heard.append(message.payload)
    refusals: list[Any] = []
    listener.on_connect = lambda client, data, flags, reason, properties: refusals.append(reason)
    listener.reconnect_delay_set(1, 1)
    listener.connect("127.0.0.1", broker.port)
    listener.subscribe("events", qos=1)
    listener.loop_start()
    try:
        wait_for(listener.is_connected, "a connection")
        publish = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        publish.connect("127.0.0.1", broker.port)
        publish.loop_start()
        publish.publish("events", b"one", qos=1).wait_for_publish(30)
        publish.disconnect()
        publish.loop_stop()
        wait_for(lambda: heard == [b"one"], "the message")
        broker.stop()
        broker.accept_only("galago", "secret")
        broker.start()
        wait_for(lambda: any(reason.is_failure for reason in refusals), "a refusal")
        listener.username_pw_set("galago", "secret")
        wait_for(lambda: not refusals[-1].is_failure and len(refusals) > 2, "a connection again")
    finally:
        listener.disconnect()
        listener.loop_stop()


def test_the_webhook_answers_as_it_is_told_and_remembers_who_was_accepted(webhook: WebhookServer) -> None:
    def post(text: str) -> int:
        request = urllib.request.Request(
            webhook.url, json.dumps(text).encode(), {"Idempotency-Key": f"key:{text}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    assert post("one") == 200
    webhook.status = 500
    assert post("two") == 500
    webhook.stop()
    with pytest.raises(urllib.error.URLError):
        post("three")
    webhook.status = 200
    webhook.start()
    assert post("four") == 200
    assert [(request.key, request.json()) for request in webhook.accepted()] == [
        ("key:one", "one"),
        ("key:four", "four"),
    ]
    assert len(webhook.requests) == 3


def test_the_wall_clock_jumps_and_the_monotonic_one_does_not(wall_clock: WallClock) -> None:
    year_s = 365 * 86_400
    program = (
        "import time\nfor line in iter(input, 'end'):\n print(time.time(), time.monotonic(), flush=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, **wall_clock.environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        for offset in (0, year_s, -year_s):
            wall_clock.jump(offset)
            print("now", file=child.stdin, flush=True)
            wall, monotonic = map(float, child.stdout.readline().split())
            assert abs(wall - time.time() - offset) < 60
            assert abs(monotonic - time.monotonic()) < 60
        print("end", file=child.stdin, flush=True)


def test_the_browser_shows_a_page_as_a_phone_does(browser: Any) -> None:
    phone = '<meta name="viewport" content="width=device-width">'
    browser.get(f"data:text/html,<title>night</title>{phone}<p>hello</p>")
    assert browser.title == "night"
    resize_browser(browser, (390, 844))
    assert browser.execute_script("return [innerWidth, innerHeight]") == [390, 844]
