"""``galago replay --drops``: every recorded frame, or those that the device decided on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import galago_edge
from galago_edge.commands.cli import main
from galago_edge.contract.records import (
    Record,
    ScoresRecord,
    StateRecord,
    decode_record,
    encode_record,
)
from galago_edge.contract.streams import NS_PER_S, Frame, Gap, Item
from galago_edge.pipeline import DecidingStream, drive, load
from galago_edge.recorded.about import AboutRecording, RecordedStream, SourceMark
from galago_edge.recorded.stored_items import DropMessage
from galago_edge.recording.recording_writer import RecordingWriter
from test_kit.corpora import camera_bundle
from test_kit.listed import ListSource
from test_kit.recorded import jpeg_frame, put, write_recording

STEP_NS = NS_PER_S // 10


def galago(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture
def bundle(tmp_path: Path, tiny_image_model: bytes) -> Path:
    return camera_bundle(tmp_path / "cam.galago", tiny_image_model)


def frames() -> list[Frame]:
    """Dark, but for a light that is on for ten frames."""
    return [jpeg_frame(one, one * STEP_NS, 250 if 20 <= one < 30 else 10, 32) for one in range(60)]


def taken(items: Iterable[Frame]) -> Iterator[Item]:
    """What a stream that was busy took: of the light one frame, and a gap."""
    for item in items:
        if item.index == 29:
            yield Gap(19 * STEP_NS, 29 * STEP_NS, "drop")
        if not 20 <= item.index < 29 and item.index != 40:
            yield item


def device_recording(folder: Path, bundle: Path, *streams: str) -> Path:
    """A recording with everything that the camera sent, and what the device's streams took and said of it."""
    told: list[Record] = []
    with galago_edge.open_bundle(bundle, unverified=True) as opened:
        loaded = load(opened)
        stream = DecidingStream(streams[0], loaded, scores=True)
        drive(ListSource(taken(frames())), stream, told.extend)
        loaded.close()
        about = AboutRecording(
            streams=tuple(RecordedStream(name=one, source="door", bundle=opened.id) for one in streams)
        )
    writer = RecordingWriter(folder, "night", about, single=True)
    writer.source(SourceMark(name="door", modality="camera"))
    for item in frames():
        put(writer, "door", item)
    for record in told:
        writer.out(streams[0], encode_record(record).rstrip(b"\n"), 0)
    drops = ((20, 29, 19 * STEP_NS, 29 * STEP_NS, "drop"), (40, 41, 39 * STEP_NS, 41 * STEP_NS, ""))
    for first, end, from_ns, to_ns, cause in drops:
        drop = DropMessage(stream=streams[0], first=first, end=end, from_ns=from_ns, to_ns=to_ns, cause=cause)
        writer.drop("door", drop)
    (path,) = writer.close()
    return path


def answers(lines: bytes) -> list[Record]:
    """Events, scores, gaps and states, without the first and last record, which describe the source."""
    found = [decode_record(line) for line in lines.splitlines()]
    return [one for one in found if not (isinstance(one, StateRecord) and one.subject == "stream")]


def test_drops_as_recorded_give_what_the_device_said_and_no_drops_every_frame(
    bundle: Path, tmp_path: Path
) -> None:
    path = device_recording(tmp_path, bundle, "porch")
    checked = galago("recording", "check", path, "--replay", "--bundle", bundle)
    assert checked.exit_code == 0, checked.output
    call = ("replay", path, "--bundle", bundle, "--scores", "--stream", "porch")
    every = answers(galago(*call).stdout_bytes)
    assert every == answers(galago(*call, "--drops", "none").stdout_bytes)
    assert sum(isinstance(one, ScoresRecord) for one in every) == 60
    recorded = answers(galago(*call, "--drops", "recorded").stdout_bytes)
    loaded: list[Record] = []
    with galago_edge.open_bundle(bundle, unverified=True) as opened:
        engine = load(opened)
        drive(ListSource(taken(frames())), DecidingStream("porch", engine, scores=True), loaded.extend)
        engine.close()
    assert recorded == answers(b"".join(map(encode_record, loaded)))
    assert sum(isinstance(one, ScoresRecord) for one in recorded) == 50


def test_a_corpus_with_drops_as_recorded_is_another_run_and_leaves_what_no_device_decided_as_it_is(
    bundle: Path, tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    device_recording(corpus, bundle, "porch")
    write_recording(corpus / "plain.mcap", {"cam": ("camera", frames())}, origin="import")
    call = ("replay", corpus, "--bundle", bundle, "--results", tmp_path / "results", "--jobs", "1", "--json")
    every = json.loads(galago(*call, "--out", tmp_path / "every").stdout)
    result = galago(*call, "--out", tmp_path / "taken", "--drops", "recorded")
    assert result.exit_code == 0, result.output
    took = json.loads(result.stdout)
    assert (every["drops"], took["drops"]) == ("none", "recorded")
    assert [row["windows"] for row in every["recordings"]] == [60, 60]
    assert [row["windows"] for row in took["recordings"]] == [50, 60]
    assert took["recordings"][0]["result"] != every["recordings"][0]["result"]
    refused = galago(*call, "--out", tmp_path / "every", "--drops", "recorded")
    assert "holds a run of other settings" in refused.stderr


def test_it_must_be_said_whose_drops_where_several_streams_decided(bundle: Path, tmp_path: Path) -> None:
    path = device_recording(tmp_path, bundle, "porch", "shadow")
    call = ("replay", path, "--bundle", bundle, "--drops", "recorded")
    result = galago(*call)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "it is not said whose drops are meant" in result.stderr
    assert "--stream: one of porch, shadow" in result.stderr
    assert len([*answers(galago(*call, "--stream", "porch", "--scores").stdout_bytes)]) < 60


def test_a_stream_whose_name_is_mistyped_is_refused_and_never_taken_for_no_drops(
    bundle: Path, tmp_path: Path
) -> None:
    path = device_recording(tmp_path, bundle, "porch")
    result = galago("replay", f"{path}?drops=prch", "--bundle", bundle)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no stream 'prch' decided on 'door'; did you mean porch?" in result.stderr
