"""What each source of a service is called: in the status, the metrics and the records.

A table ``[source.NAME]`` is called NAME. One that a stream names by its address is called by that, without
user, password and what else may be secret in it; where several would be called the same, each has the name
of the first stream that it feeds behind it. So a name holds no secret, belongs to one source, and is the
same after every restart.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from galago_edge.contract.settings import Settings, SourceSettings
from galago_edge.host.urls import hide_credentials


def with_named_sources(settings: Settings) -> Settings:
    """Return ``settings`` with every source in ``source`` under its name, which its streams then say."""
    tables = dict(settings.source)
    by_address = {source.address: name for name, source in tables.items() if not source.user}
    first: dict[str, str] = {}
    """The first stream of each address that has no table."""
    for stream in settings.stream:
        if stream.source not in tables and stream.source not in by_address:
            first.setdefault(stream.source, stream.name)
    shown = Counter(hide_credentials(address) for address in first)
    for address, stream_name in first.items():
        name = hide_credentials(address)
        if shown[name] > 1 or name in settings.source:
            name = f"{name} ({stream_name})"
        by_address[address] = name
        tables[name] = SourceSettings(address=address)
    streams = tuple(
        stream
        if stream.source in settings.source
        else msgspec.structs.replace(stream, source=by_address[stream.source])
        for stream in settings.stream
    )
    return msgspec.structs.replace(settings, source=tables, stream=streams)
