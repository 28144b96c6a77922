"""What is said about a bundle that is not whole: which file, what was met, what to do."""

from __future__ import annotations

import gc
import hashlib
import shutil
import tarfile
from pathlib import Path

import pytest

from galago_edge.bundle import open_bundle
from galago_edge.bundle.manifest_bytes import MANIFEST_LIMIT_BYTES
from galago_edge.bundle.signature import SIGNATURE_LIMIT_BYTES
from galago_edge.contract.errors import BundleError, Reason
from test_kit import make_hollow_bundle

AGAIN = "copy or install the bundle again"
NO_BUNDLE = "give a .galago file, or the folder of an installed bundle"
MODEL = b"hollow"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return make_hollow_bundle(tmp_path / "x.galago", MODEL)


@pytest.fixture
def folder(archive: Path, tmp_path: Path) -> Path:
    """The same, unpacked."""
    with tarfile.open(archive) as file:
        file.extractall(tmp_path / "installed", filter="data")
    return tmp_path / "installed"


def refusal(path: Path) -> tuple[Reason, str, str]:
    with pytest.raises(BundleError) as caught:
        open_bundle(path)
    return caught.value.reason, str(caught.value), caught.value.hint


def short(content: bytes) -> str:
    return f"{hashlib.sha256(content).hexdigest()[:16]}…"


def test_one_changed_byte_of_an_archives_file_is_met_with_both_hashes(archive: Path) -> None:
    data = archive.read_bytes()
    assert data.count(MODEL) == 1
    archive.write_bytes(data.replace(MODEL, b"hollew"))
    assert refusal(archive) == (
        Reason.FILE_HASH,
        f"x.galago: model.tflite has sha256 {short(b'hollew')}, the signed manifest says {short(MODEL)}",
        AGAIN,
    )


def test_a_file_that_changes_while_the_bundle_is_open_is_noticed_when_it_is_read(archive: Path) -> None:
    bundle = open_bundle(archive)
    assert bundle.read("model.tflite") == MODEL
    data = archive.read_bytes()
    with archive.open("r+b") as file:
        file.seek(data.index(MODEL))
        file.write(b"hollew")
    with pytest.raises(BundleError) as caught:
        bundle.read("model.tflite")
    assert caught.value.reason is Reason.FILE_HASH
    with archive.open("r+b") as file:
        file.truncate(data.index(MODEL) + 3)
    with pytest.raises(BundleError, match=r"x\.galago: ends within model\.tflite") as caught:
        bundle.read("model.tflite")
    assert caught.value.reason is Reason.TRUNCATED


def test_the_folder_of_a_bundle_is_the_bundle(archive: Path, folder: Path) -> None:
    assert open_bundle(folder).id == open_bundle(archive).id


def test_a_folder_without_a_manifest_is_no_bundle_and_one_without_signatures_is_a_broken_one(
    folder: Path,
) -> None:
    (folder / "manifest.sig").unlink()
    assert refusal(folder) == (Reason.SIG_MISSING, "installed: manifest.sig is missing", AGAIN)
    (folder / "manifest.json").unlink()
    assert refusal(folder) == (Reason.MANIFEST_BAD, "installed: manifest.json is missing", NO_BUNDLE)


def test_a_missing_file_is_told_apart_from_one_behind_a_link(folder: Path) -> None:
    (folder / "model.tflite").rename(folder.parent / "elsewhere")
    assert refusal(folder) == (Reason.TRUNCATED, "installed: model.tflite is missing", AGAIN)
    (folder / "model.tflite").symlink_to(folder.parent / "elsewhere")
    assert refusal(folder) == (
        Reason.TRUNCATED,
        "installed: model.tflite is no plain file, or lies behind a link",
        AGAIN,
    )
    (folder / "model.tflite").unlink()
    (folder / "model.tflite").mkdir()
    assert refusal(folder) == (Reason.FILE_EXTRA, "installed: model.tflite is not a plain file", AGAIN)


def test_a_folder_behind_a_link_holds_no_file(folder: Path) -> None:
    shutil.move(folder / "golden", folder.parent / "golden")
    (folder / "golden").symlink_to(folder.parent / "golden")
    reason, message, _ = refusal(folder)
    assert reason is Reason.TRUNCATED
    assert message.endswith("is no plain file, or lies behind a link")


@pytest.mark.parametrize(
    ("content", "reason", "said"),
    [
        (b"hollo", Reason.TRUNCATED, "model.tflite has 5 bytes, the manifest says 6"),
        (b"hollow!", Reason.FILE_HASH, "model.tflite has 7 bytes, the manifest says 6"),
        (
            b"hollew",
            Reason.FILE_HASH,
            f"model.tflite has sha256 {short(b'hollew')}, the signed manifest says {short(MODEL)}",
        ),
    ],
)
def test_a_file_of_a_folder_has_its_size_and_its_hash(
    content: bytes, reason: Reason, said: str, folder: Path
) -> None:
    (folder / "model.tflite").write_bytes(content)
    assert refusal(folder) == (reason, f"installed: {said}", AGAIN)


@pytest.mark.parametrize(
    ("name", "limit"), [("manifest.json", MANIFEST_LIMIT_BYTES), ("manifest.sig", SIGNATURE_LIMIT_BYTES)]
)
def test_what_is_read_before_anybody_is_trusted_is_bounded(name: str, limit: int, folder: Path) -> None:
    (folder / name).write_bytes(b" " * limit)
    assert refusal(folder)[0] is Reason.SIG_BAD
    (folder / name).write_bytes(b" " * (limit + 1))
    assert refusal(folder)[:2] == (
        Reason.TOO_BIG,
        f"installed: {name} has {limit + 1} bytes, at most {limit} are allowed",
    )


def test_what_the_manifest_does_not_list_is_not_carried_along(folder: Path) -> None:
    (folder / "golden" / "more.png").write_bytes(b"")
    assert refusal(folder)[:2] == (
        Reason.FILE_EXTRA,
        "installed: holds golden/more.png, which the manifest does not list",
    )


def test_neither_a_bundle_nor_a_refusal_leaves_a_descriptor_open(archive: Path, folder: Path) -> None:
    def open_files() -> int:
        gc.collect()  # what an earlier test, or an error's traceback, still holds
        return len(list(Path("/proc/self/fd").iterdir()))

    before = open_files()
    for path in (archive, folder):
        assert open_bundle(path).read("model.tflite") == MODEL
        assert open_files() == before
    (folder / "model.tflite").unlink()
    archive.write_bytes(b"none")
    for path in (archive, folder):
        refusal(path)
        assert open_files() == before
