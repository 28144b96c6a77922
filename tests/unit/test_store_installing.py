"""Installing: what ends up on the disk, in which order, and what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from galago_edge.bundle import Bundle, TrustedKeys, open_bundle
from galago_edge.bundle.keys import key_id
from galago_edge.contract.errors import BundleError, BusyError, DeviceError, LinkError, Reason
from galago_edge.contract.wishes import Wishes
from galago_edge.store import Installation, Store, install_bundle
from galago_edge.store.filesystem import Free, StoreFs
from galago_edge.store.state import decode_state, encode_state, with_active
from galago_edge.store.trust_folder import trust_key
from test_kit import OTHER_KEY, TEST_KEY, changed, hollow_manifest, make_hollow_bundle, trust


def accept(bundle: Bundle) -> Mapping[str, Any]:
    return {"golden": "all answered"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return trust(tmp_path / "device")


def pack(root: Path, counter: int, **info: Any) -> Bundle:
    path = root.parent / f"{counter}-{len(list(root.parent.iterdir()))}.galago"
    info = {"version": f"{counter}.0.0"} | info
    make_hollow_bundle(path, model=b"model %d" % counter, release_counter=counter, **info)
    return open_bundle(path)


def install(
    root: Path,
    bundle: Bundle,
    fs: StoreFs | None = None,
    *,
    overrides: Sequence[str] = (),
    **options: Any,
) -> Installation:
    store = Store(root, fs)
    return install_bundle(store, bundle, store.trusted(), accept, Wishes(**options), overrides=overrides)


def refusal(root: Path, bundle: Bundle, **options: Any) -> tuple[Reason, str]:
    before = snapshot(root)
    with pytest.raises((DeviceError, BundleError)) as caught:
        install(root, bundle, **options)
    assert snapshot(root) == before
    assert caught.value.hint
    return caught.value.reason, str(caught.value)


def snapshot(root: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(root.rglob("*"))
        if path.name not in ("lock", "bundles", "incoming")
    }


def active(root: Path) -> Bundle:
    return Store(root).active("tiny")


def test_an_installed_bundle_is_the_active_one_and_whole(root: Path) -> None:
    bundle = pack(root, 1)
    assert install(root, bundle) == Installation("installed", root / "bundles" / bundle.id)
    assert active(root).id == bundle.id
    assert active(root).read("model.tflite") == b"model 1"
    assert list((root / "incoming").iterdir()) == []
    assert {copy.health for copy in Store(root).copies()} == {"ok"}


def test_what_lies_in_the_store_cannot_be_written_and_tells_what_accepted_it(root: Path) -> None:
    bundle = pack(root, 1)
    folder = install(root, bundle).folder
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) == len(bundle.manifest.files) + 3
    assert {path.stat().st_mode & 0o222 for path in files} == {0}
    noted = json.loads((folder / "accepted.json").read_text())
    assert noted["id"] == bundle.id and noted["golden"] == "all answered"


def test_both_copies_of_the_record_are_the_same_afterwards(root: Path) -> None:
    for counter in (1, 2, 3):
        install(root, pack(root, counter), commit=True)
        assert (root / "state.a").read_bytes() == (root / "state.b").read_bytes()
    slot = Store(root).state().slots["tiny"]
    assert slot.previous is not None
    assert (slot.active.version, slot.previous.version) == ("3.0.0", "2.0.0")


def test_a_camera_and_a_microphone_bundle_live_side_by_side(root: Path) -> None:
    install(root, pack(root, 5, name="eyes"))
    install(root, pack(root, 2, name="ears"))
    assert {name: slot.active.version for name, slot in Store(root).state().slots.items()} == {
        "eyes": "5.0.0",
        "ears": "2.0.0",
    }


def test_the_same_bundle_again_is_fine_and_changes_nothing(root: Path) -> None:
    install(root, pack(root, 1))
    before = snapshot(root)
    assert install(root, pack(root, 1)).outcome == "already installed"
    assert snapshot(root) == before


def test_an_older_release_is_refused_with_both_counters(root: Path) -> None:
    install(root, pack(root, 7))
    reason, text = refusal(root, pack(root, 6))
    assert reason == Reason.DOWNGRADE and "6" in text and "7" in text


def test_another_bundle_with_the_same_counter_is_refused(root: Path) -> None:
    install(root, pack(root, 7))
    reason, text = refusal(root, pack(root, 7, description="not the same"))
    assert reason == Reason.REPLAY and "7" in text


def test_the_counter_counts_for_each_name_alone(root: Path) -> None:
    install(root, pack(root, 7, name="eyes"))
    assert install(root, pack(root, 1, name="ears")).outcome == "installed"


def test_a_bundle_raises_the_floor(root: Path) -> None:
    from galago_edge.bundle import write_bundle

    manifest, files = hollow_manifest(release_counter=5)
    manifest = changed(manifest, rollback__min_release_counter_after_commit=4)
    install(root, write_bundle(root.parent / "x.galago", manifest, files, [TEST_KEY]))
    assert Store(root).state().slots["tiny"].floor == 4
    install(root, pack(root, 6), commit=True)
    assert Store(root).state().slots["tiny"].floor == 4


def test_on_a_new_device_the_factory_s_bundle_is_the_release_to_beat(root: Path) -> None:
    (root / "factory").mkdir()
    (root / "factory" / "tiny.galago").write_bytes(pack(root, 5).path.read_bytes())
    with pytest.raises(DeviceError) as caught:
        install(root, pack(root, 4))
    assert caught.value.reason == Reason.DOWNGRADE and "5.0.0 with 5 is active" in str(caught.value)
    install(root, pack(root, 4), allow_downgrade=True)
    assert Store(root).state().history[-1].reason == "allow-downgrade"


def test_a_factory_s_bundle_that_cannot_run_does_not_stand_in_the_way(root: Path) -> None:
    (root / "factory").mkdir()
    (root / "factory" / "tiny.galago").write_bytes(pack(root, 5).path.read_bytes()[:-1000])
    install(root, pack(root, 4))


def test_an_older_release_is_taken_when_that_is_meant_and_the_record_says_so(root: Path) -> None:
    install(root, pack(root, 7))
    assert install(root, pack(root, 6), allow_downgrade=True).phase == "on trial"
    state = Store(root).state()
    assert state.slots["tiny"].active.version == "6.0.0"
    assert (state.history[-1].action, state.history[-1].reason) == ("override", "allow-downgrade")


def overridden(root: Path) -> list[tuple[str, str]]:
    """Return version and word of every override that the record tells of."""
    return [(e.version or "", e.reason) for e in Store(root).state().history if e.action == "override"]


def test_what_the_caller_had_to_override_is_written_with_the_install_itself(root: Path) -> None:
    install(root, pack(root, 7))
    options = {"allow_downgrade": True, "overrides": ["ignore-compatible"]}
    install(root, pack(root, 6), **options)
    assert overridden(root) == [("6.0.0", "ignore-compatible"), ("6.0.0", "allow-downgrade")]
    before = snapshot(root)
    assert install(root, pack(root, 6), **options).outcome == "already installed"
    assert snapshot(root) == before  # nothing was done, so nothing was overridden


def test_a_repair_that_needed_an_override_says_so(root: Path) -> None:
    install(root, pack(root, 1))  # it was compatible then
    path = root / "bundles" / active(root).id / "model.tflite"
    path.chmod(0o644)
    path.write_bytes(b"rotten!")
    assert install(root, pack(root, 1), overrides=["ignore-compatible"]).outcome == "repaired"
    assert overridden(root) == [("1.0.0", "ignore-compatible")]


def test_no_override_goes_below_the_floor(root: Path) -> None:
    from galago_edge.bundle import write_bundle

    manifest, files = hollow_manifest(release_counter=5)
    manifest = changed(manifest, rollback__min_release_counter_after_commit=4)
    install(root, write_bundle(root.parent / "x.galago", manifest, files, [TEST_KEY]))
    reason, text = refusal(root, pack(root, 3), allow_downgrade=True)
    assert reason == Reason.DOWNGRADE and "floor is 4" in text
    assert install(root, pack(root, 4), allow_downgrade=True).outcome == "installed"


def test_a_release_counter_that_would_leave_no_room_above_it_is_refused(root: Path) -> None:
    install(root, pack(root, 1))
    reason, text = refusal(root, pack(root, 2**53 - 1, version="2.0.0"))
    assert reason == Reason.COUNTER_JUMP and str(2**53 - 1) in text
    assert install(root, pack(root, 20_261_122, version="2.0.0")).outcome == "installed"


def test_the_floor_holds_even_where_the_active_bundle_is_below_it(root: Path) -> None:
    """As after a return to an older bundle."""
    install(root, pack(root, 5))
    state = Store(root).state()
    slot = changed(state.slots["tiny"], floor=7)
    for name in ("state.a", "state.b"):
        (root / name).unlink()
        (root / name).write_bytes(encode_state(changed(state, slots={"tiny": slot})))
    reason, text = refusal(root, pack(root, 6))
    assert reason == Reason.DOWNGRADE and "floor is 7" in text
    assert install(root, pack(root, 7)).outcome == "installed"


def test_a_stranger_s_bundle_is_refused_by_the_store_too(root: Path) -> None:
    bundle = pack(root, 1, keys=[OTHER_KEY])
    assert refusal(root, bundle)[0] == Reason.KEY_UNKNOWN


def test_a_bundle_that_is_not_accepted_leaves_nothing(root: Path) -> None:
    install(root, pack(root, 1))
    before = snapshot(root)

    def never(bundle: Bundle) -> Mapping[str, Any]:
        assert bundle.path.parent == root / "incoming"  # judged where it lies, before it counts
        raise BundleError(Reason.GOLDEN_FAIL, "no")

    with pytest.raises(BundleError):
        install_bundle(Store(root), pack(root, 2), Store(root).trusted(), never)
    assert snapshot(root) == before


def test_a_damaged_active_bundle_is_repaired_by_installing_it_again(root: Path) -> None:
    install(root, pack(root, 1))
    folder = install(root, pack(root, 2)).folder
    (folder / "model.tflite").unlink()
    (folder / "model.tflite").write_bytes(b"model 3")
    with pytest.raises(BundleError):
        active(root)
    assert install(root, pack(root, 2)).outcome == "repaired"
    assert active(root).read("model.tflite") == b"model 2"
    slot = Store(root).state().slots["tiny"]
    assert slot.previous is not None and slot.previous.version == "1.0.0"


def test_a_folder_under_another_bundle_s_name_is_not_believed(root: Path) -> None:
    one, two = (install(root, pack(root, counter)).folder for counter in (1, 2))
    two.rename(root / "two")
    one.rename(two)
    with pytest.raises(BundleError) as caught:
        active(root)
    assert caught.value.reason == Reason.FILE_HASH


def test_a_second_copy_that_rotted_is_renewed_by_the_next_command(root: Path) -> None:
    install(root, pack(root, 1))
    (root / "state.b").unlink()
    (root / "state.b").write_bytes(b"rot")
    assert active(root)
    install(root, pack(root, 1))
    assert (root / "state.a").read_bytes() == (root / "state.b").read_bytes()


def test_what_a_broken_attempt_left_is_removed_and_does_not_block(root: Path) -> None:
    install(root, pack(root, 1))
    rest = root / "incoming" / "new-0123"
    (rest / "golden").mkdir(parents=True)
    (rest / "golden" / "0.png").write_bytes(b"half")
    (root / "incoming" / "link").symlink_to(root)
    (root / "state.a.tmp-1").write_bytes(b"half")
    assert len(Store(root).leftovers()) == 3
    install(root, pack(root, 2))
    assert Store(root).leftovers() == []
    assert (root / "trust").is_dir()  # what a link among them pointed at


def test_a_whole_folder_that_never_became_active_is_used(root: Path) -> None:
    """A power cut between the bundle's rename and the record's."""
    bundle = pack(root, 1)
    install(root, bundle)
    for name in ("state.a", "state.b"):
        (root / name).unlink()
    made = (root / "bundles" / bundle.id / "model.tflite").stat().st_ino
    judged = []
    store = Store(root)
    done = install_bundle(store, bundle, store.trusted(), lambda copy: judged.append(copy.path) or {})
    assert (done.outcome, judged) == ("installed", [done.folder])
    assert (root / "bundles" / bundle.id / "model.tflite").stat().st_ino == made


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_whatever_the_umask_nobody_else_may_write_into_the_store(tmp_path: Path, umask: int) -> None:
    root = tmp_path / "device"
    old = os.umask(umask)
    try:
        trust_key(Store(root), key_id(TEST_KEY), "test")
        install(root, pack(root, 1))
    finally:
        os.umask(old)
    modes = {path: path.stat().st_mode & 0o777 for path in (root, *root.rglob("*"))}
    assert [path for path, mode in modes.items() if mode & 0o022] == []
    assert {mode for path, mode in modes.items() if path.is_file() and root / "bundles" in path.parents} == {
        0o444
    }


def test_a_link_that_somebody_planted_is_removed_and_not_followed(root: Path, tmp_path: Path) -> None:
    (outside := tmp_path / "outside").mkdir()
    (outside / "precious").write_bytes(b"precious")
    (root / "incoming").mkdir()
    (root / "incoming" / "new-0123").symlink_to(outside)
    (root / "bundles").mkdir()
    (root / "bundles" / ("f" * 64)).symlink_to(outside)
    (root / "bundles" / "gone").symlink_to(tmp_path / "nowhere")
    bundle = pack(root, 1)
    install(root, bundle)
    assert [path.name for path in (root / "bundles").iterdir()] == [bundle.id]
    assert list((root / "incoming").iterdir()) == []
    assert (outside / "precious").read_bytes() == b"precious"


def test_two_at_once_are_refused_and_the_lock_ends_with_its_holder(root: Path) -> None:
    install(root, pack(root, 1))
    fd = StoreFs().lock(root / "lock")
    with pytest.raises(BusyError) as caught:
        install(root, pack(root, 2))
    assert caught.value.exit_code == 5 and caught.value.reason == Reason.LOCKED
    os.close(fd)
    assert install(root, pack(root, 2)).outcome == "installed"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for others")
def test_what_root_installs_can_still_be_changed_by_the_service_s_user(root: Path) -> None:
    os.chown(root, 65_534, 65_534)
    install(root, pack(root, 1))
    paths = [root / "lock", root / "bundles", root / "incoming", *(root / "bundles").iterdir()]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in paths} == {(65_534, 65_534)}


class Small(StoreFs):
    def __init__(self, free: Free) -> None:
        self._free = free

    def free(self, path: Path) -> Free:
        return self._free


@pytest.mark.parametrize("free", [Free(1 << 20, None), Free(1 << 30, 3)], ids=["bytes", "files"])
def test_no_room_is_seen_before_anything_is_written(root: Path, free: Free) -> None:
    install(root, pack(root, 1))
    before = snapshot(root)
    with pytest.raises(LinkError) as caught:
        install(root, pack(root, 2), Small(free))
    assert (caught.value.reason, caught.value.exit_code) == (Reason.NO_SPACE, 3)
    assert snapshot(root) == before


def test_a_bundle_may_ask_for_more_room_than_its_size(root: Path) -> None:
    from galago_edge.bundle import write_bundle

    manifest, files = hollow_manifest()
    path = root.parent / "x.galago"
    greedy = changed(manifest, resources__min_free_disk_bytes=1 << 30)
    with pytest.raises(LinkError):
        install(root, write_bundle(path, greedy, files, [TEST_KEY]), Small(Free(1 << 29, None)))
    install(root, write_bundle(path, manifest, files, [TEST_KEY]), Small(Free(1 << 29, None)))


class Recorder(StoreFs):
    """Writes down each effect as (call, path relative to the store's root)."""

    def __init__(self, root: Path) -> None:
        self.log: list[tuple[str, str]] = []
        self._root = root
        self._paths: dict[int, Path] = {}

    def _note(self, call: str, path: Path) -> None:
        parts = Path(os.path.relpath(path, self._root)).parts
        named = [
            part.partition("-")[0] if part.startswith("new-") else part.partition(".tmp")[0] for part in parts
        ]
        self.log.append((call, "/".join(named)))

    def create(self, path: Path) -> int:
        fd = super().create(path)
        self._paths[fd] = path
        self._note("create", path)
        return fd

    def fsync(self, fd: int) -> None:
        super().fsync(fd)
        self._note("fsync", self._paths[fd])

    def fsync_dir(self, path: Path) -> None:
        super().fsync_dir(path)
        self._note("fsync_dir", path)

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        self._note("rename", target)


def test_everything_is_on_the_disk_before_the_step_that_relies_on_it(root: Path) -> None:
    bundle = pack(root, 1)
    fs = Recorder(root)
    install(root, bundle, fs)
    at = {entry: place for place, entry in enumerate(fs.log)}  # the last time it happened
    moved = at[("rename", f"bundles/{bundle.id}")]
    for name in ("manifest.json", "manifest.sig", "model.tflite", "golden/0.png", "accepted.json"):
        assert at[("create", f"incoming/new/{name}")] < at[("fsync", f"incoming/new/{name}")] < moved
    for folder in ("incoming/new/golden", "incoming/new"):
        assert at[("fsync_dir", folder)] < moved
    assert at[("create", "incoming/new/accepted.json")] < at[("fsync_dir", "incoming/new")]
    first = fs.log.index(("rename", "state.a"))
    assert moved < at[("fsync_dir", "bundles")] < fs.log.index(("create", "state.a"))
    assert moved < at[("fsync_dir", "incoming")] < first
    assert fs.log[first - 1 : first + 2] == [("fsync", "state.a"), ("rename", "state.a"), ("fsync_dir", "")]
    assert fs.log[first + 2 :] == [
        ("create", "state.b"),
        ("fsync", "state.b"),
        ("rename", "state.b"),
        ("fsync_dir", ""),
    ]


def test_the_newer_copy_is_never_the_first_to_be_replaced(root: Path) -> None:
    """A cut while it is written would leave only the older one."""
    install(root, pack(root, 1))
    state = Store(root).state()
    newer = with_active(state, "tiny", state.slots["tiny"].active)
    (root / "state.a").chmod(0o644)
    (root / "state.a").write_bytes(encode_state(newer))
    fs = Recorder(root)
    install(root, pack(root, 2), fs)
    assert next(path for call, path in fs.log if call == "rename" and path.startswith("state")) == "state.b"
    assert decode_state((root / "state.a").read_bytes()) == Store(root).state()


def test_no_trust_at_all_is_not_trust_in_everybody(root: Path) -> None:
    with pytest.raises(BundleError) as caught:
        install_bundle(Store(root), pack(root, 1), TrustedKeys({}), accept)
    assert caught.value.reason == Reason.KEY_UNKNOWN
