"""Anything that can be done to a store, in any order, with faults in between: what always holds."""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from galago_edge.bundle import Bundle, write_bundle
from galago_edge.contract.errors import GalagoError
from galago_edge.contract.wishes import Wishes
from galago_edge.store import (
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
from galago_edge.store.store import COPY_NAMES
from test_kit import TEST_KEY, changed, hollow_manifest, trust

STEPS = 60
RELEASES = 8
LOSING = (13, 14, 16, 17)
"""Seeds of walks on which the record is lost now and then, without a factory's bundle."""


class Unreliable(StoreFs):
    """Fails one call out of many, and waits for no disk."""

    def __init__(self, luck: random.Random) -> None:
        self._luck = luck
        self.reliable = True

    def _fail(self) -> None:
        if not self.reliable and self._luck.random() < 0.02:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def create(self, path: Path) -> int:
        self._fail()
        return super().create(path)

    def write(self, fd: int, data: bytes) -> None:
        self._fail()
        super().write(fd, data)

    def rename(self, source: Path, target: Path) -> None:
        self._fail()
        super().rename(source, target)

    def unlink(self, path: Path) -> None:
        self._fail()
        super().unlink(path)

    def fsync(self, fd: int) -> None:
        self._fail()

    def fsync_dir(self, path: Path) -> None:
        self._fail()


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    folder = tmp_path_factory.mktemp("releases")
    made = []
    for counter in range(1, RELEASES + 1):
        manifest, files = hollow_manifest(
            model=b"model %d" % counter, version=f"{counter}.0.0", release_counter=counter
        )
        manifest = changed(manifest, rollback__min_release_counter_after_commit=counter // 2)
        made.append(write_bundle(folder / f"{counter}.galago", manifest, files, [TEST_KEY]))
    return made


def step(store: Store, releases: list[Bundle], luck: random.Random) -> Callable[[], Any]:
    """Return something to do."""
    bundle, trusted = luck.choice(releases), store.trusted()
    wishes = Wishes(
        stage_only=luck.random() >= 0.7,
        commit=luck.random() < 0.3,
        allow_downgrade=luck.random() < 0.5,
        allow_bad=luck.random() < 0.5,
        trial_loads=luck.randint(1, 3),
    )
    changes: list[Callable[[], Any]] = [
        lambda: install_bundle(store, bundle, trusted, lambda _: {}, wishes),
        lambda: install_bundle(store, bundle, trusted, lambda _: {}, wishes),
        lambda: activate(store, "tiny", wishes=Wishes(allow_downgrade=wishes.allow_downgrade)),
        lambda: commit(store, "tiny"),
        lambda: rollback(store, "tiny", reason="no", bad=luck.random() < 0.5),
        lambda: mark_bad(store, "tiny", bundle_id=bundle.id),
        lambda: collect(store),
        lambda: scrub(store, trusted),
        lambda: begin_boot(store, trusted),
        lambda: begin_boot(store, trusted),
    ]
    return luck.choice(changes)


@pytest.mark.parametrize("seed", [*range(12), *LOSING])
def test_whatever_is_done_the_record_is_whole_and_so_is_all_that_it_names(
    tmp_path: Path, releases: list[Bundle], seed: int
) -> None:
    luck = random.Random(seed)
    root = trust(tmp_path / "device")
    if seed % 3 == 0:
        (root / "factory").mkdir()
        shutil.copy(releases[0].path, root / "factory" / "tiny.galago")
    fs = Unreliable(luck)
    store = Store(root, fs)
    done = floor = 0
    for number in range(STEPS):
        fs.reliable = number == 0
        if number and seed in LOSING and luck.random() < 0.1:
            floor = lose_the_record(store)
            fs.reliable = False
        change = step(store, releases, luck) if number else lambda: install_first(store, releases)
        try:
            change()
            done += 1
        except GalagoError as error:  # anything else is a fault of ours
            assert error.hint
        slot = store.state().slots["tiny"]
        assert slot.floor >= floor
        floor = slot.floor
        for part, release in slot.releases().items():
            assert store.open(release.id), part  # every byte is checked
        others = [release.id for part, release in slot.releases().items() if part != "active"]
        assert slot.active.id not in (*others, *slot.bad)
        assert slot.trial is None or slot.trial.left >= 0
        assert len(list(store.bundles.iterdir())) <= RELEASES
    assert done > STEPS // 4
    fs.reliable = True
    collect(store)
    kept = {path.name for path in store.bundles.iterdir()}
    factory = {releases[0].id} if seed % 3 == 0 else set()
    assert kept <= {release.id for release in slot.releases().values()} <= kept | factory
    last = begin_boot(store, store.trusted())["tiny"]
    assert last.bundle is not None
    assert store.leftovers() == []


def lose_the_record(store: Store) -> int:
    """Damage both copies and start the device; return the floor, which is at least what the bundles prove."""
    proved = [
        store.open(path.name).manifest.rollback.min_release_counter_after_commit
        for path in store.bundles.iterdir()
    ]
    for name in COPY_NAMES:
        (store.root / name).unlink(missing_ok=True)
        (store.root / name).write_bytes(os.urandom(50))
    assert isinstance(store.fs, Unreliable)
    store.fs.reliable = True
    assert begin_boot(store, store.trusted())["tiny"].bundle is not None
    slot = store.state().slots["tiny"]
    assert slot.floor == max(proved)
    return slot.floor


def install_first(store: Store, releases: list[Bundle]) -> None:
    install_bundle(store, releases[2], store.trusted(), lambda _: {})
