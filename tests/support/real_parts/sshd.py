"""An SSH server on the loopback interface with keys of its own, and a cable to it that can be cut."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
import subprocess
import threading
import time
from pathlib import Path

from real_parts.processes import Child, answers, free_port, tool


class SshServer:
    """OpenSSH's sshd. Lets this user in with one key; every host name of its client's config leads to it."""

    def __init__(self, folder: Path) -> None:
        """Prepare it.

        Raises:
            MissingPartError: OpenSSH is not installed.
        """
        self._program = tool("sshd")
        self._folder = folder / "sshd"
        self._folder.mkdir()
        self._child: Child | None = None
        self.port = free_port()
        for name in ("host", "client", "stranger"):
            make = [tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", name]
            subprocess.run([*make, "-f", str(self._folder / name)], check=True, capture_output=True)
        (self._folder / "authorized_keys").write_text((self._folder / "client.pub").read_text())
        self._config = self._folder / "sshd_config"
        self._config.write_text(
            f"ListenAddress 127.0.0.1:{self.port}\nHostKey {self._folder / 'host'}\nPidFile none\n"
            f"AuthorizedKeysFile {self._folder / 'authorized_keys'}\nStrictModes no\nUsePAM no\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
            "MaxStartups 100\nPrintMotd no\n"
        )
        self.client_config = self.config_for("client")

    def config_for(self, key: str, *, known: bool = True) -> Path:
        """Return a file for ``ssh -F``: who logs in with which key, and whether the host's key is known."""
        path = self._folder / f"ssh_config-{key}-{known}"
        hosts = self._folder / f"known_hosts-{known}"
        host_key = (self._folder / "host.pub").read_text()
        hosts.write_text(f"device {host_key}" if known else "")
        path.write_text(
            f"Host *\n  HostName 127.0.0.1\n  Port {self.port}\n  User {getpass.getuser()}\n"
            f"  HostKeyAlias device\n  IdentityFile {self._folder / key}\n  IdentitiesOnly yes\n"
            f"  IdentityAgent none\n  UserKnownHostsFile {hosts}\n  GlobalKnownHostsFile none\n"
            "  StrictHostKeyChecking yes\n"
            "  KexAlgorithms curve25519-sha256\n"  # the default costs each connection 70 ms more
        )
        return path

    def start(self) -> SshServer:
        """Start it and wait until it accepts connections."""
        if os.geteuid() == 0:  # where sshd shuts itself in before anybody has logged in
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self._child = Child([self._program, "-D", "-e", "-f", str(self._config)], self._folder / "sshd.log")
        self._child.wait_until(lambda: answers(self.port), "sshd")
        return self

    def stop(self) -> None:
        """End it; sessions that are open go on."""
        if self._child is not None:
            self._child.end()
            self._child = None


class Cable:
    """A loopback port that leads to another one, slowly if wanted, until it is cut or holds the rest back."""

    def __init__(
        self,
        port: int,
        *,
        cut_after_bytes: int | None = None,
        hold_after_bytes: int | None = None,
        bytes_per_s: int | None = None,
    ) -> None:
        """``cut_after_bytes``, ``hold_after_bytes``: of what goes to the server, ``bytes_per_s`` too."""
        self._to = port
        self._left = cut_after_bytes
        self._hold_after = hold_after_bytes
        self._released = threading.Event()
        self._rate = bytes_per_s
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.passed = 0
        """Bytes that went to the server."""

    def start(self) -> Cable:
        """Let connections through."""
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def heal(self) -> None:
        """From the next connection on, cut nothing any more."""
        self._left = None

    def release(self) -> None:
        """Let through what was held back, and all the rest."""
        self._released.set()

    def stop(self) -> None:
        """Cut every connection and take no more."""
        self.cut()
        self.release()
        self._listener.close()

    def cut(self) -> None:
        """Break every connection that goes through."""
        ends, self._ends = self._ends, []
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
                self._ends += [client, server]
                for source, target, counted in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pump, args=(source, target, counted), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(8_192):
                if counted and self._left is not None:
                    self._left -= len(data)
                    if self._left < 0:
                        break
                if counted and self._hold_after is not None and self.passed >= self._hold_after:
                    self._released.wait()
                target.sendall(data)
                if counted:
                    self.passed += len(data)
                    if self._rate:
                        time.sleep(len(data) / self._rate)
        self.cut()
