"""A small piece of the media campaign: one recording of each kind that the field brings."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from campaigns import media
from campaigns.media_files import cases
from real_parts.missing import missing_part

ONE_OF_EACH_KIND = (
    "mjpeg.mkv",
    "variable_rate.mp4",
    "hole.mkv",
    "late_start.ts",
    "label_25fps.mkv",
    "bad_picture.avi",
    "spots.mkv",
    "cut.mkv",
    "mp4_called.avi",
    "six_channels.wav",
    "cut_alaw.wav",
    "cd.flv",
    "chained.ogg",
    "folder_with_holes",
)


@pytest.mark.slow
def test_recordings_of_each_kind_are_decided_at_their_own_times_and_what_is_wrong_is_told(
    tmp_path: Path,
) -> None:
    if shutil.which("ffmpeg") is None:
        missing_part("ffmpeg is not installed: apt-get install ffmpeg")
    rows = media.run(tmp_path, ONE_OF_EACH_KIND, jobs=1)
    assert {row["name"]: row["wrong"] for row in rows if row["wrong"]} == {}


def test_the_campaign_knows_at_least_sixty_files() -> None:
    assert len(cases()) >= 60
    assert set(ONE_OF_EACH_KIND) <= set(cases())


def test_the_campaign_sees_a_picture_at_the_wrong_time_a_gap_that_is_not_told_and_another_answer() -> None:
    """A campaign that finds nothing wrong must be able to find something."""
    case = cases()["folder_with_holes"]
    due = [number if number < 30 else number + 30 for number in range(90)]
    hole = {"kind": "gap", "cause": "missing", "from_ns": 3 * 10**9, "to_ns": 6 * 10**9}

    def got(**changed: object) -> media.Replayed:
        scores = [
            {
                "kind": "scores",
                "start_ns": at * 10**8,
                "end_ns": at * 10**8,
                "start_index": at,
                "logits": [at],
            }
            for at in due
        ]
        whole = media.Replayed(0, "", b"same", 0.0, [*scores, hole])
        for name, value in changed.items():
            setattr(whole, name, value)
        return whole

    right = got()
    assert media.faults(case, Path("folder"), right, got(), None) == []
    late = got(records=[*right.records[:-1], hole | {"to_ns": 9 * 10**9}])
    assert "gap missing" in media.faults(case, Path("folder"), late, late, None)[0]
    assert "gaps []" in media.faults(case, Path("folder"), got(records=right.records[:-1]), right, None)[0]
    moved = [right.records[0] | {"start_ns": 10**7}, *right.records[1:]]
    assert "picture 0" in media.faults(case, Path("folder"), got(records=moved), right, None)[0]
    other = got(records=[right.records[0] | {"logits": [1]}, *right.records[1:]])
    assert "other logits" in media.faults(case, Path("folder"), right, right, other)[0]
    assert "other bytes" in media.faults(case, Path("folder"), right, got(data=b"other"), None)[0]
    assert "exit 1" in media.faults(case, Path("folder"), got(exit=1), got(exit=1), None)[0]
