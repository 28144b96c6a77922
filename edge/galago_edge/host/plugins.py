"""Things of one kind that Galago offers: its own, one module each, and those of other distributions.

Galago's own are the modules of one package, each with its description. Others come through an entry-point
group. Nothing is imported before it is asked for by name.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from galago_edge.contract.errors import DeviceError, GalagoError, Reason, system_words

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True, slots=True)
class Registry(Generic[T]):
    """All descriptions of one kind, by name."""

    what: str
    """What one of them is called: ``sink``."""
    group: str
    """Entry-point group of those that other distributions bring: ``galago.sinks``."""
    package: str
    """Package whose modules are Galago's own: ``mqtt_sink`` describes ``mqtt``."""
    suffix: str
    """What follows the name in a module's name: ``_sink``."""
    attribute: str
    """Under which name each module holds its description: ``SINK``."""
    type: type[T]
    """What a description is."""

    def own(self) -> tuple[str, ...]:
        """Return the names of Galago's own, in alphabetical order, importing none of them."""
        return tuple(name.removesuffix(self.suffix) for name in own_modules(self.package, self.suffix))

    def offered(self) -> tuple[str, ...]:
        """Return the names that other distributions bring, importing none. Our own win over namesakes."""
        names = {point.name for point in brought(self.group)}
        return tuple(sorted(names - set(self.own())))

    def names(self) -> tuple[str, ...]:
        """Return every name: our own first."""
        return self.own() + self.offered()

    def find(self, name: str) -> T | None:
        """Import and return the description of ``name``; None when there is no such thing.

        Raises:
            DeviceError: PLUGIN_BAD; what another distribution brings cannot be used.
        """
        if name in self.own():
            module = importlib.import_module(f"{self.package}.{name}{self.suffix}")
            own: T = getattr(module, self.attribute)
            return own
        return self._plugin(name)

    def _plugin(self, name: str) -> T | None:
        points = [point for point in brought(self.group) if point.name == name]
        if not points:
            return None
        if not _NAME.fullmatch(name):
            raise bad_plugin(self.what, points[0], "its name must be small letters, digits and _")
        if len({point.value for point in points}) > 1:
            both = " and ".join(sorted(_distribution(point) for point in points))
            raise bad_plugin(self.what, points[0], f"{both} bring one of this name")
        found = load_plugin(self.what, points[0])
        if not isinstance(found, self.type):
            raise bad_plugin(
                self.what, points[0], f"it is a {type(found).__name__}, expected a {self.type.__name__}"
            )
        return found


def brought(group: str) -> tuple[EntryPoint, ...]:
    """Return what other distributions bring, importing none of it."""
    from importlib.metadata import entry_points  # here: a capture child asks for none, and is to start soon

    return tuple(entry_points(group=group))


@functools.cache
def own_modules(package: str, suffix: str) -> tuple[str, ...]:
    """Return the names of the modules of ``package`` that end with ``suffix``, in alphabetical order."""
    folders = importlib.import_module(package).__path__
    return tuple(sorted(one.name for one in pkgutil.iter_modules(folders) if one.name.endswith(suffix)))


@contextlib.contextmanager
def plugin_code(what: str, name: str) -> Iterator[None]:
    """Run code of the thing ``name`` that may be another distribution's: its mistakes are one line.

    Raises:
        GalagoError: As the code says; DeviceError, PLUGIN_BAD, for whatever else it raises.
    """
    try:
        yield
    except GalagoError:
        raise
    except (Exception, SystemExit) as error:  # somebody else's code: any mistake is told as one of its own
        raise DeviceError(
            Reason.PLUGIN_BAD,
            f"{what} {name} has made a mistake: {fault_of(error)}",
            hint=f"update or reinstall what brings this {what}, or do without it",
        ) from error


def load_plugin(what: str, point: EntryPoint) -> object:
    """Import what an entry point names; ``what`` is the word for it in messages.

    Raises:
        DeviceError: PLUGIN_BAD; it cannot be imported, whatever the reason.
    """
    try:
        return point.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 (somebody else's code, which must not take ours down)
        raise bad_plugin(what, point, fault_of(error)) from None


def bad_plugin(what: str, point: EntryPoint, fault: str) -> DeviceError:
    """Return the error for a plug-in that cannot be used."""
    return DeviceError(
        Reason.PLUGIN_BAD,
        f"{what} {point.name} of {_distribution(point)} ({point.value}) cannot be used: {fault}",
        hint=f"update or reinstall {_distribution(point)}, or do without this {what}",
    )


def fault_of(error: BaseException) -> str:
    """Return what somebody else's code ran into, in one line."""
    text, kind = system_words(error), type(error).__name__
    return text if isinstance(error, GalagoError) or text == kind else f"{kind}: {text}"


def _distribution(point: EntryPoint) -> str:
    try:
        name = point.dist.name if point.dist is not None else ""  # None without METADATA, whatever its type
    except FileNotFoundError:  # the same, where somebody has imported the backport importlib_metadata
        name = ""
    return name or "an unknown distribution"
