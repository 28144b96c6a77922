"""How many events a network finds in validation recordings, and how many false alarms it gives."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_edge.contract.count_words import count_of
from galago_edge.contract.errors import InputError, Reason, disk_error
from galago_edge.contract.manifest import Decision, Label, Preprocess
from galago_edge.contract.modality import Modality
from galago_edge.decision import ONE
from galago_workstation.data.augmentation.scratch_file import ScratchFile
from galago_workstation.data.sample_reader import real_inputs
from galago_workstation.evaluation.recorded_windows import cut_recording
from galago_workstation.qa.corpus import Corpus
from galago_workstation.qa.corpus_rows import CorpusRecording
from galago_workstation.qa.judged_recording import deciding, judge
from galago_workstation.qa.label_score import ALL, LabelScore, label_score
from galago_workstation.qa.matching import MatchingRule
from galago_workstation.qa.redecision import redecide
from galago_workstation.qa.replayed import Replayed

_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """What a network came to on the validation recordings, all labels together."""

    recall: float
    """Share of what is there that an event was found for."""
    false_alarms_per_hour: float
    """False alarms and cross-triggers over the time that was watched."""


class ValidationStreams:
    """Labelled recordings, cut into windows once; the inputs lie on the disk.

    Events are decided from the scores of floats with the policies of the configuration, and judged as
    ``galago qa score`` judges them, by its usual matching rule. The activity gate is left out.

    Args:
        corpus: The recordings; those without labels are left out.
        spec: The preprocessing.
        labels: In output order, with their policies.
        decision: What becomes of logits.
        scratch: Folder whose disk takes the inputs.
        say: Is told what there is.

    Raises:
        InputError: DATA_BAD; nobody has labelled a recording, there is nothing to be found, nothing that may
            become an event, or no time to be judged. LABELS_MISMATCH; a truth has an unknown label.
        GalagoError: A recording cannot be read as a whole.
    """

    def __init__(
        self,
        corpus: Corpus,
        spec: Preprocess,
        labels: Sequence[Label],
        decision: Decision,
        scratch: Path | None,
        say: Callable[[str], None],
    ) -> None:
        self._labels = tuple(labels)
        self._decision = decision
        self._scratch = ScratchFile(scratch)
        labelled = labelled_recordings(corpus)
        if not deciding(self._labels):
            raise _bad(corpus, "every label is a background label, and no event can come of it")
        self._recordings = [cut_recording(one, spec, labels, self._scratch) for one in labelled]
        without = self._score([one.replayed for one in self._recordings])  # refuses what cannot be judged
        if not without.found.of:
            raise _bad(corpus, "nothing is to be found in them, so there is no recall")
        if not without.false_rate.hours:
            raise _bad(corpus, "no moment of them can be judged: they are too short for the policy")
        left_out = len(corpus.recordings) - len(labelled)
        rest = f"; {left_out} left out, nobody has labelled them" if left_out else ""
        say(
            f"validation streams: {count_of(len(labelled), 'recording')}, {without.false_rate.hours:.2f} h, "
            f"{without.found.of} to be found{rest}"
        )

    def judge(self, network: Any) -> StreamFigures:
        """Return what a Keras network comes to: float32 inputs as it was trained on, logits out."""
        replays = []
        for one in self._recordings:
            scores = one.replayed.scores
            assert scores is not None
            q16 = np.concatenate(
                [self._q16(network, inputs) for inputs in one.inputs(self._scratch, _AT_ONCE)]
            )
            replayed = dataclasses.replace(one.replayed, scores=dataclasses.replace(scores, q16=q16))
            replays.append(dataclasses.replace(replayed, events=redecide(replayed, self._labels)))
        score = self._score(replays)
        recall, rate = score.found.share, score.false_rate.per_hour
        assert recall is not None and rate is not None  # looked at before
        return StreamFigures(recall, rate)

    def _q16(self, network: Any, inputs: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        logits = np.asarray(network(real_inputs(inputs), training=False), np.float64)
        return float_scores(logits, self._decision)

    @staticmethod
    def _score(replays: Sequence[Replayed]) -> LabelScore:
        rule = MatchingRule()
        return label_score(ALL, [judge(replayed, rule) for replayed in replays])


def float_scores(logits: npt.NDArray[np.float64], decision: Decision) -> npt.NDArray[np.int32]:
    """Return the scores of ``(n, labels)`` logits of floats: 65536 is 1.0.

    >>> float_scores(np.array([[0.0, 0.0]]), Decision(activation="softmax", temperature=1.0)).tolist()
    [[32768, 32768]]
    """
    scaled = logits / decision.temperature
    if decision.activation == "sigmoid":
        shares = 1.0 / (1.0 + np.exp(-np.clip(scaled, -700.0, 700.0)))  # exp of more overflows
    else:
        powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
        shares = powers / powers.sum(axis=-1, keepdims=True)
    return np.rint(shares * ONE).astype(np.int32)


def labelled_recordings(corpus: Corpus) -> list[CorpusRecording]:
    """Return the recordings that somebody has labelled.

    Raises:
        InputError: DATA_BAD; there is none.
    """
    found = [one for one in corpus.recordings if one.labels is not None]
    if not found:
        raise _bad(corpus, f"none of {count_of(len(corpus.recordings), 'recording')} has labels")
    return found


def corpus_sha256(corpus: Corpus) -> str:
    """Return a hash over the labelled recordings and their labels.

    Raises:
        InputError: DATA_BAD; there is none.
        LinkError: Labels cannot be read.
    """
    digest = hashlib.sha256()
    for one in labelled_recordings(corpus):
        assert one.labels is not None
        digest.update(f"{one.name}\0{one.query}\0{one.sha256}\0".encode(errors="surrogateescape"))
        try:
            digest.update(hashlib.sha256(one.labels.read_bytes()).digest())
        except OSError as error:
            raise disk_error(error, f"read {one.labels}") from error
    return digest.hexdigest()


def modality_of(spec: Preprocess) -> Modality:
    """Return what recordings must be of."""
    from galago_edge.contract.manifest import AudioPreprocess

    return "microphone" if isinstance(spec, AudioPreprocess) else "camera"


def _bad(corpus: Corpus, text: str) -> InputError:
    return InputError(
        Reason.DATA_BAD,
        f"[validation] streams, {corpus.name}: {text}",
        hint="put a .labels.tsv beside recordings with events in them: docs/qa-labels.md",
    )
