"""OpenCV, imported when first needed and told that its troubles are reported by us."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from galago_edge.host.extras import Extra, Library, import_extra

CAMERA_EXTRA = Extra("camera", (Library("cv2", "opencv-python-headless"),))
"""What decodes pictures needs."""
_FFMPEG_QUIET = "-8"  # AV_LOG_QUIET
_OPENCV_SILENT = 0  # cv::utils::logging::LOG_LEVEL_SILENT


def import_cv2(need: str) -> Any:
    """Return the module ``cv2``; ``need`` completes "... needs".

    OpenCV and its FFmpeg report bad input on standard error, beside the value that says the same.
    Galago reports each once, in one line.

    Raises:
        DeviceError: EXTRA_MISSING.
    """
    cv2 = import_extra("cv2", "camera", need)
    _silence(cv2)
    return cv2


@cache  # it is asked for with every picture
def _silence(cv2: Any) -> None:
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", _FFMPEG_QUIET)  # read when the first video is opened
    # OpenCV 5 moved the function into cv2.utils.logging, 4.x has it at the top
    logger = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging
    logger.setLogLevel(_OPENCV_SILENT)
