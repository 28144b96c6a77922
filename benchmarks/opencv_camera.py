"""What network_camera.py compares with: a network camera by OpenCV's VideoCapture, and nothing else.

    .venv/bin/python benchmarks/opencv_camera.py CAMERA_URL [MODEL]

With the options that Galago gave it before it took PyAV: RTSP over TCP, quick probing, two decoding threads
at most. Each frame is resized, its colours are changed, and with MODEL the interpreter is invoked. Prints the
wall time in nanoseconds when the first frame is through, then goes on.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

OPTIONS = "rtsp_transport;tcp|fpsprobesize;0|probesize;32"
SIZE = (16, 16)


def main() -> None:
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = OPTIONS
    import cv2

    url, *model = sys.argv[1:]
    interpreter: Any = None
    if model:
        from galago_edge.engine import interpreter_class

        interpreter = interpreter_class()(model_content=Path(model[0]).read_bytes(), num_threads=1)
        interpreter.allocate_tensors()
    camera = cv2.VideoCapture(url, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 2])
    first = True
    while True:
        good, frame = camera.read()
        if not good:
            sys.exit("the camera is lost")
        pixels = cv2.cvtColor(cv2.resize(frame, SIZE), cv2.COLOR_BGR2RGB)
        if interpreter is not None:
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels[None])
            interpreter.invoke()
        if first:
            print(time.time_ns(), flush=True)
            first = False


if __name__ == "__main__":
    main()
