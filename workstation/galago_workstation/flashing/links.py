"""A connection to a device: the system's ssh, or for a mounted disk a process here; packets over both."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from galago_edge.contract.errors import CallerError, LinkError, Reason
from galago_edge.intake.flash_pipe import Pipe
from galago_workstation.flashing.targets import Target, find_store

CONNECT_S = 20
_GREETING_S = CONNECT_S + 40.0  # a small board takes its time to start Python
_END_S = 10.0
_SSH_FAILED = 255
_NOT_FOUND = (126, 127)

_HINTS = {
    "Permission denied": "let your key in: ssh-copy-id HOST; ssh HOST must work without a password",
    "REMOTE HOST IDENTIFICATION HAS CHANGED": "compare the fingerprint at the device; if it is the same one: "
    "ssh-keygen -R HOST",
    "Host key verification failed": "connect once by hand and compare the fingerprint: ssh HOST",
    "Could not resolve": "check the name, ~/.ssh/config and the network",
    "Connection refused": "is sshd running there, on this port?",
    "timed out": "is the device on, and on this network?",
    "No route to host": "is the device on, and on this network?",
    "user config file": "check --ssh-config, or ssh_config in the fleet file",
    "a password is required": "let sudo ask for none there, or log in as the store's owner: USER@HOST",
    "sudo: command not found": "install sudo there, or log in as the store's owner: USER@HOST",
    "sudo: not found": "install sudo there, or log in as the store's owner: USER@HOST",
    "unknown user": "check --user, or user in the fleet file",
}
_CHANGED = "REMOTE HOST IDENTIFICATION HAS CHANGED"


class DeviceLink:
    """One session with one device. Made, used and ended by one thread; :meth:`cut` may come from another."""

    def __init__(self, command: list[str]) -> None:
        """Start it.

        Raises:
            CallerError: TARGET_UNKNOWN; there is no ssh here.
            LinkError: IO; this machine can start no more processes or open no more files.
        """
        self.command = command
        try:
            self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end()
        except OSError as error:
            raise _cannot_start(command[0], error) from error
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                start_new_session=True,  # Ctrl+C is ours to handle: a device must not be left halfway for it
            )
        except FileNotFoundError:
            self._said.close()
            raise CallerError(
                Reason.TARGET_UNKNOWN, f"there is no {command[0]} here", hint="install OpenSSH's client"
            ) from None
        except OSError as error:
            self._said.close()
            raise _cannot_start(command[0], error) from error
        assert self._process.stdin is not None and self._process.stdout is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        self.pipe = Pipe(self._process.stdout.fileno(), self._process.stdin.fileno())

    def await_greeting(self) -> None:
        """Wait until the receiver answers.

        Raises:
            LinkError: TRANSPORT; :meth:`explained` adds what ssh or the device's shell said.
        """
        try:
            self.pipe.await_greeting(_GREETING_S)
        except LinkError as error:
            raise LinkError(
                error.reason,
                f"no galago answers there: {error}",
                hint="this must work: ssh HOST galago --version; if galago lies elsewhere: --galago PATH",
            ) from None

    def explained(self, error: LinkError) -> LinkError:
        """Return the failure with what the process said when it ended, which is nearer to the cause."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        code = self._process.poll()
        if code is None or error.reason is not Reason.TRANSPORT:
            return error
        text = self.said()
        last = text.splitlines()[-1].strip() if text.strip() else ""
        hint = next((hint for sign, hint in _HINTS.items() if sign in text), "")
        if code in _NOT_FOUND and not hint:
            return LinkError(
                Reason.TRANSPORT,
                f"there is no galago command on the device ({last})",
                hint="install galago-edge there, or say where it is: --galago /path/to/galago",
            )
        if code == _SSH_FAILED and _CHANGED in text:
            last = "its host key is another one than before, so this may be another machine"
        message = last if last and code == _SSH_FAILED else f"{error}" + (f": {last}" if last else "")
        return LinkError(Reason.TRANSPORT, message, hint=hint or error.hint)

    def said(self) -> str:
        """Return what the process said beside the packets."""
        size = os.fstat(self._said.fileno()).st_size
        return os.pread(self._said.fileno(), 1 << 16, max(size - (1 << 16), 0)).decode(errors="replace")

    def cut(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def end(self) -> None:
        """Say that nothing more comes, and see the process off."""
        for end in (self._process.stdin, self._process.stdout):
            assert end is not None
            with contextlib.suppress(OSError):
                end.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()

    def __enter__(self) -> DeviceLink:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()


def _cannot_start(program: str, error: OSError) -> LinkError:
    return LinkError(
        Reason.IO,
        f"could not start {program}: {error.strerror or error}",
        hint="flash fewer devices at a time (--jobs), or raise the limit: ulimit -n",
    )


def open_link(target: Target, *options: str) -> DeviceLink:
    """Start the receiver of a target; ``options`` are its own.

    Raises:
        CallerError: TARGET_UNKNOWN; no device's store lies in the folder, or there is no ssh here.
    """
    if target.kind == "ssh":
        return DeviceLink(ssh_command(target, ("receive", "--stdio", "--root", target.root, *options)))
    root = find_store(Path(target.root))
    own = [sys.executable, "-m", "galago_edge", "receive", "--stdio", "--mounted", "--root", str(root)]
    return DeviceLink([*own, *options])


def ssh_command(target: Target, words: Iterable[str]) -> list[str]:
    """Return the command line of the system's ssh that runs galago with ``words`` on the device."""
    config = ["-F", str(target.ssh_config)] if target.ssh_config else []
    port = ["-p", str(target.port)] if target.port else []
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": str(CONNECT_S),
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "4",
        "RequestTTY": "no",
        "ForwardAgent": "no",
        "ForwardX11": "no",
    }
    given = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    sudo = ["sudo", "-n", "-u", target.user] if target.user else []
    return ["ssh", *config, *port, *given, "--", target.host, *sudo, target.galago, *words]
