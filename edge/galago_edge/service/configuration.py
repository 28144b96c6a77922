"""What one device runs: ``galago.toml``, or the same from the command line."""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.known_names import did_you_mean, known_names
from galago_edge.contract.settings import LoginTable, Settings, SourceSettings, StreamSettings, ViewTable
from galago_edge.host.credentials import has_login
from galago_edge.host.table_faults import fault_in_words
from galago_edge.host.time_zone import TimeZone
from galago_edge.host.toml_file import load_toml
from galago_edge.host.urls import hide_credentials
from galago_edge.service.source_names import with_named_sources
from galago_edge.sinks.sink_tables import anchored, settings_of
from galago_edge.sources.address import anchored_source
from galago_edge.sources.stream_target import check_stream_url
from galago_edge.sources.view_options import view_of

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_BARE_NAME = re.compile(r"[A-Za-z0-9_-]+")
DOCS = "docs/configuration.md"
SETTING_HINT = f"see {DOCS} for every key"
OPTION_HINT = f"--stream NAME[:BUNDLE]=SOURCE, see {DOCS}"


def read_config(path: Path, environment: Mapping[str, str] | None = os.environ) -> Settings:
    """Read ``galago.toml``. Relative paths start at its folder.

    Without an ``environment`` every ``${NAME}`` stays as it is, and logins and URLs are not looked at: for
    those who have no use for the device's secrets.

    Raises:
        CallerError: CONFIG_BAD; no such file, an unknown key, a bad value, a variable that is not set, a URL
            that can never be opened, or streams that cannot run side by side.
    """
    settings, faults = examined(path, environment)
    if faults:
        raise faults[0]
    return settings


def examined(
    path: Path, environment: Mapping[str, str] | None = os.environ
) -> tuple[Settings, list[CallerError]]:
    """Return what ``galago.toml`` says, and what is wrong with it although every value is in its bounds.

    Raises:
        CallerError: CONFIG_BAD; as :func:`read_config`, where nothing can be said of the rest.
    """
    edit = None if environment is None else _substituting(environment, path)
    tables = load_toml(path, dict[str, Any], edit=edit)
    try:
        settings = settings_of(tables)
    except msgspec.ValidationError as error:
        raise CallerError(Reason.CONFIG_BAD, f"{path}: {error}", hint=SETTING_HINT) from None
    folder = _folder(path)
    named = {name: _anchored_table(source, folder) for name, source in settings.source.items()}
    streams = tuple(
        stream
        if stream.source in named
        else msgspec.structs.replace(stream, source=anchored_source(stream.source, folder))
        for stream in settings.stream
    )
    faults = [_in_file(path, error) for error in _faults(settings, streams, named, environment)]
    if environment is not None:
        faults += [_in_file(path, error) for error in _unknown_sources(settings, folder)]
    changes: dict[str, Any] = {
        "source": named,
        "stream": streams,
        "sinks": anchored(settings.sinks, folder),
    }
    if settings.spool.dir:
        changes["spool"] = msgspec.structs.replace(settings.spool, dir=str(folder / settings.spool.dir))
    if settings.samples is not None:
        changes["samples"] = msgspec.structs.replace(settings.samples, dir=str(folder / settings.samples.dir))
    if settings.recording is not None and settings.recording.dir:
        there = str(folder / settings.recording.dir)
        changes["recording"] = msgspec.structs.replace(settings.recording, dir=there)
    return with_named_sources(msgspec.structs.replace(settings, **changes)), faults


def _folder(path: Path) -> Path:
    """Return where relative paths start: from the root of the file system on.

    Joined with ``.``, ``./store.sh`` would be the bare name of a program, and ``./camera:0`` a camera.
    """
    return path.parent.absolute()


def _faults(
    settings: Settings,
    streams: tuple[StreamSettings, ...],
    named: Mapping[str, SourceSettings],
    environment: Mapping[str, str] | None,
) -> Iterator[CallerError]:
    try:
        TimeZone(settings.device.timezone)
    except CallerError as error:
        yield error
    yield from _beside(streams, named, SETTING_HINT)
    yield from _bad_filters(settings)
    yield from _bad_attachments(settings)
    yield from _bad_recording(settings)
    yield from _bad_views(settings)
    if environment is not None:
        yield from _bad_logins(settings, environment)
        yield from _bad_urls(settings)


def _unknown_sources(settings: Settings, folder: Path) -> Iterator[CallerError]:
    """Yield sources that are a bare name and no [source.NAME]. What looks like a path may come later."""
    for stream in settings.stream:
        name = stream.source
        bare = name not in settings.source and _BARE_NAME.fullmatch(name) is not None
        if bare and not os.path.lexists(folder / name):
            yield CallerError(
                Reason.CONFIG_BAD,
                f"[[stream]] {stream.name}: source {name} is no [source.{name}] and no file or folder"
                f"{did_you_mean(name, settings.source)}",
                hint=f"name a table [source.NAME], or write an address (camera:/dev/video0): see {DOCS}",
            )


@contextlib.contextmanager
def told_with_file(path: Path | None) -> Iterator[None]:
    """Let what is found wrong in settings later on, by the part they are for, be told with their file.

    Raises:
        CallerError: CONFIG_BAD; what the block raised, with ``path`` before it, where it is not there yet.
    """
    try:
        yield
    except CallerError as error:
        if path is None or error.reason is not Reason.CONFIG_BAD or str(error).startswith(str(path)):
            raise
        raise _in_file(path, error) from None


def _in_file(path: Path, error: CallerError) -> CallerError:
    return CallerError(error.reason, f"{path}: {error}", hint=error.hint)


def read_option(text: str) -> StreamSettings:
    """Read ``NAME[:BUNDLE]=SOURCE``.

    Raises:
        CallerError: CONFIG_BAD.
    """
    head, equals, source = text.partition("=")
    name, colon, bundle = head.partition(":")
    if not equals:
        raise _bad(f"--stream {hide_credentials(text)} names no source")
    fields = {"name": name, "source": source} | ({"bundle": bundle} if colon else {})

    def convert(given: Any) -> StreamSettings:
        return msgspec.convert(given, StreamSettings)

    try:
        return convert(fields)
    except msgspec.ValidationError as error:
        said = fault_in_words(error, fields, StreamSettings, convert)
        raise _bad(f"--stream {head}=...: {said}") from None


def checked(streams: Iterable[StreamSettings]) -> tuple[StreamSettings, ...]:
    """Return the streams of a command line if they can run side by side.

    Raises:
        CallerError: CONFIG_BAD; a name is there twice, or two streams read standard input.
    """
    streams = tuple(streams)
    for error in _beside(streams, {}, OPTION_HINT):
        raise error
    return streams


def _beside(
    streams: tuple[StreamSettings, ...], named: Mapping[str, SourceSettings], hint: str
) -> Iterator[CallerError]:
    """Yield why streams and sources cannot be side by side."""
    for name, count in Counter(stream.name for stream in streams).items():
        if count > 1:
            yield CallerError(Reason.CONFIG_BAD, f"two streams are called {name}", hint=hint)
    first: dict[tuple[str, str], str] = {}
    for name, source in named.items():
        other = first.setdefault(_looked_at_as(source), name)
        if other != name:
            yield CallerError(
                Reason.CONFIG_BAD,
                f"[source.{other}] and [source.{name}] are the same address"
                f"{' and user' if source.user or has_login(source.address) else ''}",
                hint=f'keep one, and let the streams of both say source = "{other}"; see {DOCS}',
            )
    if sum(source_of(stream, named).address.startswith("pipe:-") for stream in streams) > 1:
        text = "two streams read standard input, which there is only once"
        yield CallerError(Reason.CONFIG_BAD, text, hint=hint)


def _looked_at_as(source: SourceSettings) -> tuple[str, str]:
    """Return address and user. The password does not count: a camera has one for each of its users."""
    if not has_login(source.address):
        return source.address, source.user
    scheme, _, place = source.address.partition("://")
    authority = re.split("[/?#]", place, maxsplit=1)[0]
    login = authority.rpartition("@")[0]
    return f"{scheme}://{place[len(login) + 1 :]}", unquote(login.partition(":")[0])


def source_of(stream: StreamSettings, named: Mapping[str, SourceSettings]) -> SourceSettings:
    """Return the settings of a stream's source: its table, or the address with everything as usual."""
    return named.get(stream.source) or SourceSettings(address=stream.source)


def login_tables(settings: Settings) -> dict[str, LoginTable]:
    """Return every table that may say who we are somewhere, by how it is written: ``[mqtt]``."""
    tables: dict[str, Any] = {f"[source.{name}]": table for name, table in settings.source.items()}
    tables |= {f"[{name}]": table for name, table in settings.sinks.items()}
    return {name: table for name, table in tables.items() if isinstance(table, LoginTable)}


def _bad_views(settings: Settings) -> Iterator[CallerError]:
    """Yield shapes that are none, also where no stream takes them yet."""
    tables: dict[str, ViewTable] = {f"[source.{name}]": table for name, table in settings.source.items()}
    tables |= {f"[[stream]] {stream.name}": stream for stream in settings.stream}
    for where, table in tables.items():
        try:
            view_of({}, table)
        except CallerError as error:
            yield CallerError(error.reason, f"{where}: {error}", hint=error.hint)


def _bad_logins(settings: Settings, environment: Mapping[str, str]) -> Iterator[CallerError]:
    """Yield logins that could never be used. A password file may be away for a while, and is read later."""
    for name, table in login_tables(settings).items():
        if table.password_env and table.password_env not in environment:
            yield _no_variable(table.password_env)
        if not isinstance(table, SourceSettings) or not table.user:
            continue
        if "://" not in table.address:
            text = f"{name}: user and password are for a URL, which its address is not"
            yield CallerError(Reason.CONFIG_BAD, text, hint=f"leave user and password out: see {DOCS}")
        elif has_login(table.address):
            text = f"{name}: a user stands in its address too; say it once"
            yield CallerError(Reason.CONFIG_BAD, text, hint="take user and password out of the address")


def _bad_urls(settings: Settings) -> Iterator[CallerError]:
    """Yield URLs of cameras and microphones that can never be opened."""
    of_tables = {f"[source.{name}]": source.address for name, source in settings.source.items()}
    of_streams = {
        f"[[stream]] {stream.name}": stream.source
        for stream in settings.stream
        if stream.source not in settings.source
    }
    for where, address in (of_tables | of_streams).items():
        try:
            check_stream_url(address)
        except CallerError as error:
            yield CallerError(error.reason, f"{where}: {error}", hint=error.hint)


def _bad_attachments(settings: Settings) -> Iterator[CallerError]:
    """Yield sinks that ask for pictures and sounds that nobody makes."""
    for sink, table in settings.sinks.items():
        if settings.attachments is None and getattr(table, "wants_attachments", False) is True:
            yield CallerError(
                Reason.CONFIG_BAD,
                f"[{sink}] asks for attachments, and there is no [attachments]",
                hint=f"add [attachments], or let [{sink}] not ask for them: see {DOCS}",
            )


def _bad_recording(settings: Settings) -> Iterator[CallerError]:
    """Yield sources that are none, and cameras of which a recording would show what a mask hides."""
    table = settings.recording
    if table is None:
        return
    names = list(dict.fromkeys(stream.source for stream in settings.stream))
    for stranger in [name for name in table.sources if name not in names]:
        yield CallerError(
            Reason.CONFIG_BAD,
            f"[recording] sources names {stranger}, which no stream is on; {known_names(stranger, names)}",
            hint=f"name the source of a [[stream]], or leave sources out: see {DOCS}",
        )
    for stream in settings.stream if not table.unmasked else ():
        source = settings.source.get(stream.source)
        masks = stream.mask  # its own word counts before that of its source
        if masks is msgspec.UNSET and source is not None:
            masks = source.mask
        if masks is not msgspec.UNSET and masks and (not table.sources or stream.source in table.sources):
            yield CallerError(
                Reason.CONFIG_BAD,
                f"[recording] would keep what the mask of stream {stream.name} hides: a recording holds what "
                "the camera sends",
                hint="name other sources with sources = [...], or say unmasked = true",
            )


def _bad_filters(settings: Settings) -> Iterator[CallerError]:
    """Yield tables that name a stream that there is not: they would never get anything."""
    names = [stream.name for stream in settings.stream]
    own = {"attachments": settings.attachments, "recording": settings.recording}
    for sink, table in {**settings.sinks, **own}.items():
        wanted = getattr(table, "streams", ())
        strangers = [name for name in wanted if name not in names] if isinstance(wanted, tuple) else []
        if strangers:
            yield CallerError(
                Reason.CONFIG_BAD,
                f"[{sink}] streams names {strangers[0]}, which is no stream; "
                + known_names(strangers[0], names),
                hint=f"name a [[stream]], or leave streams out: see {DOCS}",
            )


def _anchored_table(source: SourceSettings, folder: Path) -> SourceSettings:
    return msgspec.structs.replace(
        source,
        address=anchored_source(source.address, folder),
        password_file=_anchored_file(source.password_file, folder),
        ca_file=_anchored_file(source.ca_file, folder),
    )


def _anchored_file(name: str, folder: Path) -> str:
    return str(folder / name) if name else ""


def real_path(text: str, environment: Mapping[str, str], path: Path) -> str:
    """Return a path of the configuration file ``path`` that was read without an environment, with it.

    Raises:
        CallerError: CONFIG_BAD; a variable is not set.
    """
    if _VARIABLE.search(text) is None:
        return text
    folder = _folder(path)
    written = text.removeprefix(f"{folder}{os.sep}")
    return str(folder / _substituting(environment, path)(written))


def _substituting(environment: Mapping[str, str], path: Path) -> Callable[[Any], Any]:
    """Return what replaces ``${NAME}`` in every text of a tree."""

    def text(found: re.Match[str]) -> str:
        try:
            return environment[found[1]]
        except KeyError:
            raise _in_file(path, _no_variable(found[1])) from None

    def value(old: Any) -> Any:
        if isinstance(old, str):
            return _VARIABLE.sub(text, old)
        if isinstance(old, dict):
            return {key: value(inner) for key, inner in old.items()}
        return [value(inner) for inner in old] if isinstance(old, list) else old

    return value


def _no_variable(name: str) -> CallerError:
    return CallerError(
        Reason.CONFIG_BAD,
        f"the environment has no variable {name}",
        hint="set it, under systemd with Environment= or EnvironmentFile=",
    )


def _bad(text: str) -> CallerError:
    return CallerError(Reason.CONFIG_BAD, text, hint=OPTION_HINT)
