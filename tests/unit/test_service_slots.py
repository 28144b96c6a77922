"""Which bundle runs: the store's record, a trial's end, and a disk that refuses to note it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from galago_edge.bundle import open_bundle
from galago_edge.contract.errors import BundleError, DeviceError, GalagoError, LinkError, Reason
from galago_edge.service.live_slots import LiveSlots
from galago_edge.service.slots import RecordingSlots, Slots
from galago_edge.store import Store, install_bundle
from galago_edge.store.store_change import locked
from galago_edge.store.transitions import commit, rollback
from test_kit import make_hollow_bundle, trust

BROKEN = BundleError(Reason.MODEL_BAD, "an operator failed")


class Clock:
    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> int:
        return round(self.s * 1e9)


def install(root: Path, version: int, name: str = "levels") -> str:
    path = root.parent / f"{name}-{version}.galago"
    make_hollow_bundle(
        path, b"model %d" % version, name=name, version=f"{version}.0.0", release_counter=version
    )
    bundle = open_bundle(path)
    install_bundle(Store(root), bundle, Store(root).trusted(), lambda copy: {})
    return bundle.id


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Version 1 committed, version 2 on trial."""
    found = trust(tmp_path / "root")
    install(found, 1)
    install(found, 2)
    return found


def loaded(root: Path, clock: Clock | None = None) -> LiveSlots:
    found = LiveSlots(root, clock_ns=clock or Clock())
    found.load()
    return found


def version(slots: Slots) -> str:
    return slots.bundle("levels").manifest.bundle.version


def states(slots: Slots) -> list[str]:
    return [record.state for record in slots.news()]


def fail(slots: Slots) -> None:
    slots.fail(slots.bundle("levels"), BROKEN)


def test_what_is_on_trial_has_a_judge_and_what_is_committed_has_none(root: Path) -> None:
    slots = loaded(root)
    assert version(slots) == "2.0.0" and slots.judge("door", slots.bundle("levels")) is not None
    assert [trial.state for trial in slots.status()] == ["waiting"]
    commit(Store(root), "levels")
    slots.refresh()
    assert slots.judge("door", slots.bundle("levels")) is None and slots.status() == ()


def test_a_failure_is_rolled_back_and_the_old_bundle_is_watched(root: Path) -> None:
    slots = loaded(root)
    fail(slots)
    (trial,) = slots.due()
    assert slots.settle(trial)
    assert version(slots) == "1.0.0"
    assert states(slots) == ["trial", "rolled_back"]
    judge = slots.judge("door", slots.bundle("levels"))
    assert judge is not None
    assert slots.status() == ()  # it is watched, not on trial
    judge.failed(BROKEN)
    (after,) = slots.due()
    assert not slots.settle(after)
    assert states(slots) == ["unhealthy"] and slots.due() == []
    assert Store(root).state().slots["levels"].active.version == "1.0.0"
    assert any("no better" in problem for problem in slots.problems())


def test_a_health_that_was_found_is_committed_once(root: Path) -> None:
    slots = loaded(root)
    judge = slots.judge("door", slots.bundle("levels"))
    assert judge is not None
    judge.passed = True
    (trial,) = slots.due()
    assert not slots.settle(trial)
    assert states(slots) == ["trial", "committed"] and slots.due() == []
    assert Store(root).state().slots["levels"].trial is None


@pytest.mark.parametrize("verdict", ["passed", "failed"])
def test_a_verdict_that_cannot_be_recorded_is_tried_again_and_a_bad_bundle_is_left_at_once(
    root: Path, verdict: str
) -> None:
    clock = Clock()
    slots = loaded(root, clock)
    judge = slots.judge("door", slots.bundle("levels"))
    assert judge is not None
    if verdict == "passed":
        judge.passed = True
    else:
        judge.failed(BROKEN)
    with locked(Store(root)):  # an install is running
        (trial,) = slots.due()
        assert slots.settle(trial) is (verdict == "failed")
        assert version(slots) == ("1.0.0" if verdict == "failed" else "2.0.0")
        assert slots.due() == []  # not at every tick
        slots.refresh()
        assert version(slots) == ("1.0.0" if verdict == "failed" else "2.0.0")
        assert any("[LOCKED]" in problem for problem in slots.problems())
        clock.s += 11
        assert slots.due() == [trial]
        assert not slots.settle(trial)
    clock.s += 11
    assert slots.due() == [trial]
    slots.settle(trial)
    slot = Store(root).state().slots["levels"]
    assert slot.trial is None
    assert slot.active.version == ("1.0.0" if verdict == "failed" else "2.0.0")
    assert not any("[LOCKED]" in problem for problem in slots.problems())


@pytest.mark.parametrize(
    "change", [commit, lambda store, name: rollback(store, name, reason="by hand"), None]
)
def test_a_verdict_on_what_somebody_else_has_replaced_changes_nothing(
    root: Path, change: Callable[[Store, str], object] | None
) -> None:
    slots = loaded(root)
    fail(slots)
    (trial,) = slots.due()
    if change is None:
        install(root, 3)
    else:
        change(Store(root), "levels")
    before = Store(root).state().slots["levels"]
    slots.settle(trial)
    assert Store(root).state().slots["levels"] == before


def test_a_trial_is_counted_when_it_is_loaded_and_not_by_every_signal(root: Path) -> None:
    slots = loaded(root)
    trial = Store(root).state().slots["levels"].trial
    assert trial is not None and trial.boots == 1
    for _ in range(3):
        slots.refresh()
    assert Store(root).state().slots["levels"].trial == trial
    install(root, 3)
    slots.refresh()
    trial = Store(root).state().slots["levels"].trial
    assert trial is not None and trial.boots == 1 and version(slots) == "3.0.0"


def test_what_cannot_be_loaded_at_all_is_said_with_its_reason(root: Path) -> None:
    for path in (root / "bundles").rglob("*.tflite"):
        path.chmod(0o644)
        path.write_bytes(b"rotten")
    slots = loaded(root)
    assert slots.names() == []
    with pytest.raises(GalagoError):
        slots.bundle("levels")
    assert states(slots) == ["no_bundle"]


@pytest.mark.parametrize("kind", ["live", "recordings"])
def test_a_name_that_is_mistyped_is_told_with_those_that_are_installed(root: Path, kind: str) -> None:
    """Also though the service loads nothing but what its streams name."""
    install(root, 1, "alarms")
    slots = LiveSlots(root, used=["level"], clock_ns=Clock()) if kind == "live" else RecordingSlots(root)
    slots.load()
    with pytest.raises(DeviceError) as caught:
        slots.bundle("level")
    assert caught.value.reason is Reason.NO_BUNDLE
    assert str(caught.value) == (
        f"{root} has no bundle named level, it has alarms, levels; did you mean levels?"
    )


def test_a_record_that_is_lost_is_made_anew_and_the_newest_bundle_runs_on_trial(root: Path) -> None:
    for name in ("state.a", "state.b"):
        (root / name).chmod(0o644)
        (root / name).write_bytes(b"rotten")
    slots = loaded(root)
    assert version(slots) == "2.0.0" and states(slots) == ["trial"]
    assert [trial.version for trial in slots.status()] == ["2.0.0"]
    assert slots.missing().reason is not Reason.STATE_BAD


def test_a_record_of_another_version_is_the_reason_and_its_repair_is_followed(root: Path) -> None:
    copies = {name: (root / name).read_bytes() for name in ("state.a", "state.b")}
    bundles = (root / "bundles").rename(root / "aside")
    later = b'{"schema": "galago.state/2"}'
    for name in copies:
        (root / name).chmod(0o644)
        (root / name).write_bytes(later + b"\n" + hashlib.sha256(later).hexdigest().encode() + b"\n")
    slots = loaded(root)
    assert slots.names() == []
    assert slots.missing().reason is Reason.STATE_BAD
    with pytest.raises(DeviceError, match="unknown"):
        slots.bundle("levels")
    (root / "bundles").rmdir()
    bundles.rename(root / "bundles")
    for name, data in copies.items():
        (root / name).write_bytes(data)
    slots.refresh()
    assert version(slots) == "2.0.0"


def test_a_key_that_cannot_be_read_lets_nothing_be_loaded_and_is_no_fault_of_the_caller(root: Path) -> None:
    (root / "trust" / "bad.pub").write_text("nonsense")
    slots = loaded(root)
    with pytest.raises(DeviceError) as caught:
        slots.bundle("levels")
    assert caught.value.reason is Reason.KEY_BAD
    (root / "trust" / "bad.pub").unlink()
    slots.refresh()
    assert version(slots) == "2.0.0"


def test_a_committed_bundle_that_cannot_be_run_gives_way_to_the_next_whole_one(root: Path) -> None:
    commit(Store(root), "levels")
    factory = root / "factory"
    factory.mkdir()
    make_hollow_bundle(factory / "levels.galago", b"another", name="levels", version="0.9.0")
    record = Store(root).state()
    slots = loaded(root)
    crash = BundleError(Reason.LOAD_CRASH, "the process that loaded it was ended by signal 11")
    assert slots.reject(slots.bundle("levels"), LinkError(Reason.IO, "no process")) is None
    for expected in ("1.0.0", "0.9.0"):
        found = slots.reject(slots.bundle("levels"), crash)
        assert found is not None and found.manifest.bundle.version == expected == version(slots)
    assert slots.reject(slots.bundle("levels"), crash) is None
    assert any("LOAD_CRASH" in problem for problem in slots.problems())
    assert Store(root).state() == record
    slots.refresh()
    assert version(slots) == "2.0.0"  # asked for by somebody: tried again


def test_on_recordings_nothing_is_counted_judged_or_written(root: Path) -> None:
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    slots = RecordingSlots(root)
    slots.load()
    slots.refresh()
    assert slots.names() == ["levels"] and version(slots) == "2.0.0"
    assert slots.judge("door", slots.bundle("levels")) is None
    assert slots.reject(slots.bundle("levels"), BROKEN) is None
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_a_bundle_that_hangs_is_recorded_before_the_process_ends(root: Path) -> None:
    slots = loaded(root)
    slots.leave_now(DeviceError(Reason.HUNG, "one window has taken 10 s"), lambda trial: False)
    assert Store(root).state().slots["levels"].active.version == "2.0.0"
    slots.leave_now(DeviceError(Reason.HUNG, "one window has taken 10 s"), lambda trial: True)
    state = Store(root).state()
    assert state.slots["levels"].active.version == "1.0.0"
    assert state.history[-1].reason.startswith("HUNG")


def test_live_and_on_recordings_are_asked_the_same() -> None:
    def asked(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert asked(LiveSlots) == asked(RecordingSlots) == asked(Slots)


def test_every_name_has_a_trial_of_its_own(root: Path) -> None:
    for number in (1, 2):
        install(root, number, "other")
    slots = loaded(root)
    fail(slots)
    (trial,) = slots.due()
    assert trial.name == "levels" and slots.settle(trial)
    assert version(slots) == "1.0.0" and slots.bundle("other").manifest.bundle.version == "2.0.0"
    assert [(trial.name, trial.state) for trial in slots.status()] == [("other", "waiting")]
    assert slots.due() == []
    judge = slots.judge("door", slots.bundle("other"))
    assert judge is not None
    judge.passed = True
    (trial,) = slots.due()
    assert trial.name == "other" and not slots.settle(trial)
    assert states(slots) == ["trial", "trial", "rolled_back", "committed"]


def test_what_is_found_of_a_bundle_that_came_back_says_nothing_of_the_one_installed_since(root: Path) -> None:
    slots = loaded(root)
    fail(slots)
    (trial,) = slots.due()
    slots.settle(trial)
    judge = slots.judge("door", slots.bundle("levels"))
    assert judge is not None
    judge.failed(BROKEN)
    (after,) = slots.due()
    install(root, 3)
    slots.refresh()
    assert not slots.settle(after)  # too late: another one runs
    assert version(slots) == "3.0.0" and not any("no better" in line for line in slots.problems())
    fail(slots)
    (trial,) = slots.due()
    assert trial.version == "3.0.0" and slots.settle(trial)
    assert version(slots) == "1.0.0"


@pytest.mark.parametrize("how", ["hung", "by hand", "crashed"])
def test_the_bundle_that_came_back_is_watched_at_the_next_start_too_until_another_is_installed(
    root: Path, how: str
) -> None:
    slots = loaded(root)
    if how == "hung":
        slots.leave_now(DeviceError(Reason.HUNG, "one window has taken 10 s"), lambda trial: True)
    elif how == "by hand":
        rollback(Store(root), "levels", reason="seen by a person")
    slots.close()
    for _ in range(3 if how == "crashed" else 1):
        slots = loaded(root)
    assert version(slots) == "1.0.0"
    judge = slots.judge("door", slots.bundle("levels"))
    assert judge is not None and slots.status() == ()  # watched, not on trial
    judge.passed = True
    (after,) = slots.due()
    assert not slots.settle(after)
    assert states(slots)[-1] == "healthy" and slots.due() == []
    install(root, 3)
    commit(Store(root), "levels")
    slots = loaded(root)
    assert version(slots) == "3.0.0" and slots.judge("door", slots.bundle("levels")) is None


def test_a_rollback_by_hand_beside_the_service_has_the_old_bundle_watched(root: Path) -> None:
    slots = loaded(root)
    rollback(Store(root), "levels", reason="seen by a person")
    slots.refresh()
    judge = slots.judge("door", slots.bundle("levels"))
    assert version(slots) == "1.0.0" and judge is not None
    judge.failed(BROKEN)
    (after,) = slots.due()
    assert not slots.settle(after)
    assert any("no better" in problem for problem in slots.problems())


def test_with_nothing_to_go_back_to_the_bundle_stays_and_that_is_a_problem(root: Path) -> None:
    slots = loaded(root)
    store = Store(root)
    previous = store.state().slots["levels"].previous
    assert previous is not None
    for path in store.folder(previous.id).rglob("*.tflite"):
        path.chmod(0o644)
        path.write_bytes(b"rotten")
    fail(slots)
    (trial,) = slots.due()
    assert not slots.settle(trial)
    assert version(slots) == "2.0.0"
    assert any("NO_FALLBACK" in problem for problem in slots.problems())


def test_a_stop_in_order_gives_the_load_of_an_open_trial_back(root: Path) -> None:
    before = Store(root).state()
    for _ in range(10):  # ten nights in the dark; the manifest allows three loads
        slots = loaded(root)
        assert version(slots) == "2.0.0" and slots.judge("door", slots.bundle("levels")) is not None
        slots.stopped()
        slots.close()
    after = Store(root).state()
    assert after.slots == before.slots and after.history == before.history


@pytest.mark.parametrize("how", ["failed", "crashed"])
def test_a_load_that_ended_badly_is_not_given_back(root: Path, how: str) -> None:
    slots = loaded(root)
    if how == "failed":
        fail(slots)
        slots.stopped()
    slots.close()
    trial = Store(root).state().slots["levels"].trial
    assert trial is not None and trial.boots == 1


def test_what_no_stream_runs_is_neither_loaded_nor_counted(root: Path) -> None:
    path = root.parent / "other.galago"
    for number in (1, 2):
        make_hollow_bundle(
            path, b"%d" % number, name="other", version=f"{number}.0.0", release_counter=number
        )
        install_bundle(Store(root), open_bundle(path), Store(root).trusted(), lambda copy: {})
    for _ in range(5):
        slots = LiveSlots(root, used=["levels"], clock_ns=Clock())
        slots.load()
        slots.refresh()
        assert slots.names() == ["levels"]
        slots.stopped()
        slots.close()
    other = Store(root).state().slots["other"]
    assert other.trial is not None and other.trial.boots == 0 and other.active.version == "2.0.0"


def test_after_a_rollback_at_the_start_the_old_bundle_is_watched(root: Path) -> None:
    for _ in range(3):
        loaded(root).close()
    slots = loaded(root)
    assert version(slots) == "1.0.0" and states(slots) == ["rolled_back"]
    judge = slots.judge("door", slots.bundle("levels"))
    assert judge is not None
    judge.passed = True
    (after,) = slots.due()
    assert not slots.settle(after)
    assert states(slots) == ["healthy"] and slots.status() == ()


def test_a_profile_that_cannot_be_read_is_a_problem_and_costs_no_more_than_the_accelerator(
    root: Path,
) -> None:
    slots = loaded(root)
    assert slots.profile() is None and slots.problems() == ()
    (root / "profile.toml").write_text("half a li")
    assert slots.profile() is None
    (problem,) = slots.problems()
    assert problem.startswith("without the board's profile, on the CPU alone: ") and "CONFIG_BAD" in problem
    (root / "profile.toml").unlink()
    assert slots.profile() is None and slots.problems() == ()
