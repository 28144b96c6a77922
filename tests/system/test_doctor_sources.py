"""``galago doctor`` opens each source once, as the service would, and says in words what came."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from galago_edge.contract.status import ServiceStatus, SourceStatus
from galago_edge.doctor import Finding, examine
from galago_edge.doctor.check_list import own_checks
from galago_edge.service.control import Control
from real_parts import MjpegServer, RtspServer, SoundServer
from real_parts.processes import DEADLINE_S, free_port
from test_kit import make_service_status, wav_bytes

PICTURE: bytes = cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
PATIENT = "open_s = 60.0\nstall_s = 60.0\n"
HASTY = "open_s = 1.0\nstall_s = 1.0\n"


def looked(folder: Path, tables: str, *names: str) -> dict[str, Finding]:
    """Return what the doctor finds of the sources and passwords in ``tables``."""
    config = folder / "galago.toml"
    streams = "".join(f'[[stream]]\nname = "s-{name}"\nsource = "{name}"\n' for name in names)
    config.write_text(f"{tables}\n{streams}", encoding="utf-8")
    checks = [check for check in own_checks() if check.name in ("config", "service", "passwords", "sources")]
    found = {finding.name: finding for finding in examine(folder, config, checks=checks)}
    assert found["config"].level == "ok", found["config"]
    assert all(finding.fix for finding in found.values() if finding.level != "ok")
    assert all("\n" not in finding.met + finding.fix for finding in found.values())
    return found


def source(folder: Path, address: str, more: str = PATIENT) -> Finding:
    return looked(folder, f'[source.yard]\naddress = "{address}"\n{more}', "yard")["source yard"]


class Answering(http.server.ThreadingHTTPServer):
    """A web server that answers in one way; ``behave`` writes the answer."""

    def __init__(self, behave: Callable[[http.server.BaseHTTPRequestHandler], None]) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                behave(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.daemon_threads = True
        self.block_on_close = False
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/video"


Answer = Callable[[Callable[[http.server.BaseHTTPRequestHandler], None]], Answering]


@pytest.fixture
def answering() -> Iterator[Answer]:
    servers: list[Answering] = []

    def start(behave: Callable[[http.server.BaseHTTPRequestHandler], None]) -> Answering:
        servers.append(Answering(behave))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def answers(status: int, kind: str, body: bytes) -> Callable[[http.server.BaseHTTPRequestHandler], None]:
    def behave(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        if status == 401:
            handler.send_header("WWW-Authenticate", 'Basic realm="camera"')
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return behave


def test_a_camera_that_works_is_told_with_its_size_codec_and_rate(
    tmp_path: Path, mjpeg_camera: MjpegServer
) -> None:
    found = source(tmp_path, f"camera:{mjpeg_camera.url}")
    assert found.level == "ok" and found.met.startswith("320 x 240, jpeg, ")
    assert "fps, first frame after" in found.met
    assert mjpeg_camera.connections == 1


@pytest.mark.parametrize(
    ("login", "told"),
    [("", "wants a user and a password"), ('user = "anna"\npassword = "wrong#pw"\n', "refuses this user")],
)
def test_a_missing_and_a_wrong_password_of_an_http_camera_are_told_apart(
    tmp_path: Path, mjpeg_camera: MjpegServer, login: str, told: str
) -> None:
    mjpeg_camera.login = ("anna", "hunter2#secret")
    found = source(tmp_path, f"camera:{mjpeg_camera.url_of('/x')}", PATIENT + login)
    assert found.level == "fail" and told in found.met
    assert "wrong#pw" not in found.met + found.fix and "URL" not in found.fix
    right = 'user = "anna"\npassword = "hunter2#secret"\n'
    assert source(tmp_path, f"camera:{mjpeg_camera.url_of('/x')}", PATIENT + right).level == "ok"


def test_where_a_refused_password_stands_is_said(tmp_path: Path, mjpeg_camera: MjpegServer) -> None:
    mjpeg_camera.login = ("anna", "hunter2#secret")
    url = mjpeg_camera.url_of("/x")
    found = source(tmp_path, f"camera:{url.replace('://', '://anna:wrong@')}")
    assert found.fix == "check both; in a URL, @ / ? # % of a password are written %40 %2F %3F %23 %25"
    (tmp_path / "password").write_text("wrong")
    found = source(tmp_path, f"camera:{url}", f'{PATIENT}user = "anna"\npassword_file = "password"\n')
    assert f"check user and password_file {tmp_path / 'password'} of its" in found.fix


@pytest.mark.parametrize("status", [401, 404])
def test_the_documents_show_what_is_printed(tmp_path: Path, answering: Answer, status: int) -> None:
    url = answering(answers(status, "text/html", b"no")).url
    login = 'user = "anna"\npassword = "hunter2"\n' if status == 401 else ""
    found = source(tmp_path, f"camera:{url}", PATIENT + login)
    lines = [f"{found.met.partition(url)[2]}\n", f"      fix: {found.fix}\n"]
    page = (Path(__file__).parents[2] / "docs/doctor.md").read_text(encoding="utf-8")
    assert "".join(lines) in page


@pytest.mark.parametrize(
    ("behave", "told"),
    [
        (answers(404, "text/html", b"no"), "404"),
        (answers(200, "text/html", b"<html>log in</html>"), "text/html"),
        (answers(200, "image/jpeg", PICTURE), "image/jpeg|snapshot"),
    ],
    ids=["404", "a page", "a snapshot"],
)
def test_what_answers_and_is_no_stream_is_told_in_words(
    tmp_path: Path, answering: Answer, behave: Callable[..., None], told: str
) -> None:
    found = source(tmp_path, f"camera:{answering(behave).url}")
    assert found.level == "fail"
    assert any(word in found.met for word in told.split("|")), found


def test_bytes_that_hold_no_whole_picture_are_told(tmp_path: Path, answering: Answer) -> None:
    over = threading.Event()

    def behave(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        handler.end_headers()
        with contextlib.suppress(OSError):  # nobody listens any more
            while not over.wait(0.02):
                handler.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + b"nojpg" * 99 + b"\r\n")

    found = source(tmp_path, f"camera:{answering(behave).url}", HASTY)
    over.set()
    assert found.level == "fail" and "no whole " in found.met, found


def test_nobody_at_the_address_is_told_in_words(tmp_path: Path) -> None:
    refused = source(tmp_path, f"camera:http://127.0.0.1:{free_port()}/")
    assert refused.level == "fail" and "refused" in refused.met.lower()
    unknown = source(tmp_path, "camera:http://nobody.invalid/")
    assert unknown.level == "fail" and "nobody.invalid" in unknown.met
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"camera:http://127.0.0.1:{silent.getsockname()[1]}/"
        waited = source(tmp_path, address, HASTY)
    assert waited.level == "fail" and "1 s" in waited.met


def test_an_rtsp_camera_is_opened_and_what_keeps_it_from_opening_is_told_without_the_password(
    real_part: Callable[..., RtspServer], tmp_path: Path
) -> None:
    camera = real_part(RtspServer, tmp_path, login=("anna", "p@ss/w%rd")).start()
    place = f"camera:rtsp://127.0.0.1:{camera.port}"
    right = f'{PATIENT}user = "anna"\npassword = "p@ss/w%rd"\n'
    well = source(tmp_path, f"{place}/live", right)
    assert well.level == "ok" and well.met.startswith("320 x 240"), well
    for address, more in (
        (f"{place}/live", right.replace("w%rd", "wrong")),
        (f"{place}/none", right),
        (f"camera:rtsp://127.0.0.1:{free_port()}/live", right),
    ):
        wrong = source(tmp_path, address, more)
        assert wrong.level == "fail" and wrong.met
        assert "ss/w" not in wrong.met + wrong.fix and "p%40ss" not in wrong.met + wrong.fix


@pytest.mark.parametrize(
    "address",
    [
        "camera:rtsp://u:hunter2#secret@127.0.0.1:9/",
        "camera:http://u:hunter2#secret@127.0.0.1:9/x",
        "camera:http://u:hunter2/secret@127.0.0.1:9/x",
        "camera:rtsp:/u:hunter2@127.0.0.1/x",
        "rtsp://u:hunter2#secret@127.0.0.1:9/",
        "microphone:rtsp://u:hunter2#secret@127.0.0.1:9/",
    ],
)
def test_a_badly_written_address_is_told_without_its_password(tmp_path: Path, address: str) -> None:
    config = tmp_path / "galago.toml"
    config.write_text(f'[[stream]]\nname = "door"\nsource = "{address}"\n')
    checks = [
        check for check in own_checks() if check.name in ("config", "extras", "streams", "sources", "service")
    ]
    found = [*examine(tmp_path, config, checks=checks)]
    (told,) = (finding for finding in found if finding.name.startswith("source "))
    assert told.level == "fail" and told.fix
    everything = "".join(finding.name + finding.met + finding.fix for finding in found)
    assert "hunter2" not in everything and "secret" not in everything


def test_sources_are_tried_side_by_side(tmp_path: Path, answering: Answer) -> None:
    both_ask = threading.Barrier(2)

    def behave(handler: http.server.BaseHTTPRequestHandler) -> None:
        both_ask.wait(DEADLINE_S)
        answers(404, "text/html", b"no")(handler)

    server = answering(behave)
    tables = "".join(
        f'[source.{name}]\naddress = "camera:{server.url}?id={name}"\n{PATIENT}' for name in ("a", "b")
    )
    found = looked(tmp_path, tables, "a", "b")
    assert "404" in found["source a"].met and "404" in found["source b"].met


def running(*sources: SourceStatus) -> ServiceStatus:
    return make_service_status(sources=sources, problems=())


def test_what_the_running_service_captures_is_not_opened_a_second_time(
    tmp_path: Path, mjpeg_camera: MjpegServer
) -> None:
    healthy = SourceStatus(name="yard", kind="camera", liveness="healthy", for_s=60.0, rate_hz=10.0)
    with Control(tmp_path, lambda: running(healthy)):
        found = source(tmp_path, f"camera:{mjpeg_camera.url}")
    assert (found.level, found.met) == ("ok", "the running service: healthy for 60 s, 10 fps")
    assert mjpeg_camera.connections == 0
    dark = SourceStatus(name="yard", kind="camera", liveness="healthy", for_s=60.0, alarms=("dark",))
    with Control(tmp_path, lambda: running(dark)):
        found = source(tmp_path, f"camera:{mjpeg_camera.url}")
    assert found.level == "warn" and "dark" in found.met
    # one that the service does not get either is looked at: that says why
    away = SourceStatus(name="yard", kind="camera", liveness="failed", for_s=60.0, fault="no route to host")
    with Control(tmp_path, lambda: running(away)):
        found = source(tmp_path, f"camera:{mjpeg_camera.url}")
    assert found.level == "ok" and mjpeg_camera.connections == 1


def test_recordings_are_there_and_can_be_read(tmp_path: Path) -> None:

    (tmp_path / "hall.wav").write_bytes(wav_bytes(np.arange(8_000, dtype=np.int16), 8_000))
    well = source(tmp_path, "hall.wav", "")
    assert (well.level, well.met) == ("ok", "a sound file at 8000 Hz")
    (tmp_path / "bad.wav").write_bytes(b"RIFFnothing")
    (tmp_path / "bad.avi").write_bytes(b"nothing")
    for name in ("bad.wav", "bad.avi", "absent.wav"):
        found = source(tmp_path, name, "")
        assert found.level == "fail" and name in found.met, found
    (tmp_path / "empty").mkdir()
    assert source(tmp_path, "empty", "").level == "fail"
    (tmp_path / "plain").write_bytes(b"")
    assert "is no named pipe" in source(tmp_path, "pipe:plain?rate=8000", "").met


def test_a_microphone_is_listened_to(
    tmp_path: Path, microphone: SoundServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in microphone.environment.items():
        monkeypatch.setenv(name, value)
    found = source(tmp_path, "microphone:default")
    assert found.level == "ok" and "Hz, 1 channel, " in found.met and "dBFS" in found.met
    microphone.sound = lambda first, count, rate_hz: np.zeros(count, np.int16)
    silent = source(tmp_path, "microphone:default")
    assert silent.level == "warn" and "no sound is in it" in silent.met


def test_a_password_file_that_others_may_read_is_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "password"
    table = (
        '[source.yard]\naddress = "camera:http://127.0.0.1:9/"\nuser = "anna"\npassword_file = "password"\n'
    )
    absent = looked(tmp_path, table, "yard")["password of [source.yard]"]
    assert absent.level == "fail" and "does not exist" in absent.met
    file.write_text("hunter2\n")
    file.chmod(0o644)
    found = looked(tmp_path, table, "yard")["password of [source.yard]"]
    assert found.level == "warn" and found.fix == f"chmod o-rw {file}"
    file.chmod(0o600)
    again = looked(tmp_path, table, "yard")
    assert again["password of [source.yard]"].level == "ok" and "hunter2" not in repr(again)
