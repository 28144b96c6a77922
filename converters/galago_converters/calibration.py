"""The samples that fix the quantization ranges: chosen by rule, recorded by hash, proven fit for it.

Wrong calibration data is the commonest cause of bad int8 models: test data, one class only, the same
picture again and again. None of these leaves a trace in the model, so the choice itself is checked.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, TypeVar

import msgspec
import numpy as np

from galago_converters.inputs import Codes, InputSpec
from galago_edge.contract.errors import ModelError, Reason
from galago_edge.contract.manifest import Natural, Positive, Sha256


class LabelledSample(Protocol):
    """What this module needs to know of a sample."""

    @property
    def id(self) -> str:
        """Where it is."""

    @property
    def sha256(self) -> str:
        """Hash of its content."""

    @property
    def label(self) -> int:
        """Position in the labels."""


SampleT = TypeVar("SampleT", bound=LabelledSample)


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every object in ``calibration.json``."""


class CalibrationSample(_Part, frozen=True, kw_only=True):
    """One sample, in the order in which the converter saw them."""

    id: str
    sha256: Sha256
    label: str


class HeldOutPart(_Part, frozen=True, kw_only=True):
    """A part that shares no content with the calibration samples."""

    part: str
    samples: Natural
    sha256: Sha256
    """Over the contents of the part's samples, order aside."""


class CalibrationRecord(_Part, frozen=True, kw_only=True):
    """``calibration.json``."""

    schema: Literal["galago.calibration/1"] = "galago.calibration/1"
    seed: int
    requested: Positive
    """More than there are samples when the training part was used up."""
    per_label: dict[str, Positive]
    preprocess_sha256: Sha256
    tensor_sha256: Sha256
    """Of the preprocessed input tensors one after the other, the injected extremes included."""
    disjoint_from: tuple[HeldOutPart, ...]
    samples: tuple[CalibrationSample, ...]


def choose(train: Sequence[SampleT], *, count: int, seed: int) -> list[SampleT]:
    """Choose up to ``count`` samples, the same number of each label as long as a label has any left.

    The order is that of ``sha256(seed, content)``: it looks random, and depends neither on the order of
    ``train`` nor on any random generator's implementation. Equal contents are used once.
    """
    rank = {s.sha256: hashlib.sha256(f"{seed}:{s.sha256}".encode()).hexdigest() for s in train}
    by_label: dict[int, dict[str, SampleT]] = {}
    for sample in sorted(train, key=lambda s: (rank[s.sha256], s.id)):
        by_label.setdefault(sample.label, {}).setdefault(sample.sha256, sample)
    queues = [list(by_label[label].values()) for label in sorted(by_label)]
    longest = max(map(len, queues), default=0)
    dealt = [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)]
    # order matters to calibrators that average: no rhythm of classes
    return sorted(dealt[:count], key=lambda s: (rank[s.sha256], s.id))


def representative(inputs: Codes, spec: InputSpec) -> Codes:
    """Return the calibration inputs with one more at the end that holds the smallest and largest code.

    The converter derives the input scale from the range it saw; with both extremes in it, the scale is
    ``spec.scale`` for every model. The extra sample is the first one with two values changed: a whole
    tensor of extremes would also stretch the ranges of every layer behind the input.

    Args:
        inputs: Preprocessed samples ``(n, *spec.shape)`` of ``spec.dtype``, n >= 1.
        spec: The input tensor.

    Raises:
        ModelError: CALIBRATION_BAD; shape or dtype is not what the device feeds.
    """
    if inputs.shape[1:] != spec.shape or inputs.dtype != spec.numpy_dtype or not len(inputs):
        raise _bad(
            f"calibration inputs are {inputs.dtype} {inputs.shape}, expected {spec.dtype} (n, {spec.shape})",
            "preprocess them with galago_edge.preprocess, as the device does",
        )
    extreme = inputs[:1].copy()
    extreme.reshape(-1)[[0, -1]] = spec.code_range
    return np.concatenate([inputs, extreme])


def record(
    samples: Sequence[LabelledSample],
    inputs: Codes,
    *,
    labels: Sequence[str],
    seed: int,
    requested: int,
    preprocess_sha256: str,
    held_out: Mapping[str, Sequence[LabelledSample]],
) -> CalibrationRecord:
    """Prove that the samples may calibrate this model, and describe them.

    Args:
        samples: What was chosen, in the order in which the converter sees them.
        inputs: What :func:`representative` made of them.
        labels: The model's labels, in output order.
        seed: Seed of the choice.
        requested: How many were asked for.
        preprocess_sha256: Fingerprint of the preprocessing that made ``inputs``.
        held_out: Part name to its samples, for validation and test.

    Raises:
        ModelError: CALIBRATION_BAD; a label has no sample, contents repeat, or one is held out.
    """
    counts = Counter(sample.label for sample in samples)
    if missing := [name for index, name in enumerate(labels) if not counts[index]]:
        raise _bad(
            f"calibration has no sample of {', '.join(missing[:5])}: {len(samples)} samples of"
            f" {len(counts)} labels, expected every one of {len(labels)}",
            f"set convert.calibration_samples to at least {len(labels)}",
        )
    repeated = Counter(sample.sha256 for sample in samples)
    if len(repeated) < len(samples):
        raise _bad(
            f"calibration repeats itself: {len(samples)} samples, {len(repeated)} different contents",
            "give every sample once",
        )
    for part, others in held_out.items():
        _prove_disjoint(samples, part, others)
    if len(inputs) != len(samples) + 1:
        raise _bad(
            f"{len(inputs)} calibration tensors for {len(samples)} samples", "use representative() once"
        )
    return CalibrationRecord(
        seed=seed,
        requested=requested,
        per_label={name: counts[index] for index, name in enumerate(labels)},
        preprocess_sha256=preprocess_sha256,
        tensor_sha256=hashlib.sha256(np.ascontiguousarray(inputs).tobytes()).hexdigest(),
        disjoint_from=tuple(
            HeldOutPart(part=part, samples=len(others), sha256=_contents_sha256(others))
            for part, others in held_out.items()
        ),
        samples=tuple(CalibrationSample(id=s.id, sha256=s.sha256, label=labels[s.label]) for s in samples),
    )


def _prove_disjoint(samples: Sequence[LabelledSample], part: str, others: Sequence[LabelledSample]) -> None:
    known = {other.sha256: other for other in others}
    if shared := [sample for sample in samples if sample.sha256 in known]:
        first = shared[0]
        raise _bad(
            f"calibration uses {len(shared)} samples of the {part} part, such as {first.id}"
            f" (there {known[first.sha256].id})",
            "calibrate on training data only, or the held-out figures mean nothing",
        )


def _contents_sha256(samples: Sequence[LabelledSample]) -> str:
    digest = hashlib.sha256()
    for sha256 in sorted(sample.sha256 for sample in samples):
        digest.update(bytes.fromhex(sha256))
    return digest.hexdigest()


def _bad(message: str, hint: str) -> ModelError:
    return ModelError(Reason.CALIBRATION_BAD, message, hint=hint)
