"""One corpus, replayed twenty times in twenty ways: is every byte of every result the same?

    make determinism          (.venv/bin/python -m campaigns.determinism [--seconds 20] [--ways 20])

The ways differ in what must not matter: processes, workers of a Dask cluster (a real scheduler, two workers
in processes of their own), the blocks that sound is cut into, what files are called and where they lie,
language, time zone, hash seed and thread settings of the process, and a computer that is busy with other
things. One SHA-256 stands for a way: over the records to the byte, the scores, the model's outputs and the
hashes of every stage, of every recording. Ends with exit code 1 when there are two.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import galago_edge
from campaigns import DATA, OUT
from galago_edge.bundle import Bundle
from galago_workstation.qa.corpus import read_corpus
from galago_workstation.qa.corpus_replay import CorpusReplay, ReplayPlan, replay_corpus
from galago_workstation.qa.replay_results import LOGITS, SCORES, ReplayResults
from galago_workstation.qa.replay_run import record_lines
from real_parts import DaskCluster
from test_kit.corpora import camera_bundle, microphone_bundle, write_night
from test_kit.videos import make_video

TONES_HZ = (300, 3_100, 0)


@dataclass(frozen=True, slots=True)
class Way:
    """How the corpora are replayed once."""

    name: str
    jobs: int = 1
    block_samples: int | None = None
    cluster: bool = False
    moved: bool = False
    """From another folder, under other names."""
    busy: bool = False
    """Beside a process for each core that only computes."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Environment of a ``galago replay`` of its own; empty: replayed from this process."""


_FAR = {"LANG": "tr_TR.UTF-8", "TZ": "Etc/GMT-14", "PYTHONHASHSEED": "1"}
_PLAIN = {"LC_ALL": "C", "TZ": "UTC", "PYTHONHASHSEED": "2"}
_THREADS = {"OMP_NUM_THREADS": "4", "OPENBLAS_NUM_THREADS": "4", "OPENCV_FOR_THREADS_NUM": "4"}
WAYS = (
    Way("one process"),
    Way("cluster, blocks of 7", block_samples=7, cluster=True),
    Way("other names and folder, two processes", jobs=2, moved=True),
    Way("command: Turkish, UTC+14, hash seed 1", settings=_FAR),
    Way("one process, again"),
    Way("two processes", jobs=2),
    Way("two processes, again", jobs=2),
    Way("five processes", jobs=5),
    Way("blocks of 1", block_samples=1),
    Way("blocks of 160", jobs=2, block_samples=160),
    Way("blocks of 1,000", jobs=2, block_samples=1_000),
    Way("blocks of 4,096", jobs=2, block_samples=4_096),
    Way("blocks of 48,001", jobs=2, block_samples=48_001),
    Way("cluster", cluster=True),
    Way("cluster, again", cluster=True),
    Way("cluster, blocks of 333", block_samples=333, cluster=True),
    Way("cluster, other names and folder", cluster=True, moved=True),
    Way("busy, two processes", jobs=2, busy=True),
    Way("command: C, hash seed 2, blocks of 512", jobs=2, block_samples=512, settings=_PLAIN),
    Way("command: four threads in every library", settings=_THREADS),
)
"""The first few are the most different: a short run takes those."""


@dataclass(frozen=True, slots=True)
class Told:
    """What came of one way."""

    way: str
    sha256: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Played:
    """A corpus and what it is replayed with."""

    corpus: Path
    bundle: Path

    def opened(self) -> Bundle:
        """Return the bundle, which this campaign made itself."""
        return galago_edge.open_bundle(self.bundle, unverified=True)


def prepare(folder: Path, seconds: float) -> list[Played]:
    """Make a corpus of sounds and one of videos, with a bundle each."""
    for number, tone_hz in enumerate(TONES_HZ):
        write_night(folder / "sounds" / f"{number}.wav", tone_hz, seconds=seconds)
    (folder / "videos").mkdir()
    for name, coded in (
        ("a.avi", ("-c:v", "mjpeg", "-q:v", "3")),
        ("b.mkv", ("-c:v", "libx264", "-bf", "0")),
    ):
        make_video(folder / "videos" / name, "-t", seconds, *coded)
    models = [(DATA / f"tiny_{kind}.tflite").read_bytes() for kind in ("audio", "image")]
    return [
        Played(folder / "sounds", microphone_bundle(folder / "ears.galago", models[0])),
        Played(folder / "videos", camera_bundle(folder / "eyes.galago", models[1])),
    ]


def determinism(folder: Path, ways: Sequence[Way], seconds: float) -> Iterator[Told]:
    """Yield what came of each way, as soon as it has."""
    played = prepare(folder, seconds)
    with ExitStack() as stack:
        address = _cluster(folder, stack) if any(way.cluster for way in ways) else None
        for number, way in enumerate(ways):
            began = time.monotonic()
            place = folder / f"way-{number}"
            digest = hashlib.sha256()
            for one in played:
                digest.update(account(_replayed(one, way, place / one.corpus.name, address)))
            shutil.rmtree(place)
            yield Told(way.name, digest.hexdigest(), round(time.monotonic() - began, 1))


def _cluster(folder: Path, stack: ExitStack) -> str:
    local = folder / "cluster"
    local.mkdir()
    cluster = DaskCluster(local).start()
    stack.callback(cluster.stop)
    for _ in range(2):
        cluster.add_worker(replay=1)
    return cluster.address


def _replayed(one: Played, way: Way, place: Path, address: str | None) -> CorpusReplay:
    """Replay a corpus into a new folder, in this way."""
    place.mkdir(parents=True)
    corpus = _moved(one.corpus, place / "other") if way.moved else one.corpus
    results = place / "results"
    plan = ReplayPlan(
        stages=True,
        jobs=None if way.cluster else way.jobs,
        scheduler=address if way.cluster else None,
        block_samples=way.block_samples,
    )
    with _company(way):
        if way.settings:
            _by_command(one, way, place / "run", results)
        found = replay_corpus(read_corpus(corpus), one.opened(), results, plan)
    computed = [not each.fresh if way.settings else each.fresh for each in found.replays]
    if not all(computed) or found.exit_code:
        raise RuntimeError(f"{way.name}: not every recording of {corpus} was replayed: {found.summary()}")
    return found


def _moved(corpus: Path, folder: Path) -> Path:
    for number, path in enumerate(sorted(corpus.iterdir(), reverse=True)):
        target = folder / f"d{number}" / f"x{number}{path.suffix}"
        target.parent.mkdir(parents=True)
        shutil.copy(path, target)
    return folder


def _by_command(one: Played, way: Way, run: Path, results: Path) -> None:
    blocks = [] if way.block_samples is None else ["--block-samples", str(way.block_samples)]
    words = [sys.executable, "-m", "galago_edge", "replay", one.corpus, "--bundle", one.bundle, "--hashes"]
    more = ["--out", run, "--results", results, "--jobs", way.jobs, *blocks]
    environment = {**os.environ, **way.settings}
    subprocess.run(
        [*map(str, words), *map(str, more)], check=True, env=environment, stdout=subprocess.DEVNULL
    )


@contextmanager
def _company(way: Way) -> Iterator[None]:
    """Keep every core busy with something else, if that is the way."""
    idle = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(idle) for _ in os.sched_getaffinity(0)] if way.busy else []
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def account(found: CorpusReplay) -> bytes:
    """Return a line for each recording: everything that its replay came to, whatever it is called."""
    results, lines = ReplayResults(found.results), []
    for one in found.replays:
        stored = one.stored
        assert stored is not None and stored.stages is not None  # it was asked for, and there is no failure
        records = hashlib.sha256(record_lines(stored, results, "recording")).hexdigest()
        kept = (stored.files[SCORES], stored.files[LOGITS], *stored.stages.values())
        lines.append(" ".join((one.recording.sha256, one.digest, records, *kept)))
    return "\n".join(sorted(lines)).encode()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each recording")
    parser.add_argument(
        "--ways", type=int, default=len(WAYS), help="so many of them, the most different first"
    )
    parser.add_argument("--out", type=Path, default=OUT / "determinism.json")
    options = parser.parse_args()
    told: list[Told] = []
    with tempfile.TemporaryDirectory(prefix="galago-determinism-") as folder:
        for one in determinism(Path(folder), WAYS[: options.ways], options.seconds):
            told.append(one)
            print(f"{one.way:<42} {one.sha256}  {one.seconds:6.1f} s", flush=True)
    counts = Counter(one.sha256 for one in told)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    figures = {"ways": [asdict(one) for one in told], "different": len(counts)}
    options.out.write_text(json.dumps(figures, indent=2) + "\n")
    print(f"{len(told)} replays of {len(TONES_HZ) + 2} recordings, {len(counts)} SHA-256")
    return 0 if len(counts) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
