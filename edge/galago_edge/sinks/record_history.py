"""What a device has said, read back from its log and its spool: each record once, in the order of writing.

The log holds every record, the spool those that are not delivered yet and some that are. A record has no key
before it is delivered: what makes one the same in both is its line, which is the same to the last byte. The
spool is written first, so both are parts of one row, and are joined where they meet.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from galago_edge.contract.errors import LinkError, Reason, disk_error
from galago_edge.contract.records import AttachmentRecord, EventRecord, Record, decode_record
from galago_edge.contract.settings import Settings
from galago_edge.host.small_file import NotPlainError, TooLongError, read_small
from galago_edge.sinks.log_files import LogFiles
from galago_edge.sinks.stored_record import scan_records

_SEGMENT = re.compile(r"([0-9]{20})\.spool")
_SEGMENT_BYTES = 1 << 30
_EVENT = b'{"v":1,"kind":"event"'
_SHOWN = (_EVENT, b'{"v":1,"kind":"attachment"')


@dataclass(frozen=True, slots=True)
class KeptRecord:
    """One record as it was written."""

    line: bytes
    """JSON, without a newline."""
    record: Record


class RecordHistory:
    """Reads and changes nothing; may be used while a service writes."""

    def __init__(self, log: Path | None, spool: Path | None) -> None:
        """Name the log and the spool's folder; either may be None, or not be there."""
        self._log = log
        self._spool = spool
        self.damaged = 0
        """Lines that could not be read, so far."""
        self.damaged_spooled = 0
        """Spooled records that cannot be read any more."""

    def __iter__(self) -> Iterator[KeptRecord]:
        """Yield every record, the oldest first.

        Raises:
            LinkError: SOURCE_MISSING, there is neither log nor spool; or one of them cannot be read.
        """
        files = LogFiles(self._log) if self._log is not None else None
        spooled = self._spooled()
        if spooled is None and (files is None or files.empty):
            places = " and ".join(str(place) for place in (self._log, self._spool) if place is not None)
            raise LinkError(
                Reason.SOURCE_MISSING,
                f"there is no record yet: {places} does not exist",
                hint="check the path, and whether galago run has ever run with this configuration",
            )
        lines = files.lines() if files is not None else iter(())
        for line in _joined(lines, list(spooled or ())):
            if (kept := self._kept(line)) is not None:
                yield kept

    def newest_events(self, count: int, limit_bytes: int) -> list[EventRecord | AttachmentRecord]:
        """Return the last events and the attachments behind them, the newest first.

        They come from at most ``limit_bytes`` of the log and from the spool.

        Raises:
            LinkError: One of them cannot be read.
        """
        lines = LogFiles(self._log).newest(limit_bytes) if self._log is not None else iter(())
        logged = _newest(lines, count)
        spooled = _newest(reversed(list(self._spooled() or ())), count)
        joined = _newest(reversed(list(_joined(reversed(logged), spooled[::-1]))), count)
        kept = (each.record for line in joined if (each := self._kept(line)) is not None)
        return [record for record in kept if isinstance(record, EventRecord | AttachmentRecord)]

    def _kept(self, line: bytes) -> KeptRecord | None:
        # some file systems fill with zeros what they had promised and not yet written
        written = line.lstrip(b"\0")
        self.damaged += len(written) != len(line)
        if not written.strip():
            return None
        try:
            return KeptRecord(written, decode_record(written))
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.damaged += len(written) == len(line)
            return None

    def _spooled(self) -> Iterable[bytes] | None:
        """Return the lines of the spool's records by their number; None when there is no spool."""
        if self._spool is None:
            return None
        try:
            names = sorted(path.name for path in self._spool.iterdir())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise disk_error(error, f"read {self._spool}") from None
        lines: dict[int, bytes] = {}
        missing: set[int] = set()
        for name in names:
            if (found := _SEGMENT.fullmatch(name)) is None:
                continue
            try:
                data = read_small(self._spool / name, _SEGMENT_BYTES)
            except FileNotFoundError:
                continue  # delivered and removed meanwhile
            except (NotPlainError, TooLongError) as error:
                raise LinkError(
                    Reason.IO, f"{self._spool / name} is no segment of a spool", hint="remove it"
                ) from error
            except OSError as error:
                raise disk_error(error, f"read {self._spool / name}") from None
            expected = int(found[1])
            # what stands in a later segment again is there because the disk would not take it back here
            for seq in [seq for seq in lines if seq >= expected]:
                del lines[seq]
            for _, record in scan_records(data):
                if 0 <= record.seq - expected <= len(data):
                    missing.update(range(expected, record.seq))
                    lines[record.seq] = record.line.rstrip(b"\n")
                    expected = record.seq + 1
        self.damaged_spooled = len(missing - lines.keys())
        return (lines[seq] for seq in sorted(lines))


def history_of(
    settings: Settings, root: Path | None, read: Callable[[str], str] = lambda text: text
) -> RecordHistory:
    """Return the history of a device with these settings; ``root`` is the folder of its store.

    Without ``root`` only a spool that the settings name is read. ``read`` is given each path of the settings
    and returns what it stands for.
    """
    log = getattr(settings.sinks.get("log"), "path", None)
    folder = read(settings.spool.dir) or (root / "spool" if root is not None else None)
    return RecordHistory(Path(read(log)) if log else None, Path(folder) if folder else None)


def _newest(lines: Iterable[bytes], count: int) -> list[bytes]:
    """Return the first ``count`` lines of events, and those of attachments before them."""
    found: list[bytes] = []
    events = 0
    for line in lines:
        if line.startswith(_SHOWN):
            found.append(line)
            events += line.startswith(_EVENT)
            if events == count:
                break
    return found


def _joined(logged: Iterable[bytes], spooled: list[bytes]) -> Iterator[bytes]:
    """Yield the lines of both, each once: where they meet, what only the spool has stands before it."""
    places: dict[bytes, deque[int]] = {}
    for place, line in enumerate(spooled):
        places.setdefault(line, deque()).append(place)
    done = 0
    for line in logged:
        if (known := places.get(line)) is None:
            yield line
            continue
        while known and known[0] < done:
            known.popleft()
        if not known:
            continue  # it came from the spool already
        yield from spooled[done : known[0]]
        done = known.popleft() + 1
        yield line
    yield from spooled[done:]
