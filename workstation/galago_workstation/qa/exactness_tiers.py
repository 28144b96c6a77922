"""How exactly a replay must repeat a golden one: a tier, chosen from the two environments.

The tier follows from what lies outside Galago: processor, threads, runtime, decoders. Galago's own version
and code are what a golden tests, and lower no tier; Python computes nothing of an answer.

What a tier allows was measured with the demo's two int8 models (sound and pictures), on x86-64 with
ai-edge-litert 2.3.0:

* XNNPACK against the built-in and the reference kernels, on equal inputs, in the demo's two recordings:
  outputs apart by 4 steps at most, 0.1 % of them by more than 2; in 1,500 samples of each: by 3, and 0.05 %.
* XNNPACK on those samples with every element of the input moved by -1, 0 or 1: by 7 steps at most.

A wrong model is off by tens of steps.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from galago_edge.contract.manifest import Manifest
from galago_edge.decision import ONE
from galago_workstation.qa.replay_environment import ReplayEnvironment

T1_STEPS = 6
"""At T1 no int8 output may be further from the golden one, in quantization steps."""
T1_FEW_STEPS = 2
T1_BEYOND = 0.005
"""At T1 at most this share of all outputs, or one, may be more than ``T1_FEW_STEPS`` apart."""
T2_STEPS = 10
"""At T2 an event whose score is closer to a threshold than so many steps of the output is fragile."""


class Tier(enum.StrEnum):
    """From exact to incomparable."""

    T0 = "T0"
    """The same environment: every stage equal to the byte."""
    T1 = "T1"
    """Another processor or runtime: inputs of the model equal, its outputs within a few steps."""
    T2 = "T2"
    """Other decoders: the same events, at most one hop apart."""
    T3 = "T3"
    """Another bundle: only statistics compare."""


@dataclass(frozen=True, slots=True)
class TierChoice:
    """A tier, and why it is that one."""

    tier: Tier
    reasons: tuple[str, ...] = ()
    """What is different and lowers it, in words; empty for T0."""
    notes: tuple[str, ...] = ()
    """What is different and lowers nothing."""
    asked: bool = False
    """Somebody asked for another tier than follows from the environments."""


def choose_tier(golden: ReplayEnvironment, here: ReplayEnvironment, *, same_bundle: bool) -> TierChoice:
    """Return the tier at which a replay ``here`` is compared with a golden one."""
    decoders = _changed(golden.computing.decoders, here.computing.decoders)
    machine = [
        *_changed({"runtime": golden.computing.runtime}, {"runtime": here.computing.runtime}),
        *_changed(_machine(golden), _machine(here)),
    ]
    notes = _changed(_own(golden), _own(here))
    if not same_bundle:
        return TierChoice(Tier.T3, ("another bundle", *decoders, *machine), tuple(notes))
    tier = Tier.T2 if decoders else Tier.T1 if machine else Tier.T0
    return TierChoice(tier, (*decoders, *machine), tuple(notes))


def _machine(environment: ReplayEnvironment) -> dict[str, str]:
    return {
        "arch": environment.arch,
        "processor": environment.cpu,
        "features": " ".join(environment.cpu_features),
        "threads": str(environment.threads),
        "numpy": environment.packages.get("numpy", "none"),
    }


def _own(environment: ReplayEnvironment) -> dict[str, str]:
    own = environment.computing
    return {
        "galago-edge": own.galago_edge,
        "its code": own.code[:12],
        "galago": environment.packages.get("galago", "none"),
        "Python": environment.python,
    }


def _changed(golden: dict[str, str], here: dict[str, str]) -> list[str]:
    return [
        f"{name}: {golden.get(name, 'none')} -> {here.get(name, 'none')}"
        for name in sorted({*golden, *here})
        if golden.get(name) != here.get(name)
    ]


@dataclass(frozen=True, slots=True)
class OutputSteps:
    """What quantization steps of a model's int8 output can do to its scores."""

    step: float
    """What one step adds to a logit, after the temperature."""
    sides: int
    """2 where the others' logits may move the other way (softmax), 1 where they do not count (sigmoid)."""

    @classmethod
    def of(cls, manifest: Manifest) -> OutputSteps:
        """Return those of a bundle."""
        decision = manifest.decision
        step = manifest.model[0].output.scale / decision.temperature
        return cls(step, 2 if decision.activation == "softmax" else 1)

    def bounds(
        self, q16: npt.NDArray[np.int32], steps: int
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Return between which Q16 scores each lies, if no output is off by more than ``steps``.

        A step multiplies the odds ``p / (1 - p)`` of a score by ``exp(step)`` for each side. The half step by
        which a Q16 score may be rounded is counted in. Shapes as given.

        >>> low, high = OutputSteps(0.125, 2).bounds(np.array([0, 32768, 65536], np.int32), 4)
        >>> low.tolist(), high.tolist()
        ([0, 17624, 65534], [2, 47912, 65536])
        """
        factor = math.exp(self.sides * self.step * steps)
        low = (q16 - 0.5).clip(0, ONE)
        high = (q16 + 0.5).clip(0, ONE)
        lowest = ONE * low / (low + factor * (ONE - low))
        highest = ONE * factor * high / (factor * high + (ONE - high))
        return np.floor(lowest).astype(np.int32), np.ceil(highest).astype(np.int32)
