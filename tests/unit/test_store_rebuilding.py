"""A store of which no copy of the record is whole comes back by itself, and its floors with it."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from galago_edge.bundle import Bundle, TrustedKeys, open_bundle, write_bundle
from galago_edge.contract.errors import DeviceError, LinkError, Reason
from galago_edge.contract.wishes import Wishes
from galago_edge.store import (
    BootChoice,
    Store,
    begin_boot,
    collect,
    install_bundle,
    restore_record,
    scrub,
)
from galago_edge.store.filesystem import StoreFs
from galago_edge.store.state import Slot
from galago_edge.store.transitions import commit, rollback
from test_kit import OTHER_KEY, TEST_KEY, changed, hollow_manifest, trust

COPIES = ("state.a", "state.b")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return trust(tmp_path / "device")


def pack(root: Path, counter: int, **fields: Any) -> Bundle:
    """Return bundle number so and so, whose commit raises the floor to it."""
    manifest, files = hollow_manifest(
        model=b"model %d" % counter, version=f"{counter}.0.0", release_counter=counter
    )
    manifest = changed(manifest, rollback__min_release_counter_after_commit=counter, **fields)
    return write_bundle(root.parent / f"{counter}.galago", manifest, files, [TEST_KEY])


def install(root: Path, bundle: Bundle, fs: StoreFs | None = None, **options: Any) -> str:
    store = Store(root, fs)
    return install_bundle(store, bundle, store.trusted(), lambda _: {}, Wishes(**options)).phase


def boot(root: Path, fs: StoreFs | None = None, **options: Any) -> dict[str, BootChoice]:
    store = Store(root, fs)
    return begin_boot(store, store.trusted(), **options)


def slot(root: Path) -> Slot:
    return Store(root).state().slots["tiny"]


def spoil(root: Path, *names: str, data: bytes = b"torn") -> None:
    for name in names or COPIES:
        (root / name).unlink()
        (root / name).write_bytes(data + name.encode())


def rot(root: Path, bundle: Bundle) -> None:
    path = root / "bundles" / bundle.id / "model.tflite"
    path.unlink()
    path.write_bytes(b"model ?")


def remains(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.glob("state.?.bad-*")}


def test_a_start_makes_a_new_record_and_the_newest_bundle_proves_itself_again(root: Path) -> None:
    bundles = [pack(root, counter) for counter in (1, 2, 3)]
    for bundle in bundles:
        install(root, bundle, commit=True)
    install(root, pack(root, 4), trial_loads=50)
    spoil(root)
    choice = boot(root)["tiny"]
    assert choice.part == "active" and choice.bundle is not None and choice.trial is not None
    assert choice.bundle.manifest.bundle.version == "4.0.0"
    now = slot(root)
    assert now.trial is not None and now.trial.left == 2 and now.trial.boots == 1
    assert now.previous is not None and now.previous.id == bundles[2].id
    assert now.trial.before is not None and now.trial.before.id == bundles[1].id
    commit(Store(root), "tiny")
    assert slot(root).floor == 4 and {copy.health for copy in Store(root).copies()} == {"ok"}


def test_the_floor_is_what_the_bundles_on_the_disk_prove(root: Path) -> None:
    install(root, pack(root, 1), commit=True)
    install(root, pack(root, 2), commit=True)
    rot(root, pack(root, 2))  # its model; what its signed manifest says still holds
    spoil(root)
    boot(root)
    now = slot(root)
    assert (now.active.version, now.floor) == ("1.0.0", 2)
    with pytest.raises(DeviceError) as caught:
        install(root, pack(root, 1, bundle__description="other"), allow_downgrade=True)
    assert caught.value.reason == Reason.DOWNGRADE
    assert install(root, pack(root, 2)) == "on trial"


def test_a_trial_that_fails_again_ends_on_the_bundle_before(root: Path) -> None:
    install(root, pack(root, 1), commit=True)
    install(root, pack(root, 2))
    rollback(Store(root), "tiny", reason="deaf")
    spoil(root)
    boot(root)
    assert slot(root).active.version == "2.0.0"  # that it had failed is forgotten, so it is asked again
    rollback(Store(root), "tiny", reason="deaf again")
    assert slot(root).active.version == "1.0.0"


def test_what_was_left_of_the_record_is_kept_and_the_history_says_what_happened(root: Path) -> None:
    install(root, pack(root, 1))
    spoil(root)
    scrub(Store(root), Store(root).trusted())
    digests = {name: hashlib.sha256(b"torn" + name.encode()).hexdigest()[:16] for name in COPIES}
    assert remains(root) == {f"{name}.bad-{digests[name]}": b"torn" + name.encode() for name in COPIES}
    events = Store(root).state().history
    assert [(event.action, event.name) for event in events[:2]] == [("rebuild", None), ("rebuild", "tiny")]
    assert events[0].reason == "STATE_BAD: state.a and state.b could not be read"
    assert "floor at least 1" in events[1].reason


def test_a_record_that_is_lost_over_and_over_does_not_fill_the_disk(root: Path) -> None:
    install(root, pack(root, 1))
    for number in range(12):
        spoil(root, data=b"%d" % number)
        scrub(Store(root), Store(root).trusted())
    assert len(remains(root)) == 8
    assert slot(root).active.version == "1.0.0"


def test_an_install_makes_a_new_record_first_and_is_held_to_its_floor(root: Path) -> None:
    install(root, pack(root, 1), commit=True)
    install(root, pack(root, 5), commit=True)
    spoil(root)
    with pytest.raises(DeviceError) as caught:
        install(root, pack(root, 4), allow_downgrade=True)
    assert caught.value.reason == Reason.DOWNGRADE and "the floor is 5" in str(caught.value)
    assert install(root, pack(root, 6)) == "on trial"
    now = slot(root)
    assert now.active.version == "6.0.0" and now.floor == 5
    assert now.previous is not None and now.previous.version == "1.0.0"  # proven: 5 was on trial again


def test_a_single_bundle_is_committed_for_there_is_nothing_to_go_back_to(root: Path) -> None:
    install(root, pack(root, 1))
    spoil(root)
    choice = boot(root)["tiny"]
    assert choice.part == "active" and choice.trial is None and slot(root).trial is None


def test_beside_a_factory_bundle_a_single_one_is_on_trial(root: Path) -> None:
    install(root, pack(root, 2))
    (root / "factory").mkdir()
    shutil.copy(pack(root, 1).path, root / "factory" / "tiny.galago")
    spoil(root)
    assert boot(root)["tiny"].trial is not None


def test_the_factory_s_bundle_proves_a_floor_too(root: Path) -> None:
    install(root, pack(root, 2))
    (root / "factory").mkdir()
    shutil.copy(pack(root, 5).path, root / "factory" / "tiny.galago")
    spoil(root)
    boot(root)
    assert slot(root).floor == 5


def test_with_nothing_whole_the_factory_s_runs_and_the_damaged_one_can_be_repaired(root: Path) -> None:
    install(root, pack(root, 2))
    rot(root, pack(root, 2))
    spoil(root)
    assert boot(root)["tiny"].part == "none"
    (root / "factory").mkdir()
    shutil.copy(pack(root, 1).path, root / "factory" / "tiny.galago")
    assert boot(root)["tiny"].part == "factory"
    assert slot(root).floor == 2
    assert install(root, pack(root, 2)) == "committed"
    assert boot(root)["tiny"].part == "active"


def test_whom_the_device_trusts_decides_what_runs_and_not_what_the_floor_is(root: Path) -> None:
    install(root, pack(root, 1), commit=True)
    install(root, pack(root, 2), commit=True)
    spoil(root)
    store = Store(root)
    choice = begin_boot(store, TrustedKeys({}))["tiny"]
    assert choice.part == "none" and choice.faults[0].reason == Reason.KEY_UNKNOWN
    assert slot(root).floor == 2


def test_a_folder_under_another_bundle_s_name_proves_nothing(root: Path) -> None:
    install(root, pack(root, 1))
    shutil.copytree(root / "bundles" / pack(root, 1).id, root / "bundles" / ("0" * 64))
    (root / "bundles" / "file").write_bytes(b"")
    spoil(root)
    boot(root)
    assert slot(root).previous is None and slot(root).trial is None


def test_a_device_without_any_bundle_gets_an_empty_record(root: Path) -> None:
    install(root, pack(root, 1))
    shutil.rmtree(root / "bundles")
    spoil(root)
    assert boot(root) == {}
    assert Store(root).state().slots == {}
    assert install(root, pack(root, 1)) == "committed"


@pytest.mark.parametrize("gone", COPIES)
def test_one_copy_gone_and_the_other_damaged_is_the_same(root: Path, gone: str) -> None:
    install(root, pack(root, 1))
    spoil(root)
    (root / gone).unlink()
    assert boot(root)["tiny"].part == "active"
    assert {copy.health for copy in Store(root).copies()} == {"ok"} and len(remains(root)) == 1


def test_a_record_of_a_later_version_is_not_replaced_but_something_runs(root: Path) -> None:
    install(root, pack(root, 1), commit=True)
    body = b'{"schema":"galago.state/2"}'
    later = body + b"\n" + hashlib.sha256(body).hexdigest().encode() + b"\n"
    for name in COPIES:
        (root / name).unlink()
        (root / name).write_bytes(later)
    choice = boot(root)["tiny"]
    assert choice.part == "active" and choice.faults[0].reason == Reason.STATE_BAD
    with pytest.raises(DeviceError, match=r"state\.a is foreign") as caught:
        install(root, pack(root, 2))
    assert "another version" in caught.value.hint
    assert [(root / name).read_bytes() for name in COPIES] == [later, later]


def test_where_no_record_can_be_written_the_one_before_runs(root: Path) -> None:
    install(root, pack(root, 1), commit=True)
    install(root, pack(root, 2), commit=True)
    spoil(root)

    class ReadOnly(StoreFs):
        def create(self, path: Path) -> int:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    choice = boot(root, ReadOnly())["tiny"]  # a load of the newest could not be counted
    assert choice.part == "previous" and choice.faults[0].reason == Reason.STATE_BAD
    assert boot(root)["tiny"].part == "active"


def test_while_somebody_changes_the_store_the_one_before_runs(root: Path) -> None:
    install(root, pack(root, 1), commit=True)
    install(root, pack(root, 2), commit=True)
    spoil(root)
    fd = StoreFs().lock(root / "lock")
    try:
        choice = boot(root, wait_s=0.0)["tiny"]
    finally:
        os.close(fd)
    assert choice.part == "previous" and choice.faults[0].reason == Reason.LOCKED


class Unreadable(StoreFs):
    """Answers the first ``times`` readings of these files with an error."""

    def __init__(self, error: int, times: int, *names: str) -> None:
        self._error = error
        self._left = dict.fromkeys(names, times)

    def read(self, path: Path, limit: int) -> bytes | None:
        if self._left.get(path.name, 0):
            self._left[path.name] -= 1
            raise OSError(self._error, os.strerror(self._error))
        return super().read(path, limit)


def test_a_record_that_the_disk_gives_at_the_second_reading_is_not_lost(root: Path) -> None:
    install(root, pack(root, 1), commit=True)
    install(root, pack(root, 2), commit=True)
    boot(root, Unreadable(errno.EIO, 1, *COPIES))
    assert slot(root).trial is None and remains(root) == {}


def test_a_disk_that_gives_no_copy_at_all_is_not_believed_and_what_lies_there_runs(root: Path) -> None:
    """Two bad sectors are rarer than a card that does not answer for a moment."""
    for counter in (1, 2):
        install(root, pack(root, counter), commit=True)
    before = {path.name: path.read_bytes() for path in (root / name for name in COPIES)}
    with pytest.raises(LinkError) as caught:
        install(root, pack(root, 3), Unreadable(errno.EIO, 99, *COPIES))
    assert caught.value.reason is Reason.IO
    # which of the two was committed is unknown: what would be on trial is passed over
    assert boot(root, Unreadable(errno.EIO, 99, *COPIES))["tiny"].part == "previous"
    assert {name: (root / name).read_bytes() for name in COPIES} == before
    install(root, pack(root, 3))
    assert slot(root).active.version == "3.0.0"


def test_one_copy_that_the_disk_has_lost_beside_one_that_rotted_is_a_lost_record(root: Path) -> None:
    install(root, pack(root, 1))
    (root / "state.a").write_bytes(b"rot")
    install(root, pack(root, 2), Unreadable(errno.EIO, 2, "state.b"), commit=True)
    assert slot(root).active.version == "2.0.0" and set(remains(root)) != set()


def test_a_manifest_that_cannot_be_opened_now_is_no_reason_to_forget_its_floor(root: Path) -> None:
    install(root, pack(root, 1))
    spoil(root)
    with pytest.raises(LinkError):
        install(root, pack(root, 2), Unreadable(errno.EMFILE, 9, "manifest.json"))
    assert remains(root) == {} and Store(root).lost()
    assert boot(root)["tiny"].part == "active"


def test_a_manifest_that_the_disk_gives_at_the_second_reading_counts(root: Path) -> None:
    install(root, pack(root, 1), commit=True)
    install(root, pack(root, 2), commit=True)
    spoil(root)
    boot(root, Unreadable(errno.EIO, 1, "manifest.json", "manifest.sig"))
    assert (slot(root).active.version, slot(root).floor) == ("2.0.0", 2)


def test_who_needs_the_record_before_any_change_may_have_it_made(root: Path) -> None:
    install(root, pack(root, 1))
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert restore_record(Store(root)) is False
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    spoil(root)
    assert restore_record(Store(root)) is True
    assert slot(root).active.version == "1.0.0"


def test_what_nobody_asked_to_be_changed_by_guess_is_refused(root: Path) -> None:
    install(root, pack(root, 1))
    spoil(root)
    store = Store(root)
    for change in (
        lambda: rollback(store, "tiny", reason="?"),
        lambda: commit(store, "tiny"),
        lambda: collect(store),
    ):
        with pytest.raises(DeviceError) as caught:
            change()
        assert caught.value.reason == Reason.STATE_BAD and "galago scrub" in caught.value.hint
    assert open_bundle(store.folder(pack(root, 1).id), store.trusted())


def test_a_new_bundle_by_another_trusted_key_comes_in_by_an_install_alone(root: Path) -> None:
    install(root, pack(root, 1))
    spoil(root)
    for path in (root / "trust").iterdir():
        path.unlink()
    trust(root, OTHER_KEY)
    manifest, files = hollow_manifest(model=b"new", version="2.0.0", release_counter=2)
    bundle = write_bundle(root.parent / "new.galago", manifest, files, [OTHER_KEY])
    assert install(root, bundle) == "committed"
    assert slot(root).active.id == bundle.id and slot(root).floor == 1
