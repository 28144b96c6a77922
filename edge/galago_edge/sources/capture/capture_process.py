"""The parent's side of a capture child: ordered, listened to with a deadline, and what its end means."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Protocol

import msgspec

from galago_edge.children.channel import Channel, Packet, channel_ends
from galago_edge.children.child import Child
from galago_edge.children.child_environment import FEW_RESERVES
from galago_edge.contract.errors import (
    CallerError,
    DeviceError,
    GalagoError,
    InputError,
    LinkError,
    Reason,
    disk_error,
)
from galago_edge.host.credentials import Secrets
from galago_edge.sources.capture.capture_messages import (
    Ask,
    Captured,
    CaptureFailed,
    FromChild,
    Opened,
    Order,
)

PROGRAM = ("-m", "galago_edge.sources.capture.capture_child")

_POLITE_S = 0.5
"""How long a child may take to close its device before it is killed."""
_KILLED_S = 1.0
"""How long the kernel may take to end a killed child; one inside a broken driver may take for ever."""


class CaptureLink(Protocol):
    """What brings one camera's frames or one microphone's samples. Used by one thread."""

    @property
    def pid(self) -> int:
        """Id of the process that reads the device."""
        ...

    def ask(self) -> None:
        """Ask for the newest frame."""
        ...

    def receive(self, timeout_s: float) -> Packet[Opened | Captured] | None:
        """Return what comes next, or None when nothing came in time.

        Raises:
            GalagoError: There is nothing more, and why.
        """
        ...

    def confused(self) -> LinkError:
        """Return the error of a child that says what it should not."""
        ...

    def close(self) -> None:
        """End it. May be called twice."""
        ...


class CaptureProcess:
    """One capture process, a :class:`CaptureLink`. One thread receives; only ``ask`` may be another's."""

    def __init__(self, order: Order, program: Sequence[str] = PROGRAM) -> None:
        """Start ``program`` and give it ``order``.

        What it writes to standard error is thrown away: drivers chatter there, with credentials in it.

        Raises:
            LinkError: IO; no process can be started.
        """
        self._shown = order.shown
        self._secrets = Secrets(order.target)
        self._closed = False
        try:
            ours, theirs = channel_ends()
            with theirs, contextlib.ExitStack() as stack:
                stack.callback(ours.close)
                self._child = Child(program, shared=(theirs.fileno(),), more_environment=FEW_RESERVES)
                stack.pop_all()
        except OSError as error:
            raise disk_error(error, f"start a process for {self._shown}") from error
        self._channel: Channel[FromChild] = Channel(ours, FromChild, fds=1)
        self._send(order)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def ask(self) -> None:
        """Ask a camera for its newest frame; a child that is gone is met by ``receive``."""
        self._send(Ask())

    def receive(self, timeout_s: float) -> Packet[Opened | Captured] | None:
        """Return what comes next, or None when nothing came in time.

        Raises:
            GalagoError: What the child says that is wrong, or LinkError SOURCE_LOST when it is gone.
        """
        try:
            packet = self._channel.receive(timeout_s)
        except TimeoutError:
            return None
        except EOFError:
            raise self._gone() from None
        except ValueError:
            raise self.confused() from None
        if isinstance(packet.message, CaptureFailed):
            raise self._failure(packet.message)
        return Packet(packet.message, packet.payload, packet.fds)

    def confused(self) -> LinkError:
        """Return the error of a child that says what it should not: something overwrote its memory."""
        return self._lost("said what makes no sense")

    def close(self) -> None:
        """End the child: asked first, killed if that does not help. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._channel.close()
        self._child.close(polite_s=_POLITE_S, killed_s=_KILLED_S)

    def _send(self, message: Order | Ask) -> None:
        with contextlib.suppress(OSError):
            self._channel.send(message)

    def _gone(self) -> LinkError:
        ending = self._child.wait(_POLITE_S)
        if ending is None:
            return self._lost("closed its connection")
        return self._lost(str(ending) if ending.signal else f"ended with code {ending.exit_code}")

    def _lost(self, how: str) -> LinkError:
        return LinkError(
            Reason.SOURCE_LOST,
            f"the capture process of {self._shown} {how}",
            hint="it is restarted; if that happens often, look at the driver and the memory",
        )

    def _failure(self, failed: CaptureFailed) -> GalagoError:
        hidden = {key: self._secrets.hidden(getattr(failed, key)) for key in ("message", "hint")}
        return _RAISED.get(failed.reason, LinkError).from_data(msgspec.structs.asdict(failed) | hidden)


_RAISED: dict[Reason, type[GalagoError]] = {
    Reason.EXTRA_MISSING: DeviceError,
    Reason.CONFIG_BAD: CallerError,
    Reason.IMAGE_UNREADABLE: InputError,
    Reason.VIDEO_UNREADABLE: InputError,
    Reason.IMAGE_TOO_BIG: InputError,
}
