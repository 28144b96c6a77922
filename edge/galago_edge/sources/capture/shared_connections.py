"""A network camera whose pictures are one source and whose sound is another: opened once for both.

Each of them is supervised for itself, so each opens and closes when it likes. The first one opens the
connection, the other joins it, and the last one ends it. Who was disappointed by the common connection (its
half fell silent while the other goes on) gets a connection of its own, so that neither ever interrupts the
other.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from galago_edge.children.channel import Packet
from galago_edge.contract.errors import GalagoError, LinkError, Reason
from galago_edge.contract.settings import SourceSettings
from galago_edge.sources.capture.capture_messages import Captured, Opened, Overrun, Sound
from galago_edge.sources.capture.capture_process import CaptureProcess
from galago_edge.sources.capture.connection import (
    Wanted,
    capture_of,
    is_stream,
    not_open,
    opened_process,
    wanted_of,
)
from galago_edge.sources.source import Capture
from galago_edge.sources.source_kind import Address

_LOOK_S = 0.25
"""How long a silent connection may outlive the last one that uses it."""
_ENDED_S = 2.0
_KEPT_PACKETS = 1_000
"""Sound packets that wait for a source that does not read: ten seconds of the shortest ones."""
_BOTH = 2


_Key = tuple[str, ...]


class SharedConnections:
    """The streams that two sources read. Any thread may use it."""

    def __init__(self, open: Callable[..., tuple[CaptureProcess, Opened]] = opened_process) -> None:
        """Begin without any; ``open`` opens a connection."""
        self._open = open
        self._lock = threading.Lock()
        self._expected: dict[_Key, dict[Wanted, tuple[Address, SourceSettings, bool]]] = {}
        self._connections: dict[_Key, _SharedConnection] = {}

    def expect(self, address: Address, settings: SourceSettings, *, packets: bool = False) -> None:
        """Note that ``address`` is going to be opened, so that whoever is first knows of the other.

        ``packets``: those of its pictures are wanted too.
        """
        if is_stream(address):
            with self._lock:
                of_it = self._expected.setdefault(_key(address, settings), {})
                of_it[wanted_of(address)] = address, settings, packets

    def open(self, address: Address, settings: SourceSettings, rate_hz: int | None) -> Capture | None:
        """Open what ``address`` names for both, or join the connection that there is.

        None when it is to have a connection of its own: nobody else reads its stream, or it has left the
        common connection, which goes on.

        Raises:
            GalagoError: As ``open_capture``.
        """
        wanted = wanted_of(address)
        with self._lock:
            key = _key(address, settings)
            expected = self._expected.get(key, {})
            if len(expected) < _BOTH:
                return None
            connection = self._connections.get(key)
            first = connection is None or connection.over
            if connection is None or first:
                connection = self._connections[key] = _SharedConnection()
            if not connection.reserve(wanted):
                return None
        if first:
            # how an RTSP camera sends, and which pictures count, are said for its pictures
            of, its_settings, packets = expected["picture"]
            both: tuple[Wanted, ...] = ("picture", "sound")
            connection.begin(lambda: self._open(of, its_settings, rate_hz, both, packets=packets))
        return connection.join(address, settings)


def _key(address: Address, settings: SourceSettings) -> _Key:
    """Return what two sources of one camera have in common: the URL, and who asks."""
    login = (settings.user, settings.password, settings.password_file, settings.password_env)
    return address.target, *login


class _SharedConnection:
    """One process, and who reads it."""

    def __init__(self) -> None:
        self._begun: Future[tuple[CaptureProcess, Opened]] = Future()
        self._lock = threading.Lock()
        self._reserved: set[Wanted] = set()
        self._readers: dict[Wanted, _Reader] = {}
        self._thread = threading.Thread(target=self._run, name="shared connection", daemon=True)
        self.over = False
        """Whether nobody can join it any more."""

    def reserve(self, wanted: Wanted) -> bool:
        """Take the place of a reader; False when somebody has or had it."""
        with self._lock:
            if self.over or wanted in self._reserved:
                return False
            self._reserved.add(wanted)
            return True

    def begin(self, open: Callable[[], tuple[CaptureProcess, Opened]]) -> None:
        """Connect; whoever joins waits for that."""
        try:
            process, opened = open()
        except BaseException as error:  # noqa: BLE001 - whatever it was, those that wait must know
            self.over = True
            self._begun.set_exception(error)
            return
        # both from the beginning: the child sends its first picture without being asked
        self._readers = {"picture": _Reader(process, self), "sound": _Reader(process, self)}
        self._begun.set_result((process, opened))
        self._thread.start()

    def join(self, address: Address, settings: SourceSettings) -> Capture:
        """Return the half that ``address`` wants.

        Raises:
            GalagoError: It could not be opened, or does not give that.
        """
        try:
            _, opened = self._begun.result(settings.open_s)
        except TimeoutError:
            raise not_open(address, settings.open_s) from None
        reader = self._readers[wanted_of(address)]
        try:
            return capture_of(address, settings, reader, opened)
        except BaseException:  # it does not give that: the other may go on
            reader.close()
            raise

    def left(self) -> None:
        """Note that a reader has gone; the last of those that came ends the process."""
        with self._lock:
            over = all(self._readers[wanted].closed for wanted in self._reserved)
            self.over = self.over or over
        if over:
            self._thread.join(_ENDED_S)

    def _run(self) -> None:
        process, _ = self._begun.result()
        failure: GalagoError = LinkError(
            Reason.SOURCE_LOST, "the connection was closed", hint="it is reopened"
        )
        try:
            while not self.over:
                packet = process.receive(_LOOK_S)
                if packet is not None:
                    wanted: Wanted = "sound" if isinstance(packet.message, Sound | Overrun) else "picture"
                    self._readers[wanted].put(packet)
        except GalagoError as error:
            failure = error
        finally:
            with self._lock:
                self.over = True
            for reader in self._readers.values():
                reader.end(failure)
            process.close()


class _Reader:
    """A :class:`galago_edge.sources.capture.capture_process.CaptureLink` to one half of a connection."""

    def __init__(self, process: CaptureProcess, connection: _SharedConnection) -> None:
        self._process, self._connection = process, connection
        self._packets: deque[Packet[Opened | Captured]] = deque()
        self._changed = threading.Condition()
        self._failure: GalagoError | None = None
        self.closed = False

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self) -> None:
        self._process.ask()

    def receive(self, timeout_s: float) -> Packet[Opened | Captured] | None:
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not self._packets:
                if self._failure is not None:
                    raise self._failure
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return None
                self._changed.wait(left_s)
            return self._packets.popleft()

    def confused(self) -> LinkError:
        return self._process.confused()

    def close(self) -> None:
        with self._changed:
            if self.closed:
                return
            self.closed = True
            while self._packets:
                _drop(self._packets.popleft())
        self._connection.left()

    def put(self, packet: Packet[Opened | Captured]) -> None:
        with self._changed:
            if self.closed:
                _drop(packet)
                return
            self._packets.append(packet)
            if len(self._packets) > _KEPT_PACKETS:  # pictures are asked for one by one: this is sound
                _drop(self._packets.popleft())
            self._changed.notify()

    def end(self, failure: GalagoError) -> None:
        with self._changed:
            self._failure = failure
            self._changed.notify()


def _drop(packet: Packet[Opened | Captured]) -> None:
    for fd in packet.fds:
        os.close(fd)
