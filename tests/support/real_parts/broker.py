"""An MQTT broker: Mosquitto in a process of its own."""

from __future__ import annotations

import getpass
import subprocess
from pathlib import Path

from real_parts.processes import Child, answers, free_port, tool


class Broker:
    """Mosquitto on a loopback port that it keeps over restarts; so does what it stores for its clients."""

    def __init__(self, folder: Path) -> None:
        """Prepare it.

        Raises:
            MissingPartError: Mosquitto is not installed.
        """
        self._program = tool("mosquitto")
        self._folder = folder / "broker"
        self._folder.mkdir(exist_ok=True)
        self._child: Child | None = None
        self._passwords: Path | None = None
        self._persistent = True
        self._lines: tuple[str, ...] = ()
        self.port = free_port()

    def accept_only(self, username: str, password: str) -> None:
        """From the next start on, refuse everybody else."""
        self._passwords = self._folder / "passwords"
        # mosquitto_passwd hashes what the file says in clear
        self._passwords.write_text(f"{username}:{password}\n")
        self._passwords.chmod(0o600)
        subprocess.run(
            [tool("mosquitto_passwd"), "-U", str(self._passwords)], check=True, capture_output=True
        )

    def accept_everybody(self) -> None:
        """From the next start on, ask for no password."""
        self._passwords = None

    def forget_everything(self) -> None:
        """From the next start on, keep nothing over a restart: no retained message, no subscription."""
        self._persistent = False

    def configure(self, *lines: str) -> None:
        """From the next start on, these lines stand in its configuration too."""
        self._lines = lines

    def start(self) -> Broker:
        """Start it and wait until it accepts connections."""
        assert self._child is None, "it runs"
        access = (
            "allow_anonymous true"
            if self._passwords is None
            else f"allow_anonymous false\npassword_file {self._passwords}"
        )
        kept = (
            f"persistence true\npersistence_location {self._folder}/\n"
            "autosave_on_changes true\nautosave_interval 1\n"
            if self._persistent
            else "persistence false\n"
        )
        config = self._folder / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} 127.0.0.1\n{access}\n"
            f"user {getpass.getuser()}\n{kept}max_queued_messages 0\n"
            + "".join(f"{line}\n" for line in self._lines)
        )
        self._child = Child([self._program, "-c", str(config)], self._folder / "mosquitto.log")
        self._child.wait_until(lambda: answers(self.port), "the broker")
        return self

    def stop(self) -> None:
        """End it in order: what it owes to its clients is on disk."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def kill(self) -> None:
        """End it at once."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def hang(self) -> None:
        """Stop it without closing connections."""
        assert self._child is not None
        self._child.freeze()

    def unhang(self) -> None:
        """Let it go on."""
        assert self._child is not None
        self._child.thaw()
