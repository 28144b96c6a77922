"""What of a recording cannot be relied on, as a part of it needs to know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from galago_edge.contract.errors import GalagoError, InputError
from galago_edge.contract.streams import GAPS_OF_DAMAGE, Gap, Item, Notice


class DamagedError(InputError):
    """A recording was read to its end, and every place that cannot be relied on was told by a notice."""


def read_in_part(windows: int, causes: Iterable[str]) -> bool:
    """Tell whether a recording with an InputError was decided as far as it could be read, the rest a gap.

    Otherwise it has failed: nothing was decided, or what could not be read is no gap, so that nobody can say
    where it is. One rule for replays and for all that judges them.

    Args:
        windows: So many were decided.
        causes: Of its gaps.
    """
    return windows > 0 and any(cause in GAPS_OF_DAMAGE for cause in causes)


@dataclass(frozen=True, slots=True)
class DamagedStretch:
    """A notice of damage, and the gap that it leaves."""

    notice: Notice
    gap: Gap | None
    """None where all of it is shown all the same."""

    def reaches(self, from_ns: int) -> bool:
        """Tell whether some of it is not before ``from_ns``; what is missing at the end always is."""
        if self.gap is None or self.notice.state == "truncated" or "place" in self.notice.detail:
            return True
        return self.gap.to_ns > from_ns or self.gap.from_ns >= from_ns

    def frames_in(self, from_ns: int, to_ns: int | None) -> int:
        """Return how many of its frames are in a part that it reaches: those of a steady rate, at least 1."""
        frames = int(self.notice.detail.get("frames", 1))
        if self.gap is None or (length_ns := self.gap.to_ns - self.gap.from_ns) == 0:
            return frames

        begin_ns = self.gap.from_ns

        def before(at_ns: int) -> int:
            return max(0, min(frames, -(-(at_ns - begin_ns) * frames // length_ns)))

        end = frames if to_ns is None else before(to_ns)
        return max(1, end - before(from_ns))


def with_stretches(items: Iterable[Item]) -> Iterator[Item | DamagedStretch]:
    """Yield everything, each notice of damage together with the gap right behind it.

    Raises:
        GalagoError: As ``items`` say.
    """
    held: Notice | None = None
    try:
        for item in items:
            if held is not None:
                gap = item if isinstance(item, Gap) and item.cause == held.state else None
                yield DamagedStretch(held, gap)
                held = None
                if gap is not None:
                    continue
            if isinstance(item, Notice) and item.state in GAPS_OF_DAMAGE:
                held = item
            else:
                yield item
    except GalagoError:
        if held is not None:
            yield DamagedStretch(held, None)
        raise
    if held is not None:
        yield DamagedStretch(held, None)
