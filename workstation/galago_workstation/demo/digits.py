"""Camera data: handwritten digits on cards, held into a room.

The digits are the 1,797 scans that scikit-learn ships (``sklearn.datasets.load_digits``: 8 x 8 pixels, ink
0 to 16, from the test part of the UCI set "Optical Recognition of Handwritten Digits"). Which of them are
shown in the stream is drawn first, by the seed alone; those scans are in no training picture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from galago_edge.contract.streams import NS_PER_S
from galago_workstation.demo.scenes import (
    Light,
    Pixels,
    Pose,
    Room,
    blank_card,
    digit_card,
    easing,
    is_inside,
    scribble_card,
    visible_ink,
)
from galago_workstation.demo.truth import (
    TRUTH_FILE,
    DemoTruth,
    TrueEvent,
    require_written,
    write_configs,
    write_truth,
)
from galago_workstation.files import new_folder

LABELS = (*(str(digit) for digit in range(10)), "none")
CARDS = 40
DISTRACTORS = 2
FPS = 10
SECONDS = 120
RECORDING = "recording.avi"

_FRAME = (240, 320)
_PHOTO = (120, 120)  # training pictures: the middle square at half size, gray, so that the folder stays small
_VIEWS = 4  # training pictures per scan
_ROOMS = 80
_NOISES = 64
_PARTLY = 0.65  # less of the digit in view than this is nothing yet


@dataclass(frozen=True, slots=True)
class Show:
    """One card in the stream."""

    card: Pixels
    label: str | None
    scan: int | None
    start: int
    """First frame of its slot."""
    frames: int
    """Length of its slot."""
    held: Pose
    drift: tuple[float, float, float]
    """Movement while held: x, y (shares of the frame) and degrees."""
    entry: tuple[float, float]
    exit: tuple[float, float]
    """Where it comes from and goes to, as shifts that leave the frame."""

    def pose(self, frame: int) -> Pose | None:
        """Return where the card is in frame number ``frame`` of the stream, None when it is away."""
        at = frame - self.start
        moving, away = 5, 4
        held = self.frames - 2 * moving - away
        if not 0 <= at < self.frames - away:
            return None
        share = min(1.0, max(0.0, (at - moving) / held)) - 0.5
        pose = replace(
            self.held,
            x=self.held.x + share * self.drift[0],
            y=self.held.y + share * self.drift[1],
            angle_deg=self.held.angle_deg + share * self.drift[2],
        )
        if at < moving:
            out = 1.0 - easing((at + 1) / (moving + 1))
            return pose.moved(out * self.entry[0], out * self.entry[1])
        if at >= moving + held:
            out = easing((at - moving - held + 1) / (moving + 1))
            return pose.moved(out * self.exit[0], out * self.exit[1])
        return pose


def make_digits(out: Path, *, seed: int = 0) -> DemoTruth:
    """Write ``out/train/LABEL/*.png``, ``out/recording.avi`` and ``out/truth.json``, and what QA needs.

    File names begin with the scan or the room they show, for ``group`` in the training configuration.

    Raises:
        CallerError: EXISTS; ``out`` is there and was not made by this function; its own work is replaced.
        LinkError: The disk is full or read-only.
    """
    from sklearn.datasets import load_digits

    scans = load_digits()
    draw, train, stream = (np.random.default_rng([seed, part]) for part in range(3))
    shown = draw.permutation(scans.target.size)[:CARDS]
    with new_folder(out, mark=TRUTH_FILE) as folder:
        kept = np.setdiff1d(np.arange(scans.target.size), shown)
        _write_photos(folder / "train", scans.images, scans.target, kept, train)
        shows = _programme(scans.images, scans.target, shown, stream)
        _write_video(folder / RECORDING, shows, stream)
        truth = DemoTruth(
            modality="camera",
            recording=RECORDING,
            seed=seed,
            duration_ns=SECONDS * NS_PER_S,
            events=tuple(_truth_of(show) for show in shows if show.label is not None),
        )
        write_configs("digits", truth, folder)
        write_truth(truth, folder)
    return truth


# ---- training pictures


def _write_photos(
    folder: Path,
    images: npt.NDArray[np.float64],
    target: npt.NDArray[np.int64],
    kept: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> None:
    for label in LABELS:
        (folder / label).mkdir(parents=True)
    rooms = [Room(rng, _PHOTO) for _ in range(_ROOMS)]
    noises = _noise_pool(rng, _PHOTO)

    def photograph(path: Path, card: Pixels | None, pose: Pose | None) -> None:
        room = rooms[int(rng.integers(_ROOMS))]
        frame = room.render(card, pose, _random_light(rng), _noise(noises, rng))
        gray = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        path.write_bytes(cv2.imencode(".png", gray)[1].tobytes())

    for number in kept:
        for view in range(_VIEWS):
            pose = _pose_with_ink(rng, 0.99, 1.01)
            path = folder / str(target[number]) / f"scan{number:04d}-{view}.png"
            photograph(path, digit_card(images[number], rng), pose)
        if number % 3 == 0:  # the same scans partly in view are nothing yet
            pose = _pose_with_ink(rng, 0.0, _PARTLY)
            photograph(folder / "none" / f"scan{number:04d}-part.png", digit_card(images[number], rng), pose)
    for number in range(600):
        path = folder / "none" / f"room{number:04d}.png"
        if number % 3:
            card = blank_card(rng) if number % 3 == 1 else scribble_card(rng)
            photograph(path, card, _random_pose(rng))
        else:
            photograph(path, None, None)


def _random_pose(rng: np.random.Generator) -> Pose:
    return Pose(
        x=float(rng.uniform(-0.1, 1.1)),
        y=float(rng.uniform(-0.1, 1.1)),
        height=float(rng.uniform(0.68, 0.82)),
        angle_deg=float(rng.uniform(-8, 8)),
    )


def _pose_with_ink(rng: np.random.Generator, least: float, below: float) -> Pose:
    """Draw poses until the share of the digit in view is in ``[least, below)``."""
    while True:
        pose = _random_pose(rng)
        if least <= visible_ink(pose, _PHOTO) < below:
            return pose


def _random_light(rng: np.random.Generator) -> Light:
    return Light(
        gain=float(rng.uniform(0.45, 1.15)),
        lamp_x=float(rng.uniform(0, 1)),
        lamp_y=float(rng.uniform(-0.2, 0.6)),
        lamp=float(rng.uniform(0, 0.6)),
        tint=(float(rng.uniform(0.85, 1.0)), 1.0, float(rng.uniform(0.9, 1.05))),
    )


def _noise_pool(rng: np.random.Generator, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    return rng.standard_normal((_NOISES, *shape, 1), np.float32)


def _noise(
    pool: npt.NDArray[np.float32], rng: np.random.Generator, sigma: float | None = None
) -> npt.NDArray[np.float32]:
    """Return sensor noise: one of the pool's fields, turned over at random, so that none repeats soon."""
    field = pool[int(rng.integers(_NOISES))]
    field = np.roll(field, int(rng.integers(field.shape[1])), axis=1)
    scale = rng.uniform(1.0, 6.0) if sigma is None else sigma
    return np.asarray(field * np.float32(scale), np.float32)


# ---- the stream


def _programme(
    images: npt.NDArray[np.float64],
    target: npt.NDArray[np.int64],
    shown: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> list[Show]:
    """Return the cards in order; cards without a digit come between."""
    numbers: list[int | None] = [int(number) for number in shown]
    for place in rng.choice(np.arange(3, CARDS - 3), DISTRACTORS, replace=False):
        numbers.insert(int(place), None)
    starts = np.linspace(0, SECONDS * FPS, len(numbers) + 1).round().astype(int)
    sides = ((-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0))
    shows = []
    for i, number in enumerate(numbers):
        card = scribble_card(rng) if number is None else digit_card(images[number], rng)
        entry, exit_ = (sides[int(side)] for side in rng.integers(4, size=2))
        shows.append(
            Show(
                card=card,
                label=None if number is None else str(target[number]),
                scan=number,
                start=int(starts[i]),
                frames=int(starts[i + 1] - starts[i]),
                held=Pose(
                    x=float(rng.uniform(0.44, 0.56)),
                    y=float(rng.uniform(0.47, 0.53)),
                    height=float(rng.uniform(0.7, 0.8)),
                    angle_deg=float(rng.uniform(-4, 4)),
                ),
                drift=(
                    float(rng.uniform(-0.1, 0.1)),
                    float(rng.uniform(-0.06, 0.06)),
                    float(rng.uniform(-5, 5)),
                ),
                entry=entry,
                exit=exit_,
            )
        )
    return shows


def _write_video(path: Path, shows: list[Show], rng: np.random.Generator) -> None:
    height, width = _FRAME
    room = Room(rng, _FRAME)
    noises = _noise_pool(rng, _FRAME)
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter.fourcc(*"MJPG"), FPS, (width, height)
    )
    try:
        writer.set(cv2.VIDEOWRITER_PROP_QUALITY, 90)
        for show in shows:
            for frame in range(show.start, show.start + show.frames):
                pose = show.pose(frame)
                shake = rng.normal(0.0, 0.3, 2)
                pixels = room.render(
                    show.card if pose else None,
                    pose,
                    stream_light(frame),
                    _noise(noises, rng, 4.0),
                    shake_px=(float(shake[0]), float(shake[1])),
                )
                writer.write(pixels)
    finally:
        writer.release()
    require_written(path, _frames_in(path) == shows[-1].start + shows[-1].frames)


def stream_light(frame: int) -> Light:
    """Return the stream's light: clouds pass, and every 30 s a lamp is switched on or off."""
    t = frame / FPS
    lamp_on = (t // 30) % 2 == 1
    return Light(
        gain=float(0.8 + 0.2 * np.sin(2 * np.pi * t / 17.0) + 0.05 * np.sin(2 * np.pi * t / 3.1)),
        lamp_x=0.2,
        lamp_y=0.1,
        lamp=0.35 if lamp_on else 0.0,
        tint=(0.9, 1.0, 1.02) if lamp_on else (1.0, 1.0, 0.95),
    )


def _frames_in(path: Path) -> int:
    """Return how many frames can be decoded: OpenCV's writer does not say when the disk is full."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    count = 0
    while capture.grab():
        count += 1
    capture.release()
    return count


def _truth_of(show: Show) -> TrueEvent:
    frames = range(show.start, show.start + show.frames)
    poses = {frame: pose for frame in frames if (pose := show.pose(frame)) is not None}
    seen = [frame for frame, pose in poses.items() if visible_ink(pose) > 0]
    whole = [frame for frame, pose in poses.items() if is_inside(pose)]
    offset_ns = (seen[-1] + 1) * NS_PER_S // FPS
    assert show.label is not None and show.scan is not None
    return TrueEvent(
        label=show.label,
        onset_ns=seen[0] * NS_PER_S // FPS,
        complete_ns=whole[0] * NS_PER_S // FPS,
        offset_ns=offset_ns,
        deadline_ns=offset_ns + NS_PER_S // 2,
        about={"scan": show.scan},
    )
