"""Asks another tool what it says to samples. Run by its path, by a Python that has the tool and not Galago.

    python peer_answers.py mediapipe-image|mediapipe-audio MODEL SAMPLES.npy [RATE]

Prints one line of JSON: ``{"version": ..., "answers": [[["label", score], ...], ...]}``. Samples: RGB pixels
``(n, h, w, 3)`` uint8, or sound ``(n, window)`` int16.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any


def _images(model: str, samples: Any, _: int) -> Iterator[list[Any]]:
    import mediapipe
    from mediapipe.tasks.python import BaseOptions
    from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions

    options = ImageClassifierOptions(base_options=BaseOptions(model_asset_path=model))
    with ImageClassifier.create_from_options(options) as classifier:
        for pixels in samples:
            image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
            yield _categories(classifier.classify(image))


def _sounds(model: str, samples: Any, rate: int) -> Iterator[list[Any]]:
    import numpy
    from mediapipe.tasks.python import BaseOptions
    from mediapipe.tasks.python.audio import AudioClassifier, AudioClassifierOptions
    from mediapipe.tasks.python.components.containers import AudioData

    options = AudioClassifierOptions(base_options=BaseOptions(model_asset_path=model))
    with AudioClassifier.create_from_options(options) as classifier:
        for window in samples:
            sound = (window / 32768).astype(numpy.float32)
            yield _categories(classifier.classify(AudioData.create_from_array(sound, rate))[0])


def _categories(result: Any) -> list[Any]:
    return [[one.category_name, one.score] for one in result.classifications[0].categories]


def main(kind: str, model: str, samples: str, rate: str = "0") -> None:
    """Answer."""
    import importlib.metadata

    import numpy

    ask = {"mediapipe-image": _images, "mediapipe-audio": _sounds}[kind]
    answers = list(ask(model, numpy.load(samples, allow_pickle=False), int(rate)))
    version = importlib.metadata.version("mediapipe")
    sys.stdout.write(json.dumps({"version": version, "answers": answers}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
