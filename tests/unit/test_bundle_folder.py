"""A bundle as the folder it was installed to: the same checks, file by file."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from galago_edge.bundle import open_bundle
from galago_edge.contract.errors import BundleError, Reason
from test_kit import make_hollow_bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "installed"
    with tarfile.open(make_hollow_bundle(tmp_path / "x.galago")) as tar:
        tar.extractall(path, filter="data")
    (path / "accepted.json").write_text("{}")
    return path


def test_it_is_the_same_bundle_as_the_file(folder: Path) -> None:
    opened, packed = open_bundle(folder), open_bundle(folder.with_name("x.galago"))
    assert (opened.id, opened.signers, opened.manifest) == (packed.id, packed.signers, packed.manifest)
    assert opened.read("golden/0.png") == b"a picture"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def link(path: Path) -> None:
    """Replace a file by a link to a perfect copy of it."""
    copy = path.parents[2] / "copy"
    copy.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(copy)


def link_parent(path: Path) -> None:
    path.parent.rename(path.parents[2] / "moved")
    path.parent.symlink_to(path.parents[2] / "moved")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


CHANGES: dict[str, tuple[str, Callable[[Path], object], Reason]] = {
    "a byte of the model": ("model.tflite", flip, Reason.FILE_HASH),
    "a byte of a golden sample": ("golden/0.png", flip, Reason.FILE_HASH),
    "a byte of the manifest": ("manifest.json", flip, Reason.SIG_BAD),
    "a byte of the signature": ("manifest.sig", flip, Reason.SIG_BAD),
    "no model": ("model.tflite", Path.unlink, Reason.TRUNCATED),
    "no golden sample": ("golden/0.png", Path.unlink, Reason.TRUNCATED),
    "no signature": ("manifest.sig", Path.unlink, Reason.SIG_MISSING),
    "no manifest": ("manifest.json", Path.unlink, Reason.MANIFEST_BAD),
    "a short model": ("model.tflite", lambda path: path.write_bytes(b"ho"), Reason.TRUNCATED),
    "a long model": ("model.tflite", grow, Reason.FILE_HASH),
    "a huge manifest": ("manifest.json", lambda path: os.truncate(path, 1 << 40), Reason.TOO_BIG),
    "an extra file": ("extra", Path.touch, Reason.FILE_EXTRA),
    "an extra file below": ("golden/1.png", Path.touch, Reason.FILE_EXTRA),
    "an extra folder": ("empty", Path.mkdir, Reason.FILE_EXTRA),
    "a folder for a file": ("accepted.json", lambda path: (path.unlink(), (path / "x").mkdir(parents=True)),
                            Reason.FILE_EXTRA),
    "a link for a file": ("golden/0.png", link, Reason.TRUNCATED),
    "a link for a folder": ("golden/0.png", link_parent, Reason.TRUNCATED),
    "a pipe for a file": ("model.tflite", pipe, Reason.FILE_EXTRA),
    "a pipe for the manifest": ("manifest.json", pipe, Reason.MANIFEST_BAD),
}  # fmt: skip


@pytest.mark.parametrize(("name", "change", "reason"), CHANGES.values(), ids=CHANGES)
def test_a_folder_with(folder: Path, name: str, change: Callable[[Path], object], reason: Reason) -> None:
    change(folder / name)
    with pytest.raises(BundleError) as caught:
        open_bundle(folder)
    assert caught.value.reason == reason
    assert folder.name in str(caught.value) and caught.value.hint


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_no_file_descriptor_is_kept_after_a_bundle_is_gone(folder: Path) -> None:
    before = open_files()
    for _ in range(20):
        open_bundle(folder).read("golden/0.png")
        open_bundle(folder.with_name("x.galago"))
    flip(folder / "golden/0.png")
    for _ in range(20):
        with pytest.raises(BundleError):
            open_bundle(folder)
    assert open_files() <= before + 2  # what the last exception still holds
