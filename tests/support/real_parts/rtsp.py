"""An RTSP camera: GStreamer's server in a process of its own."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from real_parts.processes import Child, MissingPartError, free_port

SYSTEM_PYTHON = "/usr/bin/python3"
"""Debian's own: python3-gi is only there."""
SCRIPT = Path(__file__).with_name("rtsp_server.py")


@cache
def _has_rtsp_server() -> bool:
    program = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    try:
        return (
            subprocess.run([SYSTEM_PYTHON, "-c", program], capture_output=True, check=False).returncode == 0
        )
    except OSError:
        return False


class RtspServer:
    """A camera at ``url`` that shows an even gray with a moving bar; keeps its port over restarts.

    Sizes are multiples of 16. Over TCP or UDP, as is asked for.
    """

    def __init__(
        self,
        folder: Path,
        *,
        size: tuple[int, int] = (320, 240),
        fps: int = 10,
        codec: Literal["h264", "jpeg"] = "h264",
        sound: Literal["none", "alaw", "aac", "opus"] = "none",
        login: tuple[str, str] | None = None,
        digest: bool = False,
    ) -> None:
        """Prepare it; ``login`` is (user, password) that it asks for, by Basic or by ``digest``.

        ``sound`` is a tone of 440 Hz beside the pictures.

        Raises:
            MissingPartError: GStreamer's RTSP server is not installed.
        """
        if not _has_rtsp_server():
            raise MissingPartError("GStreamer RTSP server")
        self.size = size
        self.fps = fps
        self.codec = codec
        self.sound = sound
        self.login = login
        self.digest = digest
        self.port = free_port()
        self._log = folder / "rtsp_server.log"
        self._child: Child | None = None
        self._level = 128

    @property
    def url(self) -> str:
        """Where it is, with the login."""
        login = "" if self.login is None else ":".join(quote(part, safe="") for part in self.login) + "@"
        return f"rtsp://{login}127.0.0.1:{self.port}/live"

    def start(self) -> RtspServer:
        """Start it, on the port that it had before; the level that it had stays."""
        assert self._child is None, "it runs"
        login = (*self.login, "digest" if self.digest else "basic") if self.login else ()
        arguments = [self.port, *self.size, self.fps, self.codec, self.sound, *login]
        self._child = Child(
            [SYSTEM_PYTHON, str(SCRIPT), *map(str, arguments)],
            self._log,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._answer()
        self.level(self._level)
        return self

    def stop(self) -> None:
        """End it; connections are closed."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def level(self, gray: int) -> None:
        """Show an even gray from 0 to 255, from the next start on when it does not run."""
        self._level = gray
        if self._child is not None:
            self._do(f"level {gray}")

    def resize(self, width: int, height: int) -> None:
        """Go on in another resolution without ending the session."""
        self.size = (width, height)
        self._do(f"size {width} {height}")

    def stall(self) -> None:
        """Give no more frames; the server itself still answers."""
        self._do("stall")

    def resume(self) -> None:
        """Give frames again."""
        self._do("resume")

    def freeze_picture(self) -> None:
        """Give the same picture again and again."""
        self._do("freeze")

    def unfreeze_picture(self) -> None:
        """Let the bar move again."""
        self._do("unfreeze")

    def lose(self, pictures: int) -> None:
        """Do not send the next coded pictures."""
        self._do(f"lose {pictures}")

    def mute(self) -> None:
        """Give no more sound; the pictures go on."""
        self._do("mute")

    def unmute(self) -> None:
        """Give sound again."""
        self._do("unmute")

    def hang(self) -> None:
        """Stop the whole server: connections stay open, nothing is answered."""
        assert self._child is not None
        self._child.freeze()

    def unhang(self) -> None:
        """Let the server go on."""
        assert self._child is not None
        self._child.thaw()

    def _do(self, command: str) -> None:
        assert self._child is not None, "it does not run"
        assert self._child.process.stdin is not None
        self._child.process.stdin.write(command.encode() + b"\n")
        self._child.process.stdin.flush()
        answer = self._answer()
        assert answer["ok"], answer["error"]

    def _answer(self) -> dict[str, Any]:
        assert self._child is not None
        assert self._child.process.stdout is not None
        line = self._child.process.stdout.readline()
        assert line, f"the RTSP server ended: {self._child.said()}"
        answer: dict[str, Any] = json.loads(line)
        return answer
