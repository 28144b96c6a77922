"""Runs the ``galago`` command and notes what recordings were given, and what of that the kernel has taken.

    .venv/bin/python -m campaigns.recording_witness JOURNAL .venv/bin/python -m galago_edge run ...

Every message that comes to a recording file is noted before it waits for its chunk, and every chunk behind
the write that gave it to the kernel, each in one write of its own: the journal survives SIGKILL as the chunks
do. So whoever kills the process knows what must be in the file, and what may be.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from galago_edge.commands.cli import main as galago
from galago_edge.recorded.chunk_file import ChannelSpec, ChunkFile

Handed = tuple[str, int, int, str]
"""Topic, number, log time and digest of the data of a message."""


def digest(data: bytes) -> str:
    """Return what the journal keeps of a message."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()


@dataclass
class WitnessedFile:
    """What the journal says of one recording file."""

    path: Path
    handed: list[Handed] = field(default_factory=list)
    """Every message that came to it, in its order."""
    handed_ns: list[int] = field(default_factory=list)
    """When, by the monotonic clock."""
    written: int = 0
    """So many of them are in chunks that the kernel has taken."""


def read_journal(path: Path) -> list[WitnessedFile]:
    """Return what was noted; a line that the kill has torn does not count."""
    files: dict[int, WitnessedFile] = {}
    for line in path.read_bytes().split(b"\n")[:-1]:
        kind, number, *rest = json.loads(line)
        if kind == "begin":
            files[number] = WitnessedFile(Path(rest[0]))
        elif kind == "put":
            at_ns, topic, sequence, log_ns, sha = rest
            files[number].handed.append((topic, sequence, log_ns, sha))
            files[number].handed_ns.append(at_ns)
        else:
            files[number].written = len(files[number].handed)
    return list(files.values())


def witness(journal: Path) -> None:
    """Let every recording file of this process be noted from now on."""
    fd = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    numbers: dict[int, int] = {}
    topics: dict[tuple[int, int], str] = {}
    begin, channel, put, flush = ChunkFile.__init__, ChunkFile.channel, ChunkFile.put, ChunkFile.flush

    def note(*what: Any) -> None:
        os.write(fd, json.dumps(what).encode() + b"\n")

    def began(self: ChunkFile, path: Path, metadata: Mapping[str, Mapping[str, str]]) -> None:
        begin(self, path, metadata)
        numbers[id(self)] = len(numbers)
        note("begin", numbers[id(self)], str(path))

    def of_channel(self: ChunkFile, spec: ChannelSpec) -> int:
        found = channel(self, spec)
        topics[id(self), found] = spec.topic
        return found

    def handed(self: ChunkFile, number: int, sequence: int, log_ns: int, data: bytes) -> None:
        topic = topics[id(self), number]
        note("put", numbers[id(self)], time.monotonic_ns(), topic, sequence, log_ns, digest(data))
        put(self, number, sequence, log_ns, data)

    def written(self: ChunkFile) -> None:
        flush(self)
        note("written", numbers[id(self)])

    # the recorder knows nothing of it: what it promises is judged from outside
    ChunkFile.__init__, ChunkFile.channel = began, of_channel  # type: ignore[method-assign]
    ChunkFile.put, ChunkFile.flush = handed, written  # type: ignore[method-assign]


if __name__ == "__main__":
    witness(Path(sys.argv[1]))
    sys.argv = sys.argv[4:]  # python -m galago_edge: this is the process that it names
    galago()
