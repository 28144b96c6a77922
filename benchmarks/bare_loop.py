"""What service_figures.py compares with: OpenCV and two interpreters in a loop, and nothing else.

    .venv/bin/python benchmarks/bare_loop.py CAMERA_URL CAMERA_MODEL MICROPHONE MICROPHONE_MODEL

Reads the camera, resizes, changes the colours and invokes, as fast as frames come; for each 100 ms of sound
it invokes the other model on whatever the tensor holds: no features are computed. Nothing is decided,
written, sent or watched over. Prints a line when the first frame is through.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import sounddevice

from galago_edge.engine import interpreter_class

RATE_HZ = 16_000
BLOCK = RATE_HZ // 10


def interpreter(path: str) -> Any:
    found = interpreter_class()(model_content=Path(path).read_bytes(), num_threads=1)
    found.allocate_tensors()
    return found


def listen(name: str, model: Any) -> None:
    output = model.get_output_details()[0]["index"]
    with sounddevice.RawInputStream(
        samplerate=RATE_HZ, channels=1, dtype="int16", device=name, blocksize=BLOCK
    ) as stream:
        while True:
            np.frombuffer(stream.read(BLOCK)[0], np.int16)
            model.invoke()
            model.get_tensor(output)


def watch(url: str, model: Any) -> None:
    given, output = model.get_input_details()[0], model.get_output_details()[0]["index"]
    height, width = given["shape"][1:3]
    camera = cv2.VideoCapture(url, cv2.CAP_FFMPEG)
    first = True
    while True:
        good, frame = camera.read()
        if not good:
            sys.exit("the camera is lost")
        pixels = cv2.cvtColor(cv2.resize(frame, (int(width), int(height))), cv2.COLOR_BGR2RGB)
        model.set_tensor(given["index"], pixels[None])
        model.invoke()
        model.get_tensor(output)
        if first:
            print("ready", flush=True)
            first = False


def main() -> None:
    url, camera_model, microphone, microphone_model = sys.argv[1:]
    hearing = interpreter(microphone_model)
    threading.Thread(target=listen, args=(microphone, hearing), daemon=True).start()
    watch(url, interpreter(camera_model))


if __name__ == "__main__":
    main()
