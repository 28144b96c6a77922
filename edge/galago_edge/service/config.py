"""What one device runs: ``galago.toml``, or the same from the command line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from galago_edge.contract.config import load_toml
from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.manifest import BundleName, Probability
from galago_edge.sources.address import hide_credentials

StreamName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")]


class Thresholds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What this device changes in one label's policy."""

    on: Probability | UnsetType = UNSET
    off: Probability | UnsetType = UNSET


class StreamConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One ``[[stream]]``."""

    name: StreamName
    source: Annotated[str, msgspec.Meta(min_length=1)]
    """As ``galago_edge.sources.address`` reads it; a relative path starts at the file's folder."""
    bundle: BundleName | None = None
    """Name of an installed bundle; may be left out when only one fits the source."""
    thresholds: dict[str, Thresholds] = {}

    def overrides(self) -> dict[str, dict[str, float]]:
        """Return the thresholds as the pipeline takes them."""
        return {label: msgspec.to_builtins(given) for label, given in self.thresholds.items()}


class ServiceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    stream: Annotated[tuple[StreamConfig, ...], msgspec.Meta(min_length=1)]


def read_config(path: Path) -> tuple[StreamConfig, ...]:
    """Read ``galago.toml``.

    Raises:
        CallerError: CONFIG_BAD; no such file, an unknown key, a bad value, or two streams of one name.
    """
    streams = load_toml(path, ServiceConfig).stream
    return checked(
        msgspec.structs.replace(stream, source=_from_folder(stream.source, path.parent)) for stream in streams
    )


def read_option(text: str) -> StreamConfig:
    """Read ``NAME[:BUNDLE]=SOURCE``.

    Raises:
        CallerError: CONFIG_BAD.
    """
    head, equals, source = text.partition("=")
    name, colon, bundle = head.partition(":")
    if not equals:
        raise _bad(f"--stream {hide_credentials(text)} names no source")
    fields = {"name": name, "source": source} | ({"bundle": bundle} if colon else {})
    try:
        return msgspec.convert(fields, StreamConfig)
    except msgspec.ValidationError as error:
        raise _bad(f"--stream {head}=...: {error}") from None


def checked(streams: Iterable[StreamConfig]) -> tuple[StreamConfig, ...]:
    """Return the streams if they can run side by side.

    Raises:
        CallerError: CONFIG_BAD; a name is there twice, or two streams read standard input.
    """
    streams = tuple(streams)
    names = [stream.name for stream in streams]
    for name in names:
        if names.count(name) > 1:
            raise _bad(f"two streams are called {name}")
    if sum(stream.source.startswith("pipe:") for stream in streams) > 1:
        raise _bad("two streams read standard input, which there is only once")
    return streams


def _from_folder(source: str, folder: Path) -> str:
    if source.startswith(("camera:", "pipe:")) or "://" in source:
        return source
    return str(folder / source)  # an absolute path stays what it is


def _bad(text: str) -> CallerError:
    return CallerError(
        Reason.CONFIG_BAD, text, hint="--stream NAME[:BUNDLE]=SOURCE, see docs/configuration.md"
    )
