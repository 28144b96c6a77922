"""What the configuration asks for that can never happen as things are, though every value of it is valid.

It is no reason to refuse to start: the next bundle may know the label, the source may be for tomorrow. But
whoever wrote it waits for something, so it is said.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from galago_edge.contract.known_names import did_you_mean
from galago_edge.contract.manifest import Manifest
from galago_edge.contract.settings import Settings


def event_labels(manifest: Manifest) -> frozenset[str]:
    """Return the labels of a bundle that can become events."""
    return frozenset(label.name for label in manifest.labels if not label.background)


def unheard_labels(settings: Settings, decided: Mapping[str, Collection[str]]) -> Iterator[tuple[str, str]]:
    """Yield the table and a line for each label that it asks for and that its streams do not decide on.

    ``decided``: the labels of each stream whose bundle is known, by the stream's name. A table is left out
    while none of its streams has one.
    """
    own = {"attachments": settings.attachments, "recording": settings.recording}
    for name, table in {**settings.sinks, **own}.items():
        wanted, streams = _names(table, "labels"), _names(table, "streams") or decided.keys()
        known = sorted({label for stream in streams for label in decided.get(stream, ())})
        for label in wanted if known else ():
            if label not in known:
                yield (
                    name,
                    f"[{name}] labels names {label}, which no bundle of its streams decides on; "
                    f"there are {', '.join(known)}{did_you_mean(label, known)}",
                )


def idle_attachments(settings: Settings, makes: Mapping[str, bool]) -> Iterator[str]:
    """Yield a line when ``[attachments]`` is there and none of its streams that run makes any.

    ``makes``: whether a stream does, by its name.
    """
    table = settings.attachments
    if table is None:
        return
    wanted = [made for stream, made in makes.items() if not table.streams or stream in table.streams]
    if wanted and not any(wanted):
        yield (
            "[attachments] makes none: its streams are recordings, or it asks for neither their pictures "
            "nor their sounds"
        )


def unused_sources(settings: Settings) -> Iterator[str]:
    """Yield the name of each table ``[source.NAME]`` that no stream names."""
    used = {stream.source for stream in settings.stream}
    yield from (name for name in settings.source if name not in used)


def _names(table: object, key: str) -> tuple[str, ...]:
    """Return what a table of any sink names under ``key``; nothing where that is something else."""
    found = getattr(table, key, ())
    return found if isinstance(found, tuple) else ()
