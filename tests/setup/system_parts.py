"""Installs the Debian packages that the tests' real parts come from, or says how.

    .venv/bin/python tests/setup/system_parts.py

An RTSP server (GStreamer), a sound server (PulseAudio) with a microphone, an MQTT broker (Mosquitto), a
browser (Chromium), an SSH server, web servers (nginx, lighttpd, PHP), a C compiler, strace, what makes file
systems and what speaks. As root on Debian or Ubuntu what is missing is installed with apt-get; otherwise the
command to type is printed and the exit code is 0: their tests are then skipped, or fail where CI=true. Does
nothing when all are there; `make test` calls this before pytest.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

PACKAGES = [
    "chromium",
    "chromium-driver",
    "e2fsprogs",
    "espeak-ng",
    "ffmpeg",
    "flite",
    "gcc",
    "gir1.2-gst-rtsp-server-1.0",
    "gstreamer1.0-plugins-base",
    "gstreamer1.0-plugins-good",
    "gstreamer1.0-plugins-ugly",
    "libasound2-plugins",
    "libc6-dev",
    "libportaudio2",
    "libseccomp2",
    "lighttpd",
    "mmdebstrap",
    "mosquitto",
    "nginx-light",
    "openssh-client",
    "openssh-server",
    "passwd",
    "php-cli",
    "pulseaudio",
    "pulseaudio-utils",
    "python3-gi",
    "strace",
    "systemd",
]


def missing() -> list[str]:
    """Return the packages that are not installed."""
    answer = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *PACKAGES],
        capture_output=True,
        text=True,
        check=False,  # it fails when one is not known at all
    )
    installed = {line.split()[0] for line in answer.stdout.splitlines() if line.endswith(" installed")}
    return [package for package in PACKAGES if package not in installed]


def main() -> int:
    if shutil.which("dpkg-query") is None or shutil.which("apt-get") is None:
        print(f"no Debian: the tests with real parts need what these packages hold: {' '.join(PACKAGES)}")
        return 0
    wanted = missing()
    if not wanted:
        return 0
    if os.geteuid() != 0:
        print(f"the tests with real parts need: sudo apt-get install {' '.join(wanted)}")
        return 0
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "--quiet", "--quiet", "--yes", "--no-install-recommends", *wanted]
    if subprocess.run(install, env=quiet, check=False).returncode != 0:
        subprocess.run(["apt-get", "update", "--quiet", "--quiet"], env=quiet, check=False)
        if subprocess.run(install, env=quiet, check=False).returncode != 0:
            print(f"apt-get could not install {' '.join(wanted)}: the tests that need them are skipped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
