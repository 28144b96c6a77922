"""Records back from the lines that ``galago run`` and ``galago replay`` write."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import InputError, LinkError, Reason, disk_error
from galago_edge.contract.records import Record, decode_record

LINE_LIMIT_BYTES = 1 << 20
"""A record has some hundred bytes; whatever is longer than this is none."""
_BEGINNING = b'{"v":1,"kind":"'


class CutRecordWarning(UserWarning):
    """A line was cut off in the middle, as a power cut does it, and is left out."""


def read_records(lines: str | os.PathLike[str] | Iterable[bytes | str]) -> Iterator[Record]:
    """Yield the records of a JSONL file, or of lines from anywhere else.

    A line that was cut off in the middle is left out with a :class:`CutRecordWarning`: the last one of a log
    that is being written or whose device lost its power, or one in the middle where the log went on later.
    ``warnings.simplefilter("error", CutRecordWarning)`` makes an error of it. Nothing else is left out.

    Args:
        lines: Path of a file; or lines, such as a file opened by the program, or a pipe.

    Raises:
        LinkError: SOURCE_MISSING, there is no such file; or it cannot be read.
        InputError: DATA_BAD; a line is whole and no record of this version. All before it were yielded.
    """
    if isinstance(lines, str | os.PathLike):
        path = Path(lines)
        name, source = str(path), _lines_of(path)
    else:
        name, source = "the lines", (line.encode() if isinstance(line, str) else line for line in lines)
    for number, line in enumerate(source, 1):
        if not line.strip():
            continue
        try:
            yield _record(line, f"{name}, line {number}")
        except _CutOffError as cut:
            warnings.warn(str(cut), CutRecordWarning, stacklevel=2)


class _CutOffError(Exception):
    """Only the beginning of a record is there."""


def _record(line: bytes, where: str) -> Record:
    if len(line) > LINE_LIMIT_BYTES:
        raise _no_record(where, f"it has more than {LINE_LIMIT_BYTES} bytes")
    try:
        return decode_record(line)
    except msgspec.ValidationError as error:  # JSON, so it is whole
        raise _no_record(where, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # some file systems fill with zeros what they had promised and not yet written
        begun = line.strip(b"\0\r\n")
        if (begun.startswith(_BEGINNING) or _BEGINNING.startswith(begun)) and _ends_early(begun):
            raise _CutOffError(f"{where} is cut off after {len(begun)} bytes and left out") from None
        raise _no_record(where, str(error)) from None


def _ends_early(begun: bytes) -> bool:
    """Tell whether JSON is right up to its last byte, and only lacks its end."""
    try:
        from_json(begun)
    except msgspec.DecodeError as error:
        # a number that stops behind its point or sign is malformed there, and may go on
        return "truncated" in str(error) or f"invalid number (byte {len(begun)})" in str(error)
    return False


def _no_record(where: str, why: str) -> InputError:
    return InputError(
        Reason.DATA_BAD,
        f"{where} is no record of version 1: {why}",
        hint="expected lines that galago run or galago replay wrote",
    )


def _lines_of(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while line := file.readline(LINE_LIMIT_BYTES + 1):
                yield line
    except FileNotFoundError:
        raise LinkError(Reason.SOURCE_MISSING, f"{path} does not exist", hint="check the path") from None
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
