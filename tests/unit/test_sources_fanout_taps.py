"""A listener gets everything a source gives, and is told which of it a slow stream did not take."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from galago_edge.contract.settings import PlausibilitySettings, SourceSettings
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, Gap, Item, Notice
from galago_edge.recording.tap_writer import Drop
from galago_edge.sources.fanout import Fanout, Subscription
from galago_edge.sources.supervised_source import Supervised
from test_kit import TINY_AUDIO, TINY_IMAGE, ScriptedCapture, SteppedClock
from test_kit.taps import MemoryTap, MemoryTaps, Replayed

PIXELS = np.zeros((2, 2, 3), np.uint8)
NEVER = PlausibilitySettings(
    frozen_s=0, dark_s=0, moved_s=0, defocused_s=0, covered_s=0, flat_s=0, clipped_s=0, offset_s=0, rate_s=0
)
Missed = tuple[int, int, int, int, str]


def fanout(*scripts: list[Frame | AudioBlock], modality: str = "camera") -> Fanout:
    """A source that gives one script after another and ends."""
    clock, left = SteppedClock(), iter(scripts)

    def open_next() -> ScriptedCapture:
        found = next(left, None)
        if found is None:
            supervised.stop()
        return ScriptedCapture(clock, found or [])

    supervised = Supervised(
        "hall",
        open_next,
        "camera" if modality == "camera" else "microphone",
        SourceSettings(address=f"{modality}:default", plausibility=NEVER),
        clock_ns=clock,
        wait=clock.wait,
    )
    return Fanout(supervised)


def walked(fan: Fanout, stream: Subscription) -> tuple[list[Item], list[Item], list[Missed]]:
    """What a listener got, and what a stream that begins when all is over did and did not."""
    heard: list[Item] = []
    missed: list[Missed] = []
    fan.listen(heard.append)
    stream.missed = lambda *told: missed.append(told)
    fan.run()
    return heard, list(stream), missed


def test_frames_that_a_slow_stream_did_not_take_are_told_with_the_gap_that_it_had() -> None:
    fan = fanout([Frame(PIXELS, number, number * NS_PER_S // 2) for number in range(8)])
    heard, taken, missed = walked(fan, fan.subscribe(TINY_IMAGE))
    frames = [item for item in heard if isinstance(item, Frame)]
    assert [frame.index for frame in frames] == list(range(8))
    assert [frame.index for frame in taken if isinstance(frame, Frame)] == [6, 7]
    (gap,) = [item for item in taken if isinstance(item, Gap) and item.cause == "drop"]
    assert missed == [(0, 6, gap.from_ns, gap.to_ns, "drop")]


def test_samples_that_a_slow_stream_did_not_take_are_told() -> None:
    rate = TINY_AUDIO.sample_rate_hz
    blocks = [AudioBlock(np.zeros(rate, np.int16), at * rate, at * NS_PER_S, rate) for at in range(12)]
    fan = fanout([*blocks], modality="microphone")
    heard, taken, missed = walked(fan, fan.subscribe(TINY_AUDIO))
    first = next(item for item in taken if isinstance(item, AudioBlock)).first_sample
    assert [item.first_sample for item in heard if isinstance(item, AudioBlock)] == [
        at * rate for at in range(12)
    ]
    ((begin, end, from_ns, to_ns, cause),) = missed
    assert (begin, end, cause) == (0, first, "overrun") and first == 2 * rate
    assert Gap(from_ns, to_ns, "overrun") in taken


def test_what_a_slow_stream_lost_before_and_behind_an_outage_is_told_so_that_a_replay_gives_what_it_had(
    tmp_path: Path,
) -> None:
    rate = TINY_AUDIO.sample_rate_hz

    def seconds(first: int, end: int, at_s: int) -> list[Frame | AudioBlock]:
        return [
            AudioBlock(
                np.full(rate, one, np.int16), (one - first) * rate, (at_s + one - first) * NS_PER_S, rate
            )
            for one in range(first, end)
        ]

    fan = fanout(seconds(0, 30, 0), seconds(30, 45, 40), modality="microphone")
    heard, taken, missed = walked(fan, fan.subscribe(TINY_AUDIO))
    lost = [item for item in taken if isinstance(item, Gap) and item.cause == "overrun"]
    assert len(lost) == 2 and any(isinstance(item, Gap) and item.cause == "disconnect" for item in taken)
    assert [Gap(from_ns, to_ns, cause) for _, _, from_ns, to_ns, cause in missed] == lost

    taps = MemoryTaps()
    recording = MemoryTap(taps, tmp_path / "hall.mcap", {"modality": "microphone", "source": {}})
    names = {AudioBlock: "sound", Gap: "gap", Notice: "notice"}
    recording.calls = [(names[type(item)], item) for item in heard]
    recording.calls += [
        ("drop", Drop("s", cause, first, end, from_ns, to_ns)) for first, end, from_ns, to_ns, cause in missed
    ]
    assert list(map(shown, Replayed(recording, "s"))) == list(map(shown, taken))


def shown(item: Item) -> object:
    return (item.first_sample, item.samples.tobytes()) if isinstance(item, AudioBlock) else item


def test_a_stream_that_takes_everything_misses_nothing() -> None:
    fan = fanout([Frame(PIXELS, number, number * NS_PER_S // 10) for number in range(2)])
    heard, taken, missed = walked(fan, fan.subscribe(TINY_IMAGE))
    assert not missed
    frames = [[item for item in items if isinstance(item, Frame)] for items in (heard, taken)]
    assert all(one is other for one, other in itertools.zip_longest(*frames))
