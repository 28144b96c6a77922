"""``[program]``, ``[[program]]``: a program is run for each record, one after the other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from galago_edge.children.program_run import (
    program_environment,
    program_path,
    run_program,
)
from galago_edge.contract.findings import Finding, fail, ok
from galago_edge.contract.settings import Seconds, Table
from galago_edge.host.backoff import Backoff
from galago_edge.sinks.attached_file import Attached, AttachedFiles
from galago_edge.sinks.attempts import Attempts
from galago_edge.sinks.delivery import Delivery
from galago_edge.sinks.delivery_order import DeliveryOrder
from galago_edge.sinks.delivery_thread import DeliveryThread
from galago_edge.sinks.record_filter import RecordFilter, filter_of
from galago_edge.sinks.record_words import words_of
from galago_edge.sinks.sink_kind import ReceiverKind, ReceiverName, ReceiverParts, receiver_name

_FIRST_PAUSE_S = 1.0
_IDLE_S = 60.0
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TOLD = ("device", "key", "kind", "stream", "label", "score", "time", "text")
"""What the environment says of the record, as ``GALAGO_LABEL`` and so on, for scripts that read no JSON."""
_VALUE_CHARACTERS = 1_000
"""More of one of these is not said: the system limits what a program may be given."""


class ProgramSettings(Table, frozen=True, kw_only=True):
    """``[program]``: a program is run for each record, which it finds on its standard input."""

    name: ReceiverName = ""
    """Of one among several: ``program.NAME`` in the status and in the spool."""
    command: Annotated[
        tuple[str, ...], msgspec.Meta(min_length=1, examples=['["./store.sh", "its first argument"]'])
    ]
    """The program and its arguments, as they are: no shell reads them."""
    environment: dict[str, str] = msgspec.field(default_factory=dict)
    """More of what it finds in its environment; nothing secret of ours is there."""
    timeout_s: Annotated[float, msgspec.Meta(gt=0.0, le=3_600.0)] = 30.0
    """It is killed when it takes longer."""
    tries: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 5
    """A record with which it has failed so often is given up."""
    backoff_max_s: Seconds = 60.0
    kinds: tuple[Literal["event", "state", "gap", "attachment"], ...] = ("event",)
    """For which kinds of records it is run."""
    streams: tuple[str, ...] = ()
    """For these streams alone; empty: for all."""
    labels: tuple[str, ...] = ()
    """About these labels alone; empty: about all."""

    def __post_init__(self) -> None:
        """Refuse what the system could never run.

        Raises:
            ValueError: As said, in words.
        """
        if not self.command[0]:
            raise ValueError("command names no program")
        if any("\0" in text for text in (*self.command, *self.environment.values())):
            raise ValueError("command or environment holds a NUL character")
        if odd := next((name for name in self.environment if not _VARIABLE.fullmatch(name)), ""):
            raise ValueError(f"environment: {odd!r} is no name of a variable")

    @property
    def wants_attachments(self) -> bool:
        """Tell whether it is run for pictures and sounds."""
        return "attachment" in self.kinds

    def __repr__(self) -> str:
        """Return the type alone: arguments and environment may be secret."""
        return f"<{type(self).__name__}>"


class ProgramSender(DeliveryThread):
    """Runs the program for one record after the other. Exit code 0 acknowledges."""

    def __init__(self, settings: ProgramSettings, parts: ReceiverParts) -> None:
        """Prepare; nothing is run yet."""
        super().__init__(
            parts.name, parts.spool, Backoff(_FIRST_PAUSE_S, settings.backoff_max_s), parts.attachments
        )
        self._settings = settings
        self._device = parts.device
        self._called = Path(settings.command[0]).name
        self._attempts = Attempts(settings.tries)
        self._attached: AttachedFiles = parts.attached
        self._order = DeliveryOrder(parts.spool, parts.name, beside=parts.attachments, tries=settings.tries)
        self._file_backoff = Backoff(_FIRST_PAUSE_S, settings.backoff_max_s)
        self._working()  # nothing speaks against it yet

    def _connection(self) -> None:
        self._order.begin()
        while not self._stopping:
            delivery = self._order.next()
            if delivery is None:
                self._bell.wait(self._order.pause_s or _IDLE_S)
            elif not self._deliver(delivery):
                return

    def _deliver(self, delivery: Delivery) -> bool:
        """Run the program for one record; return whether the next one may follow at once."""
        attached = self._attached.of(delivery)
        given = attached.delivery if attached is not None else delivery
        said = self._said_of(given) | _file_of(attached)
        environment = program_environment(said | self._settings.environment)
        path = program_path(self._settings.command[0], environment)
        if path is None:
            self._troubled(_missing(self._settings), hopeless=True)
            return False
        try:
            end = run_program(
                path,
                self._settings.command,
                given.line + b"\n",
                environment,
                self._settings.timeout_s,
                lambda: self._stopping,
            )
        except OSError as error:
            self._troubled(f"{self._called} cannot be run: {error.strerror or error}")
            return False
        if end.ending is None and self._stopping:
            return False  # it is run again after the next start
        if end.ending is not None and end.ending.exit_code == 0:
            self._order.done(delivery, refused=attached is not None and attached.content is None)
            (self._file_backoff if attached else self._backoff).reset()
            self._working()
            return True
        what = str(end.ending) if end.ending else f"did not end within {self._settings.timeout_s:g} s"
        told = f"{self._called} {what}{': ' if end.said else ''}{end.said}"
        if attached is not None:
            if not self._order.failed(delivery, self._file_backoff.pause_s(), refused=True):
                self._troubled(told)
                return True
            self._file_backoff.reset()
        elif not self._attempts.last(delivery.key):
            self._troubled(told)
            return False
        else:
            self._order.done(delivery, refused=True)
        often = "once" if self._attempts.most == 1 else f"{self._attempts.most} times"
        self._troubled(f"{told}; record {delivery.key} was tried {often} and is given up")
        return True

    def _said_of(self, delivery: Delivery) -> dict[str, str]:
        words = words_of(self._device, delivery)
        said = {name: "" if words[name] is None else str(words[name]) for name in _TOLD}
        return {
            f"GALAGO_{name.upper()}": value.replace("\0", "")[:_VALUE_CHARACTERS]
            for name, value in said.items()
        }


def _file_of(attached: Attached | None) -> dict[str, str]:
    """Return where the program finds the file; nothing when there is none."""
    return {"GALAGO_FILE": str(attached.path.absolute())} if attached and attached.content is not None else {}


def _missing(settings: ProgramSettings) -> str:
    return f"there is no program {settings.command[0]} that this user may run"


def _anchor(settings: ProgramSettings, folder: Path) -> ProgramSettings:
    """Let a program that is written as a path start at ``folder``; a bare name is looked for on PATH."""
    program, *arguments = settings.command
    if "/" not in program:
        return settings
    return msgspec.structs.replace(settings, command=(str(folder / program), *arguments))


def _check(settings: ProgramSettings) -> Iterator[Finding]:
    """The program is there; it is not run."""
    name = receiver_name("program", settings)
    path = program_path(settings.command[0], program_environment(settings.environment))
    if path is None:
        yield fail(name, _missing(settings), f"check command of [{name}], and that the file may be executed")
    else:
        yield ok(name, f"{path} can be run (it was not)")


def _records(settings: ProgramSettings) -> RecordFilter:
    return filter_of(settings.kinds, settings.streams, settings.labels)


SINK = ReceiverKind(
    settings=ProgramSettings,
    build=ProgramSender,
    records=_records,
    check=_check,
    anchor=_anchor,
    several=True,
    attachments_apart=True,
)
