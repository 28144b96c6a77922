"""A small run of what ``make fuzz`` does at length, and proof that it would see what it looks for."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from campaigns import fuzz_bundles
from galago_edge.bundle import TrustedKeys, archive, reader, signature

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fuzz() -> Any:
    return fuzz_bundles


@pytest.fixture
def device(fuzz: Any, tmp_path: Path) -> Any:
    return fuzz.Device(tmp_path)


def test_no_mutant_is_taken_and_none_leaves_a_trace(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    options = ["--mutants", "150", "--models", "2", "--jobs", "1", "--skip-every-byte", "--out", str(out)]
    program = [sys.executable, "-m", "campaigns.fuzz_bundles", *options]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=600, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(out.read_text())
    assert figures["failures"] == [] and figures["mutants"] == 2 * 150 + 2 + 15
    codes = {row["outcome"] for row in figures["outcomes"]}
    assert {"SIG_BAD", "ARCHIVE_BAD", "MANIFEST_BAD", "TRUNCATED", "FILE_EXTRA", "MODEL_BAD"} <= codes


def test_every_bit_of_a_part_of_the_bytes_counts(fuzz: Any, device: Any) -> None:
    fuzz.every_byte(device, 3, 60)
    assert not device.tally.failures
    told = {kind for kind, _ in device.tally.outcomes}
    assert told == {
        "every bit: manifest",
        "every bit: signature file",
        "every bit: other bytes",
        "cut at every byte",
    }
    manifest = {reason for kind, reason in device.tally.outcomes if kind == "every bit: manifest"}
    assert manifest == {"SIG_BAD"}, "the manifest is not looked at before its signature"


def test_each_thing_that_a_signer_may_get_wrong_has_its_code(fuzz: Any, device: Any) -> None:
    """Signed and well formed, so nothing but the check that it is about refuses it."""
    outcomes = set()
    for number, meaning in enumerate(fuzz.mutants.MEANINGS):
        tree = json.loads(device.seed.bundle.manifest_bytes)
        meaning(tree)
        device.give("signed, meaning", device.seed.signed(json.dumps(tree).encode()), f"{number}")
    outcomes = {reason for _, reason in device.tally.outcomes}
    assert not device.tally.failures
    assert outcomes == {
        "ARCH",
        "CHANNEL_MISMATCH",
        "COUNTER_JUMP",
        "DOWNGRADE",
        "LABELS_MISMATCH",
        "MANIFEST_BAD",
        "NO_SPACE",
        "OP_UNSUPPORTED",
        "PREPROCESS_MISMATCH",
        "PROFILE_MISMATCH",
        "REPLAY",
        "RUNTIME_OLD",
        "TENSOR_MISMATCH",
        "TOO_BIG",
    }


def test_the_same_number_gives_the_same_mutant(fuzz: Any, device: Any) -> None:
    for name, make in fuzz.KINDS.items():
        mutants = [fuzz.different(device, make, random.Random(f"7:{name}")) for _ in range(2)]
        assert mutants[0] == mutants[1] != device.seed.data, name


# A campaign that could not fail would prove nothing.


def failures(fuzz: Any, device: Any) -> list[str]:
    fuzz.seeded(device, 1, range(5 * len(fuzz.KINDS)))
    return list(device.tally.failures)


@pytest.mark.parametrize("blind", ["signature", "hash", "header", "end"])
def test_a_device_that_stopped_checking_is_noticed(
    fuzz: Any, device: Any, monkeypatch: pytest.MonkeyPatch, blind: str
) -> None:
    if blind == "signature":
        monkeypatch.setattr(signature, "is_valid", lambda *_: True)
        monkeypatch.setattr(TrustedKeys, "require", lambda *_: None)
    elif blind == "hash":
        monkeypatch.setattr(reader, "_compare", lambda *_: None)
    elif blind == "header":
        monkeypatch.setattr(archive, "header", lambda name, size: Anything())
    else:
        monkeypatch.setattr(archive.ArchiveReader, "finish", lambda _: None)
    monkeypatch.setattr("galago_edge.intake.receiver.install_bundle", took_it)
    assert any("was taken" in failure for failure in failures(fuzz, device))


class Anything(bytes):
    """Equal to every header."""

    def __ne__(self, other: object) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = bytes.__hash__


def took_it(store: Any, bundle: Any, *args: Any, **options: Any) -> Any:
    from galago_edge.store.installation import Installation

    return Installation("installed", store.root)


def test_a_traceback_is_noticed(fuzz: Any, device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "receive", lambda *_: [][0])
    assert all("IndexError" in failure for failure in failures(fuzz, device))
    assert {reason for _, reason in device.tally.outcomes} == {"TRACEBACK"}


def test_a_scratch_is_noticed(fuzz: Any, device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = fuzz.receive

    def careless(path: Path, root: Path) -> Any:
        (root / "bundles" / "half").mkdir(exist_ok=True)
        return real(path, root)

    monkeypatch.setattr(fuzz, "receive", careless)
    assert all("changed the store" in failure for failure in failures(fuzz, device))


def test_a_hang_is_noticed(fuzz: Any, device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "HANG_S", 1)

    def endless(path: Path, root: Path) -> Any:
        while True:
            try:
                sum(range(10_000))
            except Exception:  # noqa: BLE001 - a hang inside somebody's broad except
                continue

    monkeypatch.setattr(fuzz, "receive", endless)
    device.give("cut", b"", "x")
    assert "took more than 1 s" in device.tally.failures[0]


def test_a_process_that_dies_is_a_failure(fuzz: Any, tmp_path: Path) -> None:
    tally = fuzz.run([(die, ())], 1, tmp_path)
    assert len(tally.failures) == 1 and "status -9" in tally.failures[0]


def die(device: Any) -> None:
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)
