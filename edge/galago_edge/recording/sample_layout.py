"""Names and sizes in a samples folder, and what is counted from them after a restart.

::

    DIR/BUNDLE/LABEL/STEM.png             what the model saw; .jpg when the camera sent it, .wav for sound
    DIR/BUNDLE/.context/STEM.json         what was decided, and why the sample was kept
    DIR/BUNDLE/.context/STEM.wav          the sound with pre-roll and post-roll
    DIR/BUNDLE/.context/STEM-pre1.jpg     the pictures before, STEM-post1.jpg those after

``DIR/BUNDLE`` is a data set of class folders as ``galago train`` reads it; that skips names with a dot.
STEM is ``20261122T114300123Z-STREAM-TRIGGER-NUMBER``.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from galago_edge.contract.attachment import moment_of
from galago_edge.host.time_zone import TimeZone

CONTEXT = ".context"
TEMPORARY = ".tmp-"
_STEM = re.compile(
    r"(?P<moment>\d{8}T\d{6})\d{3}Z-(?P<stream>.+)-(?P<trigger>first|flip|near|uncertain)-[0-9a-f]{6}\Z"
)
_ESCAPED = re.compile(r"[\x00-\x1f\x7f/]|^\.|%(?=[0-9A-Fa-f]{2})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Named:
    """What a file's name says."""

    day: str
    """``2026-11-22``, in the device's time zone; the name itself has the moment in UTC."""
    stream: str
    trigger: str


@dataclass(slots=True)
class Usage:
    """What lies in a samples folder."""

    total_bytes: int = 0
    """Of every file, whoever wrote it."""
    day_bytes: Counter[str] = field(default_factory=Counter)
    per_class: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """Samples by day, bundle and class folder."""
    firsts: set[tuple[str, str, str]] = field(default_factory=set)
    """Day, stream and class folder of those kept as ``first``."""
    sidecars: dict[str, list[Path]] = field(default_factory=dict)
    """By bundle, the newest last."""

    def add(self, named: Named, bundle: str, folder: str, size: int) -> None:
        """Count a sample with everything that belongs to it."""
        self.total_bytes += size
        self.day_bytes[named.day] += size
        self.count(named, bundle, folder)

    def count(self, named: Named, bundle: str, folder: str) -> None:
        """Count a sample, its bytes apart."""
        self.per_class[named.day, bundle, folder] += 1
        if named.trigger == "first":
            self.firsts.add((named.day, named.stream, folder))


def class_folder(label: str) -> str:
    """Return the folder's name of a label: the label, save for what a file name cannot hold.

    >>> class_folder("smoke alarm"), class_folder("on/off"), class_folder(".."), class_folder("50%")
    ('smoke alarm', 'on%2Foff', '%2E.', '50%')
    """
    return _ESCAPED.sub(lambda found: f"%{ord(found[0]):02X}", label)


def stem(wall_ns: int, stream: str, trigger: str, number: str) -> str:
    """Return the name of a sample that is kept now.

    >>> stem(1_795_348_980_123_000_000, "door", "near", "00c0de")
    '20261122T114300123Z-door-near-00c0de'
    """
    return f"{moment_of(wall_ns)}-{stream}-{trigger}-{number}"


def read_stem(name: str, zone: TimeZone) -> Named | None:
    """Return what a stem says, with its day in ``zone``; None when it is not one of ours.

    >>> read_stem("20261122T114300123Z-front-door-near-00c0de", TimeZone())
    Named(day='2026-11-22', stream='front-door', trigger='near')
    """
    found = _STEM.match(name)
    if found is None:
        return None
    try:
        moment = datetime.strptime(found["moment"], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError:  # digits that are no date
        return None
    wall_ns = (moment - _EPOCH) // timedelta(microseconds=1) * 1000
    return Named(zone.day(wall_ns), found["stream"], found["trigger"])


def look(root: Path, zone: TimeZone) -> Usage:
    """Count what lies in a samples folder and remove what broken writes left.

    Strange names, foreign files and what cannot be looked at are no trouble: every file's bytes count, and
    those that bear one of our names count for their day in ``zone``. Links are not followed.
    """
    usage = Usage()
    for entry, parts in _files(root, ()):
        if entry.name.startswith(TEMPORARY) and parts[1:] == (CONTEXT,):
            with contextlib.suppress(OSError):
                Path(entry.path).unlink()
            continue
        try:
            size = entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue  # gone meanwhile
        usage.total_bytes += size
        in_context = parts[1:] == (CONTEXT,)
        name, _, suffix = entry.name.rpartition(".")
        if in_context:
            name = re.sub(r"-(pre|post)\d\Z", "", name)
        named = read_stem(name, zone)
        if named is None:
            continue
        usage.day_bytes[named.day] += size
        if in_context:
            if suffix == "json":
                usage.sidecars.setdefault(parts[0], []).append(Path(entry.path))
        elif len(parts) >= 2:  # sub-folders of a class folder belong to the class
            usage.count(named, parts[0], parts[1])
    for paths in usage.sidecars.values():
        paths.sort(key=lambda path: path.name)
    return usage


def _files(folder: str | Path, parts: tuple[str, ...]) -> Iterator[tuple[os.DirEntry[str], tuple[str, ...]]]:
    """Yield every regular file with the folders that it lies in, below the first one."""
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except OSError:
        return
    for entry in found:
        try:
            mode = entry.stat(follow_symlinks=False).st_mode
        except OSError:
            continue
        if stat.S_ISDIR(mode):
            yield from _files(entry.path, (*parts, entry.name))
        elif stat.S_ISREG(mode):
            yield entry, parts
