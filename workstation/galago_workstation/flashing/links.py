"""A connection to a device: the system's ssh, or for a mounted disk a process here; packets over both."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from galago_edge.contract.errors import CallerError, LinkError, Reason
from galago_edge.intake.flash_pipe import Pipe
from galago_workstation.flashing.device_stderr import DeviceStderr
from galago_workstation.flashing.targets import Target, find_store

CONNECT_S = 20
_GREETING_S = CONNECT_S + 40.0  # a small board takes its time to start Python
_END_S = 10.0
_LAST_WORDS_S = 1.0
"""How long the last words of a process that has ended may take."""
_SSH_FAILED = 255
_NOT_EXECUTABLE = 126
_NOT_FOUND = (_NOT_EXECUTABLE, 127)

_CHANGED = "REMOTE HOST IDENTIFICATION HAS CHANGED"


class _Sign(NamedTuple):
    """What ssh or sudo print, and what helps; HOST and USER stand for those of this target."""

    text: str
    hint: str
    reason: Reason = Reason.TRANSPORT


_NO_SUDO = "log in as root: root@ADDRESS, or as the store's owner: USER@ADDRESS"
_SIGNS = (
    _Sign(
        "Permission denied (",
        "let your key in: ssh-copy-id HOST; ssh HOST must work without a password",
        Reason.PERMISSION,
    ),
    _Sign(
        _CHANGED,
        "compare the fingerprint at the device: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub; "
        "if it is the same one: ssh-keygen -R ADDRESS",
    ),
    _Sign("Host key verification failed", "connect once by hand and compare the fingerprint: ssh HOST"),
    _Sign("Could not resolve", "ssh -G HOST shows what it was taken for: check the name and ~/.ssh/config"),
    _Sign(
        "Connection refused", "start sshd there: systemctl enable --now ssh; another port: ssh://HOST:PORT"
    ),
    _Sign("timed out", "is the device on, and on this network? ping ADDRESS"),
    _Sign("No route to host", "is the device on, and on this network? ping ADDRESS"),
    _Sign("user config file", "check --ssh-config, or ssh_config in the fleet file: ssh -F FILE -G HOST"),
    _Sign(
        "a password is required", f"let sudo ask for none there (visudo), or {_NO_SUDO}", Reason.PERMISSION
    ),
    _Sign("not allowed to execute", f"let sudo run it there (visudo), or {_NO_SUDO}", Reason.PERMISSION),
    _Sign("not in the sudoers file", f"let sudo run it there (visudo), or {_NO_SUDO}", Reason.PERMISSION),
    _Sign("sudo: command not found", f"apt install sudo there, or {_NO_SUDO}", Reason.PERMISSION),
    _Sign("sudo: not found", f"apt install sudo there, or {_NO_SUDO}", Reason.PERMISSION),
    _Sign("unknown user", "galago provision makes the user there; check --user, or user in the fleet file"),
)


class DeviceLink:
    """One session with one device. Made, used and ended by one thread; :meth:`cut` may come from another."""

    def __init__(self, command: list[str], host: str = "HOST") -> None:
        """Start it; ``host``: whom ssh is asked for, as hints name it.

        Raises:
            CallerError: TARGET_UNKNOWN; there is no ssh here.
            LinkError: IO; this machine can start no more processes or open no more files.
        """
        self.command = command
        self._host = host
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl+C is ours to handle: a device must not be left halfway for it
            )
        except FileNotFoundError:
            raise CallerError(
                Reason.TARGET_UNKNOWN,
                f"there is no {command[0]} here",
                hint="install OpenSSH's client: apt install openssh-client",
            ) from None
        except OSError as error:
            raise _cannot_start(command[0], error) from error
        assert self._process.stdin is not None and self._process.stdout is not None
        assert self._process.stderr is not None
        self._stderr = DeviceStderr(self._process.stderr)
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
                hint=f"this must work: ssh {self._host} galago --version; or say where it is: --galago PATH",
            ) from None

    def explained(self, error: LinkError) -> LinkError:
        """Return the failure with what the process said when it ended, which is nearer to the cause."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        code = self._process.poll()
        if code is None or error.reason is not Reason.TRANSPORT:
            return error
        self._stderr.wait(_LAST_WORDS_S)
        text = self.said()
        last = text.splitlines()[-1].strip() if text.strip() else ""
        sign = next((sign for sign in _SIGNS if sign.text in text), _Sign("", ""))
        if code in _NOT_FOUND and not sign.text:
            return self._no_command(code, last)
        if code == _SSH_FAILED and _CHANGED in text:
            last = "its host key is another one than before, so this may be another machine"
        message = last if last and code == _SSH_FAILED else f"{error}" + (f": {last}" if last else "")
        address = self._host.rpartition("@")[2]
        hint = sign.hint.replace("ADDRESS", address).replace("HOST", self._host)
        return LinkError(sign.reason, message, hint=hint or error.hint)

    def _no_command(self, code: int, last: str) -> LinkError:
        if code == _NOT_EXECUTABLE:
            return LinkError(
                Reason.PERMISSION,
                f"who logs in may not run galago on the device ({last})",
                hint=f"ls -l of it there: ssh {self._host}; install it where everybody may run it, such as "
                "/opt/galago (docs/first-device.md), and say --galago PATH",
            )
        return LinkError(
            Reason.TRANSPORT,
            f"there is no galago command on the device ({last})",
            hint="install galago-edge there (docs/first-device.md), or say where it is: --galago PATH",
        )

    def said(self) -> str:
        """Return what the process said beside the packets."""
        return self._stderr.text()

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
        self._stderr.wait(_LAST_WORDS_S)

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
        command = ssh_command(target, ("receive", "--stdio", "--root", target.root, *options))
        return DeviceLink(command, target.host)
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
