"""What systemd is told: that the service is ready, that it makes progress, that it ends.

The protocol is sd_notify(3): lines ``KEY=VALUE`` in one datagram to the socket in ``NOTIFY_SOCKET``.
Without systemd nothing is sent and nothing is missed.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping

_ALL_WELL = "running"


class Supervisor:
    """The process manager that started us, if there is one."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # a name that begins with @ is in the abstract namespace, where the first byte is zero
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._told = _ALL_WELL

    def ready(self) -> None:
        """Say that every stream has begun."""
        self._send("READY=1")

    def reloading(self, monotonic_ns: int) -> None:
        """Say that SIGHUP is being followed; :meth:`ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={monotonic_ns // 1_000}")

    def alive(self) -> None:
        """Say that there was progress."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._send("STOPPING=1")

    def standstill(self, what: str | None) -> None:
        """Say what does not move, or that all is well, for ``systemctl status``; each change once."""
        text = what or _ALL_WELL
        if text != self._told:
            self._told = text
            self._send(f"STATUS={text}")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        # a manager that is gone or busy must not end the service
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto("\n".join(lines).encode(), self._address)
