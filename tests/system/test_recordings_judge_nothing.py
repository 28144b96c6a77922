"""Standard input while a bundle is on trial: a recording judges nothing, a recorder does."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from galago_edge.bundle import open_bundle
from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.contract.records import Record, StateRecord, decode_record
from galago_edge.store import Store, install_bundle
from galago_edge.store.state import Slot
from real_parts import wait_for
from test_kit import accepted_here, make_bundle, trust, with_model

RATE_HZ = 16_000
TRIAL_S = 1
LOADS = 3
GALAGO = (sys.executable, "-m", "galago_edge")
POLICY = LabelPolicy(on=0.6, off=0.4, smoothing_windows=2, min_count=2, refractory_ms=500)


@pytest.fixture
def root(tmp_path: Path, tiny_audio_model: bytes) -> Path:
    """A device with version 1 committed and version 2 on trial, which a second of live sound would end."""
    root = trust(tmp_path / "root")
    labels = [
        Label(name=name, background=name == "quiet", policy=POLICY) for name in ("quiet", "low", "high")
    ]
    health = {"trial_s": TRIAL_S, "max_trials": LOADS, "live__min_inferences": 5}
    for version in (1, 2):
        plain = make_bundle(
            tmp_path / "plain.galago",
            tiny_audio_model,
            labels,
            modality="microphone",
            name="tones",
            version=f"{version}.0.0",
            release_counter=version,
        )
        path = tmp_path / f"tones-{version}.galago"
        with_model(
            plain, tiny_audio_model, path, **{f"health__{key}": value for key, value in health.items()}
        )
        install_bundle(Store(root), open_bundle(path), Store(root).trusted(), accepted_here)
    assert slot(root).trial is not None
    return root


def slot(root: Path) -> Slot:
    return Store(root).state().slots["tones"]


def sound(seconds: int) -> bytes:
    """Noise that is loud and soft by turns, second by second."""
    loudness = np.repeat(np.where(np.arange(seconds) % 2, 6_000, 600), RATE_HZ)
    return (np.random.default_rng(3).standard_normal(seconds * RATE_HZ) * loudness).astype("<i2").tobytes()


def command(root: Path, options: str = "") -> list[str]:
    return [*GALAGO, "run", "--root", str(root), "--stream", f"hall=pipe:-?rate={RATE_HZ}{options}"]


def history(root: Path) -> list[str]:
    """Return what ``galago history`` says was done, the newest first."""
    done = subprocess.run([*GALAGO, "history", "--root", root], capture_output=True, text=True, check=True)
    return [line.split()[2] for line in done.stdout.splitlines()]


def states(out: bytes) -> list[tuple[str, str]]:
    found: list[Record] = [decode_record(line) for line in out.splitlines()]
    return [(record.subject, record.state) for record in found if isinstance(record, StateRecord)]


def windows(out: bytes) -> int:
    last = decode_record(out.splitlines()[-1])
    assert isinstance(last, StateRecord) and last.state == "ended"
    return int(last.detail["windows"])


@pytest.mark.parametrize("options", ["", "&live=yes", "&live=no"])
def test_a_file_that_is_redirected_leaves_the_trial_as_it_was(
    options: str, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "night.raw").write_bytes(sound(60))
    before, done_before = slot(root), history(root)
    with (tmp_path / "night.raw").open("rb") as file:
        done = subprocess.run(command(root, options), stdin=file, capture_output=True, check=True)
    assert windows(done.stdout) > 100
    assert slot(root) == before
    assert history(root) == done_before and "commit" not in done_before[0]


def test_a_pipe_of_which_is_said_that_it_is_not_live_leaves_the_trial_as_it_was(root: Path) -> None:
    before, done_before = slot(root), history(root)
    done = subprocess.run(command(root, "&live=no"), input=sound(60), capture_output=True, check=True)
    assert windows(done.stdout) > 100
    assert slot(root) == before and history(root) == done_before


def test_a_recording_that_is_piped_runs_ahead_of_the_clock_and_leaves_the_trial_as_it_was(
    root: Path, tmp_path: Path
) -> None:
    """Long enough that deciding on it takes longer than the trial."""
    (tmp_path / "week.raw").write_bytes(sound(120) * 10)
    before, done_before = slot(root), history(root)
    with subprocess.Popen(["cat", tmp_path / "week.raw"], stdout=subprocess.PIPE) as cat:
        done = subprocess.run(command(root), stdin=cat.stdout, capture_output=True, check=True)
    assert cat.returncode == 0
    assert states(done.stdout).count(("source", "ahead")) == 1
    assert ("bundle", "committed") not in states(done.stdout)
    assert slot(root) == before  # the load was given back when the recording had ended
    assert history(root) == done_before


def test_a_recorder_at_the_other_end_of_the_pipe_ends_the_trial(root: Path) -> None:
    """Sound as time goes by, until the bundle is committed. What nobody takes in time is lost, never late."""
    data, ended = sound(20), threading.Event()
    block = RATE_HZ // 10 * 2
    with subprocess.Popen(command(root), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        pipe = process.stdin

        def record() -> None:
            number = 0
            while not ended.wait(0.1):
                pipe.write(data[number * block % len(data) :][:block])
                pipe.flush()
                number += 1
            pipe.close()

        recorder = threading.Thread(target=record)
        recorder.start()
        try:
            wait_for(lambda: slot(root).trial is None, "the commit")
        finally:
            ended.set()
            recorder.join()
            out = process.stdout.read()
    assert process.returncode == 0
    assert ("source", "ahead") not in states(out)
    assert history(root)[0] == "commit"
