"""Hashes of the stages of a replay: the same for the same input, and the first that differs is named."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

import galago_edge
from galago_edge.contract.streams import WindowSeen
from galago_edge.pipeline.stage_hashes import STAGES, StageHashes, first_difference
from galago_edge.pipeline.stage_marks import first_difference_ns
from test_kit import wav_bytes
from test_kit.corpora import RATE_HZ, camera_bundle, microphone_bundle, night_samples


@pytest.fixture(scope="module")
def microphone(tmp_path_factory: pytest.TempPathFactory, tiny_audio_model: bytes) -> Path:
    return microphone_bundle(tmp_path_factory.mktemp("mic") / "mic.galago", tiny_audio_model)


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory, tiny_image_model: bytes) -> Path:
    return camera_bundle(tmp_path_factory.mktemp("cam") / "cam.galago", tiny_image_model)


def hashed(recording: Path | str, bundle: Path, **changes: object) -> StageHashes:
    opened = galago_edge.open_bundle(bundle, unverified=True)
    with galago_edge.replay(str(recording), opened, **changes) as replay:  # type: ignore[arg-type]
        found = replay.hash_stages()
        replay.write(lambda records: None)
    return found


def hashes(recording: Path | str, bundle: Path, **changes: object) -> dict[str, str]:
    return hashed(recording, bundle, **changes).hexdigests()


def test_no_stage_of_sound_depends_on_how_it_is_cut_into_blocks(tmp_path: Path, microphone: Path) -> None:
    path = tmp_path / "night.wav"
    path.write_bytes(wav_bytes(night_samples(), RATE_HZ))
    found = [hashes(path, microphone, block_samples=size) for size in (7, 160, 4096, 65_536)]
    assert found[0] == found[1] == found[2] == found[3]
    assert tuple(found[0]) == STAGES and len(set(found[0].values())) == len(STAGES)


def test_where_a_recording_lies_and_what_it_is_called_changes_no_stage(
    tmp_path: Path, microphone: Path
) -> None:
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(wav_bytes(night_samples(), RATE_HZ))
    assert hashes(tmp_path / "a.wav", microphone, name="one") == hashes(tmp_path / "b.wav", microphone)


def test_other_samples_differ_from_the_decoded_stage_on(tmp_path: Path, microphone: Path) -> None:
    for name, samples in (("a.wav", night_samples()), ("b.wav", night_samples() // 2)):
        (tmp_path / name).write_bytes(wav_bytes(samples, RATE_HZ))
    one, other = (hashes(tmp_path / name, microphone) for name in ("a.wav", "b.wav"))
    assert first_difference(one, other) == "decoded"


def test_marks_say_in_which_second_two_sounds_part_however_they_are_cut(
    tmp_path: Path, microphone: Path
) -> None:
    samples = night_samples(seconds=5)
    other = samples.copy()
    other[round(3.5 * RATE_HZ)] += 9_000
    for name, sound in (("a.wav", samples), ("b.wav", other)):
        (tmp_path / name).write_bytes(wav_bytes(sound, RATE_HZ))
    one, again, clicked = (
        hashed(tmp_path / name, microphone, block_samples=size).marks()
        for name, size in (("a.wav", 7), ("a.wav", 65_536), ("b.wav", 160))
    )
    assert one == again and tuple(one) == STAGES
    places = {stage: first_difference_ns(one[stage], clicked[stage]) for stage in ("decoded", "tensors")}
    assert places == dict.fromkeys(places, (3_000_000_000, 4_000_000_000))
    assert one["items"] == clicked["items"]


def test_whoever_asks_is_given_the_output_of_every_run_that_is_hashed(
    tmp_path: Path, microphone: Path
) -> None:
    path = tmp_path / "night.wav"
    path.write_bytes(wav_bytes(night_samples(), RATE_HZ))
    taken: list[bytes] = []
    with galago_edge.replay(path, galago_edge.open_bundle(microphone, unverified=True)) as replay:
        found = replay.hash_stages(lambda logits: taken.append(logits.tobytes()))
        replay.write(lambda records: None)
        assert len(taken) == replay.windows
    assert hashlib.sha256(b"".join(taken)).hexdigest() == found.hexdigests()["logits"]


def test_other_times_differ_from_the_items_on_and_not_in_the_pixels(tmp_path: Path, camera: Path) -> None:
    for number in range(6):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((48, 64, 3), 40 * number, np.uint8))
    one, other = hashes(f"{tmp_path}?fps=2", camera), hashes(f"{tmp_path}?fps=4", camera)
    assert first_difference(one, other) == "items"
    assert [one[stage] == other[stage] for stage in ("decoded", "tensors", "logits")] == [True] * 3


def test_another_policy_differs_in_the_events_alone(tmp_path: Path, microphone: Path) -> None:
    path = tmp_path / "night.wav"
    path.write_bytes(wav_bytes(night_samples(), RATE_HZ))
    one = hashes(path, microphone)
    other = hashes(path, microphone, thresholds={"low": {"on": 1.0}})
    assert first_difference(one, other) == "events"


def test_hashing_and_observing_change_no_record_and_both_see_every_window(
    tmp_path: Path, microphone: Path
) -> None:
    path = tmp_path / "night.wav"
    path.write_bytes(wav_bytes(night_samples(), RATE_HZ))
    bundle = galago_edge.open_bundle(microphone, unverified=True)
    plain = list(galago_edge.replay(path, bundle))
    seen: list[WindowSeen] = []
    with galago_edge.replay(path, bundle) as replay:
        replay.observe(seen.append)
        found = replay.hash_stages()
        watched = list(replay)
        windows = replay.windows
    assert watched == plain
    assert len(seen) == windows > 10
    assert [window.restart for window in seen] == [True] + [False] * (windows - 1)
    assert found.hexdigests() == hashes(path, microphone)


def test_a_window_behind_a_gap_says_that_smoothing_began_anew(tmp_path: Path, camera: Path) -> None:
    times = [0, 500, 1_000, 61_000, 61_500]
    for number, _ in enumerate(times):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((48, 64, 3), 128, np.uint8))
    rows = "".join(f"{number}.png,{ms * 1_000_000}\n" for number, ms in enumerate(times))
    (tmp_path / "times.csv").write_text("file,time_ns\n" + rows)
    seen: list[WindowSeen] = []
    with galago_edge.replay(tmp_path, galago_edge.open_bundle(camera, unverified=True)) as replay:
        replay.observe(seen.append)
        replay.write(lambda records: None)
        assert replay.gaps == 1
    assert [window.restart for window in seen] == [True, False, False, True, False]
