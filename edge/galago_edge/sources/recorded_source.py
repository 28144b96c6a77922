"""What cameras and microphones of recording files have in common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.known_names import known_names
from galago_edge.contract.modality import Modality
from galago_edge.contract.streams import AudioBlock, Gap, Item, Notice
from galago_edge.recorded.record_walk import RecordWalk, not_mcap
from galago_edge.recorded.recorded_items import (
    RecordedSource,
    StoredItems,
    choose_source,
    drops_of,
    recorded_sources,
)
from galago_edge.recorded.stored_items import DropMessage, Missing, Stored, StoredPicture
from galago_edge.sources.file_content import check_plain
from galago_edge.sources.recording_damage import DamagedError
from galago_edge.sources.taken_items import from_ns_of


class OpenedRecording:
    """What both have in common: which source, what is missing, how it ends."""

    modality: Modality
    live = False
    _unreadable: Reason
    _truncated: Reason

    def __init__(self, path: Path, name: str | None, stream: str | None = None) -> None:
        """Open ``path``; ``name`` of the source, if there are several. With ``stream``, what that stream did
        not take is left out.

        Raises:
            InputError: RECORDING_UNREADABLE; SOURCE_MISMATCH; nothing of this modality is in it.
            CallerError: CONFIG_BAD; there are several sources, or none of that name. TARGET_UNKNOWN; no
                stream of this name decided on the source.
            LinkError: SOURCE_MISSING, or the disk fails.
            DeviceError: EXTRA_MISSING.
        """
        check_plain(path)
        self._path = path
        self._walk = RecordWalk(path)
        try:
            sources = recorded_sources(self._walk)
            if not sources:
                raise not_mcap(path, "holds no pictures and no sound that can be read")
            self._source: RecordedSource = choose_source(sources, path, self.modality, name)
            self._drops = [] if stream is None else self._drops_of(stream)
        except BaseException:  # whatever it was, the file must not stay open
            self._walk.close()
            raise
        self._stream = stream
        self._stopped = False
        self._next_index = 0
        self._end_ns = 0
        self._begun = False
        self._given = self._missing = 0
        self._first_damage: int | None = None
        self._cut_ns: int | None = None
        self._told_damage: tuple[Reason, int] | None = None
        """What was wrong with the file that this one was imported from: the reason, and where."""

    def _drops_of(self, stream: str) -> list[DropMessage]:
        drops, about = drops_of(self._path, self._source), self._walk.about
        known = {drop.stream for drop in drops}
        known |= {one.name for one in (about.streams if about else ()) if one.source == self._source.name}
        if stream not in known:
            raise CallerError(
                Reason.TARGET_UNKNOWN,
                f"{self._path}: no stream {stream!r} decided on {self._source.name!r}; "
                f"{known_names(stream, known)}",
                hint="correct drops=STREAM, or leave it out to replay every frame",
            )
        return [drop for drop in drops if drop.stream == stream]

    def description(self) -> dict[str, Any]:
        """Return name of the file and of the source, and what the source said of itself."""
        mark = self._source.mark
        said: dict[str, Any] = {"kind": "mcap", "name": self._path.name, "source": self._source.name}
        if mark is None:
            said["recorded_by"] = "another program"
        elif mark.described:
            said["recorded"] = mark.described
        return said | ({} if self._stream is None else {"drops": self._stream})

    def summary(self) -> dict[str, Any]:
        """Return how much was read, and how many recorded items are missing."""
        unit = "frames" if self.modality == "camera" else "samples"
        counts = {f"recorded_{unit}": self._given}
        return counts | ({"unreadable": self._missing} if self._missing else {})

    def stop(self) -> None:
        """End after the current item."""
        self._stopped = True

    def _items(self) -> Iterator[Stored]:
        """Yield what is stored, up to ``stop``."""
        stored = StoredItems(self._walk, self._source)
        try:
            for item in stored:
                if self._stopped:
                    return
                if isinstance(item, Notice):
                    self._remember(item)
                yield item
        finally:
            self._walk.close()
        if not stored.whole:
            self._cut_ns = self._end_ns

    def _remember(self, notice: Notice) -> None:
        """Keep in mind what fails a file of which this is a copy."""
        mark = self._source.mark
        if mark is None or mark.origin == "device" or notice.state not in ("truncated", "unreadable"):
            return
        reason = self._truncated if notice.state == "truncated" else self._unreadable
        if (said := str(notice.detail.get("reason"))) in Reason.__members__:
            reason = Reason(said)
        if self._told_damage is None or notice.state == "truncated":
            self._told_damage = (reason, notice.ns)

    def _beginning(self, item: Stored) -> Iterator[Gap]:
        """Say what was not recorded before the first item: the stream's time began before."""
        if self._begun or isinstance(item, Missing | Notice) or self._source.mark is None:
            return
        self._begun = True
        from_ns = item.captured_ns if isinstance(item, StoredPicture | AudioBlock) else from_ns_of(item)
        if from_ns > self._end_ns:
            yield Gap(self._end_ns, from_ns, "missing")

    def _lost(self, missing: Missing) -> Iterator[Item]:
        """Say what cannot be read any more."""
        self._begun = True
        self._missing += missing.items
        if self._first_damage is None:
            self._first_damage = self._end_ns
        detail = {"items": missing.items, "fault": missing.why}
        yield Notice("unreadable", self._next_index, self._end_ns, detail)
        yield Gap(self._end_ns, max(self._end_ns, missing.to_ns or 0), "unreadable")
        self._end_ns = max(self._end_ns, missing.to_ns or 0)

    def _ending(self) -> Iterator[Item]:
        """Say that the file ends early, if it does."""
        if self._cut_ns is None:
            return
        unit = "frames" if self.modality == "camera" else "samples"
        yield Notice("truncated", self._next_index, self._end_ns, {unit: self._given})
        yield Gap(self._end_ns, self._end_ns, "truncated")

    def _judge(self) -> None:
        """Say what was wrong with the whole.

        Raises:
            DamagedError: The reason of the modality.
        """
        hint = "galago recording check says where; what is whole is taken"
        if self._cut_ns is not None:
            also = f", and {self._missing} items before are missing" if self._missing else ""
            text = f"{self._path} ends early, at {self._cut_ns / 1e9:.3f} s: its recorder was ended{also}"
            raise DamagedError(self._truncated, text, hint=hint)
        if self._first_damage is not None:
            many = f"{self._missing} of its items" if self._missing else "some of it"
            first_s = self._first_damage / 1e9
            text = f"{self._path} is damaged: {many} cannot be read, the first at {first_s:.3f} s"
            raise DamagedError(self._unreadable, text, hint=hint)
        if self._told_damage is not None:
            reason, at_ns = self._told_damage
            text = f"{self._path} is a whole copy of a file that was damaged, at {at_ns / 1e9:.3f} s"
            raise DamagedError(reason, text, hint="record it again; what is whole is taken")
