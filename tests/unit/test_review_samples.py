"""Field samples: what is found, what a model proposes for them, and in which order they are shown."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from galago_edge.commands.cli import main
from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.manifest import Label
from galago_edge.recording.sample_media import wav_bytes
from galago_workstation.review.field_samples import DeviceNote, FieldSample, find_field_samples
from galago_workstation.review.proposing_model import model_of_bundle
from galago_workstation.review.review_order import propose, review_order, sureness_of
from galago_workstation.review.sample_sight import SampleSight
from test_kit import make_bundle

LABELS = ("dark", "mid", "bright")


def picture(path: Path, level: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((20, 24, 3), level, np.uint8))
    return path


def kept(root: Path, label: str, level: int, number: int, **note: object) -> Path:
    """A sample as a device keeps it, with its note and a picture before it."""
    stem = f"20261122T11430012{number}Z-door-near-00c0d{number}"
    context = root / "light" / ".context"
    picture(context / f"{stem}-pre1.jpg", level)
    told = {
        "label": label,
        "trigger": "near",
        "device": "porch",
        "stream": "door",
        "context": [f"{stem}-pre1.jpg"],
    }
    (context / f"{stem}.json").write_text(json.dumps({**told, **note}))
    return picture(root / "light" / label.replace("/", "%2F") / f"{stem}.png", level)


def test_what_a_device_kept_has_its_note_its_label_its_hour_and_what_was_before(tmp_path: Path) -> None:
    kept(tmp_path, "on/off", 30, 1, wall_ns=1_795_348_980_123_000_000)
    (one,) = find_field_samples(tmp_path, sounds=False).samples
    assert one.said == "on/off" and one.note is not None and one.note.trigger == "near"
    assert one.group == "porch door 20261122T11"
    assert [path.name for path in one.context] == ["20261122T114300121Z-door-near-00c0d1-pre1.jpg"]


def test_a_sample_that_somebody_moved_has_the_label_of_its_folder_and_the_devices_beside_it(
    tmp_path: Path,
) -> None:
    path = kept(tmp_path, "dark", 30, 1)
    (tmp_path / "light" / "mid" / "sure").mkdir(parents=True)
    path.rename(tmp_path / "light" / "mid" / "sure" / path.name)
    (one,) = find_field_samples(tmp_path / "light", sounds=None).samples
    assert one.said == "mid" and one.note is not None and one.note.label == "dark"
    assert propose(one, None).disagrees


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 30)
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    kept(tmp_path, "dark", 90, 1)
    next((tmp_path / "light" / ".context").glob("*.json")).write_text("{")
    found = find_field_samples(tmp_path, sounds=None)
    assert [sample.id for sample in found.samples] == [
        "a.png",
        "light/dark/20261122T114300121Z-door-near-00c0d1.png",
    ]
    told = "; ".join(found.left_out())
    assert "cannot be read: 1" in told and "copies of others: 1" in told and ".txt 1" in told
    assert "notes of devices that cannot be read: 1" in told


def test_a_table_gives_labels_and_groups_and_may_leave_labels_out(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 30), picture(tmp_path / "b.png", 90)
    table = tmp_path / "samples.jsonl"
    table.write_text('{"path": "a.png", "label": "dark", "group": "g"}\n{"path": "b.png"}\n')
    found = find_field_samples(table, sounds=None)
    assert [(one.said, one.group) for one in found.samples] == [("dark", "g"), ("", "")]


def test_places_without_samples_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    for place in (tmp_path, tmp_path / "a.txt", tmp_path / "nowhere"):
        with pytest.raises(InputError) as refused:
            find_field_samples(place, sounds=None)
        assert refused.value.reason is Reason.DATA_BAD


def field_sample(name: str, noted: str = "", scores: dict[str, float] | None = None) -> FieldSample:
    note = DeviceNote(label=noted, scores=scores or {}) if noted else None
    return FieldSample(Path(name), name, "0" * 64, said=noted, note=note)


def test_differing_ones_come_first_then_the_least_sure_then_names() -> None:
    samples = [field_sample(name, "a") for name in ("sure", "unsure", "other", "sure too")]
    scores = [{"a": 0.9, "b": 0.1}, {"a": 0.55, "b": 0.45}, {"a": 0.2, "b": 0.8}, {"a": 0.9, "b": 0.1}]
    ordered = review_order(samples, [propose(*pair) for pair in zip(samples, scores, strict=True)])
    assert [sample.id for sample, _ in ordered] == ["other", "unsure", "sure", "sure too"]
    assert ordered[0][1].label == "b" and ordered[0][1].score == 0.8


def test_without_a_model_the_devices_own_scores_say_how_sure_it_was() -> None:
    proposal = propose(field_sample("x", "a", {"a": 0.5, "b": 0.25}), None)
    assert (proposal.label, proposal.score, proposal.sureness) == ("a", 0.5, 0.25)
    unknown = propose(field_sample("y"), None)
    assert (unknown.label, unknown.score, unknown.sureness) == ("", None, 0.0)


def test_with_sigmoid_the_label_nearest_to_a_half_counts() -> None:
    assert sureness_of([0.95, 0.5, 0.01], sigmoid=True) == 0.0
    assert sureness_of([0.95, 0.5, 0.01], sigmoid=False) == pytest.approx(0.45)


def test_a_bundle_proposes_what_it_would_answer_on_a_device(tmp_path: Path, tiny_image_model: bytes) -> None:
    bundle = make_bundle(tmp_path / "b.galago", tiny_image_model, tuple(Label(name=one) for one in LABELS))
    model = model_of_bundle(bundle)
    for level, label in ((30, "dark"), (128, "mid"), (225, "bright")):
        scores = model.scores(np.full((20, 24, 3), level, np.uint8))
        assert max(scores, key=scores.__getitem__) == label and sum(scores.values()) == pytest.approx(
            1, abs=1e-3
        )


def test_a_sound_is_asked_about_and_shown_as_a_spectrogram(tmp_path: Path, tiny_audio_model: bytes) -> None:
    labels = tuple(Label(name=one) for one in ("quiet", "low", "high"))
    bundle = make_bundle(tmp_path / "b.galago", tiny_audio_model, labels, modality="microphone")
    model = model_of_bundle(bundle)
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(np.zeros(1_000, np.int16), 16_000))
    sight = SampleSight(True, model.frontend)
    scores = model.scores(sight.raw(path))
    assert max(scores, key=scores.__getitem__) == "quiet"
    assert sight.picture(path).startswith(b"\xff\xd8") and sight.sound(path).startswith(b"RIFF")


def test_a_recording_is_no_sample(tmp_path: Path) -> None:
    path = tmp_path / "night.wav"
    path.write_bytes(wav_bytes(np.zeros(61 * 8_000, np.int16), 8_000))
    with pytest.raises(InputError, match="61 s, expected a sample of at most 60 s"):
        SampleSight(True).raw(path)


def test_the_command_lists_the_order_and_says_what_is_left_out(
    tmp_path: Path, tiny_image_model: bytes
) -> None:
    bundle = make_bundle(tmp_path / "b.galago", tiny_image_model, tuple(Label(name=one) for one in LABELS))
    kept(tmp_path / "samples", "dark", 225, 1), kept(tmp_path / "samples", "dark", 30, 2)
    (tmp_path / "samples" / "broken.png").write_bytes(b"\x89PNG")
    arguments = ["data", "review", str(tmp_path / "samples"), "--out", str(tmp_path / "out"), "--list"]
    done = CliRunner().invoke(main, [*arguments, "--bundle", str(bundle)])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0] == "2 pictures; labels: dark, mid, bright" and "cannot be read: 1" in lines[1]
    assert "(1 differ)" in lines[2] and "bright 0.9" in lines[3] and "the device noted dark" in lines[3]
    assert not (tmp_path / "out").exists()
    told = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert [row["proposed"] for row in told["samples"]] == ["dark", "dark"]


def test_two_proposers_are_one_too_many(tmp_path: Path) -> None:
    arguments = [
        "data",
        "review",
        str(tmp_path),
        "--out",
        str(tmp_path / "out"),
        "--bundle",
        "b",
        "--run",
        "r",
    ]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2 and "one of the two" in done.output
