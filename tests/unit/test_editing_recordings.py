"""``galago recording``: info, check, cut, recover, import and export, and the room galago_edge.editing."""

from __future__ import annotations

import errno
import json
import os
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import galago_edge
from galago_edge.commands.cli import main
from galago_edge.contract.errors import InputError
from galago_edge.contract.manifest import AudioPreprocess, ImagePreprocess, Label, LabelPolicy
from galago_edge.contract.records import (
    EventRecord,
    GapRecord,
    Record,
    StateRecord,
    decode_record,
    encode_record,
    stamped,
)
from galago_edge.contract.streams import AudioBlock, Frame, Gap, Item, Notice
from galago_edge.pipeline import DecidingStream, batches, load
from galago_edge.recorded.about import AboutRecording, RecordedStream, SourceMark
from galago_edge.recorded.stored_items import StoredPicture
from galago_edge.recording.recording_writer import RecordingWriter
from galago_edge.recording.writer_account import WriterLimits
from galago_edge.sources.image_folder import ImageFolder
from galago_edge.sources.recorded_camera import RecordedCamera
from galago_edge.sources.recorded_microphone import RecordedMicrophone
from galago_edge.sources.recordings import open_source
from test_kit import make_bundle
from test_kit.listed import ListSource
from test_kit.recorded import RATE_HZ, block, jpeg_frame, write_recording
from test_kit.videos import make_video

STEP_NS = 100_000_000
POLICY = LabelPolicy(on=0.6, off=0.4, smoothing_windows=2, min_count=2, refractory_ms=500)


def galago(*args: str | Path) -> Result:
    result = CliRunner().invoke(main, ["recording", *map(str, args)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def frames(count: int, first: int = 0) -> list[Item]:
    return [jpeg_frame(index, index * STEP_NS) for index in range(first, first + count)]


def sounds(count: int) -> list[Item]:
    return [block(index * 1600, range(index, index + 1600)) for index in range(count)]


def night(tmp_path: Path, name: str = "night.mcap", **options: Any) -> Path:
    items = [*frames(10), Gap(9 * STEP_NS, 20 * STEP_NS, "stall"), *frames(10, 20)]
    sources: Any = {"door": ("camera", items), "mic": ("microphone", sounds(30))}
    return write_recording(tmp_path / name, sources, chunk_bytes=4_000, **options)


def test_info_says_what_is_there_and_json_says_the_same(tmp_path: Path) -> None:
    stream = RecordedStream(name="porch", source="door", bundle="ab" * 32, overrides={"bell": {"on": 0.7}})
    about = AboutRecording(device="barn", wall_ns=0, clock_synced=True, streams=(stream,))
    path = night(tmp_path, about=about, lines={"porch": [b"{}\n"]})
    said = galago("info", path)
    assert said.exit_code == 0
    for part in (
        "20 frames jpeg",
        "0.000 s to 2.900 s",
        "1 stall, 1.100 s",
        "48000 samples 16000 Hz",
        "barn",
    ):
        assert part in said.stdout
    assert (
        "stream      porch: source door, bundle abababababababab, thresholds of bell changed" in said.stdout
    )
    data = json.loads(galago("info", path, "--json").stdout)
    assert data["sources"]["door"]["gaps"] == {"stall": 1} and data["records"] == {"porch": 1}
    assert data["faults"] == [] and data["whole"] and data["about"]["streams"][0]["overrides"]


def test_check_passes_what_is_as_it_was_and_ends_with_1_for_anything_else(tmp_path: Path) -> None:
    path = night(tmp_path)
    assert galago("check", path).exit_code == 0
    whole = path.read_bytes()
    for change, told in (
        (whole[:-40], "index is damaged"),
        (whole[: len(whole) // 2], "ends early"),
        (whole.replace(b"jpeg", b"jpeh", 3), "checksum"),
    ):
        path.write_bytes(change)
        said = galago("check", path)
        assert said.exit_code == 1 and told in said.stdout and "NOT as it was" in said.stdout
        data = json.loads(galago("check", path, "--json").stdout)
        assert data["ok"] is False and data["sha256"] == "differs" and data["faults"]
    path.write_bytes(whole)
    path.with_name("night.mcap.sha256").unlink()
    assert json.loads(galago("check", path, "--json").stdout)["sha256"] == "none"


def test_recover_makes_a_whole_recording_of_a_part_and_of_a_damaged_one(tmp_path: Path) -> None:
    part = night(tmp_path, end=False)
    said = galago("recover", part, tmp_path / "saved.mcap")
    assert said.exit_code == 1 and "ended early" in said.stdout
    assert galago("check", tmp_path / "saved.mcap").exit_code == 0
    saved = list(RecordedCamera(tmp_path / "saved.mcap", None))
    assert sum(isinstance(item, Frame) for item in saved) == 20
    assert saved[-1] == Gap(29 * STEP_NS, 29 * STEP_NS, "truncated")

    damaged = bytearray(night(tmp_path, "damaged.mcap").read_bytes())
    middle = len(damaged) // 3
    damaged[middle : middle + 100] = bytes(100)
    (tmp_path / "damaged.mcap").write_bytes(damaged)
    data = json.loads(galago("recover", tmp_path / "damaged.mcap", tmp_path / "r.mcap", "--json").stdout)
    assert data["missing"] > 0 and data["damaged_bytes"] > 0 and not data["ended_early"]
    assert galago("check", tmp_path / "r.mcap").exit_code == 0
    causes = [
        item.cause for item in RecordedMicrophone(tmp_path / "r.mcap", RATE_HZ) if isinstance(item, Gap)
    ]
    assert causes == ["unreadable"]

    whole = galago("recover", night(tmp_path, "whole.mcap"), tmp_path / "copy.mcap")
    assert whole.exit_code == 0


def test_a_recording_that_cannot_say_any_more_what_it_is_of_is_damaged_and_so_is_its_copy(
    tmp_path: Path,
) -> None:
    stream = RecordedStream(name="porch", source="door", bundle="ab" * 32)
    path = night(tmp_path, about=AboutRecording(device="barn", streams=(stream,)), lines={"porch": [b"{}\n"]})
    path.with_name("night.mcap.sha256").unlink()
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"barn", b"born"))
    said = galago("info", path)
    assert said.exit_code == 0 and "wrong       what it says of itself" in said.stdout
    assert galago("check", path).exit_code == 1
    recovered = galago("recover", path, tmp_path / "copy.mcap")
    assert recovered.exit_code == 1 and "streams" in recovered.stdout
    data = json.loads(galago("info", tmp_path / "copy.mcap", "--json").stdout)
    assert data["about"]["origin"] == "device" and data["about"]["clock"] == "monotonic"
    assert data["faults"] == [] and data["records"] == {"porch": 1}
    path.write_bytes(whole[:8] + bytes((whole[8] ^ 2,)) + whole[9:])  # the record before it
    assert galago("recover", path, tmp_path / "again.mcap").exit_code == 1
    data = json.loads(galago("info", tmp_path / "again.mcap", "--json").stdout)
    assert data["about"]["device"] == "barn"


def test_nothing_is_written_over_and_nothing_is_left_of_what_failed(tmp_path: Path) -> None:
    path = night(tmp_path)
    before = path.read_bytes()
    (tmp_path / "other.mcap").write_text("mine")
    for args in (("recover", path, path), ("cut", path, tmp_path / "other.mcap"), ("export", path, path)):
        said = galago(*args)
        assert said.exit_code == 2 and "EXISTS" in said.stderr, said.stderr
    (tmp_path / "bad.wav").write_bytes(b"RIFF....WAVEbad")
    assert galago("import", tmp_path / "bad.wav", tmp_path / "bad.mcap").exit_code == 1
    assert not list(tmp_path.glob("bad.mcap*"))
    assert path.read_bytes() == before and (tmp_path / "other.mcap").read_text() == "mine"


def test_import_onto_a_full_disk_says_that_there_is_no_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wav(tmp_path / "a.wav")

    def full(fd: int, data: bytes, at: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    said = galago("import", tmp_path / "a.wav", tmp_path / "a.mcap")
    assert said.exit_code == 3 and "[NO_SPACE]" in said.stderr, said.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.parametrize("modality", ["camera", "microphone"])
def test_a_recording_cut_off_before_its_first_whole_chunk_is_unreadable_for_every_bundle(
    tmp_path: Path, modality: str
) -> None:
    path = night(tmp_path)
    path.write_bytes(path.read_bytes()[:60])
    wanted = ImagePreprocess(width=32, height=32) if modality == "camera" else AudioPreprocess()
    with pytest.raises(InputError, match="holds no pictures and no sound") as caught:
        open_source(str(path), wanted)
    assert caught.value.reason == "RECORDING_UNREADABLE"


def make_wav(path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(bytes(2 * RATE_HZ))


def test_cut_keeps_times_and_indexes_and_cuts_gaps_and_blocks(tmp_path: Path) -> None:
    path = night(tmp_path)
    said = galago("cut", path, tmp_path / "c.mcap", "--from", "1.55", "--to", "2.25")
    assert said.exit_code == 0, said.stderr
    assert galago("check", tmp_path / "c.mcap").exit_code == 0
    first, *seen = RecordedCamera(tmp_path / "c.mcap", None)
    assert first == Gap(0, 1_550_000_000, "missing")
    assert seen[0] == Gap(1_550_000_000, 2_000_000_000, "stall")
    assert [item.index for item in seen if isinstance(item, Frame)] == [20, 21, 22]
    heard = [
        item for item in RecordedMicrophone(tmp_path / "c.mcap", RATE_HZ) if isinstance(item, AudioBlock)
    ]
    assert heard[0].first_sample == 24_800 and heard[0].captured_ns == 1_550_000_000
    assert sum(len(item.samples) for item in heard) == 11_200
    assert np.array_equal(heard[0].samples, np.arange(15, 1615)[800:])


def test_cut_takes_the_key_frame_along_and_hides_it(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path, "v", AboutRecording(), single=True)

    writer.source(SourceMark(name="door", modality="camera"))
    for index in range(20):
        writer.picture("door", StoredPicture(index, index * STEP_NS, "h264", b"x", key=index % 8 == 0))
    writer.close()
    assert galago("cut", tmp_path / "v.mcap", tmp_path / "c.mcap", "--from", "1.1").exit_code == 0
    data = json.loads(galago("check", tmp_path / "c.mcap", "--json").stdout)
    assert data["ok"] and data["sources"]["door"]["formats"] == {"h264": 9}  # 8 to 10 are hidden
    assert data["sources"]["door"]["from_ns"] == 8 * STEP_NS


def test_hidden_pictures_may_be_older_than_the_end_of_a_gap_and_not_than_the_picture_before(
    tmp_path: Path,
) -> None:
    """A camera comes back: its first packets are of the gap's last moment, and no stream saw them."""
    for hidden_ns, wrong in ((4 * STEP_NS, 0), (STEP_NS // 2, 1)):
        writer = RecordingWriter(tmp_path, f"v{wrong}", AboutRecording(), single=True)
        writer.source(SourceMark(name="door", modality="camera"))
        writer.picture("door", StoredPicture(0, STEP_NS, "h264", b"x"))
        writer.mark("door", Gap(STEP_NS, 5 * STEP_NS, "stall"))
        writer.picture("door", StoredPicture(0, hidden_ns, "h264", b"x", hidden=True))
        writer.picture("door", StoredPicture(1, 5 * STEP_NS, "h264", b"x", key=False))
        writer.close()
        said = galago("check", tmp_path / f"v{wrong}.mcap", "--json")
        assert said.exit_code == wrong and json.loads(said.stdout)["sources"]["door"]["disorder"] == wrong


def test_a_record_of_what_was_before_the_stream_began_is_in_the_copy_too(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path, "v", AboutRecording(), single=True)
    writer.source(SourceMark(name="door", modality="camera", start_ns=50 * STEP_NS))
    writer.item("door", jpeg_frame(0, STEP_NS))
    writer.out("porch", b'{"v":1}', 40 * STEP_NS)  # a gap that the process before could not tell
    writer.close()
    assert galago("recover", tmp_path / "v.mcap", tmp_path / "copy.mcap").exit_code == 0
    data = json.loads(galago("check", tmp_path / "copy.mcap", "--json").stdout)
    assert data["ok"] and data["records"] == {"porch": 1}


def test_recover_counts_pictures_that_lean_on_a_key_frame_which_is_not_there_as_missing(
    tmp_path: Path,
) -> None:
    limits = WriterLimits(chunk_bytes=700, chunk_s=1e9)
    writer = RecordingWriter(tmp_path, "v", AboutRecording(), limits=limits, single=True)
    writer.source(SourceMark(name="door", modality="camera"))
    for index in range(20):
        writer.picture("door", StoredPicture(index, index * STEP_NS, "h264", bytes(300), key=index % 8 == 0))
    writer.close()
    damaged = bytearray((tmp_path / "v.mcap").read_bytes())
    damaged[damaged.index(bytes(300)) + 10] ^= 1  # in the first chunk
    (tmp_path / "v.mcap").write_bytes(damaged)
    said = galago("recover", tmp_path / "v.mcap", tmp_path / "r.mcap", "--json")
    data, copy = json.loads(said.stdout), json.loads(galago("check", tmp_path / "r.mcap", "--json").stdout)
    assert said.exit_code == 1 and copy["sources"]["door"]["formats"] == {"h264": 12}
    pictures = 12
    assert data["missing"] == 20 - pictures and data["items"]["door"] <= pictures + 2  # and what tells of it


def test_an_exported_folder_is_a_source_with_the_same_frames_and_times(tmp_path: Path) -> None:
    path = night(tmp_path)
    said = galago("export", path, tmp_path / "frames", "--source", "door")
    assert said.exit_code == 0 and "20 files, 1 gaps" in said.stdout
    folder = [item for item in ImageFolder(tmp_path / "frames") if isinstance(item, Frame)]
    recorded = [item for item in RecordedCamera(path, None) if isinstance(item, Frame)]
    assert [one.captured_ns for one in folder] == [one.captured_ns for one in recorded]
    assert [one.encoded for one in folder] == [one.encoded for one in recorded]


def test_exported_sound_is_one_wav_or_one_for_each_stretch_and_never_joined_over_a_gap(
    tmp_path: Path,
) -> None:
    path = night(tmp_path)
    assert galago("export", path, tmp_path / "all.wav").exit_code == 0
    with wave.open(str(tmp_path / "all.wav")) as file:
        assert (file.getframerate(), file.getnframes()) == (RATE_HZ, 48_000)
        samples = np.frombuffer(file.readframes(48_000), "<i2")
    expected = [item.samples for item in sounds(30) if isinstance(item, AudioBlock)]
    assert np.array_equal(samples, np.concatenate(expected))
    items = [block(0, range(10)), Gap(625_000, 1_000_000_000, "overrun"), block(16_000, range(5))]
    torn = write_recording(tmp_path / "t.mcap", {"mic": ("microphone", items)})
    said = galago("export", torn, tmp_path / "t.wav")
    assert said.exit_code == 1 and "before 1.000 s" in said.stderr and not (tmp_path / "t.wav").exists()
    assert galago("export", torn, tmp_path / "t").exit_code == 0
    times = (tmp_path / "t" / "times.csv").read_text()
    assert times == "file,time_ns,first_sample\n0000.wav,0,0\n0001.wav,1000000000,16000\n"


def test_import_refuses_what_is_live_or_a_view_or_a_recording_already(tmp_path: Path) -> None:
    path = night(tmp_path)
    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "0.jpg").write_bytes(jpeg_frame(0, 0).encoded or b"")
    for source, told in (
        (str(path), "already"),
        ("camera:/dev/video0", "no file"),
        (f"{folder}?rotate=90", "rotate="),
    ):
        said = galago("import", source, tmp_path / "n.mcap")
        assert said.exit_code == 2 and told in said.stderr, said.stderr
    assert galago("import", folder, tmp_path / "n.avi").exit_code == 2


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("camera:/dev/video0", "it is live: galago record camera:/dev/video0"),
        ("camera:file:f", "name the file itself: galago recording import f NEW.mcap"),
        ("pipe:-?rate=16000", "write it to a file first"),
    ],
)
def test_import_says_what_takes_a_source_that_is_no_file(address: str, hint: str, tmp_path: Path) -> None:
    said = galago("import", address, tmp_path / "n.mcap")
    assert said.exit_code == 2 and f"Hint: {hint}" in said.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_made_is_named_as_it_was_given_and_its_folder_must_be_there(tmp_path: Path) -> None:
    path = night(tmp_path)
    before = set(tmp_path.iterdir())
    new = tmp_path / "no" / "n"
    for call in (
        ("import", tmp_path / "f", f"{new}.mcap"),
        ("cut", path, f"{new}.mcap"),
        ("export", path, new, "--source", "door"),
    ):
        if call[0] == "import":
            (tmp_path / "f").mkdir()
            (tmp_path / "f" / "0.jpg").write_bytes(jpeg_frame(0, 0).encoded or b"")
            before.add(tmp_path / "f")
        said = galago(*call)
        assert said.exit_code == 3
        assert f"could not write {call[2]}: there is no folder {new.parent} [IO]" in said.stderr
    said = galago("import", tmp_path / "f", tmp_path / "n.avi")
    assert "Hint: call it n.avi.mcap" in said.stderr
    said = galago("import", tmp_path / "f", tmp_path / "n.mcap", "--name", "a b/c")
    assert said.exit_code == 2 and "a b/c" in said.stderr
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("target", "source", "told", "hint"),
    [
        ("n", None, "holds several sources: door, mic", "choose one: --source door"),
        ("n", "dor", "has no source dor; did you mean door?", "--source NAME"),
        ("n.wav", "dor", "has no source dor; did you mean door?", "--source NAME"),
        ("n.wav", "door", "door gives pictures, and a WAV holds sound", "export it to a folder"),
    ],
)
def test_export_says_which_sources_there_are_and_how_to_choose_one(
    target: str, source: str | None, told: str, hint: str, tmp_path: Path
) -> None:
    chosen = ("--source", source) if source else ()
    said = galago("export", night(tmp_path), tmp_path / target, *chosen)
    assert said.exit_code == 2 and told in said.stderr and hint in said.stderr, said.stderr
    assert not (tmp_path / target).exists()


@pytest.mark.parametrize("target", ["n", "n.wav"])
def test_export_of_a_source_that_never_gave_anything_leaves_nothing_empty_behind(
    target: str, tmp_path: Path
) -> None:
    (tmp_path / ".n.part").mkdir()  # somebody's own
    path = write_recording(
        tmp_path / "away.mcap", {"mic": ("microphone", [block(0, []), Gap(0, STEP_NS, "connecting")])}
    )
    said = galago("export", path, tmp_path / target)
    assert said.exit_code == 1 and "holds no sample of mic, so nothing is written" in said.stderr
    assert {one.name for one in tmp_path.iterdir()} == {".n.part", "away.mcap", "away.mcap.sha256"}


def test_a_folder_or_a_pipe_is_no_recording_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for command in ("info", "check"):
        said = galago(command, tmp_path)
        assert said.exit_code == 1 and "is a folder, expected a recording file (.mcap)" in said.stderr
        assert f"galago recording import {tmp_path} NEW.mcap" in said.stderr
        said = galago(command, tmp_path / "pipe")
        assert said.exit_code == 1 and "is no file, expected a recording file (.mcap)" in said.stderr


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, tiny_image_model: bytes) -> Path:
    path = tmp_path_factory.mktemp("cam") / "cam.galago"
    names = ("dark", "mid", "bright")
    labels = [Label(name=name, background=not index, policy=POLICY) for index, name in enumerate(names)]
    return make_bundle(path, tiny_image_model, labels)


def end_ns(record: Record) -> int:
    if isinstance(record, GapRecord):
        return record.to_ns
    return record.ns if isinstance(record, StateRecord) else record.end_ns


def device_recording(
    tmp_path: Path, bundle: Path, *, first: int = 0, before: tuple[Record, ...] = ()
) -> Path:
    """Record what a device saw and decided: with an outage, thresholds of its own, and wall times."""
    items: list[Item] = [Gap(0, 5, "connecting"), Notice("healthy", 0, 5, {"source": {"kind": "camera"}})]
    for index in range(60):
        if index == 40:
            items.append(Gap(5 + 39 * STEP_NS, 5 + 60 * STEP_NS, "disconnect"))
        at_ns = 5 + (index if index < 40 else index + 20) * STEP_NS
        items.append(jpeg_frame(index, at_ns, level=255 if index % 20 > 10 else 0))
    stream = RecordedStream(name="porch", source="door", overrides={"bright": {"on": 0.55}})
    with galago_edge.open_bundle(bundle, unverified=True) as opened:
        loaded = load(opened)
        deciding = DecidingStream("porch", loaded, thresholds={"bright": {"on": 0.55}}, scores=True)
        records = [record for batch in batches(ListSource(items), deciding) for record in batch]
        loaded.close()
    assert sum(isinstance(record, EventRecord) for record in records) >= 3
    records[1:1] = before
    lines = [encode_record(record) for record in stamped(records, 1_700_000_000_000_000_000, True)]
    if first:  # recorded from an event on: neither what was seen before, nor what was said
        items = items[first:]
        from_ns = next(item.captured_ns for item in items if isinstance(item, Frame))
        lines = [line for line in lines if end_ns(decode_record(line)) >= from_ns]
    return write_recording(
        tmp_path / "d.mcap", {"door": ("camera", items)}, about=AboutRecording(streams=(stream,)),
        lines={"porch": lines},
    )  # fmt: skip


def test_a_replay_of_what_a_device_recorded_says_what_the_device_said(tmp_path: Path, bundle: Path) -> None:
    path = device_recording(tmp_path, bundle)
    said = galago("check", path, "--replay", "--bundle", bundle)
    assert said.exit_code == 0, said.stdout
    assert "all equal" in said.stdout and "it is as it was recorded" in said.stdout
    data = json.loads(galago("check", path, "--replay", "--bundle", bundle, "--json").stdout)
    assert data["replay"]["first_difference"] is None
    assert data["replay"]["compared"] > 60 and data["replay"]["not_compared"] == 2  # started, ended


def test_what_a_process_tells_of_the_one_before_it_was_not_recorded_and_is_not_compared(
    tmp_path: Path, bundle: Path
) -> None:
    """A service that was killed while its camera was away: both gaps end before the stream's time begins."""
    away = GapRecord(stream="porch", from_ns=-9 * STEP_NS, to_ns=-4 * STEP_NS, cause="disconnect")
    gone = GapRecord(stream="porch", from_ns=-4 * STEP_NS, to_ns=0, cause="restart")
    path = device_recording(tmp_path, bundle, before=(away, gone))
    said = galago("check", path, "--replay", "--bundle", bundle, "--json")
    data = json.loads(said.stdout)
    assert said.exit_code == 0 and data["replay"]["first_difference"] is None, data["replay"]
    assert data["replay"]["not_compared"] == 4  # started, ended, and these


@pytest.mark.parametrize("first", [10, 25, 47])
def test_of_a_recording_that_began_later_than_the_stream_that_is_compared_which_must_be_equal(
    tmp_path: Path, bundle: Path, first: int
) -> None:
    path = device_recording(tmp_path, bundle, first=first)
    said = galago("check", path, "--replay", "--bundle", bundle, "--json")
    data = json.loads(said.stdout)
    assert said.exit_code == 0 and data["replay"]["first_difference"] is None, data["replay"]
    assert data["replay"]["compared"] > 5 and data["replay"]["not_compared"] > 2


def test_the_first_difference_is_named_with_both_records(
    tmp_path: Path, bundle: Path, tiny_image_model: bytes
) -> None:
    path = device_recording(tmp_path, bundle)
    policy = LabelPolicy(on=0.99, off=0.4, smoothing_windows=3, min_count=2, refractory_ms=500)
    labels = [
        Label(name=name, background=name == "dark", policy=policy) for name in ("dark", "mid", "bright")
    ]
    other = make_bundle(tmp_path / "other.galago", tiny_image_model, labels)
    said = galago("check", path, "--replay", "--bundle", other)
    assert said.exit_code == 1 and "DIFFERENT from record" in said.stdout
    data = json.loads(galago("check", path, "--replay", "--bundle", other, "--json").stdout)
    first = data["replay"]["first_difference"]
    assert not data["ok"] and first["device"] != first["replay"] and first["device"].startswith("{")


def test_what_cannot_be_compared_is_refused_in_one_line(tmp_path: Path, bundle: Path) -> None:
    path = night(tmp_path)
    said = galago("check", path, "--replay", "--bundle", bundle)
    assert said.exit_code == 1 and "no device decided" in said.stderr
    assert galago("check", path, "--replay").exit_code == 2
    assert galago("check", path, "--bundle", bundle).exit_code == 2
    device = device_recording(tmp_path, bundle)
    said = galago("check", device, "--replay", "--bundle", bundle, "--stream", "barn")
    assert said.exit_code == 2 and "porch" in said.stderr


def test_a_part_is_recovered_under_its_own_name_and_sound_is_beside_its_pictures_everywhere(
    tmp_path: Path,
) -> None:
    video = make_video(tmp_path / "v.mkv", "-f", "lavfi", "-i", "sine=440:d=4", "-c:v", "mjpeg", "-t", "4")
    assert galago("import", video, tmp_path / "v.mcap").exit_code == 0
    whole = (tmp_path / "v.mcap").read_bytes()
    (tmp_path / "w.mcap.part").write_bytes(whole[: len(whole) * 3 // 4])
    said = galago("recover", tmp_path / "w.mcap.part", tmp_path / "w.mcap")
    assert said.exit_code == 1 and (tmp_path / "w.mcap.part").exists(), said.stderr
    data = json.loads(galago("check", tmp_path / "w.mcap", "--json").stdout)
    assert data["ok"] and set(data["sources"]) == {"cam", "mic"}
    ends = [source["to_ns"] for source in data["sources"].values()]
    assert abs(ends[0] - ends[1]) <= 2 * STEP_NS
