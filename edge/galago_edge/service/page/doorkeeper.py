"""Who may stay connected to the page: connections that never finish asking keep nobody out.

A request must be there whole within ``REQUEST_S``, however slowly its bytes come. When there are too many
connections, of all together or of one address, the one goes that has asked nothing, and taken nothing of an
answer, for longest; what is being answered is never cut off. A new visitor is always let in, so a proxy or a
tunnel on this device, behind which everybody has one address, needs no exception but the one from the limit
of an address.

An answer waits for its visitor as a whole, in memory or as an open file, so a connection has few of them at a
time: who asks ``AT_ONCE`` times without waiting for an answer is served, who asks more often is not.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from typing import Any

CONNECTIONS = 64
PER_ADDRESS = 24
"""Of one address that is not this device's own, or one IPv6 network of a household."""
REQUEST_S = 10.0
"""From the connection, or from the first byte of a later request, to the end of the request."""
IDLE_S = 30.0
"""Without any request, or with an answer of which nothing is taken."""
AT_ONCE = 4
"""Requests that come in one piece; browsers send one after the other."""
_LOOK_S = 1.0


class Doorkeeper:
    """Watches the connections of one server, in the thread of its loop."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._visitors: dict[Any, _Visitor] = {}

    def channel_class(self, base: Any) -> Any:
        """Return waitress's class of a connection, watched by this doorkeeper."""
        door = self

        class Channel(base):  # type: ignore[misc]
            """A connection that says when it has heard something."""

            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                door.came(self)

            def received(self, data: bytes) -> bool:
                """Take what came."""
                known: bool = super().received(data)
                if len(self.requests) > AT_ONCE:
                    with self.requests_lock:  # the first is being answered already
                        for request in self.requests[AT_ONCE:]:
                            request.close()
                        del self.requests[AT_ONCE:]
                    _hang_up(self)
                door.heard(self)
                return known

            def del_channel(self, map: Any = None) -> None:
                """Forget the connection."""
                super().del_channel(map)
                door.left(self)

        return Channel

    def came(self, channel: Any) -> None:
        """Let a new connection in, and another one out if there are too many."""
        now_s = self._clock_s()
        visitor = _Visitor(_origin(channel.addr), now_s)
        self._visitors[channel] = visitor
        same = [one for one in self._visitors if self._visitors[one].origin == visitor.origin]
        if visitor.origin and len(same) > PER_ADDRESS:
            self._send_away(same)
        elif len(self._visitors) > CONNECTIONS:
            crowds: dict[str, list[Any]] = {}
            for one, other in self._visitors.items():
                crowds.setdefault(other.origin, []).append(one)
            self._send_away(max(crowds.values(), key=len))

    def heard(self, channel: Any) -> None:
        """Take that a connection has sent something."""
        visitor = self._visitors.get(channel)
        if visitor is None:
            return
        if channel.request is None:  # all that it asked is whole
            visitor.since_s, visitor.asking = self._clock_s(), False
        elif not visitor.asking:
            visitor.since_s, visitor.asking = self._clock_s(), True

    def left(self, channel: Any) -> None:
        """Take that a connection is closed."""
        self._visitors.pop(channel, None)

    def look(self) -> float:
        """Close what has taken too long; return after how many seconds to look again."""
        now_s = self._clock_s()
        for channel, visitor in list(self._visitors.items()):
            if channel.total_outbufs_len != visitor.untaken_bytes:  # slowly is fast enough
                visitor.untaken_bytes, visitor.since_s = channel.total_outbufs_len, now_s
            patience_s = REQUEST_S if visitor.asking else IDLE_S
            if not channel.requests and now_s - visitor.since_s >= patience_s:
                _hang_up(channel)
        return _LOOK_S if self._visitors else IDLE_S

    def _send_away(self, crowd: list[Any]) -> None:
        """Close the connection of these that has waited longest without having asked anything whole."""
        waiting = [one for one in crowd if not one.requests and not one.will_close]
        if waiting:
            _hang_up(min(waiting, key=lambda one: self._visitors[one].since_s))


def _hang_up(channel: Any) -> None:
    """Close a connection now; waitress alone would wait until it can be written to, which may be never."""
    channel.will_close = True
    channel.handle_close()


class _Visitor:
    def __init__(self, origin: str, now_s: float) -> None:
        self.origin = origin
        """Address or network; empty for this device itself, which may be a proxy for everybody."""
        self.since_s = now_s
        self.asking = True
        """Whether a request is awaited or half there."""
        self.untaken_bytes = 0
        """What there was of the answer when it was looked last."""


def _origin(address: Any) -> str:
    try:
        found = ipaddress.ip_address(str(address[0]).partition("%")[0])
    except (ValueError, IndexError, TypeError):
        return ""
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        elif not found.is_loopback:
            return str(ipaddress.IPv6Network((found, 64), strict=False))
    return "" if found.is_loopback else str(found)
