"""``galago_edge.Stream``: the pipeline itself, fed by a program.

The modules galago_edge.api.fed_stream, galago_edge.api.fed_items and galago_edge.api.sole_user.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import galago_edge
from galago_edge import (
    Bundle,
    CallerError,
    EventRecord,
    GapRecord,
    InputError,
    LinkError,
    Reason,
    Record,
    ScoresRecord,
    StateRecord,
    Stream,
    encode_record,
    replay,
)
from galago_edge.contract.manifest import Label, LabelPolicy
from test_kit import make_bundle, wav_bytes

POLICY = LabelPolicy(on=0.6, off=0.4, smoothing_windows=2, min_count=2, refractory_ms=500)
RATE_HZ = 16_000


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory, tiny_image_model: bytes) -> Bundle:
    path = tmp_path_factory.mktemp("cam") / "cam.galago"
    make_bundle(path, tiny_image_model, labels("dark", "mid", "bright"))
    return galago_edge.open_bundle(path, unverified=True)


@pytest.fixture(scope="module")
def microphone(tmp_path_factory: pytest.TempPathFactory, tiny_audio_model: bytes) -> Bundle:
    path = tmp_path_factory.mktemp("mic") / "mic.galago"
    make_bundle(path, tiny_audio_model, labels("quiet", "low", "high"), modality="microphone")
    return galago_edge.open_bundle(path, unverified=True)


def labels(*names: str) -> list[Label]:
    return [Label(name=name, background=not index, policy=POLICY) for index, name in enumerate(names)]


def sound(rate_hz: int = RATE_HZ) -> npt.NDArray[np.int16]:
    """6 s with a low tone from 1 s to 2 s and another from 4 s to 5 s."""
    time_s = np.arange(6 * rate_hz) / rate_hz
    tone = 12_000 * np.sin(2 * np.pi * 300 * time_s)
    return np.rint(tone * ((time_s >= 1) & (time_s < 2) | (time_s >= 4) & (time_s < 5))).astype(np.int16)


def picture(level: int) -> npt.NDArray[np.uint8]:
    return np.full((48, 64, 3), level, np.uint8)


def without_source(records: Sequence[Record]) -> list[bytes]:
    """The first and the last record tell of the source, which is another one."""
    return [encode_record(record) for record in records[1:-1]]


def kinds(records: Sequence[Record]) -> list[str]:
    return [record.state if record.kind == "state" else record.kind for record in records]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(cuts=st.lists(st.integers(0, 6 * RATE_HZ), max_size=12))
def test_samples_in_any_pieces_give_the_records_of_a_replay(
    cuts: list[int], microphone: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "whole.wav"
    path.write_bytes(wav_bytes(sound(), RATE_HZ))
    expected = list(replay(path, microphone, scores=True))
    records: list[Record] = []
    events: list[EventRecord] = []
    with Stream(microphone, name="replay", scores=True, emit=records.extend) as stream:
        for piece in np.split(sound(), sorted(cuts)):
            events += stream.feed_samples(piece)
    assert without_source(records) == without_source(expected)
    assert [event.label for event in events] == ["low", "low"]
    assert events == [record for record in records if isinstance(record, EventRecord)]


def test_a_buffer_may_be_used_again_as_soon_as_it_was_fed(microphone: Bundle) -> None:
    buffer = np.empty(1_600, np.int16)
    events = []
    with Stream(microphone) as stream:
        for start in range(0, 6 * RATE_HZ, len(buffer)):
            buffer[:] = sound()[start : start + len(buffer)]
            events += stream.feed_samples(buffer)
            buffer[:] = 12_345
    assert [event.label for event in events] == ["low", "low"]


@pytest.mark.parametrize("block", [1, 777, 48_000])
def test_samples_at_another_rate_are_converted_as_those_of_a_recording(
    block: int, microphone: Bundle, tmp_path: Path
) -> None:
    samples = sound(48_000)[: 3 * 48_000] if block > 1 else sound(48_000)[:24_000]
    path = tmp_path / "night.wav"
    path.write_bytes(wav_bytes(samples, 48_000))
    expected = list(replay(path, microphone, scores=True))
    records: list[Record] = []
    with Stream(microphone, name="replay", rate_hz=48_000, scores=True, emit=records.extend) as stream:
        for start in range(0, len(samples), block):
            stream.feed_samples(samples[start : start + block])
        stream.finish()
    assert without_source(records) == without_source(expected)
    assert kinds(records)[1] == "converted"


def test_frames_at_a_rate_give_the_records_of_a_replay(camera: Bundle, tmp_path: Path) -> None:
    levels = [30] * 5 + [225] * 8 + [30] * 4
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, level in enumerate(levels):
        cv2.imwrite(str(folder / f"{number:03}.png"), picture(level))
    expected = list(replay(f"{folder}?fps=29.97", camera, scores=True))
    records: list[Record] = []
    with Stream(camera, name="replay", fps=29.97, scores=True, emit=records.extend) as stream:
        for level in levels:
            stream.feed_frame(picture(level))
    assert without_source(records) == without_source(expected)


def test_frames_count_by_the_times_that_are_given(camera: Bundle) -> None:
    events = []
    with Stream(camera) as stream:
        for number in range(6):
            events += stream.feed_frame(picture(225), time_ns=5_000_000_000 + number * 250_000_000)
    (event,) = events
    assert (event.label, event.start_index, event.start_ns) == ("bright", 1, 5_250_000_000)


def test_the_rate_gives_times_from_the_start_that_was_given(camera: Bundle) -> None:
    records: list[Record] = []
    with Stream(camera, fps=Fraction(4), start_ns=10**9, scores=True, emit=records.extend) as stream:
        stream.feed_frame(picture(30))
        stream.feed_frame(picture(30), index=4)  # three were dropped
        stream.feed_frame(picture(30))
    scored = [record for record in records if isinstance(record, ScoresRecord)]
    assert [record.start_index for record in scored] == [0, 4, 5]
    assert [record.start_ns for record in scored] == [10**9, 2 * 10**9, 2_250_000_000]
    first, last = records[0], records[-1]
    assert isinstance(first, StateRecord) and isinstance(last, StateRecord)
    assert first.detail["source"] == {"kind": "frames", "fps": "4"}
    assert last.detail["source"] == {"frames": 3}


def test_both_orders_of_colours_are_taken(camera: Bundle) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    records: list[Record] = []
    with Stream(camera, fps=5, scores=True, emit=records.extend) as stream:
        stream.feed_frame(pixels)
        stream.feed_frame(pixels[..., ::-1], color="rgb")
    first, second = [record.logits for record in records if isinstance(record, ScoresRecord)]
    assert first == second


def test_first_and_last_record_tell_the_whole_stream(microphone: Bundle) -> None:
    records: list[Record] = []
    with Stream(microphone, name="hall", emit=records.extend) as stream:
        assert kinds(records) == ["started"]
        stream.feed_samples(sound())
    first, last = records[0], records[-1]
    assert isinstance(first, StateRecord) and isinstance(last, StateRecord)
    assert first.stream == last.stream == "hall"
    assert first.detail["bundle"] == microphone.id
    assert first.detail["source"] == {"kind": "samples", "encoding": "s16", "channels": 1, "rate_hz": RATE_HZ}
    assert (last.state, last.detail["source"]) == ("ended", {"samples": 6 * RATE_HZ})
    assert last.detail["events"] == 2


def test_lost_samples_are_a_gap_and_smoothing_begins_anew(microphone: Bundle) -> None:
    records: list[Record] = []
    with Stream(microphone, emit=records.extend) as stream:
        stream.feed_samples(sound()[: 2 * RATE_HZ])
        stream.feed_samples(sound()[4 * RATE_HZ :], first_sample=4 * RATE_HZ)
    (gap,) = [record for record in records if isinstance(record, GapRecord)]
    assert (gap.from_ns, gap.to_ns, gap.cause) == (2 * 10**9, 4 * 10**9, "drop")
    second = [record for record in records if isinstance(record, EventRecord)][-1]
    assert second.start_index >= 4 * RATE_HZ


def test_lost_samples_at_another_rate_are_a_gap_too(microphone: Bundle) -> None:
    records: list[Record] = []
    with Stream(microphone, rate_hz=48_000, emit=records.extend) as stream:
        stream.feed_samples(sound(48_000)[:48_000])
        stream.feed_samples(sound(48_000)[4 * 48_000 :], first_sample=4 * 48_000)
    (gap,) = [record for record in records if isinstance(record, GapRecord)]
    assert (gap.from_ns, gap.to_ns) == (10**9, 4 * 10**9)
    (event,) = [record for record in records if isinstance(record, EventRecord)]
    assert event.start_index >= 4 * RATE_HZ


def test_a_gap_that_is_told_ends_labels_and_moves_the_clock_of_sound(microphone: Bundle) -> None:
    records: list[Record] = []
    with Stream(microphone, start_ns=10**9, scores=True, emit=records.extend) as stream:
        stream.feed_samples(sound()[: 3 * RATE_HZ // 2])
        assert stream.feed_gap(9 * 10**9, cause="overrun") == []
        stream.feed_samples(sound()[: RATE_HZ // 2])
    at = kinds(records).index("gap")
    assert kinds(records)[at - 1] == "off"
    gap, after = records[at], records[at + 1]
    assert isinstance(gap, GapRecord) and isinstance(after, ScoresRecord)
    assert (gap.from_ns, gap.to_ns, gap.cause) == (2_500_000_000, 9 * 10**9, "overrun")
    assert (after.start_index, after.start_ns, after.warm_up) == (8 * RATE_HZ, 9 * 10**9, True)


def test_a_gap_that_is_told_moves_the_clock_of_frames(camera: Bundle) -> None:
    records: list[Record] = []
    with Stream(camera, fps=4, scores=True, emit=records.extend) as stream:
        stream.feed_frame(picture(30))
        stream.feed_gap(1_100_000_000, cause="disconnect")
        stream.feed_frame(picture(30))
    (gap,) = [record for record in records if isinstance(record, GapRecord)]
    assert (gap.from_ns, gap.to_ns, gap.cause) == (0, 1_100_000_000, "disconnect")
    after = records[-2]
    assert isinstance(after, ScoresRecord)
    assert (after.start_index, after.start_ns) == (5, 1_250_000_000)


def test_thresholds_of_the_program_count_and_are_told(camera: Bundle) -> None:
    events = []
    with Stream(camera, fps=4, thresholds={"bright": {"on": 0.7}}) as stream:
        for _ in range(4):
            events += stream.feed_frame(picture(225))
    assert events[0].overrides == {"on": {"manifest": 0.6, "device": 0.7}}
    with pytest.raises(CallerError) as caught:
        Stream(camera, fps=4, thresholds={"blue": {"on": 0.7}})
    assert caught.value.reason is Reason.CONFIG_BAD


def test_finish_gives_the_events_of_what_was_still_being_converted(microphone: Bundle) -> None:
    records: list[Record] = []
    stream = Stream(microphone, rate_hz=48_000, emit=records.extend)
    assert stream.feed_samples(sound(48_000)[: 3 * 19_520]) == []  # where the deciding window ends
    (event,) = stream.finish()
    assert (event.label, event.end_index) == ("low", 19_520)
    assert kinds(records)[-2:] == ["event", "ended"]
    assert stream.finish() == []
    assert kinds(records).count("ended") == 1


WRONG: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    ("camera", {"fps": 0}, ValueError, "fps is 0, expected from 1/1000 to 1000"),
    ("camera", {"fps": "fast"}, ValueError, "fps is 'fast', expected"),
    ("camera", {"fps": "1/0"}, ValueError, "fps is '1/0', expected"),
    ("camera", {"fps": float("nan")}, ValueError, "fps is nan, expected"),
    ("camera", {"fps": 0.0009}, ValueError, "fps is 0.0009, expected from 1/1000"),
    ("camera", {"fps": "1e1000000000"}, ValueError, "fps is '1e1000000000', expected"),
    ("camera", {"start_ns": 1 << 62}, ValueError, "start_ns is beyond 4611686018427387904"),
    ("camera", {"start_ns": 0.5}, TypeError, r"start_ns is 0\.5, expected an integer"),
    ("camera", {"start_ns": -1}, ValueError, "start_ns is -1, expected 0 or more"),
    ("camera", {"rate_hz": 16_000}, InputError, "for a camera, the program gives samples, 16000 a second"),
    ("microphone", {"fps": 5}, InputError, "for a microphone, the program gives frames, 5 a second"),
    ("microphone", {"rate_hz": 0}, ValueError, "rate_hz is 0, expected 1000 to"),
    ("microphone", {"rate_hz": "16k"}, TypeError, "rate_hz is '16k', expected an integer"),
]


@pytest.mark.parametrize(("kind", "options", "error", "message"), WRONG)
def test_a_wrong_option_is_told_what_was_met_and_expected(
    kind: str,
    options: dict[str, Any],
    error: type[Exception],
    message: str,
    camera: Bundle,
    microphone: Bundle,
) -> None:
    with pytest.raises(error, match=message):
        Stream(camera if kind == "camera" else microphone, **options)


def test_a_wrong_frame_is_told_what_was_met_and_expected(camera: Bundle) -> None:
    with Stream(camera) as stream:
        with pytest.raises(ValueError, match=r"nothing says when the frame was taken; expected fps=\.\.\."):
            stream.feed_frame(picture(30))
        stream.feed_frame(picture(30), time_ns=7, index=3)
        with pytest.raises(ValueError, match="time_ns is 6, expected at least 7: time does not go back"):
            stream.feed_frame(picture(30), time_ns=6)
        with pytest.raises(ValueError, match="index is 3, expected at least 4"):
            stream.feed_frame(picture(30), time_ns=8, index=3)
        with pytest.raises(ValueError, match="time_ns is beyond"):
            stream.feed_frame(picture(30), time_ns=1 << 70)
        with pytest.raises(TypeError, match=r"time_ns is 1\.5, expected an integer"):
            stream.feed_frame(picture(30), time_ns=1.5)
        with pytest.raises(TypeError, match="pixels are float64"):
            stream.feed_frame(np.zeros((4, 4, 3)), time_ns=9)
        with pytest.raises(ValueError, match="the gap would end at 3, expected at least 7"):
            stream.feed_gap(3)
        with pytest.raises(InputError, match="for a camera, the program gives samples"):
            stream.feed_samples(sound())
        stream.feed_frame(picture(30), time_ns=8)  # a refused call changes nothing


def test_wrong_samples_are_told_what_was_met_and_expected(microphone: Bundle) -> None:
    with Stream(microphone) as stream:
        stream.feed_samples(np.zeros(100, np.int16))
        with pytest.raises(ValueError, match="first_sample is 99, expected at least 100"):
            stream.feed_samples(np.zeros(10, np.int16), first_sample=99)
        with pytest.raises(TypeError, match="samples are float32"):
            stream.feed_samples(np.zeros(10, np.float32))
        with pytest.raises(ValueError, match="one channel"):
            stream.feed_samples(np.zeros((10, 1), np.int16))
        with pytest.raises(InputError, match="for a microphone, the program gives a frame"):
            stream.feed_frame(picture(3))


def test_a_closed_stream_says_so(camera: Bundle) -> None:
    with Stream(camera, name="door", fps=5) as stream:
        pass
    stream.close()
    with pytest.raises(ValueError, match="the stream 'door' is closed"):
        stream.feed_frame(picture(30))
    with pytest.raises(ValueError, match="is closed"):
        stream.feed_gap(10**9)
    with pytest.raises(ValueError, match="is closed"), stream:
        pass


def test_an_error_of_the_house_ends_the_stream_as_failed(camera: Bundle) -> None:
    records: list[Record] = []
    with (
        pytest.raises(LinkError, match="the cable was pulled"),
        Stream(camera, fps=5, emit=records.extend) as stream,
    ):
        stream.feed_frame(picture(30))
        raise LinkError(Reason.SOURCE_LOST, "the cable was pulled")
    last = records[-1]
    assert isinstance(last, StateRecord)
    assert (last.state, last.detail["reason"], last.detail["windows"]) == ("failed", "SOURCE_LOST", 1)


def test_any_other_exception_breaks_the_stream_off_without_a_last_record(camera: Bundle) -> None:
    records: list[Record] = []
    with pytest.raises(ZeroDivisionError), Stream(camera, fps=5, emit=records.extend) as stream:
        raise ZeroDivisionError
    assert kinds(records) == ["started"]
    with pytest.raises(ValueError, match="is closed"):
        stream.feed_frame(picture(30))


def test_where_records_cannot_go_any_more_no_last_one_is_sent(camera: Bundle) -> None:
    calls = 0

    def full(records: Sequence[Record]) -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise LinkError(Reason.NO_SPACE, "the disk is full")

    with pytest.raises(LinkError, match="the disk is full"), Stream(camera, fps=5, emit=full) as stream:
        stream.feed_gap(10**9)
    assert calls == 2


def test_feeding_from_emit_or_from_a_second_thread_is_refused(camera: Bundle) -> None:
    errors: list[Exception] = []

    def again(_: Sequence[Record]) -> None:
        def feed() -> None:
            try:
                stream.feed_frame(picture(30))
            except RuntimeError as error:
                errors.append(error)

        feed()
        thread = threading.Thread(target=feed)
        thread.start()
        thread.join()

    stream = Stream(camera, name="door", fps=5, emit=again)
    with stream:
        pass
    assert len(errors) == 4
    assert "the stream 'door' is in use by another call" in str(errors[0])


def test_numbers_whose_times_would_not_fit_are_refused(camera: Bundle, microphone: Bundle) -> None:
    with (
        Stream(camera, fps=0.001) as frames,
        pytest.raises(ValueError, match=r"index is \d+, which is \d+ s after"),
    ):
        frames.feed_frame(picture(30), index=1 << 61)
    with Stream(microphone) as sound, pytest.raises(ValueError, match=r"first_sample is \d+, which is \d+ s"):
        sound.feed_samples(np.zeros(10, np.int16), first_sample=1 << 61)
