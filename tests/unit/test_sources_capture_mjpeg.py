"""MJPEG over HTTP: whole pictures, whatever the pieces, the boundary lines and the server's manners are."""

from __future__ import annotations

import base64
import contextlib
import gzip
import http.server
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from galago_edge.contract.errors import LinkError, Reason
from galago_edge.contract.settings import SourceSettings
from galago_edge.contract.streams import Frame
from galago_edge.sources import open_capture, parse_source
from galago_edge.sources.capture import mjpeg
from galago_edge.sources.capture.capture_messages import Order
from galago_edge.sources.capture.frame_memory import SharedMemory
from galago_edge.sources.capture.http_credentials import HttpChallenge, digest
from galago_edge.sources.source import Capture

FOREVER_S = 60.0


def picture(level: int, side: int = 16) -> bytes:
    return cv2.imencode(".jpg", np.full((side, side, 3), level, np.uint8))[1].tobytes()


def body(parts: list[bytes], *, length: bool = True) -> bytes:
    return b"".join(
        b"--frame\r\nContent-Type: image/jpeg\r\n%s\r\n%s\r\n"
        % (b"Content-Length: %d\r\n" % len(part) if length else b"", part)
        for part in parts
    )


Handler = http.server.BaseHTTPRequestHandler
Behaviour = Callable[[Handler], None]


class Server:
    """A web server that answers as the test says; remembers what it was asked."""

    def __init__(self) -> None:
        outer = self

        class Answer(Handler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:  # noqa: N802 - the library's name
                outer.asked.append((self.path, self.headers.get("Authorization")))
                outer.behaviour(self)
                self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                return

        self.asked: list[tuple[str, str | None]] = []
        self.behaviour: Behaviour = lambda answer: None
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def url(self, path: str = "/cam.mjpg", login: str = "") -> str:
        return f"http://{login}127.0.0.1:{self._server.server_port}{path}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


MIXED = "multipart/x-mixed-replace; boundary=frame"


def streams(
    data: bytes, *, chunk: int = 0, kind: str = MIXED, header: tuple[str, str] | None = None
) -> Behaviour:
    def behave(answer: Handler) -> None:
        answer.send_response(200)
        if kind:
            answer.send_header("Content-Type", kind)
        if header is not None:
            answer.send_header(*header)
        if chunk:
            answer.send_header("Transfer-Encoding", "chunked")
        answer.end_headers()
        if not chunk:
            answer.wfile.write(data)
            return
        for at in range(0, len(data), chunk):
            piece = data[at : at + chunk]
            answer.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        answer.wfile.write(b"0\r\n\r\n")

    return behave


def watch(url: str, **settings: Any) -> tuple[list[Frame], LinkError]:
    """Every frame up to the end of the stream, and the end."""
    settings = {"open_s": FOREVER_S, "stall_s": FOREVER_S} | settings
    capture = open_capture(parse_source(f"camera:{url}"), SourceSettings(address="x", **settings))
    frames = []
    try:
        while True:
            item = capture.read(FOREVER_S)
            assert isinstance(item, Frame)
            frames.append(item)
    except LinkError as end:
        return frames, end
    finally:
        capture.close()


class NoParent:
    """Asks for nothing; counts the time that was let pass."""

    paused = 0

    def pause(self, seconds: float) -> None:
        self.paused += 1


def order(url: str, **settings: Any) -> Order:
    given = {"options": {}, "fps": None, "rate_hz": None, "open_s": FOREVER_S, "stall_s": FOREVER_S}
    return Order(kind="mjpeg", target=url, shown="yard", **given | settings)


def opened_here(given: Order) -> Any:
    return mjpeg.open_camera(NoParent(), given)  # type: ignore[arg-type]


def grabbed(url: str, **settings: Any) -> list[bytes]:
    """Every picture up to the end of the stream, taken in this process, where none is passed over."""
    camera, memory, found = opened_here(order(url, **settings)), SharedMemory(), []
    with contextlib.closing(camera):
        while True:
            try:
                camera.grab()
            except LinkError as end:
                assert end.reason is Reason.SOURCE_LOST and "ended its stream" in str(end)
                return found
            taken = camera.retrieve(memory)
            found.append(b"" if taken is None else bytes(memory.room(taken[1])[: taken[1]]))


@contextlib.contextmanager
def opened(url: str, **settings: Any) -> Iterator[Capture]:
    settings = {"open_s": FOREVER_S, "stall_s": FOREVER_S} | settings
    capture = open_capture(parse_source(f"camera:{url}"), SourceSettings(address="x", **settings))
    try:
        yield capture
    finally:
        capture.close()


SHOWN = [picture(30), picture(90, 40), picture(150)]
"""Of different sizes, so that a wrong length cannot be right by chance."""


def dialect(head: Callable[[int], bytes], tail: bytes = b"\r\n") -> bytes:
    """Return a body whose parts begin with what ``head`` makes of the picture's length."""
    return b"".join(head(len(shown)) + shown + tail for shown in SHOWN)


def typical(length: int, boundary: bytes = b"--frame", more: bytes = b"") -> bytes:
    return boundary + b"\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n%s\r\n" % (length, more)


PLAIN = dialect(typical)
DIALECTS: dict[str, Behaviour] = {
    "boundary with dashes at both ends": streams(
        dialect(lambda n: typical(n, b"--data-boundary--")),
        kind="multipart/x-mixed-replace;boundary=data-boundary",
    ),
    "boundary with blanks": streams(
        dialect(lambda n: typical(n, b"--video boundary--")),
        kind='multipart/x-mixed-replace; boundary="video boundary"',
    ),
    "header and body disagree": streams(
        dialect(lambda n: typical(n, b"--other")), kind="multipart/x-mixed-replace; boundary=frame"
    ),
    "padding behind the picture inside its length": streams(
        b"".join(typical(len(shown) + 37) + shown + b"\xff" * 37 + b"\r\n" for shown in SHOWN)
    ),
    "length 0": streams(dialect(lambda n: typical(0))),
    "length 40 too big": streams(dialect(lambda n: typical(n + 40))),
    "length 2 too small": streams(dialect(lambda n: typical(n - 2))),
    "no length": streams(dialect(lambda n: b"--frame\r\nContent-Type: image/jpeg\r\n\r\n")),
    "no length and no line end": streams(dialect(lambda n: b"--frame\r\n\r\n", b"")),
    "a blank line before the picture": streams(dialect(lambda n: typical(n) + b"\r\n")),
    "no blank line": streams(dialect(lambda n: typical(n)[:-2])),
    "headers in one line": streams(
        dialect(lambda n: b"--frame Content-Type: image/jpeg Content-Length: %d\r\n\r\n" % n)
    ),
    "a junk line among the headers": streams(dialect(lambda n: typical(n, more=b"<<junk>>\r\n"))),
    "boundary without dashes": streams(dialect(lambda n: typical(n, b"frame"))),
    "no boundary at all": streams(b"".join(SHOWN)),
    "lines end with LF alone": streams(dialect(lambda n: typical(n).replace(b"\r", b""), b"\n")),
    "a whole stream packed with gzip": streams(gzip.compress(PLAIN), header=("Content-Encoding", "gzip")),
    "packed with deflate, in chunks": streams(
        zlib.compress(PLAIN), chunk=50, header=("Content-Encoding", "deflate")
    ),
    "chunked": streams(PLAIN, chunk=100),
    "no type": streams(PLAIN, kind=""),
    "octet-stream": streams(PLAIN, kind="application/octet-stream"),
    "multipart/mixed": streams(PLAIN, kind="multipart/mixed; boundary=frame"),
    "text/plain": streams(PLAIN, kind="text/plain"),
    "video/x-motion-jpeg": streams(PLAIN, kind="video/x-motion-jpeg"),
    "the whole stream has length 0": streams(PLAIN, header=("Content-Length", "0")),
}


@pytest.mark.parametrize("behaviour", DIALECTS.values(), ids=DIALECTS)
def test_every_dialect_gives_the_pictures_as_they_are(server: Server, behaviour: Behaviour) -> None:
    server.behaviour = behaviour
    assert grabbed(server.url()) == SHOWN


@pytest.mark.parametrize("chunk", [0, 100])
def test_pictures_come_with_what_the_camera_itself_sent(server: Server, chunk: int) -> None:
    sent = picture(200)
    server.behaviour = streams(body([sent]), chunk=chunk)
    (frame,), end = watch(server.url())
    assert frame.encoded == sent and frame.index == 0
    assert frame.pixels.shape == (16, 16, 3) and abs(float(frame.pixels.mean()) - 200) < 5
    frame.pixels[:] = 0  # the receiver's own
    assert end.reason is Reason.SOURCE_LOST and "ended its stream" in str(end)


def test_what_is_no_whole_jpeg_is_no_frame(server: Server) -> None:
    whole, padded = picture(100), picture(50) + b"\x00\x00\r\n"
    damaged = [whole[:-40], b"", b"<html>busy</html>", whole[2:]]
    server.behaviour = streams(body([*damaged, padded]))
    (frame,), _ = watch(server.url())
    assert frame.encoded == picture(50)
    assert frame.index == 1, "a picture that was cut off counts as one that was lost"


def test_a_picture_that_cannot_be_decoded_is_passed_over(
    server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = b"\xff\xd8\xff\xc0\x00\x03\x00\xff\xda\x00\x03\x00 there is nothing in here \xff\xd9"
    seen = threading.Event()

    def behave(answer: Handler) -> None:
        streams(body([broken]))(answer)
        while not seen.wait(0.01):  # one that comes before it is asked for is passed over, too
            answer.wfile.write(body([picture(10)]))

    server.behaviour = behave
    settings = SourceSettings(address="x", open_s=FOREVER_S, stall_s=FOREVER_S)
    capture = open_capture(parse_source(f"camera:{server.url()}"), settings)
    frame = capture.read(FOREVER_S)
    seen.set()
    capture.close()
    assert isinstance(frame, Frame) and frame.encoded == picture(10)
    assert capfd.readouterr().err == ""


def test_a_stream_cut_off_in_mid_frame_gives_the_frames_before_it(server: Server) -> None:
    server.behaviour = streams(body([picture(1), picture(2, side=64)])[:-60])
    (frame,), end = watch(server.url())
    assert frame.encoded == picture(1) and end.reason is Reason.SOURCE_LOST


def test_a_stream_that_falls_silent_is_told_by_the_child_too(server: Server) -> None:
    over = threading.Event()

    def behave(answer: Handler) -> None:
        streams(body([picture(1)]))(answer)
        answer.wfile.flush()
        over.wait(FOREVER_S)

    server.behaviour = behave
    frames, end = watch(server.url(), stall_s=3.0)
    over.set()
    assert len(frames) == 1 and "sends nothing more" in str(end)


def wants(challenges: list[str], accepted: Callable[[str], bool]) -> Behaviour:
    def behave(answer: Handler) -> None:
        given = answer.headers.get("Authorization")
        if given is not None and accepted(given):
            streams(body([picture(1)]))(answer)
            return
        answer.send_response(401)
        for challenge in challenges:
            answer.send_header("WWW-Authenticate", challenge)
        answer.send_header("Content-Length", "0")
        answer.end_headers()

    return behave


BASIC = "Basic " + base64.b64encode(b"admin:hunt er2@").decode()


def test_a_password_is_given_only_when_it_is_asked_for(server: Server) -> None:
    server.behaviour = wants(['Basic realm="cam"'], lambda given: given == BASIC)
    frames, _ = watch(server.url(login="admin:hunt%20er2%40@"))
    assert len(frames) == 1
    assert [given for _, given in server.asked] == [None, BASIC]


def test_digest_is_taken_where_it_is_offered(server: Server) -> None:
    challenge = 'Digest realm="cam", nonce="n1", qop="auth", algorithm=MD5'

    def accepted(given: str) -> bool:
        parts = dict(part.split("=", 1) for part in given.removeprefix("Digest ").split(", "))
        fields = {"realm": "cam", "nonce": "n1", "qop": "auth", "algorithm": "MD5"}
        cnonce = parts["cnonce"].strip('"')
        return given == digest(HttpChallenge("digest", fields), "admin", "hunter2", "/c?q=1", cnonce)

    server.behaviour = wants(['Basic realm="cam"', challenge], accepted)
    frames, _ = watch(server.url("/c?q=1", login="admin:hunter2@"))
    assert len(frames) == 1
    assert not any(given and given.startswith("Basic") for _, given in server.asked)


def answers(status: int, kind: str = "text/html", location: str = "") -> Behaviour:
    def behave(answer: Handler) -> None:
        answer.send_response(status)
        answer.send_header("Content-Type", kind)
        answer.send_header("Content-Length", "0")
        if location:
            answer.send_header("Location", location)
        answer.end_headers()

    return behave


@pytest.mark.parametrize(
    ("behaviour", "reason", "says"),
    [
        (answers(404), Reason.SOURCE_MISSING, "answers 404 Not Found: it has nothing at this path"),
        (answers(403), Reason.SOURCE_MISSING, "answers 403 Forbidden: this user may not see it"),
        (answers(503), Reason.SOURCE_MISSING, "answers 503 Service Unavailable: it is busy"),
        (answers(418), Reason.SOURCE_MISSING, "answers 418 I'm a Teapot"),
        (answers(200), Reason.SOURCE_MISMATCH, "answers with text/html, expected multipart/x-mixed-replace"),
        (streams(b"", kind="text/html"), Reason.SOURCE_MISMATCH, "text/html.*no byte came"),
        (
            streams(b"<html>log in</html>", kind="text/html"),
            Reason.SOURCE_MISMATCH,
            "text/html, expected .*; 19 bytes came but no whole JPEG, first bytes b'<html>log in",
        ),
        (
            streams(b"\x89PNG\r\n" + bytes(300), kind="image/png"),
            Reason.SOURCE_MISMATCH,
            r"answers with image/png, .*first bytes b'.x89PNG",
        ),
        (
            streams(b"", header=("Content-Encoding", "br")),
            Reason.SOURCE_MISMATCH,
            "it is packed as 'br', which nobody asked for",
        ),
        (
            streams(b"abc", kind="", header=("Content-Encoding", "gzip")),
            Reason.SOURCE_MISMATCH,
            "it says that it is packed as gzip or deflate, and is not",
        ),
        (answers(302, location="http://[x/"), Reason.SOURCE_MISSING, "sends to what is no address"),
        (answers(302, location="/again"), Reason.SOURCE_MISSING, "sends from one address to the next"),
        (wants(["Basic"], lambda given: False), Reason.SOURCE_MISSING, "refuses this user and password"),
        (lambda answer: answer.wfile.write(b"RTSP/1.0 200 OK\r\n\r\n"), Reason.SOURCE_MISSING, "as HTTP"),
        (lambda answer: None, Reason.SOURCE_MISSING, "cannot be reached|as HTTP"),
    ],
)
def test_what_is_no_stream_is_one_line_without_credentials(
    server: Server, behaviour: Behaviour, reason: Reason, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    server.behaviour = behaviour
    url = server.url("/x?pwd=hunter2", login="admin:hunter2@")
    with pytest.raises(LinkError, match=says) as caught:
        watch(url)
    assert caught.value.reason is reason and caught.value.hint
    assert "hunter2" not in f"{caught.value}{caught.value.hint}" and "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_redirection_is_followed_but_a_password_is_not_given_to_strangers(server: Server) -> None:
    def behave(answer: Handler) -> None:
        if answer.path == "/cam.mjpg":
            answers(302, location=server.url("/other").replace("127.0.0.1", "localhost"))(answer)
        else:
            wants(["Basic"], lambda given: True)(answer)

    server.behaviour = behave
    says = "sends to localhost, which is another host and wants .*; those given are for 127.0.0.1 alone"
    with pytest.raises(LinkError, match=says):
        watch(server.url(login="admin:hunter2@"))
    assert {given for _, given in server.asked} == {None}


def test_a_camera_that_sends_to_another_host_says_so_while_it_works(server: Server) -> None:
    elsewhere = server.url("/other").replace("127.0.0.1", "localhost")

    def behave(answer: Handler) -> None:
        streams(body([picture(1)]))(answer)
        answer.wfile.flush()
        over.wait(FOREVER_S)

    over = threading.Event()
    server.behaviour = lambda answer: (
        answers(302, location=elsewhere) if answer.path == "/cam.mjpg" else behave
    )(answer)
    with opened(server.url()) as capture:
        assert capture.description() == {
            "kind": "camera",
            "name": server.url(),
            "encoding": "jpeg",
            "sent_to": "localhost",
        }
        over.set()


@pytest.mark.parametrize("url", ["http://u:pa#ss@h/x", "http://u:p@h:port/x", "http:///x", "http://[::1/x"])
def test_an_address_that_cannot_be_taken_apart_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(LinkError) as caught:
        watch(url)
    assert caught.value.reason is Reason.SOURCE_MISSING
    assert "pa#ss" not in f"{caught.value}{caught.value.hint}"
