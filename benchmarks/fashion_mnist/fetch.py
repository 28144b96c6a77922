"""Fetch the files that manifest.toml names into benchmarks/out, and check them; needs apt and dpkg."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUT = HERE.parent / "out" / HERE.name


def main() -> int:
    manifest = tomllib.loads((HERE / "manifest.toml").read_text(encoding="utf-8"))
    files = {OUT / file["path"]: file for file in manifest["file"]}
    if not all(is_right(path, file["sha256"]) for path, file in files.items()):
        for package in sorted({file["package"].removeprefix("deb:") for file in files.values()}):
            unpack(package)
    wrong = [path for path, file in files.items() if not is_right(path, file["sha256"])]
    for path in wrong:
        print(f"{path} is missing or has another content than manifest.toml says", file=sys.stderr)
    if not wrong:
        print(f"{len(files)} files in {OUT}")
    return 1 if wrong else 0


def unpack(package: str) -> None:
    """Download NAME=VERSION and unpack it below OUT; nothing is installed and no package script runs."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["apt-get", "download", "-q", package], cwd=folder, check=True)
        OUT.mkdir(parents=True, exist_ok=True)
        for file in Path(folder).glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", file, OUT], check=True)


def is_right(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


if __name__ == "__main__":
    sys.exit(main())
