"""The archive: exactly our bytes, readable by every tar, and nothing else accepted."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from galago_edge.bundle import open_bundle
from galago_edge.bundle.archive import BLOCK, END, header, padding, write_archive
from galago_edge.contract.errors import BundleError, GalagoError, Reason
from test_kit import OTHER_KEY, make_hollow_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_hollow_bundle(tmp_path / "tiny-1.0.0.galago", model=bytes(range(256)) * 5)


def refusal(path: Path) -> Reason:
    with pytest.raises(GalagoError) as caught:
        open_bundle(path)
    assert "\n" not in str(caught.value) and caught.value.hint
    return caught.value.reason


def members(path: Path) -> list[tuple[str, bytes]]:
    with tarfile.open(path) as tar:
        return [(member.name, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]


def rewrite(path: Path, contents: list[tuple[str, bytes]]) -> None:
    with path.open("wb") as out:
        write_archive(out, contents)


@pytest.mark.parametrize(("name", "size"), [("manifest.json", 0), ("golden/some/0.png", 511), ("x" * 100, 9)])
def test_a_member_is_written_as_gnu_tar_writes_it(tmp_path: Path, name: str, size: int) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    owner = ["--numeric-owner", "--owner=0", "--group=0", "--mtime=@0", "--mode=0644"]
    made = subprocess.check_output(
        ["tar", "--create", "--format=ustar", *owner, "--directory", tmp_path, name]
    )
    assert made.startswith(header(name, size) + bytes(size) + padding(size) + END)


def test_the_system_tar_reads_a_bundle(bundle: Path, tmp_path: Path) -> None:
    listed = subprocess.check_output(["tar", "--list", "--file", bundle], text=True).split()
    assert listed == ["manifest.json", "manifest.sig", "model.tflite", "golden/0.png"]
    subprocess.check_call(["tar", "--extract", "--file", bundle, "--directory", tmp_path])
    assert (tmp_path / "model.tflite").read_bytes() == open_bundle(bundle).read("model.tflite")


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = (make_hollow_bundle(tmp_path / name).read_bytes() for name in ("one", "two"))
    assert one == two


def flipped_offsets(data: bytes) -> list[int]:
    """Every byte up to the first file's content, then a prime stride, then the closing blocks."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        covered = tar.getmembers()[2].offset_data
    return [
        *range(covered),
        *range(covered, len(data) - len(END), 13),
        *range(len(data) - len(END), len(data)),
    ]


def test_no_byte_can_be_changed_unseen(bundle: Path) -> None:
    """Headers, manifest, signature and closing blocks: every byte, each bit in turn; contents: samples."""
    data = bundle.read_bytes()
    met: set[Reason] = set()
    with bundle.open("r+b", buffering=0) as file:
        for count, offset in enumerate(flipped_offsets(data)):
            os.pwrite(file.fileno(), bytes([data[offset] ^ 1 << count % 8]), offset)
            met.add(refusal(bundle))
            os.pwrite(file.fileno(), data[offset : offset + 1], offset)
    assert open_bundle(bundle).read("model.tflite")
    assert met >= {Reason.ARCHIVE_BAD, Reason.SIG_BAD, Reason.FILE_HASH, Reason.MANIFEST_BAD}


def test_a_bundle_cut_anywhere_is_refused(bundle: Path) -> None:
    data = bundle.read_bytes()
    for length in sorted({*range(0, len(data), BLOCK), *range(1, len(data), 97), len(data) - 1}):
        bundle.write_bytes(data[:length])
        assert refusal(bundle) == Reason.TRUNCATED, length


@pytest.mark.parametrize("junk", [b"\0", b"\0" * 512, b"x", b"\0" * 9216], ids=len)
def test_nothing_may_stand_behind_the_end(bundle: Path, junk: bytes) -> None:
    bundle.write_bytes(bundle.read_bytes() + junk)
    assert refusal(bundle) == Reason.FILE_EXTRA


def test_nothing_may_stand_before_the_beginning(bundle: Path) -> None:
    bundle.write_bytes(b"\0" * 512 + bundle.read_bytes())
    assert refusal(bundle) == Reason.MANIFEST_BAD


def test_two_bundles_in_one_file_are_refused(bundle: Path) -> None:
    data = bundle.read_bytes()
    bundle.write_bytes(data + data)
    assert refusal(bundle) == Reason.FILE_EXTRA
    bundle.write_bytes(data[: -len(END)] + data)
    assert refusal(bundle) == Reason.FILE_EXTRA


Contents = list[tuple[str, bytes]]
REARRANGED: dict[str, tuple[Callable[[Contents], Contents], Reason]] = {
    "an extra file": (lambda all_: [*all_, ("run.sh", b"rm -rf /")], Reason.FILE_EXTRA),
    "an extra file in between": (lambda all_: [*all_[:2], ("a", b""), *all_[2:]], Reason.FILE_EXTRA),
    "a file twice": (lambda all_: [*all_, all_[-1]], Reason.FILE_EXTRA),
    "another order": (lambda all_: [*all_[:2], all_[3], all_[2]], Reason.FILE_EXTRA),
    "a file missing": (lambda all_: all_[:-1], Reason.TRUNCATED),
    "no signature": (lambda all_: [all_[0], *all_[2:]], Reason.SIG_MISSING),
    "no manifest": (lambda all_: all_[1:], Reason.MANIFEST_BAD),
    "the manifest alone": (lambda all_: all_[:1], Reason.SIG_MISSING),
    "nothing": (lambda all_: [], Reason.MANIFEST_BAD),
    "an empty model": (lambda all_: [*all_[:2], (all_[2][0], b""), all_[3]], Reason.ARCHIVE_BAD),
    "a path that climbs": (lambda all_: [*all_[:2], ("../model.tflite", all_[2][1])], Reason.FILE_EXTRA),
    "a huge manifest": (lambda all_: [(all_[0][0], bytes(256 * 1024 + 1)), *all_[1:]], Reason.TOO_BIG),
    "a huge signature": (lambda all_: [all_[0], (all_[1][0], bytes(16 * 1024 + 1))], Reason.TOO_BIG),
}


@pytest.mark.parametrize(("change", "reason"), REARRANGED.values(), ids=REARRANGED)
def test_an_archive_with(bundle: Path, change: Callable[[Contents], Contents], reason: Reason) -> None:
    rewrite(bundle, change(members(bundle)))
    assert refusal(bundle) == reason


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_an_archive_in_another_tar_dialect_is_refused(bundle: Path, kind: int) -> None:
    contents = members(bundle)
    with tarfile.open(bundle, "w", format=kind) as tar:
        for name, data in contents:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.mtime = 1  # all that a careful repacker would change
            tar.addfile(member, io.BytesIO(data))
    assert refusal(bundle) == Reason.ARCHIVE_BAD


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(bundle: Path, kind: bytes) -> None:
    contents = members(bundle)
    with bundle.open("wb") as out:
        for name, data in contents[:2]:
            out.write(header(name, len(data)) + data + padding(len(data)))
        member = tarfile.TarInfo("model.tflite")
        member.type, member.linkname = kind, "/etc/passwd"
        out.write(member.tobuf(tarfile.USTAR_FORMAT) + END)
    assert refusal(bundle) == Reason.ARCHIVE_BAD


@pytest.mark.parametrize(
    "size", [b"00000000789\0", b"-0000000001\0", b"\x80" + bytes(10) + b"\1", b"            "]
)
def test_a_size_that_is_no_size_is_refused(bundle: Path, size: bytes) -> None:
    data = bytearray(bundle.read_bytes())
    data[124:136] = size
    bundle.write_bytes(data)
    assert refusal(bundle) == Reason.ARCHIVE_BAD


def test_what_is_read_later_is_checked_again(bundle: Path) -> None:
    opened = open_bundle(bundle)
    data = bytearray(bundle.read_bytes())
    data[data.index(bytes(range(200, 256)))] ^= 1
    with bundle.open("r+b") as file:  # the same file, not a new one in its place
        file.write(data)
    with pytest.raises(BundleError) as caught:
        opened.read("model.tflite")
    assert caught.value.reason == Reason.FILE_HASH


def test_what_was_opened_is_what_is_read_even_when_the_path_gets_another_bundle(bundle: Path) -> None:
    opened = open_bundle(bundle)
    other = make_hollow_bundle(bundle.with_name("other"), model=b"another", keys=[OTHER_KEY])
    other.replace(bundle)
    assert opened.read("model.tflite") == bytes(range(256)) * 5


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"PK\3\4" + bytes(600), b"\x18\0\0\0TFL3" + bytes(600)], ids=repr
)
def test_a_file_that_is_no_bundle_is_refused(bundle: Path, content: bytes) -> None:
    bundle.write_bytes(content)
    assert refusal(bundle) in (Reason.TRUNCATED, Reason.MANIFEST_BAD)


def test_a_path_that_leads_nowhere_or_to_no_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.galago") == Reason.TARGET_UNKNOWN
    assert refusal(Path("/dev/null")) == Reason.MANIFEST_BAD
    assert refusal(tmp_path) == Reason.MANIFEST_BAD  # a folder without a manifest
