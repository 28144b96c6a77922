"""Windows that are not computed: by the gate, by the governor. What is computed is what it always was."""

from __future__ import annotations

import dataclasses
import itertools
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType

from galago_edge.bundle import open_bundle
from galago_edge.contract.errors import BundleError, Reason
from galago_edge.contract.manifest import AudioPreprocess, Gate, Label, LabelPolicy, LevelGate, MotionGate
from galago_edge.contract.records import EventRecord, GapRecord, Record, ScoresRecord, StateRecord
from galago_edge.contract.status import GateStatus, LabelLevel
from galago_edge.contract.streams import AudioBlock, Frame, Gap, Item, WindowSeen, samples_to_ns
from galago_edge.engine import Backend, BackendChange
from galago_edge.pipeline import DecidingStream, LoadedBundle, drive, load
from galago_edge.preprocess import log_mel
from test_kit import TINY_AUDIO, changed, make_bundle
from test_kit.listed import ListSource

DARK, MID, BRIGHT = 30, 128, 225
MS = 1_000_000
RATE_HZ = 16_000
WINDOW, HOP = TINY_AUDIO.window_samples, TINY_AUDIO.hop_frames * TINY_AUDIO.frame_hop_samples
POLICY = LabelPolicy(on=0.6, off=0.4, smoothing_windows=2, min_count=2, refractory_ms=500)
MOTION = MotionGate(step=12, cells=4, hold_ms=500)
LEVEL = LevelGate(open_dbfs=-45.0, hold_ms=400)


def labels(*names: str) -> list[Label]:
    background, *others = names
    return [Label(name=background, background=True), *(Label(name=name, policy=POLICY) for name in others)]


def camera(folder: Path, model: bytes, gate: Gate | UnsetType = UNSET) -> LoadedBundle:
    path = make_bundle(folder / "cam.galago", model, labels("dark", "mid", "bright"), gate=gate)
    return load(open_bundle(path))


def microphone(
    folder: Path, model: bytes, gate: Gate | UnsetType = UNSET, spec: AudioPreprocess = TINY_AUDIO
) -> LoadedBundle:
    names = labels("quiet", "low", "high")
    path = folder / "mic.galago"
    make_bundle(path, model, names, modality="microphone", preprocess=spec, gate=gate)
    return load(open_bundle(path))


class Counting:
    """A real backend that counts, and can say that it changed."""

    def __init__(self, real: Backend) -> None:
        self._real = real
        self.invoked = self.written = 0
        self.to_tell: list[BackendChange] = []
        self.reason: str | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def input_view(self) -> npt.NDArray[Any]:
        self.written += 1
        return self._real.input_view()

    def invoke(self) -> None:
        self.invoked += 1
        self._real.invoke()

    def changes(self) -> list[BackendChange]:
        told, self.to_tell = self.to_tell, []
        return told


def counted(loaded: LoadedBundle) -> tuple[LoadedBundle, Counting]:
    engine: Any = Counting(loaded.engine)
    return dataclasses.replace(loaded, engine=engine), engine


def frames(levels: Sequence[int], period_ms: int = 100, first: int = 0) -> list[Item]:
    return [
        Frame(np.full((48, 64, 3), level, np.uint8), first + number, (first + number) * period_ms * MS)
        for number, level in enumerate(levels)
    ]


def pushed(stream: DecidingStream, items: Iterable[Item]) -> list[Record]:
    return [record for item in items for record in stream.push(item)]


def events(records: Iterable[Record]) -> list[EventRecord]:
    return [record for record in records if isinstance(record, EventRecord)]


def scores(records: Iterable[Record]) -> list[ScoresRecord]:
    return [record for record in records if isinstance(record, ScoresRecord)]


def states(records: Iterable[Record], subject: str) -> list[StateRecord]:
    return [record for record in records if isinstance(record, StateRecord) and record.subject == subject]


# ---- motion gate


def test_neither_preprocessing_nor_model_is_run_on_a_picture_that_stands_still(
    tmp_path: Path, tiny_image_model: bytes
) -> None:
    loaded, engine = counted(camera(tmp_path, tiny_image_model, MOTION))
    stream = DecidingStream("cam", loaded, scores=True)
    records = scores(pushed(stream, frames([DARK] * 50)))
    # the first frame is new, and half a second of them is looked at
    assert engine.invoked == engine.written == 6
    assert [record.skipped for record in records] == [UNSET] * 6 + ["gate"] * 44
    assert (stream.tally.windows, stream.tally.skipped, len(records)) == (50, 44, 50)
    assert all(record.logits == record.scores == [] for record in records[6:])
    assert [record.window for record in records] == list(range(50))
    assert [record.warm_up for record in records] == [True] + [False] * 49


def test_what_the_gate_does_is_told_with_what_it_spared(tmp_path: Path, tiny_image_model: bytes) -> None:
    stream = DecidingStream("cam", camera(tmp_path, tiny_image_model, MOTION))
    records = pushed(stream, frames([DARK] * 20 + [MID] + [DARK] * 20))
    assert [(record.state, record.ns // MS, record.detail) for record in states(records, "gate")] == [
        ("open", 0, {"skipped": 0, "level": 768.0}),
        ("closed", 600, {"run": 6, "level": 0.0}),
        ("open", 2_000, {"skipped": 14, "level": 768.0}),
        ("closed", 2_600, {"run": 6, "level": 0.0}),
    ]


def test_the_frame_that_moves_is_the_first_to_be_decided(tmp_path: Path, tiny_image_model: bytes) -> None:
    """The event comes with the same frame as without a gate."""
    scene = frames([DARK] * 30 + [BRIGHT] * 5 + [DARK] * 30)
    (with_gate,) = events(pushed(DecidingStream("cam", camera(tmp_path, tiny_image_model, MOTION)), scene))
    (without,) = events(pushed(DecidingStream("cam", camera(tmp_path, tiny_image_model)), scene))
    assert (with_gate.start_ns, with_gate.end_ns) == (without.start_ns, without.end_ns)
    assert (with_gate.label, with_gate.score) == (without.label, without.score)


def test_a_label_that_is_on_keeps_the_gate_open(tmp_path: Path, tiny_image_model: bytes) -> None:
    """Half a minute of something bright that does not move is one event, and ends when it is gone."""
    stream = DecidingStream(
        "cam", camera(tmp_path, tiny_image_model, changed(MOTION, hold_ms=0)), scores=True
    )
    records = pushed(stream, frames([DARK] * 20 + [BRIGHT] * 300 + [DARK] * 20))
    (event,) = events(records)
    (off,) = states(records, "label:bright")
    assert event.end_ns == 2_200 * MS
    assert off.ns > 32_000 * MS
    assert [record.skipped for record in scores(records)[20:320]] == [UNSET] * 300


def test_behind_a_gap_the_gate_opens_for_what_is_there_now(tmp_path: Path, tiny_image_model: bytes) -> None:
    stream = DecidingStream("cam", camera(tmp_path, tiny_image_model, MOTION), scores=True)
    pushed(stream, frames([DARK] * 30))
    stream.push(Gap(2_900 * MS, 5_000 * MS, "disconnect"))
    records = pushed(stream, frames([DARK] * 10, first=50))
    assert [record.skipped for record in scores(records)] == [UNSET] * 6 + ["gate"] * 4


def test_a_replay_skips_the_same_windows_to_the_last_byte(tmp_path: Path, tiny_image_model: bytes) -> None:
    draw = np.random.default_rng(5)
    levels = draw.choice([DARK, DARK + 5, MID], 8).repeat(2).tolist()
    levels = [level for part in levels for level in (part, *[DARK] * 60)]
    loaded = camera(tmp_path, tiny_image_model, MOTION)
    first, second = (
        pushed(DecidingStream("cam", load(open_bundle(tmp_path / "cam.galago")), scores=True), frames(levels))
        for _ in range(2)
    )
    assert loaded.id and first == second
    assert 0 < sum(record.skipped == "gate" for record in scores(first)) < len(levels)


# ---- level gate


def sound(loud: Iterable[tuple[float, float]], seconds: float) -> npt.NDArray[np.int16]:
    """Noise 84 dB below full scale, with tones of -15 dBFS from and to these seconds."""
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    draw = np.random.default_rng(7)
    samples = draw.normal(0, 2, len(time_s))
    for number, (start, end) in enumerate(loud):
        hz = (300, 2_600)[number % 2]
        samples += 8_000 * np.sin(2 * np.pi * hz * time_s) * ((time_s >= start) & (time_s < end))
    return np.rint(samples).astype(np.int16)


def blocks(samples: npt.NDArray[np.int16], sizes: Iterable[int], first: int = 0) -> list[Item]:
    """Cut into blocks of these sizes, the last one to the end."""
    found: list[Item] = []
    at = 0
    for size in [*sizes, len(samples)]:
        part = samples[at : at + size]
        if len(part):
            found.append(AudioBlock(part, first + at, samples_to_ns(first + at, RATE_HZ), RATE_HZ))
        at += len(part)
    return found


def test_neither_frontend_nor_model_is_run_on_a_quiet_minute(
    tmp_path: Path, tiny_audio_model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, engine = counted(microphone(tmp_path, tiny_audio_model, LEVEL))
    computed = 0
    push = loaded.preprocessor.push  # type: ignore[union-attr]

    def counting(samples: npt.NDArray[np.int16]) -> Any:
        nonlocal computed
        computed += len(samples)
        return push(samples)

    monkeypatch.setattr(loaded.preprocessor, "push", counting)
    stream = DecidingStream("mic", loaded)
    quiet = sound([], 60.0)
    records = pushed(stream, blocks(quiet, [1_600] * 600))
    assert not records
    assert (engine.invoked, engine.written, computed) == (0, 0, 0)
    assert stream.tally.skipped == stream.tally.windows == (len(quiet) - WINDOW) // HOP + 1
    # and where it is loud, only what the windows of that time cover
    pushed(stream, blocks(sound([(0.0, 0.5)], 1.0), [], first=len(quiet)))
    assert engine.invoked > 0
    assert WINDOW <= computed <= 16_000 + WINDOW


def test_samples_of_a_closed_gate_are_let_go(tmp_path: Path, tiny_audio_model: bytes) -> None:
    stream = DecidingStream("mic", microphone(tmp_path, tiny_audio_model, LEVEL))
    alive: list[weakref.ref[npt.NDArray[np.int16]]] = []
    for number in range(300):
        samples = np.zeros(1_600, np.int16)
        alive.append(weakref.ref(samples))
        stream.push(AudioBlock(samples, number * 1_600, number * 100 * MS, RATE_HZ))
        del samples
    assert sum(ref() is not None for ref in alive) <= WINDOW // 1_600 + 1


def test_the_window_that_is_loud_at_its_end_is_the_first_to_be_decided(
    tmp_path: Path, tiny_audio_model: bytes
) -> None:
    samples = sound([(2.0, 2.6), (4.0, 4.6)], 6.0)
    gated = pushed(
        DecidingStream("mic", microphone(tmp_path, tiny_audio_model, LEVEL), scores=True), blocks(samples, [])
    )
    plain = pushed(
        DecidingStream("mic", microphone(tmp_path, tiny_audio_model), scores=True), blocks(samples, [])
    )
    run = [record for record in scores(gated) if record.skipped is UNSET]
    onset = 2 * RATE_HZ
    assert run[0].end_index - HOP <= onset < run[0].end_index
    assert [(event.label, event.start_ns, event.end_ns) for event in events(gated)] == [
        (event.label, event.start_ns, event.end_ns) for event in events(plain)
    ]
    assert [event.label for event in events(gated)] == ["low", "high"]
    assert [record.state for record in states(gated, "gate")] == ["open", "closed"] * 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bundles")


_SIZES = st.lists(st.sampled_from([1, 7, 159, 160, 161, 480, 800, 3_200, 4_096, 20_000]), max_size=40)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    loud=st.lists(st.tuples(st.floats(0, 4), st.floats(0.01, 0.5)), max_size=4),
    sizes=_SIZES,
    hop_frames=st.sampled_from([1, 5, 20, 33]),
    frame_hop=st.sampled_from([160, 500]),
    hold_ms=st.sampled_from([0, 60, 400]),
)
def test_a_window_that_is_decided_is_what_it_is_without_a_gate(
    loud: list[tuple[float, float]],
    sizes: list[int],
    hop_frames: int,
    frame_hop: int,
    hold_ms: int,
    folder: Path,
    tiny_audio_model: bytes,
) -> None:
    """Bit for bit, whatever was skipped before it and however the sound is cut."""
    spec = changed(TINY_AUDIO, hop_frames=hop_frames, frame_hop_samples=frame_hop)
    samples = sound([(start, start + length) for start, length in loud], 4.0)
    gate = changed(LEVEL, hold_ms=hold_ms)
    gated, again, plain = (
        pushed(
            DecidingStream("mic", microphone(folder, tiny_audio_model, choice, spec), scores=True),
            blocks(samples, cut),
        )
        for choice, cut in ((gate, sizes), (gate, []), (UNSET, sizes))
    )
    assert gated == again
    assert len(scores(gated)) == len(scores(plain)) > 0
    for mine, whole in zip(scores(gated), scores(plain), strict=True):
        assert (mine.window, mine.start_index, mine.end_ns) == (whole.window, whole.start_index, whole.end_ns)
        assert mine.skipped == "gate" or (mine.logits, mine.scores) == (whole.logits, whole.scores)


@pytest.mark.parametrize("gate", [UNSET, LEVEL])
@pytest.mark.parametrize("sizes", [[100] * 600, [1_601] * 30, [5_280] * 10, []])
def test_windows_that_lie_apart_are_right_too(
    gate: Gate | UnsetType, sizes: list[int], tmp_path: Path, tiny_audio_model: bytes
) -> None:
    """Each is what the frontend says about its samples alone; what lies between them is never needed."""
    spec = changed(TINY_AUDIO, hop_frames=33)
    samples = sound([(0.0, 4.0)], 4.0)
    loaded = microphone(tmp_path, tiny_audio_model, gate, spec)
    found = scores(pushed(DecidingStream("mic", loaded, scores=True), blocks(samples, sizes)))
    assert [record.start_index for record in found] == list(range(0, 64_000 - WINDOW + 1, 33 * 160))
    for record in found:
        loaded.engine.input_view()[...] = log_mel(spec, samples[record.start_index : record.end_index])
        loaded.engine.invoke()
        assert record.logits == loaded.engine.logits().tolist()


def test_every_loud_sample_opens_the_gate_for_a_window_that_holds_it(
    tmp_path: Path, tiny_audio_model: bytes
) -> None:
    """Also one at the very beginning, which no hop before the first window's end would be about."""
    gate = changed(LEVEL, open_dbfs=-30.0)
    for at in (0, 10, 700, 2_000, WINDOW - 1, WINDOW, WINDOW + HOP, 15_000):
        samples = np.zeros(16_000, np.int16)
        samples[at : at + 100] = 20_000
        stream = DecidingStream("mic", microphone(tmp_path, tiny_audio_model, gate), scores=True)
        found = scores(pushed(stream, blocks(samples, [777] * 30)))
        run = [record for record in found if record.skipped is UNSET]
        assert run and run[0].start_index <= at < run[0].end_index, at


def test_missing_samples_do_not_mix_with_what_a_closed_gate_kept(
    tmp_path: Path, tiny_audio_model: bytes
) -> None:
    stream = DecidingStream("mic", microphone(tmp_path, tiny_audio_model, LEVEL), scores=True)
    pushed(stream, blocks(sound([], 1.0), []))
    loud = sound([(0.0, 0.5)], 1.0)
    records = pushed(stream, blocks(loud, [999] * 20, first=100_000))
    assert isinstance(records[0], GapRecord)
    fresh = DecidingStream("mic", microphone(tmp_path, tiny_audio_model, LEVEL), scores=True)
    alone = pushed(fresh, blocks(loud, [], first=100_000))
    assert [record.logits for record in scores(records)] == [record.logits for record in scores(alone)]


# ---- every n-th window


@pytest.mark.parametrize("every", [1, 2, 5])
def test_every_nth_window_is_decided_and_the_others_are_not_computed(
    every: int, tmp_path: Path, tiny_image_model: bytes
) -> None:
    loaded, engine = counted(camera(tmp_path, tiny_image_model))
    stream = DecidingStream("cam", loaded, scores=True)
    stream.every = every
    found = scores(pushed(stream, frames([MID] * 22)))
    assert [record.start_index for record in found] == list(range(0, 22, every))
    assert engine.invoked == engine.written == stream.tally.windows == len(found)
    assert stream.tally.left_out == 22 - len(found)
    stream.push(Gap(2_100 * MS, 3_000 * MS, "drop"))
    assert scores(pushed(stream, frames([MID], first=31)))  # the first one behind a gap is decided


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    paces=st.lists(st.sampled_from([1, 2, 3, 8]), min_size=1, max_size=12),
    sizes=_SIZES,
    hop_frames=st.sampled_from([5, 33]),
)
def test_the_pace_may_change_at_any_time_and_windows_stay_what_they_are(
    paces: list[int], sizes: list[int], hop_frames: int, folder: Path, tiny_audio_model: bytes
) -> None:
    spec = changed(TINY_AUDIO, hop_frames=hop_frames)
    samples = sound([(0.5, 1.5), (2.5, 3.0)], 4.0)
    loaded = microphone(folder, tiny_audio_model, UNSET, spec)
    plain = pushed(DecidingStream("mic", loaded, scores=True), blocks(samples, []))
    logits = {record.start_index: record.logits for record in scores(plain)}
    stream = DecidingStream("mic", load(open_bundle(folder / "mic.galago")), scores=True)
    found: list[ScoresRecord] = []
    for number, item in enumerate(blocks(samples, [3_000, *sizes])):
        stream.every = paces[number % len(paces)]
        found += scores(stream.push(item))
    assert found[0].start_index == 0
    assert all(record.logits == logits[record.start_index] for record in found)
    assert len(found) + stream.tally.left_out == len(logits)


def test_gate_and_pace_go_together(tmp_path: Path, tiny_audio_model: bytes) -> None:
    """A sound in a window that is left out still opens the gate for the next one."""
    stream = DecidingStream("mic", microphone(tmp_path, tiny_audio_model, LEVEL), scores=True)
    stream.every = 3
    found = scores(pushed(stream, blocks(sound([(1.0, 1.1)], 3.0), [800] * 80)))
    assert {record.start_index % (3 * HOP) for record in found} == {0}
    run = [record for record in found if record.skipped is UNSET]
    assert run and run[0].start_index < 1.1 * RATE_HZ and run[0].end_index > RATE_HZ


# ---- what the service asks


def test_levels_are_where_each_label_stands(tmp_path: Path, tiny_image_model: bytes) -> None:
    loaded = camera(tmp_path, tiny_image_model)
    stream = DecidingStream("cam", loaded, thresholds={"mid": {"on": 0.9}})
    assert [level.score for level in stream.levels()] == [0.0] * 3
    assert stream.warm_up
    pushed(stream, frames([BRIGHT] * 4))
    assert not stream.warm_up
    dark, mid, bright = stream.levels()
    assert dark == LabelLevel(label="dark", score=dark.score, on=0.7, off=0.5, active=False, background=True)
    assert (mid.on, mid.off, mid.active) == (0.9, 0.4, False)
    assert bright.active and 0.6 <= bright.score <= 1.0
    assert dark.score + mid.score + bright.score == pytest.approx(1.0, abs=1e-4)


def test_the_gates_state_can_be_asked(
    tmp_path: Path, tiny_image_model: bytes, tiny_audio_model: bytes
) -> None:
    assert DecidingStream("cam", camera(tmp_path, tiny_image_model)).gate_status() is None
    stream = DecidingStream("cam", camera(tmp_path, tiny_image_model, MOTION))
    assert stream.gate_status() == GateStatus(kind="motion", open=False, level=0.0, threshold=4.0)
    pushed(stream, frames([DARK]))
    assert stream.gate_status() == GateStatus(kind="motion", open=True, level=768.0, threshold=4.0)
    pushed(stream, frames([DARK] * 20, first=1))
    assert stream.gate_status() == GateStatus(kind="motion", open=False, level=0.0, threshold=4.0)
    heard = DecidingStream("mic", microphone(tmp_path, tiny_audio_model, LEVEL))
    pushed(heard, blocks(np.full(RATE_HZ, 16_384, np.int16), []))
    assert heard.gate_status() == GateStatus(kind="level", open=True, level=-6.0, threshold=-45.0)


def test_each_decided_window_is_shown_to_the_observer(tmp_path: Path, tiny_image_model: bytes) -> None:
    seen: list[WindowSeen] = []
    stream = DecidingStream("cam", camera(tmp_path, tiny_image_model, MOTION), scores=True)
    stream.observe = seen.append
    records = pushed(stream, frames([DARK] * 20 + [BRIGHT] * 5 + [DARK] * 30))
    told = scores(records)
    assert len(seen) == len(told) == 55
    for window, record in zip(seen, told, strict=True):
        assert (window.span.start_index, window.span.end_ns) == (record.start_index, record.end_ns)
        assert window.skipped == (record.skipped == "gate")
        assert window.warm_up == record.warm_up
        assert window.logits.tolist() == record.logits
        expected = record.scores or [0.0] * 3
        assert (window.scores / 65_536).tolist() == pytest.approx(expected, abs=1e-6)
    for before, window in itertools.pairwise(seen):  # a mean of two windows
        smoothed = (before.scores[2] + window.scores[2] + 1) // 2
        assert window.smoothed[2] == smoothed
    (event,) = events(records)
    assert [(window.fired, window.span.end_ns) for window in seen if window.fired] == [
        (("bright",), event.end_ns)
    ]


def test_a_change_of_the_backend_is_told_before_what_it_decided(
    tmp_path: Path, tiny_image_model: bytes
) -> None:
    loaded, engine = counted(camera(tmp_path, tiny_image_model))
    stream = DecidingStream("cam", loaded)
    first = pushed(stream, frames([BRIGHT] * 2))
    engine.to_tell = [BackendChange("fallback", {"backend": "cpu", "reason": "delegate_crashed"})]
    engine.reason = "delegate_crashed"
    records = first + pushed(stream, frames([BRIGHT] * 3, first=2))
    change, event = records
    assert change == StateRecord(
        stream="cam",
        subject="backend",
        state="fallback",
        index=3,
        ns=200 * MS,
        detail={"backend": "cpu", "reason": "delegate_crashed"},
    )
    assert isinstance(event, EventRecord)
    assert (event.end_index, event.backend, event.backend_reason) == (3, "cpu", "delegate_crashed")


class Falling(Counting):
    """A backend that becomes another with its seventh run, and fails in its ``last`` one."""

    def __init__(self, real: Backend, last: int = 1 << 20) -> None:
        super().__init__(real)
        self.last = last

    def invoke(self) -> None:
        if self.invoked == self.last:
            raise BundleError(Reason.MODEL_BAD, "an operator failed")
        super().invoke()
        if self.invoked == 7:
            self.to_tell, self.reason = [BackendChange("fallback", {"backend": "cpu"})], "delegate_hangs"


def loud_and_quiet() -> npt.NDArray[np.int16]:
    """Return 8 s: more windows than are decided at once, and events before and behind the seventh."""
    time_s = np.arange(8 * RATE_HZ) / RATE_HZ
    chord = sum(np.sin(2 * np.pi * hz * time_s) for hz in (2_600, 4_100, 6_000))
    return np.rint(9_000 * chord * (time_s % 2 < 1)).astype(np.int16)


@pytest.mark.parametrize("size", [160, 4_000, 8 * RATE_HZ])
def test_every_event_names_the_backend_of_its_own_window_however_sound_is_cut(
    size: int, tmp_path: Path, tiny_audio_model: bytes
) -> None:
    loaded = microphone(tmp_path, tiny_audio_model)
    stream = DecidingStream(
        "mic", dataclasses.replace(loaded, engine=cast(Any, Falling(loaded.engine))), scores=True
    )
    records = pushed(stream, blocks(loud_and_quiet(), [size] * (8 * RATE_HZ // size)))
    (change,) = states(records, "backend")
    place = records.index(change)
    assert len(scores(records[:place])) == 6 and len(scores(records)) > 64
    assert scores(records[place:])[0].end_ns == change.ns
    named = [event.backend_reason for event in events(records)]
    assert named == [UNSET] * len(events(records[:place])) + ["delegate_hangs"] * len(events(records[place:]))
    assert len(events(records[place:])) >= 3


def test_windows_before_the_one_at_which_the_model_fails_are_decided(
    tmp_path: Path, tiny_audio_model: bytes
) -> None:
    loaded = microphone(tmp_path, tiny_audio_model)
    stream = DecidingStream("mic", dataclasses.replace(loaded, engine=cast(Any, Falling(loaded.engine, 70))))
    seen: list[WindowSeen] = []
    stream.observe = seen.append
    with pytest.raises(BundleError, match="an operator failed"):
        pushed(stream, blocks(loud_and_quiet(), []))
    assert stream.tally.windows == len(seen) == 70


def test_the_scores_of_a_block_are_computed_at_once_and_of_a_long_one_in_parts(
    tmp_path: Path, tiny_audio_model: bytes
) -> None:
    loaded = microphone(tmp_path, tiny_audio_model)
    asked: list[int] = []

    class Counted:
        def scores(self, logits: npt.NDArray[np.int8]) -> npt.NDArray[np.int64]:
            asked.append(len(logits))
            return loaded.activation.scores(logits)

    stream = DecidingStream("mic", dataclasses.replace(loaded, activation=cast(Any, Counted())))
    pushed(stream, blocks(loud_and_quiet(), []))
    assert asked == [64] * (stream.tally.windows // 64) + [stream.tally.windows % 64]


def test_the_first_record_names_the_gate_and_the_last_what_it_spared(
    tmp_path: Path, tiny_image_model: bytes
) -> None:
    stream = DecidingStream("cam", camera(tmp_path, tiny_image_model, MOTION))
    stream.every = 2
    records: list[Record] = []
    assert drive(ListSource(frames([DARK] * 40)), stream, records.extend) is None
    started, ended = states(records, "stream")
    assert started.detail["gate"] == "motion"
    assert {name: ended.detail[name] for name in ("windows", "skipped", "left_out")} == {
        "windows": 20,
        "skipped": 17,
        "left_out": 20,
    }
