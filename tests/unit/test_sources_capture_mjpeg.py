"""MJPEG over HTTP: whole pictures, whatever the pieces, the boundary lines and the server's manners are."""

from __future__ import annotations

import base64
import contextlib
import gzip
import re
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
import pytest

from galago_edge.contract.errors import LinkError, Reason
from galago_edge.contract.settings import SourceSettings
from galago_edge.contract.streams import Frame, Gap
from galago_edge.sources import open_capture, parse_source
from galago_edge.sources.capture import mjpeg
from galago_edge.sources.capture.capture_messages import Order
from galago_edge.sources.capture.frame_memory import SharedMemory
from galago_edge.sources.capture.http_credentials import HttpChallenge, digest
from galago_edge.sources.source import Capture
from real_parts.web_camera import (
    STREAM,
    Behaviour,
    WebAnswer,
    WebCamera,
    answers,
    parts,
    sends_to,
    streams,
    wants_login,
)
from test_kit.pictures import out_of_step_jpeg

FOREVER_S = 60.0


def picture(level: int, side: int = 16) -> bytes:
    return cv2.imencode(".jpg", np.full((side, side, 3), level, np.uint8))[1].tobytes()


def watch(url: str, **settings: Any) -> tuple[list[Frame], LinkError]:
    """Every frame up to the end of the stream, and the end."""
    settings = {"open_s": FOREVER_S, "stall_s": FOREVER_S} | settings
    capture = open_capture(parse_source(f"camera:{url}"), SourceSettings(address="x", **settings))
    frames = []
    try:
        while True:
            item = capture.read(FOREVER_S)
            if isinstance(item, Frame):
                frames.append(item)
            else:
                assert isinstance(item, Gap) and item.cause == "unreadable"
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


def written(answer: bytes) -> Behaviour:
    """Send exactly these bytes."""

    def behave(request: WebAnswer) -> None:
        request.close_connection = True
        request.wfile.write(answer)

    return behave


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
    "a junk line among the headers of the answer": written(
        b"HTTP/1.0 200 OK\r\nServer: cam\r\n<<junk>>\r\nContent-Type: multipart/x-mixed-replace\r\n\r\n"
        + PLAIN
    ),
    "headers of the answer end with LF alone": written(
        b"HTTP/1.0 200 OK\nContent-Type: multipart/x-mixed-replace, boundary=--frame\n\n" + PLAIN
    ),
    "the whole stream has length 0": streams(PLAIN, header=("Content-Length", "0")),
}


@pytest.mark.parametrize("behaviour", DIALECTS.values(), ids=DIALECTS)
def test_every_dialect_gives_the_pictures_as_they_are(web_camera: WebCamera, behaviour: Behaviour) -> None:
    web_camera.behaviour = behaviour
    assert grabbed(web_camera.url()) == SHOWN


@pytest.mark.parametrize("chunk", [0, 100])
def test_pictures_come_with_what_the_camera_itself_sent(web_camera: WebCamera, chunk: int) -> None:
    sent = picture(200)
    web_camera.behaviour = streams(parts([sent]), chunk=chunk)
    (frame,), end = watch(web_camera.url())
    assert frame.encoded == sent and frame.index == 0
    assert frame.pixels.shape == (16, 16, 3) and abs(float(frame.pixels.mean()) - 200) < 5
    frame.pixels[:] = 0  # the receiver's own
    assert end.reason is Reason.SOURCE_LOST and "ended its stream" in str(end)


def test_what_is_no_whole_jpeg_is_no_frame(web_camera: WebCamera) -> None:
    whole, padded = picture(100), picture(50) + b"\x00\x00\r\n"
    damaged = [whole[:-40], b"", b"<html>busy</html>", whole[2:]]
    web_camera.behaviour = streams(parts([*damaged, padded]))
    (frame,), _ = watch(web_camera.url())
    assert frame.encoded == picture(50)
    assert frame.index == 1, "a picture that was cut off counts as one that was lost"


def endless(picture: bytes, over: threading.Event, first: bytes = b"") -> Behaviour:
    """A camera that sends one picture again and again, behind another one."""

    def behave(answer: WebAnswer) -> None:
        streams(parts([first]) if first else b"")(answer)
        while not over.wait(0.01):  # one that comes before it is asked for is passed over
            answer.wfile.write(parts([picture]))

    return behave


@pytest.mark.parametrize(
    "damaged",
    [
        b"\xff\xd8\xff\xc0\x00\x03\x00\xff\xda\x00\x03\x00 there is nothing in here \xff\xd9",
        out_of_step_jpeg(),
    ],
    ids=["nothing in it", "out of step"],
)
def test_a_damaged_picture_is_passed_over_and_its_loss_is_told(
    damaged: bytes, web_camera: WebCamera, capfd: pytest.CaptureFixture[str]
) -> None:
    over = threading.Event()
    web_camera.behaviour = endless(picture(10), over, first=damaged)
    settings = SourceSettings(address="x", open_s=FOREVER_S, stall_s=FOREVER_S)
    capture = open_capture(parse_source(f"camera:{web_camera.url()}"), settings)
    try:
        gap, frame = capture.read(FOREVER_S), capture.read(FOREVER_S)
    finally:
        over.set()
        capture.close()
    assert isinstance(gap, Gap) and gap.cause == "unreadable"
    assert isinstance(frame, Frame) and frame.encoded == picture(10)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("damaged", ["skip", "conceal"])
def test_a_camera_whose_pictures_are_all_damaged_is_lost_unless_they_are_wanted(
    damaged: str, web_camera: WebCamera, capfd: pytest.CaptureFixture[str]
) -> None:
    over = threading.Event()
    web_camera.behaviour = endless(out_of_step_jpeg(), over)
    settings = SourceSettings(address="x", damaged=damaged)  # type: ignore[arg-type]
    capture = open_capture(parse_source(f"camera:{web_camera.url()}"), settings)
    try:
        told: list[Any] = []
        if damaged == "conceal":
            frame = capture.read(FOREVER_S)
            assert isinstance(frame, Frame) and frame.encoded == out_of_step_jpeg()
        else:
            with pytest.raises(LinkError, match="sends pictures that are all damaged, 5 in a row") as caught:
                for _ in range(6):
                    told.append(capture.read(FOREVER_S))
            assert [item.cause for item in told if isinstance(item, Gap)] == ["unreadable"] * 5
            assert caught.value.reason is Reason.SOURCE_MISMATCH and "conceal" in caught.value.hint
    finally:
        over.set()
        capture.close()
    assert capfd.readouterr().err == ""


def cut(amount: float) -> bytes:
    """A picture of noise without its end."""
    pixels = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    data = cv2.imencode(".jpg", pixels)[1].tobytes()
    return data[: round(len(data) * amount)]


@pytest.mark.parametrize("kind", [STREAM, "image/jpeg", ""])
@pytest.mark.parametrize("left", [0.3, 0.5, 0.99])
def test_a_camera_whose_pictures_are_all_cut_off_sends_damaged_ones(
    left: float, kind: str, web_camera: WebCamera
) -> None:
    over = threading.Event()

    def behave(answer: WebAnswer) -> None:
        streams(b"", kind=kind)(answer)
        while not over.wait(0.01):
            answer.wfile.write(parts([cut(left)]))

    web_camera.behaviour = behave
    try:
        frames, end = watch(web_camera.url())
        assert not frames
    except LinkError as error:  # it does not say that it is a stream, so it is not open before its first one
        end = error
    over.set()
    assert end.reason is Reason.SOURCE_MISMATCH
    assert "sends pictures that are all damaged: 5 in a row (one is cut off or damaged after " in str(end)
    assert "MJPEG" not in f"{end}{end.hint}" and "network" in end.hint


def test_each_picture_that_is_cut_off_is_told_before_the_camera_is_lost(web_camera: WebCamera) -> None:
    over = threading.Event()
    web_camera.behaviour = endless(cut(0.5), over, first=picture(10))
    told: list[Any] = []
    with opened(web_camera.url()) as capture, pytest.raises(LinkError, match="all damaged: 5 in a row"):
        while True:
            told.append(capture.read(FOREVER_S))
    over.set()
    assert isinstance(told[0], Frame)
    assert [item.cause for item in told[1:]] == ["unreadable"] * 5


def test_pictures_that_are_cut_off_and_come_slowly_are_damaged_ones_too(web_camera: WebCamera) -> None:
    over = threading.Event()
    web_camera.behaviour = comes_and_goes_on(parts([cut(0.5), b""]) + b"\xff\xd8\xff\xd8", over)
    frames, end = watch(web_camera.url(), open_s=3.0, stall_s=1.0)
    over.set()
    assert not frames and "sends pictures that are all damaged: in " in str(end) and "network" in end.hint


def test_a_camera_whose_pictures_can_never_be_decoded_says_so(web_camera: WebCamera) -> None:
    whole = picture(10)
    at = whole.index(b"\xff\xc0")
    lossless = whole[:at] + b"\xff\xc3" + whole[at + 2 :]  # JPEG, but of a kind that no camera here may send
    over = threading.Event()
    web_camera.behaviour = endless(lossless, over)
    frames, end = watch(web_camera.url())
    over.set()
    assert not frames and end.reason is Reason.SOURCE_MISMATCH
    assert "sends pictures that cannot be decoded, 5 in a row" in str(end)


def test_a_stream_cut_off_in_mid_frame_gives_the_frames_before_it(web_camera: WebCamera) -> None:
    web_camera.behaviour = streams(parts([picture(1), picture(2, side=64)])[:-60])
    (frame,), end = watch(web_camera.url())
    assert frame.encoded == picture(1) and end.reason is Reason.SOURCE_LOST


def test_a_stream_that_falls_silent_is_told_by_the_child_too(web_camera: WebCamera) -> None:
    over = threading.Event()

    def behave(answer: WebAnswer) -> None:
        streams(parts([picture(1)]))(answer)
        answer.wfile.flush()
        over.wait(FOREVER_S)

    web_camera.behaviour = behave
    frames, end = watch(web_camera.url(), stall_s=3.0)
    over.set()
    assert len(frames) == 1 and "sends nothing more" in str(end)


ONE = streams(parts([picture(1)]))
BASIC = "Basic " + base64.b64encode(b"admin:hunt er2@").decode()


def test_a_password_is_given_only_when_it_is_asked_for(web_camera: WebCamera) -> None:
    web_camera.behaviour = wants_login(['Basic realm="cam"'], lambda given: given == BASIC, ONE)
    frames, _ = watch(web_camera.url(login="admin:hunt%20er2%40@"))
    assert len(frames) == 1
    assert [given for _, given in web_camera.asked] == [None, BASIC]


def test_digest_is_taken_where_it_is_offered(web_camera: WebCamera) -> None:
    challenge = 'Digest realm="cam", nonce="n1", qop="auth", algorithm=MD5'

    def accepted(given: str) -> bool:
        told = dict(part.split("=", 1) for part in given.removeprefix("Digest ").split(", "))
        fields = {"realm": "cam", "nonce": "n1", "qop": "auth", "algorithm": "MD5"}
        cnonce = told["cnonce"].strip('"')
        return given == digest(HttpChallenge("digest", fields), "admin", "hunter2", "/c?q=1", cnonce)

    web_camera.behaviour = wants_login(['Basic realm="cam"', challenge], accepted, ONE)
    frames, _ = watch(web_camera.url("/c?q=1", login="admin:hunter2@"))
    assert len(frames) == 1
    assert not any(given and given.startswith("Basic") for _, given in web_camera.asked)


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
        (sends_to("http://[x/"), Reason.SOURCE_MISSING, "sends to what is no address"),
        (sends_to("/again"), Reason.SOURCE_MISSING, "sends from one address to the next"),
        (
            wants_login(["Basic"], lambda given: False, ONE),
            Reason.SOURCE_MISSING,
            "refuses this user and password",
        ),
        (lambda answer: answer.wfile.write(b"RTSP/1.0 200 OK\r\n\r\n"), Reason.SOURCE_MISSING, "as HTTP"),
        (lambda answer: None, Reason.SOURCE_MISSING, "cannot be reached|as HTTP"),
    ],
)
def test_what_is_no_stream_is_one_line_without_credentials(
    web_camera: WebCamera, behaviour: Behaviour, reason: Reason, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    web_camera.behaviour = behaviour
    url = web_camera.url("/x?pwd=hunter2", login="admin:hunter2@")
    with pytest.raises(LinkError, match=says) as caught:
        watch(url)
    assert caught.value.reason is reason and caught.value.hint
    assert "hunter2" not in f"{caught.value}{caught.value.hint}" and "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_redirection_is_followed_but_a_password_is_not_given_to_strangers(web_camera: WebCamera) -> None:
    def behave(answer: WebAnswer) -> None:
        if answer.path == "/cam.mjpg":
            sends_to(web_camera.url("/other").replace("127.0.0.1", "localhost"))(answer)
        else:
            wants_login(["Basic"], lambda given: True, ONE)(answer)

    web_camera.behaviour = behave
    says = "sends to localhost, which is another host and wants .*; those given are for 127.0.0.1 alone"
    with pytest.raises(LinkError, match=says):
        watch(web_camera.url(login="admin:hunter2@"))
    assert {given for _, given in web_camera.asked} == {None}


def test_a_camera_that_sends_to_another_host_says_so_while_it_works(web_camera: WebCamera) -> None:
    elsewhere = web_camera.url("/other").replace("127.0.0.1", "localhost")

    def behave(answer: WebAnswer) -> None:
        streams(parts([picture(1)]))(answer)
        answer.wfile.flush()
        over.wait(FOREVER_S)

    over = threading.Event()
    web_camera.behaviour = lambda answer: (sends_to(elsewhere) if answer.path == "/cam.mjpg" else behave)(
        answer
    )
    with opened(web_camera.url()) as capture:
        assert capture.description() == {
            "kind": "camera",
            "name": web_camera.url(),
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


@pytest.mark.parametrize("password", ["hunter2#secret", "p@ss/w%rd", "wört er"])
def test_a_password_may_hold_anything_when_it_is_escaped(web_camera: WebCamera, password: str) -> None:
    basic = "Basic " + base64.b64encode(f"anna:{password}".encode()).decode()
    web_camera.behaviour = wants_login(["Basic"], lambda given: given == basic, ONE)
    frames, _ = watch(web_camera.url(login=f"anna:{quote(password, safe='')}@"))
    assert len(frames) == 1


def test_a_user_beyond_latin_letters_is_sent_in_utf8(web_camera: WebCamera) -> None:
    def accepted(given: str) -> bool:
        return 'username="жук"' in given.encode("latin-1").decode()

    web_camera.behaviour = wants_login(['Digest realm="r", nonce="n"'], accepted, ONE)
    assert grabbed(web_camera.url(login=f"{quote('жук')}:secret@")) == [picture(1)]


def test_a_nonce_that_is_stale_is_replaced(web_camera: WebCamera) -> None:
    nonces = iter(["n1", "n2", "n3"])

    def behave(answer: WebAnswer) -> None:
        given = answer.headers.get("Authorization") or ""
        if 'nonce="n2"' in given:
            ONE(answer)
            return
        stale = ", stale=true" if given else ""
        way = f'Digest realm="r", nonce="{next(nonces)}", qop="auth"{stale}'
        answers(401, headers=[("WWW-Authenticate", way)])(answer)

    web_camera.behaviour = behave
    assert grabbed(web_camera.url(login="anna:hunter2@")) == [picture(1)]
    assert len(web_camera.asked) == 3


def test_one_that_calls_every_nonce_stale_is_given_up(web_camera: WebCamera) -> None:
    way = 'Digest realm="r", nonce="n", stale=true'
    web_camera.behaviour = answers(401, headers=[("WWW-Authenticate", way)])
    with pytest.raises(LinkError, match="lets nobody in: each answer asks for the password in a new way"):
        opened_here(order(web_camera.url(login="anna:hunter2@")))
    assert len(web_camera.asked) < 10


def test_a_way_to_log_in_that_is_not_known_is_said(web_camera: WebCamera) -> None:
    web_camera.behaviour = wants_login(["NTLM", "Negotiate"], lambda given: True, ONE)
    with pytest.raises(LinkError, match=r"wants a password by 'NTLM, Negotiate', expected Digest"):
        opened_here(order(web_camera.url(login="anna:hunter2@")))
    assert {given for _, given in web_camera.asked} == {None}


PASSWORD = "Tr0ub4dor;and,3=more"


@pytest.mark.parametrize(
    "behaviour",
    [
        answers(401, headers=[("WWW-Authenticate", f"Strange {'x' * 60} {PASSWORD}")]),
        answers(401, headers=[("WWW-Authenticate", PASSWORD)]),
        answers(299, phrase="n" * 75 + PASSWORD),
        streams(b"", kind="text/" + "x" * 70 + PASSWORD),
        streams(b"", header=("Content-Encoding", "x" * 15 + PASSWORD)),
        streams(b"z" * 35 + PASSWORD.encode() + b"z" * 900, kind="text/plain"),
        streams((b"(" + PASSWORD.encode() + b")") * 40, kind="text/plain"),
    ],
    ids=["challenge", "scheme", "reason", "type", "packing", "body", "body that is one password"],
)
def test_what_a_camera_echoes_shows_no_beginning_of_the_password(
    behaviour: Behaviour, web_camera: WebCamera
) -> None:
    web_camera.behaviour = behaviour
    with pytest.raises(LinkError) as caught:
        opened_here(order(web_camera.url(login=f"anna:{quote(PASSWORD, safe='')}@"), open_s=2.0, stall_s=2.0))
    assert "***" in str(caught.value)
    assert PASSWORD[:3].lower() not in str(caught.value).lower()


def test_blanks_and_letters_in_a_path_are_escaped(web_camera: WebCamera) -> None:
    web_camera.behaviour = ONE
    assert grabbed(web_camera.url("/Hof Süd.mjpg?size=big one&x=%20")) == [picture(1)]
    assert web_camera.asked == [("/Hof%20S%C3%BCd.mjpg?size=big%20one&x=%20", None)]


def comes_and_goes_on(data: bytes, over: threading.Event, kind: str = STREAM) -> Behaviour:
    """Send ``data`` and then single bytes for ever."""

    def behave(answer: WebAnswer) -> None:
        streams(data, kind=kind)(answer)
        while not over.wait(0.02):
            answer.wfile.write(b"z")

    return behave


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"--frame\r\nContent-Type: image/png\r\n\r\n", "no whole JPEG, first bytes b'--frame"),
        (b"\x00\x01\x1b[31m", r"no whole JPEG, first bytes b'.x00.x01.x1b\[31mz"),
        (parts([picture(1)[:-9]]), "no whole JPEG, first bytes"),
        (parts([picture(1)]) + b"<html>", "no whole JPEG, first bytes b'.r.n<html>z"),
    ],
    ids=["png", "control characters", "never whole", "after a picture"],
)
def test_bytes_without_pictures_are_told_with_what_they_are(
    web_camera: WebCamera, data: bytes, says: str
) -> None:
    """Sooner than the parent gives up, which knows nothing of them."""
    over = threading.Event()
    web_camera.behaviour = comes_and_goes_on(data, over)
    frames, end = watch(web_camera.url(), open_s=3.0, stall_s=1.0)
    over.set()
    assert end.reason is Reason.SOURCE_MISMATCH and "sends no MJPEG stream: in " in str(end)
    assert re.search(says, str(end)) and len(frames) <= 1


def test_a_camera_that_shows_something_after_a_long_silence_is_not_taken_for_one_that_sends_junk(
    web_camera: WebCamera,
) -> None:
    """Its picture comes in pieces, the first of them after the time in which one should have been whole."""
    shown = picture(1, 640)

    def behave(answer: WebAnswer) -> None:
        streams(parts([picture(2)]))(answer)
        time.sleep(2.0)
        for at in range(0, len(shown), 500):
            answer.wfile.write(shown[at : at + 500])
            time.sleep(0.01)

    web_camera.behaviour = behave
    camera = opened_here(order(web_camera.url()))
    with contextlib.closing(camera):
        camera._pictures.wait_for_picture(1.0)
        assert camera._pictures.next_picture() == picture(2)
        assert camera._pictures.next_picture() == shown


def test_a_stream_that_ends_before_its_first_picture_says_what_came(web_camera: WebCamera) -> None:
    web_camera.behaviour = streams(b"--frame\r\n\r\n" + picture(1)[:99])
    frames, end = watch(web_camera.url())
    assert not frames and end.reason is Reason.SOURCE_LOST
    assert "ended its stream before its first picture: 110 bytes came but no whole JPEG" in str(end)
    assert "(one is cut off after 99 bytes), first bytes b'--frame" in str(end)


def test_a_stream_that_falls_silent_before_its_first_picture_says_what_came(web_camera: WebCamera) -> None:
    over = threading.Event()

    def behave(answer: WebAnswer) -> None:
        streams(b"--frame\r\n\r\nno jpeg")(answer)
        answer.wfile.flush()
        over.wait(FOREVER_S)

    web_camera.behaviour = behave
    frames, end = watch(web_camera.url(), stall_s=0.5)
    over.set()
    assert not frames and end.reason is Reason.SOURCE_LOST
    assert "sends nothing more before its first picture: 18 bytes came but no whole JPEG" in str(end)


CONTAINERS = {
    "FLV": b"FLV\x01\x05\x00\x00\x00\x09" + bytes(300),
    "HLS": b"#EXTM3U\n#EXT-X-VERSION:3\n",
    "MPEG-TS": (b"G" + bytes(187)) * 3,
    "fragmented MP4": b"\x00\x00\x00\x18ftypiso5" + bytes(300),
    "Matroska": b"\x1aE\xdf\xa3" + bytes(300),
    "H.264": b"\x00\x00\x00\x01\x67" + bytes(300),
}


@pytest.mark.parametrize("data", CONTAINERS.values(), ids=CONTAINERS)
@pytest.mark.parametrize("kind", ["", "application/octet-stream"])
def test_a_stream_of_another_kind_is_handed_over(web_camera: WebCamera, data: bytes, kind: str) -> None:
    web_camera.behaviour = streams(data, kind=kind)
    with pytest.raises(mjpeg.ContainerStreamError):
        opened_here(order(web_camera.url()))


@pytest.mark.parametrize(
    "kind", ["application/vnd.apple.mpegurl", "video/mp2t", "audio/mpegurl", "video/x-flv"]
)
def test_a_stream_is_known_by_its_type_too(web_camera: WebCamera, kind: str) -> None:
    web_camera.behaviour = streams(b"anything", kind=kind)
    with pytest.raises(mjpeg.ContainerStreamError):
        opened_here(order(web_camera.url()))


def test_one_picture_without_a_rate_is_refused_in_words(web_camera: WebCamera) -> None:
    web_camera.behaviour = answers(200, picture(1), kind="image/jpeg")
    with pytest.raises(LinkError, match=r"sends a snapshot, not a stream: one JPEG of \d+ bytes") as caught:
        watch(web_camera.url())
    assert caught.value.reason is Reason.SOURCE_MISMATCH
    assert caught.value.hint == "fps = 1 in its [source.NAME] asks for it once a second"
