"""One device is flashed: ask what it is, offer the bundle, send what it lacks, and hear the truth."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
import traceback
from pathlib import Path
from typing import Protocol

import msgspec

from galago_edge.contract.errors import DeviceError, GalagoError, LinkError, Reason, disk_error
from galago_edge.contract.flash_messages import (
    Done,
    End,
    FlashProgress,
    Hello,
    Offer,
    Ready,
    Refused,
    SlotState,
    Start,
    Step,
)
from galago_edge.intake.flash_pipe import CHUNK_BYTES
from galago_workstation.flashing.answers import believed, confirmed
from galago_workstation.flashing.links import DeviceLink, open_link
from galago_workstation.flashing.mounts import mount_of, settle
from galago_workstation.flashing.order import FlashOptions, Package
from galago_workstation.flashing.results import Result
from galago_workstation.flashing.targets import Target, find_store

_HELLO_S = 60.0
_WORK_S = 600.0
"""A device checks and installs without a word for at most so long."""
_LAST_WORDS_S = 10.0
"""A device that ended the talk is listened to for so long."""
_AT_ONCE = 64
"""So many messages are taken between two pieces of the bundle."""
_LOOK_S = 15.0
_STILL_S = 150.0
"""A device that went on without us is given so long: a receiver notices after a minute that nobody sends."""
_STILL_POLL_S = 0.5


class Rows(Protocol):
    """Shows where each device is. Called from several threads."""

    def step(self, target: str, text: str) -> None:
        """A device has come to another step."""
        ...

    def still(self, target: str, text: str) -> None:
        """A device is where it was, with other words for it."""
        ...

    def sent(self, target: str, done: int, total: int) -> None:
        """So many bytes are there."""
        ...

    def said(self, target: str, text: str) -> None:
        """What ssh or the device printed beside the talk, whole, at the end of it."""
        ...

    def ended(self, result: Result) -> None:
        """A device is done with."""
        ...


class Session:
    """One device, from the first question to the truth."""

    def __init__(self, target: Target, package: Package, options: FlashOptions, rows: Rows) -> None:
        self._target = target
        self._package = package
        self._options = options
        self._rows = rows
        self._link: DeviceLink | None = None
        self._stop = threading.Event()
        self._at_once = threading.Event()
        self._given = False  # the device has everything: what it does now, it does without us
        self._hello: Hello | None = None
        self._step = ""
        """What the device does now."""
        self._sent = 0
        self._resumed = 0

    def run(self) -> Result:
        """Flash it. Every failure is a result."""
        began = time.monotonic()
        try:
            result = self._flash()
        except (GalagoError, _SaidNoError) as error:
            result = self._failed(error)
        except Exception as error:  # noqa: BLE001 - even a bug of ours hides nothing about the other devices
            self._rows.said(self._target.name, traceback.format_exc())
            result = self._failed(_unforeseen(error))
        seconds = round(time.monotonic() - began, 3)
        result = msgspec.structs.replace(
            result,
            machine=self._hello.machine if self._hello else None,
            sent_bytes=self._sent,
            resumed_bytes=self._resumed,
            seconds=seconds,
        )
        self._rows.ended(result)
        return result

    def interrupt(self, *, at_once: bool = False) -> None:
        """End it: at once while that is harmless, else when the device has said how it ended."""
        self._stop.set()
        if at_once:
            self._at_once.set()
        link = self._link
        if link is not None and (at_once or not self._given):
            link.cut()

    def _flash(self) -> Result:
        if self._stop.is_set():
            return Result(target=self._target.name, outcome="not started", exit=4, known=False)
        self._rows.step(self._target.name, "connecting")
        mount = None
        if self._target.kind == "folder":
            mount = mount_of(find_store(Path(self._target.root)))
            mount.check()
        with open_link(self._target) as link:
            self._link = link
            try:
                if self._stop.is_set():  # it came before there was a link to cut
                    raise _interrupted()
                done = confirmed(self._converse(link), self._package, self._options)
            except LinkError as error:
                if self._stop.is_set() and error.reason is Reason.TRANSPORT:
                    raise _interrupted() from None  # the link did not break, it was cut here
                raise link.explained(error) from None
            finally:
                self._link = None
                self._rows.said(self._target.name, link.said())
        if mount is not None and done.outcome != "would install":  # then nothing was written
            self._rows.step(self._target.name, "waiting for the disk")
            settle(mount)
            return self._ended(done, note=mount.note())
        return self._ended(done, note="")

    def _converse(self, link: DeviceLink) -> Done:
        link.await_greeting()
        hello = self._answer(link, _HELLO_S)
        if not isinstance(hello, Hello):
            raise _surprise(hello)
        self._hello = hello
        self._check(hello)
        self._rows.step(self._target.name, _described(hello, self._package.name))
        local = str(self._package.path.resolve()) if self._target.kind == "folder" else None
        options = self._options
        link.pipe.send(
            Offer(
                manifest=self._package.manifest,
                signature=self._package.signature,
                size=self._package.size,
                sha256=self._package.sha256,
                path=local,
                dry_run=options.dry_run,
                wait_s=options.wait_s,
            ).asking(options.wishes)
        )
        self._given = local is not None and not options.dry_run
        answer = self._answer(link, _WORK_S + options.wait_s)
        if isinstance(answer, Ready):
            self._send(link, answer)
            self._given = True
            return self._verdict(link)
        if isinstance(answer, Done):
            return answer
        raise _surprise(answer)

    def _check(self, hello: Hello) -> None:
        pinned = self._target.machine
        if pinned is not None and hello.machine != pinned:
            raise DeviceError(
                Reason.TARGET_UNKNOWN,
                f"the fleet file says machine {pinned}, this one has {hello.machine or 'no machine id'}",
                hint="another device answers there (ssh -G HOST): mend address or machine in the fleet file",
            )
        wanted = self._target.profile
        if wanted is not None and hello.profile != wanted:
            raise DeviceError(
                Reason.PROFILE_MISMATCH,
                f"the fleet file says {wanted}, this device is {hello.profile or 'without a profile'}",
                hint="is it the right device? Then mend the fleet file, or galago provision",
            )
        if self._stop.is_set():
            raise _interrupted()

    def _send(self, link: DeviceLink, ready: Ready) -> None:
        package = self._package
        try:
            with package.path.open("rb") as file:
                offset = ready.offset if _starts_with(file.fileno(), ready) else 0
                link.pipe.send(Start(offset=offset))
                self._resumed = offset
                self._rows.step(
                    self._target.name, "sending" + (f", {offset} bytes are there already" if offset else "")
                )
                file.seek(offset)
                while chunk := file.read(CHUNK_BYTES):
                    if self._stop.is_set():
                        raise _interrupted()
                    link.pipe.send_data(chunk)
                    self._sent += len(chunk)
                    self._rows.sent(self._target.name, offset + self._sent, package.size)
                    for _ in range(_AT_ONCE):  # one that talks without end must not keep us from sending
                        if not link.pipe.has_more():
                            break
                        self._one(link, _HELLO_S)
            link.pipe.send(End())
        except OSError as error:
            raise disk_error(error, f"read {package.path}") from error
        except LinkError:
            # the device may have ended the talk because it had to say something
            until = time.monotonic() + _LAST_WORDS_S
            with contextlib.suppress(LinkError):
                while time.monotonic() < until:
                    self._one(link, 1.0)
            raise

    def _answer(self, link: DeviceLink, timeout_s: float) -> Hello | Ready | Done:
        """Return the next message that is an answer; show the others."""
        until = time.monotonic() + timeout_s
        while True:
            if (answer := self._one(link, _left(until, timeout_s))) is not None:
                return answer

    def _verdict(self, link: DeviceLink) -> Done:
        """Return how it ended. A device that waits for a verdict says so every few seconds."""
        whole_s = _WORK_S + self._options.wait_s
        until = time.monotonic() + whole_s
        while True:
            answer = self._one(link, min(_WORK_S, _left(until, whole_s)))
            if isinstance(answer, Done):
                return answer
            if answer is not None:
                raise _surprise(answer)

    def _one(self, link: DeviceLink, timeout_s: float) -> Hello | Ready | Done | None:
        message = link.pipe.from_device(timeout_s)
        if isinstance(message, Refused):
            raise _SaidNoError(believed(message))
        if isinstance(message, Step):
            show = self._rows.still if message.name == self._step else self._rows.step
            self._step = message.name
            show(self._target.name, f"{message.name} {message.detail}".rstrip())
            return None
        if isinstance(message, FlashProgress):
            self._rows.sent(self._target.name, message.received, self._package.size)
            return None
        return message

    def _ended(self, done: Done, note: str) -> Result:
        exits: dict[str, int] = {"on trial": self._pending, "rolled back": 6}
        before = _slot(self._hello, self._package.name)
        return Result(
            target=self._target.name,
            outcome=done.outcome,
            exit=exits.get(done.outcome, 0),
            reason=str(Reason.TRIAL_FAILED) if done.outcome == "rolled back" else "",
            message="; ".join(part for part in (done.detail, note) if part),
            before=before.active.version if before else None,
            active=done.slot.active.version if done.slot else None,
        )

    @property
    def _pending(self) -> int:
        """Exit code of a device that is still on trial: done, unless the end of it was to be waited for."""
        return 4 if self._options.wait_s else 0

    def _failed(self, error: GalagoError | _SaidNoError) -> Result:
        said = error.said if isinstance(error, _SaidNoError) else _told(error)
        before = _slot(self._hello, self._package.name)
        now, known = before, self._hello is not None and not self._hello.damaged
        goes_on = self._given and not isinstance(error, _SaidNoError)
        # a disk may fail after the state was written, and who holds the lock may write another one
        if goes_on or said.reason == Reason.LOCKED or (self._given and said.exit == LinkError.exit_code):
            looked = self._look(patient=goes_on)
            now, known = _slot(looked, self._package.name), looked is not None and not looked.damaged
            if looked is not None and looked.busy and goes_on:
                known, before = False, now or before
            if goes_on and now is not None and now.active.id == self._package.id:
                return Result(
                    target=self._target.name,
                    outcome="committed" if now.trial_left is None else "on trial",
                    exit=0 if now.trial_left is None else self._pending,
                    message=f"the connection broke ({said.message}); the device was asked again",
                    before=before.active.version if before else None,
                    active=now.active.version,
                )
        return Result(
            target=self._target.name,
            outcome="refused" if said.exit in (1, 2) else "failed",
            exit=said.exit,
            reason=said.reason,
            message=said.message,
            hint=said.hint,
            before=before.active.version if before else None,
            active=now.active.version if now else None,
            known=known,
        )

    def _look(self, *, patient: bool) -> Hello | None:
        """Ask the device what it has now; None when it does not say. ``patient``: until it is not busy."""
        self._rows.step(self._target.name, "asking again")
        until = time.monotonic() + _STILL_S
        while True:
            looked = self._looked()
            if looked is None or not (patient and looked.busy) or time.monotonic() >= until:
                return looked
            if self._at_once.wait(_STILL_POLL_S):
                return looked

    def _looked(self) -> Hello | None:
        try:
            with open_link(self._target) as link:
                link.pipe.await_greeting(_LOOK_S)
                answer = link.pipe.from_device(_LOOK_S)
        except (GalagoError, OSError):
            return None
        return answer if isinstance(answer, Hello) else None


class _SaidNoError(Exception):
    """The device has refused."""

    def __init__(self, said: Refused) -> None:
        super().__init__(said.message)
        self.said = said


def _left(until: float, whole_s: float) -> float:
    """Return the seconds that a device has left to answer, however much it says meanwhile.

    Raises:
        LinkError: TRANSPORT; none.
    """
    left_s = until - time.monotonic()
    if left_s <= 0:
        raise LinkError(
            Reason.TRANSPORT,
            f"the device talks, but gives no answer within {whole_s:g} s",
            hint="run the same command again; galago status there says more",
        )
    return left_s


def _told(error: GalagoError) -> Refused:
    return msgspec.convert(error.as_data(with_exit=True), Refused)


def _unforeseen(error: Exception) -> LinkError:
    if isinstance(error, OSError):
        return disk_error(error, "go on here")
    return LinkError(
        Reason.IO,
        f"a fault of galago itself: {type(error).__name__}: {error}",
        hint="run it again with --logs DIR, and report what the log of this device says",
    )


def _interrupted() -> LinkError:
    return LinkError(
        Reason.TRANSPORT, "interrupted here", hint="run the same command again: it goes on where it stopped"
    )


def _surprise(message: object) -> LinkError:
    return LinkError(
        Reason.TRANSPORT,
        f"the device sent {type(message).__name__.lower()} where something else was due",
        hint="galago --version, here and there: use the same version of Galago on workstation and device",
    )


def _slot(hello: Hello | None, name: str) -> SlotState | None:
    return next((slot for slot in hello.slots if slot.name == name), None) if hello is not None else None


def _described(hello: Hello, name: str) -> str:
    slot = _slot(hello, name)
    has = f"{name} {slot.active.version} is active" if slot else f"no {name} yet"
    if hello.damaged:
        has = "its state is damaged"
    free = f"{hello.free_bytes / 1e6:.0f} MB free"
    return f"{hello.profile or 'no profile'}, {has}, {free}" + (", busy" if hello.busy else "")


def _starts_with(fd: int, ready: Ready) -> bool:
    """Whether the file begins with what the device has."""
    digest, at = hashlib.sha256(), 0
    while at < ready.offset:
        if not (piece := os.pread(fd, min(1 << 20, ready.offset - at), at)):
            return False
        digest.update(piece)
        at += len(piece)
    return digest.hexdigest() == ready.sha256
