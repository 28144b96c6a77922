"""A table of samples, in CSV or JSON lines: which file, which label, and perhaps which group and part.

``galago data review`` writes such tables, too, with who said the label and when.
"""

from __future__ import annotations

import csv
import io
import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import GalagoError, InputError, Reason, disk_error
from galago_edge.contract.printable import on_one_line, printable
from galago_workstation.data.class_folders import file_sha256
from galago_workstation.data.listing import Listing, Met, check_labels, make_listing, refuse
from galago_workstation.data.sample import Part, Sample
from galago_workstation.files import named_path
from galago_workstation.training_config import AudioFolders, ImageFolders

_HINT = (
    "a row has path and label, and may have group and part (train, validation, test); CSV names them first"
)


class ManifestRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One sample."""

    path: Annotated[str, msgspec.Meta(min_length=1)]
    """From the table's folder, as ``printable`` has it."""
    label: str = ""
    """In Unicode's form NFC; empty where nobody has said it yet."""
    group: str = ""
    part: Literal["", "train", "validation", "test"] = ""
    reviewer: str = ""
    """Who said the label, where that was noted; training does not ask."""
    reviewed_utc: str = ""

    @property
    def given_part(self) -> Part | None:
        """The part that the table gives it, if any."""
        return self.part or None


def list_manifest(data: ImageFolders | AudioFolders, root: Path, met: Met = refuse) -> Listing:
    """List and hash the samples that ``[data] manifest`` names, whose paths start at its folder.

    Args:
        data: The configuration's ``[data]``.
        root: The folder that ``manifest`` is relative to.
        met: Is told what is wrong, each time; the listing is then of what is left.

    Raises:
        InputError: DATA_BAD for the table and for files that are missing, and as :func:`list_folders`.
        LinkError: A file cannot be read.
    """
    assert data.manifest is not None
    path = root / data.manifest
    rows = list(manifest_rows(path, met))
    labels = sorted({row.label for _, row in rows})
    check_labels(labels, str(path), met)
    samples: list[Sample] = []
    lines: dict[Path, int] = {}
    for number, row in rows:
        file = named_path(path.parent, row.path)
        try:
            if (first := lines.setdefault(file, number)) != number:
                raise InputError(
                    Reason.DATA_BAD, f"{row.path!r} is also in line {first}", hint="remove one of the two"
                )
            samples.append(_sample(data, root, file, row, labels))
        except GalagoError as error:
            met(_placed(path, number, error))
    return make_listing(labels, samples, None, met)


def _sample(
    data: ImageFolders | AudioFolders, root: Path, file: Path, row: ManifestRow, labels: Sequence[str]
) -> Sample:
    if not file.is_file():
        found = "is no file" if file.exists() else "does not exist"
        raise InputError(
            Reason.DATA_BAD, f"{on_one_line(str(file))} {found}", hint="paths start at the manifest's folder"
        )
    return Sample(
        id=printable(Path(os.path.relpath(file, root)).as_posix()),
        path=file,
        sha256=file_sha256(file, pictures=isinstance(data, ImageFolders)),
        label=labels.index(row.label),
        group=row.group or None,
        part=row.given_part,
    )


def manifest_rows(
    path: Path, met: Met = refuse, *, labelled: bool = True
) -> Iterator[tuple[int, ManifestRow]]:
    """Yield the rows of a table of samples with the numbers of their lines, from 1.

    Args:
        path: The table; ``.jsonl`` and ``.ndjson`` are JSON lines, everything else is CSV.
        met: Is told which rows are wrong; they are left out.
        labelled: Whether a row without a label is wrong.

    Raises:
        InputError: DATA_BAD; it is not there, or no table.
        LinkError: It cannot be read.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise InputError(
            Reason.DATA_BAD, f"{path} does not exist", hint="[data] manifest starts at the configuration file"
        ) from None
    except UnicodeDecodeError as error:
        raise InputError(
            Reason.DATA_BAD, f"{path} is not UTF-8 (byte {error.start})", hint="save it as UTF-8"
        ) from None
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
    json_lines = path.suffix.lower() in (".jsonl", ".ndjson")
    for number, fields in _json_rows(text) if json_lines else _csv_rows(text):
        try:
            row = msgspec.convert(from_json(fields) if isinstance(fields, str) else fields, ManifestRow)
            if labelled and not row.label:
                raise msgspec.ValidationError("Object missing required field `label`")
        except msgspec.DecodeError as error:
            met(_placed(path, number, InputError(Reason.DATA_BAD, str(error), hint=_HINT)))
        else:
            yield number, msgspec.structs.replace(row, label=unicodedata.normalize("NFC", row.label))


def manifest_bytes(rows: Iterable[ManifestRow]) -> bytes:
    """Return a table as CSV, with the columns that any of the rows needs."""
    told = [msgspec.to_builtins(row) for row in rows]
    names = [name for name in ManifestRow.__struct_fields__ if any(name in row for row in told)]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names or ("path", "label"))
    writer.writerows([row.get(name, "") for name in names] for row in told)
    return text.getvalue().encode()


def _csv_rows(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    names: list[str] = []
    try:
        for fields in reader:
            if not names:
                names = [name.strip() for name in fields]
            elif fields:
                # one field more or fewer than there are columns is an unknown or a missing key
                named = dict(zip(names, fields, strict=False))
                more = {f"column {len(names) + 1}": "" for _ in fields[len(names) :]}
                yield reader.line_num, {key: value for key, value in named.items() if value} | more
    except csv.Error as error:
        raise InputError(Reason.DATA_BAD, f"line {reader.line_num}: no CSV ({error})", hint=_HINT) from None


def _json_rows(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, line


def _placed(path: Path, number: int, error: GalagoError) -> InputError:
    return InputError(error.reason, f"{path}, line {number}: {error}", hint=error.hint)
