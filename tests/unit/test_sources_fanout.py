from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from galago_edge.contract.errors import InputError, LinkError, Reason
from galago_edge.contract.settings import PlausibilitySettings, SourceSettings
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, Gap, Item, Notice, samples_to_ns
from galago_edge.sources.fanout import Fanout, Subscription
from galago_edge.sources.sample_conversion import Converter, PcmFormat
from galago_edge.sources.supervised_source import Supervised
from test_kit import TINY_AUDIO, TINY_IMAGE, ScriptedCapture, SteppedClock

PIXELS = np.zeros((2, 2, 3), np.uint8)
NEVER = PlausibilitySettings(
    frozen_s=0, dark_s=0, moved_s=0, defocused_s=0, covered_s=0, flat_s=0, clipped_s=0, offset_s=0, rate_s=0
)
RATE_HZ = TINY_AUDIO.sample_rate_hz

Step = Frame | AudioBlock | Gap | float | Exception


def ns(second: float) -> int:
    return round(second * NS_PER_S)


def frames(*at_s: float, start: int = 0) -> list[Frame]:
    return [Frame(PIXELS, number, ns(second)) for number, second in enumerate(at_s, start)]


def sound(
    from_s: float, to_s: float, rate_hz: int = RATE_HZ, tone: npt.NDArray[np.int16] | None = None
) -> list[AudioBlock]:
    size, count = rate_hz // 10, round((to_s - from_s) * 10)
    samples = np.zeros(size * count, np.int16) if tone is None else tone
    return [
        AudioBlock(
            samples[number * size : (number + 1) * size], number * size, ns(from_s + number / 10), rate_hz
        )
        for number in range(count)
    ]


def fanout(*scripts: Iterable[Step], modality: str = "camera", **settings: float) -> Fanout:
    """A source that gives one script after another and ends when they are over."""
    clock, left = SteppedClock(), iter(scripts)

    def open_next() -> ScriptedCapture:
        script = next(left, None)
        if script is None:
            supervised.stop()
            raise LinkError(Reason.SOURCE_MISSING, "the test is over")
        return ScriptedCapture(clock, script)

    supervised = Supervised(
        "hall",
        open_next,
        "camera" if modality == "camera" else "microphone",
        SourceSettings(address=f"{modality}:default", steady_s=1.0, plausibility=NEVER, **settings),
        clock_ns=clock,
        wait=clock.wait,
    )
    return Fanout(supervised)


def walk(fan: Fanout, *subscriptions: Subscription) -> list[list[Item]]:
    """Run the source, with a thread for each subscription, to the end."""
    with ThreadPoolExecutor(len(subscriptions)) as pool:
        walked = [pool.submit(list, subscription) for subscription in subscriptions]
        fan.run()
        return [future.result(30) for future in walked]


def gaps(items: Iterable[Item]) -> list[tuple[float, float, str]]:
    return [
        (item.from_ns / NS_PER_S, item.to_ns / NS_PER_S, item.cause)
        for item in items
        if isinstance(item, Gap)
    ]


def one_by_one(script: Iterable[Step], taken: threading.Semaphore) -> Iterator[Step]:
    """Give each item only when the one before was taken."""
    for number, item in enumerate(script):
        if number:
            assert taken.acquire(timeout=30)
        yield item


def run_attentively(fan: Fanout, stream: Subscription, taken: threading.Semaphore) -> list[Item]:
    """Run the source while ``stream`` says for every frame that it has it."""
    items: list[Item] = []

    def listen() -> None:
        for item in stream:
            items.append(item)
            if isinstance(item, Frame):
                taken.release()

    thread = threading.Thread(target=listen)
    thread.start()
    fan.run()
    thread.join(30)
    return items


def test_every_stream_gets_everything_from_one_capture() -> None:
    taken = threading.Semaphore(0)
    fan = fanout(one_by_one(frames(0.5, 1.0, 1.5), taken))
    first, second = fan.subscribe(TINY_IMAGE), fan.subscribe(TINY_IMAGE)
    others = run_attentively(fan, second, taken)
    assert [item.index for item in others if isinstance(item, Frame)] == [0, 1, 2]
    mine = list(first)  # nobody listened until now: the newest two are left, and everything that was told
    assert [item.index for item in mine if isinstance(item, Frame)] == [1, 2]
    assert [item for item in mine if isinstance(item, Notice)] == [
        item for item in others if isinstance(item, Notice)
    ]
    assert (first.dropped, second.dropped) == (1, 0)
    whole = {"captured_frames": 3, "dropped_frames": 0, "connects": 1, "failures": 1}
    assert first.summary() == {"captured_frames": 3, "dropped_frames": 1, "capture": whole}
    assert fan.status().connects == 1


def test_the_totals_of_a_stream_are_those_of_the_status() -> None:
    fan = fanout([*frames(0.1), *frames(0.2, start=7)], frames(0.3, 0.4, 0.5))
    slow = fan.subscribe(TINY_IMAGE)
    fan.run()
    seen = [item for item in slow if isinstance(item, Frame)]
    status, told = fan.status(), slow.summary()
    assert status.dropped == 6 and slow.dropped == 3
    assert told == {
        "captured_frames": len(seen) + slow.dropped,
        "dropped_frames": slow.dropped,
        "capture": {
            "captured_frames": status.items,
            "dropped_frames": status.dropped,
            "connects": status.connects,
            "failures": status.failures,
        },
    }


def test_a_camera_stream_that_does_not_keep_up_loses_the_oldest_and_says_where_it_saw_none() -> None:
    fan = fanout(frames(*[number / 10 for number in range(1, 51)]))
    slow = fan.subscribe(TINY_IMAGE)
    fan.run()
    items = list(slow)
    assert [item.index for item in items if isinstance(item, Frame)] == [48, 49]
    assert gaps(items)[:2] == [(0.0, 0.1, "connecting"), (0.1, 4.9, "drop")]
    assert slow.dropped == 48


def test_frames_that_the_camera_itself_left_out_are_no_drop_of_the_stream() -> None:
    slow = [Frame(PIXELS, 150 * number, ns(5.0 * number)) for number in range(1, 20)]
    taken = threading.Semaphore(0)
    fan = fanout(one_by_one(slow, taken), fps=0.2)
    items = run_attentively(fan, fan.subscribe(TINY_IMAGE), taken)
    assert sum(isinstance(item, Frame) for item in items) == 19
    assert [cause for _, _, cause in gaps(items)] == ["connecting"]


def test_short_drops_are_counted_and_no_gap() -> None:
    fan = fanout(frames(*[number / 10 for number in range(1, 10)]))
    slow = fan.subscribe(TINY_IMAGE)
    fan.run()
    assert gaps(list(slow))[0] == (0.0, 0.1, "connecting")
    assert slow.dropped == 7


def test_gaps_and_notices_are_never_lost_and_stay_in_order() -> None:
    many = [frames(second, second + 0.1) for second in range(0, 4_000, 20)]
    fan = fanout(*many)
    quick, stuck = fan.subscribe(TINY_IMAGE), fan.subscribe(TINY_IMAGE)
    with ThreadPoolExecutor(1) as pool:
        walked = pool.submit(list, quick)
        fan.run()
        everything = walked.result(30)
    late = list(stuck)
    for items in (everything, late):
        assert sum(isinstance(item, Gap) and item.cause == "disconnect" for item in items) == 200
        ends = [0, *(item.to_ns if isinstance(item, Gap) else item.captured_ns
                     for item in items if not isinstance(item, Notice))]  # fmt: skip
        assert all(one <= other for one, other in pairwise(ends))
    assert [item for item in late if isinstance(item, Notice)] == [
        item for item in everything if isinstance(item, Notice)
    ]
    assert stuck.dropped == 398


def test_a_microphone_stream_keeps_ten_seconds_and_what_it_loses_is_a_gap() -> None:
    fan = fanout(sound(0, 60), modality="microphone")
    slow = fan.subscribe(TINY_AUDIO)
    fan.run()
    items = list(slow)
    assert gaps(items)[0] == (0.0, 50.0, "overrun")
    blocks = [item for item in items if isinstance(item, AudioBlock)]
    assert sum(len(block.samples) for block in blocks) == 10 * RATE_HZ
    assert blocks[0].first_sample == 50 * RATE_HZ
    assert slow.dropped == 50 * RATE_HZ
    told = slow.summary()
    assert (told["captured_samples"], told["dropped_samples"]) == (60 * RATE_HZ, 50 * RATE_HZ)


def test_what_was_lost_before_an_outage_is_told_apart_from_it() -> None:
    fan = fanout(sound(0, 30), sound(40, 45), modality="microphone")
    slow = fan.subscribe(TINY_AUDIO)
    fan.run()
    found = gaps(list(slow))
    assert found[:2] == [(0.0, 25.0, "overrun"), (30.0, 40.0, "disconnect")]


def test_sound_is_converted_to_the_bundles_rate_in_its_place() -> None:
    rate_hz = 48_000
    tone = np.rint(8_000 * np.sin(np.arange(3 * rate_hz) * 2 * np.pi * 440 / rate_hz)).astype(np.int16)
    fan = fanout(sound(0.25, 2.25, rate_hz, tone), sound(5.0, 6.0, rate_hz, tone), modality="microphone")
    stream = fan.subscribe(TINY_AUDIO)
    assert stream.conversion() is None  # nobody knows the device's rate before it is opened
    (items,) = walk(fan, stream)
    whole = Converter(PcmFormat("s16", 1, rate_hz), RATE_HZ)
    parts = [items[: items.index(gap)] for gap in items if isinstance(gap, Gap) and gap.cause == "disconnect"]
    heard = [item for item in parts[0] if isinstance(item, AudioBlock)]
    expected = whole.convert(tone[: 2 * rate_hz].reshape(-1, 1), last=True)
    assert np.array_equal(np.concatenate([block.samples for block in heard]), expected)
    assert heard[0].first_sample == RATE_HZ // 4
    for one, other in pairwise(heard):
        assert other.first_sample == one.first_sample + len(one.samples)
        assert other.captured_ns == samples_to_ns(other.first_sample, RATE_HZ)
    behind = [item for item in items if isinstance(item, AudioBlock)][len(heard)]
    assert (behind.first_sample, behind.captured_ns) == (5 * RATE_HZ, ns(5.0))
    converted = [item for item in items if isinstance(item, Notice) and item.state == "converted"]
    assert [notice.detail for notice in converted] == [stream.conversion()]
    assert converted[0].detail["from"] == {"encoding": "s16", "channels": 1, "rate_hz": rate_hz}


def test_streams_of_one_microphone_may_want_other_rates() -> None:
    fan = fanout(sound(0, 2, 48_000), modality="microphone")
    spec = TINY_AUDIO
    wide = type(spec)(mel_bands=10, window_frames=20, hop_frames=5, sample_rate_hz=48_000)
    walked = walk(fan, fan.subscribe(spec), fan.subscribe(wide))
    counts = [sum(len(item.samples) for item in items if isinstance(item, AudioBlock)) for items in walked]
    assert counts == [2 * RATE_HZ, 2 * 48_000]


def test_without_soxr_a_stream_at_an_odd_rate_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "soxr", None)
    fan = fanout(sound(0, 1, 47_999), modality="microphone")
    stream = fan.subscribe(TINY_AUDIO)
    fan.run()
    with pytest.raises(Exception, match="soxr") as caught:
        list(stream)
    assert getattr(caught.value, "reason", None) is Reason.EXTRA_MISSING


@pytest.mark.parametrize(("modality", "spec"), [("camera", TINY_AUDIO), ("microphone", TINY_IMAGE)])
def test_a_bundle_for_the_other_kind_is_refused(modality: str, spec: object) -> None:
    with pytest.raises(InputError, match="source hall is a") as caught:
        fanout(modality=modality).subscribe(spec)  # type: ignore[arg-type]
    assert caught.value.reason is Reason.SOURCE_MISMATCH


def test_one_stream_may_end_before_the_others() -> None:
    fan = fanout(frames(*[number / 10 for number in range(1, 11)]))
    ended, other = fan.subscribe(TINY_IMAGE), fan.subscribe(TINY_IMAGE)
    ended.stop()
    fan.run()
    assert list(ended) == []
    assert [item.index for item in other if isinstance(item, Frame)] == [8, 9]


def test_a_stream_that_ended_collects_nothing_more() -> None:
    fan = fanout(frames(*[number / 10 for number in range(1, 11)]))
    stream = fan.subscribe(TINY_IMAGE)
    items = iter(stream)
    running = threading.Thread(target=fan.run)
    running.start()
    next(items)
    items.close()
    running.join(30)
    assert list(stream) == []


def test_the_newest_frame_is_there_for_a_preview() -> None:
    fan = fanout(frames(0.5, 1.0))
    assert fan.latest() is None
    fan.run()
    latest = fan.latest()
    assert latest is not None and latest.index == 1
    microphone = fanout(sound(0, 1), modality="microphone")
    microphone.run()
    assert microphone.latest() is None


def test_a_fault_of_our_own_reaches_every_stream() -> None:
    def broken() -> Iterator[Step]:
        yield from frames(0.5)
        raise KeyboardInterrupt

    fan = fanout(broken())
    stream = fan.subscribe(TINY_IMAGE)
    with pytest.raises(KeyboardInterrupt):
        fan.run()
    with pytest.raises(KeyboardInterrupt):
        list(stream)


def test_a_stream_waits_for_what_comes_and_ends_with_the_source() -> None:
    let_go: list[Callable[[], object]] = []

    def script() -> Iterator[Step]:
        yield from frames(0.5)
        gate = threading.Event()
        let_go.append(gate.set)
        assert gate.wait(30)

    fan = fanout(script())
    stream = fan.subscribe(TINY_IMAGE)
    running = threading.Thread(target=fan.run)
    running.start()
    items = iter(stream)
    assert isinstance(next(items), Gap) and isinstance(next(items), Notice)
    assert isinstance(next(items), Frame)
    fan.stop()
    while not let_go:
        threading.Event().wait(0.01)
    let_go[0]()
    assert [item for item in items if isinstance(item, Frame)] == []
    running.join(30)
    assert not running.is_alive()
