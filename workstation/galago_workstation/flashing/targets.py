"""Where a bundle goes: a device by ssh, or the store on a disk that is mounted here."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.profile import PROFILE_FILE
from galago_edge.intake.unit_file import DEVICE_ROOT

_HOST = re.compile(r"(?:\w[\w.-]*@)?(?:\w[\w.-]*|\[[0-9A-Za-z:.%]+\])\Z", re.ASCII)
_URL = re.compile(r"ssh://(?P<host>[^/:\[]+|[^/\[]*\[[^\]]*\])(?::(?P<port>[0-9]{1,5}))?(?P<root>/.*)?\Z")
_WORD = re.compile(r"[A-Za-z0-9._/+@-]+\Z")
"""What may stand in a command line on a device. Nothing is ever quoted there, so nothing else is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One device, and how it is reached."""

    name: str
    """As it was given, and as it can be given again."""
    kind: Literal["ssh", "folder"]
    host: str = ""
    """``user@host`` or a name of ~/.ssh/config; empty for a folder."""
    port: int | None = None
    root: str = str(DEVICE_ROOT)
    """Of the store: on the device, or of the folder here."""
    galago: str = "galago"
    """The command on the device."""
    user: str | None = None
    """The store's owner on the device, who is asked by ``sudo -n -u``; None: who logs in."""
    profile: str | None = None
    """The board that it must be; None: any."""
    machine: str | None = None
    """The one machine that it must be; None: any."""
    ssh_config: Path | None = None
    """Instead of ~/.ssh/config."""

    def place(self) -> tuple[object, ...]:
        """Return the same for two names of one device, as far as it can be told before it is asked."""
        if self.kind == "ssh":
            return (self.host, self.port, str(PurePosixPath(self.root)))
        with contextlib.suppress(CallerError, OSError):
            return (find_store(Path(self.root)),)
        return (Path(self.root).resolve(),)

    def __post_init__(self) -> None:
        """Refuse what would need quoting on the device."""
        for word in (self.root, self.galago, self.user or "x") if self.kind == "ssh" else ():
            if _WORD.fullmatch(word) is None or word.startswith("-"):
                raise CallerError(
                    Reason.TARGET_UNKNOWN,
                    f"{self.name}: {word!r} would have to be quoted on the device",
                    hint="use letters, digits and ._/+@- only: --root, --user, --galago",
                )


def parse_target(text: str, root: str | None = None) -> Target:
    """Return the target that ``text`` names: ``user@host[:/root]``, ``ssh://host:port/root``, or a folder,
    which is written with a slash.

    ``root``: the store on the device, unless ``text`` says it.

    Raises:
        CallerError: TARGET_UNKNOWN; it is none.
    """
    if (url := _URL.fullmatch(text)) is not None:
        port = int(url["port"]) if url["port"] else None
        return _ssh(text, url["host"], url["root"] or root, port)
    host, colon, path = text.partition(":/")
    if "/" not in host and colon:
        return _ssh(text, host, f"/{path}")
    if "/" in text:
        return Target(name=text, kind="folder", root=str(Path(text).expanduser()))
    return _ssh(text, text, root)


def _ssh(text: str, host: str, root: str | None, port: int | None = None) -> Target:
    if _HOST.fullmatch(host) is None or (port is not None and not 0 < port < 65_536):
        raise CallerError(
            Reason.TARGET_UNKNOWN,
            f"{text!r} is no target",
            hint="galago flash BUNDLE user@host, user@host:/root, ssh://user@host:port, ./folder, or @name",
        )
    host = host.replace("[", "").replace("]", "")  # ssh wants them in a URL only
    return Target(name=text, kind="ssh", host=host, port=port, root=root or str(DEVICE_ROOT))


def find_store(folder: Path) -> Path:
    """Return the store on a mounted disk: the folder itself, or var/lib/galago below it.

    Raises:
        CallerError: TARGET_UNKNOWN; there is none with a profile, so this is the wrong disk or none at all.
    """
    for root in (folder, folder / DEVICE_ROOT.relative_to("/")):
        if (root / PROFILE_FILE).is_file():
            return root.resolve()  # a store's folder itself is never opened through a link
    met = "there is no such folder" if not folder.is_dir() else f"it holds no {PROFILE_FILE}"
    raise CallerError(
        Reason.TARGET_UNKNOWN,
        f"{folder} is no device's store: {met}",
        hint="mount the disk; a new one: galago provision TARGET --profile NAME --trust KEY.pub",
    )
