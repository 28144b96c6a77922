"""What qa_replay.py compares with: decode, preprocess, invoke, in a loop, and nothing else.

    .venv/bin/python benchmarks/bare_replay.py camera|microphone MODEL RECORDING...

Camera: PyAV takes the JPEGs out of the file, OpenCV decodes them (what FFmpeg's own JPEG decoder and
conversion to BGR cost: ``--ffmpeg``), resizes with INTER_LINEAR and changes the colours. Microphone: a WAV of
16 kHz, log-mel of 40 bands by NumPy in single precision, each frame computed once, a window every ten frames.
Nothing is dated, checked, decided, written or hashed. Prints the number of windows.
"""

from __future__ import annotations

import argparse
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

RATE_HZ, FRAME, HOP, BANDS, FFT = 16_000, 480, 160, 40, 512
WINDOW_FRAMES, HOP_FRAMES = 98, 10
BLOCK = 60 * RATE_HZ


def interpreter(path: Path) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    found = Interpreter(model_path=str(path), num_threads=1)
    found.allocate_tensors()
    return found


def pictures(path: Path, by_ffmpeg: bool) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield each frame as BGR, shape (height, width, 3)."""
    import av
    import cv2

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        if by_ffmpeg:
            for frame in container.decode(stream):
                yield frame.to_ndarray(format="bgr24")
            return
        for packet in container.demux(stream):
            if packet.size:
                yield cv2.imdecode(np.frombuffer(packet, np.uint8), cv2.IMREAD_COLOR)


def watch(model: Any, path: Path, by_ffmpeg: bool) -> int:
    import cv2

    cv2.setNumThreads(1)
    given, output = model.get_input_details()[0], model.get_output_details()[0]["index"]
    size = (int(given["shape"][2]), int(given["shape"][1]))
    windows = 0
    for pixels in pictures(path, by_ffmpeg):
        small = cv2.cvtColor(cv2.resize(pixels, size), cv2.COLOR_BGR2RGB)
        model.set_tensor(given["index"], small[None])
        model.invoke()
        model.get_tensor(output)
        windows += 1
    return windows


def mel_matrix() -> npt.NDArray[np.float32]:
    """Return triangles over the bins, equally wide in mel, shape (bins, bands)."""
    top = 2_595 * np.log10(1 + RATE_HZ / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, BANDS + 2) / 2_595) - 1)
    bins = np.arange(FFT // 2 + 1)[:, None] * RATE_HZ / FFT
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    return np.maximum(0, np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle))).astype(
        "f4"
    )


def codes(path: Path) -> Iterator[npt.NDArray[np.int8]]:
    """Yield log-mel codes, shape (frames, bands), a minute at a time; what overlaps is kept."""
    window, mel = np.hanning(FRAME).astype(np.float32), mel_matrix()
    rest = np.empty(0, np.int16)
    with wave.open(str(path)) as file:
        while block := file.readframes(BLOCK):
            samples = np.concatenate((rest, np.frombuffer(block, np.int16)))
            if len(samples) < FRAME:
                return
            frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP]
            spectrum = np.abs(np.fft.rfft(frames * window, FFT))
            levels = 20 * np.log10(spectrum.astype(np.float32) @ mel + 1)
            yield (2 * levels - 128).clip(-128, 127).astype(np.int8)
            rest = samples[len(frames) * HOP :]


def listen(model: Any, path: Path) -> int:
    given, output = model.get_input_details()[0]["index"], model.get_output_details()[0]["index"]
    shape = tuple(model.get_input_details()[0]["shape"])
    windows = 0
    held = np.empty((0, BANDS), np.int8)
    for found in codes(path):
        held = np.concatenate((held, found))
        begin = 0
        while begin + WINDOW_FRAMES <= len(held):
            model.set_tensor(given, held[begin : begin + WINDOW_FRAMES].reshape(shape))
            model.invoke()
            model.get_tensor(output)
            windows += 1
            begin += HOP_FRAMES
        held = held[begin:]
    return windows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=("camera", "microphone"))
    parser.add_argument("model", type=Path)
    parser.add_argument("recordings", type=Path, nargs="+")
    parser.add_argument("--ffmpeg", action="store_true", help="let FFmpeg decode the JPEGs")
    given = parser.parse_args()
    model = interpreter(given.model)
    if given.kind == "camera":
        print(sum(watch(model, path, given.ffmpeg) for path in given.recordings))
    else:
        print(sum(listen(model, path) for path in given.recordings))


if __name__ == "__main__":
    main()
