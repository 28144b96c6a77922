"""Recording: what the configuration wants to keep has room, and there may be something to keep."""

from __future__ import annotations

import os
from collections.abc import Iterator

from galago_edge.contract.findings import Finding, fail, ok, warn
from galago_edge.doctor.case import Case, DoctorCheck
from galago_edge.doctor.sink_checks import labels_of

_MB = 1_000_000


def check_recording(case: Case) -> Iterator[DoctorCheck | Finding]:
    """What ``[recording]`` wants to keep has room; its labels are decided on."""
    settings = case.settings
    if settings is None or settings.recording is None:
        return
    from galago_edge.recording.tap_folder import TapFolder

    table = settings.recording
    folder = TapFolder(table, case.root).path
    there = folder
    while not there.is_dir() and there != there.parent:
        there = there.parent
    disk = os.statvfs(there)
    free = disk.f_bavail * disk.f_frsize // _MB
    files = [one for one in folder.iterdir() if one.is_file()] if there == folder else []
    kept = sum(one.stat().st_size for one in files) // _MB
    met = f"{folder}: {kept} of {table.max_mb} MB kept, {free} MB free"
    if free < table.keep_free_mb and not kept:
        yield fail("recording", f"{met}, and {table.keep_free_mb} must stay free: nothing is recorded", _FIX)
    elif kept + free - table.keep_free_mb < table.max_mb:
        yield warn("recording", f"{met}, and {table.keep_free_mb} must stay free: less is kept", _FIX)
    else:
        yield ok("recording", met)
    yield from labels_of("recording", case)


_FIX = "make room, or lower max_mb or keep_free_mb of [recording]"

CHECKS = (DoctorCheck("recording", check_recording, place=185, needs=("config", "bundles")),)
