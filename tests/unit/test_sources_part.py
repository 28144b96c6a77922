"""A part of a recording keeps the recording's own times and indexes."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.streams import AudioBlock, Frame, Gap, Item, Notice, samples_to_ns
from galago_edge.sources.audio_file import AudioFile
from galago_edge.sources.image_folder import ImageFolder
from galago_edge.sources.recording_damage import DamagedError
from galago_edge.sources.recording_digest import recording_sha256
from galago_edge.sources.recording_part import RecordingPart
from galago_edge.sources.stream_position import read_position
from test_kit import wav_bytes
from test_kit.listed import ListSource

PIXELS = np.zeros((2, 2, 3), np.uint8)
RATE_HZ = 16_000


def frames(*times: int) -> list[Item]:
    return [Frame(PIXELS, index, at_ns) for index, at_ns in enumerate(times)]


def blocks(*lengths: int, first: int = 0) -> list[Item]:
    items: list[Item] = []
    for length in lengths:
        samples = np.arange(first, first + length).astype(np.int16)
        items.append(AudioBlock(samples, first, samples_to_ns(first, RATE_HZ), RATE_HZ))
        first += length
    return items


def part(items: list[Item], **options: Any) -> list[Item]:
    return list(RecordingPart(ListSource(items), **options))


def test_frames_from_the_beginning_to_before_the_end_keep_index_and_time() -> None:
    found = part(frames(0, 10, 20, 30), from_ns=10, to_ns=30)
    assert [(item.index, item.captured_ns) for item in found if isinstance(item, Frame)] == [(1, 10), (2, 20)]


def test_the_whole_is_handed_on_as_it_is() -> None:
    items = [Notice("offset", 0, 0, {}), *frames(0, 10), Gap(10, 20, "missing"), Gap(20, 20, "drop")]
    assert part(items) == items


def test_what_lies_behind_the_end_is_not_read() -> None:
    error = InputError(Reason.AUDIO_TRUNCATED, "cut off")
    source = ListSource(frames(0, 10, 20), error)
    assert len(list(RecordingPart(source, to_ns=15))) == 2
    assert source.closed
    with pytest.raises(InputError):
        list(RecordingPart(ListSource(frames(0, 10, 20), error), from_ns=15))


def test_gaps_are_cut_and_notices_of_the_whole_come_first() -> None:
    items: list[Item] = [
        Notice("rate", 0, 0, {"about": "the whole"}),
        *frames(0),
        Notice("unreadable", 1, 10, {"about": "a part"}),
        Gap(10, 40, "unreadable"),
        Frame(PIXELS, 4, 40),
        Gap(50, 90, "missing"),
        Frame(PIXELS, 9, 90),
    ]
    found: list[Item] = []
    with pytest.raises(InputError, match="1 place of the part"):
        found.extend(RecordingPart(ListSource(items), from_ns=30, to_ns=60))
    assert found == [
        items[0],
        items[2],
        Gap(30, 40, "unreadable"),
        items[4],
        Gap(50, 60, "missing"),
    ]


@pytest.mark.parametrize(
    ("from_ns", "to_ns", "said", "hint"),
    [
        (
            30,
            60,
            "is damaged in 1 place of the part that was asked for, the first at 0.000 s",
            "record or copy it again; what is whole is taken",
        ),
        (55, None, "ends early, at 0.000 s", "record or copy it again; what is whole is taken"),
        (80, None, "ends early, at 0.000 s before the part that was asked for", "record or copy it again"),
    ],
)
def test_damage_of_a_part_is_said_of_the_path_and_nothing_is_said_to_be_decided_that_was_not(
    from_ns: int, to_ns: int | None, said: str, hint: str
) -> None:
    source = RecordingPart(
        ListSource(DAMAGED, AT_THE_END), from_ns=from_ns, to_ns=to_ns, shown="clips/yard.mp4"
    )
    with pytest.raises(InputError) as caught:
        list(source)
    assert (str(caught.value), caught.value.hint) == (f"clips/yard.mp4 {said}", hint)


DAMAGED: list[Item] = [
    *frames(0, 10),
    Notice("unreadable", 2, 20, {"frames": 3}),
    Gap(20, 50, "unreadable"),
    Frame(PIXELS, 5, 50),
    Frame(PIXELS, 6, 60),
    Notice("truncated", 7, 70, {"frames": 4}),
    Gap(70, 90, "truncated"),
]
AT_THE_END = DamagedError(Reason.VIDEO_TRUNCATED, "it ends early")


class CountedSource(ListSource):
    def summary(self) -> dict[str, Any]:
        return {"decoded_frames": 4, "damaged_frames": 3}


@pytest.mark.parametrize(
    ("from_ns", "to_ns", "reason", "states", "damaged"),
    [
        (0, 20, None, [], 0),
        (0, 60, "VIDEO_UNREADABLE", ["unreadable"], 3),  # the end was not read
        (0, 41, "VIDEO_UNREADABLE", ["unreadable"], 3),
        (40, 55, "VIDEO_UNREADABLE", ["unreadable"], 1),  # begins inside
        (40, None, "VIDEO_TRUNCATED", ["unreadable", "truncated"], 1),
        (50, 70, None, [], 0),  # damage before it is another part's
        (50, None, "VIDEO_TRUNCATED", ["truncated"], 0),
        (80, 85, "VIDEO_TRUNCATED", ["truncated"], 0),  # behind the cut
        (200, None, "VIDEO_TRUNCATED", ["truncated"], 0),
        (0, None, "VIDEO_TRUNCATED", ["unreadable", "truncated"], 3),
    ],
)
def test_a_part_fails_by_the_damage_that_is_in_it_and_counts_no_other(
    from_ns: int, to_ns: int | None, reason: str | None, states: list[str], damaged: int
) -> None:
    wanted = RecordingPart(CountedSource(DAMAGED, AT_THE_END), from_ns=from_ns, to_ns=to_ns)
    found: list[Item] = []
    failure: InputError | None = None
    try:
        found.extend(wanted)
    except InputError as error:
        failure = error
    assert (None if failure is None else str(failure.reason)) == reason
    assert [item.state for item in found if isinstance(item, Notice)] == states
    assert wanted.summary().get("damaged_frames", 0) == damaged
    for item in found:
        if isinstance(item, Gap):
            assert from_ns <= item.from_ns and item.to_ns <= (to_ns or 90)


def test_what_is_wrong_without_a_place_fails_a_part_behind_other_damage() -> None:
    too_large = InputError(Reason.VIDEO_UNREADABLE, "a picture is too large")
    with pytest.raises(InputError, match="too large"):
        list(RecordingPart(ListSource(DAMAGED[:5], too_large), from_ns=50))


def test_a_damaged_picture_of_a_folder_fails_the_part_that_it_is_in(tmp_path: Path) -> None:
    for number in range(6):
        cv2.imwrite(str(tmp_path / f"{number}.png"), PIXELS)
    (tmp_path / "2.png").write_bytes(b"no picture")
    outcomes: list[tuple[str | None, int]] = []
    for from_s, to_s in ((0, 2), (0, 4), (3, 6), (2, 6)):
        wanted = RecordingPart(ImageFolder(tmp_path, Fraction(1)), from_ns=from_s * 10**9, to_ns=to_s * 10**9)
        reason = None
        try:
            list(wanted)
        except InputError as error:
            reason = str(error.reason)
        outcomes.append((reason, wanted.summary()["unreadable"]))
    assert outcomes == [(None, 0), ("IMAGE_UNREADABLE", 1), (None, 0), ("IMAGE_UNREADABLE", 1)]


@given(
    lengths=st.lists(st.integers(1, 40), max_size=12),
    first=st.integers(0, 10**9),
    cuts=st.lists(st.integers(0, 40 * 12 * 10**9 // RATE_HZ), min_size=1, max_size=6),
)
def test_parts_that_meet_give_every_sample_once_at_its_own_time(
    lengths: list[int], first: int, cuts: list[int]
) -> None:
    items = blocks(*lengths, first=first)
    begin_ns = samples_to_ns(first, RATE_HZ)
    places = [0, *sorted(begin_ns + cut for cut in cuts)]
    found: list[Item] = []
    for from_ns, to_ns in zip(places, [*places[1:], None], strict=True):
        found += part(items, from_ns=from_ns, to_ns=to_ns) if from_ns != to_ns else []
    got: list[int] = []
    for item in found:
        assert isinstance(item, AudioBlock) and len(item.samples)
        assert item.captured_ns == samples_to_ns(item.first_sample, RATE_HZ)
        numbers = range(item.first_sample, item.first_sample + len(item.samples))
        np.testing.assert_array_equal(item.samples, np.array(numbers).astype(np.int16))
        got += numbers
    assert got == list(range(first, first + sum(lengths)))


def test_sound_begins_with_the_first_sample_that_is_not_before() -> None:
    (block,) = part(blocks(RATE_HZ), from_ns=62_501)  # one sample is 62,500 ns
    assert isinstance(block, AudioBlock) and block.first_sample == 2
    (block,) = part(blocks(RATE_HZ), from_ns=62_500, to_ns=125_001)
    assert isinstance(block, AudioBlock) and (block.first_sample, len(block.samples)) == (1, 2)


def test_a_device_with_a_lower_rate_leaves_frames_out() -> None:
    found = part(frames(*range(0, 10**9, 40_000_000)), fps=5)
    assert [item.index for item in found if isinstance(item, Frame)] == [0, 5, 10, 15, 20]


def test_the_description_says_which_part_of_what() -> None:
    whole = RecordingPart(ListSource([]), sha256="ab")
    assert whole.description() == {"kind": "list", "sha256": "ab"}
    some = RecordingPart(ListSource([]), from_ns=1, to_ns=2, fps=5.0)
    assert some.description() == {"kind": "list", "from_ns": 1, "to_ns": 2, "fps_limit": 5.0}


@pytest.mark.parametrize(
    ("text", "at_ns"),
    [
        *(("0", 0), ("90", 90 * 10**9), ("0.000000001", 1), ("1.0000000019", 1_000_000_001)),
        *(("1:30", 90 * 10**9), ("01:02:03.5", 3_723_500_000_000), ("100:00:00", 360_000 * 10**9)),
        ("90:00", 5_400 * 10**9),
    ],
)
def test_positions(text: str, at_ns: int) -> None:
    assert read_position(text) == at_ns


@pytest.mark.parametrize(
    "text",
    ["", "-1", "1:75", "1:60", "1:60:00", "1:2:3:4", "1e3", "nan", " 1", "1.", "½", "1:", "９", "9" * 12],
)
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"no time in a recording|(75|60) \w+, expected less than 60|later than any"
    ):
        read_position(text)


# the hash


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"sound")
    assert recording_sha256(tmp_path / "a.wav") == hashlib.sha256(b"sound").hexdigest()
    os.mkfifo(tmp_path / "pipe")
    assert recording_sha256(tmp_path / "pipe") is None
    assert recording_sha256(tmp_path / "none") is None


def test_the_hash_of_a_folder_is_of_names_and_contents_and_nothing_else(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder, names in ((one, ("b.png", "a.png")), (other, ("a.png", "b.png"))):
        folder.mkdir()
        for name in names:
            (folder / name).write_bytes(name.encode())
    (other / "notes.txt").write_text("nobody reads this")
    before = recording_sha256(one)
    assert before == recording_sha256(other)
    (one / "times.csv").write_text("file,time_s\n")
    timed = recording_sha256(one)
    assert timed != before
    (one / "b.png").rename(one / "c.png")
    assert recording_sha256(one) != timed


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="coreutils are not installed")
def test_the_shell_gives_the_same_hash_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.png", "a 1.JPG", "times.csv"):
        (tmp_path / name).write_bytes(name.encode())
    shell = subprocess.check_output(
        ["sh", "-c", "sha256sum * | LC_ALL=C sort -k 2 | sha256sum"], cwd=tmp_path, text=True
    )
    assert recording_sha256(tmp_path) == shell.split()[0]


def test_a_part_behind_the_end_of_a_sound_that_is_cut_off_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(np.ones(2 * RATE_HZ, np.int16), RATE_HZ)[: 44 + 2 * RATE_HZ])  # 1 s of 2
    before = RecordingPart(AudioFile(path, RATE_HZ), to_ns=10**9)
    assert sum(len(item.samples) for item in before if isinstance(item, AudioBlock)) == RATE_HZ
    found: list[Item] = []
    with pytest.raises(InputError) as caught:
        found.extend(RecordingPart(AudioFile(path, RATE_HZ), from_ns=1_500_000_000, to_ns=3 * 10**9))
    assert caught.value.reason == Reason.AUDIO_TRUNCATED
    assert [item.state for item in found if isinstance(item, Notice)] == ["truncated"]
    assert found[1:] == [Gap(1_500_000_000, 2 * 10**9, "truncated")]
