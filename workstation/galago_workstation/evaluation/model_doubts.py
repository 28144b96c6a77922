"""What speaks against a model, in words, before anybody signs it.

A model that is no better than guessing, that never finds one of its labels, or whose policy could not even
fire for a perfect one converts, packs and installs like any other. Here that is found from the evaluation,
the run and its clips.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec
import numpy as np

from galago_edge.contract.errors import ModelError, Reason
from galago_edge.contract.manifest import AudioPreprocess, Label
from galago_edge.contract.streams import Span
from galago_edge.decision.activation import ONE
from galago_edge.decision.decider import Decider, Fired
from galago_workstation.data.sample_reader import AudioReader
from galago_workstation.evaluation.evaluation_record import Evaluation
from galago_workstation.qa.exact_intervals import share_interval
from galago_workstation.run_folder import Run

DoubtCode = Literal[
    "below_guessing",
    "one_answer",
    "label_not_found",
    "gate_accuracy",
    "gate_recall",
    "policy_cannot_fire",
    "few_test_samples",
    "few_validation_samples",
    "no_background",
]

REFUSING: frozenset[DoubtCode] = frozenset(
    (
        "below_guessing",
        "one_answer",
        "label_not_found",
        "gate_accuracy",
        "gate_recall",
        "policy_cannot_fire",
    )
)
"""With one of these no bundle is built, unless somebody says why it shall be."""

FEW_OF_A_LABEL = 5
"""Test samples: with fewer, one wrong answer is a fifth of the recall."""
FEW_FOR_A_CHOICE = 20
"""Validation samples that choose the epoch."""
ONE_ANSWER_SHARE = 0.95
"""Of all answers, where less than ``USUAL_SHARE`` of the samples are that label."""
USUAL_SHARE = 0.8
_MEASURED_CLIPS = 25
"""Of each label, by their hash."""


class ModelDoubt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that speaks against a model."""

    code: DoubtCode
    text: str

    @property
    def refuses(self) -> bool:
        """Whether no bundle is built without a reason."""
        return self.code in REFUSING


def doubts_of(run: Run, found: Evaluation) -> tuple[ModelDoubt, ...]:
    """Return all that speaks against the int8 model of a run, the worst first.

    Raises:
        InputError: A clip of the run is not what it was.
    """
    every = [
        *_answers(found),
        *_below_gates(run, found),
        *_policies(run),
        *_few_samples(run, found),
        *_background(run.label_specs()),
    ]
    return tuple(sorted(every, key=lambda doubt: not doubt.refuses))


def refuse_doubtful(run: Run, doubts: Sequence[ModelDoubt]) -> None:
    """Refuse a model that something grave speaks against.

    Raises:
        ModelError: MODEL_DOUBTFUL; the first of them, and how many more there are.
    """
    grave = [doubt for doubt in doubts if doubt.refuses]
    if grave:
        more = f" (and {len(grave) - 1} more)" if len(grave) > 1 else ""
        raise ModelError(
            Reason.MODEL_DOUBTFUL,
            f"{run.path}: {grave[0].text}{more}",
            hint=f"galago evaluate {run.path} shows all; "
            "improve the data or the policy, or say why it shall be built all the same: --allow REASON",
        )


def _answers(found: Evaluation) -> Iterator[ModelDoubt]:
    confusion = np.array(found.tflite_int8.confusion)
    truths, answers = confusion.sum(axis=1), confusion.sum(axis=0)
    total, accuracy = int(confusion.sum()), found.tflite_int8.accuracy
    largest = int(truths.argmax())
    guessing = max(truths[largest] / total, 1 / len(found.labels))
    if accuracy <= guessing:
        yield ModelDoubt(
            code="below_guessing",
            text=f"accuracy is {_percent(accuracy)}; always answering {found.labels[largest]!r} would have "
            f"{_percent(truths[largest] / total)}, guessing {_percent(1 / len(found.labels))}",
        )
    usual = int(answers.argmax())
    if answers[usual] >= ONE_ANSWER_SHARE * total and truths[usual] < USUAL_SHARE * total:
        yield ModelDoubt(
            code="one_answer",
            text=f"{answers[usual]} of {total} answers are {found.labels[usual]!r}, which "
            f"{truths[usual]} samples are",
        )
    for label, name in enumerate(found.labels):
        if truths[label] and not confusion[label, label]:
            yield ModelDoubt(code="label_not_found", text=f"{name!r} is never found: 0 of {truths[label]}")


def _below_gates(run: Run, found: Evaluation) -> Iterator[ModelDoubt]:
    gates, measured = run.config.gates, found.tflite_int8
    if measured.accuracy < gates.min_accuracy:
        yield ModelDoubt(
            code="gate_accuracy",
            text=f"accuracy is {_percent(measured.accuracy)}; [gates] min_accuracy is "
            f"{_percent(gates.min_accuracy)}",
        )
    for name, recall in measured.recall.items():
        least = gates.recall.get(name, gates.min_recall)
        if recall < least:
            yield ModelDoubt(
                code="gate_recall",
                text=f"recall of {name!r} is {_percent(recall)}, [gates] asks for {_percent(least)}",
            )


def _policies(run: Run) -> Iterator[ModelDoubt]:
    """Yield the labels whose clips are too short for their policy, though a model would know each window."""
    spec, reader = run.preprocess, run.reader
    if not isinstance(spec, AudioPreprocess) or not isinstance(reader, AudioReader):
        return  # how long a thing is before a camera no picture says
    rate = spec.sample_rate_hz
    for number, label in enumerate(run.label_specs()):
        if label.background:
            continue
        samples = sorted(
            (sample for sample in run.samples("train") if sample.label == number), key=lambda one: one.sha256
        )[:_MEASURED_CLIPS]
        lengths = [len(reader.clip(sample)) for sample in samples]
        silent = [length for length in lengths if not could_fire(label, length, spec)]
        if len(silent) * 2 > len(lengths):
            yield ModelDoubt(
                code="policy_cannot_fire",
                text=f"the policy of {label.name!r} cannot fire for clips as short as these, whatever the "
                f"model says: {len(silent)} of {len(lengths)}, median {np.median(lengths) / rate:.2f} s; "
                f"{_suggested(label, int(np.median(lengths)), spec)}",
            )


def could_fire(label: Label, length: int, spec: AudioPreprocess) -> bool:
    """Return whether a perfect model would make one sound an event.

    Perfect: the score is 1 for a window of which the sound fills half, or which holds half of the sound, and
    0 for all others.

    Args:
        label: With its policy.
        length: Of the sound, in samples.
        spec: Window and hop.
    """
    window, hop = spec.window_samples, spec.hop_frames * spec.frame_hop_samples
    decider = Decider([label])
    onset = label.policy.smoothing_windows * hop + window  # behind the warm-up
    for start in range(0, onset + length + window + hop, hop):
        overlap = min(start + window, onset + length) - max(start, onset)
        heard = 2 * overlap >= min(window, length)
        at = [round(place * 1e9 / spec.sample_rate_hz) for place in (start, start + window)]
        decided = decider.step(np.array([ONE if heard else 0]), Span(start, start + window, *at))
        if any(isinstance(one, Fired) for one in decided):
            return True
    return False


def _suggested(label: Label, length: int, spec: AudioPreprocess) -> str:
    """Return a policy under which it could, with as much smoothing as there is room for."""
    for smoothing in range(label.policy.smoothing_windows, 0, -1):
        for count in range(label.policy.min_count, 0, -1):
            policy = msgspec.structs.replace(label.policy, smoothing_windows=smoothing, min_count=count)
            if could_fire(msgspec.structs.replace(label, policy=policy), length, spec):
                return f"smoothing_windows = {smoothing} and min_count = {count} would do"
    return "the window is too long for them"


def _few_samples(run: Run, found: Evaluation) -> Iterator[ModelDoubt]:
    rows = zip(found.labels, found.tflite_int8.confusion, strict=True)
    few = [f"{name!r} {sum(row)}" for name, row in rows if sum(row) < FEW_OF_A_LABEL]
    if few:
        right = round(found.tflite_int8.accuracy * found.test_samples)
        low, high = share_interval(right, found.test_samples)
        yield ModelDoubt(
            code="few_test_samples",
            text=f"fewer than {FEW_OF_A_LABEL} test samples: {', '.join(few)}; accuracy over all "
            f"{found.test_samples} lies between {_percent(low)} and {_percent(high)}",
        )
    count = len(run.samples("validation"))
    seldom = Counter(sample.label for sample in run.samples("validation"))
    if count < FEW_FOR_A_CHOICE:
        yield ModelDoubt(
            code="few_validation_samples",
            text=f"only {count} validation samples chose the epoch, of one label "
            f"{min(seldom.values(), default=0)}",
        )


def _background(labels: Sequence[Label]) -> Iterator[ModelDoubt]:
    if not any(label.background for label in labels):
        yield ModelDoubt(
            code="no_background",
            text="no label is background: on a stream the model must call everything one of "
            f"{', '.join(label.name for label in labels[:5])}{' ...' * (len(labels) > 5)}; add a folder of "
            "what is usually seen or heard there, and name it in [data] background",
        )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
