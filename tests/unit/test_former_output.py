"""What a command writes over: its own former output, never another file, not even with ``--replace``."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from galago_devices import profile_text
from galago_edge.bundle.archive import header
from galago_edge.bundle.bundle_place import BUNDLE
from galago_edge.commands.cli import main
from galago_edge.contract.errors import GalagoError, InputError, Reason
from galago_edge.host.former_output import (
    EVENTS,
    VERDICT_JSON,
    OutputKind,
    junit_kind,
    refuse_other_kind,
    refuse_other_log,
)
from galago_edge.host.junit_document import junit_document
from galago_workstation.output_kinds import (
    BASELINE,
    CONFIGURATION,
    EXPORTED_LABELS,
    FLASH_RESULTS,
    LABELS,
    MARKDOWN,
    POLICY,
    PROFILE,
)
from galago_workstation.qa.comparison_report import markdown
from galago_workstation.qa.corpus_score import score
from galago_workstation.qa.exactness_tiers import Tier, TierChoice
from galago_workstation.qa.gate_rules import GateRule, GateRules
from galago_workstation.qa.golden_comparison import GoldenFinding
from galago_workstation.qa.golden_report import golden_junit
from galago_workstation.qa.junit_report import junit_xml
from galago_workstation.qa.label_file import is_label_file
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.release_verdict import ReleaseVerdict, Stance
from galago_workstation.qa.replay_comparison import compare_bundles
from galago_workstation.qa.score_report import markdown as score_markdown
from test_kit.replays import truths, written

NIGHT = written([("a", 11)], truths((10, 12, "a")))
GATES = GateRules(gate=(GateRule(measure="lost", at_most_count=0),))
NOTHING = ReleaseVerdict((), Stance.INCONCLUSIVE, 0.0, 0.05, 0.05, "no gates")
FINDING = GoldenFinding("a.golden.json", TierChoice(Tier.T3, ("another bundle",)))
FORMER = [
    (EVENTS, b'{"v":1,"kind":"state"}\n'),
    (VERDICT_JSON, b'{\n  "faults": "ab",\n  "met": true\n}\n'),
    (junit_kind("galago qa diff"), junit_xml(NOTHING, at=datetime.now(UTC))),
    (junit_kind("galago qa golden verify"), golden_junit(FINDING, at=datetime.now(UTC))),
    (junit_kind("galago a+b"), junit_document("galago a+b", [], at=datetime.now(UTC), properties={})),
    (MARKDOWN, score_markdown(score([NIGHT], MatchingRule())).encode()),
    (MARKDOWN, markdown(compare_bundles([NIGHT], [NIGHT])).encode()),
    (MARKDOWN, markdown(compare_bundles([NIGHT], [NIGHT], gates=GATES)).encode()),
    (LABELS, b"# galago.labels/1\n\n# recording sha256 ab\nstart_ns\tend_ns\tlabel\n1\t2\ta\n"),
    (LABELS, b"\xef\xbb\xbfstart_ns\tend_ns\tlabel\r\n"),
    (BASELINE, b'{\n  "schema": "galago.baseline/1",\n'),
    (POLICY, b'# made by galago qa tune\n# smoke: x\nbundle = "ab"\n\n[label."smoke"]\non = 0.5\n'),
    (POLICY, b"[label.smoke]\non = 0.5\n"),
    (CONFIGURATION, b"# 3 sounds in 1 classes\n# Every key: docs\n\n[data]\n"),
    (EXPORTED_LABELS, b'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n'),
    (EXPORTED_LABELS, b'[\n {\n  "data": {\n'),
    (EXPORTED_LABELS, b"Selection\tView\tChannel\t"),
    (EXPORTED_LABELS, b"filename\tonset\toffset\tevent_label\n"),
    (EXPORTED_LABELS, b"0.500000\t1.250000\tsmoke\n"),
    (BUNDLE, header("manifest.json", 4_711) + b"{"),
    (PROFILE, profile_text("raspberry-pi-5").encode()),
    (FLASH_RESULTS, b'{\n  "schema": "galago.flash/1",\n'),
]
FOREIGN = [
    b"RIFF\x24\0\0\0WAVE",
    b'{\n  "schema": "galago.replays/1",\n',
    b"mine",
    b"-----BEGIN PRIVATE KEY-----\n",
    header("model.tflite", 8) + bytes(512),
    b"# Score of our team\n\nmine",
    b"## fail: the third attempt\n\n- OLD habits\n",
    b'<?xml version="1.0" encoding="utf-8"?>\n<testsuites><testsuite name="pytest" errors="0" tests="3">',
    b'<?xml version="1.0"?>\n<testsuites tests="1"/>\n',
    b"\0" * 100,
    b"#\n" * 40_000,
]
REPLAY = ("replay", "a.wav", "--bundle", "b.galago")
TUNE = ("qa", "tune", "run", "--false-per-day", "1", "--replace")


def test_each_kind_is_written_over_by_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "out"
    kinds = {kind.what: kind for kind, _ in FORMER}.values()
    for own, content in [*FORMER, *((None, content) for content in FOREIGN)]:
        path.write_bytes(content)
        assert [kind.what for kind in kinds if passes(path, kind)] == ([] if own is None else [own.what])


def passes(path: Path, kind: OutputKind) -> bool:
    try:
        refuse_other_kind(path, kind)
    except GalagoError as error:
        assert error.reason == Reason.EXISTS and error.hint
        return False
    return True


def test_what_is_new_empty_or_no_file_is_not_judged(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for path in (None, tmp_path / "new", tmp_path / "empty", tmp_path, Path("/dev/null")):
        refuse_other_kind(path, EVENTS)


RECORD = b'{"v":1,"kind":"gap"}\n'


@pytest.mark.parametrize(
    "content",
    [
        RECORD,
        RECORD * 100_000,
        RECORD + b'{"v":1,"ki',
        RECORD + b'{"',
        RECORD + b'{"v":1,"ki\0\0\0',
        RECORD + b"\0" * 4_096,
        RECORD + b"\0" * (2 << 20),
        b"{",
        b'{"v"',
        b'{"v":1,"ki',
        b'{"v":1,"ki\0\0\n' + RECORD,
        b"\0\0\0\n" + RECORD,
        b'{"v":9,"kind":"of a later version"}\n',
    ],
    ids=lambda content: repr(content[-24:]),
)
def test_a_log_of_records_goes_on_also_where_a_power_cut_tore_a_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    refuse_other_log(path)


@pytest.mark.parametrize(
    "content",
    [
        *FOREIGN,
        b"\x89PNG\r\n\x1a\n" + RECORD,
        b'{\n  "faults": "ab"\n}\n',
        b"\n\n",
        RECORD + b"RIFF\x24\0\0\0WAVE",
        RECORD + b"mine\n",
        RECORD + b"x" * (2 << 20),
        b"mine\n" * 1_000 + RECORD,
        b'{"v":1,"foo":2}\n',
        b'{"v":1,"kind":"dream"}\n',
        RECORD + b'{"v":1,"foo":2}\n',
    ],
    ids=lambda content: repr(content[:24]),
)
def test_no_records_are_appended_to_anything_else(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    with pytest.raises(GalagoError, match="exists and is something else, expected a new file or") as caught:
        refuse_other_log(path)
    assert caught.value.reason == Reason.EXISTS


def test_what_is_new_empty_or_no_file_takes_records(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "fifo")  # opening it would wait
    for name in ("new", "empty", "fifo"):
        refuse_other_log(tmp_path / name)
    refuse_other_log(Path("/dev/null"))
    refuse_other_log(None)


def test_a_large_log_is_looked_at_at_its_ends_alone(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with path.open("wb") as file:
        file.write(RECORD)
        file.truncate(1 << 36)  # read whole, it would take minutes
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + RECORD)
    refuse_other_log(path)


@pytest.mark.parametrize(
    "call",
    [
        (*REPLAY, "--out"),
        (*REPLAY, "--faults", "f.toml", "--verdict"),
        ("qa", "baseline", "run", "--replace", "--out"),
        ("qa", "score", "run", "--markdown"),
        ("qa", "diff", "old", "new", "--markdown"),
        ("qa", "diff", "old", "new", "--gates", "gates.toml", "--junit"),
        ("qa", "golden", "verify", "g.json", "run", "--bundle", "b.galago", "--junit"),
        (*TUNE, "--out"),
        ("qa", "labels", "import", "x.txt", "--format", "audacity", "--replace", "--out"),
        ("qa", "labels", "confirm", "x.txt", "--replace", "--out"),
        ("qa", "labels", "export", "x.txt", "--format", "audacity", "--replace", "--out"),
        ("init", "birds", "--replace", "--out"),
        ("run", "--root", "none", "--stream", "hall=a.wav", "--out"),
    ],
    ids=" ".join,
)
def test_no_command_writes_over_a_run(
    call: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read is not there: the place is told of first."""
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run.json"
    run.write_bytes(FOREIGN[1])
    (tmp_path / "a.wav").write_bytes(FOREIGN[0])  # what replay takes for one recording
    result = CliRunner().invoke(main, [*call, "run.json"])
    assert result.exit_code == 2 and "exists and is something else" in result.stderr, result.output
    assert run.read_bytes() == FOREIGN[1]


def test_a_folder_a_pipe_and_a_link_in_the_place_of_labels_are_named(tmp_path: Path) -> None:
    path = tmp_path / "n0.wav.labels.tsv"
    assert not is_label_file(path)
    path.mkdir()
    with pytest.raises(InputError, match=r"n0\.wav\.labels\.tsv: is a folder, expected a file of labels"):
        is_label_file(path)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(InputError, match="is a pipe or a device"):
        is_label_file(path)
    for target, met in (("/dev/zero", "is a pipe or a device"), ("nowhere", "is a link that leads nowhere")):
        path.unlink()
        path.symlink_to(target)
        with pytest.raises(InputError, match=met):
            is_label_file(path)


def test_a_claim_that_no_time_could_show_is_refused_as_an_option() -> None:
    result = CliRunner().invoke(main, ["qa", "score", "run", "--claim", "1e-300"])
    assert result.exit_code == 2 and "1e-300" in result.stderr and "Traceback" not in result.stderr


def test_a_sound_given_as_training_data_is_no_configuration(tmp_path: Path) -> None:
    sound = tmp_path / "some.wav"
    sound.write_bytes(FOREIGN[0])
    result = CliRunner().invoke(main, ["data", "check", str(sound)])
    assert "some.wav is no configuration and no folder" in f"{result.exception} {result.stderr}"
