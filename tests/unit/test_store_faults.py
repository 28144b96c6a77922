"""Disk faults at every single step of a change: the old bundle stays, or the new one is whole."""

from __future__ import annotations

import errno
import inspect
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from galago_edge.bundle import Bundle, open_bundle
from galago_edge.contract.errors import LinkError, Reason
from galago_edge.contract.wishes import Wishes
from galago_edge.store import (
    Installation,
    Store,
    activate,
    begin_boot,
    collect,
    commit,
    install_bundle,
    mark_bad,
    rollback,
    scrub,
)
from galago_edge.store.filesystem import StoreFs
from galago_edge.store.state import Slot
from real_parts import small_disk
from test_kit import make_hollow_bundle, trust

CALLS = [name for name, _ in inspect.getmembers(StoreFs, inspect.isfunction) if not name.startswith("_")]


def faulty(fail_at: int, error: int, *, dying: bool = False) -> tuple[StoreFs, list[str]]:
    """A file system whose call number ``fail_at`` fails; when ``dying``, all later ones too.

    It never waits for the disk: what is on it after a power cut is no matter here.
    """
    log: list[str] = []
    fs = StoreFs()

    def guard(name: str) -> Any:
        real = getattr(fs, name) if not name.startswith("fsync") else lambda _: None

        def call(*args: Any, **named: Any) -> Any:
            log.append(name)
            if len(log) == fail_at or (dying and len(log) > fail_at):
                if name == "close":
                    os.close(args[0])  # as Linux does: the descriptor is gone in any case
                raise OSError(error, os.strerror(error))
            return real(*args, **named)

        return call

    for name in CALLS:
        setattr(fs, name, guard(name))
    return fs, log


def install(root: Path, bundle: Bundle, fs: StoreFs | None = None) -> Installation:
    store = Store(root, fs)
    return install_bundle(store, bundle, store.trusted(), lambda _: {})


@pytest.fixture
def bundles(tmp_path: Path) -> list[Bundle]:
    return [
        open_bundle(
            make_hollow_bundle(tmp_path / str(n), model=b"%d" % n, version=f"{n}.0.0", release_counter=n)
        )
        for n in (1, 2)
    ]


def copied(root: Path, target: Path) -> Path:
    shutil.copytree(root, target)
    return target


def with_leftovers(root: Path) -> Path:
    """What an attempt that was killed leaves: removing it is part of the next install."""
    half = root / "incoming" / "new-killed" / "golden"
    half.mkdir(parents=True)
    (half / "0.png").write_bytes(b"half")
    (root / "bundles" / ("f" * 64)).mkdir(parents=True)  # a bundle that nobody needs
    return root


def calls_of_an_install(root: Path, bundle: Bundle) -> list[str]:
    fs, log = faulty(0, 0)
    install(with_leftovers(root), bundle, fs)
    assert set(log) == set(CALLS) - {"hold"}  # every kind of step occurs; only a service holds
    return log


@pytest.mark.parametrize(
    ("error", "dying"), [(errno.ENOSPC, False), (errno.EIO, False), (errno.EROFS, True)], ids=str
)
def test_a_fault_at_any_step_leaves_one_whole_active_bundle_and_one_line(
    tmp_path: Path, bundles: list[Bundle], error: int, dying: bool
) -> None:
    one, two = bundles
    install(trust(tmp_path / "device"), one)
    steps = len(calls_of_an_install(tmp_path / "device", two))
    assert steps > 40
    install(with_one := trust(tmp_path / "with one"), one)
    refused = confirmed = harmless = looks = 0
    for fail_at in range(1, steps + 1):
        root = with_leftovers(copied(with_one, tmp_path / f"device-{fail_at}"))
        fs, log = faulty(fail_at, error, dying=dying)
        try:
            outcome = install(root, two, fs).outcome
        except LinkError as caught:
            refused += 1
            assert caught.exit_code == 3 and caught.hint and "\n" not in str(caught)
            assert caught.reason == {
                errno.ENOSPC: Reason.NO_SPACE, errno.EIO: Reason.IO, errno.EROFS: Reason.READ_ONLY
            }[error]  # fmt: skip
            now = Store(root).active("tiny").id  # opens it: every byte is checked
            if now == two.id:  # only after the record was renamed, and then the message says so
                assert "active" in str(caught)
                confirmed += 1
            else:
                assert now == one.id
        else:  # closing the lock means nothing, and a copy of the record that is lost has a second one
            assert outcome == "installed"
            call = log[fail_at - 1]
            looked = call in (
                "open",
                "status",
                "entries",
            )  # what cannot be looked at is written or read again
            assert (call, fail_at) == ("close", steps) or looked or (call, error) == ("read", errno.EIO)
            looks += looked
            harmless += 1
            assert Store(root).active("tiny").id == two.id
        again = install(root, two, faulty(0, 0)[0]).outcome  # nothing blocks the next try
        assert again in ("installed", "already installed")
        assert Store(root).active("tiny").id == two.id
        assert Store(root).leftovers() == []
        assert {copy.health for copy in Store(root).copies()} == {"ok"}
        assert len(list((root / "bundles").iterdir())) == 2
    assert (refused, harmless) == (steps - 1 - looks, 1 + looks) if error != errno.EIO else harmless < 18
    assert looks <= 6
    assert 1 <= confirmed < 20


def staged(root: Path, one: Bundle, two: Bundle) -> None:
    install(root, one)
    install_bundle(Store(root), two, Store(root).trusted(), lambda _: {}, Wishes(stage_only=True))


def on_trial(root: Path, one: Bundle, two: Bundle) -> None:
    install(root, one)
    install(root, two)


def used_up(root: Path, one: Bundle, two: Bundle) -> None:
    store = Store(root)
    install(root, one)
    install_bundle(store, two, store.trusted(), lambda _: {}, Wishes(trial_loads=1))
    begin_boot(store, store.trusted())


def rotted(root: Path, one: Bundle, two: Bundle) -> None:
    staged(root, one, two)
    (root / "bundles" / two.id / "model.tflite").chmod(0o644)
    (root / "bundles" / two.id / "model.tflite").write_bytes(b"?")


CHANGES: dict[str, tuple[Callable[[Path, Bundle, Bundle], None], Callable[[Store], object]]] = {
    "activate": (staged, lambda store: activate(store, "tiny")),
    "commit": (on_trial, lambda store: commit(store, "tiny")),
    "rollback": (on_trial, lambda store: rollback(store, "tiny", reason="no")),
    "mark bad": (
        on_trial,
        lambda store: mark_bad(store, "tiny", bundle_id=store.state().slots["tiny"].active.id),
    ),
    "gc": (on_trial, collect),
    "scrub": (rotted, lambda store: scrub(store, store.trusted())),
    "boot": (on_trial, lambda store: begin_boot(store, store.trusted())),
    "last boot": (used_up, lambda store: begin_boot(store, store.trusted())),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_fault_at_any_step_of_a_change_leaves_the_old_or_the_new_record(
    tmp_path: Path, bundles: list[Bundle], name: str
) -> None:
    prepare, change = CHANGES[name]
    prepare(trust(tmp_path / "before"), *bundles)
    with_leftovers(tmp_path / "before")
    done = copied(tmp_path / "before", tmp_path / "done")
    fs, log = faulty(0, 0)
    change(Store(done, fs))
    old, new = (Store(root).state().slots for root in (tmp_path / "before", done))
    failed = 0
    for fail_at in range(1, len(log) + 1):
        root = copied(tmp_path / "before", tmp_path / f"device-{fail_at}")
        fs, _ = faulty(fail_at, errno.EIO)
        try:
            change(Store(root, fs))
        except LinkError as fault:
            failed += 1
            assert fault.hint and "\n" not in str(fault)
        store = Store(root, faulty(0, 0)[0])
        assert decisions(store.state().slots) in (decisions(old), decisions(new))
        assert store.active("tiny")  # every byte is checked
        (choice,) = begin_boot(store, store.trusted()).values()
        assert choice.bundle is not None
        assert store.leftovers() == []
        assert {copy.health for copy in store.copies()} == {"ok"}
    assert failed or "boot" in name
    assert len(log) > 10


def decisions(slots: Mapping[str, Slot]) -> list[tuple[object, ...]]:
    """What a record decides, without the times at which it did."""
    return [
        (
            name,
            {part: release.id for part, release in slot.releases().items()},
            (slot.trial.left, slot.trial.boots) if slot.trial else None,
            slot.floor,
            slot.bad,
        )
        for name, slot in slots.items()
    ]


@pytest.mark.parametrize("name", ["boot", "last boot"])
def test_no_fault_of_a_start_lets_a_load_go_uncounted(
    tmp_path: Path, bundles: list[Bundle], name: str
) -> None:
    CHANGES[name][0](trust(tmp_path / "before"), *bundles)
    fs, log = faulty(0, 0)
    CHANGES[name][1](Store(copied(tmp_path / "before", tmp_path / "done"), fs))
    trial = Store(tmp_path / "before").state().slots["tiny"].trial
    assert trial is not None
    for fail_at in range(1, len(log) + 1):
        root = copied(tmp_path / "before", tmp_path / f"device-{fail_at}")
        store = Store(root, faulty(fail_at, errno.EIO)[0])
        choice = begin_boot(store, Store(root).trusted())["tiny"]
        assert choice.bundle is not None
        if choice.bundle.id == bundles[1].id:
            now = Store(root).state().slots["tiny"].trial
            assert now is not None and now.left == trial.left - 1 == choice.trial.left  # type: ignore[union-attr]


def test_a_first_install_that_fails_leaves_an_empty_store(tmp_path: Path, bundles: list[Bundle]) -> None:
    log = calls_of_an_install(trust(tmp_path / "device"), bundles[0])
    into_place = log.index("rename", log.index("forget_cache")) + 1
    record = log.index("rename", into_place) + 1
    for fail_at in range(1, record + 1):
        root = with_leftovers(trust(tmp_path / f"device-{fail_at}"))
        fs, done = faulty(fail_at, errno.ENOSPC)
        try:
            install(root, bundles[0], fs)
        except LinkError:
            assert Store(root).state().slots == {}
        else:
            assert done[fail_at - 1] in ("open", "status", "entries")  # nothing is there, seen or not
        assert install(root, bundles[0], faulty(0, 0)[0]).outcome in ("installed", "already installed")
        assert Store(root).active("tiny").id == bundles[0].id


@pytest.mark.parametrize("error", [errno.EOPNOTSUPP, errno.ENOSPC], ids=errno.errorcode.get)
def test_a_file_system_that_cannot_reserve_is_no_fault_but_a_full_one_is(
    tmp_path: Path, bundles: list[Bundle], error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fallocate(fd: int, offset: int, length: int) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "posix_fallocate", fallocate)
    root = trust(tmp_path / "device")
    if error == errno.EOPNOTSUPP:
        assert install(root, bundles[0]).outcome == "installed"
        return
    with pytest.raises(LinkError) as caught:
        install(root, bundles[0])
    assert caught.value.reason == Reason.NO_SPACE


def test_a_real_full_disk_leaves_the_old_bundle(tmp_path: Path) -> None:
    """A tmpfs of a few hundred kilobytes, filled to leave ever less room."""
    with small_disk(tmp_path / "disk", "512k") as disk:
        fill_and_install(disk, tmp_path)


def fill_and_install(disk: Path, tmp_path: Path) -> None:
    class Optimist(StoreFs):
        def free(self, path: Path) -> Any:
            """Say that there is room, so that the disk itself must refuse."""
            return type(super().free(path))(1 << 40, None)

    one, two = (
        open_bundle(
            make_hollow_bundle(
                tmp_path / f"{n}.galago", model=bytes([n]) * 100_000, version=f"{n}.0.0", release_counter=n
            )
        )
        for n in (1, 2)
    )
    root = trust(disk / "device")
    install(root, one, Optimist())
    refused = 0
    for ballast in range(400_000, -1, -4096):
        (disk / "ballast").unlink(missing_ok=True)
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        (disk / "ballast").write_bytes(bytes(min(ballast, free)))
        try:
            outcome = install(root, two, Optimist()).outcome
        except LinkError as error:
            assert error.reason == Reason.NO_SPACE
            assert Store(root).active("tiny").id == one.id
            refused += 1
        else:
            assert outcome == "installed"
            break
    assert refused > 10
    assert Store(root).active("tiny").id == two.id
