"""What a kind of source says of itself, and all kinds there are.

A kind of source is one module: how it is written, its options, what opens it, and a description under the
name ``SOURCE``. Ours stand in ``galago_edge.sources.kinds``; other distributions bring theirs through the
entry-point group ``galago.sources``, under the name of the kind. How to add one: docs/extending.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.findings import Finding
from galago_edge.contract.modality import Modality
from galago_edge.host.extras import Extra
from galago_edge.host.plugins import Registry, plugin_code
from galago_edge.host.urls import hide_credentials
from galago_edge.sources.address_options import OptionReader
from galago_edge.sources.file_content import content_of, modalities_of

if TYPE_CHECKING:  # a capture child imports this too, and has no use for numpy
    from galago_edge.contract.settings import SourceSettings
    from galago_edge.sources.source import Capture, Source


_RECORDED = ("mcap", "mcap_sound")
"""The two kinds of a recording file, whatever its first bytes are."""
_OF_BOTH = ("video", *_RECORDED)
"""Kinds whose name does not say whether a file has pictures or sound."""


@dataclass(frozen=True, slots=True)
class Address:
    """One parsed source."""

    kind: str
    """``folder``, ``video``, ``audio``, ``pipe``, ``camera``, ``microphone``, or a plug-in's name."""
    target: str
    """Path, ``-`` of a pipe, a microphone's name, a camera's device or its URL.

    A URL holds its credentials: see ``shown``.
    """
    options: dict[str, Any]
    found: SourceKind | None = field(default=None, repr=False, compare=False)
    """The description of ``kind``, when it is at hand."""

    @property
    def described(self) -> SourceKind:
        """The description of ``kind``.

        Raises:
            CallerError: CONFIG_BAD; there is no such kind.
            DeviceError: PLUGIN_BAD.
        """
        found = self.found or SOURCES.find(self.kind)
        if found is None:
            raise CallerError(
                Reason.CONFIG_BAD,
                f"there is no kind of source {self.kind}",
                hint=f"kinds: {', '.join(SOURCES.names())}",
            )
        return found

    @property
    def modality(self) -> Modality:
        """What the source gives."""
        return self.described.modality

    def gives(self, modality: Modality) -> bool:
        """Tell whether it gives that, or the file is a container that holds it too."""
        return self.modality == modality or self.seen_as(modality) is not None

    def seen_as(self, modality: Modality) -> Address | None:
        """Return the same file as what gives its pictures, or its sound; None when it has none."""
        if self.modality == modality:
            return self
        path = Path(self.target)
        kind = SOURCES.find(self.described.other) if self.described.other else None
        if kind is None or not self._is_container or modality not in modalities_of(path):
            return None
        return Address(self.described.other, self.target, self.options, kind)

    @property
    def unreadable(self) -> bool:
        """Whether its kind may hold pictures, sound or both, and nobody can read which: it is of neither."""
        return self.kind in _OF_BOTH and not modalities_of(Path(self.target))

    @property
    def _is_container(self) -> bool:
        return self.kind in _RECORDED or content_of(Path(self.target)) in ("container", "recording")

    @property
    def live(self) -> bool:
        """Whether it gives what happens now, so that a bundle may be judged by it; else it is a recording.

        Cameras, microphones and named pipes are. Standard input is, unless ``live=no`` says otherwise or a
        file is redirected there, whatever is said of it then.
        """
        described = self.described
        if described.live is None:
            return self.reopens
        with plugin_code("source", self.kind):
            return described.live(self)

    @property
    def reopens(self) -> bool:
        """Whether it is captured for all streams together and reopened whenever it breaks.

        Standard input is not: it is read to its end, once.
        """
        described = self.described
        if described.capture is None or described.captured is None:
            return described.capture is not None
        with plugin_code("source", self.kind):
            return described.captured(self)

    @property
    def shown(self) -> str:
        """The target without credentials, for messages and records."""
        return hide_credentials(self.target)


@dataclass(frozen=True, slots=True)
class Opening:
    """How a recording is to be opened."""

    rate_hz: int | None
    """What the bundle's samples are at; None for a camera's bundle."""
    live: bool = False
    """Whether it may be fed by somebody who cannot wait."""
    block_samples: int | None = None
    """Length of audio blocks, which changes no answer; any when not given."""
    channel: int | None = None
    """The channel that the settings of a source name, from 1; it counts before the address's."""
    packets: bool = False
    """Whether frames bring along what they were decoded from, where the source can (``Frame.coded``)."""


class ProbeAnswer(Protocol):
    """What Python code in a process of its own answered."""

    @property
    def answer(self) -> str:
        """Its last line on standard output."""

    @property
    def fault(self) -> str:
        """Why it did not end well, in one line; empty when it did."""


@dataclass(frozen=True, slots=True)
class Site:
    """The machine that ``galago doctor`` looks at."""

    system: Path
    """Where ``dev``, ``etc``, ``proc`` and ``sys`` are."""
    user: str
    """Name of the user that the service runs as."""
    may_use: Callable[[Path], bool]
    """Tells whether that user may read and write a file or device."""
    run_python: Callable[[str], ProbeAnswer]
    """Runs code in a process of its own, which may crash or hang: what loads a driver's library."""
    may_read: Callable[[Path], bool] = lambda path: True
    """Tells whether that user may read a file, or list a folder."""
    try_out: Callable[[str], Iterator[Finding]] = lambda name: iter(())
    """Opens the source as the service would, once, in a process of its own and for a limited time, and says
    what came; where the running service holds it, what that says of it. The findings bear the name that is
    given. None where it cannot be tried, as on a machine that is only looked at as a folder."""


def split_query(rest: str) -> tuple[str, str]:
    """Return the target and what stands behind the first question mark."""
    target, _, query = rest.partition("?")
    return target, query


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceKind:
    """What a kind of source says of itself.

    One with ``suffixes`` or ``folders`` is written as a path. Any other is written ``NAME:TARGET``. It can be
    opened to be walked through once (``open``), captured for as long as the service runs (``capture``), or
    both.
    """

    modality: Modality
    """``camera``: it gives frames; ``microphone``: it gives blocks of samples."""
    what: str
    """Completes "this is ...": ``a folder of images``."""
    form: str
    """How it is written, for hints: ``camera:NAME``."""
    options: Mapping[str, OptionReader] = field(default_factory=dict)
    """What may stand behind ``?``, and what reads each: :mod:`galago_edge.sources.address_options`."""
    suffixes: frozenset[str] = frozenset()
    """Endings of the files that it reads, small: ``.wav``."""
    other: str = ""
    """The kind that gives what else the same file may hold: the sound of a video."""
    folders: bool = False
    """Whether a path that is a folder is one."""
    split: Callable[[str], tuple[str, str]] = split_query
    """Cuts what stands behind ``NAME:`` into target and options. Raises CallerError, CONFIG_BAD."""
    path_target: Callable[[str], bool] | None = None
    """Of what is written ``NAME:TARGET``: whether the target is a path, which may be relative."""
    open: Callable[[Address, Opening], Source] | None = None
    """Opens a recording. Raises GalagoError."""
    capture: Callable[[Address, SourceSettings, int | None], Capture] | None = None
    """Connects to a device, for bundles of this sample rate. Raises GalagoError; it is tried again. What it
    gives is timed by ``time.monotonic_ns()``."""
    captured: Callable[[Address], bool] | None = None
    """Of a kind that has both: whether this one is captured, and not opened."""
    live: Callable[[Address], bool] | None = None
    """Whether it gives what happens now; when not given, what is captured does and nothing else."""
    extras: tuple[Extra, ...] = ()
    """The extras of galago-edge that it may need; a plug-in requires what it needs itself."""
    needs: Callable[[Address], tuple[Extra, ...]] | None = None
    """Which of them one of its addresses needs; when not given, all of them."""
    check: Callable[[str, Address, Site], Iterator[Finding]] | None = None
    """Says for ``galago doctor`` whether it is there; the findings bear the name that is given first."""

    @property
    def is_path(self) -> bool:
        """Whether it is written as a path."""
        return self.folders or bool(self.suffixes)


SOURCES: Registry[SourceKind] = Registry(
    what="source",
    group="galago.sources",
    package="galago_edge.sources.kinds",
    suffix="_source",
    attribute="SOURCE",
    type=SourceKind,
)
