"""Options and outputs that several commands share."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

import galago_edge
from galago_edge.contract.errors import CallerError, LinkError, Reason
from galago_edge.host.standard_streams import stdout_closed

if TYPE_CHECKING:
    from galago_edge.bundle import Bundle
    from galago_edge.sinks import JsonlSink

F = TypeVar("F", bound=Callable[..., Any])


class FiniteRange(click.FloatRange):
    """A number within bounds; what is no number, and infinity, are none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        found: float = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return found


PATH = click.Path(path_type=Path, readable=False)
"""A file or a folder, there or not: who opens it says what is wrong with it, and what to do."""


def trust_option(command: F) -> F:
    """Add ``--trust``, as ``trusted``; :func:`opened_bundle` takes it."""
    return click.option(
        "--trust",
        "trusted",
        multiple=True,
        type=PATH,
        metavar="PUB",
        help="Take a bundle only if this public key signed it; may be given several times.",
    )(command)


def key_option(command: F) -> F:
    """Add ``--key``, as ``keys``: what signs."""
    return click.option(
        "--key",
        "keys",
        multiple=True,
        required=True,
        type=PATH,
        help="Private key to sign with; several sign together.",
    )(command)


def bundle_option(text: str, *, required: bool = False) -> Callable[[F], F]:
    """Add ``--bundle``; ``text`` says what it is for."""
    return click.option("--bundle", required=required, type=PATH, metavar="BUNDLE", help=text)


def bundle_options(command: F) -> F:
    """Add ``--bundle``, without which nothing decides, and ``--trust``; :func:`opened_bundle` takes them."""
    bundle = bundle_option("A .galago file, or the folder of an installed bundle.", required=True)
    return bundle(trust_option(command))


def refuse_own_inputs(written: Iterable[Path | None], read: Iterable[Path | str | None]) -> None:
    """Refuse to write over what the same command reads.

    ``read``: paths, or addresses of sources, of which the part before ``?`` counts.

    Raises:
        CallerError: EXISTS.
    """
    inputs = [Path(str(one).partition("?")[0]) for one in read if one is not None]
    for path in written:
        for one in inputs:
            with contextlib.suppress(OSError, ValueError):  # one of them is not there
                if path is not None and path.samefile(one):
                    raise CallerError(
                        Reason.EXISTS,
                        f"{path} would be written over, and it is read: it is {one}",
                        hint="write to another file",
                    )


def opened_bundle(path: Path, trusted: tuple[Path, ...]) -> Bundle:
    """Open the bundle that the options name.

    Raises:
        GalagoError: See ``galago_edge.open_bundle``.
    """
    return galago_edge.open_bundle(path, trusted=trusted, unverified=not trusted)


def own_opencv(modalities: Iterable[str]) -> None:
    """Let OpenCV work in the calling thread, where there is a camera: this process is the command's own.

    Frames are small, and a second thread would only compete with the model.
    """
    if "camera" in modalities:
        from galago_edge.preprocess.image import use_one_thread

        use_one_thread()


@contextlib.contextmanager
def records_to(out: Path | None, *, append: bool = False) -> Iterator[JsonlSink]:
    """Give a sink that writes to the file ``out``, or to standard output without one.

    Raises:
        LinkError: The file cannot be written; standard output is closed.
    """
    from galago_edge.sinks import JsonlSink, open_jsonl

    if out is not None:
        with open_jsonl(out, append=append) as sink:
            yield sink
        return
    if stdout_closed():
        raise LinkError(
            Reason.IO, "standard output is closed, so nobody would get the records", hint="give --out FILE"
        )
    sys.stdout.flush()
    stdout = sys.stdout.buffer
    # unbuffered: what could not be written must not be tried again when Python ends
    yield JsonlSink(getattr(stdout, "raw", stdout), "standard output")
