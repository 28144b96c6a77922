"""The machines of one training meet before TensorFlow connects them: all there, all with the same to do.

TensorFlow waits an hour for a machine that never comes, and does not say for which; and it cannot tell
machines that would train something else. So each machine first tells the first one, the chief, over its own
address in ``TF_CONFIG``, who it is and what it would train; the chief lets them go when all have come, and
gives them the state of a training that was ended, which it alone keeps.

One connection each: a line of JSON (:class:`_Hello`), answered by a line (:class:`_Answer`) and the state.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO

import msgspec

from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import CallerError, LinkError, Reason, system_words
from galago_workstation.training.machines import Machines

WAIT_S = 1_800.0
"""So long a machine waits for the others, which may have read their data more slowly."""
_AGAIN_S = 0.3
_SPEAK_S = 10.0
"""So long the chief waits for what a machine says that has connected; anybody may connect."""
_LINE_BYTES = 4_096
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


def meet(machines: Machines, key: str, state: bytes, say: Callable[[str], None]) -> bytes:
    """Return the chief's state when all machines are there.

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
        _call(machines, task, state, say)
        return state
    return _answer(machines, task, say)


def _call(machines: Machines, task: str, state: bytes, say: Callable[[str], None]) -> None:
    """Wait as the chief for all others, and let them go."""
    came: dict[int, socket.socket] = {}
    others = set(range(1, len(machines.addresses)))
    port = int(machines.addresses[0].rpartition(":")[2])
    until = time.monotonic() + WAIT_S
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(_server(port))
        say(f"waits for {_named(machines, others)}")
        while lacking := others - came.keys():
            server.settimeout(max(until - time.monotonic(), 0.0))
            try:
                link = stack.enter_context(server.accept()[0])
            except (TimeoutError, BlockingIOError):
                raise _not_come(machines, lacking) from None
            hello = _hello(link)
            if hello is None or hello.machine not in others:
                link.close()  # somebody who looks which ports are open
                continue
            came[hello.machine] = link
            if hello.task != task:
                refused = _different(machines, hello.machine)
                for one in came.values():
                    _send(one, _Answer(refused=str(refused)))
                raise refused
            # one that is gone again must come again
            came = {number: one for number, one in came.items() if not _gone(one)}
        for one in came.values():
            _send(one, _Answer(state_bytes=len(state)), state)


def _answer(machines: Machines, task: str, say: Callable[[str], None]) -> bytes:
    """Tell the chief that this machine is there; return its state when all are."""
    host, _, port = machines.addresses[0].rpartition(":")
    until = time.monotonic() + WAIT_S
    say(f"waits for {_named(machines, {0})}")
    while (left := until - time.monotonic()) > 0.0:
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=left) as link:
                link.sendall(msgspec.json.encode(_Hello(machine=machines.own, task=task)) + b"\n")
                with link.makefile("rb") as answers:
                    answer, state = _heard(answers)
        except (OSError, ValueError):  # not there yet, or gone again
            time.sleep(min(_AGAIN_S, left))
            continue
        if answer.refused:
            raise CallerError(Reason.CONFIG_BAD, answer.refused, hint=_SAME)
        return state
    raise _not_come(machines, {0})


def _heard(answers: BinaryIO) -> tuple[_Answer, bytes]:
    """Read what the chief answers.

    Raises:
        OSError: The connection broke.
        ValueError: It ended too soon, or that is no chief.
    """
    answer = from_json(answers.readline(_LINE_BYTES), _Answer)
    state = answers.read(answer.state_bytes)
    if len(state) != answer.state_bytes:
        raise ValueError("the state ends early")
    return answer, state


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
