"""What the demo's data promise: patterns by the standards, truth that is true, nothing shown in training."""

from __future__ import annotations

import errno
import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.datasets import load_digits

from galago_edge.contract.errors import CallerError, LinkError, Reason
from galago_workstation.commands.demo import demo_data
from galago_workstation.demo import alarms, digits
from galago_workstation.demo.household import KINDS, any_sounder, appliance, scene
from galago_workstation.demo.scenes import Light, Pose, Room, digit_card, is_inside, visible_ink
from galago_workstation.demo.sounds import (
    RATE_HZ,
    TEMPORAL_FOUR,
    TEMPORAL_THREE,
    Rhythm,
    Sound,
    mix,
    piezo,
    rms,
    siren,
    square_520,
    to_int16,
)
from galago_workstation.demo.truth import CORPUS, GATES, WORSE, read_truth
from galago_workstation.packing.policy_file import read_policies
from galago_workstation.qa.corpus import read_corpus
from galago_workstation.qa.gate_rules import load_gates
from galago_workstation.qa.label_file import read_labels


def pulses(sound: Sound) -> list[tuple[float, float]]:
    """Return (begin, end) in seconds of everything that sounds, with 10 ms resolution."""
    piece = RATE_HZ // 100
    loud = np.abs(sound[: sound.size // piece * piece].reshape(-1, piece)).max(axis=1) > 0.05
    edges = np.flatnonzero(np.diff(np.concatenate([[0], loud.astype(int), [0]])))
    return [(begin / 100, end / 100) for begin, end in edges.reshape(-1, 2)]


@pytest.mark.parametrize(
    ("rhythm", "expected"),
    [
        (TEMPORAL_THREE, [(0, 0.5), (1, 1.5), (2, 2.5), (4, 4.5), (5, 5.5), (6, 6.5)]),
        (
            TEMPORAL_FOUR,
            [(0, 0.1), (0.2, 0.3), (0.4, 0.5), (0.6, 0.7), (5.7, 5.8), (5.9, 6.0), (6.1, 6.2), (6.3, 6.4)],
        ),
    ],
    ids=["temporal-three", "temporal-four"],
)
def test_alarms_keep_their_standards_pattern(rhythm: Rhythm, expected: list[tuple[float, float]]) -> None:
    for seed in range(5):
        sounder = piezo(np.random.default_rng(seed))
        found = pulses(sounder.signal(rhythm, 2))
        assert np.abs(np.array(found) - np.array(expected)).max() <= 0.011


@pytest.mark.parametrize("seed", range(4))
def test_sounders_have_their_standards_pitch(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for sounder, low, high in ((piezo(rng), 2_900, 3_400), (square_520(rng), 468, 572)):
        spectrum = np.abs(np.fft.rfft(sounder.tone(1.0)))
        assert low <= np.argmax(spectrum) <= high


def test_a_square_wave_has_odd_partials_that_fall_off_as_they_should() -> None:
    spectrum = np.abs(np.fft.rfft(square_520(np.random.default_rng(0)).tone(1.0)))
    base = int(np.argmax(spectrum))
    first, second, third = (
        np.linalg.norm(spectrum[multiple * base - 9 : multiple * base + 10]) for multiple in (1, 2, 3)
    )
    assert third / first == pytest.approx(1 / 3, abs=0.02)
    assert second < 0.01 * first


def test_a_mix_has_the_ratio_it_was_asked_for() -> None:
    rng = np.random.default_rng(0)
    tone = piezo(rng).tone(1.0)
    noise = rng.standard_normal(tone.size).astype(np.float32)
    for snr_db in (-3.0, 0.0, 12.0):
        added = mix(tone, noise, snr_db) - noise
        assert 20 * np.log10(rms(added) / rms(noise)) == pytest.approx(snr_db, abs=0.2)


def test_pauses_do_not_make_an_alarm_louder() -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(12 * RATE_HZ).astype(np.float32)
    alarm = np.zeros_like(noise)
    alarm[: 7 * RATE_HZ // 2 * 3] = np.resize(piezo(rng).signal(TEMPORAL_THREE, 3), 7 * RATE_HZ // 2 * 3)
    added = mix(alarm, noise, 6.0) - noise
    assert 20 * np.log10(rms(added[: RATE_HZ // 2]) / rms(noise)) == pytest.approx(6.0, abs=1.0)


def test_no_appliance_speaks_as_an_alarm() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        found = pulses(appliance(any_sounder(rng), rng))
        periods = np.diff([begin for begin, _ in found])
        if len(found) >= 3:
            assert not np.any((periods > 0.8) & (periods < 1.25)), "temporal-three is one second"
            assert not np.any((periods > 0.12) & (periods < 0.3)), "temporal-four is a fifth of one"


@pytest.mark.parametrize("kind", KINDS)
def test_household_sounds_are_sound(kind: str) -> None:
    for seed in range(3):
        sound = KINDS[kind](np.random.default_rng(seed), 3 * RATE_HZ)
        assert sound.shape == (3 * RATE_HZ,)
        assert sound.dtype == np.float32
        assert np.isfinite(sound).all()


def test_scenes_have_the_level_they_were_asked_for() -> None:
    sound = scene(np.random.default_rng(1), 2 * RATE_HZ, level_dbfs=(-30.0, -30.0))
    assert 20 * np.log10(rms(sound)) == pytest.approx(-30.0, abs=0.1)


def test_loud_sound_saturates_instead_of_wrapping_round() -> None:
    assert to_int16(np.array([2.0, -2.0, 0.0], np.float32)).tolist() == [32_767, -32_768, 0]


@pytest.mark.parametrize("seed", range(3))
def test_a_siren_fills_its_time(seed: int) -> None:
    sound = siren(np.random.default_rng(seed), 4.0)
    pieces = sound.reshape(-1, RATE_HZ // 4)
    assert np.sqrt(np.mean(pieces**2, axis=1)).min() > 0.3


@pytest.mark.parametrize("label", ["smoke", "co"])
def test_every_window_of_an_alarm_clip_holds_the_pattern(label: str) -> None:
    """Random crops in training must not turn an alarm into something else."""
    rng = np.random.default_rng(0)
    window, slack = round(alarms.WINDOW_S * RATE_HZ), round(alarms.SLACK_S * RATE_HZ)
    for _ in range(40):
        clip = alarms._take(label, piezo(rng), rng)
        for start in (0, slack // 2, slack):
            sounding = sum(end - begin for begin, end in pulses(clip[start : start + window]))
            if label == "co":
                assert sounding == pytest.approx(0.4, abs=0.06)
            else:  # three pulses, or a cycle's share of them: never fewer than 1.5 s of four
                assert sounding >= 1.4


@pytest.mark.parametrize(("label", "at_most"), [("smoke", 1.0), ("co", 0.25)])
def test_a_begun_alarm_shows_at_most_half_of_the_pattern(label: str, at_most: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        clip = alarms._begun(label, piezo(rng), rng)
        window = clip[-round(alarms.WINDOW_S * RATE_HZ) :]
        assert sum(end - begin for begin, end in pulses(window)) <= at_most + 0.03


def test_the_microphone_truth_is_where_the_alarms_are() -> None:
    sound, events = alarms._stream(np.random.default_rng(5))
    assert sound.shape == (alarms.SECONDS * RATE_HZ,)
    assert np.isfinite(sound).all()
    counts = {label: sum(event.label == label for event in events) for label in ("smoke", "co", "siren")}
    assert counts == alarms._SCHEDULE
    for before, after in itertools.pairwise(events):
        assert before.offset_ns < after.onset_ns
        assert before.label != after.label
    for label in counts:  # the configuration's refractory time must not hide the next one
        onsets = [event.onset_ns for event in events if event.label == label]
        assert all(b - a > 30 * 10**9 for a, b in itertools.pairwise(onsets))
    for event in events:
        assert event.onset_ns < event.complete_ns < event.offset_ns <= alarms.SECONDS * 10**9
        assert event.deadline_ns - event.complete_ns == 6 * 10**9
        if event.label == "smoke":
            assert event.complete_ns - event.onset_ns == 2_500_000_000
        if event.label == "co":
            assert event.complete_ns - event.onset_ns == 700_000_000


def programme(seed: int) -> list[digits.Show]:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 17, (60, 8, 8)).astype(float)
    target = rng.integers(0, 10, 60)
    return digits._programme(images, target, np.arange(digits.CARDS), rng)


def test_every_card_comes_stays_and_goes() -> None:
    for seed in range(3):
        shows = programme(seed)
        assert sum(show.label is not None for show in shows) == digits.CARDS
        assert shows[-1].start + shows[-1].frames == digits.SECONDS * digits.FPS
        for show in shows:
            poses = [show.pose(frame) for frame in range(show.start, show.start + show.frames)]
            whole = [pose is not None and is_inside(pose) and visible_ink(pose) == 1.0 for pose in poses]
            assert sum(whole) >= 12, "more than a second wholly in view"
            assert poses[-1] is None, "an empty room before the next card"
            first = poses[0]
            assert first is not None
            assert not is_inside(first), "it comes from outside"
            assert len({pose.angle_deg for pose in poses if pose is not None}) > 5, "it moves"


def test_the_camera_truth_is_what_the_programme_shows() -> None:
    show = next(show for show in programme(0) if show.label is not None)
    what = digits._truth_of(show)
    frame_ns = 10**9 // digits.FPS
    complete = show.pose(what.complete_ns // frame_ns)
    before = show.pose(what.complete_ns // frame_ns - 1)
    assert complete is not None and is_inside(complete)
    assert before is None or not is_inside(before)
    assert what.label == show.label
    assert what.onset_ns <= what.complete_ns < what.offset_ns < what.deadline_ns


def test_the_view_of_a_digit_is_measured_in_the_middle_square() -> None:
    middle = Pose(x=0.5, y=0.5, height=0.75, angle_deg=5.0)
    assert visible_ink(middle) == 1.0
    assert is_inside(middle)
    left_edge = middle.moved(-0.375, 0.0)  # its centre on the square's left border
    assert visible_ink(left_edge) == pytest.approx(0.5, abs=0.1)
    assert visible_ink(middle.moved(1.0, 0.0)) == 0.0


def test_rendering_puts_the_card_where_the_pose_says() -> None:
    rng = np.random.default_rng(0)
    room = Room(rng)
    scan = np.zeros((8, 8))
    card = digit_card(scan, rng)
    nothing = np.zeros((240, 320, 1), np.float32)
    empty = room.render(None, None, Light(), nothing).astype(int)
    pose = Pose(x=0.5, y=0.5, height=0.6, angle_deg=0.0)
    shown = room.render(card, pose, Light(), nothing).astype(int)
    changed = np.abs(shown - empty).sum(axis=2) > 30
    assert changed[60:180, 120:200].mean() > 0.9
    assert changed[:, :60].mean() < 0.02
    darker = room.render(card, pose, Light(gain=0.5), nothing).astype(int)
    assert darker.mean() == pytest.approx(shown.mean() / 2, rel=0.05)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_same_seed_same_sounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarms, "_KITS", 1)
    for name, seed in (("a", 3), ("b", 3), ("other", 4)):
        alarms.make_alarms(tmp_path / name, seed=seed)
    a, b, other = (contents(tmp_path / name) for name in ("a", "b", "other"))
    assert a == b
    assert a.keys() == other.keys()
    assert a["recording.wav"] != other["recording.wav"]
    assert {name.split("/")[1] for name in a if name.startswith("train/")} == set(alarms.LABELS)


@pytest.fixture
def few_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let scikit-learn ship 40 scans, of which 10 are shown, for 24 s."""
    real = load_digits()
    few = SimpleNamespace(images=real.images[:40], target=real.target[:40])
    monkeypatch.setattr("sklearn.datasets.load_digits", lambda: few)
    monkeypatch.setattr(digits, "CARDS", 10)
    monkeypatch.setattr(digits, "SECONDS", 36)


@pytest.mark.usefixtures("few_scans")
def test_same_seed_same_pictures(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("other", 4)):
        digits.make_digits(tmp_path / name, seed=seed)
    a, b, other = (contents(tmp_path / name) for name in ("a", "b", "other"))
    assert a == b
    assert a["recording.avi"] != other["recording.avi"]
    assert {name.split("/")[1] for name in a if name.startswith("train/")} == set(digits.LABELS)


@pytest.mark.usefixtures("few_scans")
def test_what_is_shown_was_never_learned(tmp_path: Path) -> None:
    truth = digits.make_digits(tmp_path / "data", seed=0)
    shown = {int(event.about["scan"]) for event in truth.events}
    learned = {int(name[4:8]) for path in (tmp_path / "data" / "train").rglob("scan*") if (name := path.name)}
    assert len(shown) == 10
    assert shown | learned == set(range(40))
    assert not shown & learned
    assert read_truth(tmp_path / "data") == truth


@pytest.mark.usefixtures("few_scans")
@pytest.mark.parametrize(("kind", "modality"), [("digits", "camera"), ("alarms", "microphone")])
def test_the_command_makes_what_it_is_asked_for(
    kind: str, modality: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarms, "_KITS", 1)
    out = tmp_path / kind
    done = CliRunner().invoke(demo_data, [kind, "--out", str(out)], catch_exceptions=False)
    assert done.exit_code == 0
    assert read_truth(out).modality == modality
    assert (out / f"{kind}.toml").is_file()
    (recording,) = read_corpus(out / CORPUS).recordings
    assert recording.labels is not None
    there = read_labels(recording.labels).truth.events
    assert [one.label for one in there] == [one.label for one in read_truth(out).events]
    assert {one.label for one in there} <= set(read_policies(out / WORSE).label)
    assert len(load_gates(out / GATES).gate) == 3


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("chapter 1")
    with pytest.raises(CallerError) as caught:
        alarms.make_alarms(tmp_path, seed=0)
    assert caught.value.reason is Reason.EXISTS
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(alarms, "write_wav", full)
    with pytest.raises(LinkError) as caught:
        alarms.make_alarms(tmp_path / "data", seed=0)
    assert caught.value.reason is Reason.NO_SPACE
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("few_scans")
def test_a_video_that_the_disk_cut_short_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV's writer drops frames without a word."""
    monkeypatch.setattr(digits, "_frames_in", lambda path: 17)
    with pytest.raises(LinkError) as caught:
        digits.make_digits(tmp_path / "data", seed=0)
    assert caught.value.reason is Reason.NO_SPACE
    assert list(tmp_path.iterdir()) == []
