"""Deciding a stored replay again: the device's own events, and honesty about what a gate has hidden."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galago_edge.contract.errors import GalagoError
from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.contract.records import EventRecord, StateRecord
from galago_edge.contract.streams import Span
from galago_edge.decision import ONE, Decider, Fired
from galago_workstation.qa.redecision import gate_doubt, redecide
from galago_workstation.qa.replayed import Replayed, WindowScores

MS = 1_000_000
HOP = 100 * MS


def stream_of(
    labels: Sequence[Label], scores: np.ndarray, restart: np.ndarray, sensor: np.ndarray | None = None
) -> Replayed:
    """Decide as a device does, its gate included, and store what it would."""
    decider = Decider(labels)
    kept, skipped, events = np.zeros_like(scores), np.zeros(len(scores), np.bool_), []
    spans = np.array([[10 * w, 10 * w + 20, w * HOP, (w + 2) * HOP] for w in range(len(scores))], np.int64)
    for window, row in enumerate(scores):
        if restart[window] and window:
            decider.reset()
        is_open = sensor is None or bool(sensor[window]) or decider.active
        skipped[window] = not is_open
        kept[window] = row if is_open else 0
        for found in decider.step(kept[window].astype(np.int64), Span(*spans[window].tolist())):
            if isinstance(found, Fired):
                span = found.span
                events.append(
                    EventRecord(
                        stream="hall", seq=len(events), label=found.label, score=round(found.score, 6),
                        start_index=span.start_index, end_index=span.end_index, start_ns=span.start_ns,
                        end_ns=span.end_ns, bundle="b" * 64, backend="xnn",
                    )
                )  # fmt: skip
    detail = {"backend": "xnn"} | ({} if sensor is None else {"gate": "level"})
    started = StateRecord(stream="hall", subject="stream", state="started", index=0, ns=0, detail=detail)
    first = restart.copy()
    first[:1] = True
    stored = WindowScores(span=spans.reshape(-1, 4), q16=kept, skipped=skipped, restart=first)
    return Replayed(
        recording="night.wav", sha256="a" * 64, bundle="b" * 64, labels=tuple(labels), receptive_ns=2 * HOP,
        duration_ns=len(scores) * HOP, events=tuple(events), gaps=(), states=(started,), scores=stored,
    )  # fmt: skip


@st.composite
def policies(draw: st.DrawFn) -> LabelPolicy:
    on = draw(st.sampled_from([0.2, 0.4, 0.5, 0.6, 0.8, 1.0]))
    return LabelPolicy(
        on=on,
        off=on * draw(st.sampled_from([0.5, 1.0])),
        smoothing_windows=draw(st.integers(1, 4)),
        min_count=draw(st.integers(1, 3)),
        refractory_ms=draw(st.sampled_from([0, 100, 450, 2_000])),
    )


@st.composite
def labels_(draw: st.DrawFn, count: int = 3) -> list[Label]:
    return [Label(name=f"l{k}", background=k == 0, policy=draw(policies())) for k in range(count)]


@st.composite
def inputs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = draw(st.integers(0, 50))
    levels = st.sampled_from([0, 6_000, 20_000, 32_768, 45_000, 60_000, ONE])
    rows = draw(st.lists(st.lists(levels, min_size=3, max_size=3), min_size=count, max_size=count))
    flags = st.lists(st.integers(0, 9), min_size=count, max_size=count)
    restart, sensor = np.array(draw(flags)) == 0, np.array(draw(flags)) < 4
    return np.array(rows, np.int32).reshape(count, 3), restart, sensor


@settings(max_examples=200, deadline=None)
@given(given_=inputs(), before=labels_(), after=labels_())
def test_events_by_other_policies_are_those_that_the_device_would_have_written(
    given_: tuple[np.ndarray, np.ndarray, np.ndarray], before: list[Label], after: list[Label]
) -> None:
    scores, restart, _ = given_
    replayed = stream_of(before, scores, restart)
    assert redecide(replayed, before) == replayed.events
    assert redecide(replayed, after) == stream_of(after, scores, restart).events
    assert gate_doubt(replayed, after).doubtful == 0


@settings(max_examples=300, deadline=None)
@given(given_=inputs(), before=labels_(), after=labels_())
def test_with_a_gate_events_are_right_wherever_nothing_is_in_doubt(
    given_: tuple[np.ndarray, np.ndarray, np.ndarray], before: list[Label], after: list[Label]
) -> None:
    replayed = stream_of(before, *given_)
    assert redecide(replayed, before) == replayed.events
    assert gate_doubt(replayed, before).doubtful == 0
    doubt = gate_doubt(replayed, after)
    if doubt.doubtful == 0:
        assert redecide(replayed, after) == stream_of(after, *given_).events
        assert (doubt.places, doubt.events) == (0, 0)
    else:
        assert doubt.gated and 1 <= doubt.places <= doubt.doubtful <= doubt.windows


def test_windows_that_another_policy_would_have_had_run_are_counted() -> None:
    """By hand: loud at 0 and 1, a score of 0.5, and a label that only the new policy turns on.

    It is on at 1 and, because smoothing over two still gives 0.25, at the silent 2: 2 and 3 would have run.
    """
    plain = LabelPolicy(on=0.9, off=0.9, smoothing_windows=2, min_count=1, refractory_ms=0)
    strict = [Label(name="bg", background=True), Label(name="dog", policy=plain)]
    lax = [strict[0], Label(name="dog", policy=msgspec.structs.replace(plain, on=0.25, off=0.25))]
    scores = np.array([[0, ONE // 2]] * 6, np.int32)
    sensor = np.array([True, True, False, False, False, False])
    replayed = stream_of(strict, scores, np.zeros(6, np.bool_), sensor)
    assert replayed.scores is not None and replayed.scores.skipped.tolist() == [False] * 2 + [True] * 4
    doubt = gate_doubt(replayed, lax)
    assert (doubt.skipped_now_run, doubt.run_now_skipped, doubt.places, doubt.events) == (2, 0, 1, 1)
    back = gate_doubt(stream_of(lax, scores, np.zeros(6, np.bool_), sensor), strict)
    assert (back.skipped_now_run, back.run_now_skipped, back.events) == (0, 4, 0)


def test_labels_of_another_bundle_and_a_replay_without_scores_are_refused_in_one_line() -> None:
    labels = [Label(name="bg", background=True), Label(name="dog")]
    replayed = stream_of(labels, np.zeros((4, 2), np.int32), np.zeros(4, np.bool_))
    with pytest.raises(GalagoError, match="policies are for cat") as caught:
        redecide(replayed, [Label(name="cat")])
    assert caught.value.reason == "LABELS_MISMATCH"
    bare = Replayed(
        recording="night.wav", sha256="a" * 64, bundle="b" * 64, labels=tuple(labels), receptive_ns=1,
        duration_ns=1, events=(), gaps=(), states=(),
    )  # fmt: skip
    with pytest.raises(GalagoError, match="the stored replay has no scores"):
        redecide(bare, labels)
