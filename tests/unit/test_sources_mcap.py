"""Recording files as sources: recorded_source, recorded_video, mcap_source and mcap_sound_source."""

from __future__ import annotations

import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from galago_edge.commands.cli import main
from galago_edge.contract.errors import CallerError, DeviceError, InputError, LinkError, Reason
from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.contract.records import EventRecord, Record, StateRecord, decode_record
from galago_edge.contract.settings import PlausibilitySettings, SourceSettings
from galago_edge.contract.streams import AudioBlock, Frame, Gap, Item, Notice
from galago_edge.editing.file_check import check_file
from galago_edge.editing.source_import import import_recording
from galago_edge.recorded.about import AboutRecording, SourceMark
from galago_edge.recorded.stored_items import DropMessage, StoredPicture, is_key_unit
from galago_edge.recording.recording_writer import RecordingWriter
from galago_edge.sources.address import parse_source
from galago_edge.sources.fanout import SampleSubscription
from galago_edge.sources.placed_conversion import PlacedConversion
from galago_edge.sources.recorded_camera import RecordedCamera
from galago_edge.sources.recorded_microphone import RecordedMicrophone
from galago_edge.sources.recordings import open_source
from galago_edge.sources.supervised_source import Supervised
from galago_edge.sources.video_file import VideoFile
from real_parts.media import ffmpeg
from test_kit import TINY_AUDIO, TINY_IMAGE, ScriptedCapture, SteppedClock, make_bundle
from test_kit.recorded import RATE_HZ, block, jpeg_frame, put, write_recording
from test_kit.videos import H264, HEVC, REORDERED, damage, make_video

STEP_NS = 100_000_000
POLICY = LabelPolicy(on=0.6, off=0.4, smoothing_windows=2, min_count=2, refractory_ms=500)


def labels(*names: str) -> list[Label]:
    return [Label(name=name, background=not index, policy=POLICY) for index, name in enumerate(names)]


@pytest.fixture(scope="module")
def camera_bundle(tmp_path_factory: pytest.TempPathFactory, tiny_image_model: bytes) -> Path:
    path = tmp_path_factory.mktemp("cam") / "cam.galago"
    return make_bundle(path, tiny_image_model, labels("dark", "mid", "bright"))


@pytest.fixture(scope="module")
def sound_bundle(tmp_path_factory: pytest.TempPathFactory, tiny_audio_model: bytes) -> Path:
    path = tmp_path_factory.mktemp("mic") / "mic.galago"
    return make_bundle(path, tiny_audio_model, labels("quiet", "low", "high"), modality="microphone")


def frames(count: int = 5, level: int = 0) -> list[Item]:
    return [jpeg_frame(index, index * STEP_NS, level=level) for index in range(count)]


def sounds(count: int = 5) -> list[Item]:
    return [block(index * 1600, range(1600)) for index in range(count)]


def replayed(source: object, bundle: Path) -> list[Record]:
    """Return all records but those in which the source describes itself."""
    result = CliRunner().invoke(main, ["replay", str(source), "--bundle", str(bundle), "--scores"])
    found = [decode_record(line.encode()) for line in result.stdout.splitlines()]
    own = ("started", "ended", "failed", "converted")
    kept = [one for one in found if not (isinstance(one, StateRecord) and one.state in own)]
    last = found[-1]
    assert isinstance(last, StateRecord)
    counts = {key: value for key, value in last.detail.items() if key != "source"}
    return [*kept, StateRecord(stream="", subject="", state=last.state, index=0, ns=0, detail=counts)]


def test_a_recording_is_known_by_name_or_content_and_gives_what_the_bundle_wants(tmp_path: Path) -> None:
    path = write_recording(
        tmp_path / "r.mcap", {"door": ("camera", frames()), "mic": ("microphone", sounds())}
    )
    assert isinstance(open_source(str(path), TINY_IMAGE), RecordedCamera)
    assert isinstance(open_source(str(path), TINY_AUDIO), RecordedMicrophone)
    part = path.rename(tmp_path / "r.mcap.part")
    assert isinstance(open_source(str(part), TINY_AUDIO), RecordedMicrophone)
    assert parse_source(str(part)).kind == "mcap"
    alone = write_recording(tmp_path / "m.mcap", {"mic": ("microphone", sounds())})
    assert (parse_source(str(alone)).kind, parse_source(str(alone)).modality) == ("mcap_sound", "microphone")
    with pytest.raises(InputError) as caught:
        open_source(str(alone), TINY_IMAGE)
    assert caught.value.reason is Reason.SOURCE_MISMATCH


def test_one_of_several_sources_is_chosen_by_its_name_and_never_by_chance(tmp_path: Path) -> None:
    path = write_recording(
        tmp_path / "r.mcap", {"door": ("camera", frames(3)), "yard": ("camera", frames(5))}
    )
    with pytest.raises(CallerError) as caught:
        open_source(str(path), TINY_IMAGE)
    assert caught.value.reason is Reason.CONFIG_BAD and "door, yard" in str(caught.value)
    assert len(list(open_source(f"{path}?source=yard", TINY_IMAGE))) == 5
    with pytest.raises(CallerError) as caught:
        open_source(f"{path}?source=cellar", TINY_IMAGE)
    assert "cellar" in str(caught.value) and "door, yard" in str(caught.value)


def test_pictures_are_decided_on_as_the_device_decided_on_them(tmp_path: Path) -> None:
    items = frames(6, level=90)
    path = write_recording(tmp_path / "r.mcap", {"door": ("camera", items)})
    for one, recorded in zip(RecordedCamera(path, None), items, strict=True):
        assert isinstance(one, Frame) and isinstance(recorded, Frame)
        assert np.array_equal(one.pixels, recorded.pixels) and one.encoded == recorded.encoded


def test_what_begins_in_the_middle_of_a_stream_keeps_its_times_behind_a_gap(tmp_path: Path) -> None:
    items = [jpeg_frame(index, index * STEP_NS) for index in range(50, 53)]
    path = write_recording(tmp_path / "r.mcap", {"door": ("camera", items)})
    first, *rest = RecordedCamera(path, None)
    assert first == Gap(0, 50 * STEP_NS, "missing")
    assert [(one.index, one.captured_ns) for one in rest if isinstance(one, Frame)] == [
        (index, index * STEP_NS) for index in (50, 51, 52)
    ]


def test_what_a_stream_did_not_take_in_time_is_left_out_when_that_is_asked_for(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path, "r", AboutRecording(), single=True)
    writer.source(SourceMark(name="door", modality="camera"))
    writer.source(SourceMark(name="mic", modality="microphone"))
    for item in frames(6):
        put(writer, "door", item)
    for item in sounds(6):
        put(writer, "mic", item)
    quiet = DropMessage(stream="s", first=1, end=2, from_ns=0, to_ns=2 * STEP_NS)
    told = DropMessage(stream="s", first=3, end=5, from_ns=2 * STEP_NS, to_ns=5 * STEP_NS, cause="drop")
    lost = DropMessage(stream="s", first=1600, end=4800, from_ns=STEP_NS, to_ns=3 * STEP_NS, cause="overrun")
    other = DropMessage(stream="t", first=0, end=6, from_ns=0, to_ns=6 * STEP_NS, cause="drop")
    for drop in (quiet, told, other):
        writer.drop("door", drop)
    writer.drop("mic", lost)
    (path,) = writer.close()
    kept = [one.index if isinstance(one, Frame) else one for one in RecordedCamera(path, None, "s")]
    assert kept == [0, 2, Gap(2 * STEP_NS, 5 * STEP_NS, "drop"), 5]
    heard = [
        one.first_sample if isinstance(one, AudioBlock) else one
        for one in RecordedMicrophone(path, RATE_HZ, stream="s")
    ]
    assert heard == [0, Gap(STEP_NS, 3 * STEP_NS, "overrun"), 4800, 6400, 8000]
    assert len(list(RecordedCamera(path, None))) == 6  # nobody asked


def test_h264_is_decoded_from_the_key_frame_and_hidden_pictures_are_not_seen(tmp_path: Path) -> None:
    import av

    options = ("-c:v", "libx264", "-bf", "0", "-g", "5", "-pix_fmt", "yuv420p")
    video = make_video(tmp_path / "v.h264", *options, "-t", "1")
    with av.open(str(video)) as container:
        units = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    expected = [item for item in VideoFile(video, Fraction(10)) if isinstance(item, Frame)]
    assert [is_key_unit(unit) for unit in units[:6]] == [True, False, False, False, False, True]
    writer = RecordingWriter(tmp_path, "r", AboutRecording(), single=True)
    writer.source(SourceMark(name="door", modality="camera"))
    for index, unit in enumerate(units):
        picture = StoredPicture(index, index * STEP_NS, "h264", unit, index % 2 == 1, is_key_unit(unit))
        writer.picture("door", picture)
        if index == 6:
            writer.mark("door", Notice("healthy", index, index * STEP_NS, {}))
    (path,) = writer.close()
    found = list(RecordedCamera(path, None))
    shown = [one for one in found if isinstance(one, Frame)]
    assert [one.index for one in shown] == list(range(0, len(units), 2))
    place = next(place for place, one in enumerate(found) if isinstance(one, Notice))
    assert found[place - 1] is shown[3] and found[place + 1] is shown[4]
    assert len(expected) == len(units)
    for one in shown:
        assert np.array_equal(one.pixels, expected[one.index].pixels)


def test_h264_behind_a_missing_picture_is_not_shown_before_the_next_key_frame(tmp_path: Path) -> None:
    import av

    options = ("-c:v", "libx264", "-bf", "0", "-g", "5", "-pix_fmt", "yuv420p")
    video = make_video(tmp_path / "v.h264", *options, "-t", "1")
    with av.open(str(video)) as container:
        units = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    writer = RecordingWriter(tmp_path, "r", AboutRecording(), single=True)
    writer.source(SourceMark(name="door", modality="camera"))
    for index, unit in enumerate(units[:10]):
        if index == 2:
            writer.lost("door", 1, index * STEP_NS)
            continue
        writer.picture("door", StoredPicture(index, index * STEP_NS, "h264", unit, key=is_key_unit(unit)))
    (path,) = writer.close()
    shown: list[int] = []
    gaps: list[str] = []
    with pytest.raises(InputError):
        for item in RecordedCamera(path, None):
            shown += [item.index] if isinstance(item, Frame) else []
            gaps += [item.cause] if isinstance(item, Gap) else []
    assert shown == [0, 1, 5, 6, 7, 8, 9]
    assert gaps[0] == "missing" and "unreadable" in gaps


@pytest.mark.parametrize("round_up", [False, True])
def test_samples_at_another_rate_fall_into_place_as_live_or_as_in_a_file(round_up: bool) -> None:
    late = AudioBlock(np.zeros(480, np.int16), 1_001, 0, 48_000)
    assert PlacedConversion(late, RATE_HZ, 0, round_up=round_up).next_index == (334 if round_up else 333)


def test_replay_of_an_imported_folder_equals_replay_of_the_folder(
    tmp_path: Path, camera_bundle: Path
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for index in (*range(5), *range(8, 20)):  # three numbers are missing
        frame = jpeg_frame(index, 0, level=0 if index < 10 else 255)
        (folder / f"{index:03d}.jpg").write_bytes(frame.encoded or b"")
    (folder / "012.jpg").write_bytes((folder / "011.jpg").read_bytes()[:200])
    report = import_recording(f"{folder}?fps=10", tmp_path / "r.mcap")
    assert report.sources["cam"]["own_jpeg"] == 16 and len(report.damage) == 1
    found = replayed(tmp_path / "r.mcap", camera_bundle)
    assert found == replayed(f"{folder}?fps=10", camera_bundle)
    assert any(isinstance(one, EventRecord) for one in found)


def test_replay_of_an_imported_video_equals_replay_of_the_video(tmp_path: Path, camera_bundle: Path) -> None:
    video = make_video(tmp_path / "v.mkv", "-c:v", "libx264", "-t", "2")
    import_recording(str(video), tmp_path / "r.mcap")
    assert replayed(tmp_path / "r.mcap", camera_bundle) == replayed(video, camera_bundle)


OWN = ("-bf", "0")


@pytest.mark.parametrize("name", ["v.mkv", "v.mp4", "v.ts", "v.h264"])
def test_pictures_of_h264_are_imported_as_the_packets_that_the_file_holds(
    name: str, tmp_path: Path, camera_bundle: Path
) -> None:
    video = make_video(tmp_path / name, *H264, *OWN, "-t", "3")
    source = f"{video}?fps=10" if name.endswith("h264") else str(video)
    report = import_recording(source, tmp_path / "r.mcap")
    frames = report.sources["cam"]["frames"]
    assert report.sources["cam"]["own_packets"] == frames > 20
    assert (tmp_path / "r.mcap").stat().st_size < 2 * video.stat().st_size + 20_000  # nothing is encoded
    assert check_file(tmp_path / "r.mcap").faults() == []
    assert replayed(tmp_path / "r.mcap", camera_bundle) == replayed(source, camera_bundle)
    plain = [one.pixels for one in VideoFile(video, Fraction(10)) if isinstance(one, Frame)]
    again = [one.pixels for one in RecordedCamera(tmp_path / "r.mcap", None) if isinstance(one, Frame)]
    assert all(np.array_equal(one, other) for one, other in zip(plain, again, strict=True))


def test_pictures_of_hevc_are_imported_as_packets_too(tmp_path: Path, camera_bundle: Path) -> None:
    video = make_video(tmp_path / "v.mp4", *HEVC, "-x265-params", "bframes=0:log-level=none", "-t", "2")
    report = import_recording(str(video), tmp_path / "r.mcap")
    assert report.sources["cam"]["own_packets"] == report.sources["cam"]["frames"] > 10
    assert replayed(tmp_path / "r.mcap", camera_bundle) == replayed(video, camera_bundle)


@pytest.mark.parametrize("why", ["reordered", "turned", "damaged"])
def test_where_packets_do_not_say_all_that_the_file_does_pictures_become_png(
    why: str, tmp_path: Path, camera_bundle: Path
) -> None:
    video = make_video(tmp_path / "v.mp4", *(REORDERED if why == "reordered" else (*H264, *OWN)), "-t", "3")
    if why == "turned":
        turned = tmp_path / "turned.mp4"
        ffmpeg("-i", video, "-c", "copy", "-metadata:s:v", "rotate=90", turned)
        video = turned
    if why == "damaged":
        video = damage(video, 3)
    report = import_recording(str(video), tmp_path / "r.mcap")
    assert report.sources["cam"]["own_packets"] in (0, report.sources["cam"]["frames"])
    if why != "damaged":
        assert report.sources["cam"]["own_packets"] == 0
    assert replayed(tmp_path / "r.mcap", camera_bundle) == replayed(video, camera_bundle)
    assert [path.name for path in tmp_path.glob(".*")] == []  # nothing is left of the first attempt


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "cut off"])
def test_replay_of_imported_sound_equals_replay_of_the_sound(
    tmp_path: Path, sound_bundle: Path, rate_hz: int, channels: int, whole: bool
) -> None:
    path = tmp_path / "s.wav"
    time_s = np.arange(2 * rate_hz) / rate_hz
    tone = np.rint(12_000 * np.sin(2 * np.pi * 1000 * time_s) * (time_s > 1)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(np.repeat(tone, channels).tobytes())
    if not whole:
        path.write_bytes(path.read_bytes()[: -path.stat().st_size // 4])
    import_recording(str(path), tmp_path / "r.mcap")
    found = replayed(tmp_path / "r.mcap", sound_bundle)
    assert found == replayed(path, sound_bundle)
    assert any(isinstance(one, EventRecord) for one in found)


def test_without_the_library_one_line_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_recording(tmp_path / "r.mcap", {"door": ("camera", frames())})
    real: Any = __import__("importlib").import_module

    def missing(name: str, package: str | None = None) -> Any:
        if name.partition(".")[0] == "mcap":
            raise ModuleNotFoundError("No module named 'mcap'", name="mcap")
        return real(name, package)

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(DeviceError) as caught:
        RecordedCamera(path, None)
    assert caught.value.reason is Reason.EXTRA_MISSING
    assert caught.value.hint == 'pip install "galago-edge[recording]"'


def test_sound_of_a_device_is_what_its_stream_heard_at_any_rate_and_over_every_outage(tmp_path: Path) -> None:
    """The real supervision and fan-out, at 44.1 kHz for a bundle of 16 kHz, with lost samples between."""
    device_hz = 44_100
    rng = np.random.default_rng(3)
    clock = SteppedClock()
    scripts = iter(
        [
            AudioBlock(
                rng.integers(-9_000, 9_000, 4_410).astype(np.int16),
                number * 4_410 + (777 if number > 3 else 0),  # an overrun of 777 samples
                start_ns + number * STEP_NS,
                device_hz,
            )
            for number in range(8)
        ]
        for start_ns in (1_000_000_017, 5_000_000_041)  # a reconnect
    )

    def open_next() -> ScriptedCapture:
        script = next(scripts, None)
        if script is None:
            supervised.stop()
            raise LinkError(Reason.SOURCE_MISSING, "the test is over")
        return ScriptedCapture(clock, script)

    never = PlausibilitySettings(flat_s=0, clipped_s=0, offset_s=0, rate_s=0)
    supervised = Supervised(
        "hall",
        open_next,
        "microphone",
        SourceSettings(address="microphone:default", steady_s=1.0, plausibility=never),
        clock_ns=clock,
        wait=clock.wait,
    )
    given = list(supervised)
    path = write_recording(tmp_path / "r.mcap", {"hall": ("microphone", given)}, chunk_bytes=9_000)

    heard = SampleSubscription(supervised, RATE_HZ)
    for item in given:
        heard.put(item)
    heard.close()
    expected, found = list(heard), list(RecordedMicrophone(path, RATE_HZ))
    assert [type(one).__name__ for one in found] == [type(one).__name__ for one in expected]
    for one, other in zip(found, expected, strict=True):
        if isinstance(one, AudioBlock) and isinstance(other, AudioBlock):
            assert (one.first_sample, one.captured_ns) == (other.first_sample, other.captured_ns)
            assert np.array_equal(one.samples, other.samples)
        else:
            assert one == other
    assert sum(isinstance(one, Gap) for one in found) >= 3
    assert sum(len(one.samples) for one in found if isinstance(one, AudioBlock)) > 20_000
