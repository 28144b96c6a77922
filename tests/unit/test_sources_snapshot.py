"""A camera that gives one picture for each request is asked at a steady rate, over one connection."""

from __future__ import annotations

from contextlib import closing
from functools import cache
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
from galago_edge.sources.capture import mjpeg
from galago_edge.sources.capture.capture_messages import Order
from galago_edge.sources.capture.frame_memory import SharedMemory
from galago_edge.sources.capture.snapshot import SnapshotCamera, beat_after
from real_parts.web_camera import Behaviour, WebAnswer, WebCamera, answers, streams, wants_login

FOREVER_S = 60.0


@cache
def picture(level: int) -> bytes:
    data: bytes = cv2.imencode(".jpg", np.full((16, 16, 3), level, np.uint8))[1].tobytes()
    return data


class Parent:
    """Lets no time pass, and keeps how long each pause would have been."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)


def opened(camera: WebCamera, parent: Parent | None = None, login: str = "", fps: float = 1000.0) -> Any:
    order = Order(
        kind="mjpeg",
        target=camera.url(login=login),
        shown="yard",
        options={},
        fps=fps,
        rate_hz=None,
        open_s=FOREVER_S,
        stall_s=FOREVER_S,
    )
    found = mjpeg.open_camera(parent or Parent(), order)  # type: ignore[arg-type]
    assert isinstance(found, SnapshotCamera)
    return closing(found)


def grabbed(camera: SnapshotCamera) -> bytes:
    memory = SharedMemory()
    camera.grab()
    taken = camera.retrieve(memory)
    return b"" if taken is None else bytes(memory.room(taken[1])[: taken[1]])


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Each request is treated as the next of these, the last one again and again."""
    left = list(behaviours)

    def behave(answer: WebAnswer) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(answer)

    return behave


def snapshot(level: int) -> Behaviour:
    return answers(200, picture(level), kind="image/jpeg")


def test_each_request_gives_a_frame_over_one_connection(web_camera: WebCamera) -> None:
    web_camera.behaviour = in_turn(*(snapshot(level) for level in (10, 10, 30, 40)))
    with opened(web_camera) as camera:
        assert [grabbed(camera) for _ in range(4)] == [picture(level) for level in (10, 10, 30, 40)]
    assert len(web_camera.asked) == 4 and web_camera.connections == 2, "the first one cannot know"


@pytest.mark.parametrize(
    "behaviour",
    [
        streams(picture(1), kind="image/jpeg"),
        streams(picture(1), kind="image/jpeg", chunk=100),
        streams(picture(1), kind="image/jpg; charset=binary"),
        answers(200, picture(1), kind="application/octet-stream"),
        answers(200, b"\r\n" + picture(1) + b"\r\n", kind="text/plain"),
    ],
    ids=["no length", "chunked", "another name", "octet-stream", "with line ends"],
)
def test_a_snapshot_is_known_however_it_is_sent(web_camera: WebCamera, behaviour: Behaviour) -> None:
    web_camera.behaviour = behaviour
    with opened(web_camera) as camera:
        assert [grabbed(camera) for _ in range(3)] == [picture(1)] * 3
        assert camera.description().fps == 1000.0


def test_a_connection_that_the_camera_closed_meanwhile_is_made_again(web_camera: WebCamera) -> None:
    def closes(answer: WebAnswer) -> None:
        snapshot(2)(answer)  # says that it keeps the connection, and does not
        answer.close_connection = True

    web_camera.behaviour = closes
    with opened(web_camera) as camera:
        assert [grabbed(camera) for _ in range(4)] == [picture(2)] * 4


def test_one_that_is_not_whole_costs_a_frame_and_two_in_a_row_are_told(web_camera: WebCamera) -> None:
    cut = answers(200, picture(1)[:-50], kind="image/jpeg")
    page = answers(200, b"<html>busy</html>")
    web_camera.behaviour = in_turn(snapshot(1), cut, snapshot(2), cut, page)
    with opened(web_camera) as camera:
        assert [grabbed(camera) for _ in range(4)] == [picture(1), b"", picture(2), b""]
        with pytest.raises(
            LinkError, match="it gave snapshots, now 17 bytes came but no whole JPEG"
        ) as caught:
            camera.grab()
    assert caught.value.reason is Reason.SOURCE_MISMATCH


def test_an_answer_that_is_no_picture_is_told_in_words(web_camera: WebCamera) -> None:
    web_camera.behaviour = in_turn(snapshot(1), answers(503))
    with opened(web_camera) as camera:
        grabbed(camera)
        with pytest.raises(LinkError, match="answers 503 Service Unavailable: it is busy"):
            camera.grab()


def test_a_password_is_given_with_each_request_and_its_nonce_may_end(web_camera: WebCamera) -> None:
    """One nonce for three requests, counted."""
    given: list[str] = []

    def accepted(authorization: str) -> bool:
        given.append(authorization)
        return len(given) % 4 != 0  # what stale means, without a word of it

    way = 'Digest realm="r", nonce="n1", qop="auth"'
    web_camera.behaviour = wants_login([way], accepted, snapshot(5))
    with opened(web_camera, login="anna:hunter2@") as camera:
        assert [grabbed(camera) for _ in range(6)] == [picture(5)] * 6
    assert ["nc=00000001" in each for each in given[:5]] == [True, False, False, False, True]


@given(
    st.floats(0.001, 100.0),
    st.lists(st.floats(0.0, 300.0), min_size=1, max_size=20),
)
def test_turns_keep_their_beat_and_late_answers_cost_turns(period_s: float, took: list[float]) -> None:
    begin = beat = now = 1000.0
    for seconds in took:
        now = max(now, beat) + seconds
        before, beat = beat, beat_after(beat, period_s, now)
        assert beat > before and beat >= now - 1e-6 and beat - now <= period_s + 1e-6
        turns = (beat - begin) / period_s
        assert abs(turns - round(turns)) < 1e-6 * max(1.0, turns)


def test_it_waits_for_its_turn(web_camera: WebCamera) -> None:
    web_camera.behaviour = snapshot(1)
    parent = Parent()
    with opened(web_camera, parent, fps=0.01) as camera:
        for _ in range(3):
            grabbed(camera)
    first, second = parent.pauses
    assert 0.0 < first <= 100.0 < second <= 200.0, "no time passed, so the second turn is two periods away"


def test_the_whole_way_gives_frames_at_the_rate(web_camera: WebCamera) -> None:
    web_camera.behaviour = snapshot(200)
    settings = SourceSettings(address="x", open_s=FOREVER_S, stall_s=FOREVER_S, fps=20.0)
    capture = open_capture(parse_source(f"camera:{web_camera.url()}"), settings)
    try:
        frames = [capture.read(FOREVER_S) for _ in range(5)]
    finally:
        capture.close()
    assert all(isinstance(frame, Frame) and frame.encoded == picture(200) for frame in frames)
    indexes = [frame.index for frame in frames if isinstance(frame, Frame)]
    assert indexes == sorted(set(indexes)) and capture.description()["fps"] == 20.0
