"""How much memory a capture child may take: what a camera sends must not take the device's."""

from __future__ import annotations

from galago_edge.children.confinement import bound_memory
from galago_edge.contract.errors import LinkError, Reason

CAPTURE_MEMORY_MB = 1024
"""Mebibytes of address space, libraries included (350 of FFmpeg and OpenCV).

Measured: H.264 of 4096 x 4096 with as many reference pictures as the format allows (16) takes 778.
"""


def bound_capture() -> None:
    """Let this process take no more."""
    bound_memory(CAPTURE_MEMORY_MB << 20)


def memory_fault(device: str) -> LinkError:
    """Return the error of a device whose capture met that bound; ``device`` is such as ``camera door``."""
    return LinkError(
        Reason.SOURCE_MISMATCH,
        f"{device} sends what needs more than {CAPTURE_MEMORY_MB} MB of memory",
        hint="check that this address is a camera; choose a smaller picture or fewer reference frames in it",
    )
