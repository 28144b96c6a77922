"""Staged, on trial, committed, rolled back: what the record says, and what a start may load."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from galago_edge.bundle import Bundle, TrustedKeys, open_bundle, write_bundle
from galago_edge.contract.errors import BundleError, CallerError, DeviceError, LinkError, Reason
from galago_edge.contract.wishes import Wishes
from galago_edge.store import (
    BootChoice,
    Installation,
    Store,
    Transition,
    activate,
    begin_boot,
    commit,
    install_bundle,
    mark_bad,
    rollback,
)
from galago_edge.store.filesystem import StoreFs
from galago_edge.store.state import Slot
from test_kit import OTHER_KEY, TEST_KEY, changed, hollow_manifest, trust


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return trust(tmp_path / "device")


def pack(root: Path, counter: int, *, floor: int = 0, **fields: Any) -> Bundle:
    manifest, files = hollow_manifest(
        model=b"model %d" % counter, version=f"{counter}.0.0", release_counter=counter
    )
    manifest = changed(manifest, rollback__min_release_counter_after_commit=floor, **fields)
    path = root.parent / f"{counter}-{len(list(root.parent.iterdir()))}.galago"
    return write_bundle(path, manifest, files, [TEST_KEY])


def install(root: Path, bundle: Bundle, **options: Any) -> Installation:
    store = Store(root)
    return install_bundle(store, bundle, store.trusted(), lambda _: {}, Wishes(**options))


def factory(root: Path, bundle: Bundle) -> Bundle:
    (root / "factory").mkdir(exist_ok=True)
    path = root / "factory" / "tiny.galago"
    shutil.copy(bundle.path, path)
    return open_bundle(path)


def slot(root: Path) -> Slot:
    return Store(root).state().slots["tiny"]


def boot(root: Path, fs: StoreFs | None = None, **options: Any) -> BootChoice:
    store = Store(root, fs)
    return begin_boot(store, store.trusted(), **options)["tiny"]


def damage(root: Path, bundle: Bundle) -> None:
    path = root / "bundles" / bundle.id / "model.tflite"
    path.unlink()
    path.write_bytes(b"model ?")


def loaded(choice: BootChoice) -> str:
    assert choice.bundle is not None
    return choice.bundle.id


def actions(root: Path) -> list[str]:
    return [event.action for event in Store(root).state().history]


@pytest.fixture
def on_trial(root: Path) -> tuple[Bundle, Bundle]:
    """Two bundles, the second on trial after the first."""
    one, two = pack(root, 1), pack(root, 2, floor=2)
    assert install(root, one).phase == "committed"
    assert install(root, two).phase == "on trial"
    return one, two


def test_the_first_bundle_is_committed_for_there_is_nothing_to_go_back_to(root: Path) -> None:
    install(root, pack(root, 1, floor=1))
    assert (slot(root).trial, slot(root).floor) == (None, 1)


def test_a_first_bundle_is_on_trial_where_the_factory_s_is_there(root: Path) -> None:
    given = factory(root, pack(root, 1))
    assert install(root, pack(root, 2)).phase == "on trial"
    assert rollback(Store(root), "tiny", reason="HUNG").now.active.id == given.id
    assert Store(root).active("tiny").id == given.id
    assert loaded(boot(root)) == given.id


def test_the_factory_s_own_bundle_needs_no_trial(root: Path) -> None:
    given = factory(root, pack(root, 1))
    assert install(root, given).phase == "committed"


def test_a_bundle_on_trial_raises_no_floor_and_its_commit_does(
    root: Path, on_trial: tuple[Bundle, Bundle]
) -> None:
    one, two = on_trial
    assert slot(root).floor == 0 and slot(root).previous is not None
    assert commit(Store(root), "tiny", bundle_id=two.id).now.trial is None
    assert slot(root).floor == 2
    assert slot(root).previous is not None and slot(root).previous.id == one.id
    before = (root / "state.a").read_bytes()
    commit(Store(root), "tiny")  # again
    assert (root / "state.a").read_bytes() == before
    assert actions(root) == ["install", "install", "commit"]


def test_a_trial_is_as_long_as_the_manifest_or_the_installer_says(root: Path) -> None:
    install(root, pack(root, 1))
    install(root, pack(root, 2, health__max_trials=5))
    assert slot(root).trial is not None and slot(root).trial.left == 5
    assert slot(root).trial.trial_s is None
    install(root, pack(root, 3), trial_loads=1, trial_s=7)
    assert (slot(root).trial.left, slot(root).trial.trial_s) == (1, 7)


def test_a_rollback_returns_to_the_old_bundle_and_the_new_one_is_not_taken_again(
    root: Path, on_trial: tuple[Bundle, Bundle]
) -> None:
    one, two = on_trial
    change = rollback(Store(root), "tiny", reason="TOO_SLOW", bundle_id=two.id)
    done = change.now
    assert change.name == "tiny" and change.before.active.id == two.id
    assert (done.active.id, done.trial, done.bad) == (one.id, None, (two.id,))
    event = Store(root).state().history[-1]
    assert (event.action, event.id, event.reason) == ("rollback", two.id, "TOO_SLOW")
    assert rollback(Store(root), "tiny", reason="again", bundle_id=two.id) == Transition("tiny", done, done)
    with pytest.raises(DeviceError) as caught:
        install(root, two)
    assert caught.value.reason == Reason.TRIAL_FAILED and "--allow-bad" in caught.value.hint
    assert install(root, two, allow_bad=True).phase == "on trial"
    assert slot(root).bad == () and actions(root)[-1] == "override"


def test_a_failed_trial_costs_nothing_of_what_was_there_before(root: Path) -> None:
    one, two, three = (pack(root, counter) for counter in (1, 2, 3))
    for bundle in (one, two):
        install(root, bundle, commit=True)
    before = slot(root)
    install(root, three)
    assert rollback(Store(root), "tiny", reason="no").now.previous is not None
    assert slot(root).active.id == before.active.id
    assert slot(root).previous == before.previous
    assert Store(root).open(one.id)  # nobody removed it meanwhile


def test_a_bundle_that_replaces_one_on_trial_goes_back_to_what_was_proven(
    root: Path, on_trial: tuple[Bundle, Bundle]
) -> None:
    one, _ = on_trial
    install(root, pack(root, 3))
    assert slot(root).previous is not None and slot(root).previous.id == one.id
    assert rollback(Store(root), "tiny", reason="no").now.active.id == one.id


def test_only_the_bundle_that_was_meant_is_committed_or_rolled_back(
    root: Path, on_trial: tuple[Bundle, Bundle]
) -> None:
    one, _ = on_trial
    for change in (
        lambda: commit(Store(root), "tiny", bundle_id=one.id),
        lambda: rollback(Store(root), "tiny", reason="no", bundle_id=one.id),
    ):
        with pytest.raises(CallerError) as caught:
            change()
        assert caught.value.reason == Reason.TARGET_UNKNOWN
    assert slot(root).trial is not None


def test_without_anything_to_go_back_to_a_rollback_is_refused(root: Path) -> None:
    install(root, pack(root, 1))
    with pytest.raises(DeviceError) as caught:
        rollback(Store(root), "tiny", reason="no")
    assert caught.value.reason == Reason.NO_FALLBACK
    with pytest.raises(DeviceError) as caught:
        rollback(Store(root), "other", reason="no")
    assert caught.value.reason == Reason.NO_BUNDLE


def test_a_committed_floor_holds_for_a_rollback_too(root: Path) -> None:
    install(root, pack(root, 1))
    install(root, pack(root, 2, floor=2), commit=True)
    with pytest.raises(DeviceError) as caught:
        rollback(Store(root), "tiny", reason="no")
    assert caught.value.reason == Reason.DOWNGRADE and "floor is 2" in str(caught.value)


def test_a_damaged_way_back_is_passed_over(root: Path, on_trial: tuple[Bundle, Bundle]) -> None:
    one, two = on_trial
    damage(root, one)
    with pytest.raises(DeviceError) as caught:
        rollback(Store(root), "tiny", reason="no")
    assert caught.value.reason == Reason.NO_FALLBACK and slot(root).active.id == two.id
    given = factory(root, pack(root, 1, bundle__description="delivered"))
    assert rollback(Store(root), "tiny", reason="no").now.active.id == given.id


def test_a_staged_bundle_waits_until_it_is_activated(root: Path) -> None:
    one, two = pack(root, 1), pack(root, 2)
    install(root, one)
    assert install(root, two, stage_only=True).phase == "staged"
    assert slot(root).active.id == one.id and slot(root).staged is not None
    assert install(root, two, stage_only=True) == Installation(
        "already installed", root / "bundles" / two.id, "staged"
    )
    done = activate(Store(root), "tiny", bundle_id=two.id).now
    assert (done.active.id, done.staged) == (two.id, None)
    assert done.trial is not None and done.trial.left == 3
    assert activate(Store(root), "tiny", bundle_id=two.id) == Transition("tiny", done, done)
    assert actions(root) == ["install", "stage", "activate"]


def test_nothing_else_than_what_is_staged_can_be_activated(root: Path) -> None:
    install(root, pack(root, 1))
    with pytest.raises(CallerError) as caught:
        activate(Store(root), "tiny")
    assert "nothing is staged" in str(caught.value)
    install(root, pack(root, 2), stage_only=True)
    with pytest.raises(CallerError):
        activate(Store(root), "tiny", bundle_id="0" * 64)
    damage(root, pack(root, 2))
    with pytest.raises(BundleError) as broken:
        activate(Store(root), "tiny")
    assert broken.value.reason == Reason.FILE_HASH and slot(root).active.version == "1.0.0"


def test_what_was_staged_is_no_way_around_a_newer_release(root: Path) -> None:
    install(root, pack(root, 1))
    install(root, pack(root, 2), stage_only=True)
    install(root, pack(root, 3), commit=True)
    with pytest.raises(DeviceError) as caught:
        activate(Store(root), "tiny")
    assert caught.value.reason == Reason.DOWNGRADE


def test_staging_alone_needs_something_that_runs_meanwhile(root: Path) -> None:
    with pytest.raises(DeviceError) as caught:
        install(root, pack(root, 2), stage_only=True)
    assert caught.value.reason == Reason.NO_BUNDLE
    given = factory(root, pack(root, 1))
    assert install(root, pack(root, 2), stage_only=True).phase == "staged"
    assert slot(root).active.id == given.id


def test_marking_as_bad_drops_a_bundle_wherever_it_is(root: Path) -> None:
    one, two, three = (pack(root, counter) for counter in (1, 2, 3))
    install(root, one)
    install(root, two, commit=True)
    install(root, three, stage_only=True)
    assert mark_bad(Store(root), "tiny", bundle_id=three.id).now.staged is None
    assert mark_bad(Store(root), "tiny", bundle_id=three.id).now.bad == (three.id,)
    assert mark_bad(Store(root), "tiny", bundle_id=two.id).now.active.id == one.id
    assert slot(root).bad == (three.id, two.id)


def test_each_start_uses_up_one_load_before_anything_is_loaded(
    root: Path, on_trial: tuple[Bundle, Bundle]
) -> None:
    one, two = on_trial
    for left in (2, 1, 0):
        choice = boot(root)
        assert loaded(choice) == two.id and choice.trial is not None and choice.trial.left == left
        assert slot(root).trial == choice.trial  # on the disk already
    choice = boot(root)
    assert (loaded(choice), choice.part, choice.trial) == (one.id, "previous", None)
    assert choice.rolled_back == choice.faults[0].reason == Reason.TRIAL_FAILED
    assert slot(root).active.id == one.id and slot(root).bad == (two.id,)
    assert (boot(root).part, boot(root).rolled_back) == ("active", "")


def test_a_committed_bundle_is_loaded_without_writing(root: Path) -> None:
    install(root, pack(root, 1))
    before = (root / "state.a").stat().st_ino
    assert boot(root).part == "active"
    assert (root / "state.a").stat().st_ino == before


def test_a_live_start_counts_for_its_own_name_only(root: Path, on_trial: tuple[Bundle, Bundle]) -> None:
    store = Store(root)
    assert begin_boot(store, store.trusted(), names=["other"]) == {}
    assert slot(root).trial is not None and slot(root).trial.left == 3
    assert list(begin_boot(store, store.trusted(), names=["tiny"])) == ["tiny"]
    assert slot(root).trial.left == 2


def test_a_trial_whose_bundle_is_damaged_is_rolled_back_and_may_be_installed_again(
    root: Path, on_trial: tuple[Bundle, Bundle]
) -> None:
    one, two = on_trial
    damage(root, two)
    choice = boot(root)
    assert loaded(choice) == one.id and choice.rolled_back == Reason.FILE_HASH
    assert slot(root).bad == ()
    assert install(root, two).outcome == "installed"


def test_a_trial_whose_bundle_cannot_be_read_now_uses_up_a_load(
    root: Path, on_trial: tuple[Bundle, Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = on_trial
    real = Store.open

    def unreadable_two(store: Store, bundle_id: str) -> Bundle:
        if bundle_id == two.id:
            raise LinkError(Reason.IO, "no")
        return real(store, bundle_id)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "open", unreadable_two)
        choice = boot(root)
    assert (loaded(choice), choice.trial, choice.rolled_back) == (one.id, None, "")
    assert slot(root).trial is not None and slot(root).trial.left == 2
    assert loaded(boot(root)) == two.id


def test_a_damaged_bundle_gives_way_to_the_one_before_then_the_factory_s_then_none(root: Path) -> None:
    one, two = pack(root, 1), pack(root, 2, floor=2)
    install(root, one, commit=True)
    install(root, two, commit=True)
    given = factory(root, pack(root, 1, bundle__description="delivered"))
    damage(root, two)
    choice = boot(root)  # below the floor: better than nothing, and nothing new comes in by it
    assert (choice.part, loaded(choice)) == ("previous", one.id)
    damage(root, one)
    choice = boot(root)
    assert (choice.part, loaded(choice)) == ("factory", given.id)
    assert [fault.reason for fault in choice.faults] == [Reason.FILE_HASH, Reason.FILE_HASH]
    (root / "factory" / "tiny.galago").write_bytes(b"")
    choice = boot(root)
    assert (choice.part, choice.bundle) == ("none", None)
    assert [fault.reason for fault in choice.faults][-1] == Reason.TRUNCATED
    assert slot(root).active.id == two.id  # what ought to run is not forgotten
    assert install(root, two).outcome == "repaired"
    assert loaded(boot(root)) == two.id


def test_what_a_start_finds_is_noted_once(root: Path) -> None:
    one, two = pack(root, 1), pack(root, 2)
    install(root, one)
    install(root, two, commit=True)
    damage(root, two)
    for _ in range(3):
        boot(root)
    assert actions(root) == ["install", "install", "boot"]
    assert Store(root).state().history[-1].reason == "FILE_HASH: previous is loaded"


@pytest.mark.parametrize("how", ["damaged", "marked as bad"])
def test_an_exhausted_trial_whose_way_back_is_gone_is_better_than_a_dark_device(
    root: Path, on_trial: tuple[Bundle, Bundle], how: str
) -> None:
    one, two = on_trial
    for _ in range(3):
        boot(root)
    if how == "damaged":
        damage(root, one)
    else:
        mark_bad(Store(root), "tiny", bundle_id=one.id)
    before = slot(root)
    for _ in range(2):
        choice = boot(root)
        assert (choice.part, loaded(choice)) == ("active", two.id)
        assert choice.trial is not None and choice.trial.left == 0
        assert [fault.reason for fault in choice.faults] == [Reason.TRIAL_FAILED]
    assert slot(root) == before
    damage(root, two)
    assert boot(root).part == "none"


def test_a_signer_who_is_trusted_no_more_is_not_loaded(root: Path) -> None:
    install(root, pack(root, 1))
    store = Store(root)
    choice = begin_boot(store, TrustedKeys({}))["tiny"]
    assert choice.part == "none" and choice.faults[0].reason == Reason.KEY_UNKNOWN
    trust(root, OTHER_KEY)
    assert boot(root).part == "active"  # two keys are trusted, one of them signed


def test_a_folder_that_is_no_store_has_nothing_to_load_and_is_not_made(tmp_path: Path) -> None:
    store = Store(tmp_path / "never")
    assert begin_boot(store, TrustedKeys({})) == {}
    assert not store.root.exists()


def refuse(error: int) -> Callable[..., Any]:
    def call(*_: Any, **__: Any) -> Any:
        raise OSError(error, os.strerror(error))

    return call


@pytest.mark.parametrize("call", ["create", "write", "fsync", "rename", "lock", "fsync_dir"])
def test_a_load_that_cannot_be_counted_is_not_made(
    root: Path, on_trial: tuple[Bundle, Bundle], call: str
) -> None:
    fs = StoreFs()
    setattr(fs, call, refuse(errno.EROFS))
    choice = boot(root, fs)
    assert (choice.part, loaded(choice)) == ("previous", on_trial[0].id)
    assert choice.faults[0].reason == Reason.READ_ONLY
    assert slot(root).active.id == on_trial[1].id
    assert loaded(boot(root)) == on_trial[1].id  # once it can be counted


def test_a_committed_bundle_runs_from_a_disk_that_cannot_be_written(root: Path) -> None:
    bundle = pack(root, 1)
    install(root, bundle)
    fs = StoreFs()
    for call in ("create", "write", "fsync", "rename", "lock", "fsync_dir", "mkdir", "unlink"):
        setattr(fs, call, refuse(errno.EROFS))
    assert loaded(boot(root, fs)) == bundle.id


def test_while_somebody_changes_the_store_a_trial_is_passed_over(
    root: Path, on_trial: tuple[Bundle, Bundle]
) -> None:
    fd = StoreFs().lock(root / "lock")
    choice = boot(root, wait_s=0.1)
    assert (choice.part, loaded(choice)) == ("previous", on_trial[0].id)
    assert choice.faults[0].reason == Reason.LOCKED
    os.close(fd)
    assert loaded(boot(root)) == on_trial[1].id
    assert slot(root).trial is not None and slot(root).trial.left == 2


def test_a_start_removes_what_broken_attempts_left(root: Path, on_trial: tuple[Bundle, Bundle]) -> None:
    (root / "incoming" / "new-1").mkdir()
    (root / "state.b.tmp-1").write_bytes(b"half")
    boot(root)
    assert Store(root).leftovers() == []


def test_a_factory_s_bundle_that_failed_is_no_way_back(root: Path) -> None:
    given = factory(root, pack(root, 1))
    install(root, pack(root, 2), commit=True)
    mark_bad(Store(root), "tiny", bundle_id=given.id)
    with pytest.raises(DeviceError) as caught:
        rollback(Store(root), "tiny", reason="no")
    assert caught.value.reason == Reason.NO_FALLBACK
    assert install(root, pack(root, 3)).phase == "on trial"  # back to 2.0.0
    damage(root, pack(root, 2))
    damage(root, pack(root, 3))
    assert boot(root).part == "none"


def unreadable(error: int, *names: str) -> StoreFs:
    class Failing(StoreFs):
        def read(self, path: Path, limit: int) -> bytes | None:
            return refuse(error)() if path.name in names else super().read(path, limit)

    return Failing()


def test_a_copy_that_the_disk_has_lost_is_renewed_from_the_other(
    root: Path, on_trial: tuple[Bundle, Bundle]
) -> None:
    choice = boot(root, unreadable(errno.EIO, "state.a"))
    assert loaded(choice) == on_trial[1].id
    assert {copy.health for copy in Store(root).copies()} == {"ok"}


def test_a_copy_that_cannot_be_opened_now_is_no_reason_to_forget_it(
    root: Path, on_trial: tuple[Bundle, Bundle]
) -> None:
    fs = unreadable(errno.EMFILE, "state.a")
    with pytest.raises(LinkError):
        commit(Store(root, fs), "tiny")
    choice = boot(root, fs)  # a device stays up all the same
    assert (choice.part, loaded(choice)) == ("previous", on_trial[0].id)
    fs = unreadable(errno.EMFILE, "state.a", "state.b")
    choice = boot(root, fs)
    assert (choice.part, loaded(choice)) == ("previous", on_trial[0].id)
    assert slot(root).trial is not None and slot(root).trial.left == 3


def test_an_exhausted_trial_goes_back_to_the_factory_s_bundle(root: Path) -> None:
    given = factory(root, pack(root, 1))
    install(root, pack(root, 2), trial_loads=1)
    boot(root)
    assert boot(root).rolled_back == Reason.TRIAL_FAILED
    assert slot(root).active.id == given.id and loaded(boot(root)) == given.id
