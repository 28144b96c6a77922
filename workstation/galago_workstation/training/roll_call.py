"""The machines of one training meet before TensorFlow connects them: all there, all with the same to do.

TensorFlow waits an hour for a machine that never comes, and does not say for which; and it cannot tell
machines that would train something else. So each machine first tells the first one, the chief, over its own
address in ``TF_CONFIG``, who it is and what it would train; the chief lets them go when all have come, and
gives them the state of a training that was ended, which it alone keeps.

One connection each: a line of JSON (:class:`_Hello`), answered by a line (:class:`_Answer`) and the state. It
stays until the training is over: whoever left while another one still computes with it would end that one.
There each machine says that it is done, and goes when the chief says the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import time
from collections.abc import Callable, Iterator

import msgspec

from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import CallerError, LinkError, Reason, system_words
from galago_workstation.training.machines import Machines

WAIT_S = 1_800.0
"""So long a machine waits for the others, which may have read their data more slowly."""
PART_S = 600.0
"""So long a machine waits for the others when it is done, and for the run to be kept."""
_AGAIN_S = 0.3
_SPEAK_S = 10.0
"""So long the chief waits for what a machine says that has connected; anybody may connect."""
_LINE_BYTES = 4_096
_DONE = b"done\n"
_HINT = "start the same command on every machine; each needs TF_CONFIG, and to reach the ports in it"


class _Hello(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    machine: int
    task: str
    """Hash of what this machine would train."""


class _Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    refused: str = ""
    """Why this training must not begin."""
    state_bytes: int = 0
    """Size of what follows."""


class Meeting:
    """The machines of one training, connected until it is over.

    Args:
        machines: All of them.
        links: To each of the others, on the chief; elsewhere to the chief.
        state: The chief's, of a training that was ended.
    """

    def __init__(self, machines: Machines, links: dict[int, socket.socket], state: bytes) -> None:
        self._machines = machines
        self._links = links
        self.state = state

    def part(self) -> None:
        """Go when all have come here, and the chief has kept the run.

        Raises:
            LinkError: WORKER_LOST; the chief ended without that.
        """
        with contextlib.ExitStack() as links:
            for link in self._links.values():
                links.enter_context(link)
                link.settimeout(PART_S)
            if not self._machines.chief:
                _say_done(self._links[0])
            # on the chief one that has died since then changes nothing: the run is kept
            heard = [_done(link) for link in self._links.values()]
            if self._machines.chief:
                for link in self._links.values():
                    _say_done(link)
            elif not all(heard):
                raise LinkError(
                    Reason.WORKER_LOST,
                    f"{_named(self._machines, {0})} ended before the run was kept",
                    hint="see what it says; the same command on every machine goes on",
                )


def meet(machines: Machines, key: str, state: bytes, say: Callable[[str], None]) -> Meeting:
    """Return when all machines are there.

    Args:
        machines: All of them, and which one this is.
        key: What must be equal on all: configuration, data, start and versions.
        state: The chief's; of no meaning on others.
        say: Is told for whom this machine waits.

    Raises:
        CallerError: CONFIG_BAD; the machines would train different things.
        LinkError: WORKER_LOST; a machine has not come in time. TRANSPORT; the chief's port is taken.
    """
    task = hashlib.sha256(key.encode()).hexdigest()
    if machines.chief:
        return Meeting(machines, _call(machines, task, state, say), state)
    link, told = _answer(machines, task, say)
    return Meeting(machines, {0: link}, told)


def _call(
    machines: Machines, task: str, state: bytes, say: Callable[[str], None]
) -> dict[int, socket.socket]:
    """Wait as the chief for all others, and let them begin."""
    port = int(machines.addresses[0].rpartition(":")[2])
    others = set(range(1, len(machines.addresses)))
    with contextlib.ExitStack() as links, _server(port) as server:
        say(f"waits for {_named(machines, others)}")
        came = _came(machines, others, task, server, links)
        for one in came.values():
            _send(one, _Answer(state_bytes=len(state)), state)
        links.pop_all()  # they stay open
    return came


def _came(
    machines: Machines, others: set[int], task: str, server: socket.socket, links: contextlib.ExitStack
) -> dict[int, socket.socket]:
    """Return a connection to each of the others; ``links`` has every connection there was."""
    came: dict[int, socket.socket] = {}
    until = time.monotonic() + WAIT_S
    while lacking := others - came.keys():
        server.settimeout(max(until - time.monotonic(), 0.0))
        try:
            link = links.enter_context(_connected(server.accept()[0]))
        except (TimeoutError, BlockingIOError):
            raise _not_come(machines, lacking) from None
        hello = _hello(link)
        if hello is None or hello.machine not in others:
            link.close()  # somebody who looks which ports are open
            continue
        if hello.machine in came:
            came[hello.machine].close()
        came[hello.machine] = link
        if hello.task != task:
            refused = _different(machines, hello.machine)
            for one in came.values():
                _send(one, _Answer(refused=str(refused)))
            raise refused
        for number in [number for number, one in came.items() if _gone(one)]:
            came.pop(number).close()  # it must come again
    return came


def _answer(machines: Machines, task: str, say: Callable[[str], None]) -> tuple[socket.socket, bytes]:
    """Tell the chief that this machine is there; return the connection and its state when all are."""
    host, _, port = machines.addresses[0].rpartition(":")
    until = time.monotonic() + WAIT_S
    say(f"waits for {_named(machines, {0})}")
    while (left := until - time.monotonic()) > 0.0:
        link = None
        try:
            link = _connected(socket.create_connection((host.strip("[]"), int(port)), timeout=left))
            link.sendall(msgspec.json.encode(_Hello(machine=machines.own, task=task)) + b"\n")
            with link.makefile("rb", buffering=0) as answers:
                answer, state = _heard(answers)
        except (OSError, ValueError):  # not there yet, or gone again
            if link is not None:
                link.close()
            time.sleep(min(_AGAIN_S, left))
            continue
        if answer.refused:
            link.close()
            raise CallerError(Reason.CONFIG_BAD, answer.refused, hint=_SAME)
        return link, state
    raise _not_come(machines, {0})


def _heard(answers: socket.SocketIO) -> tuple[_Answer, bytes]:
    """Read what the chief answers.

    Raises:
        OSError: The connection broke.
        ValueError: It ended too soon, or that is no chief.
    """
    answer = from_json(answers.readline(_LINE_BYTES), _Answer)
    state = bytearray()
    while len(state) < answer.state_bytes:
        piece = answers.read(answer.state_bytes - len(state))
        if not piece:
            raise ValueError("the state ends early")
        state += piece
    return answer, bytes(state)


def _say_done(link: socket.socket) -> None:
    with contextlib.suppress(OSError):  # one that is gone is noticed where it is heard
        link.sendall(_DONE)


def _done(link: socket.socket) -> bool:
    """Whether the other side says that it is done; it may have ended instead."""
    try:
        with link.makefile("rb") as lines:
            return lines.readline(_LINE_BYTES) == _DONE
    except OSError:
        return False


def _connected(link: socket.socket) -> socket.socket:
    """Let the system notice a machine that is gone without a word, within 40 s."""
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            link.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return link


def _hello(link: socket.socket) -> _Hello | None:
    """Return who has connected; None when it does not speak as one of ours."""
    link.settimeout(_SPEAK_S)
    try:
        with link.makefile("rb") as lines:
            return from_json(lines.readline(_LINE_BYTES), _Hello)
    except (OSError, msgspec.DecodeError):
        return None


def _gone(link: socket.socket) -> bool:
    """Whether the other side has closed: it says nothing more before it is answered."""
    link.setblocking(False)
    try:
        return link.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        link.settimeout(_SPEAK_S)


def _send(link: socket.socket, answer: _Answer, state: bytes = b"") -> None:
    with contextlib.suppress(OSError):  # one that dies now is missed by TensorFlow
        link.sendall(msgspec.json.encode(answer) + b"\n" + state)


@contextlib.contextmanager
def _server(port: int) -> Iterator[socket.socket]:
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    try:
        server = socket.create_server(("", port), family=family, dualstack_ipv6=dual)
    except OSError as error:
        raise LinkError(
            Reason.TRANSPORT,
            f"could not listen at port {port} of TF_CONFIG: {system_words(error)}",
            hint="end what listens there, or give the first machine another port",
        ) from error
    with server:
        yield server


def _named(machines: Machines, numbers: set[int]) -> str:
    return ", ".join(f"machine {number + 1} ({machines.addresses[number]})" for number in sorted(numbers))


def _not_come(machines: Machines, lacking: set[int]) -> LinkError:
    return LinkError(
        Reason.WORKER_LOST,
        f"{_named(machines, lacking)} did not come within {WAIT_S / 60:.0f} minutes",
        hint=_HINT,
    )


_SAME = "give every machine the same configuration, the same files and the same versions of the software"


def _different(machines: Machines, number: int) -> CallerError:
    return CallerError(
        Reason.CONFIG_BAD,
        f"{_named(machines, {number})} has another configuration, data or software than the first machine",
        hint=_SAME,
    )
