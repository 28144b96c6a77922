"""``galago recording`` on what is cut off, empty, or of another kind: told once, nothing empty is made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from galago_edge.commands.cli import main
from test_kit.corpora import write_night
from test_kit.recorded import block, write_recording

IN_PART = "read in part, the rest is a gap: "


def galago(*args: str | Path) -> Result:
    result = CliRunner().invoke(main, ["recording", *map(str, args)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def cut_off(tmp_path: Path) -> Path:
    path = write_night(tmp_path / "Nacht über der Straße.wav")
    path.write_bytes(path.read_bytes()[:60_000])
    return path


def test_what_is_cut_off_is_imported_and_exported_in_part_told_once_and_as_one_document(
    cut_off: Path, tmp_path: Path
) -> None:
    made = tmp_path / "ä ö.mcap"
    for number, call in enumerate((("import", cut_off, made), ("export", made, tmp_path / "heraus"))):
        said = galago(*call)
        assert said.exit_code == 1, said.output
        assert said.stderr.startswith(IN_PART) and said.output.count("[AUDIO_TRUNCATED]") == 1
        assert "decided" not in said.output, "nobody has decided anything"
        again = galago(*call[:2], tmp_path / f"{number}{call[2].suffix}", "--json")
        assert again.exit_code == 1 and again.stderr.startswith(IN_PART)
        assert json.loads(again.stdout)["damage"], "one document, with what is wrong"


def test_a_wav_of_sound_that_ends_early_says_that_a_folder_can_hold_it(cut_off: Path, tmp_path: Path) -> None:
    made, wav = tmp_path / "n.mcap", tmp_path / "n.wav"
    galago("import", cut_off, made)
    said = galago("export", made, wav)
    assert said.exit_code == 1 and not wav.exists()
    assert "and a WAV cannot say so [AUDIO_TRUNCATED]" in said.stderr
    assert "Hint: export to a folder: a WAV for each stretch" in said.stderr


def test_a_part_in_which_nothing_lies_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "n.mcap", {"mic": ("microphone", [block(0, range(16_000))])})
    before = sorted(tmp_path.iterdir())
    said = galago("cut", path, tmp_path / "c.mcap", "--from", "30", "--to", "40")
    assert said.exit_code == 2 and "it ends at 1.000 s [CONFIG_BAD]" in said.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_a_place_that_nothing_can_be_written_to_is_named_as_it_was_given(tmp_path: Path) -> None:
    night, target = write_night(tmp_path / "n.wav"), tmp_path / f"{'x' * 240}.mcap"
    said = galago("import", night, target)
    assert said.exit_code == 3 and f"could not write {target}: File name too long" in said.stderr


def test_an_empty_file_and_one_of_another_kind_are_named_for_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "empty.mcap").touch()
    night = write_night(tmp_path / "night.wav")
    for command in ("info", "check"):
        said = galago(command, tmp_path / "empty.mcap")
        assert said.exit_code == 1 and "empty.mcap is empty [RECORDING_UNREADABLE]" in said.stderr
        assert "galago recording import makes one" not in said.stderr
        assert "galago recording import makes one" in galago(command, night).stderr
