"""The file of a golden: stable, reviewable, whole or refused in one line; its history is only added to."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.bundle import open_bundle
from galago_edge.contract.errors import CallerError, GalagoError, InputError, LinkError, Reason
from galago_workstation.qa.golden_file import (
    GoldenFile,
    check_new,
    encode_golden,
    read_golden,
    rows_of,
    write_golden,
)
from galago_workstation.qa.golden_record import is_same, make_golden
from galago_workstation.qa.replay_environment import environment_here
from test_kit.corpora import microphone_bundle
from test_kit.goldens import fresh_replay, golden_of
from test_kit.replays import decided, plain_label

LABELS = (plain_label("quiet", background=True), plain_label("horn"))
FRESH = fresh_replay(decided([[65_536, 0]] * 3 + [[0, 65_536]] * 2, LABELS), np.full((5, 2), 7, np.int8))
GOLDEN = golden_of([FRESH.said])
AT = datetime.datetime(2026, 5, 2, 8, 30, tzinfo=datetime.UTC)


def written(folder: Path, golden: GoldenFile = GOLDEN) -> Path:
    path = folder / "a.golden.json"
    write_golden(path, golden)
    return path


def test_what_is_written_is_read_again_and_writes_the_same_bytes(tmp_path: Path) -> None:
    path = written(tmp_path)
    again = read_golden(path)
    assert again == GOLDEN
    assert encode_golden(again) == path.read_bytes()


def test_each_stage_event_and_entry_of_the_history_has_lines_of_its_own(tmp_path: Path) -> None:
    lines = [line.strip().rstrip(",") for line in written(tmp_path).read_text().splitlines()]
    assert f'"decoded": "{FRESH.said.stages["decoded"]}"' in lines
    assert '["horn",1.0,300000000,400000000,300000000,400000000]' in lines
    assert '"why": "first recorded"' in lines
    assert max(map(len, lines)) < 200


@given(runs=st.integers(0, 300), labels=st.integers(1, 150))
def test_rows_of_outputs_are_the_outputs(runs: int, labels: int) -> None:
    outputs = np.arange(runs * labels, dtype=np.int64).astype(np.int8).reshape(runs, labels)
    rows = rows_of(outputs)
    assert b"".join(rows) == outputs.tobytes()
    assert all(row and len(row) % labels == 0 for row in rows)


def changed(**changes: Any) -> GoldenFile:
    """The golden with something else in its recording."""
    return msgspec.structs.replace(GOLDEN, recordings=(msgspec.structs.replace(FRESH.said, **changes),))


DAMAGED = {
    "outputs": (changed(logits=(bytes(10),)), "its outputs are not those of their hash"),
    "events": (changed(events=()), "its events are not those of their hash"),
    "windows": (changed(windows=4), "10 outputs, expected 4 runs of 2"),
    "skipped": (changed(skipped=((4, 9),)), "skipped windows that are none"),
    "marks": (changed(marks=FRESH.said.marks | {"items": "1 7"}), "expected marks as EVERY"),
    "a stage": (changed(stages={"items": "0" * 64}), "expected hashes and marks of the stages items, "),
    "a recording": (golden_of([FRESH.said, FRESH.said]), "is in it twice"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_golden_that_contradicts_itself_is_refused(what: str, tmp_path: Path) -> None:
    golden, told = DAMAGED[what]
    with pytest.raises(InputError) as caught:
        read_golden(written(tmp_path, golden))
    assert caught.value.reason is Reason.DATA_BAD and told in str(caught.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is no golden, or damaged"),
        (b"\xff\xfe{}", "is no golden, or damaged"),
        (b"[" * 5_000, "is no golden, or damaged"),
        (b'{"schema": "galago.baseline/1"}', "is no golden, or damaged"),
        (b'{"schema": "galago.golden/2", "tensors": []}', "is a golden of version 2, this Galago reads 1"),
        (encode_golden(GOLDEN)[:-200], "is no golden, or damaged"),
        (encode_golden(GOLDEN).replace(b'"by"', b'"BY"'), "is no golden, or damaged"),
    ],
)
def test_what_is_no_golden_is_refused_in_one_line(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "a.golden.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_golden(path)
    assert told in str(caught.value) and "\n" not in str(caught.value)


@given(at=st.integers(0, len(encode_golden(GOLDEN)) - 1), flip=st.integers(1, 255))
def test_a_byte_that_was_changed_anywhere_gives_a_golden_or_a_refusal(
    at: int, flip: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(encode_golden(GOLDEN))
    content[at] ^= flip
    path = tmp_path_factory.mktemp("flipped") / "a.golden.json"
    path.write_bytes(content)
    try:
        found = read_golden(path)
    except GalagoError:
        return
    assert found.recordings[0].logits == FRESH.said.logits and found.recordings[0].events == FRESH.said.events


def test_nothing_is_recorded_over_a_file_that_is_there_nor_where_no_folder_is(tmp_path: Path) -> None:
    check_new(tmp_path / "new.json")
    with pytest.raises(CallerError, match="not written over"):
        check_new(written(tmp_path))
    (tmp_path / "link.json").symlink_to(tmp_path / "gone")
    with pytest.raises(CallerError):
        check_new(tmp_path / "link.json")
    with pytest.raises(LinkError, match="is no folder"):
        check_new(tmp_path / "gone" / "new.json")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, tiny_audio_model: bytes) -> Path:
    return microphone_bundle(tmp_path_factory.mktemp("mic") / "mic.galago", tiny_audio_model)


def test_a_golden_of_nothing_is_refused(bundle: Path) -> None:
    empty = dataclasses.replace(FRESH, said=msgspec.structs.replace(FRESH.said, windows=0))
    with pytest.raises(InputError, match="none of 1 recording is as long as one window") as caught:
        make_golden(open_bundle(bundle), [empty], environment_here(), at=AT, by="ann", why="x")
    assert caught.value.reason is Reason.SOURCE_TOO_SHORT


def test_recording_again_keeps_the_history_and_says_what_is_different(bundle: Path) -> None:
    opened = open_bundle(bundle)
    here = environment_here()
    first = make_golden(opened, [FRESH], here, at=AT, by="ann", why="first recorded")
    assert [entry.what for entry in first.history] == ["recorded: 1 recording"]
    louder = fresh_replay(FRESH.replayed, np.full((5, 2), 8, np.int8))
    new = fresh_replay(FRESH.replayed, recording="new.wav", sha256="f" * 64)
    later = AT + datetime.timedelta(days=1)
    second = make_golden(opened, [louder, new], here, at=later, by="bob\n", why="new kernel", before=first)
    assert second.history[0] == first.history[0]
    told = second.history[1]
    assert (told.at, told.by, told.why) == ("2026-05-03T08:30:00Z", "bob\\n", "new kernel")
    assert told.what == "0 of 1 recording equal to the byte, 1 first in logits, new: new.wav"
    third = make_golden(
        opened,
        [new],
        msgspec.structs.replace(here, cpu="another"),
        at=later,
        by="bob",
        why="new host",
        before=second,
    )
    name = FRESH.replayed.recording
    assert third.history[2].what == f"1 of 2 recordings equal to the byte, gone: {name}, another environment"
    changed = fresh_replay(FRESH.replayed, recording="new.wav", sha256="e" * 64)
    fourth = make_golden(opened, [changed], here, at=later, by="bob", why="mended", before=third)
    assert fourth.history[3].what.startswith("0 of 1 recording equal to the byte, changed: new.wav")
    assert third.history[2].environment != third.history[1].environment


def test_a_golden_that_asks_for_the_same_is_the_same_whatever_its_history(bundle: Path) -> None:
    opened, here = open_bundle(bundle), environment_here()
    first = make_golden(opened, [FRESH], here, at=AT, by="ann", why="first recorded")
    again = make_golden(opened, [FRESH], here, at=AT, by="bob", why="to be sure", before=first)
    assert again != first and is_same(again, first)
