"""``pipe:-`` and ``pipe:PATH``: raw samples on standard input or from a named pipe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.findings import Finding, fail, ok
from galago_edge.host.standard_streams import stdin_closed
from galago_edge.sources.address import STDIN, is_file
from galago_edge.sources.address_options import integer, yes_no
from galago_edge.sources.source_kind import Address, Opening, Site, SourceKind, split_query

if TYPE_CHECKING:
    from galago_edge.contract.settings import SourceSettings
    from galago_edge.sources.source import Capture, Source

_STDIN_TARGET = "-"
_BLOCK_SAMPLES = 16_384
"""Whoever writes into a pipe may be slow: a second of speech, not more, waits for the rest of its block."""


def _split(rest: str) -> tuple[str, str]:
    target, query = split_query(rest)
    if not target:
        raise CallerError(
            Reason.CONFIG_BAD,
            "pipe: names no pipe",
            hint="pipe:-?rate=16000 for standard input, pipe:/run/galago/hall?rate=16000 for a FIFO",
        )
    if target.startswith(_STDIN_TARGET) and target != _STDIN_TARGET:
        raise _no_stdin(target, query)
    return target, query


def _no_stdin(target: str, query: str) -> CallerError:
    """Return the failure of what begins as standard input does: waiting for such a FIFO would hide a slip."""
    behind = target.removeprefix(_STDIN_TARGET)
    options = "&".join(part for part in (behind.lstrip("&"), query) if part)
    hint = f"did you mean pipe:-?{options}" if "=" in behind else f"a FIFO of that name is pipe:./{target}"
    return CallerError(
        Reason.CONFIG_BAD,
        f"pipe:{target} is neither pipe:-, which is standard input, nor the path of a named pipe",
        hint=hint,
    )


def _is_stdin(address: Address) -> bool:
    return address.target == _STDIN_TARGET


def _is_fifo(address: Address) -> bool:
    return not _is_stdin(address)


def _is_path(rest: str) -> bool:
    return not rest.startswith(_STDIN_TARGET)


def _live(address: Address) -> bool:
    """A named pipe is live; standard input is, unless it is a file or ``live=no`` says otherwise."""
    return not _is_stdin(address) or (bool(address.options.get("live", True)) and not is_file(STDIN))


def _open(address: Address, opening: Opening) -> Source:
    from galago_edge.sources.standard_input import PcmPipe

    assert opening.rate_hz is not None
    _check_channel(opening.channel, address)
    live = opening.live and address.live
    block = None if live else opening.block_samples or _BLOCK_SAMPLES
    pipe_hz = int(address.options.get("rate", opening.rate_hz))
    return PcmPipe(STDIN, pipe_hz, opening.rate_hz, live=live, block_samples=block)


def _check_channel(channel: int | None, address: Address) -> None:
    if channel is not None and channel > 1:
        raise CallerError(
            Reason.CONFIG_BAD,
            f"channel {channel} is asked for, but pipe {address.target} has 1",
            hint="leave channel out; arecord -c 2 ... | sox or ffmpeg choose one before the pipe",
        )


def _capture(address: Address, settings: SourceSettings, rate_hz: int | None) -> Capture:
    from galago_edge.sources.capture.pipe_capture import PipeCapture

    _check_channel(settings.channel, address)
    return PipeCapture(address, settings, rate_hz)


def _check(name: str, address: Address, site: Site) -> Iterator[Finding]:
    """Standard input, or a pipe that is there."""
    if _is_stdin(address):
        closed = stdin_closed()
        yield (
            fail(name, "standard input is closed", "start it behind a pipe")
            if closed
            else ok(name, "standard input")
        )
        return
    path = Path(address.target)
    if not path.exists():
        yield fail(name, f"there is no {path}", f"mkfifo {path}")
    elif not path.is_fifo():
        yield fail(name, f"{path} is no named pipe", f"rm {path} && mkfifo {path}, or name it without pipe:")
    elif not site.may_read(path):
        yield fail(name, f"user {site.user} may not read {path}", f"sudo chown {site.user} {path}")
    else:
        yield ok(name, "is there")  # not opened: what would be read would be missing elsewhere


SOURCE = SourceKind(
    modality="microphone",
    what="raw sound on standard input",
    form="pipe:-?rate=16000",
    options={"rate": integer(4_000, 192_000), "live": yes_no},
    split=_split,
    path_target=_is_path,
    open=_open,
    capture=_capture,
    live=_live,
    captured=_is_fifo,
    check=_check,
)
