"""MediaPipe's ImageClassifier on the same model, run by benchmarks/decision.py in an environment of its own.

Reads the model and the frames once, then for every line "N" on standard input classifies N frames and
answers with one line of JSON: what each took in nanoseconds. Ends with its input.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def classifier(model: str) -> Any:
    from mediapipe.tasks.python import BaseOptions
    from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions, RunningMode

    options = ImageClassifierOptions(
        base_options=BaseOptions(model_asset_path=model), running_mode=RunningMode.IMAGE, max_results=1
    )
    return ImageClassifier.create_from_options(options)


def main(model: str, frames: str) -> None:
    import cv2
    import mediapipe
    import numpy as np

    images = np.load(frames)
    task = classifier(model)
    print(json.dumps({"version": mediapipe.__version__}), flush=True)
    number = 0
    for line in sys.stdin:
        taken = []
        for _ in range(int(line)):
            frame = images[number % len(images)].copy()  # as a decoder leaves it
            number += 1
            start = time.perf_counter_ns()
            # MediaPipe wants RGB; a camera gives BGR
            rgb = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            task.classify(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=rgb))
            taken.append(time.perf_counter_ns() - start)
        print(json.dumps(taken), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
