"""Disk faults at every single step of an install: the old bundle stays, or the new one is whole."""

from __future__ import annotations

import errno
import inspect
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from galago_edge.bundle import Bundle, open_bundle
from galago_edge.contract.errors import LinkError, Reason
from galago_edge.store import Installation, Store, install_bundle
from galago_edge.store.fs import StoreFs
from galago_edge.testing import make_hollow_bundle, trust
from real_parts import small_disk

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
    return root


def calls_of_an_install(root: Path, bundle: Bundle) -> list[str]:
    fs, log = faulty(0, 0)
    install(with_leftovers(root), bundle, fs)
    assert set(log) == set(CALLS)  # every kind of step occurs
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
    refused = confirmed = 0
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
        else:  # closing the lock is the one step whose failure means nothing
            assert outcome == "installed" and log[fail_at - 1] == "close" and fail_at == steps
            assert Store(root).active("tiny").id == two.id
        again = install(root, two, faulty(0, 0)[0]).outcome  # nothing blocks the next try
        assert again in ("installed", "already installed")
        assert Store(root).active("tiny").id == two.id
        assert Store(root).leftovers() == []
        assert {copy.health for copy in Store(root).copies()} == {"ok"}
        assert len(list((root / "bundles").iterdir())) == 2
    assert refused == steps - 1
    assert 1 <= confirmed < 20


def test_a_first_install_that_fails_leaves_an_empty_store(tmp_path: Path, bundles: list[Bundle]) -> None:
    log = calls_of_an_install(trust(tmp_path / "device"), bundles[0])
    into_place = log.index("rename", log.index("forget_cache")) + 1
    record = log.index("rename", into_place) + 1
    for fail_at in range(1, record + 1):
        root = with_leftovers(trust(tmp_path / f"device-{fail_at}"))
        with pytest.raises(LinkError):
            install(root, bundles[0], faulty(fail_at, errno.ENOSPC)[0])
        assert Store(root).state().slots == {}
        assert install(root, bundles[0], faulty(0, 0)[0]).outcome == "installed"


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
