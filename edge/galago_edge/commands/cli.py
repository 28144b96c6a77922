"""The one ``galago`` command: the device's own commands and those that companions offer.

A companion distribution adds commands through the entry-point group ``galago.commands``; the name
``bundle.build`` adds ``build`` to the group ``galago bundle``. Command modules import click and
``galago_edge.contract`` at the top and everything heavy inside the function.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NoReturn, TypeVar

import click

import galago_edge
from galago_edge.contract.errors import CallerError, GalagoError, Reason, disk_error
from galago_edge.contract.printable import on_one_line

_OWN = {
    "": {
        "activate": "galago_edge.commands.activate:activate",
        "bundle": "galago_edge.commands.bundle:bundle",
        "classify": "galago_edge.commands.classify:classify",
        "commit": "galago_edge.commands.commit:commit",
        "doctor": "galago_edge.commands.doctor:doctor",
        "events": "galago_edge.commands.events:events",
        "gc": "galago_edge.commands.gc:gc",
        "history": "galago_edge.commands.history:history",
        "install": "galago_edge.commands.install:install",
        "keys": "galago_edge.commands.keys:keys",
        "mark-bad": "galago_edge.commands.mark_bad:mark_bad",
        "pull": "galago_edge.commands.pull:pull",
        "receive": "galago_edge.commands.receive:receive",
        "record": "galago_edge.commands.record:record",
        "recording": "galago_edge.commands.recording:recording",
        "replay": "galago_edge.commands.replay:replay",
        "rollback": "galago_edge.commands.rollback:rollback",
        "run": "galago_edge.commands.run:run",
        "scrub": "galago_edge.commands.scrub:scrub",
        "status": "galago_edge.commands.status:status",
    },
    "bundle.": {
        "diff": "galago_edge.commands.bundle_diff:diff",
        "index": "galago_edge.commands.bundle_index:index",
        "inspect": "galago_edge.commands.bundle:inspect",
        "sign": "galago_edge.commands.bundle_sign:sign",
        "verify": "galago_edge.commands.bundle:verify",
    },
    "events.": {
        "why": "galago_edge.commands.events_why:why",
    },
    "recording.": {
        "check": "galago_edge.commands.recording_check:check",
        "cut": "galago_edge.commands.recording_cut:cut",
        "export": "galago_edge.commands.recording_export:export",
        "import": "galago_edge.commands.recording_import:import_",
        "info": "galago_edge.commands.recording:info",
        "recover": "galago_edge.commands.recording_cut:recover",
    },
}

_INTERRUPTED = 130
"""Exit code after Ctrl+C, as shells have it: 128 and the number of SIGINT."""
_READER_GONE = 141
"""Exit code when nobody reads the output any more, as shells have it: 128 and the number of SIGPIPE."""
# keys in the root context: the caller wants errors as data; --json stands in the call, right or wrong
_JSON, _JSON_GIVEN = "galago.json", "galago.json_given"

F = TypeVar("F", bound=Callable[..., Any])


class GalagoGroup(click.Group):
    """A group whose commands come from a table, from companions, or from decorators."""

    def __init__(self, *args: Any, prefix: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._prefix = prefix
        self._own = _OWN.get(prefix, {})

    def _offered(self) -> dict[str, EntryPoint]:
        return {
            point.name.removeprefix(self._prefix): point
            for point in entry_points(group="galago.commands")
            if point.name.startswith(self._prefix) and "." not in point.name.removeprefix(self._prefix)
        }

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return every command's name, without importing one."""
        return sorted({*super().list_commands(ctx), *self._own, *self._offered()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command; the device's own wins over a companion's."""
        if (found := super().get_command(ctx, cmd_name)) is not None:
            return found
        if (target := self._own.get(cmd_name)) is not None:
            module, _, attribute = target.partition(":")
            command: click.Command = getattr(importlib.import_module(module), attribute)
            return command
        point = self._offered().get(cmd_name)
        return point.load() if point is not None else None


def say(line: str = "", *, err: bool = False) -> None:
    """Write one line for people; names and texts from outside are made fit for a terminal."""
    click.echo(on_one_line(line), err=err)


def write(line: str) -> None:
    """Write one line that is fit for a terminal already."""
    click.echo(line)


def say_data(data: Any) -> None:
    """Write data for programs, which a terminal may show all the same."""
    say_json(json.dumps(data, indent=2, ensure_ascii=False))


def say_json(text: str) -> None:
    """Write JSON as it is, but for what would do something to a terminal: that stands escaped."""
    click.echo("\n".join(map(data_line, text.rstrip("\n").split("\n"))))


def data_line(line: str) -> str:
    """Return a line of JSON that says the same and does nothing to a terminal."""
    return "".join(char if char in on_one_line(char) else json.dumps(char)[1:-1] for char in line)


def show_error(failure: GalagoError, about: str = "") -> None:
    """Write the error's line and its hint to stderr; ``about`` goes before what was met."""
    say(f"Error: {about}{failure.line}", err=True)
    if failure.hint:
        say(f"Hint: {failure.hint}", err=True)


def read_in_part_line(failure: GalagoError, about: str = "") -> str:
    """Return how all commands tell of a recording that was decided as far as it could be read."""
    return f"read in part, the rest is a gap: {about}{failure.line}"


def show_read_in_part(failure: GalagoError, about: str = "") -> None:
    """Write that line and the failure's hint to stderr, for a command that was asked for the whole of it."""
    say(read_in_part_line(failure, about), err=True)
    if failure.hint:
        say(f"Hint: {failure.hint}", err=True)


def _end(ctx: click.Context, failure: GalagoError) -> NoReturn:
    show_error(failure)
    ctx.exit(failure.exit_code)


def _interrupted(ctx: click.Context) -> NoReturn:
    say("Interrupted", err=True)
    ctx.exit(_INTERRUPTED)


def _tell_data(failure: GalagoError) -> None:
    with contextlib.suppress(OSError):  # the line on stderr says it all the same
        click.echo(json.dumps({"error": failure.as_data(with_exit=True)}))


@contextlib.contextmanager
def _usage_told(as_data: bool) -> Iterator[None]:
    """Make what click says of a wrong call fit for a terminal: it quotes what the caller wrote.

    ``as_data``: tell programs, too; the call may be wrong before ``--json`` is read.
    """
    try:
        yield
    except click.ClickException as error:
        bare = isinstance(error, click.exceptions.NoArgsIsHelpError)  # its message is the whole help
        if not bare:
            error.message = on_one_line(error.message or "")  # type: ignore[misc]  # read when it is shown
        if as_data:
            message = "no command is given" if bare else error.format_message()
            words = _words(error.ctx if isinstance(error, click.UsageError) else None)
            failure = CallerError(Reason.USAGE, " ".join(message.split()), hint=f"see {words} --help")
            failure.exit_code = error.exit_code
            _tell_data(failure)
        raise


def _words(ctx: click.Context | None) -> str:
    """Return how a command is called, whatever the program was started as."""
    words: list[str] = []
    while ctx is not None and ctx.parent is not None:
        words.insert(0, ctx.info_name or "")
        ctx = ctx.parent
    return " ".join(["galago", *words])


@contextlib.contextmanager
def _reader_minded() -> Iterator[None]:
    """End the command without a word, with 141, when whoever reads its output has gone, as ``head`` does.

    Python ignores SIGPIPE, so that it comes as an error of a write. What is still to be written goes nowhere:
    Python would try again at its end, and complain.
    """
    try:
        yield
    except OSError as error:  # of its own output: whoever meets another one tells it
        if error.errno != errno.EPIPE:
            raise
        for stream in (sys.stdout, sys.stderr):
            _forget_closed(stream)
        raise click.exceptions.Exit(_READER_GONE) from None


def _forget_closed(stream: Any) -> None:
    try:
        stream.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        with contextlib.suppress(OSError):  # it has no descriptor of its own
            os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (AttributeError, OSError, ValueError):  # there is none, or it is closed here
        return


class _Root(GalagoGroup):
    """Turns the failures that an operator can act on into one line, a hint and an exit code."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the whole program."""
        try:
            with _reader_minded():  # what click itself writes at the end
                return super().main(*args, **extra)
        except click.exceptions.Exit as end:
            sys.exit(end.exit_code)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read what stands before the command's name."""
        if isinstance(sys.stdout, io.TextIOWrapper):
            # any file may be named, and a terminal need not know every letter
            sys.stdout.reconfigure(errors="backslashreplace")
        as_data = "--json" in itertools.takewhile(lambda arg: arg != "--", args)
        with _reader_minded(), _usage_told(as_data):
            ctx = super().make_context(info_name, args, parent, **extra)
        ctx.meta[_JSON_GIVEN] = as_data
        return ctx

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a GalagoError ends it with one line, a hint and its exit code.

        Ctrl+C ends it with 130, and a reader of its output that goes away with 141.
        """
        with _reader_minded():
            return self._run(ctx)

    def _run(self, ctx: click.Context) -> Any:
        try:
            with _usage_told(ctx.meta[_JSON_GIVEN]):
                return super().invoke(ctx)
        except GalagoError as error:
            if ctx.meta.get(_JSON):
                _tell_data(error)
            _end(ctx, error)
        except KeyboardInterrupt:
            _interrupted(ctx)
        except click.Abort as abort:  # at a prompt
            if not isinstance(abort.__context__, KeyboardInterrupt):
                raise
            _interrupted(ctx)
        except OSError as error:  # of its own output: whoever meets another one tells it
            if error.errno == errno.EPIPE:
                raise  # nobody reads on, which click ends quietly
            _end(ctx, disk_error(error, f"use {error.filename}" if error.filename else "write the output"))


def json_option(command: F) -> F:
    """Add ``--json``: results, and errors too, as data on stdout."""

    def remember(ctx: click.Context, _: click.Parameter, value: bool) -> bool:
        ctx.meta[_JSON] = value  # meta is shared by nested contexts
        return value

    return click.option(
        "--json", "as_json", is_flag=True, is_eager=True, callback=remember, help="Print data for programs."
    )(command)


@click.group(cls=_Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(galago_edge.__version__, prog_name="galago")
def main() -> None:
    """Train, pack, flash and run camera and microphone classifiers."""
