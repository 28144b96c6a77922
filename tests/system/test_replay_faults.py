"""``galago replay --faults`` on real sound, video and recording files, alone and over a corpus."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from galago_edge.api.expectations import SOURCE_STATES, Expectations
from galago_edge.commands.cli import main
from galago_edge.contract.records import (
    EventRecord,
    GapRecord,
    Record,
    ScoresRecord,
    StateRecord,
    decode_record,
)
from galago_edge.contract.streams import NS_PER_S, Item
from galago_edge.sources.faults.fault_file import read_faults
from test_kit import wav_bytes
from test_kit.corpora import RATE_HZ, camera_bundle, microphone_bundle, policy_labels
from test_kit.recorded import jpeg_frame, write_recording

FAULTS = """
[[fault]]
kind = "disconnect"
from = 5
to = 8

[[fault]]
kind = "overrun"
from = 11
to = 11.5
"""
EXPECTED = """
[[expected]]
kind = "event"
label = "low"
from = 2
to = 4

[[expected]]
kind = "event"
from = 4
to = 14
count = 0

[[expected]]
kind = "gap"
cause = "disconnect"
from = 4
to = 14
min_s = 3

[[expected]]
kind = "state"
state = "healthy"
from = 10

[[expected]]
kind = "watched"
min_s = 16
max_s = 17
"""


def galago(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def records(path: Path) -> list[Record]:
    return [decode_record(line) for line in path.read_bytes().splitlines()]


def events(found: Sequence[Record]) -> list[tuple[str, int]]:
    return [(one.label, one.end_ns) for one in found if isinstance(one, EventRecord)]


def gaps(found: Sequence[Record]) -> list[tuple[float, float, str]]:
    return [
        (one.from_ns / NS_PER_S, one.to_ns / NS_PER_S, one.cause)
        for one in found
        if isinstance(one, GapRecord)
    ]


@pytest.fixture
def night(tmp_path: Path) -> Path:
    """20 s with a low tone from 2 s, 6 s and 15 s on, each for a second."""
    time_s = np.arange(20 * RATE_HZ) / RATE_HZ
    loud = sum(((time_s >= at) & (time_s < at + 1) for at in (2, 6, 15)), np.zeros(len(time_s), np.bool_))
    path = tmp_path / "night.wav"
    path.write_bytes(
        wav_bytes(np.rint(12_000 * np.sin(600 * np.pi * time_s) * loud).astype(np.int16), RATE_HZ)
    )
    return path


@pytest.fixture
def microphone(tmp_path: Path, tiny_audio_model: bytes) -> Path:
    return microphone_bundle(tmp_path / "mic.galago", tiny_audio_model)


@pytest.fixture
def camera(tmp_path: Path, tiny_image_model: bytes) -> Path:
    return camera_bundle(tmp_path / "cam.galago", tiny_image_model)


@pytest.fixture
def faults(tmp_path: Path) -> Path:
    path = tmp_path / "faults.toml"
    path.write_text(FAULTS + EXPECTED)
    return path


def test_what_is_expected_is_met_or_not_in_a_line_each_and_the_exit_code_says_so(
    night: Path, microphone: Path, faults: Path, tmp_path: Path
) -> None:
    call = ("replay", night, "--bundle", microphone, "--faults", faults)
    out, verdict = tmp_path / "records.jsonl", tmp_path / "verdict.json"
    result = galago(*call, "--out", out, "--verdict", verdict)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[1:] == [
        "met: event low between 2 s and 4 s; found 1 (low at 2.22 s)",
        "met: no event of any label between 4 s and 14 s; found none",
        "met: gap disconnect at least 3 s between 4 s and 14 s; found 1 (disconnect 5 s to 8.2 s)",
        "met: state source healthy between 10 s and the end; found 1 (at 13.2 s)",
        "met: watched at least 16 s at most 17 s between 0 s and the end; found 16.3 s of 20 s",
        "expected: 5 met, 0 not",
    ]
    found = records(out)
    assert gaps(found) == [(5.0, 8.2, "disconnect"), (11.0, 11.5, "overrun")]
    told = json.loads(verdict.read_bytes())
    started = found[0]
    assert isinstance(started, StateRecord)
    assert told["faults"] == started.detail["source"]["faults"]
    assert told["met"] is True and len(told["recordings"][0]["expected"]) == 5

    faults.write_text(faults.read_text().replace('label = "low"', 'label = "high"'))
    result = galago(*call, "--verdict", tmp_path / "verdict.xml")
    assert result.exit_code == 1
    assert "NOT met: event high between 2 s and 4 s; found none" in result.stderr
    assert result.stdout.encode() == out.read_bytes()  # what is expected changes no record
    suite = ElementTree.parse(tmp_path / "verdict.xml").getroot()[0]
    assert (suite.attrib["tests"], suite.attrib["failures"]) == ("5", "1")


def test_the_same_faults_give_the_same_bytes_and_no_fault_those_of_the_plain_replay(
    night: Path, microphone: Path, faults: Path, tmp_path: Path
) -> None:
    plain = galago("replay", night, "--bundle", microphone, "--scores").stdout
    call = ("replay", night, "--bundle", microphone, "--scores", "--faults", faults)
    first = galago(*call).stdout
    assert first == galago(*call, "--block-samples", "777").stdout != plain
    # up to the first fault every score is that of the plain replay
    decoded = [(line, decode_record(line.encode())) for line in first.splitlines()]
    before = [line for line, one in decoded if isinstance(one, ScoresRecord)
              and one.end_ns <= 5 * NS_PER_S]  # fmt: skip
    assert len(before) > 50 and set(before) <= set(plain.splitlines())

    faults.write_text(EXPECTED.replace("min_s = 3", "").replace('cause = "disconnect"', "count = 0"))
    nothing = galago(*call)
    assert nothing.stdout == plain
    assert nothing.exit_code == 1 and "NOT met: state source healthy" in nothing.stderr


def test_the_wall_clock_decides_nothing_and_is_what_the_records_say(
    night: Path, microphone: Path, faults: Path, tmp_path: Path
) -> None:
    faults.write_text('[[fault]]\nkind = "clock_step"\nfrom = 10\nby_s = -3600\n'
                      '[[fault]]\nkind = "clock_unsure"\nfrom = 12\nto = 18\n')  # fmt: skip
    call = ("replay", night, "--bundle", microphone, "--faults", faults)
    refused = galago(*call)
    assert refused.exit_code == 2
    assert "is of the wall clock, and nobody says what it showed" in refused.stderr
    out = tmp_path / "out.jsonl"
    assert galago(*call, "--out", out, "--start-time", "2026-05-01T22:00:00+02:00").exit_code == 0
    turned = [one for one in records(out) if isinstance(one, EventRecord)]
    plain = galago("replay", night, "--bundle", microphone).stdout.encode()
    assert events(turned) == events([decode_record(line) for line in plain.splitlines()])
    start_ns = 1_777_665_600 * NS_PER_S
    assert [int(one.wall_ns) - start_ns - one.end_ns for one in turned] == [0, 0, -3600 * NS_PER_S]
    assert [one.clock_synced for one in turned] == [True, True, False]


@pytest.mark.parametrize("form", ["avi", "mcap", "frames"])
def test_damage_and_drops_of_a_camera_in_every_kind_of_file(form: str, camera: Path, tmp_path: Path) -> None:
    items: list[Item] = [jpeg_frame(number, number * NS_PER_S // 10, 240, 64) for number in range(120)]
    source = _camera_file(form, items, tmp_path)
    faults = tmp_path / "faults.toml"
    faults.write_text('[[fault]]\nkind = "damaged"\nhow = "cut"\nfrom = 2\nto = 4\n'
                      '[[fault]]\nkind = "drop"\nfrom = 7\nto = 9\n')  # fmt: skip
    out = tmp_path / "out.jsonl"
    result = galago("replay", source, "--bundle", camera, "--faults", faults, "--out", out)
    assert result.exit_code == 0, result.output
    causes = [cause for _, _, cause in gaps(records(out))]
    assert causes == ["unreadable", "drop"]
    assert gaps(records(out))[1][:2] == (6.9, 9.0)
    whole = records(out)
    assert [one.state for one in whole if isinstance(one, StateRecord) and one.subject == "source"][:2] == [
        "healthy",
        "alarmed",  # so many damaged pictures in a row are none: it is opened again
    ]


def _camera_file(form: str, items: list[Item], folder: Path) -> str:
    if form == "mcap":
        return str(write_recording(folder / "yard.mcap", {"yard": ("camera", items)}))
    frames = folder / "frames"
    frames.mkdir()
    for number, item in enumerate(items):
        assert isinstance(item.encoded, bytes)  # type: ignore[union-attr]
        (frames / f"{number:05}.jpg").write_bytes(item.encoded)  # type: ignore[union-attr]
    if form == "frames":
        return f"{frames}?fps=10"
    import av

    with av.open(str(folder / "yard.avi"), "w") as video:
        track = video.add_stream("mjpeg", rate=10)
        track.width = track.height = 64
        track.pix_fmt = "yuvj420p"
        for number in range(len(items)):
            picture = cv2.imread(str(frames / f"{number:05}.jpg"))
            assert picture is not None
            for packet in track.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")):
                video.mux(packet)
        for packet in track.encode():
            video.mux(packet)
    return str(folder / "yard.avi")


def test_a_corpus_with_faults_is_judged_recording_by_recording_and_stored_apart(
    night: Path, microphone: Path, faults: Path, tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "a.wav").write_bytes(night.read_bytes())
    silence = np.zeros(20 * RATE_HZ, np.int16)
    (corpus / "b.wav").write_bytes(wav_bytes(silence, RATE_HZ))
    shared = ("--bundle", microphone, "--results", tmp_path / "results", "--jobs", "1")
    assert galago("replay", corpus, *shared, "--out", tmp_path / "plain").exit_code == 0
    result = galago("replay", corpus, *shared, "--out", tmp_path / "run", "--faults", faults)
    assert result.exit_code == 1
    assert "a.wav: met: event low between 2 s and 4 s; found 1 (low at 2.22 s)" in result.stdout
    assert "b.wav: NOT met: event low between 2 s and 4 s; found none" in result.stdout
    assert "expected: 9 met, 1 not" in result.stdout

    # other expectations cost no replay; other faults are another run
    faults.write_text(FAULTS + '[[expected]]\nkind = "gap"\ncause = "overrun"\n')
    again = galago("replay", corpus, *shared, "--out", tmp_path / "run", "--faults", faults, "--json")
    assert again.exit_code == 0, again.output
    told = json.loads(again.stdout)
    assert [row["fresh"] for row in told["recordings"]] == [False, False]
    assert [row["expected"][0]["met"] for row in told["recordings"]] == [True, True]
    faults.write_text(FAULTS.replace("11.5", "11.6"))
    other = galago("replay", corpus, *shared, "--out", tmp_path / "run", "--faults", faults)
    assert (other.exit_code, "holds a run of other settings" in other.stderr) == (2, True)
    compared = galago("qa", "diff", tmp_path / "plain", tmp_path / "run")
    assert "were replayed with other faults" in compared.stderr
    scored = galago("qa", "score", tmp_path / "run")
    assert "run: replayed with faults (" in scored.stderr


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ('kind = "event"\nlabel = "lwo"', "label lwo: did you mean low?"),
        ('kind = "state"\nstate = "alarmd"\ncount = 0', "state alarmd: did you mean alarmed?"),
        ('kind = "state"\nsubject = "label:hihg"\nstate = "off"', "subject label:hihg: did you mean high?"),
        (
            'kind = "event"\nlabel = "quiet"\ncount = 0',
            "label quiet, a background label, which never becomes an event: there are high, low",
        ),
        (
            'kind = "state"\nsubject = "label:quiet"\nstate = "off"',
            "subject label:quiet, a background label, which never becomes an event: there are high, low",
        ),
        ('kind = "state"\nsubject = "label:high"\nstate = "on"', "state on of label:high: there is off"),
        ('kind = "state"\nsubject = "gate"\nstate = "opne"', "state opne of gate: did you mean open?"),
        (
            'kind = "state"\nsubject = "coverage"\nstate = "set_aside"',
            "subject coverage, of which no replay has a record: there are gate, label:NAME, source, stream",
        ),
    ],
)
def test_what_could_never_be_met_is_refused_before_anything_is_replayed(
    expected: str, said: str, night: Path, microphone: Path, faults: Path
) -> None:
    faults.write_text(f"[[expected]]\n{expected}\n")
    result = galago("replay", night, "--bundle", microphone, "--faults", faults)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_what_lies_behind_the_end_is_told(
    night: Path, microphone: Path, faults: Path, tmp_path: Path
) -> None:
    faults.write_text('[[expected]]\nkind = "event"\nfrom = 3\nto = 90\ncount = 0\n')
    call = ("replay", night, "--bundle", microphone, "--out", tmp_path / "out", "--faults", faults)
    result = galago(*call)
    assert result.exit_code == 1
    assert "found the end of the recording already at 20 s" in result.stdout
    faults.write_text('[[fault]]\nkind = "stall"\nfrom = 25\nto = 26\n')
    result = galago(*call)
    assert result.exit_code == 2
    assert "stall from 25 s to 26 s, lies behind the end of what was replayed, 20 s" in result.stderr
    result = galago(*call, "--to", "10")
    assert "lies behind the end of what was replayed, 10" in result.stderr


@pytest.mark.parametrize(
    "late",
    [
        'kind = "stall"\nfrom = 25\nto = 26\n',
        'kind = "clock_step"\nfrom = 25\nby_s = 60\n',
        'kind = "clock_unsure"\nfrom = 10\nto = 26\n',
    ],
)
@pytest.mark.parametrize("cut_off", [False, True])
def test_a_fault_that_met_nothing_is_told_of_a_whole_recording_and_beside_the_damage_of_one_that_is_cut_off(
    late: str, cut_off: bool, night: Path, microphone: Path, faults: Path, tmp_path: Path
) -> None:
    faults.write_text(f"[[fault]]\n{late}")
    if cut_off:
        night.write_bytes(night.read_bytes()[:-RATE_HZ])
    call = ("replay", night, "--bundle", microphone, "--faults", faults, "--out", tmp_path / "out")
    result = galago(*call, "--start-time", "2026-05-01T22:00:00+02:00")
    begin = "read in part, the rest is a gap: " if cut_off else "Error: "
    (line,) = [one for one in result.stderr.splitlines() if one.startswith(begin)]
    assert "lies behind the end of what was replayed, " in line and "fault 1, " in line
    assert result.exit_code == (1 if cut_off else 2)
    assert ("AUDIO_TRUNCATED" in line) is cut_off
    assert "correct its times" in result.stderr


def test_several_faults_that_met_nothing_are_counted(
    night: Path, microphone: Path, faults: Path, tmp_path: Path
) -> None:
    faults.write_text(
        "".join(f'[[fault]]\nkind = "stall"\nfrom = {at}\nto = {at + 1}\n' for at in (3, 25, 27))
    )
    result = galago("replay", night, "--bundle", microphone, "--out", tmp_path / "out", "--faults", faults)
    assert result.exit_code == 2
    assert "fault 2, stall from 25 s to 26 s, lies behind" in result.stderr
    assert "; and 1 more" in result.stderr


@pytest.mark.parametrize("wrong", [("--verdict", "v.json"), ("--faults", "{faults}", "--verdict", "v.txt")])
def test_a_verdict_needs_faults_and_a_form(
    wrong: tuple[str, ...], night: Path, microphone: Path, faults: Path
) -> None:
    options = [one.format(faults=faults) for one in wrong]
    result = galago("replay", night, "--bundle", microphone, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--verdict" in result.stderr


def test_the_states_that_can_be_expected_are_those_of_the_documents() -> None:
    table = (Path(__file__).parents[2] / "docs" / "events.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| `source` |")]
    assert {word.strip("` ") for row in rows for word in row[2].split()} == set(SOURCE_STATES)


def test_a_device_configuration_says_how_the_source_is_supervised(
    night: Path, microphone: Path, faults: Path, tmp_path: Path
) -> None:
    faults.write_text(
        '[[fault]]\nkind = "stall"\nfrom = 3\nto = 15\n[[expected]]\nkind = "state"\nstate = "alarmed"\n'
    )
    call = ("replay", night, "--bundle", microphone, "--faults", faults, "--out", tmp_path / "out.jsonl")
    assert galago(*call).exit_code == 0  # silent for longer than 5 s, or 10 s at first
    config = tmp_path / "galago.toml"
    config.write_text(
        f'[source.hall]\naddress = "{night}"\nstall_s = 60\n'
        '[[stream]]\nname = "hall"\nsource = "hall"\nbundle = "tiny"\n'
    )
    patient = galago(*call, "--config", config)
    assert patient.exit_code == 1
    assert "NOT met: state source alarmed between 0 s and the end; found none" in patient.stdout


def test_the_example_of_the_documents_is_read_as_written(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "replay-faults.md").read_text(encoding="utf-8")
    path = tmp_path / "storm.toml"
    path.write_text(page.split("```toml\n")[1].split("```")[0])
    found = read_faults(path, "replay")
    assert [one.kind for one in found.faults] == ["disconnect", "overrun"]
    told = [line for line in page.splitlines() if line.startswith(("met:", "NOT met:"))]
    judged = Expectations(found.expected, policy_labels("quiet", "glass")).judged()
    assert [line.partition(": ")[2].partition(";")[0] for line in told] == [one.expected for one in judged]
