"""A new bundle on trial in the running service: committed, left for the old one, counted over restarts."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from campaigns import DATA
from campaigns.trial_rig import DARK, DARKER, Device
from galago_edge.bundle import open_bundle
from galago_edge.contract.errors import DeviceError, Reason
from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.contract.records import EventRecord
from galago_edge.contract.wishes import Wishes
from galago_edge.engine import runtime
from galago_edge.host.machine import this_arch
from galago_edge.intake.receiver import receive
from galago_edge.service.crash_loop import ENDS, FILE
from galago_edge.service.limits import resident_mb
from galago_edge.store import Store, install_bundle
from galago_edge.store.transitions import commit, rollback
from real_parts import MjpegServer, SoundPipe
from real_parts.processes import DEADLINE_S
from test_kit import accepted_here, make_bundle, set_numbers
from test_kit.pictures import claimed_jpeg


@pytest.fixture
def device(tmp_path: Path, real_part: Callable[..., MjpegServer]) -> Device:
    camera = real_part(MjpegServer, size=(64, 48), fps=20).start()
    camera.levels = (DARK, DARKER)
    return Device(tmp_path, camera)


def test_a_healthy_bundle_takes_over_is_judged_and_committed(device: Device) -> None:
    with device.running():
        device.until(lambda: device.windows() > 3, "windows")
        device.install(2)
        assert device.slot().trial is not None
        device.hup()
        device.until(device.trial, "the trial")
        device.until(lambda: device.told("committed"), "the commit")
        status = device.status()
        assert status is not None and status.trials == () and status.state == "ok"
        assert device.runs() == "2.0.0"
        slot = device.slot()
    assert slot.trial is None and slot.previous is not None and slot.previous.id == device.ids["1.0.0"]
    (begun,) = device.told("trial")
    assert begun["version"] == "2.0.0" and begun["left"] == 1  # one of two loads is used up


@pytest.mark.parametrize("away", ["black", "gone", "stalled"])
def test_without_anything_to_see_a_trial_waits_and_then_goes_on(device: Device, away: str) -> None:
    with device.running():
        device.until(lambda: device.windows() > 3, "windows")
        if away == "stalled":
            device.camera.stalled = True
        else:
            device.camera.stop()
        if away == "black":
            device.camera.level, device.camera.size = 0, (64, 480)  # its bar is hardly there
            device.camera.start()
        device.install(2, trial_s=1)
        device.hup()
        device.until(device.trial, "the trial")
        if away == "black":
            device.until(lambda: device.runs() == "2.0.0", "the new bundle")
            before = device.windows()
            device.until(lambda: device.windows() > before + 60, "three seconds of black")
        trial = device.trial()
        assert trial is not None and trial.state == "waiting" and trial.inferences < 8
        assert not device.told("committed") and not device.told("rolled_back")
        device.camera.stop()
        device.camera.levels, device.camera.size, device.camera.stalled = (DARK, DARKER), (64, 48), False
        device.camera.start()
        device.until(lambda: device.told("committed"), "the commit")


def test_each_bundle_that_is_bad_in_its_own_way_is_left_without_a_restart(device: Device) -> None:
    models = {name: (DATA / f"bad_{name}.tflite").read_bytes() for name in ("loop", "deaf", "crash")}
    bad: list[tuple[str, dict[str, Any]]] = [
        ("MODEL_BAD", {}),  # version 2 fails live
        ("MODEL_BAD", {}),  # version 3 does not load
        ("TOO_SLOW", {"model": set_numbers(models["loop"], turns=40_000), "live__max_p99_ms": 1}),
        ("CONSTANT_ANSWER", {"model": models["deaf"], "trial_s": 1}),
        ("LOAD_CRASH", {"model": models["crash"], "by_card": True}),
        ("CONFIG_BAD", {"labels": "dark mid lit"}),  # the configuration names "bright"
    ]
    with device.running("fail=2 load=3"):
        device.until(lambda: device.windows() > 3, "windows")
        for version, (reason, how) in enumerate(bad, 2):
            device.install(version, **{"trial_s": 60} | how)
            device.hup()
            device.is_left(version, reason)
            if version == 2:
                device.until(lambda: device.told("healthy"), "the old bundle's health")
        device.camera.level = 225
        device.until(lambda: any(isinstance(r, EventRecord) for r in device.records()), "an event")


def test_a_bundle_that_crashes_when_it_is_loaded_is_left_at_the_start(device: Device) -> None:
    device.install(2, (DATA / "bad_crash.tflite").read_bytes(), by_card=True)
    with device.running():
        device.is_left(2, "LOAD_CRASH")


def test_a_bundle_that_hangs_live_ends_the_process_and_the_next_one_runs_the_old(device: Device) -> None:
    hangs = set_numbers((DATA / "bad_loop.tflite").read_bytes(), turns_bright=1_000_000_000)
    device.hang_s = 5.0
    with device.running():
        device.until(lambda: device.windows() > 3, "windows")
        device.install(2, hangs, trial_s=60)
        device.hup()
        device.until(lambda: device.runs() == "2.0.0", "the new bundle")
        device.camera.level = 255
        assert device.ends() == 1
    device.is_recorded(2, "HUNG")
    with device.running():
        device.until(lambda: device.runs() == "1.0.0" and device.windows() > 3, "the old bundle")


def test_a_bundle_that_takes_the_process_down_is_loaded_so_often_and_no_more(device: Device) -> None:
    device.install(2, trial_s=60)
    for left in (1, 0):
        with device.running("crash=2"):
            assert device.ends() == -signal.SIGSEGV
        trial = device.slot().trial
        assert trial is not None and trial.left == left
    with device.running("crash=2"):
        device.until(lambda: device.runs() == "1.0.0" and device.windows() > 3, "the old bundle")
        status = device.status()
        assert status is not None and any("never proved itself" in problem for problem in status.problems)
    device.is_recorded(2, "TRIAL_FAILED")


def test_a_crash_while_it_takes_over_counts_too(device: Device) -> None:
    with device.running("crash=2"):
        device.until(lambda: device.windows() > 3, "windows")
        device.install(2, trial_s=60)
        device.hup()
        assert device.ends() == -signal.SIGSEGV
    trial = device.slot().trial
    assert trial is not None and trial.left == 1


def test_a_bundle_that_eats_memory_is_left_when_the_process_ends_for_it(device: Device) -> None:
    device.memory_mb = 250
    with device.running("memory=2"):
        device.until(lambda: device.windows() > 3, "windows")
        device.install(2, trial_s=60)
        device.hup()
        assert device.ends() == 1
    device.is_recorded(2, "MEMORY_LIMIT")


def test_memory_that_a_source_takes_is_not_held_against_a_bundle(device: Device) -> None:
    device.memory_mb = 250
    device.install(2, trial_s=600)
    for _ in range(3):  # a trial has two loads
        with device.running("memory=camera"):
            assert device.ends() == 1
            assert device.process.stderr is not None
            assert b"MEMORY_LIMIT" in device.process.stderr.read()
    slot = device.slot()
    assert slot.active.id == device.ids["2.0.0"] and slot.trial is not None and slot.trial.left == 2


def test_a_picture_that_claims_too_much_costs_neither_memory_nor_the_trial_nor_the_microphone(
    device: Device, tmp_path: Path, tiny_audio_model: bytes, real_part: Callable[..., SoundPipe]
) -> None:
    pipe = real_part(SoundPipe, tmp_path / "hall").start()
    policy = LabelPolicy(on=0.6, off=0.4, smoothing_windows=2, min_count=2, refractory_ms=100)
    labels = [Label(name=name, policy=policy) for name in ("quiet", "low", "high")]
    info = {"modality": "microphone", "name": "tones"}
    path = make_bundle(tmp_path / "tones.galago", tiny_audio_model, labels, **info)
    store = Store(device.root)
    install_bundle(store, open_bundle(path), store.trusted(), accepted_here)
    device.more = f"""[[stream]]
name = "hall"
source = "pipe:{pipe.path}?rate=16000"
bundle = "tones"
"""

    def heard() -> int:
        status = device.status()
        return sum(stream.windows for stream in status.streams if stream.name == "hall") if status else 0

    def fault() -> str | None:
        status = device.status()
        return next((one.fault for one in status.sources if one.name == "cam"), None) if status else None

    with device.running():
        device.until(lambda: device.windows() > 3 and heard() > 3, "windows")
        device.install(2, trial_s=600)
        device.hup()
        device.until(device.trial, "the trial")
        before_mb = resident_mb(Path(f"/proc/{device.process.pid}"))
        device.camera.picture = claimed_jpeg(32_000, 32_000)
        device.until(lambda: "32000 x 32000" in (fault() or ""), "the fault of the camera")
        before = heard()
        device.until(lambda: heard() > before + 20, "windows of the microphone")
        assert resident_mb(Path(f"/proc/{device.process.pid}")) < before_mb + 50
        assert device.trial() is not None
        device.camera.picture = None
        seen = device.windows()
        device.until(lambda: device.windows() > seen + 3, "pictures again")
        device.process.send_signal(signal.SIGTERM)
        assert device.ends() == 0
    slot = device.slot()
    assert slot.active.id == device.ids["2.0.0"] and slot.trial is not None


def test_a_committed_bundle_that_takes_every_process_down_leaves_the_camera_to_the_one_before(
    device: Device,
) -> None:
    new = device.install(2)
    commit(Store(device.root), "levels")
    (device.root / FILE).write_text(json.dumps({new: {"ends": ENDS - 2}}))  # the others were like these two
    for _ in range(2):
        with device.running("crash=2"):
            assert device.ends() == -signal.SIGSEGV
    with device.running("crash=2"):
        device.until(lambda: device.runs() == "1.0.0" and device.windows() > 3, "the old bundle")
        status = device.status()
        assert status is not None and any("[LOAD_CRASH]" in problem for problem in status.problems)
        device.until(lambda: device.told("fallback"), "a word of it")
        slot = device.slot()
        assert slot.active.id == device.ids["2.0.0"] and not slot.bad  # it was committed, and stays so
        device.install(3)
        device.hup()
        device.until(lambda: device.runs() == "3.0.0", "a better one")


def test_a_bundle_for_other_boards_that_was_taken_all_the_same_is_judged_and_runs_after_a_restart(
    device: Device,
) -> None:
    here = runtime()
    (device.root / "profile.toml").write_text(
        f'id = "porch"\ntitle = "Porch"\narch = "{this_arch()}"\nram_mb = 2048\ncores = 1\n'
        f'[runtime]\npackage = "{here.package}"\nmin_version = "{here.version}"\n[runtime.ops]\nCONV_2D = 3\n'
    )
    path = device.make(2, None, "dark mid bright")
    with pytest.raises(DeviceError) as caught:
        receive(path, device.root)
    assert caught.value.reason == Reason.PROFILE_MISMATCH
    with device.running():
        device.until(lambda: device.windows() > 3, "windows")  # one for others that was there before, too
        receive(path, device.root, wishes=Wishes(ignore_compatible=True))
        device.hup()
        device.until(lambda: device.told("committed"), "the commit")
    with device.running():
        device.until(lambda: device.runs() == "2.0.0" and device.windows() > 3, "the same bundle")
    assert not device.told("rolled_back") and not device.told("fallback")


def test_a_rollback_by_hand_and_a_commit_by_hand_end_a_trial(device: Device) -> None:
    with device.running():
        device.until(lambda: device.windows() > 3, "windows")
        device.install(2, trial_s=600)
        device.hup()
        device.until(lambda: device.runs() == "2.0.0", "the new bundle")
        rollback(Store(device.root), "levels", reason="by hand")
        device.hup()
        device.until(lambda: device.runs() == "1.0.0" and device.trial() is None, "the old bundle")
        device.install(3, trial_s=600)
        device.hup()
        device.until(lambda: device.runs() == "3.0.0" and device.trial(), "another trial")
        commit(Store(device.root), "levels")
        device.hup()
        device.until(lambda: device.trial() is None, "the end of the trial")
        assert device.runs() == "3.0.0"


def test_a_trial_is_not_used_up_by_signals_or_by_a_second_service(device: Device) -> None:
    device.install(2, trial_s=600)
    with device.running():
        device.until(lambda: device.windows() > 3, "windows")
        trial = device.slot().trial
        for _ in range(4):
            device.hup()
        command = [sys.executable, "-m", "galago_edge", "run", "--stream", "x=camera:9"]
        command += ["--root", str(device.root)]
        second = subprocess.run(command, capture_output=True, timeout=DEADLINE_S, check=False)
        assert second.returncode == 5
        before = device.windows()
        device.until(lambda: device.windows() > before + 5, "windows")
        assert device.slot().trial == trial and trial is not None and trial.left == 1


def test_without_any_bundle_that_is_whole_the_service_stays_up_and_an_install_brings_it_back(
    device: Device,
) -> None:
    for path in (device.root / "bundles").rglob("*.tflite"):
        path.chmod(0o644)
        path.write_bytes(b"rotten")
    with device.running():
        device.until(
            lambda: (status := device.status()) and status.safe_mode and status.state == "degraded",
            "safe mode",
        )
        status = device.status()
        assert status is not None
        assert any("[FILE_HASH]" in problem or "[TRUNCATED]" in problem for problem in status.problems)
        device.install(2)
        device.hup()
        device.until(lambda: device.runs() == "2.0.0" and device.windows() > 3, "the new bundle")
        status = device.status()
        assert status is not None and not status.safe_mode
        device.process.send_signal(signal.SIGTERM)
        assert device.ends() == 0


def test_an_empty_device_waits_for_its_first_bundle(device: Device) -> None:
    for name in ("state.a", "state.b"):
        (device.root / name).unlink()
    with device.running():
        device.until(lambda: (status := device.status()) and status.safe_mode, "safe mode")
        device.install(1)
        device.hup()
        device.until(lambda: device.runs() == "1.0.0" and device.windows() > 3, "the bundle")


def test_what_the_device_was_delivered_with_runs_when_nothing_else_is_whole(device: Device) -> None:
    factory = device.root / "factory"
    factory.mkdir()
    (factory / "levels.galago").write_bytes((device.folder / "levels-1.galago").read_bytes())
    for path in (device.root / "bundles").rglob("*.tflite"):
        path.chmod(0o644)
        path.write_bytes(b"rotten")
    with device.running():
        device.until(lambda: device.windows() > 3, "windows")
        status = device.status()
        assert status is not None and any("factory" in problem for problem in status.problems)
        device.until(lambda: device.told("fallback"), "a word of it")
        assert device.told("fallback")[-1]["part"] == "factory"
