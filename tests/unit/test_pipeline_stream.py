from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from galago_edge.bundle import open_bundle, write_bundle
from galago_edge.contract.errors import BundleError, CallerError, GalagoError, InputError, LinkError, Reason
from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.contract.records import EventRecord, GapRecord, Record, ScoresRecord, StateRecord
from galago_edge.contract.streams import AudioBlock, Frame, Gap, Item, Notice, samples_to_ns
from galago_edge.engine import Engine
from galago_edge.pipeline import DecidingStream, LoadedBundle, StreamTally, ThresholdOverrides, drive, load
from galago_edge.preprocess import log_mel
from test_kit import TEST_KEY, TINY_AUDIO, TINY_IMAGE, changed, make_bundle
from test_kit.listed import ListSource

DARK, MID, BRIGHT = 30, 128, 225
POLICY = LabelPolicy(on=0.6, off=0.4, smoothing_windows=2, min_count=2, refractory_ms=500)
RATE_HZ = 16_000


def labels(*names: str, policy: LabelPolicy = POLICY) -> list[Label]:
    background, *others = names
    return [Label(name=background, background=True), *(Label(name=name, policy=policy) for name in others)]


@pytest.fixture
def image_bundle(tmp_path: Path, tiny_image_model: bytes) -> Path:
    return make_bundle(tmp_path / "cam.galago", tiny_image_model, labels("dark", "mid", "bright"))


@pytest.fixture(scope="session")
def audio_bundle(tmp_path_factory: pytest.TempPathFactory, tiny_audio_model: bytes) -> Path:
    path = tmp_path_factory.mktemp("audio") / "mic.galago"
    return make_bundle(path, tiny_audio_model, labels("quiet", "low", "high"), modality="microphone")


def ready(path: Path) -> LoadedBundle:
    return load(open_bundle(path))


def frame(level: int, index: int, ns: int) -> Frame:
    return Frame(np.full((48, 64, 3), level, np.uint8), index, ns)


def frames(levels: Sequence[int], period_ms: int = 100, first: int = 0) -> list[Item]:
    return [
        frame(level, first + number, (first + number) * period_ms * 1_000_000)
        for number, level in enumerate(levels)
    ]


def pushed(stream: DecidingStream, items: Iterable[Item]) -> list[Record]:
    return [record for item in items for record in stream.push(item)]


def events(records: Iterable[Record]) -> list[EventRecord]:
    return [record for record in records if isinstance(record, EventRecord)]


def scores(records: Iterable[Record]) -> list[ScoresRecord]:
    return [record for record in records if isinstance(record, ScoresRecord)]


# ---- camera


def test_a_label_that_is_seen_long_enough_is_one_event_with_its_whole_span(image_bundle: Path) -> None:
    loaded = ready(image_bundle)
    records = pushed(DecidingStream("cam", loaded), frames([DARK] * 3 + [BRIGHT] * 6 + [DARK] * 4))
    event, off = records
    assert isinstance(event, EventRecord)
    assert (event.stream, event.seq, event.label, event.backend) == ("cam", 0, "bright", "cpu")
    # smoothing over two windows turns it on with the second bright frame, min_count is reached with the third
    assert (event.start_index, event.end_index) == (4, 6)
    assert (event.start_ns, event.end_ns) == (400_000_000, 500_000_000)
    assert event.bundle == loaded.id
    assert event.overrides is UNSET and event.wall_ns is UNSET
    assert isinstance(off, StateRecord)
    assert (off.subject, off.state, off.ns) == ("label:bright", "off", 1_000_000_000)


def test_events_are_counted(image_bundle: Path) -> None:
    stream = DecidingStream("cam", ready(image_bundle))
    records = pushed(stream, frames(([BRIGHT] * 6 + [DARK] * 6) * 3))
    assert [event.seq for event in events(records)] == [0, 1, 2]
    assert stream.tally == StreamTally(windows=36, events=3)


def test_every_frame_is_a_window_when_the_hop_is_0(image_bundle: Path) -> None:
    stream = DecidingStream("cam", ready(image_bundle), scores=True)
    assert [record.start_index for record in scores(pushed(stream, frames([DARK] * 5)))] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("times_ms", "windows"),
    [
        ([0, 50, 100, 150, 200, 250], [0, 2, 4]),
        ([0, 99, 101, 199, 200], [0, 2, 4]),  # jitter never doubles or loses a cell
        ([0, 350, 399, 400], [0, 1, 3]),  # slower than the hop: each frame of a new cell
        ([1_000_000, 1_000_099], [0]),
    ],
)
def test_a_frame_is_a_window_when_it_enters_a_new_cell_of_the_hop(
    times_ms: list[int], windows: list[int], tmp_path: Path, tiny_image_model: bytes
) -> None:
    spec = changed(TINY_IMAGE, hop_ms=100)
    path = make_bundle(tmp_path / "hop.galago", tiny_image_model, ["a", "b", "c"], preprocess=spec)
    stream = DecidingStream("cam", ready(path), scores=True)
    items = [frame(DARK, index, ms * 1_000_000) for index, ms in enumerate(times_ms)]
    assert [record.start_index for record in scores(pushed(stream, items))] == windows


def test_scores_are_what_the_model_says_about_the_frame(image_bundle: Path, tiny_image_model: bytes) -> None:
    engine = Engine(tiny_image_model)
    (record,) = scores(pushed(DecidingStream("cam", ready(image_bundle), scores=True), frames([200])))
    engine.input_view()[...] = 200
    engine.invoke()
    logits = engine.logits()
    assert record.logits == logits.tolist()
    real = np.exp(engine.output.scale * (logits.astype(float) - logits.max()))
    np.testing.assert_allclose(record.scores, real / real.sum(), atol=2e-5)
    assert record.warm_up
    assert (record.start_index, record.end_index, record.window) == (0, 1, 0)


# ---- gaps


def test_without_a_gap_the_third_bright_frame_is_an_event_and_with_one_it_is_not(image_bundle: Path) -> None:
    items = frames([BRIGHT] * 3)
    assert events(pushed(DecidingStream("cam", ready(image_bundle)), items))
    stream = DecidingStream("cam", ready(image_bundle), scores=True)
    records = pushed(stream, [*items[:2], Gap(100_000_000, 200_000_000, "drop"), items[2]])
    assert not events(records)
    assert [record.warm_up for record in scores(records)] == [True, False, True]
    assert [record for record in records if isinstance(record, GapRecord)] == [
        GapRecord(stream="cam", from_ns=100_000_000, to_ns=200_000_000, cause="drop")
    ]


def test_what_was_on_ends_at_a_gap_and_that_is_said_before_it(image_bundle: Path) -> None:
    stream = DecidingStream("cam", ready(image_bundle))
    pushed(stream, frames([BRIGHT] * 4))
    off, gap = stream.push(Gap(300_000_000, 900_000_000, "disconnect"))
    assert isinstance(off, StateRecord) and (off.subject, off.state) == ("label:bright", "off")
    assert isinstance(gap, GapRecord)
    assert stream.tally.gaps == 1


def test_after_a_gap_a_frame_in_the_same_cell_is_a_window_again(
    tmp_path: Path, tiny_image_model: bytes
) -> None:
    spec = changed(TINY_IMAGE, hop_ms=1_000)
    path = make_bundle(tmp_path / "hop.galago", tiny_image_model, ["a", "b", "c"], preprocess=spec)
    stream = DecidingStream("cam", ready(path), scores=True)
    first, second = frames([DARK] * 2)
    records = pushed(stream, [first, Gap(0, 100_000_000, "drop"), second])
    assert [record.start_index for record in scores(records)] == [0, 1]


def test_a_notice_of_the_source_becomes_a_state_record(image_bundle: Path) -> None:
    stream = DecidingStream("cam", ready(image_bundle))
    assert stream.push(Notice("truncated", 7, 8, {"frames": 7})) == [
        StateRecord(stream="cam", subject="source", state="truncated", index=7, ns=8, detail={"frames": 7})
    ]


# ---- microphone


def tones() -> npt.NDArray[np.int16]:
    """4 s: quiet, a low tone from 1 s to 2 s, a high one from 2.5 s to 3.5 s."""
    time_s = np.arange(4 * RATE_HZ) / RATE_HZ
    low = 12_000 * np.sin(2 * np.pi * 300 * time_s) * ((time_s >= 1) & (time_s < 2))
    chord = sum(np.sin(2 * np.pi * hz * time_s) for hz in (2_600, 4_100, 6_000))
    high = 9_000 * chord * ((time_s >= 2.5) & (time_s < 3.5))
    return np.rint(low + high).astype(np.int16)


def blocks(
    samples: npt.NDArray[np.int16], sizes: Iterable[int], first: int = 0, ns: int | None = None
) -> list[Item]:
    """Cut into blocks of these sizes, the last one to the end; the first one at stream time ``ns``."""
    found: list[Item] = []
    start_ns = samples_to_ns(first, RATE_HZ) if ns is None else ns
    at = 0
    for size in [*sizes, len(samples)]:
        part = samples[at : at + size]
        if len(part):
            found.append(AudioBlock(part, first + at, start_ns + samples_to_ns(at, RATE_HZ), RATE_HZ))
        at += len(part)
    return found


def test_tones_become_events(audio_bundle: Path) -> None:
    low, high = events(pushed(DecidingStream("mic", ready(audio_bundle)), blocks(tones(), [])))
    assert (low.label, high.label) == ("low", "high")
    for event, onset_ns in ((low, 1_000_000_000), (high, 2_500_000_000)):
        assert onset_ns - 220_000_000 < event.start_ns < event.end_ns < onset_ns + 400_000_000


def test_windows_lie_where_the_manifest_says(audio_bundle: Path) -> None:
    found = scores(pushed(DecidingStream("mic", ready(audio_bundle), scores=True), blocks(tones(), [])))
    hop = TINY_AUDIO.hop_frames * TINY_AUDIO.frame_hop_samples
    length = TINY_AUDIO.window_samples
    assert len(found) == (4 * RATE_HZ - length) // hop + 1
    for number, record in enumerate(found):
        assert (record.window, record.start_index, record.end_index) == (
            number,
            number * hop,
            number * hop + length,
        )
        assert record.start_ns == samples_to_ns(record.start_index, RATE_HZ)
        assert record.end_ns == samples_to_ns(record.end_index, RATE_HZ)


def test_each_window_is_the_frontends_frames_of_its_samples(
    audio_bundle: Path, tiny_audio_model: bytes
) -> None:
    """What the stream feeds the model is what the whole-file frontend gives for that stretch alone."""
    samples = tones()
    engine = Engine(tiny_audio_model)
    for record in scores(
        pushed(DecidingStream("mic", ready(audio_bundle), scores=True), blocks(samples, [999] * 60))
    )[::7]:
        window = log_mel(TINY_AUDIO, samples[record.start_index : record.end_index])
        assert window.shape == (TINY_AUDIO.window_frames, TINY_AUDIO.mel_bands)
        engine.input_view()[...] = window
        engine.invoke()
        assert record.logits == engine.logits().tolist()


@pytest.fixture(scope="session")
def whole(audio_bundle: Path) -> list[Record]:
    """The records of the tones in one block."""
    return pushed(DecidingStream("mic", ready(audio_bundle), scores=True), blocks(tones(), []))


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(sizes=st.lists(st.sampled_from([1, 2, 7, 159, 160, 161, 480, 3_200, 4_096, 20_000]), max_size=60))
def test_records_do_not_depend_on_how_sound_is_cut(
    sizes: list[int], audio_bundle: Path, whole: list[Record]
) -> None:
    assert pushed(DecidingStream("mic", ready(audio_bundle), scores=True), blocks(tones(), sizes)) == whole


def test_a_hop_longer_than_the_window_skips_frames(tmp_path: Path, tiny_audio_model: bytes) -> None:
    spec = changed(TINY_AUDIO, hop_frames=53)
    path = make_bundle(
        tmp_path / "hop.galago", tiny_audio_model, ["a", "b", "c"], modality="microphone", preprocess=spec
    )
    for sizes in ([], [1_000] * 70):
        found = scores(pushed(DecidingStream("mic", ready(path), scores=True), blocks(tones(), sizes)))
        assert [record.start_index for record in found] == list(
            range(0, 64_000 - spec.window_samples, 53 * 160)
        )


def test_missing_samples_are_a_gap_even_when_the_source_does_not_say_so(audio_bundle: Path) -> None:
    samples = tones()
    stream = DecidingStream("mic", ready(audio_bundle), scores=True)
    before = pushed(stream, blocks(samples[:8_000], [1_234]))
    after = pushed(stream, blocks(samples[:8_000], [], first=10_000))
    assert isinstance(after[0], GapRecord)
    assert (after[0].from_ns, after[0].to_ns, after[0].cause) == (500_000_000, 625_000_000, "drop")
    again = scores(after)
    assert [record.logits for record in again] == [record.logits for record in scores(before)]
    assert again[0].start_index == 10_000 and again[0].start_ns == 625_000_000
    assert again[0].warm_up


def test_behind_a_gap_time_begins_with_the_block_that_follows_it(audio_bundle: Path) -> None:
    stream = DecidingStream("mic", ready(audio_bundle), scores=True)
    stream.push(Gap(0, 5_000_000_000, "disconnect"))
    found = scores(pushed(stream, blocks(tones()[:8_000], [777], first=50, ns=5_000_000_123)))
    assert (found[0].start_index, found[0].start_ns) == (50, 5_000_000_123)
    assert found[1].start_ns == 5_000_000_123 + 50_000_000


# ---- what does not fit


def test_frames_do_not_fit_a_microphone_bundle_nor_samples_a_camera_one(
    image_bundle: Path, audio_bundle: Path
) -> None:
    with pytest.raises(InputError) as caught:
        DecidingStream("s", ready(audio_bundle)).push(frames([DARK])[0])
    assert caught.value.reason is Reason.SOURCE_MISMATCH
    with pytest.raises(InputError) as caught:
        DecidingStream("s", ready(image_bundle)).push(blocks(tones(), [])[0])
    assert caught.value.reason is Reason.SOURCE_MISMATCH


def test_another_sample_rate_is_refused(audio_bundle: Path) -> None:
    with pytest.raises(InputError, match="16000 Hz, the source gives 44100 Hz"):
        DecidingStream("s", ready(audio_bundle)).push(AudioBlock(tones(), 0, 0, 44_100))


def rebuilt(path: Path, **fields: Any) -> Path:
    """Write the bundle again with another manifest, rightly signed."""
    bundle = open_bundle(path)
    manifest = changed(bundle.manifest, **fields)
    files = {entry.path: bundle.read(entry.path) for entry in manifest.files}
    return write_bundle(path.with_name("other.galago"), manifest, files, [TEST_KEY]).path


def test_a_preprocessing_that_this_runtime_does_not_have_is_refused(image_bundle: Path) -> None:
    path = rebuilt(image_bundle, preprocess__sha256="1" * 64)
    with pytest.raises(BundleError, match="the bundle needs 1111") as caught:
        ready(path)
    assert caught.value.reason is Reason.PREPROCESS_MISMATCH


def test_a_model_that_is_not_the_manifests_is_refused(image_bundle: Path) -> None:
    model = open_bundle(image_bundle).manifest.model[0]
    path = rebuilt(image_bundle, model=(changed(model, output__scale=0.5),))
    with pytest.raises(BundleError, match=r"output is int8 \(1, 3\).*manifest says .* scale 0\.5") as caught:
        ready(path)
    assert caught.value.reason is Reason.TENSOR_MISMATCH


# ---- overrides


@pytest.mark.parametrize(
    ("overrides", "shown"),
    [
        ({"bright": {"on": 0.55}}, {"on": {"manifest": 0.6, "device": 0.55}}),
        (
            {"bright": {"on": 0.5, "off": 0.3}},
            {"on": {"manifest": 0.6, "device": 0.5}, "off": {"manifest": 0.4, "device": 0.3}},
        ),
        ({"bright": {"on": 0.6}}, UNSET),  # says what the manifest says
        ({"mid": {"on": 0.7}}, UNSET),  # another label's
    ],
)
def test_events_show_where_the_device_differs(
    overrides: ThresholdOverrides, shown: object, image_bundle: Path
) -> None:
    stream = DecidingStream("cam", ready(image_bundle), thresholds=overrides)
    (event,) = events(pushed(stream, frames([BRIGHT] * 4)))
    assert event.overrides == shown


def test_an_override_is_what_decides(image_bundle: Path) -> None:
    stream = DecidingStream("cam", ready(image_bundle), thresholds={"bright": {"on": 1.0}})
    assert not events(pushed(stream, frames([BRIGHT] * 9)))


@pytest.mark.parametrize(
    "overrides", [{"smoke": {"on": 0.5}}, {"bright": {"on": 0.3}}, {"bright": {"off": 0.7}}]
)
def test_overrides_that_make_no_sense_are_refused(overrides: ThresholdOverrides, image_bundle: Path) -> None:
    with pytest.raises(CallerError) as caught:
        DecidingStream("cam", ready(image_bundle), thresholds=overrides)
    assert caught.value.reason is Reason.CONFIG_BAD


# ---- the whole walk


def walk(source: ListSource, stream: DecidingStream) -> tuple[list[Record], GalagoError | None]:
    records: list[Record] = []
    return records, drive(source, stream, records.extend)


def test_the_first_record_says_what_decides_and_the_last_what_it_came_to(image_bundle: Path) -> None:
    loaded = ready(image_bundle)
    stream = DecidingStream("cam", loaded, thresholds={"mid": {"on": 0.9}})
    records, failure = walk(ListSource(frames([BRIGHT] * 5)), stream)
    assert failure is None
    started, ended = records[0], records[-1]
    assert isinstance(started, StateRecord) and isinstance(ended, StateRecord)
    assert (started.subject, started.state, started.index, started.ns) == ("stream", "started", 0, 0)
    detail = started.detail
    assert detail["bundle"] == loaded.id
    assert (detail["name"], detail["version"]) == ("tiny", "1.0.0")
    assert detail["preprocess"] == loaded.manifest.preprocess.sha256
    assert detail["runtime"]["package"] in ("ai-edge-litert", "tflite-runtime")
    assert detail["overrides"] == {"mid": {"on": {"manifest": 0.6, "device": 0.9}}}
    assert detail["source"] == {"kind": "list"}
    assert (ended.state, ended.index, ended.ns) == ("ended", 5, 400_000_000)
    assert ended.detail == {"windows": 5, "events": 1, "gaps": 0, "source": {"given": "all"}}


def test_a_source_that_fails_half_way_is_decided_up_to_there(image_bundle: Path) -> None:
    lost = LinkError(Reason.SOURCE_LOST, "gone")
    records, failure = walk(
        ListSource(frames([BRIGHT] * 5), lost), DecidingStream("cam", ready(image_bundle))
    )
    assert failure is lost
    assert len(events(records)) == 1
    last = records[-1]
    assert isinstance(last, StateRecord)
    assert (last.subject, last.state, last.detail["reason"]) == ("stream", "failed", "SOURCE_LOST")
    assert last.detail["windows"] == 5


@pytest.mark.parametrize("live", [True, False])
def test_only_a_live_streams_record_holds_the_message(live: bool, image_bundle: Path) -> None:
    """A recording's message names its path, and a replay must be the same wherever the file lies."""
    source = ListSource([], InputError(Reason.DATA_BAD, "/home/me/x.wav is bad"))
    source.live = live
    records, _ = walk(source, DecidingStream("cam", ready(image_bundle)))
    assert ("/home/me" in str(records[-1])) == live


def test_a_sink_that_fails_ends_the_walk_and_closes_the_source(image_bundle: Path) -> None:
    source = ListSource(frames([BRIGHT] * 50))
    seen: list[Record] = []

    def emit(records: Sequence[Record]) -> None:
        seen.extend(records)
        if len(seen) > 1:
            raise LinkError(Reason.NO_SPACE, "full")

    with pytest.raises(LinkError, match="full"):
        drive(source, DecidingStream("cam", ready(image_bundle)), emit)
    assert source.closed
    assert len(seen) == 2
