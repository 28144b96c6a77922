"""A model that this device has never run is not run by the service first."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path

import pytest

from galago_edge.bundle import Bundle, open_bundle
from galago_edge.contract.errors import BundleError, LinkError, Reason
from galago_edge.intake.receiver import receive
from galago_edge.service.first_loads import ensure_first_load
from galago_edge.store import Store, install_bundle
from galago_edge.store.filesystem import StoreFs
from test_kit import make_bundle, trust, with_model

LABELS = ["dark", "mid", "bright"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return trust(tmp_path / "device")


@pytest.fixture
def path(tmp_path: Path, tiny_image_model: bytes) -> Path:
    return make_bundle(tmp_path / "eyes.galago", tiny_image_model, LABELS, name="eyes")


def brought_by_card(root: Path, path: Path) -> tuple[Store, Bundle]:
    """Install as another machine does that cannot run the model."""
    store = Store(root)
    bundle = open_bundle(path)
    install_bundle(store, bundle, store.trusted(), lambda copy: {"mounted": True})
    return store, store.open(bundle.id)


def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")


def test_what_was_installed_here_is_not_loaded_so_again(
    root: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = receive(path, root)
    no_process(monkeypatch)
    assert ensure_first_load(Store(root), installed.bundle, None) is False


def test_what_another_machine_wrote_is_loaded_so_once(
    root: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, bundle = brought_by_card(root, path)
    with monkeypatch.context() as patch:
        no_process(patch)
        with pytest.raises(LinkError):
            ensure_first_load(store, bundle, None)
    assert ensure_first_load(store, bundle, None) is True
    no_process(monkeypatch)
    assert ensure_first_load(store, bundle, None) is False


def test_a_model_that_crashes_is_refused_every_time(
    root: Path, path: Path, bad_models: dict[str, bytes]
) -> None:
    store, bundle = brought_by_card(root, with_model(path, bad_models["crash"], path.with_name("x.galago")))
    for _ in range(2):
        with pytest.raises(BundleError) as caught:
            ensure_first_load(store, bundle, None)
        assert caught.value.reason == Reason.LOAD_CRASH


def test_another_runtime_is_another_device(root: Path, path: Path) -> None:
    folder = receive(path, root).folder
    accepted = folder / "accepted.json"
    noted = json.loads(accepted.read_text())
    for text in (json.dumps(noted | {"runtime": "ai-edge-litert 0.1"}), "no JSON", "", '{"golden": 1}'):
        accepted.chmod(0o644)
        accepted.write_text(text)
        for marker in (root / "loaded").glob("*"):
            marker.unlink()
        assert ensure_first_load(Store(root), open_bundle(path), None) is True


def test_what_the_device_was_delivered_with_is_loaded_so_too(root: Path, path: Path) -> None:
    assert ensure_first_load(Store(root), open_bundle(path), None) is True
    assert ensure_first_load(Store(root), open_bundle(path), None) is False


def test_notes_of_bundles_that_are_gone_are_removed(root: Path, path: Path) -> None:
    (root / "loaded").mkdir()
    (root / "loaded" / ("0" * 64)).write_text("ai-edge-litert 0.1")
    store, bundle = brought_by_card(root, path)
    ensure_first_load(store, bundle, None)
    assert [note.name for note in (root / "loaded").iterdir()] == [bundle.id]


class FullFs(StoreFs):
    def create(self, path: Path) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_costs_only_the_note(root: Path, path: Path) -> None:
    _, bundle = brought_by_card(root, path)
    for _ in range(2):
        assert ensure_first_load(Store(root, FullFs()), bundle, None) is True
