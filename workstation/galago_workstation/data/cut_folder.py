"""A folder of samples that were cut out of labelled recordings, and the table that names them."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from galago_edge.contract.errors import GalagoError, InputError, Reason
from galago_edge.contract.manifest import AudioPreprocess, ImagePreprocess
from galago_edge.contract.modality import Modality
from galago_edge.recording.sample_media import wav_bytes
from galago_edge.sources.opencv import import_cv2
from galago_workstation.data.stream_cuts import (
    Cut,
    CutPlan,
    alone,
    cut_pictures,
    cut_sounds,
    heard_of,
    picture_cuts,
    sound_cuts,
)
from galago_workstation.files import new_folder, write_bytes, write_json
from galago_workstation.progress_lines import Report
from galago_workstation.qa.corpus import Corpus
from galago_workstation.qa.corpus_rows import CorpusRecording
from galago_workstation.qa.label_file import read_labels
from galago_workstation.qa.replayed import TruthList

CUTS_FILE = "cuts.json"
TABLE_FILE = "samples.csv"
_NO_PATH = str.maketrans(dict.fromkeys('/\\:*?"<>|', "_"))


class CutSample(msgspec.Struct, frozen=True, kw_only=True):
    """Where one sample comes from."""

    path: str
    label: str
    recording: str
    sha256: str
    """Of the recording."""
    start_ns: int
    end_ns: int


class CutRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Content of cuts.json."""

    schema: str = "galago.cuts/1"
    samples: tuple[CutSample, ...]


@dataclass(slots=True)
class CutResult:
    """What was cut and what was not."""

    labels: Counter[str] = field(default_factory=Counter)
    unlabelled: list[str] = field(default_factory=list)
    """Recordings without labels: nobody has said what is in them, so nothing is cut."""
    failed: dict[str, GalagoError] = field(default_factory=dict)
    overlapping: int = 0
    """Events that overlap one of another label."""
    in_gaps: int = 0
    """Events of which something is lost."""


def cut_corpus(corpus: Corpus, modality: Modality, plan: CutPlan, out: Path, report: Report) -> CutResult:
    """Cut samples of the labelled recordings of a corpus into the folder ``out``.

    There is one sub-folder per label, cuts.json says where each sample comes from, samples.csv is a manifest
    for training, whose group is the recording. A folder that this wrote before is replaced.

    Raises:
        InputError: DATA_BAD; no recording has labels, or nothing could be cut.
        CallerError: EXISTS; the folder is another one.
        LinkError: The disk fails.
    """
    result = CutResult()
    samples: list[CutSample] = []
    with (
        new_folder(out, mark=CUTS_FILE) as folder,
        report.track("cutting", len(corpus.recordings)) as advance,
    ):
        for number, recording in enumerate(corpus.recordings, 1):
            if recording.labels is None:
                result.unlabelled.append(recording.name)
            else:
                try:
                    samples += _cut(recording, modality, plan, folder, result)
                except GalagoError as error:
                    result.failed[recording.name] = error
            advance(number)
        if not samples:
            why = "no recording has labels" if not result.failed else str(next(iter(result.failed.values())))
            raise InputError(
                Reason.DATA_BAD,
                f"nothing was cut of {corpus.name}: {why}",
                hint="label recordings first: galago qa label, or galago qa labels import",
            )
        write_json(folder / CUTS_FILE, CutRecord(samples=tuple(samples)))
        write_bytes(folder / TABLE_FILE, _table(samples))
    result.labels.update(sample.label for sample in samples)
    return result


def _cut(
    recording: CorpusRecording, modality: Modality, plan: CutPlan, folder: Path, result: CutResult
) -> list[CutSample]:
    assert recording.labels is not None
    truth = read_labels(recording.labels, sha256=recording.sha256).truth
    result.overlapping += alone(truth)[1]
    samples: list[CutSample] = []
    for cut, suffix, content in _contents(recording, modality, truth, plan, result):
        label, stem = cut.label.translate(_NO_PATH), recording.name.translate(_NO_PATH)
        path = f"{label}/{stem}_{cut.start_ns // 1_000_000:09}{suffix}"
        (folder / label).mkdir(exist_ok=True)
        write_bytes(folder / path, content)
        samples.append(
            CutSample(
                path=path,
                label=cut.label,
                recording=recording.name,
                sha256=recording.sha256,
                start_ns=cut.start_ns,
                end_ns=cut.end_ns,
            )
        )
    return samples


def _contents(
    recording: CorpusRecording, modality: Modality, truth: TruthList, plan: CutPlan, result: CutResult
) -> Iterator[tuple[Cut, str, bytes]]:
    seed = int(recording.sha256[:12], 16)  # the same recording gives the same background
    if modality == "microphone":
        spec = AudioPreprocess(sample_rate_hz=plan.rate_hz, fmax_hz=plan.rate_hz * 0.475)
        cuts, in_gaps = sound_cuts(truth, heard_of(recording.address, spec), plan, seed)
        result.in_gaps += in_gaps
        for cut, sound in cut_sounds(recording.address, spec, cuts):
            yield cut, ".wav", wav_bytes(sound, plan.rate_hz)
        return
    picture_spec = ImagePreprocess(width=64, height=64)  # only decides that pictures are wanted
    moments = picture_cuts(truth, heard_of(recording.address, picture_spec), plan, seed)
    cv2 = import_cv2("writing pictures")
    for cut, frame in cut_pictures(recording.address, picture_spec, moments):
        if frame.encoded is not None and frame.encoded.startswith(b"\xff\xd8"):
            yield cut, ".jpg", frame.encoded
        else:
            yield cut, ".png", cv2.imencode(".png", frame.pixels)[1].tobytes()


def _table(samples: list[CutSample]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("path", "label", "group"))
    writer.writerows((one.path, one.label, one.recording) for one in samples)
    return text.getvalue().encode()
