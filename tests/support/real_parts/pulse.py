"""A sound server with a microphone: PulseAudio, reached through ALSA and PortAudio as on a device."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from real_parts.processes import Child, MissingPartError, tool
from real_parts.sound import Sound, SoundPipe


class SoundServer:
    """PulseAudio with one mono microphone, whose ``sound`` may be set any time.

    Give ``environment`` to the process that listens: in it, ALSA and PortAudio have the devices ``default``
    and ``galago``, which are that microphone.
    """

    name = "galago"

    def __init__(self, folder: Path, *, rate_hz: int = 48_000) -> None:
        """Prepare it.

        Raises:
            MissingPartError: PulseAudio or ALSA's door to it is not installed.
        """
        self._program = tool("pulseaudio")
        self._pactl = tool("pactl")
        if not list(Path("/usr/lib").glob("*/alsa-lib/libasound_module_pcm_pulse.so")):
            raise MissingPartError("ALSA plug-in for PulseAudio")
        self.rate_hz = rate_hz
        self._folder = folder / "sound"
        self._folder.mkdir(exist_ok=True)
        self._pipe = SoundPipe(self._folder / "microphone.pcm", rate_hz=rate_hz)
        self._child: Child | None = None
        self._module = ""
        self._feeding = False
        alsa = self._folder / "asound.conf"
        devices = "".join(
            f'pcm.{force}{name} {{ type pulse\n device "{self.name}"\n'
            ' hint { show on\n description "galago test microphone" } }\n'
            f"ctl.{force}{name} {{ type pulse }}\n"
            for force, name in (("!", "default"), ("", self.name))
        )
        alsa.write_text(f"</usr/share/alsa/alsa.conf>\n{devices}")
        self.environment = {
            "PULSE_SERVER": f"unix:{self._folder / 'native'}",
            "PULSE_RUNTIME_PATH": str(self._folder),
            "PULSE_STATE_PATH": str(self._folder),
            "PULSE_COOKIE": str(self._folder / "cookie"),
            "PULSE_CLIENTCONFIG": str(self._write("client.conf", "autospawn = no\nenable-shm = no\n")),
            "ALSA_CONFIG_PATH": str(alsa),
        }

    def start(self) -> SoundServer:
        """Start the server, plug the microphone in and let it hear."""
        assert self._child is None, "it runs"
        socket = self._folder / "native"
        socket.unlink(missing_ok=True)
        self._child = Child(
            [
                self._program, "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no",
                "--disable-shm=yes", "--realtime=no", "--high-priority=no",
                "-L", f"module-native-protocol-unix socket={socket} auth-anonymous=1",
            ],
            self._folder / "pulseaudio.log",
            env=self.environment,
        )  # fmt: skip
        self._child.wait_until(lambda: socket.exists() and self._answers(), "the sound server")
        self.plug_in()
        if not self._feeding:
            self._feeding = True
            self._pipe.start()  # PulseAudio has made the pipe
        return self

    @property
    def sound(self) -> Sound:
        """What it hears."""
        return self._pipe.sound

    @sound.setter
    def sound(self, sound: Sound) -> None:
        self._pipe.sound = sound

    def plug_in(self) -> None:
        """Let the microphone appear."""
        self._pipe.path.unlink(
            missing_ok=True
        )  # a killed server leaves it, and the next one wants to make it
        self._module = self._ask(
            "load-module",
            "module-pipe-source",
            f"source_name={self.name}",
            f"file={self._pipe.path}",
            "format=s16le",
            f"rate={self.rate_hz}",
            "channels=1",
        ).strip()

    def unplug(self) -> None:
        """Let the microphone disappear; who listens is told nothing or an error."""
        self._ask("unload-module", self._module)

    def stop(self) -> None:
        """End everything."""
        self._pipe.stop()
        self._feeding = False
        self.kill()

    def kill(self) -> None:
        """End the server at once; ``start`` restarts it."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def hang(self) -> None:
        """Stop the server: who listens waits."""
        assert self._child is not None
        self._child.freeze()

    def unhang(self) -> None:
        """Let the server go on."""
        assert self._child is not None
        self._child.thaw()

    def _write(self, name: str, text: str) -> Path:
        path = self._folder / name
        path.write_text(text)
        return path

    def _answers(self) -> bool:
        command = [self._pactl, "info"]
        environment = {**os.environ, **self.environment}
        return subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0

    def _ask(self, *command: str) -> str:
        environment = {**os.environ, **self.environment}
        answer = subprocess.run(
            [self._pactl, *command], env=environment, capture_output=True, text=True, check=False, timeout=30
        )
        assert answer.returncode == 0, f"pactl {' '.join(command)}: {answer.stderr}"
        return answer.stdout
