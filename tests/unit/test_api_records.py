"""``galago_edge.replay`` and ``galago_edge.read_records``: records as the commands write them, and back.

The modules galago_edge.api.replayed_recording and galago_edge.api.record_reader.
"""

from __future__ import annotations

import gc
import io
import json
import os
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner

import galago_edge
from galago_edge import (
    Bundle,
    CallerError,
    CutRecordWarning,
    InputError,
    LinkError,
    Reason,
    Record,
    Replay,
    StateRecord,
    encode_record,
    read_records,
    replay,
)
from galago_edge.commands.cli import main
from test_kit import make_bundle, wav_bytes

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def microphone(tmp_path_factory: pytest.TempPathFactory, tiny_audio_model: bytes) -> Bundle:
    path = tmp_path_factory.mktemp("mic") / "mic.galago"
    make_bundle(path, tiny_audio_model, ["quiet", "low", "high"], modality="microphone")
    return galago_edge.open_bundle(path, unverified=True)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "night.wav"
    path.write_bytes(wav_bytes(tone(3), RATE_HZ))
    return path


@pytest.fixture
def log(recording: Path, microphone: Bundle, tmp_path: Path) -> Path:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"".join(map(encode_record, replay(recording, microphone))))
    return path


def tone(seconds: float) -> npt.NDArray[np.int16]:
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return np.rint(12_000 * np.sin(2 * np.pi * 300 * time_s) * (time_s >= 1)).astype(np.int16)


def encoded(records: list[Record]) -> bytes:
    return b"".join(map(encode_record, records))


@pytest.mark.parametrize("scores", [False, True])
def test_a_replay_gives_the_bytes_of_the_command(scores: bool, recording: Path, microphone: Bundle) -> None:
    options = ["--scores"] if scores else []
    command = ["replay", str(recording), "--bundle", str(microphone.path), *options, "--stream", "hall"]
    result = CliRunner().invoke(main, command)
    found = replay(recording, microphone, name="hall", scores=scores, block_samples=777)
    assert encoded(list(found)) == result.stdout_bytes
    assert found.windows > 50
    assert (found.events, found.gaps) == (sum(b'"event"' in line for line in result.stdout_bytes.split()), 0)


def test_a_replay_tells_scores_only_when_asked(recording: Path, microphone: Bundle) -> None:
    for found in (replay(recording, microphone), Replay(recording, microphone)):
        assert {record.kind for record in found} == {"state", "event"}
    assert "scores" in {record.kind for record in replay(recording, microphone, scores=True)}


def test_a_damaged_recording_is_decided_first_and_told_then(recording: Path, microphone: Bundle) -> None:
    recording.write_bytes(recording.read_bytes()[:-20_000])
    records: list[Record] = []
    with pytest.raises(InputError) as caught:
        for record in replay(str(recording), microphone):
            records.append(record)
    assert caught.value.reason is Reason.AUDIO_TRUNCATED
    assert json.loads(encode_record(records[-1]))["state"] == "failed"
    again: list[Record] = []
    failure = replay(recording, microphone).write(again.extend)
    assert failure is not None and failure.reason is Reason.AUDIO_TRUNCATED
    assert again == records


def test_a_replay_is_walked_through_once(recording: Path, microphone: Bundle) -> None:
    found = replay(recording, microphone)
    first = next(iter(found))
    assert first.kind == "state"
    with pytest.raises(ValueError, match="walked through already"):
        list(found)
    with pytest.raises(ValueError, match="walked through already"):
        found.write(lambda _: None)


def test_a_closed_replay_says_so_and_lets_go(recording: Path, microphone: Bundle) -> None:
    gc.collect()  # what earlier tests left
    before = os.listdir("/proc/self/fd")  # noqa: PTH208
    with replay(recording, microphone) as found:
        records = iter(found)
        next(records)
        next(records)
        assert os.listdir("/proc/self/fd") != before  # noqa: PTH208
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208
    with pytest.raises(ValueError, match="is closed"):
        next(iter(found))
    found.close()


def test_what_cannot_be_replayed_is_said_at_once(recording: Path, microphone: Bundle, tmp_path: Path) -> None:
    with pytest.raises(LinkError) as missing:
        replay(tmp_path / "none.wav", microphone)
    assert missing.value.reason is Reason.SOURCE_MISSING
    with pytest.raises(CallerError) as live:
        replay("camera:0", microphone)
    assert live.value.reason is Reason.CONFIG_BAD
    with pytest.raises(InputError) as mismatch:
        replay(tmp_path, microphone)
    assert mismatch.value.reason is Reason.SOURCE_MISMATCH
    with pytest.raises(ValueError, match="block_samples is 0, expected at least 1"):
        replay(recording, microphone, block_samples=0)


def test_records_are_read_from_a_path_a_file_and_lines(log: Path) -> None:
    records = list(read_records(log))
    assert encoded(records) == log.read_bytes()
    assert list(read_records(str(log))) == records
    assert list(read_records(io.BytesIO(log.read_bytes()))) == records
    assert list(read_records(log.read_text().splitlines())) == records
    assert list(read_records([])) == []


@pytest.mark.parametrize("kept", [1, 9, 14, 15, 40, -2])
def test_a_last_line_that_is_cut_off_is_left_out_with_a_warning(kept: int, log: Path) -> None:
    records = list(read_records(log))
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-1]) + lines[-1][:kept])
    with pytest.warns(CutRecordWarning, match=rf"log\.jsonl, line {len(lines)} is cut off after \d+ bytes"):
        assert list(read_records(log)) == records[:-1]
    with warnings.catch_warnings():
        warnings.simplefilter("error", CutRecordWarning)
        reading = read_records(log)
        with pytest.raises(CutRecordWarning):
            list(reading)


def test_wherever_a_record_is_cut_it_is_cut_off_and_no_other_mistake() -> None:
    record = StateRecord(
        stream="hällo",
        subject="source",
        state="x",
        index=-1,
        ns=2,
        detail={"a": 1.5e-07, "b": None, "c": True},
    )
    whole = encode_record(record).rstrip()
    assert list(read_records([whole])) == [record]
    for kept in range(1, len(whole)):
        with pytest.warns(CutRecordWarning, match=f"line 1 is cut off after {kept} bytes"):
            assert list(read_records([whole[:kept]])) == []


@pytest.mark.parametrize("filled", [b"", b"\0" * 300])
def test_a_line_in_the_middle_that_a_power_cut_left_is_left_out_with_a_warning(
    filled: bytes, log: Path
) -> None:
    records = list(read_records(log))
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(lines[0][:50] + filled + b"\n" + b"".join(lines))
    with pytest.warns(CutRecordWarning, match="line 1 is cut off after 50 bytes and left out") as told:
        assert list(read_records(log)) == records
    assert [warning.filename for warning in told] == [__file__]  # where the program asked for records


def test_a_last_line_without_its_end_that_is_whole_counts(log: Path) -> None:
    records = list(read_records(log))
    log.write_bytes(log.read_bytes().rstrip(b"\n"))
    assert list(read_records(log)) == records


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"hello", "line 2 is no record of version 1: JSON is malformed"),
        (b"\xff\xfe{}", "line 2 is no record of version 1"),
        (b"[1]", "line 2 is no record of version 1: Expected `object`"),
        (b'{"v":1,"kind":"event",GARBAGE "seq":1}', "line 2 is no record of version 1: JSON is malformed"),
        (b'{"v":1,"kind":"gap","stream":"a"}}', "line 2 is no record of version 1: JSON is malformed"),
        (b'{"v":1}', "line 2 is no record of version 1: Object missing required field `kind`"),
        (b'{"v":1,"kind":"dream"}', "unknown record kind 'dream'"),
        (b'{"v":2,"kind":"gap","stream":"a","from_ns":1,"to_ns":2,"cause":"x"}', "Invalid enum value 2"),
        (b'{"v":1,"kind":"' + b"x" * (1 << 20), "it has more than 1048576 bytes"),
    ],
)
def test_a_whole_line_that_is_no_record_is_an_error(line: bytes, why: str, log: Path) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(lines[0] + line + b"\n" + b"".join(lines[1:]))
    reading = read_records(log)
    assert encode_record(next(reading)) == lines[0]
    with pytest.raises(InputError, match=why) as caught:
        next(reading)
    assert caught.value.reason is Reason.DATA_BAD


def test_a_log_that_is_not_there_is_a_missing_source(tmp_path: Path) -> None:
    with pytest.raises(LinkError) as caught:
        list(read_records(tmp_path / "none.jsonl"))
    assert caught.value.reason is Reason.SOURCE_MISSING
    with pytest.raises(LinkError) as caught:
        list(read_records(tmp_path))
    assert caught.value.reason is Reason.IO
