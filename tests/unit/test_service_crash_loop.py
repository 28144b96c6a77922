"""A committed bundle that takes the service down at every start is passed over for a while."""

from __future__ import annotations

import errno
import itertools
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from galago_edge.bundle import Bundle, open_bundle
from galago_edge.contract.errors import DeviceError, Reason
from galago_edge.service import crash_loop
from galago_edge.service.crash_loop import ENDS, FILE, HOLD_S, count_load, forget_loads
from galago_edge.service.handover import Alive, now
from galago_edge.store import Store, install_bundle
from galago_edge.store.filesystem import StoreFs
from galago_edge.store.transitions import commit
from real_parts import wait_for
from test_kit import make_hollow_bundle, trust

NUMBERS = itertools.count()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(trust(tmp_path / "device"))


def install(store: Store, version: int, *, on_trial: bool = False) -> Bundle:
    path = store.root.with_name(f"{version}.galago")
    bundle = open_bundle(
        make_hollow_bundle(path, name="eyes", version=f"{version}.0.0", release_counter=version)
    )
    install_bundle(store, bundle, store.trusted(), lambda copy: {})
    if version > 1 and not on_trial:
        commit(store, "eyes")
    return bundle


def crash(store: Store, bundle: Bundle, times: int) -> None:
    """Let so many processes load it and end without a word."""
    for _ in range(times):
        count_load(store, bundle, process=f"process {next(NUMBERS)}")


def is_passed_over(store: Store, bundle: Bundle, process: str) -> bool:
    try:
        count_load(store, bundle, process=process)
    except DeviceError as failure:
        assert failure.reason == Reason.LOAD_CRASH and str(bundle) in str(failure)
        return True
    return False


def test_after_several_processes_that_ended_soon_it_is_passed_over_by_every_start(store: Store) -> None:
    old, new = install(store, 1), install(store, 2)
    crash(store, new, ENDS)
    for start in ("a", "b", "c"):
        assert is_passed_over(store, new, start)
        assert not is_passed_over(store, old, start)
    assert Store(store.root).state().slots["eyes"].active.id == new.id


def test_fewer_are_no_crash_loop(store: Store) -> None:
    install(store, 1)
    new = install(store, 2)
    crash(store, new, ENDS - 1)
    assert not is_passed_over(store, new, "next")


def test_a_process_that_ends_in_order_or_lives_long_enough_forgets_what_was(store: Store) -> None:
    install(store, 1)
    new = install(store, 2)
    for _ in range(3):
        crash(store, new, ENDS - 1)
        count_load(store, new, process="stopped")
        forget_loads(store, "stopped")
        assert not (store.root / FILE).exists()


def test_living_long_enough_needs_nobody_to_say_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crash_loop, "SOON_S", 0.05)
    count_load(store, install(store, 1), process="lives")
    wait_for(lambda: not (store.root / FILE).exists(), "the end of the count")


@pytest.mark.parametrize(("end", "counted"), [("", False), ("; os._exit(1)", True)], ids=["in order", "not"])
def test_how_a_process_ends_decides(store: Store, end: str, counted: bool) -> None:
    bundle = install(store, 1)
    script = (
        "import os, sys; from pathlib import Path; from galago_edge.store import Store; "
        "from galago_edge.service.crash_loop import count_load; "
        f"store = Store(Path(sys.argv[1])); count_load(store, store.open(sys.argv[2])){end}"
    )
    subprocess.run([sys.executable, "-c", script, str(store.root), bundle.id], check=False)
    assert (store.root / FILE).exists() is counted


def test_loading_it_again_in_one_process_counts_once(store: Store) -> None:
    install(store, 1)
    new = install(store, 2)
    for _ in range(2 * ENDS):
        count_load(store, new, process="one")
    assert not is_passed_over(store, new, "two")


def test_with_nothing_else_that_is_whole_it_is_tried_for_ever(store: Store) -> None:
    old, new = install(store, 1), install(store, 2)
    for path in (store.root / "bundles" / old.id).glob("*.tflite"):
        path.chmod(0o644)
        path.write_bytes(b"rotten")
    crash(store, new, 3 * ENDS)
    assert not is_passed_over(store, new, "next")


def test_when_the_other_one_ends_the_same_way_the_active_one_is_tried_on(store: Store) -> None:
    old, new = install(store, 1), install(store, 2)
    crash(store, new, ENDS)
    crash(store, old, ENDS)
    assert not is_passed_over(store, new, "next")


def test_what_the_device_was_delivered_with_counts_as_another_one(store: Store, tmp_path: Path) -> None:
    new = install(store, 1)
    (store.root / "factory").mkdir()
    make_hollow_bundle(store.root / "factory" / "eyes.galago", b"factory", name="eyes", version="0.1.0")
    crash(store, new, ENDS)
    assert is_passed_over(store, new, "next")


def test_a_bundle_on_trial_is_counted_by_its_trial(store: Store) -> None:
    install(store, 1)
    new = install(store, 2, on_trial=True)
    crash(store, new, 2 * ENDS)
    assert not is_passed_over(store, new, "next")


def test_an_hour_later_it_is_tried_once_and_then_passed_over_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(store, 1)
    new = install(store, 2)
    crash(store, new, ENDS)
    assert is_passed_over(store, new, "at once")

    def later() -> Alive:
        met = now()
        return msgspec.structs.replace(met, boot_ns=met.boot_ns + int(HOLD_S * 1e9) + 1)

    with monkeypatch.context() as patch:
        patch.setattr(crash_loop, "now", later)
        assert not is_passed_over(store, new, "an hour later")
        assert is_passed_over(store, new, "and it ended soon")


@pytest.mark.parametrize("content", [b"", b"no JSON", b"[]", b'{"x": {"ends": "many"}}', b"\xff"])
def test_a_damaged_count_begins_anew(store: Store, content: bytes) -> None:
    install(store, 1)
    new = install(store, 2)
    (store.root / FILE).write_bytes(content)
    crash(store, new, ENDS)
    assert is_passed_over(store, new, "next")


class FullFs(StoreFs):
    def create(self, path: Path) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_keeps_nobody_from_running(store: Store) -> None:
    install(store, 1)
    new = install(store, 2)
    full = Store(store.root, FullFs())
    crash(full, new, 2 * ENDS)
    assert not is_passed_over(full, new, "next")


def test_what_a_killed_write_left_is_no_obstacle_and_does_not_grow(store: Store) -> None:
    bundle = install(store, 1)
    (store.root / f".{FILE}.part").write_bytes(b"half")
    before = len(list(store.root.iterdir()))
    crash(store, bundle, 3)
    assert len(list(store.root.iterdir())) == before  # the half one became the file
