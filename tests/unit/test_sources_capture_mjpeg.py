"""MJPEG over HTTP: whole pictures, whatever the pieces, the boundary lines and the server's manners are."""

from __future__ import annotations

import base64
import http.server
import threading
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.errors import LinkError, Reason
from galago_edge.contract.settings import SourceSettings
from galago_edge.contract.streams import Frame
from galago_edge.sources import open_capture, parse_source
from galago_edge.sources.capture.mjpeg import PartReader, digest

FOREVER_S = 60.0


def picture(level: int, side: int = 16) -> bytes:
    return cv2.imencode(".jpg", np.full((side, side, 3), level, np.uint8))[1].tobytes()


def reader(data: bytes, cuts: list[int], boundary: bytes) -> PartReader:
    """A reader that gets ``data`` in pieces of the lengths in ``cuts``, over and over."""
    at, turn = 0, 0

    def read() -> bytes:
        nonlocal at, turn
        size = cuts[turn % len(cuts)]
        piece = data[at : at + size]
        at, turn = at + size, turn + 1
        return piece

    return PartReader(read, boundary)


def parts_of(data: bytes, boundary: bytes, cuts: list[int] | None = None) -> list[bytes]:
    parts = reader(data, cuts or [1 << 16], boundary)
    return list(iter(parts.next_part, None))


def body(
    parts: list[bytes], *, length: bool = True, boundary: bytes = b"frame", end: bytes = b"\r\n"
) -> bytes:
    said = b"".join(
        b"--%s\r\nContent-Type: image/jpeg\r\n%s\r\n%s%s"
        % (boundary, b"Content-Length: %d\r\n" % len(part) if length else b"", part, end)
        for part in parts
    )
    return said + (b"" if length else b"--%s\r\n" % boundary)


binary = st.lists(st.sampled_from([b"--", b"\r\n", b"frame", b"\n", b"\xff\xd8", b"\x00", b"a"]), max_size=12)


@given(st.lists(binary.map(b"".join), max_size=5), st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_with_lengths_any_content_in_any_pieces_comes_out_whole(parts: list[bytes], cuts: list[int]) -> None:
    assert parts_of(body(parts), b"frame", cuts) == parts


@given(
    st.lists(st.binary(min_size=1, max_size=60).filter(lambda part: b"-" not in part), max_size=5),
    st.lists(st.integers(1, 40), min_size=1, max_size=5),
)
def test_without_lengths_the_boundary_ends_a_part(parts: list[bytes], cuts: list[int]) -> None:
    assert parts_of(body(parts, length=False), b"frame", cuts) == parts


@pytest.mark.parametrize("declared", [b"frame", b'"frame"', b"--frame", b""])
def test_boundaries_are_understood_as_cameras_write_them(declared: bytes) -> None:
    assert parts_of(body([b"one", b"two"]), declared) == [b"one", b"two"]
    assert parts_of(body([b"one", b"two"], length=False), declared) == [b"one", b"two"]


def test_a_line_end_may_be_missing_before_a_boundary() -> None:
    assert parts_of(body([b"one", b"two"], end=b""), b"frame") == [b"one", b"two"]


def test_the_last_boundary_ends_the_body() -> None:
    assert parts_of(body([b"one"])[:-2] + b"\r\n--frame--\r\n", b"frame") == [b"one"]
    assert parts_of(b"--frame\r\n\r\none\r\n--frame--\r\n", b"frame") == [b"one"]


@pytest.mark.parametrize("length", [True, False])
def test_a_part_that_the_end_cuts_off_is_none(length: bool) -> None:
    whole = body([b"one", b"x" * 1000], length=length)
    for cut in (1, 2, 50, 900):
        assert parts_of(whole[: len(whole) - 100 - cut], b"frame") == [b"one"]


def test_after_a_wrong_length_it_finds_the_next_picture() -> None:
    wrong = body([b"one", b"two"]).replace(b"Content-Length: 3", b"Content-Length: 2", 1)
    assert parts_of(wrong, b"frame") == [b"on", b"two"]


@pytest.mark.parametrize(
    "data",
    [
        b"--frame\r\nContent-Length: 99999999\r\n\r\n",
        b"--frame\r\n" + b"x" * 20_000,
        b"x" * 40_000_000,
    ],
)
def test_what_no_camera_sends_is_refused_before_it_fills_the_memory(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"bytes|line"):
        parts_of(data, b"frame")


def test_the_digest_is_the_one_of_the_standard() -> None:
    """RFC 7616, section 3.9.1."""
    fields = {
        "realm": "http-auth@example.org",
        "qop": "auth, auth-int",
        "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        "opaque": "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
    }
    cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    path = "/dir/index.html"
    answer = digest(fields | {"algorithm": "MD5"}, "Mufasa", "Circle of Life", path, cnonce)
    assert 'response="8ca523f5e9506fed4657c9700eebdbec"' in answer
    answer = digest(fields | {"algorithm": "SHA-256"}, "Mufasa", "Circle of Life", path, cnonce)
    assert 'response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"' in answer


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


def streams(data: bytes, *, chunk: int = 0) -> Behaviour:
    def behave(answer: Handler) -> None:
        answer.send_response(200)
        answer.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
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


def watch(url: str, **settings: float) -> tuple[list[Frame], LinkError]:
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
    assert frame.encoded == picture(50) and frame.index == 0


def test_a_picture_that_cannot_be_decoded_is_passed_over(
    server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = b"\xff\xd8 there is nothing in here \xff\xd9"
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
        fields = {"realm": "cam", "nonce": "n1", "qop": "auth"}
        return given == digest(fields, "admin", "hunter2", "/c?q=1", parts["cnonce"].strip('"'))

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
        (answers(404), Reason.SOURCE_MISSING, "answers 404 Not Found"),
        (answers(200), Reason.SOURCE_MISMATCH, "answers with text/html, expected multipart/x-mixed-replace"),
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
    with pytest.raises(LinkError, match="wants a user and a password"):
        watch(server.url(login="admin:hunter2@"))
    assert {given for _, given in server.asked} == {None}


@pytest.mark.parametrize("url", ["http://u:pa#ss@h/x", "http://u:p@h:port/x", "http:///x", "http://[::1/x"])
def test_an_address_that_cannot_be_taken_apart_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(LinkError) as caught:
        watch(url)
    assert caught.value.reason is Reason.SOURCE_MISSING
    assert "pa#ss" not in f"{caught.value}{caught.value.hint}"
