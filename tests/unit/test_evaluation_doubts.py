"""What speaks against a model is found and said before anybody signs it."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from galago_edge.contract.errors import ModelError, Reason
from galago_edge.contract.manifest import AudioPreprocess, ImagePreprocess, Label, LabelPolicy
from galago_workstation.data.sample_reader import AudioReader
from galago_workstation.evaluation.evaluation_record import Evaluation, Variant
from galago_workstation.evaluation.model_doubts import could_fire, doubts_of, refuse_doubtful
from galago_workstation.training_config import ModelGates

SPEC = AudioPreprocess(mel_bands=40)
RATE = SPEC.sample_rate_hz
POLICY = LabelPolicy(on=0.7, off=0.5, smoothing_windows=3, min_count=2, refractory_ms=1000)


def evaluated(*confusion: tuple[int, ...], names: str = "ab") -> Evaluation:
    counts = np.array(confusion)
    totals = counts.sum(axis=1)
    variant = Variant(
        accuracy=float(np.trace(counts) / counts.sum()),
        recall={name: counts[i, i] / totals[i] for i, name in enumerate(names) if totals[i]},
        flips=0,
        bytes=1,
        p50_us=1,
        p99_us=1,
        confusion=confusion,
    )
    sha = "0" * 64
    return Evaluation(
        labels=tuple(names),
        test_samples=int(counts.sum()),
        keras=variant,
        tflite_float=variant,
        tflite_int8=variant,
        model_sha256=sha,
        int8_sha256=sha,
        train_sha256=sha,
        calibration_sha256=sha,
        test_sha256=sha,
        rss_peak_bytes=1,
        cpu="cpu",
        runtime="runtime",
    )


@dataclass
class FakeRun:
    """What the doubts look at of a run of pictures with 100 validation samples and a background label."""

    path: str = "runs/x"
    gates: ModelGates = field(default_factory=ModelGates)
    background: bool = True
    validation: int = 100
    preprocess: Any = field(default_factory=lambda: ImagePreprocess(width=32, height=32))
    reader: Any = None
    clips: tuple[int, ...] = ()
    policy: LabelPolicy = POLICY

    @property
    def config(self) -> Any:
        return SimpleNamespace(gates=self.gates)

    def label_specs(self) -> tuple[Label, ...]:
        return (
            Label(name="a", policy=self.policy),
            Label(name="b", background=self.background, policy=self.policy),
        )

    def samples(self, part: str) -> list[Any]:
        if part == "validation":
            return [SimpleNamespace(label=number % 2, sha256="") for number in range(self.validation)]
        return [SimpleNamespace(label=0, sha256=str(n), length=n) for n in self.clips]


def codes(found: Evaluation, run: FakeRun | None = None) -> list[str]:
    return [doubt.code for doubt in doubts_of(cast(Any, run or FakeRun()), found)]


def test_a_model_that_is_right_has_no_doubts() -> None:
    assert codes(evaluated((45, 5), (3, 47))) == []


@pytest.mark.parametrize(
    ("confusion", "expected"),
    [
        (((50, 50), (50, 50)), ["below_guessing"]),
        (((80, 10), (10, 0)), ["below_guessing", "label_not_found"]),
        (((2, 88), (0, 10)), ["below_guessing", "one_answer"]),
        (((0, 10), (0, 90)), ["below_guessing", "label_not_found"]),
        (((90, 0), (6, 4)), []),  # nearly all samples are a
    ],
)
def test_a_useless_model_is_told_from_a_usual_one(confusion: Any, expected: list[str]) -> None:
    assert codes(evaluated(*confusion)) == expected


def test_guessing_among_three_is_a_third() -> None:
    found = evaluated((4, 6, 0), (6, 4, 0), (4, 4, 2), names="abc")
    run = FakeRun()
    doubt = doubts_of(cast(Any, run), found)[0]

    assert doubt.code == "below_guessing"
    assert doubt.text == "accuracy is 33.3 %; always answering 'a' would have 33.3 %, guessing 33.3 %"


def test_gates_are_for_the_whole_and_for_labels() -> None:
    found = evaluated((45, 5), (10, 40))
    gates = ModelGates(min_accuracy=0.86, min_recall=0.8, recall={"a": 0.91})

    assert codes(found, FakeRun(gates=gates)) == ["gate_accuracy", "gate_recall"]
    assert codes(found, FakeRun(gates=ModelGates(min_accuracy=0.85, min_recall=0.8))) == []


def test_few_samples_and_no_background_are_notes() -> None:
    run = FakeRun(background=False, validation=7)
    doubts = doubts_of(cast(Any, run), evaluated((4, 0), (0, 40)))

    assert [doubt.code for doubt in doubts] == ["few_test_samples", "few_validation_samples", "no_background"]
    assert not any(doubt.refuses for doubt in doubts)
    assert "'a' 4; accuracy over all 44 lies between 92.0 % and 100.0 %" in doubts[0].text
    refuse_doubtful(cast(Any, run), doubts)


def test_a_grave_doubt_refuses_with_the_first_and_the_number_of_others() -> None:
    run = FakeRun()
    doubts = doubts_of(cast(Any, run), evaluated((0, 10), (0, 90)))

    with pytest.raises(ModelError, match=r"always answering.*\(and 1 more\)") as caught:
        refuse_doubtful(cast(Any, run), doubts)

    assert caught.value.reason == Reason.MODEL_DOUBTFUL
    assert "--allow" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("seconds", "smoothing", "count", "fires"),
    [
        # windows of 0.995 s, every 0.25 s: four of them hold half of 0.3 s, and 3 s fill half of twelve
        (0.3, 1, 1, True),
        (0.3, 1, 4, True),
        (0.3, 1, 5, False),
        (0.3, 5, 3, True),  # 4/5 twice, then 3/5, which is above off
        (0.3, 5, 4, False),
        (0.3, 6, 1, False),  # 4/6 is below 0.7
        (3.0, 12, 5, True),
        (3.0, 20, 1, False),
    ],
)
def test_whether_a_perfect_model_could_fire(seconds: float, smoothing: int, count: int, fires: bool) -> None:
    policy = LabelPolicy(on=0.7, off=0.5, smoothing_windows=smoothing, min_count=count, refractory_ms=0)

    assert could_fire(Label(name="a", policy=policy), round(seconds * RATE), SPEC) is fires


class Clips(AudioReader):
    """Silence, as long as the sample says."""

    def __init__(self) -> None:
        """Need no files."""

    def clip(self, sample: Any) -> Any:
        return np.zeros(sample.length, np.int16)


def test_a_policy_that_short_clips_cannot_fill_is_said_with_one_that_they_can() -> None:
    policy = LabelPolicy(on=0.7, off=0.5, smoothing_windows=8, min_count=2, refractory_ms=0)
    short = tuple(round(0.3 * RATE) + n for n in range(5))
    run = FakeRun(preprocess=SPEC, reader=Clips(), clips=(*short, 5 * RATE), policy=policy)

    (doubt,) = doubts_of(cast(Any, run), evaluated((45, 5), (3, 47)))

    assert doubt.code == "policy_cannot_fire"
    assert doubt.refuses
    assert "5 of 6, median 0.30 s" in doubt.text
    assert "smoothing_windows = " in doubt.text
    run.policy = POLICY
    assert codes(evaluated((45, 5), (3, 47)), run) == []  # three windows are fine
