"""A failing disk at the places of a start that no ``StoreFs`` call stands for."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from galago_edge.bundle import open_bundle
from galago_edge.store import Store, begin_boot, install_bundle
from galago_edge.store.store import Hold
from test_kit import make_hollow_bundle, trust


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(trust(tmp_path / "device"))
    for counter in (1, 2):
        path = tmp_path / f"{counter}.galago"
        make_hollow_bundle(path, model=b"%d" % counter, version=f"{counter}.0.0", release_counter=counter)
        install_bundle(store, open_bundle(path), store.trusted(), lambda _: {})
    return store


@pytest.mark.parametrize("error", [errno.EIO, errno.EMFILE, errno.EINTR], ids=os.strerror)
def test_a_start_that_cannot_look_at_the_root_passes_over_the_trial_and_does_not_fall(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    real, failed = Path.is_dir, []

    def is_dir(path: Path, **options: Any) -> bool:
        if path == store.root and not failed:
            failed.append(path)
            raise OSError(error, os.strerror(error), str(path))
        return real(path, **options)

    monkeypatch.setattr(Path, "is_dir", is_dir)
    choice = begin_boot(store, store.trusted())["tiny"]
    assert failed and choice.part == "previous" and choice.trial is None
    assert choice.faults[0].reason == "IO"
    trial = store.state().slots["tiny"].trial
    assert trial is not None and trial.boots == 0  # and it is loaded by the next start, which can count it


def test_letting_go_of_a_bundle_does_not_fail_because_the_disk_does(store: Store) -> None:
    fd = os.open(store.root, os.O_RDONLY)
    hold = Hold(fd)
    os.close(fd)  # closing it once more is an error of the kernel's, as EIO would be
    hold.close()
    hold.close()
