"""Ogg: whole files to the last sample, and pages that are damaged or missing at their own place."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from galago_edge.contract.errors import GalagoError, Reason
from galago_edge.contract.streams import AudioBlock, Gap, Item, Notice
from galago_edge.sources import AudioFile
from galago_edge.sources.audio_file import open_sound
from galago_edge.sources.media.ogg_pages import page_checksum
from galago_edge.sources.sample_conversion import to_int16
from galago_edge.sources.sound_reader import Hole
from real_parts.media import ffmpeg, ffmpeg_output

RATE_HZ = 48_000
SWEEP = "aevalsrc='0.3*sin(2*PI*t*(300+100*t))+0.05*random(0)':sample_rate={rate}:duration=5.3"
CONTENTS = {
    "notes": "0.25*sin(2*PI*t*220*pow(2\\,floor(mod(t*4\\,12))/12))*exp(-4*mod(t\\,0.25))",
    "silence": "0",
    "clicks": "0.9*lt(mod(t\\,0.37)\\,0.0006)+0.001*random(0)",
}
"""Vorbis changes the length of its blocks at clicks and at the beginnings of notes, and never in silence."""
CODECS = {"vorbis": ("-c:a", "libvorbis"), "opus": ("-c:a", "libopus"), "flac": ("-c:a", "flac")}
Samples = npt.NDArray[np.int16]


def walk(path: Path, rate_hz: int = RATE_HZ) -> tuple[list[Item], GalagoError | None]:
    items: list[Item] = []
    try:
        items.extend(AudioFile(path, rate_hz))
    except GalagoError as error:
        return items, error
    return items, None


def pages(data: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(data):
        count = data[at + 26]
        end = at + 27 + count + sum(data[at + 27 : at + 27 + count])
        found.append(data[at:end])
        at = end
    return found


@functools.cache
def swept(codec: str) -> bytes:
    """A sound of five seconds in pages of a second or less."""
    source = ("-f", "lavfi", "-i", SWEEP.format(rate=RATE_HZ))
    return ffmpeg_output(*source, *CODECS[codec], "-page_duration", 500_000, "-f", "ogg")


def placed(path: Path) -> tuple[list[tuple[int, Samples]], list[tuple[int, Hole]]]:
    """Return where each run of samples stands, and each hole, at the file's own rate."""
    runs, holes, at = [], [], 0
    for piece in open_sound(path).pieces():
        if isinstance(piece, np.ndarray):
            runs.append((at, to_int16(piece)[:, 0]))
            at += len(piece)
        elif isinstance(piece, Hole):
            holes.append((at, piece))
            at += piece.frames
    return runs, holes


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("quality", [-1, 8])
@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 48_000])
def test_a_whole_vorbis_is_decided_to_its_last_sample_and_without_a_gap(
    rate_hz: int, quality: int, content: str, tmp_path: Path
) -> None:
    channels = 1 if rate_hz == 22_050 or quality > 0 else 2
    source = f"aevalsrc='{CONTENTS[content]}':sample_rate={rate_hz}:duration=3.3"
    ffmpeg(
        *("-f", "lavfi", "-i", source, "-ac", channels),
        *("-c:a", "libvorbis", "-q:a", quality, tmp_path / "a.ogg"),
    )
    wanted = np.frombuffer(ffmpeg_output("-i", tmp_path / "a.ogg", "-f", "s16le"), "<i2")
    runs, holes = placed(tmp_path / "a.ogg")
    assert holes == []
    got = np.concatenate([samples for _, samples in runs])
    assert len(got) == len(wanted) // channels == round(3.3 * rate_hz)
    assert np.abs(got.astype(int) - wanted[::channels]).max() <= 1


def test_sounds_that_are_chained_are_each_decided_to_their_last_sample(tmp_path: Path) -> None:
    (tmp_path / "a.ogg").write_bytes(swept("vorbis") + swept("flac") + swept("opus") + swept("vorbis"))
    items, error = walk(tmp_path / "a.ogg")
    assert error is None
    assert [item for item in items if isinstance(item, Gap)] == []
    samples = sum(len(item.samples) for item in items if isinstance(item, AudioBlock))
    assert samples == 4 * round(5.3 * RATE_HZ)


def _without(page: int, found: list[bytes]) -> bytes:
    return b"".join(found[:page] + found[page + 1 :])


def _zeroed(page: int, found: list[bytes]) -> bytes:
    return b"".join([*found[:page], found[page][:40] + bytes(len(found[page]) - 40), *found[page + 1 :]])


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("damage", [_without, _zeroed])
def test_a_page_that_is_lost_leaves_a_gap_at_its_own_place_and_all_others_stand_where_they_were(
    damage: Callable[[int, list[bytes]], bytes], codec: str, tmp_path: Path
) -> None:
    data = swept(codec)
    found = pages(data)
    (tmp_path / "whole.ogg").write_bytes(data)
    whole = np.concatenate([samples for _, samples in placed(tmp_path / "whole.ogg")[0]])
    for page in range(2 + (damage is _without), len(found) - 1):
        (tmp_path / "a.ogg").write_bytes(damage(page, found))
        runs, holes = placed(tmp_path / "a.ogg")
        ((at, hole),) = holes
        assert hole.cause == "unreadable"
        if page == 2:
            assert at == 0
        for start, samples in runs[:-1] if page == len(found) - 2 else runs:
            if codec != "opus" or start < at:  # Opus needs a while to find itself again
                np.testing.assert_allclose(samples, whole[start : start + len(samples)], atol=2)
        end = runs[-1][0] + len(runs[-1][1])
        assert end == len(whole)
        items, error = walk(tmp_path / "a.ogg")
        assert error is not None and error.reason is Reason.AUDIO_UNREADABLE
        assert any(isinstance(item, Notice) and item.state == "unreadable" for item in items)


def test_a_capture_that_joined_a_stream_late_begins_at_0_and_says_by_how_much(tmp_path: Path) -> None:
    found = pages(swept("vorbis"))
    (tmp_path / "a.ogg").write_bytes(b"".join(found[:2] + found[4:]))
    items, error = walk(tmp_path / "a.ogg")
    assert error is None
    assert isinstance(items[0], Notice) and items[0].state == "offset"
    samples = sum(len(item.samples) for item in items if isinstance(item, AudioBlock))
    missing_ns = items[0].detail["offset_ns"]
    assert samples + missing_ns * RATE_HZ // 10**9 == pytest.approx(round(5.3 * RATE_HZ), abs=1)


def test_a_page_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    found = pages(swept("flac"))
    (tmp_path / "a.ogg").write_bytes(b"".join([*found[:5], found[4], *found[5:]]))
    items, error = walk(tmp_path / "a.ogg")
    assert error is None
    assert sum(len(item.samples) for item in items if isinstance(item, AudioBlock)) == round(5.3 * RATE_HZ)


def test_bytes_between_two_pages_that_follow_one_another_are_no_loss(tmp_path: Path) -> None:
    found = pages(swept("flac"))
    (tmp_path / "a.ogg").write_bytes(b"".join([*found[:5], b"no page" * 30, *found[5:]]))
    items, error = walk(tmp_path / "a.ogg")
    assert error is None
    assert sum(len(item.samples) for item in items if isinstance(item, AudioBlock)) == round(5.3 * RATE_HZ)


def test_a_page_that_claims_to_be_an_age_later_follows_behind_a_gap_without_length(tmp_path: Path) -> None:
    found = [bytearray(page) for page in pages(swept("flac"))]
    for page in found[5:]:
        later = int.from_bytes(page[6:14], "little") + (1 << 60)
        page[6:14], page[22:26] = later.to_bytes(8, "little"), bytes(4)
        page[22:26] = page_checksum(bytes(page)).to_bytes(4, "little")
    (tmp_path / "a.ogg").write_bytes(b"".join(found))
    items, error = walk(tmp_path / "a.ogg")
    assert error is None
    (gap,) = [item for item in items if isinstance(item, Gap)]
    assert gap.cause == "missing" and gap.from_ns == gap.to_ns
    assert sum(len(item.samples) for item in items if isinstance(item, AudioBlock)) == round(5.3 * RATE_HZ)
