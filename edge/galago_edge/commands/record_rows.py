"""Records as ``galago events`` shows them: lines of a table, or of comma-separated values."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

from galago_edge.commands.cli import data_line
from galago_edge.contract.attachment import FOLDER, is_attachment
from galago_edge.contract.decoding import from_json
from galago_edge.contract.printable import on_one_line
from galago_edge.contract.records import AttachmentRecord, EventRecord, GapRecord, Record, StateRecord
from galago_edge.host.own_folders import status_of
from galago_edge.host.time_zone import TimeZone
from galago_edge.sinks.attached_events import AttachedRecord

_NS = 1_000_000_000
_COLUMNS = (
    "time", "clock_synced", "stream", "kind", "seq", "label", "score", "subject", "state", "cause",
    "start_ns", "end_ns", "backend", "bundle", "detail", "attachment", "attachment_path",
)  # fmt: skip
_DETAIL_LETTERS = 100
_GONE = "gone"
_FORMULA = re.compile(r"((?:^|;)\s*)(?=[=+\-@\uff1d\uff0b\uff0d\uff20].)")
"""Where a spreadsheet would begin to calculate: half of Europe's take ``;`` for the end of a cell."""
_THINGS = {"image/jpeg": "picture", "audio/wav": "sound"}


class RecordRows:
    """Makes a row of each record; knows the device's zone and where its attachments lie."""

    header = ",".join(_COLUMNS)
    """Of comma-separated values."""

    def __init__(self, zone: TimeZone, root: Path | None) -> None:
        """``root`` is the device's store; without it nothing is said of whether a file is there."""
        self._zone = zone
        self._root = root

    def csv(self, row: AttachedRecord) -> str:
        """Return comma-separated values without a line end, in the order of ``header``.

        They are one line that does nothing to a terminal, and no formula to a spreadsheet.
        """
        data = from_json(row.kept.line)
        attachment = row.own_attachment
        values = data | {
            "time": self._time(row.kept.record),
            "start_ns": data.get("start_ns", data.get("from_ns", data.get("ns"))),
            "end_ns": data.get("end_ns", data.get("to_ns", data.get("ns"))),
            "attachment": attachment.file if attachment is not None else "",
            "attachment_path": self._place(attachment) if attachment is not None else "",
        }
        if "detail" in data:
            told = data["detail"]
            values["detail"] = data_line(json.dumps(told, ensure_ascii=False)) if told else ""
        text = io.StringIO()
        csv.writer(text, lineterminator="").writerow([_cell(values.get(column, "")) for column in _COLUMNS])
        return text.getvalue()

    def table(self, row: AttachedRecord) -> str:
        """Return a line for people."""
        record = row.kept.record
        time = self._time(record)
        doubt = "" if record.clock_synced is True or time == "-" else "?"
        words = _words(record)
        if (attachment := row.own_attachment) is not None:
            words = f"{words}, {self._file(attachment)}"
        return f"{time + doubt:<26} {record.stream or '-':<12} {record.kind:<6} {words}"

    def _time(self, record: Record) -> str:
        return self._zone.written(record.wall_ns) if isinstance(record.wall_ns, int) else "-"

    def _file(self, attachment: AttachmentRecord) -> str:
        place = self._place(attachment)
        file = f"{attachment.file}, {_GONE}" if place == _GONE else place or attachment.file
        return f"{_THINGS.get(attachment.media_type, 'attachment')} {file}"

    def _place(self, attachment: AttachmentRecord) -> str:
        """Return the path of the file, ``gone``, or nothing where nobody can tell."""
        if self._root is None or not is_attachment(attachment.file):
            return ""
        path = self._root / FOLDER / attachment.file
        try:
            return str(path) if status_of(path, (self._root,)) is not None else _GONE
        except OSError:  # not ours to look into
            return ""


def _cell(value: Any) -> Any:
    """Return a value as it may stand in a table that is opened by anything."""
    return _FORMULA.sub(r"\1'", on_one_line(value)) if isinstance(value, str) else value


def _words(record: Record) -> str:
    if isinstance(record, EventRecord):
        return f"{record.label}, score {record.score:.2f}"
    if isinstance(record, GapRecord):
        return f"{record.cause}, {(record.to_ns - record.from_ns) / _NS:.1f} s"
    if isinstance(record, StateRecord):
        detail = ", ".join(f"{key} {_short(value)}" for key, value in record.detail.items())
        return " ".join(filter(None, (record.subject, record.state, f"({detail})" if detail else "")))
    if isinstance(record, AttachmentRecord):
        return f"of {record.label}, event {record.seq}"
    return f"window {record.window}" + (f", skipped: {record.skipped}" if not record.scores else "")


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _DETAIL_LETTERS else text[:_DETAIL_LETTERS] + "…"
