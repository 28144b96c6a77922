"""Options and outputs that several commands share."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

import galago_edge
from galago_edge.contract.errors import LinkError, Reason

if TYPE_CHECKING:
    from galago_edge.bundle import Bundle
    from galago_edge.sinks import JsonlSink

F = TypeVar("F", bound=Callable[..., Any])


def bundle_options(command: F) -> F:
    """Add ``--bundle`` and ``--trust``; :func:`opened_bundle` takes them."""
    trust = click.option(
        "--trust",
        "trusted",
        multiple=True,
        type=click.Path(path_type=Path, readable=False),
        metavar="PUB",
        help="Take the bundle only if this public key signed it; may be given several times.",
    )
    bundle = click.option(
        "--bundle",
        required=True,
        type=click.Path(path_type=Path, readable=False),
        metavar="BUNDLE",
        help="A .galago file, or the folder of an installed bundle.",
    )
    return bundle(trust(command))


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
    if sys.stdout is None:
        raise LinkError(
            Reason.IO, "standard output is closed, so nobody would get the records", hint="give --out FILE"
        )
    sys.stdout.flush()
    stdout = sys.stdout.buffer
    # unbuffered: what could not be written must not be tried again when Python ends
    yield JsonlSink(getattr(stdout, "raw", stdout), "standard output")
