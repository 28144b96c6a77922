"""The campaign of one-shot words: who teaches, who tests, and what a miss is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from campaigns.one_shot_words import (
    CLIP_SAMPLES,
    PEOPLE,
    RATE_HZ,
    WORDS,
    Outcome,
    Speech,
    interval,
    missed,
    word_set,
)
from galago_edge.recording.sample_media import wav_bytes


def test_nobody_is_tested_who_taught_and_all_are_tested() -> None:
    for voices, count in (("one", 1), ("five", 5)):
        tasks = [word_set(number, 20, voices) for number in range(12)]
        assert {task.tested for task in tasks} == set(PEOPLE)
        for task in tasks:
            assert len(set(task.teachers)) == count and task.tested not in task.teachers
            assert len(set(task.words)) == 20 and set(task.words) <= set(WORDS)
        if voices == "one":
            assert {task.teachers[0] for task in tasks} == set(PEOPLE)


def test_a_set_is_the_same_every_time_and_for_both_numbers_of_voices() -> None:
    assert word_set(3, 20, "one") == word_set(3, 20, "one")
    assert word_set(3, 20, "one").words == word_set(3, 20, "five").words != word_set(4, 20, "one").words


def test_a_clip_has_the_word_in_its_middle_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = np.zeros(2 * RATE_HZ, np.int16)
    sound[5_000:9_000] = 8_000
    (tmp_path / "word.wav").write_bytes(wav_bytes(sound, RATE_HZ))
    speech = Speech(tmp_path)
    monkeypatch.setattr(speech, "_path", lambda voice, word: tmp_path / "word.wav")

    clip, faster = speech.clip("june", "alpha"), speech.clip("june", "alpha", 2.0)

    for found, length in ((clip, 4_000), (faster, 2_000)):
        loud = np.flatnonzero(found > 4_000)
        assert len(found) == CLIP_SAMPLES
        assert len(loud) == pytest.approx(length, abs=10)
        assert loud.mean() == pytest.approx(CLIP_SAMPLES / 2, abs=100)


def outcome(**changes: Any) -> Outcome:
    fields = {
        "network": "speech_embedding",
        "voices": "one",
        "task": word_set(0, 20, "one"),
        "accuracy_float": 0.8,
        "accuracy_int8": 0.8,
        "processor_s": 30.0,
        "wall_s": 20.0,
    }
    return Outcome(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, []),
        ({"accuracy_int8": 0.65, "accuracy_float": 0.65}, ["one: 65.0 % is below 70 %"]),
        ({"accuracy_float": 0.85}, ["one: int8 loses 5.0 points"]),
        ({"processor_s": 130.0}, ["one: a training took 130 s of processor"]),
        ({"voices": "five"}, ["five: 80.0 % is below 90 %"]),
        ({"network": "ds_cnn", "accuracy_int8": 0.2}, []),
    ],
)
def test_every_bar_that_is_missed_is_told(changes: dict[str, Any], told: list[str]) -> None:
    assert list(missed([outcome(**changes)])) == told


def test_the_interval_holds_the_mean_and_narrows_with_more_sets() -> None:
    few, many = interval([0.5, 0.7, 0.9]), interval([0.5, 0.7, 0.9] * 10)
    assert few[0] < many[0] < 0.7 < many[1] < few[1]
    assert interval([0.8]) == (0.8, 0.8)
