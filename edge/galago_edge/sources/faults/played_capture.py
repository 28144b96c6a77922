"""One connection to a recording that plays a live source: what a capture hands over of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from galago_edge.contract.errors import LinkError, Reason
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, Gap
from galago_edge.sources.capture.jpeg_decoding import JpegDecoding
from galago_edge.sources.faults.frame_damage import damaged_bytes, garbage
from galago_edge.sources.faults.played_recording import LivedFault, PlayedRecording, arrival_of, begin_of


def open_played(played: PlayedRecording, name: str, *, conceal: bool) -> PlayedCapture:
    """Connect to the source that ``played`` plays, now by its clock.

    Raises:
        LinkError: SOURCE_MISSING; it is away, or the recording is over.
    """
    lived = played.away()
    if lived is None and not played.over:
        return PlayedCapture(played, name, conceal=conceal)
    why = "the recording is over" if lived is None else f"away by fault {lived.number}"
    raise LinkError(Reason.SOURCE_MISSING, f"{name} cannot be opened: {why}", hint="it is tried again")


class PlayedCapture:
    """A :class:`galago_edge.sources.source.Capture`. Frames count from 0, as those of each connection do."""

    def __init__(self, played: PlayedRecording, name: str, *, conceal: bool) -> None:
        """Capture what ``played`` gives from now on; for ``conceal`` see ``SourceSettings.damaged``."""
        self._played, self._name = played, name
        self._decoding = JpegDecoding(name, conceal=conceal)
        self._zero: int | None = None
        """Index of the frame that is number 0 here."""
        self._overrun_ns: int | None = None
        """Where samples begin that the system had no room for."""

    def description(self) -> dict[str, Any]:
        """Return nothing: what a recording says of itself is in the stream's first record."""
        return {}

    def read(self, timeout_s: float) -> Frame | AudioBlock | Gap | None:
        """Return what is next, or None when nothing came in time.

        Raises:
            LinkError: SOURCE_LOST; a disconnect. SOURCE_MISMATCH, when no picture is whole.
        """
        try:
            return self._read(timeout_s)
        except LinkError:
            raise
        except Exception as error:  # noqa: BLE001 no device meets it, so no supervision may try again
            self._played.fail(error)
            return None

    def _read(self, timeout_s: float) -> Frame | AudioBlock | Gap | None:
        self._decoding.check()
        played = self._played
        deadline_ns = played.now_ns + round(timeout_s * NS_PER_S)
        while (item := played.peek()) is not None:
            if (lived := played.breaks(min(begin_of(item), deadline_ns))) is not None:
                played.now_ns = max(played.now_ns, lived.fault.from_ns)
                raise LinkError(
                    Reason.SOURCE_LOST, f"{self._name} is lost by fault {lived.number}", hint="it is reopened"
                )
            lived = played.lasting(item)
            if lived is not None and lived.fault.kind == "stall":
                self._number(item, stalled=True)
                played.hit(lived, item)
                played.take()
            elif arrival_of(item) > deadline_ns:
                played.now_ns = deadline_ns
                return None
            elif self._overrun_ns is not None and lived is None and isinstance(item, AudioBlock):
                # a capture tells it before the samples that do not follow on those before
                gap, self._overrun_ns = Gap(self._overrun_ns, item.captured_ns, "overrun"), None
                return gap
            elif (found := self._captured(item, lived)) is not None:
                return found
        return None

    def close(self) -> None:
        """Do nothing: the recording goes on without anybody."""

    def _captured(
        self, item: Frame | AudioBlock | Gap, lived: LivedFault | None
    ) -> Frame | AudioBlock | Gap | None:
        """Take what has arrived, and return what of it comes through; None for nothing."""
        played = self._played
        played.take()
        played.now_ns = max(played.now_ns, arrival_of(item))
        if isinstance(item, Frame):
            item = self._number(item)
        if lived is None or isinstance(item, Gap):
            played.given = True
            return item
        played.hit(lived, item)
        if isinstance(item, AudioBlock):
            self._overrun_ns = item.captured_ns if self._overrun_ns is None else self._overrun_ns
            return None
        return None if lived.fault.kind == "drop" else self._damaged(item, lived)

    def _damaged(self, frame: Frame, lived: LivedFault) -> Frame | Gap:
        how = lived.fault.how
        assert how is not None
        if how == "garbage":
            self._played.given = True
            return replace(frame, pixels=garbage(frame), encoded=None, coded=None)
        data = damaged_bytes(frame, how)
        pixels = self._decoding.pixels(data)
        if pixels is None:
            return Gap(frame.captured_ns, frame.captured_ns, "unreadable")
        self._played.given = True
        return replace(frame, pixels=pixels, encoded=data, coded=None)

    def _number(self, item: Frame | AudioBlock | Gap, *, stalled: bool = False) -> Any:
        """Return a frame with its number in this connection; one that stalled has none."""
        if not isinstance(item, Frame):
            return item
        if self._zero is None:
            self._zero = item.index
        index = item.index - self._zero
        self._zero += stalled
        return replace(item, index=index)
