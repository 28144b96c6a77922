"""``galago events why``: from the scores in a device's log to what decided."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result

from galago_edge.bundle import open_bundle
from galago_edge.commands.cli import main
from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.contract.records import EventRecord, Record, encode_record
from galago_edge.contract.streams import Frame, Gap
from galago_edge.pipeline import DecidingStream, load
from galago_edge.pipeline.heard_records import hear
from test_kit import make_bundle

NS, MS = 1_000_000_000, 1_000_000
NOON_NS = 1_793_188_800 * NS  # 2026-10-28T12:00:00Z
POLICY = LabelPolicy(on=0.6, off=0.4, smoothing_windows=2, min_count=2, refractory_ms=1_000)
LABELS = (Label(name="dark", background=True), Label(name="mid", policy=POLICY), Label(name="bright"))


class _Camera:
    """What a stream tells of its source."""

    live = True

    def description(self) -> dict[str, Any]:
        return {"kind": "camera"}

    def conversion(self) -> None:
        return None

    def summary(self) -> dict[str, Any]:
        return {}


@pytest.fixture
def bundle(tmp_path: Path, tiny_image_model: bytes) -> Path:
    return make_bundle(tmp_path / "levels.galago", tiny_image_model, LABELS)


def watched(
    bundle: Path,
    levels: Sequence[int | None],
    *,
    name: str = "hall",
    thresholds: dict[str, dict[str, float]] | None = None,
) -> list[Record]:
    """Return what a device writes about frames of these gray levels, 100 ms apart; None is a gap."""
    with open_bundle(bundle) as opened:
        loaded = load(opened)
    stream = DecidingStream(name, loaded, thresholds=thresholds, scores=True)
    records = stream.start(_Camera())
    for number, level in enumerate(levels):
        at = number * 100 * MS
        if level is None:
            records += stream.push(Gap(at, at + 100 * MS, "stall"))
        else:
            records += stream.push(Frame(np.full((16, 16, 3), level, np.uint8), number, at))
    return [msgspec.structs.replace(one, wall_ns=NOON_NS + _ns(one), clock_synced=True) for one in records]


def _ns(record: Any) -> int:
    return int(getattr(record, "end_ns", getattr(record, "to_ns", getattr(record, "ns", 0))))


@pytest.fixture
def device(tmp_path: Path) -> Any:
    def write(*records: Record) -> Path:
        (tmp_path / "log.jsonl").write_bytes(b"".join(map(encode_record, records)))
        config = tmp_path / "galago.toml"
        config.write_text('[[stream]]\nname = "hall"\nsource = "x"\n[log]\npath = "log.jsonl"\n')
        return config

    return write


def why(config: Path, *options: object, label: str = "mid", at: str = "2026-10-28T12:00:00.500") -> Result:
    args = ["events", "why", "--config", config, "--label", label, "--at", at, *options]
    return CliRunner().invoke(main, [str(arg) for arg in args])


def refused(result: Result, reason: str, exit_code: int) -> str:
    lines = result.stderr.splitlines()
    assert result.exit_code == exit_code, result.output
    assert lines[0].startswith("Error: ") and lines[0].endswith(f"[{reason}]")
    return lines[0]


MID = (128, 128, 128, 128)


def test_a_log_with_scores_is_decided_again_to_the_last_event(bundle: Path) -> None:
    rng = np.random.default_rng(5)
    levels = [
        None if rng.random() < 0.05 else int(rng.choice([30, 80, 100, 128, 150, 200])) for _ in range(400)
    ]
    records = watched(bundle, levels)
    with open_bundle(bundle) as opened:
        labels = opened.manifest.labels
    for label in labels:
        found = hear(records, "hall", label.name, NOON_NS, lambda _: labels)
        assert found.stretch is not None and found.stretch.missing == 0
        told = found.stretch.heard(label)
        mine = [one.end_ns for one in records if isinstance(one, EventRecord) and one.label == label.name]
        if label.background:
            assert mine == []
            continue
        events = told.track.on_periods(told.label.policy).events()
        assert told.track.end_ns[events].tolist() == mine
        assert label.name != "mid" or len(mine) > 5


def test_an_event_that_was_given_and_one_that_was_not(bundle: Path, device: Any) -> None:
    config = device(*watched(bundle, (30, 30, *MID, *[30] * 12, 128, 30, 30)))
    result = why(config, "--bundle", bundle, "--within", 0.4)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].endswith("0.4 s around: given") and lines[0].startswith("mid, 2026-10-28 12:00:00")
    assert "there was an event at 12:00:00.4" in lines[1]
    missed = why(
        config, "--bundle", bundle, "--within", 0.2, at="2026-10-28T12:00:01.900"
    ).output.splitlines()
    assert missed[0].endswith(": threshold")
    assert "smoothed 0." in missed[1] and "on is 0.60" in missed[1]
    assert missed[2].startswith("smallest change: on 0.") and "instead of 0.6: an event at " in missed[2]


def test_the_answer_for_programs_has_the_numbers(bundle: Path, device: Any) -> None:
    config = device(*watched(bundle, (30, 30, 128, 30, 30, 30)))
    data = json.loads(why(config, "--bundle", bundle, "--json").stdout)
    assert data["cause"] == "threshold" and data["stream"] == "hall"
    assert data["wall_offset_ns"] == NOON_NS and data["windows_missing"] == 0
    assert data["facts"]["on"] == 0.6 and data["facts"]["short"] == pytest.approx(
        0.6 - data["facts"]["score"]
    )
    assert data["policy"] == msgspec.to_builtins(POLICY)
    for change in data["changes"]:
        assert change["event_ns"] <= 1_000 * MS


def test_an_override_of_the_device_is_named_when_it_decided(bundle: Path, device: Any) -> None:
    levels = (30, 30, *MID, 30, 30)
    config = device(*watched(bundle, levels, thresholds={"mid": {"on": 1.0}}))
    result = why(config, "--bundle", bundle)
    assert "this device's override decided it" in result.output
    assert json.loads(why(config, "--bundle", bundle, "--json").stdout)["override_decided"] is True


def test_a_gap_and_a_time_at_which_nothing_was_decided(bundle: Path, device: Any) -> None:
    config = device(*watched(bundle, (30, 30, 30, *[None] * 30, 30, 30)))
    told = why(config, "--bundle", bundle, "--within", 0.1, at="2026-10-28T12:00:01.500").output
    assert "nobody watched: a gap from 12:00:01." in told and "stall" in told
    away = why(config, "--bundle", bundle, at="2026-10-28T13:00:00").output
    assert "the stream was not decided there" in away


def test_the_policies_come_from_the_store_when_the_bundle_is_there(
    bundle: Path, device: Any, tmp_path: Path
) -> None:
    config = device(*watched(bundle, (30, 30, 128, 30)))
    line = refused(why(config, "--root", tmp_path / "empty"), "TARGET_UNKNOWN", 2)
    assert "its policies are not known" in line
    with open_bundle(bundle) as opened:
        folder = tmp_path / "store" / "bundles" / opened.id
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_bytes(opened.manifest_bytes)
    assert why(config, "--root", tmp_path / "store").exit_code == 0


def test_a_log_that_begins_in_the_middle_says_how_much_is_missing(bundle: Path, device: Any) -> None:
    records = watched(bundle, (30,) * 20)
    config = device(*records[8:12], *records[14:])
    result = why(config, "--bundle", bundle, at="2026-10-28T12:00:01")
    assert result.exit_code == 0 and "9 windows before or between these are not in the log" in result.stderr


def test_wrong_questions_are_one_line(bundle: Path, device: Any) -> None:
    records = watched(bundle, (30, 30, 128, 30))
    config = device(*records)
    result = why(config, "--bundle", bundle, label="med")
    assert result.exit_code == 2 and "did you mean mid" in result.stderr
    assert "did you mean hall" in why(config, "--bundle", bundle, "--stream", "hal").stderr
    assert "is no time" in why(config, "--bundle", bundle, at="noon").stderr
    assert "needs --root, --bundle or both" in why(config).stderr
    config = device(*records, *watched(bundle, (30, 30), name="door"))
    assert "2 streams have scores" in refused(why(config, "--bundle", bundle), "TARGET_UNKNOWN", 2)
    assert why(config, "--bundle", bundle, "--stream", "door").exit_code == 0
    config = device(*(one for one in records if one.kind != "scores"))
    assert "the log holds no scores" in refused(why(config, "--bundle", bundle), "DATA_BAD", 1)


def test_options_before_the_command_are_refused_and_not_forgotten(bundle: Path, device: Any) -> None:
    config = device(*watched(bundle, (30, 30)))
    result = CliRunner().invoke(
        main, ["events", "--config", str(config), "why", "--label", "mid", "--at", "2h"]
    )
    assert result.exit_code == 2 and "--config belongs behind why" in result.stderr
