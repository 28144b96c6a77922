"""Garbage collection and scrub: what is needed stays, what rotted is found."""

from __future__ import annotations

import gc
import hashlib
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from galago_edge.bundle import Bundle, open_bundle
from galago_edge.contract.errors import BusyError, GalagoError, Reason
from galago_edge.contract.wishes import Wishes
from galago_edge.intake.inbox import Upload
from galago_edge.store import Store, collect, commit, install_bundle, rollback, scrub
from galago_edge.store.filesystem import StoreFs
from galago_edge.store.garbage import Removed
from test_kit import make_hollow_bundle, trust


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return trust(tmp_path / "device")


def install(root: Path, counter: int, **options: Any) -> Bundle:
    path = root.parent / f"{counter}.galago"
    make_hollow_bundle(path, model=b"model %d" % counter, version=f"{counter}.0.0", release_counter=counter)
    bundle, store = open_bundle(path), Store(root)
    install_bundle(store, bundle, store.trusted(), lambda _: {}, Wishes(**options))
    return bundle


def there(root: Path) -> set[str]:
    return {path.name for path in (root / "bundles").iterdir()}


def damage(root: Path, bundle: Bundle) -> None:
    path = root / "bundles" / bundle.id / "model.tflite"
    path.chmod(0o644)
    path.write_bytes(b"m0del 1")


def test_releases_do_not_pile_up(root: Path) -> None:
    bundles = [install(root, counter, commit=True) for counter in range(1, 8)]
    assert there(root) == {bundle.id for bundle in bundles[-3:]}  # the next install removes one more
    collect(Store(root))
    assert there(root) == {bundle.id for bundle in bundles[-2:]}


def test_a_commit_lets_go_of_what_it_replaced(root: Path) -> None:
    bundles = [install(root, counter, commit=True) for counter in (1, 2)]
    bundles.append(install(root, 3))
    collect(Store(root))
    assert there(root) == {bundle.id for bundle in bundles}  # a rollback puts the oldest back as previous
    commit(Store(root), "tiny")
    assert there(root) == {bundle.id for bundle in bundles[1:]}


def test_what_failed_is_removed_and_what_is_needed_stays(root: Path) -> None:
    one, two = install(root, 1), install(root, 2)
    rollback(Store(root), "tiny", reason="no")
    staged = install(root, 3, stage_only=True)
    removed = collect(Store(root))
    assert [gone.id for gone in removed] == [] and there(root) == {one.id, staged.id}  # by the install
    assert two.id not in there(root)
    assert Store(root).active("tiny").id == one.id


def leftover(root: Path, name: str) -> Path:
    """A folder with ten bytes that nobody needs."""
    folder = root / "bundles" / name
    (folder / "golden").mkdir(parents=True)
    (folder / "model.tflite").write_bytes(b"1234567")
    (folder / "golden" / "0.png").write_bytes(b"123")
    return folder


def test_what_was_removed_is_told_with_the_size_of_its_plain_files(root: Path) -> None:
    install(root, 1)
    (leftover(root, "a" * 64) / "link").symlink_to(root.parent / "1.galago")
    assert collect(Store(root)) == [Removed("a" * 64, 10)]
    assert (root.parent / "1.galago").exists()
    last = Store(root).state().history[-1]
    assert (last.action, last.reason) == ("gc", "1 bundles, 10 bytes")


def test_a_link_and_a_file_among_the_bundles_are_removed_as_they_are(root: Path) -> None:
    one = install(root, 1)
    (root / "bundles" / "link").symlink_to(root / "bundles" / one.id)
    (root / "bundles" / "file").write_bytes(b"12345")
    assert collect(Store(root)) == [Removed("file", 5), Removed("link", 0)]
    assert there(root) == {one.id}
    assert Store(root).active("tiny").id == one.id


def test_collecting_leaves_no_descriptor_open(root: Path) -> None:
    install(root, 1)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for letter in "abcdef":
        leftover(root, letter * 64)
    assert len(collect(Store(root))) == 6
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_what_a_runtime_holds_is_not_removed(root: Path) -> None:
    one = install(root, 1)
    hold = Store(root).hold(one.id)
    assert hold is not None
    install(root, 2, commit=True)
    install(root, 3, commit=True)
    assert collect(Store(root)) == [] and one.id in there(root)
    hold.close()
    (gone,) = collect(Store(root))
    assert gone.id == one.id and gone.size_bytes > 0
    assert Store(root).state().history[-1].action == "gc"
    assert collect(Store(root)) == []


def test_who_comes_while_a_bundle_is_removed_does_not_get_half_of_it(root: Path) -> None:
    """Between the question whether it is held and its removal there is no gap."""
    one = install(root, 1)
    for counter in (2, 3):
        install(root, counter, commit=True)
    found: list[object] = []

    def hold_and_open() -> None:
        hold = Store(root).hold(one.id)
        try:
            found.append(Store(root).open(one.id))
        except GalagoError as error:
            found.append(error.reason)
        if hold is not None:
            hold.close()

    class Slow(StoreFs):
        def rename(self, source: Path, target: Path) -> None:
            if source.name == one.id:
                comer.start()  # it has to wait: the folder is claimed
            super().rename(source, target)

    comer = threading.Thread(target=hold_and_open)
    assert [gone.id for gone in collect(Store(root, Slow()))] == [one.id]
    comer.join()
    assert found == [Reason.TRUNCATED]  # missing, as if it had come later


def test_nothing_is_taken_while_it_is_installed(root: Path) -> None:
    install(root, 1)
    path = root.parent / "2.galago"
    make_hollow_bundle(path, model=b"model 2", version="2.0.0", release_counter=2)
    store = Store(root)
    refusals: list[Reason] = []

    def accept(copy: Bundle) -> dict[str, Any]:
        with pytest.raises(BusyError) as caught:
            collect(Store(root))
        refusals.append(caught.value.reason)
        assert copy.read("model.tflite") == b"model 2"
        return {}

    install_bundle(store, open_bundle(path), store.trusted(), accept)
    assert refusals == [Reason.LOCKED] and Store(root).active("tiny").manifest.bundle.version == "2.0.0"


def test_what_is_being_received_is_not_taken(root: Path) -> None:
    install(root, 1)
    data = b"half of a bundle"
    digest = hashlib.sha256(data).hexdigest()
    with Upload.open(root, digest, len(data)) as upload:
        upload.write(data[:4])
        collect(Store(root))
        upload.write(data[4:])
        upload.finish()
    collect(Store(root))  # nor what nobody sends just now: the next attempt goes on from there
    assert upload.path.read_bytes() == data


def test_a_hold_ends_with_its_process(root: Path) -> None:
    one = install(root, 1)
    code = (
        "import sys, pathlib, galago_edge.store as s\n"
        "hold = s.Store(pathlib.Path(sys.argv[1])).hold(sys.argv[2])\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(root), one.id]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        install(root, 2, commit=True)
        install(root, 3, commit=True)
        assert collect(Store(root)) == []
        holder.kill()
    assert [gone.id for gone in collect(Store(root))] == [one.id]


def test_the_caller_may_name_more_that_is_needed(root: Path) -> None:
    one = install(root, 1)
    for counter in (2, 3):
        install(root, counter, commit=True)
    assert collect(Store(root), held=[one.id]) == [] and one.id in there(root)


def test_nothing_is_held_that_is_not_installed(root: Path) -> None:
    assert Store(root).hold("0" * 64) is None


def test_a_scrub_finds_nothing_in_a_whole_store(root: Path) -> None:
    install(root, 1)
    install(root, 2)
    before = (root / "state.a").read_bytes()
    report = scrub(Store(root), Store(root).trusted())
    assert report.healthy and report.renewed == ()
    assert [(found.part, found.version) for found in report.bundles] == [
        ("active", "2.0.0"),
        ("previous", "1.0.0"),
    ]
    assert (root / "state.a").read_bytes() == before


def test_a_scrub_says_what_rotted_and_notes_it_once(root: Path) -> None:
    one = install(root, 1)
    install(root, 2)
    damage(root, one)
    for _ in range(2):
        report = scrub(Store(root), Store(root).trusted())
        assert not report.healthy
        (found,) = [found for found in report.bundles if found.fault is not None]
        assert (found.part, found.id) == ("previous", one.id)
        assert found.fault is not None and found.fault.reason == Reason.FILE_HASH
    history = Store(root).state().history
    assert [event.reason for event in history if event.action == "scrub"] == ["previous: FILE_HASH"]


def test_a_damaged_staged_bundle_is_let_go(root: Path) -> None:
    install(root, 1)
    damage(root, install(root, 2, stage_only=True))
    assert not scrub(Store(root), Store(root).trusted()).healthy
    assert Store(root).state().slots["tiny"].staged is None
    assert scrub(Store(root), Store(root).trusted()).healthy


def test_a_scrub_renews_a_copy_of_the_record(root: Path) -> None:
    install(root, 1)
    (root / "state.b").unlink()
    assert scrub(Store(root), Store(root).trusted()).renewed == ("state.b",)
    assert (root / "state.a").read_bytes() == (root / "state.b").read_bytes()


def test_the_factory_s_bundle_is_scrubbed_too(root: Path) -> None:
    one = install(root, 1)
    (root / "factory").mkdir()
    shutil.copy(one.path, root / "factory" / "tiny.galago")
    report = scrub(Store(root), Store(root).trusted())
    assert [found.part for found in report.bundles] == ["active", "factory"] and report.healthy
    (root / "factory" / "tiny.galago").write_bytes(b"rot")
    assert not scrub(Store(root), Store(root).trusted()).healthy


def test_a_bundle_under_another_name_in_the_factory_folder_is_not_believed(root: Path) -> None:
    one = install(root, 1)
    (root / "factory").mkdir()
    shutil.copy(one.path, root / "factory" / "other.galago")
    (found,) = [found for found in scrub(Store(root), Store(root).trusted()).bundles if found.fault]
    assert found.fault is not None and found.fault.reason == Reason.MANIFEST_BAD
