"""Opens recordings, and standard input as one: what ``galago replay`` and ``galago classify`` walk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from galago_edge.contract.errors import CallerError, InputError, Reason
from galago_edge.contract.manifest import AudioPreprocess, Preprocess
from galago_edge.contract.modality import Modality
from galago_edge.contract.settings import ViewTable
from galago_edge.host.plugins import plugin_code
from galago_edge.recorded.record_walk import not_mcap
from galago_edge.sources.address import parse_source
from galago_edge.sources.foreign_source import ForeignSource
from galago_edge.sources.source import Source
from galago_edge.sources.source_kind import SOURCES, Address, Opening
from galago_edge.sources.view_options import view_of
from galago_edge.sources.viewed_source import viewed


def _refuse_unreadable(address: Address) -> None:
    """Refuse a file of which nobody can tell what it holds: it was cut off in its first chunk, or is damaged.

    Raises:
        InputError: RECORDING_UNREADABLE; of a video VIDEO_UNREADABLE, as whoever wants its pictures has it.
        LinkError: The disk fails.
        DeviceError: EXTRA_MISSING.
    """
    if not address.unreadable:
        return
    path = Path(address.target)
    if address.kind != "video":
        raise not_mcap(path, "holds no pictures and no sound that can be read")
    from galago_edge.sources.media.recording_container import RecordingContainer

    RecordingContainer(path, f"reading {path.name}").close()
    raise InputError(
        Reason.VIDEO_UNREADABLE, f"{path} holds no pictures and no sound", hint="give a whole recording"
    )


def open_source(
    text: str,
    preprocess: Preprocess,
    *,
    live: bool = False,
    block_samples: int | None = None,
    channel: int | None = None,
    view: Sequence[ViewTable] = (),
    played: Callable[[Source], Source] | None = None,
) -> Source:
    """Open the source that ``text`` names, for a bundle whose ``preprocess`` is given.

    ``live`` says that standard input may be fed by a recorder, which cannot wait, if it is live at all.
    ``block_samples`` is the length of audio blocks; it changes no answer. ``channel`` is the one of a sound
    that is taken, from 1; when not given, what the address says. ``view``: what is done to pictures, each
    table counting before those before it and before the options of the address. ``played`` puts something
    between the recording and the view, as faults that it has.

    Raises:
        CallerError: CONFIG_BAD; the text names no known form, or an option that it does not have.
        InputError: SOURCE_MISMATCH, or the recording cannot be read: it is not known then what it holds.
        LinkError: SOURCE_MISSING, or the disk fails.
        DeviceError: EXTRA_MISSING, PLUGIN_BAD.
    """
    address = parse_source(text)
    wanted: Modality = "microphone" if isinstance(preprocess, AudioPreprocess) else "camera"
    address = address.seen_as(wanted) or address
    described = address.described
    if address.reopens or described.open is None:
        raise CallerError(
            Reason.CONFIG_BAD,
            f"{address.kind}:{address.shown} is live, expected a recording",
            hint="galago run takes it",
        )
    if address.modality != wanted:
        _refuse_unreadable(address)
        what = described.what
        if address.kind.startswith("mcap"):
            what = f"{what} with nothing of a {wanted} in it"
        elif address.kind == "video":
            what = f"{what} without sound"
        raise InputError(
            Reason.SOURCE_MISMATCH,
            f"the bundle is for a {wanted}, but {address.shown} is {what}",
            hint=f"give a {wanted}'s recording, or another bundle",
        )
    for option in address.options:
        if option not in described.options:
            raise CallerError(
                Reason.CONFIG_BAD,
                f"source {address.shown}: {option}= is not for {described.what}",
                hint=f"it knows {', '.join(described.options)}",
            )
    rate_hz = preprocess.sample_rate_hz if isinstance(preprocess, AudioPreprocess) else None
    with plugin_code("source", address.kind):
        source = described.open(address, Opening(rate_hz, live, block_samples, channel))
        if address.kind not in SOURCES.own():
            source = ForeignSource(address.kind, source)
    source = source if played is None else played(source)
    return viewed(source, view_of(address.options, *view))
