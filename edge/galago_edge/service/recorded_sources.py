"""Which sources of a device ``galago record --config`` records, and how they are supervised."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.known_names import known_names
from galago_edge.contract.settings import Settings, SourceSettings
from galago_edge.sources.address import parse_source


def sources_to_record(
    settings: Settings, names: Sequence[str], where: str
) -> tuple[dict[str, SourceSettings], list[str]]:
    """Return the live sources of ``names``, or all that streams are on, and those left out as not live.

    ``where`` is what messages call the file.

    Raises:
        CallerError: TARGET_UNKNOWN; there is no such source, or none that is live. CONFIG_BAD; a mask hides
            what a recording would show, and ``[recording]`` does not say ``unmasked``.
    """
    on = list(dict.fromkeys(stream.source for stream in settings.stream))
    for name in names:
        if name not in settings.source:
            raise CallerError(
                Reason.TARGET_UNKNOWN,
                f"{where} has no source {name}; {known_names(name, settings.source)}",
                hint="name a [source.NAME], or leave it out for all",
            )
    chosen = {name: settings.source[name] for name in (names or on)}
    live = {name: source for name, source in chosen.items() if parse_source(source.address).reopens}
    if not live:
        raise CallerError(
            Reason.TARGET_UNKNOWN, f"{where} names no live source", hint="galago replay takes recordings"
        )
    unmasked = settings.recording is not None and settings.recording.unmasked
    for name in () if unmasked else live:
        if _is_masked(settings, name):
            raise CallerError(
                Reason.CONFIG_BAD,
                f"a recording of {name} would keep what a mask hides: it holds what the camera sends",
                hint=f"name other sources, or say unmasked = true in [recording] of {where}",
            )
    return live, [name for name in chosen if name not in live]


def _is_masked(settings: Settings, name: str) -> bool:
    own = settings.source[name].mask
    masks = [own, *(stream.mask for stream in settings.stream if stream.source == name)]
    return any(mask is not UNSET and bool(mask) for mask in masks)
