"""Epochs that are chosen by recordings: cut and decided as a replay does, the limit first, then recall."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import galago_edge
from galago_edge.contract.errors import CallerError, InputError, Reason
from galago_edge.contract.manifest import Decision
from galago_edge.pipeline import LoadedBundle, load
from galago_workstation.data.augmentation.scratch_file import ScratchFile
from galago_workstation.data.sample_reader import FEATURE_SCALE
from galago_workstation.evaluation.recorded_windows import cut_recording
from galago_workstation.evaluation.validation_streams import StreamFigures, ValidationStreams
from galago_workstation.qa.corpus import read_corpus
from galago_workstation.qa.corpus_replay import ReplayPlan, replay_corpus
from galago_workstation.qa.corpus_score import score
from galago_workstation.qa.label_file import read_labels
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.replay_run import run_of
from galago_workstation.run_folder import Run
from galago_workstation.training.curves import Epoch
from galago_workstation.training.epoch_streams import EpochStreams
from galago_workstation.training.progress import PlainProgress
from galago_workstation.training.training_run import train
from galago_workstation.training_config import read_config
from test_kit import wav_bytes
from test_kit.corpora import microphone_bundle, night_samples, policy_labels, write_night

# Keras 3.15 saves its variables through an interface that numpy 2 is about to drop
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CONFIG = """
[data]
kind = "audio"
folder = "clips"
background = ["quiet"]
[preprocess]
kind = "logmel"
window_frames = 20
mel_bands = 10
hop_frames = 10
[model]
kind = "ds_cnn"
filters = 4
blocks = 1
[train]
epochs = 3
min_steps = 0
batch_size = 4
learning_rate = 0.02
best_by = "streams"
[validation]
streams = "nights"
false_alarms_per_hour = {limit}
every = 2
[decision.default]
smoothing_windows = 1
min_count = 1
"""
TRUTH = "start_ns\tend_ns\tlabel\n1000000000\t2000000000\t{label}\n"


def labelled(path: Path, tone_hz: float, label: str) -> None:
    write_night(path, tone_hz)
    path.with_name(f"{path.name}.labels.tsv").write_text(TRUTH.format(label=label))


class TfliteNetwork:
    """A Keras network as far as it is asked here: the logits of an int8 model as floats."""

    def __init__(self, loaded: LoadedBundle) -> None:
        self._engine = loaded.engine

    def __call__(self, inputs: npt.NDArray[np.float32], training: bool) -> npt.NDArray[np.float64]:
        assert not training
        out = self._engine.output
        return np.array([out.scale * (self._logits(one) - out.zero_point) for one in inputs])

    def _logits(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        self._engine.input_view()[...] = np.rint(features / FEATURE_SCALE).astype(np.int8)
        self._engine.invoke()
        return self._engine.logits().astype(np.int64)


def test_a_network_comes_to_what_a_replay_of_the_same_model_is_scored_with(
    tmp_path: Path, tiny_audio_model: bytes
) -> None:
    labelled(tmp_path / "nights" / "low.wav", 400, "low")
    labelled(tmp_path / "nights" / "wrong.wav", 3_050, "low")
    labelled(tmp_path / "nights" / "high.wav", 3_100, "high")
    write_night(tmp_path / "nights" / "unlabelled.wav")
    corpus = read_corpus(tmp_path / "nights")
    bundle = galago_edge.open_bundle(
        microphone_bundle(tmp_path / "b.galago", tiny_audio_model), unverified=True
    )

    def truth(path: Path, sha256: str, duration_ns: int | None) -> Any:
        return read_labels(path, sha256=sha256, duration_ns=duration_ns).truth

    replayed = run_of(replay_corpus(corpus, bundle, tmp_path / "results", ReplayPlan(jobs=1)), truth)
    expected = score(replayed, MatchingRule()).overall.total
    said: list[str] = []
    with contextlib.closing(load(bundle)) as loaded:
        decision = Decision(activation="softmax", temperature=bundle.manifest.decision.temperature)
        streams = ValidationStreams(
            corpus, bundle.spec, bundle.manifest.labels, decision, tmp_path, said.append
        )
        found = streams.judge(TfliteNetwork(loaded))
    assert 0 < expected.found.count < expected.found.of == 3 and expected.false_rate.count > 0
    assert found == StreamFigures(expected.found.share or 0.0, expected.false_rate.per_hour or 0.0)
    assert said == [
        "validation streams: 3 recordings, 0.00 h, 3 to be found; 1 left out, nobody has labelled them"
    ]

    cut = cut_recording(corpus.recordings[0], bundle.spec, bundle.manifest.labels, ScratchFile(tmp_path))
    mine, theirs = cut.replayed, next(one for one in replayed if one.recording == cut.replayed.recording)
    assert mine.scores is not None and theirs.scores is not None
    assert mine.scores.span.tolist() == theirs.scores.span.tolist()
    assert mine.scores.restart.tolist() == theirs.scores.restart.tolist()
    assert (mine.duration_ns, mine.receptive_ns, mine.gaps) == (
        theirs.duration_ns, theirs.receptive_ns, theirs.gaps,
    )  # fmt: skip


def epoch(number: int, recall: float | None, rate: float | None, loss: float = 0.4) -> Epoch:
    return Epoch(number, 0.5, 0.81, loss, 0.83, 0.75, 1e-3, 21.4, 8.0, 1.0, recall, rate)


def best(*epochs: Epoch) -> int:
    judging = EpochStreams(None, 1.0, 1)  # type: ignore[arg-type]  # which is asked for nothing
    return max(epochs, key=judging.goodness).epoch


def test_of_epochs_that_hold_the_limit_the_one_that_finds_most_is_the_best() -> None:
    assert best(epoch(1, 0.9, 1.1), epoch(2, 0.5, 1.0), epoch(3, 0.6, 0.5), epoch(4, None, None)) == 3
    assert best(epoch(1, 0.6, 1.0), epoch(2, 0.6, 0.5), epoch(3, 0.6, 0.5, loss=0.3)) == 3


def test_where_none_holds_it_the_one_with_the_fewest_false_alarms_is_and_that_is_said() -> None:
    assert best(epoch(1, 0.9, 4.0), epoch(2, 0.1, 2.0), epoch(3, 0.5, 3.0), epoch(4, None, None)) == 2
    judging = EpochStreams(None, 1.0, 1)  # type: ignore[arg-type]
    assert judging.verdict(epoch(2, 0.1, 2.0)).startswith("Warning: no epoch holds [validation]")
    assert judging.verdict(epoch(2, 0.1, 1.0)).startswith("epoch 2: 10.00 % found and 1 false alarms")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    for label, tone_hz in (("quiet", 0.0), ("low", 400.0)):
        (tmp_path / "clips" / label).mkdir(parents=True)
        for number in range(8):
            samples = night_samples(tone_hz + number)[16_000 - 100 * number : 32_000]
            (tmp_path / "clips" / label / f"{number}.wav").write_bytes(wav_bytes(samples, 16_000))
    labelled(tmp_path / "nights" / "low.wav", 400, "low")
    path = tmp_path / "c.toml"
    path.write_text(CONFIG.format(limit=1_000))
    return path


def test_a_training_keeps_the_epoch_that_the_recordings_choose(config: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    run: Run = train(config, tmp_path / "run", PlainProgress(lines.append))
    rows = [line.split(",") for line in (tmp_path / "run" / "metrics.csv").read_text().splitlines()]
    judged = [dict(zip(rows[0], row, strict=True))["stream_recall"] for row in rows[1:]]
    assert [bool(one) for one in judged] == [True, False, True]
    result = run.record.result
    assert result.best_epoch in (1, 3)
    assert result.stream_recall == pytest.approx(float(judged[result.best_epoch - 1]))
    assert run.record.streams is not None and run.record.streams.files == 1  # type: ignore[union-attr]
    assert any("found and" in line and line.startswith("epoch 1/3") for line in lines)
    assert any(line.startswith(("Warning: no epoch holds", f"epoch {result.best_epoch}: ")) for line in lines)


@pytest.mark.parametrize(
    ("prepare", "reason", "said"),
    [
        (
            lambda nights: (nights / "low.wav.labels.tsv").unlink(),
            "DATA_BAD",
            "none of 1 recording has labels",
        ),
        (
            lambda nights: (nights / "low.wav.labels.tsv").write_text(TRUTH.format(label="hihg")),
            "LABELS_MISMATCH",
            "'hihg'",
        ),
        (
            lambda nights: (nights / "low.wav.labels.tsv").write_text("start_ns\tend_ns\tlabel\n"),
            "DATA_BAD",
            "nothing is to be found",
        ),
        (
            lambda nights: (nights / "low.wav").write_bytes((nights / "low.wav").read_bytes()[:9_000]),
            "AUDIO_TRUNCATED",
            "cut off",
        ),
    ],
    ids=["no labels", "unknown label", "no events", "damaged"],
)
def test_recordings_that_cannot_judge_are_refused_before_anything_is_trained(
    config: Path, tmp_path: Path, prepare: Any, reason: str, said: str
) -> None:
    prepare(config.parent / "nights")
    read = read_config(config)
    with pytest.raises(InputError, match=said) as caught:
        ValidationStreams(
            read_corpus(config.parent / "nights"),
            read.preprocess,
            policy_labels("quiet", "low"),
            read.decision.decision(),
            tmp_path,
            lambda _: None,
        )
    assert caught.value.reason == Reason(reason)


def test_the_table_and_what_uses_it_go_together(config: Path) -> None:
    config.write_text(CONFIG.format(limit=1).replace('best_by = "streams"\n', ""))
    with pytest.raises(CallerError, match="go together"):
        read_config(config)
