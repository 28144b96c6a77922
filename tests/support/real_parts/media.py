"""Media files as other programs write them: by ffmpeg."""

from __future__ import annotations

import shutil
import subprocess

from real_parts.missing import missing_part


def ffmpeg(*arguments: object) -> None:
    """Run ffmpeg with these arguments; it overwrites what is there and says nothing but errors."""
    subprocess.run([*_command(), *map(str, arguments)], check=True)


def ffmpeg_output(*arguments: object) -> bytes:
    """Run ffmpeg with these arguments and return what it writes to standard output."""
    return subprocess.run([*_command(), *map(str, arguments), "-"], check=True, stdout=subprocess.PIPE).stdout


def _command() -> list[str]:
    program = shutil.which("ffmpeg")
    if program is None:
        missing_part("ffmpeg is not installed")
    return [program, "-hide_banner", "-loglevel", "error", "-nostdin", "-y"]
