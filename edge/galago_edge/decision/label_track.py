"""One label's windows of a whole stream, decided at once, under as many policies as are asked for.

:class:`~galago_edge.decision.decider.Decider` decides window by window as they come, all labels together;
this decides all windows of one label together, and gives the same events. What makes it fast:

* Sums of ``n`` scores are differences of one running sum of integers, which is exact.
* ``off`` is at most ``on``, so a label that turned on stays on to the end of the run of windows whose sum
  reaches ``off``: every on-period is such a run from the first window that reaches ``on``.
* An on-period whose count is complete when the refractory time of whatever came before must have passed
  fires there. Only what follows closer is gone through one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from galago_edge.contract.manifest import LabelPolicy
from galago_edge.decision.activation import to_q16

Integers = npt.NDArray[np.int64]
NOT_FIRED = -1
"""In the place of the window at which an on-period fired."""

_NS_PER_MS = 1_000_000
_APART_NS = 2 * 86_400_000 * _NS_PER_MS
"""Put between streams that are joined: twice the longest refractory time, so that none reaches over."""
_FEW = 16  # chains; fewer are gone through one by one
_THIN = 4  # windows that no threshold reaches are left out when so many times fewer remain


@dataclass(frozen=True, slots=True)
class OnPeriods:
    """When one label was on under one policy: windows by number, in order; shapes ``(periods,)``."""

    start: Integers
    """Window at which it turned on."""
    stop: Integers
    """Window before which it ended: it was below ``off`` there, or the stream had a gap or ended."""
    fired: Integers
    """Window at which it became an event, or ``NOT_FIRED``."""

    def events(self) -> Integers:
        """Return the windows at which there was an event, ascending."""
        return self.fired[self.fired >= 0]


class LabelTrack:
    """The scores of one label over one stream, or over many streams one behind the other."""

    def __init__(
        self, q16: npt.NDArray[np.integer], end_ns: Integers, restart: npt.NDArray[np.bool_]
    ) -> None:
        """Take the windows in order; the arrays are kept and must not change.

        Args:
            q16: Shape ``(n,)``: scores before smoothing, 65536 is 1.0; 0 where a gate was closed.
            end_ns: Shape ``(n,)``: stream time of each window's end; never goes back.
            restart: Shape ``(n,)``: a gap lies before this window. The first one counts as such anyway.

        Raises:
            ValueError: The shapes differ.
        """
        if not q16.shape == end_ns.shape == restart.shape or q16.ndim != 1:
            raise ValueError(f"shapes differ: {q16.shape}, {end_ns.shape}, {restart.shape}")
        self.q16 = q16
        self.end_ns = end_ns
        first = restart.copy()
        first[:1] = True
        self.begins: Integers = np.flatnonzero(first)
        """Windows with which smoothing begins anew, ascending; shape ``(stretches,)``."""
        self._total: Integers | None = None

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.q16)

    @classmethod
    def joined(cls, tracks: Sequence[LabelTrack]) -> tuple[LabelTrack, Integers]:
        """Return many streams as one, and the first window of each, shape ``(tracks + 1,)``.

        No smoothing and no refractory time reaches from one to the next. Times are moved, so they are not
        those of the streams any more.
        """
        firsts = np.cumsum([0, *map(len, tracks)], dtype=np.int64)
        restart = np.zeros(int(firsts[-1]), np.bool_)
        ends, offset = [], 0
        for first, track in zip(firsts.tolist(), tracks, strict=False):
            restart[track.begins + first] = True
            if len(track):
                ends.append(track.end_ns - track.end_ns[0] + offset)
                offset = int(ends[-1][-1]) + _APART_NS
        q16 = np.concatenate([track.q16 for track in tracks]) if tracks else np.zeros(0, np.int32)
        end_ns = np.concatenate(ends) if ends else np.zeros(0, np.int64)
        return cls(q16, end_ns, restart), firsts

    def stretch_begin(self) -> Integers:
        """Return for every window the first one since the start or the last gap; shape ``(n,)``."""
        return np.repeat(self.begins, np.diff(np.append(self.begins, len(self))))

    def sums(self, length: int) -> npt.NDArray[np.int32]:
        """Return the sum of the last ``length`` scores at every window, shape ``(n,)``; -1 in warm-up."""
        if self._total is None:
            self._total = np.concatenate(([0], np.cumsum(self.q16, dtype=np.int64)))
        count, total = len(self), self._total
        sums = np.full(count, -1, np.int32)  # 1,000 scores of 65536 fit
        if count >= length:
            sums[length - 1 :] = total[length:] - total[: count + 1 - length]
        if length > 1:
            stops = np.append(self.begins, count)[1:]
            for begin, stop in zip(self.begins.tolist(), stops.tolist(), strict=True):
                sums[begin : min(begin + length - 1, stop)] = -1
        return sums

    def on_periods(self, policy: LabelPolicy) -> OnPeriods:
        """Return when the label is on, and fires, under a policy whose ``off`` is at most its ``on``."""
        return next(self.under([policy]))

    def under(self, policies: Iterable[LabelPolicy]) -> Iterator[OnPeriods]:
        """Yield the on-periods under each policy in turn; the next policy is asked for only then.

        Fastest when policies of one smoothing stand together, by rising ``off``, then ``on``: what no
        later threshold can reach is then left out, and each run is sought once.
        """
        reach: _Reach | None = None
        for policy in policies:
            length = policy.smoothing_windows
            low = to_q16(policy.off) * length
            if reach is None or reach.length != length or low < reach.floor:
                reach = _Reach(length, self.sums(length), self.begins)
            reach = reach.thinned(low)
            starts, stops = reach.periods(low, to_q16(policy.on) * length)
            yield OnPeriods(starts, stops, self._fired(starts, stops, policy))

    def _fired(self, starts: Integers, stops: Integers, policy: LabelPolicy) -> Integers:
        """Return the window at which each on-period fires, or ``NOT_FIRED``."""
        ready = starts + (policy.min_count - 1)
        fired = np.where(ready < stops, ready, NOT_FIRED)
        counted = np.flatnonzero(ready < stops)
        refractory_ns = policy.refractory_ms * _NS_PER_MS
        if not refractory_ns or len(counted) < 2:
            return fired
        ready_ns, last_ns = self.end_ns[ready[counted]], self.end_ns[stops[counted] - 1]
        # whatever came before fired in its own last window at the latest
        free = np.concatenate(([True], ready_ns[1:] - last_ns[:-1] >= refractory_ns))
        bound = np.flatnonzero(~free)
        if not len(bound):
            return fired
        heads = bound[np.concatenate(([True], np.diff(bound) > 1))] - 1
        after = np.append(np.flatnonzero(free), len(counted))
        stops_at = after[np.searchsorted(after, heads, "right")]
        chains = _Chains(counted, ready_ns, last_ns, refractory_ns, self.end_ns)
        chains.fire(heads, stops_at, fired)
        return fired


class _Chains:
    """On-periods that follow each other so closely that the refractory time may hold the next one up."""

    def __init__(
        self, period: Integers, ready_ns: Integers, last_ns: Integers, refractory_ns: int, end_ns: Integers
    ) -> None:
        """Take number, moment of the complete count, and end, of every on-period that can fire at all."""
        self._period, self._ready_ns, self._last_ns = period, ready_ns, last_ns
        self._refractory_ns = refractory_ns
        self._end_ns = end_ns

    def fire(self, heads: Integers, stops: Integers, fired: Integers) -> None:
        """Correct ``fired`` behind each head, which fires freely, and before the chain's stop."""
        at, due_ns = heads, self._ready_ns[heads] + self._refractory_ns
        while len(at) > _FEW:  # one step of all chains together
            at = at + 1
            going = at < stops
            at, stops, due_ns = at[going], stops[going], due_ns[going]
            due_ns = self._step(at, due_ns, fired)
        for place, stop, due in zip(at.tolist(), stops.tolist(), due_ns.tolist(), strict=True):
            self._go_on(slice(place + 1, stop), due, fired)

    def _step(self, at: Integers, due_ns: Integers, fired: Integers) -> Integers:
        """Decide one on-period of each chain; return when the next one may fire."""
        earliest_ns = self._ready_ns[at]
        late = self._last_ns[at] < due_ns
        fired[self._period[at[late]]] = NOT_FIRED
        held = ~late & (earliest_ns < due_ns)
        window = np.searchsorted(self._end_ns, due_ns[held])
        fired[self._period[at[held]]] = window
        earliest_ns[held] = self._end_ns[window]
        return np.where(late, due_ns, earliest_ns + self._refractory_ns)

    def _go_on(self, rest: slice, due_ns: int, fired: Integers) -> None:
        """Decide what is left of one chain."""
        periods = self._period[rest].tolist()
        times = zip(periods, self._ready_ns[rest].tolist(), self._last_ns[rest].tolist(), strict=True)
        for period, earliest_ns, latest_ns in times:
            if latest_ns < due_ns:
                fired[period] = NOT_FIRED
                continue
            if earliest_ns < due_ns:
                window = int(np.searchsorted(self._end_ns, due_ns))
                fired[period] = window
                earliest_ns = int(self._end_ns[window])
            due_ns = earliest_ns + self._refractory_ns


class _Reach:
    """The windows whose sum reaches a threshold, packed together: what lies between is never on."""

    def __init__(self, length: int, sums: npt.NDArray[np.int32], begins: Integers) -> None:
        self.length = length
        self.floor = 0
        self._sums = sums
        self._windows: Integers | None = None  # their numbers; None: all of them
        self._first = np.zeros(len(sums), np.bool_)  # does not follow the one before it
        self._first[begins] = True
        self._runs: tuple[int, Integers, Integers] | None = None
        self._last: tuple[int, int, Integers, Integers] | None = None

    def thinned(self, low: int) -> _Reach:
        """Return the same without what stays below ``low``, when that leaves much less."""
        if low <= self.floor:
            return self
        self.floor = low
        reached = self._sums >= low
        if np.count_nonzero(reached) * _THIN > len(reached):
            return self
        kept = np.flatnonzero(reached)
        fewer = object.__new__(_Reach)
        fewer.length, fewer.floor, fewer._runs, fewer._last = self.length, low, None, None
        fewer._sums = self._sums[kept]
        fewer._windows = kept if self._windows is None else self._windows[kept]
        # a window that begins a stretch may be left out: the next one kept does not follow then either
        fewer._first = self._first[kept]
        fewer._first[1:] |= np.diff(kept) > 1
        fewer._first[:1] = True
        return fewer

    def periods(self, low: int, high: int) -> tuple[Integers, Integers]:
        """Return start, from its first window that reaches ``high``, and stop of each run above ``low``."""
        if self._last is None or self._last[:2] != (low, high):
            self._last = (low, high, *self._found(low, high))
        return self._last[2:]

    def _found(self, low: int, high: int) -> tuple[Integers, Integers]:
        if self._runs is None or self._runs[0] != low:
            above = self._sums >= max(low, 0)  # in warm-up nothing is reached
            self._runs = (low, self._rises(above), self._falls(above))
        _, starts, stops = self._runs
        if high != low:
            rises = self._rises(self._sums >= max(high, 0))
            within = np.append(rises, len(self._sums))[np.searchsorted(rises, starts)]
            reached = within < stops
            starts, stops = within[reached], stops[reached]
        if self._windows is None:
            return starts, stops
        return self._windows[starts], self._windows[stops - 1] + 1

    def _rises(self, above: npt.NDArray[np.bool_]) -> Integers:
        """Return where a run of windows begins."""
        follows = above[:-1] & ~self._first[1:]
        begins = above.copy()
        begins[1:] &= ~follows
        return np.flatnonzero(begins)

    def _falls(self, above: npt.NDArray[np.bool_]) -> Integers:
        """Return where a run of windows has ended."""
        stops = np.zeros(len(above) + 1, np.bool_)
        stops[1:] = above
        stops[1:-1] &= ~above[1:] | self._first[1:]
        return np.flatnonzero(stops)
