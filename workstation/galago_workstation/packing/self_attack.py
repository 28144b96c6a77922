"""The last step of a build: alter the finished bundle in thousands of ways and see each one refused.

What is attacked is this machine's own reader with its own crypto library: should one of them have stopped
checking, the build fails here and not a device in the field.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from galago_edge.bundle import Bundle, TrustedKeys, open_bundle
from galago_edge.bundle.archive import BLOCK, END
from galago_edge.contract.errors import BundleError, ModelError, Reason, disk_error

MOST_FRONT_BYTES = 16 * 1024
"""Up to so many bytes in front of the first file's content are altered one by one; of a longer manifest
every second, third ... byte, so that a build takes seconds and not minutes."""
_HEADER_PLACES = (0, 50, 99, 100, 107, 124, 130, 148, 156, 157, 257, 263, 345, 511)
"""Bytes of a later header: name, mode, size, checksum, kind, link, magic, version, prefix, the last one."""
_SAMPLES = 4  # of each file's content, first and last byte among them


def attack(bundle: Bundle, trusted: TrustedKeys) -> int:
    """Open altered copies of a bundle file and return how many there were; every one must be refused.

    Altered by one bit: every byte of the headers, the manifest and the signature (see
    ``MOST_FRONT_BYTES``), some of every later header and of every file's content, and padding. Cut short at
    every member, and longer than it was.

    Raises:
        ModelError: TAMPER_MISSED; an altered copy was taken.
        LinkError: The disk for temporary files.
    """
    try:
        data = bundle.path.read_bytes()
        with tempfile.TemporaryDirectory(prefix="galago-attack-") as folder:
            path = Path(folder, bundle.path.name)
            path.write_bytes(data)
            return _flips(path, data, bundle, trusted) + _lengths(path, data, bundle, trusted)
    except OSError as error:
        raise disk_error(error, f"alter a copy of {bundle.path}") from error


def _flips(path: Path, data: bytes, bundle: Bundle, trusted: TrustedKeys) -> int:
    count = 0
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        for place in _places(data, bundle):
            os.pwrite(fd, bytes([data[place] ^ 1 << place % 8]), place)
            _must_be_refused(path, trusted, f"bit {place % 8} of byte {place}")
            os.pwrite(fd, data[place : place + 1], place)
            count += 1
    finally:
        os.close(fd)
    open_bundle(path, trusted)  # every byte is back, so it was the alteration that was refused
    return count


def _lengths(path: Path, data: bytes, bundle: Bundle, trusted: TrustedKeys) -> int:
    ends = [start for start, _ in _members(bundle)] + [len(data) - len(END), len(data) - BLOCK, len(data) - 1]
    for end in ends:
        path.write_bytes(data[:end])
        _must_be_refused(path, trusted, f"the end at byte {end}")
    for extra in (b"\0", bytes(BLOCK), data):
        path.write_bytes(data + extra)
        _must_be_refused(path, trusted, f"{len(extra)} bytes more")
    return len(ends) + 3


def _must_be_refused(path: Path, trusted: TrustedKeys, what: str) -> None:
    try:
        open_bundle(path, trusted)
    except BundleError:
        return
    raise ModelError(
        Reason.TAMPER_MISSED,
        f"{path.name}: a copy with {what} altered was taken as whole and signed; it must be refused",
        hint="do not sign on this machine: check its memory, then reinstall galago-edge and cryptography",
    )


def _members(bundle: Bundle) -> list[tuple[int, int]]:
    """Return where the header of each member begins, and the size of its content."""
    sizes = [len(bundle.manifest_bytes), len(bundle.signature_bytes)]
    sizes += [entry.size for entry in bundle.manifest.files]
    found, start = [], 0
    for size in sizes:
        found.append((start, size))
        start += BLOCK + size + -size % BLOCK
    return found


def _places(data: bytes, bundle: Bundle) -> Iterator[int]:
    """Yield the bytes to alter."""
    first, *later = _members(bundle)[2:]
    front = first[0] + BLOCK  # manifest, signature, and the first file's header
    yield from range(0, front, -(-front // MOST_FRONT_BYTES))
    for start, size in (first, *later):
        if start != first[0]:
            yield from (start + place for place in _HEADER_PLACES)
        content = start + BLOCK
        if size:
            yield from sorted({content + sample * (size - 1) // (_SAMPLES - 1) for sample in range(_SAMPLES)})
        if size % BLOCK:
            yield content + size  # the first byte of its padding
    yield from (len(data) - len(END), len(data) - BLOCK, len(data) - 1)
