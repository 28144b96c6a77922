"""The examples of docs/python.md, each run as a program of its own beside real files."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from galago_edge.bundle import open_bundle
from galago_edge.bundle.keys import key_id, public_line
from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.contract.records import encode_record
from galago_edge.pipeline import DecidingStream, drive, load
from galago_edge.sources import AudioFile
from test_kit import OTHER_KEY, TEST_KEY, make_bundle, trust, wav_bytes

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/python.md"
RATE_HZ = 16_000
POLICY = LabelPolicy(on=0.7, off=0.4, smoothing_windows=2, min_count=2, refractory_ms=1_000)
TEXT = PAGE.read_text(encoding="utf-8")
FILES = dict(re.findall(r"^```\w+\n# ([\w.]+)\n(.*?)^```\n", TEXT, re.M | re.S))
"""What the page shows as a file that the examples behind it need."""
EXAMPLES = re.findall(r"^```python\n(?!# \w)(.*?)^```\n(?:```text\n(.*?)^```\n)?", TEXT, re.M | re.S)


def prepare(folder: Path) -> None:
    """Put everything that the examples name into ``folder``."""
    install(folder)
    for name, key in (("release", TEST_KEY), ("other", OTHER_KEY)):
        (folder / f"{name}.key.pub").write_text(public_line(key_id(key), name))
    trust(folder / "device")
    alarms = folder / "alarms-1.0.0.galago"
    for path, model, names in (
        (folder / "lights-1.0.0.galago", "tiny_image", ("off", "dim", "on")),
        (alarms, "tiny_audio", ("quiet", "horn", "whistle")),
    ):
        labels = [Label(name=name, background=not number, policy=POLICY) for number, name in enumerate(names)]
        data = (ROOT / f"tests/data/{model}.tflite").read_bytes()
        modality = "microphone" if path == alarms else "camera"
        make_bundle(path, data, labels, modality=modality, name=path.name.partition("-")[0])
    cv2.imwrite(str(folder / "hall.png"), np.full((480, 640, 3), 230, np.uint8))
    (folder / "night.wav").write_bytes(wav_bytes(night(), RATE_HZ))
    lines: list[bytes] = []
    stream = DecidingStream("hall", load(open_bundle(alarms)))
    drive(
        AudioFile(folder / "night.wav", RATE_HZ),
        stream,
        lambda records: lines.extend(map(encode_record, records)),
    )
    (folder / "events.jsonl").write_bytes(b"".join(lines)[:-40])


def install(folder: Path) -> None:
    """Install the page's own distribution where programs in ``folder`` find it, as pip would."""
    written = configparser.ConfigParser()
    written.read_string(FILES["setup.cfg"])
    options, name = written["options"], written["metadata"]["name"]
    (folder / f"{options['py_modules']}.py").write_text(FILES[f"{options['py_modules']}.py"])
    info = folder / f"{name}-{written['metadata']['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    groups = [f"[{group}]{points}\n" for group, points in written["options.entry_points"].items()]
    (info / "entry_points.txt").write_text("".join(groups))


def night() -> npt.NDArray[np.int16]:
    """8 s: a horn from 2 s to 3 s, a whistle from 5 s to 6 s."""
    time_s = np.arange(8 * RATE_HZ) / RATE_HZ
    horn = np.sin(2 * np.pi * 300 * time_s) * ((time_s >= 2) & (time_s < 3))
    whistle = np.sin(2 * np.pi * 3_200 * time_s) * ((time_s >= 5) & (time_s < 6))
    return np.rint(12_000 * (horn + whistle)).astype(np.int16)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    prepare(folder)
    return folder


@pytest.mark.parametrize(
    ("code", "output"), EXAMPLES, ids=[f"example {number}" for number in range(1, len(EXAMPLES) + 1)]
)
def test_an_example_prints_what_the_page_shows(
    code: str, output: str, prepared: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(prepared, tmp_path / "here")
    (folder / "example.py").write_text(code, encoding="utf-8")
    command = [sys.executable, "-W", "error", "-W", "default::UserWarning", "example.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout == output
    if "read_records" in code:
        assert "CutRecordWarning: events.jsonl, line " in done.stderr
    else:
        assert done.stderr == ""


def test_the_page_has_its_examples_and_the_first_ones_are_short() -> None:
    assert len(EXAMPLES) >= 8
    assert all(output for _, output in EXAMPLES)
    image, recording = (
        next(code for code, _ in EXAMPLES if word in code) for word in ("hall.png", "replay(")
    )
    for code in (image, recording):
        assert len([line for line in code.splitlines() if line.strip()]) <= 10


def test_the_page_names_everything_that_is_public() -> None:
    import galago_edge

    missing = {name for name in galago_edge.__all__ if name not in TEXT} - {"__version__", "Span", "Reason"}
    assert missing <= {"Classification", "RankedLabel", "Record"}, missing
