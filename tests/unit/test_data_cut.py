"""``galago data cut`` makes training samples of labelled recordings."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import soundfile
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.recording.sample_media import wav_bytes
from galago_workstation.commands.data_cut import cut
from galago_workstation.data.sample_manifest import list_manifest
from galago_workstation.data.stream_cuts import CutPlan, Heard, picture_cuts, sound_cuts
from galago_workstation.qa.label_file import write_labels
from galago_workstation.qa.replayed import Truth, TruthList
from galago_workstation.training_config import AudioFolders

S = 1_000_000_000
PLAN = CutPlan(background="none", per_hour=360)


def ask(*arguments: object) -> Result:
    return CliRunner().invoke(cut, [str(argument) for argument in arguments])


def night(folder: Path, name: str, events: tuple[Truth, ...] | None, seconds: int = 20) -> Path:
    """A recording whose samples say where they lie: the number of their tenth of a second."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(wav_bytes((np.arange(seconds * 16_000) // 1_600 + 1).astype(np.int16), 16_000))
    if events is not None:
        write_labels(path.with_name(f"{name}.labels.tsv"), TruthList(events))
    return path


def test_events_and_background_are_cut_to_the_sample(tmp_path: Path) -> None:
    night(tmp_path / "nights", "a.wav", (Truth(5 * S, 6 * S, "bell"),))
    night(tmp_path / "nights", "quiet.wav", (), seconds=21)
    night(tmp_path / "nights", "unknown.wav", None, seconds=3)

    done = ask(tmp_path / "nights", "--out", tmp_path / "cuts", "--per-hour", 720)

    assert done.exit_code == 0, done.output
    assert "1 recordings without labels, of which nothing is cut" in done.output
    sound, rate = soundfile.read(tmp_path / "cuts" / "bell" / "a.wav_000004750.wav", dtype="int16")
    assert rate == 16_000
    assert (len(sound), sound[0], sound[-1]) == (24_000, 48, 63)  # 4.75 s to 6.25 s
    for path in (tmp_path / "cuts" / "background").iterdir():
        piece = soundfile.read(path, dtype="int16")[0]
        assert len(piece) == 16_000
        if path.name.startswith("a.wav"):  # a second away from the bell
            assert piece.max() <= 40 or piece.min() >= 70
    listing = list_manifest(AudioFolders(manifest="cuts/samples.csv"), tmp_path)
    assert listing.labels == ("background", "bell")
    assert {sample.group for sample in listing.pool} == {"a.wav", "quiet.wav"}


def test_cutting_again_gives_the_same_and_replaces_only_its_own_folder(tmp_path: Path) -> None:
    night(tmp_path / "nights", "a.wav", (Truth(5 * S, 6 * S, "bell"),))
    ask(tmp_path / "nights", "--out", tmp_path / "cuts")
    before = {path.name: path.read_bytes() for path in (tmp_path / "cuts").rglob("*.*")}
    ask(tmp_path / "nights", "--out", tmp_path / "cuts")
    assert {path.name: path.read_bytes() for path in (tmp_path / "cuts").rglob("*.*")} == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x").write_text("mine")
    assert ask(tmp_path / "nights", "--out", tmp_path / "mine").exit_code != 0
    assert (tmp_path / "mine" / "x").read_text() == "mine"


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    night(tmp_path / "nights", "a.wav", (Truth(5 * S, 7 * S, "bell"), Truth(6 * S, 8 * S, "dog")))
    night(tmp_path / "nights", "b.wav", (Truth(2 * S, 3 * S, "bell"),), seconds=22)
    (tmp_path / "nights" / "c.wav").write_bytes(b"RIFF")
    write_labels(tmp_path / "nights" / "c.wav.labels.tsv", TruthList(()))

    done = ask(tmp_path / "nights", "--out", tmp_path / "cuts", "--json")

    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert found["overlapping"] == 2
    assert found["labels"]["bell"] == 1
    assert list(found["failed"]) == ["c.wav"]


def test_pictures_are_taken_within_their_events(tmp_path: Path) -> None:
    folder = tmp_path / "nights" / "cam"
    folder.mkdir(parents=True)
    for number in range(40):  # 10 a second
        cv2.imwrite(str(folder / f"{number:03}.png"), np.full((8, 8, 3), number, np.uint8))
    listed = tmp_path / "nights.toml"
    listed.write_text('[[recording]]\npath = "nights/cam?fps=10"\nlabels = "cam.tsv"\n')
    write_labels(tmp_path / "cam.tsv", TruthList((Truth(1 * S, 2 * S, "car"),)))

    done = ask(listed, "--out", tmp_path / "cuts", "--pictures", "--per-hour", 3_600)

    assert done.exit_code == 0, done.output
    values = sorted(int(cv2.imread(str(path))[0, 0, 0]) for path in (tmp_path / "cuts" / "car").iterdir())
    assert values == [10, 15]
    rest = [int(cv2.imread(str(path))[0, 0, 0]) for path in (tmp_path / "cuts" / "background").iterdir()]
    assert rest and all(value >= 30 for value in rest)


def test_a_corpus_without_labels_is_refused(tmp_path: Path) -> None:
    night(tmp_path / "nights", "a.wav", None)
    done = ask(tmp_path / "nights", "--out", tmp_path / "cuts")
    assert "no recording has labels" in str(done.exception)
    assert not (tmp_path / "cuts").exists()


@given(
    marks=st.lists(st.integers(0, 600), max_size=12, unique=True),
    gaps=st.lists(st.integers(0, 600), max_size=6, unique=True),
    seed=st.integers(0, 9),
)
def test_no_cut_touches_a_gap_or_another_label_and_background_keeps_away(
    marks: list[int], gaps: list[int], seed: int
) -> None:
    times = [mark * S // 10 for mark in sorted(marks)]
    pairs = list(zip(times[::2], times[1::2], strict=False))
    events = tuple(Truth(start, end, "ab"[number % 2]) for number, (start, end) in enumerate(pairs))
    lost = [gap * S // 10 for gap in sorted(gaps)]
    heard = Heard(60 * S, list(zip(lost[::2], lost[1::2], strict=False)))
    cuts, left_out = sound_cuts(TruthList(events), heard, PLAN, seed)
    for one in cuts:
        assert 0 <= one.start_ns < one.end_ns <= 60 * S
        assert not any(start < one.end_ns and one.start_ns < end for start, end in heard.gaps)
        for event in events:
            away = PLAN.guard_ns if one.label == "none" else 0
            if one.label != event.label:
                assert one.end_ns <= event.start_ns - away or event.end_ns + away <= one.start_ns
    found = {(event.start_ns, event.end_ns) for event in events}
    kept = {
        (event.start_ns, event.end_ns)
        for event in events
        if any(one.label == event.label and one.start_ns <= event.start_ns < one.end_ns for one in cuts)
    }
    assert len(found) - len(kept) == left_out


def test_pictures_of_a_long_event_are_as_far_apart_as_asked() -> None:
    cuts = picture_cuts(TruthList((Truth(0, 2 * S, "car"),)), Heard(60 * S), PLAN, 1)
    assert [one.start_ns for one in cuts if one.label == "car"] == [0, S // 2, S, 3 * S // 2]
