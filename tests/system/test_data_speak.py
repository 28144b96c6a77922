"""``galago data speak`` with the real espeak-ng and flite: a data set of words that trains."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result

from galago_edge.commands.cli import main
from galago_edge.contract.errors import CallerError, Reason
from galago_edge.sources.audio_file import read_audio
from galago_workstation.data.class_folders import list_folders
from galago_workstation.data.synthetic_voices import Voice, spoken, voices_of, without_silence
from galago_workstation.training_config import AudioFolders
from real_parts.missing import missing_part


@pytest.fixture(autouse=True)
def programs() -> None:
    for program in ("espeak-ng", "flite"):
        if shutil.which(program) is None:
            missing_part(f"{program} is not installed")


def speak(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["data", "speak", *map(str, arguments)])


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_words_become_labelled_clips_in_voices_that_a_group_keeps_apart(tmp_path: Path) -> None:
    done = speak("stop", "hey galago", "--out", tmp_path / "voices", "--takes", 6)

    assert done.exit_code == 0, done.output
    assert "12 clips of 2 words in 6 voices of espeak-ng, flite" in done.output
    listing = list_folders(AudioFolders(folder="voices", group=r"/(.+)-\d+\.wav"), tmp_path)
    assert listing.labels == ("hey galago", "stop")
    groups = [
        {sample.group for sample in listing.pool if sample.label == label and sample.group}
        for label in (0, 1)
    ]
    assert groups[0] == groups[1]  # every voice says every word
    assert sum(group.startswith("flite_") for group in groups[0]) == 3
    for sample in listing.pool:
        assert sample.path is not None
        clip = read_audio(sample.path, 16_000)
        assert 0.15 < len(clip) / 16_000 < 3.0
        assert np.abs(clip.astype(int)).max() > 1_000


def test_the_same_seed_gives_the_same_bytes_and_another_one_other_voices(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert speak("go", "--out", tmp_path / name, "--takes", 4, "--seed", seed).exit_code == 0
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert {*files(tmp_path / "a").values()}.isdisjoint(files(tmp_path / "c").values())


def test_the_record_says_who_said_what_how_and_with_which_program(tmp_path: Path) -> None:
    done = speak("go", "--out", tmp_path / "v", "--takes", 3, "--engine", "flite", "--rate", 8_000, "--json")
    record = json.loads((tmp_path / "v" / "spoken.json").read_text())
    assert json.loads(done.output) == record
    assert [*record["programs"]] == ["flite"]
    assert (record["seed"], record["sample_rate_hz"], record["language"]) == (1, 8_000, "en")
    assert all((tmp_path / "v" / take["file"]).is_file() for take in record["takes"])
    assert all(0.7 < take["speed"] < 1.4 and 0.8 < take["pitch"] < 1.2 for take in record["takes"])


def test_a_second_call_replaces_what_the_first_one_made_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "v"
    assert speak("go", "--out", out, "--takes", 2).exit_code == 0
    assert speak("stop", "--out", out, "--takes", 1).exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == ["spoken.json", "stop"]
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.txt").write_text("mine")
    refused = speak("go", "--out", tmp_path / "own")
    assert refused.exit_code != 0
    assert (tmp_path / "own" / "thesis.txt").read_text() == "mine"


def pitch_hz(vowel: npt.NDArray[np.int16]) -> float:
    """Return the frequency at which the middle of a vowel repeats itself, 70 to 300 Hz."""
    middle = vowel[len(vowel) // 3 : 2 * len(vowel) // 3].astype(float)
    likeness = [np.corrcoef(middle[:-lag], middle[lag:])[0, 1] for lag in range(53, 229)]
    return 16_000 / (53 + int(np.argmax(likeness)))


@pytest.mark.parametrize("voice", [Voice("espeak-ng", "en+m1"), Voice("flite", "slt")])
def test_speed_and_pitch_are_heard(voice: Voice) -> None:
    usual, fast = (spoken(voice, "seventeen", speed=speed, pitch=1.0, rate_hz=16_000) for speed in (1.0, 1.5))
    assert len(fast) < 0.85 * len(usual)
    low, high = (spoken(voice, "ah", speed=1.0, pitch=pitch, rate_hz=16_000) for pitch in (0.87, 1.15))
    assert len(high) == pytest.approx(len(low), rel=0.2)
    assert pitch_hz(high) > 1.12 * pitch_hz(low)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["go", "--language", "xx"], "speaks 'xx'"),
        (["go", "--language", "de", "--engine", "flite"], "no voice of flite speaks 'de'"),
        (["go", "GO"], "'go' and 'GO' would be the same label"),
        (["go\u202e"], "cannot be a label"),
        (["x" * 65], "cannot be a label"),
        (["..."], "says nothing for '...'"),
    ],
)
def test_what_cannot_be_said_is_refused_in_one_line_and_leaves_nothing(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    done = speak(*arguments, "--out", tmp_path / "v", "--takes", 1)
    assert done.exit_code == 2
    assert said in done.output
    assert done.output.count("\n") <= 2  # the error and its hint
    assert list(tmp_path.iterdir()) == []


def test_other_languages_have_voices_and_a_region_has_fewer() -> None:
    german = voices_of("de", ["espeak-ng", "flite"])
    assert len(german) == 13 and {voice.engine for voice in german} == {"espeak-ng"}
    english, american = voices_of("en", ["espeak-ng", "flite"]), voices_of("en-us", ["espeak-ng"])
    assert 13 <= len(american) < len(english)
    assert len({*english}) == len(english)
    with pytest.raises(CallerError, match="does not exist"):
        spoken(Voice("espeak-ng", "nobody"), "go", speed=1.0, pitch=1.0, rate_hz=16_000)


def test_a_missing_program_is_one_line_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = speak("go", "--out", tmp_path / "v")
    assert done.exit_code != 0
    assert Reason.EXTRA_MISSING.name in done.output or "neither is installed" in done.output
    assert "apt-get install espeak-ng flite" in done.output
    (tmp_path / "flite").symlink_to(shutil.which("flite", path="/usr/bin") or "/nowhere")
    one = speak("go", "--out", tmp_path / "v", "--takes", 1, "--engine", "espeak-ng")
    assert "espeak-ng is not installed, flite is" in one.output
    assert speak("go", "--out", tmp_path / "v", "--takes", 1).exit_code == 0


def test_silence_around_a_word_is_cut_off() -> None:
    word = np.concatenate([np.zeros(4_000), np.full(800, 900), np.zeros(4_000)]).astype(np.int16)
    assert len(without_silence(word, 16_000)) == 800 + 2 * 320
    assert len(without_silence(np.zeros(100, np.int16), 16_000)) == 0
