"""A list of recordings in a file, TOML or CSV, with what is known of each.

::

    [[recording]]
    path = "barn/night-1.wav"          # options as on the command line: "x.raw?rate=16000"
    sha256 = "9f86d081..."             # optional: refuse it when its content is another
    labels = "barn/night-1.tsv"        # optional: NAME.labels.tsv beside the recording without it
    start_time = 2026-05-01T22:00:00+02:00
    tags = { site = "barn", night = "1" }

In CSV the first line names the columns: ``path``, ``sha256``, ``labels``, ``start_time`` and one column
``tags.NAME`` for each tag; an empty field says nothing.
"""

from __future__ import annotations

import csv
import datetime
import io
import re
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec

from galago_edge.contract.count_words import count_of
from galago_edge.contract.errors import CallerError, InputError, Reason, disk_error
from galago_edge.contract.known_names import did_you_mean
from galago_edge.host.small_file import read_small
from galago_edge.host.toml_file import TOML_LIMIT_BYTES, load_toml, tables_as

_DOCS = "docs/qa-replay.md"
_MOMENT = "2026-05-01T22:00:00+02:00"
_SUFFIXES = (".toml", ".csv")
_TAG = "tags."
_TABLE = re.compile(rb"[ \t]*\[\[[ \t]*recording[ \t]*\]\]")
_COLUMNS = ("path", "sha256", "labels", "start_time")

Sha256Hex = Annotated[
    str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z", description="the 64 hexadecimal digits of a SHA-256")
]
_Path = Annotated[str, msgspec.Meta(min_length=1, description="a path")]


class ListedRecording(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One recording of a manifest, as it is written."""

    path: _Path
    """Relative to the manifest, or absolute; options may stand behind a question mark."""
    sha256: Sha256Hex | None = None
    labels: _Path | None = None
    start_time: datetime.datetime | None = None
    """When its first frame or sample was taken, with a time zone."""
    tags: dict[str, str] = {}

    def __post_init__(self) -> None:
        """Refuse a moment that is none everywhere.

        Raises:
            ValueError: As said, in words.
        """
        if self.start_time is not None and self.start_time.utcoffset() is None:
            raise ValueError(f"start_time {self.start_time.isoformat()} has no zone, expected {_MOMENT}")


class ListedRow(NamedTuple):
    """One recording of a manifest, and where it stands there."""

    said: ListedRecording
    place: str
    """The manifest and the line, for messages."""


class _Listing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    recording: tuple[dict[str, Any], ...] = ()
    """Each is read by itself, so that a fault is told with its line."""


def is_manifest(path: Path) -> bool:
    """Tell whether a file is a list of recordings, by its name."""
    return path.suffix.lower() in _SUFFIXES and not path.is_dir()


def read_corpus_manifest(path: Path) -> tuple[ListedRow, ...]:
    """Return what a manifest lists, in its order.

    Raises:
        CallerError: CONFIG_BAD; a key is unknown or a value none.
        InputError: DATA_BAD; it is no CSV.
        LinkError: It cannot be read.
    """
    if path.suffix.lower() == ".toml":
        listed = load_toml(path, _Listing, docs=_DOCS).recording
        places = _places(path, len(listed))
        return tuple(ListedRow(_listed(one, place), place) for one, place in zip(listed, places, strict=True))
    return _csv(path)


def _places(path: Path, count: int) -> list[str]:
    """Return where each table of a TOML file stands: its line, or its number where lines do not tell it."""
    lines = read_small(path, TOML_LIMIT_BYTES).split(b"\n")
    heads = [number for number, line in enumerate(lines, 1) if _TABLE.match(line)]
    if len(heads) == count:
        return [f"{path}, line {number}" for number in heads]
    return [f"{path}, recording {number}" for number in range(1, count + 1)]


def _csv(path: Path) -> tuple[ListedRow, ...]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
    found, line = [], 1
    try:
        rows = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        columns = next(rows, [])
        _check_columns(columns, path)
        line = rows.line_num + 1
        for row in rows:
            if row:
                place = f"{path}, line {line}"
                found.append(ListedRow(_row(columns, row, place), place))
            line = rows.line_num + 1  # a field in quotes may go over several
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise _no_csv(path, line, f"byte 0x{error.object[error.start]:02x} is no UTF-8") from None
    except csv.Error as error:
        raise _no_csv(path, line, f"the row that begins here: {error}") from None
    return tuple(found)


def _no_csv(path: Path, line: int, why: str) -> InputError:
    return InputError(Reason.DATA_BAD, f"{path}, line {line}: no CSV in UTF-8: {why}", hint=f"see {_DOCS}")


def _check_columns(columns: list[str], path: Path) -> None:
    where = f"{path}, line 1"
    if "path" not in columns:
        raise _bad(f"{where}: no column is called path, which says where a recording lies")
    for column in columns:
        if column in _COLUMNS or (column.startswith(_TAG) and column != _TAG):
            continue
        near = did_you_mean(column, _COLUMNS) or f"; a tag's column is called {_TAG}NAME"
        raise _bad(f"{where}: the column {column!r} is unknown{near}")
    for column in columns:
        if columns.count(column) > 1:
            raise _bad(
                f"{where}: there are {count_of(columns.count(column), 'column')} {column}, expected one"
            )


def _row(columns: list[str], row: list[str], where: str) -> ListedRecording:
    if len(row) != len(columns):
        raise _bad(f"{where}: met {count_of(len(row), 'field')}, expected {len(columns)}, as in line 1")
    said = {column: text for column, text in zip(columns, row, strict=True) if text}
    tags = {column.removeprefix(_TAG): said.pop(column) for column in list(said) if column.startswith(_TAG)}
    return _listed({**said, "tags": tags}, where)


def _listed(said: dict[str, Any], where: str) -> ListedRecording:
    try:
        if "start_time" in said:
            said = {**said, "start_time": _moment(said["start_time"])}
        return tables_as(ListedRecording, said)
    except (msgspec.ValidationError, ValueError) as error:
        raise _bad(f"{where}: {error}") from None


def _moment(said: Any) -> datetime.datetime:
    """Return what is said as a moment.

    Raises:
        ValueError: It is none.
    """
    try:
        return msgspec.convert(said, datetime.datetime)
    except msgspec.ValidationError:
        raise ValueError(f"start_time {str(said)[:40]!r} is no moment, expected {_MOMENT}") from None


def _bad(text: str) -> CallerError:
    return CallerError(Reason.CONFIG_BAD, text, hint=f"see {_DOCS}")
