"""Media files as other programs write them: by ffmpeg."""

from __future__ import annotations

import shutil
import subprocess

from real_parts.missing import missing_part


def ffmpeg(*arguments: object) -> None:
    """Run ffmpeg with these arguments; it overwrites what is there and says nothing but errors."""
    program = shutil.which("ffmpeg")
    if program is None:
        missing_part("ffmpeg is not installed")
    command = [program, "-hide_banner", "-loglevel", "error", "-nostdin", "-y", *map(str, arguments)]
    subprocess.run(command, check=True)
