"""A recording file that is made from something else: it is there when it is whole."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

from galago_edge.contract.errors import CallerError, LinkError, Reason
from galago_edge.contract.streams import AudioBlock, Gap, Notice
from galago_edge.recorded.about import SUFFIX, AboutRecording
from galago_edge.recorded.stored_items import Missing, Stored, StoredPicture, UnrecordedGap
from galago_edge.recording.recording_writer import RecordingWriter
from galago_edge.recording.writer_account import WriterLimits


@contextlib.contextmanager
def new_recording(target: Path, about: AboutRecording) -> Iterator[RecordingWriter]:
    """Give a writer of ``target``, which is there when the block ends well.

    Raises:
        CallerError: EXISTS; USAGE, it is not called ``*.mcap``.
        LinkError: There is no such folder, or the disk refuses any of it: nothing is left.
        DeviceError: EXTRA_MISSING.
    """
    if not target.name.endswith(SUFFIX) or target.name == SUFFIX:
        raise CallerError(
            Reason.USAGE,
            f"{target} is to be a recording, but is not called *.mcap",
            hint=f"call it {target.name}{SUFFIX}",
        )
    check_folder(target)
    # nobody waits for these chunks: one for every quarter of a megabyte is enough
    limits = WriterLimits(chunk_s=1e9, sync_s=1e9, file_bytes=1 << 62, file_s=1e9)
    # not NAME.mcap.part: that may be what is to be recovered
    part = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    name = target.name.removesuffix(SUFFIX)
    writer = RecordingWriter(target.parent, name, about, limits=limits, single=True, part=part)
    try:
        yield writer
        writer.flush()
        if writer.account.failures:
            account = writer.account
            hint = "free some space and run the command again"
            raise LinkError(account.fault_reason, account.fault or "the disk refused", hint=hint)
        writer.close()
    except BaseException:  # an interruption, too, must leave no half file
        writer.abandon()
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def check_folder(target: Path) -> None:
    """Refuse a place in a folder that is not there, by its own name.

    Raises:
        LinkError: IO.
    """
    if not target.parent.is_dir():
        text = f"could not write {target}: there is no folder {target.parent}"
        raise LinkError(Reason.IO, text, hint=f"mkdir -p {target.parent}")


def put_stored(writer: RecordingWriter, source: str, item: Stored, end_ns: int) -> None:
    """Write an item as it was stored; what is missing becomes a notice and a gap ``unreadable``.

    ``end_ns``: stream time at which the item before ended.
    """
    if isinstance(item, StoredPicture):
        writer.picture(source, item)
    elif isinstance(item, AudioBlock):
        writer.sound(source, item)
    elif isinstance(item, Gap | Notice):
        writer.mark(source, item)
    elif isinstance(item, UnrecordedGap):
        writer.mark(source, item.gap)
    elif isinstance(item, Missing):
        to_ns = max(end_ns, item.to_ns or 0)
        writer.mark(source, Notice("unreadable", 0, end_ns, {"items": item.items, "fault": item.why}))
        writer.mark(source, Gap(end_ns, to_ns, "unreadable"))


def stored_end_ns(item: Stored) -> int:
    """Return the stream time at which an item ends; 0 for what has no length."""
    if isinstance(item, StoredPicture):
        return item.captured_ns
    if isinstance(item, AudioBlock):
        return item.captured_ns + len(item.samples) * 1_000_000_000 // item.rate_hz
    if isinstance(item, UnrecordedGap):
        return item.gap.to_ns
    if isinstance(item, Notice):
        return 0
    return item.to_ns or 0


def stored_begin_ns(item: Stored) -> int:
    """Return the stream time at which an item begins."""
    if isinstance(item, StoredPicture | AudioBlock):
        return item.captured_ns
    if isinstance(item, UnrecordedGap):
        return item.gap.from_ns
    if isinstance(item, Notice):
        return item.ns
    return item.from_ns if isinstance(item, Gap) else item.to_ns or 0
