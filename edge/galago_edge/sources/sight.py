"""The check whether a camera is blind: what its view says for how long, and what of it is kept.

Nothing here touches a disk: whoever supervises cameras gives a :class:`ViewKeeper`, or None, and then a
camera learns anew with every start.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal, Protocol

from galago_edge.contract.settings import PlausibilitySettings
from galago_edge.contract.streams import NS_PER_S, Frame
from galago_edge.sources.camera_view import CameraView, Glance
from galago_edge.sources.doubt import Blindness, Doubt, News
from galago_edge.sources.view_memory import DamagedViewError, ForeignViewError, ViewMemory

Learning = Literal["new", "removed", "damaged", "other"]
"""Why a camera learns: nothing was kept; it was removed; it is no memory of a view; it is another camera's or
of pictures of another size."""

_SAVE_NS = 6 * 3600 * NS_PER_S
"""What was learned since then is lost when the power fails: it does no harm, and spares the SD card."""
_SAVE_AT_END_NS = 600 * NS_PER_S
_DARKER_OF = 16
"""It gets darker when a picture has lost a sixteenth of its brightness since the doubt began."""
_UNJUDGED_NS = 600 * NS_PER_S
"""So much more of looks that say nothing than of others is told, and so much less ends it."""
_LONGEST_LOOK_NS = 10 * NS_PER_S
"""A look stands for the time since the last one, at most for so long."""
_ASK_NS = 60 * NS_PER_S


class ViewKeeper(Protocol):
    """Keeps what was learned of one camera, over restarts."""

    key: str
    """Whose camera it is: another address has another key."""

    def load(self) -> bytes | None:
        """Return what was saved last; None when there is nothing. Raises OSError."""

    def save(self, data: bytes) -> None:
        """Replace what is kept. Raises OSError."""

    def there(self) -> bool:
        """Tell whether anything is kept: somebody may remove it, so that the camera learns anew."""


class Sight:
    """Watches whether one camera was moved, defocused or covered. Used by one thread at a time."""

    def __init__(self, settings: PlausibilitySettings, clear_s: float, keeper: ViewKeeper | None) -> None:
        """Prepare for the first frame. A kind of blindness whose time is 0 is never told."""
        self._after_ns: dict[Blindness, int] = {
            "moved": round(settings.moved_s * NS_PER_S),
            "defocused": round(settings.defocused_s * NS_PER_S),
            "covered": round(settings.covered_s * NS_PER_S),
        }
        self._clear_ns = round(clear_s * NS_PER_S)
        self._keeper = keeper
        self.alarm: Blindness | None = None
        """What is wrong now."""
        self.unjudged = False
        """Whether pictures have said nothing for so long that it must be told."""
        self._unjudged_ns = 0
        self._view: CameraView | None = None
        self._looked_ns: int | None = None
        self._since_ns: int | None = None
        self._level = 0
        self._kinds: Counter[Blindness] = Counter()
        self._details: dict[Blindness, dict[str, Any]] = {}
        self._calm = 0
        self._kept = False
        self._saved_ns = 0
        self._asked_ns = 0
        self._ready = False
        self._fault = ""

    @property
    def wanted(self) -> bool:
        """Whether any kind is to be told; else nothing is looked at or learned."""
        return any(self._after_ns.values())

    @property
    def learning(self) -> bool | None:
        """Whether it knows too little to judge by; None before the first frame and when it is not wanted."""
        return None if self._view is None else not self._view.memory.ready

    @property
    def blank(self) -> bool:
        """Whether the last picture that was judged showed noise alone, and nothing of what is known."""
        return self._view is not None and self._view.blank

    def look(self, frame: Frame) -> list[Doubt | News]:
        """Look at a frame, at most once a second, and return what changes."""
        if not self.wanted:
            return []
        told: list[Doubt | News] = []
        if self._view is None or self._view.shape != frame.pixels.shape:
            told += self._begin(frame.pixels.shape)
        view = self._view
        assert view is not None
        glance = view.look(frame.pixels, frame.captured_ns, learn=self.alarm is None)
        if glance is None:
            return told
        told += self._weigh(glance, frame.captured_ns)
        told += self._judge(glance, frame.captured_ns)
        return told + self._keep(view)

    def interrupted(self) -> None:
        """Note that something is missing before the next frame. An alarm stays for now."""
        self._looked_ns = None
        self._restart()
        if self._view is not None:
            self._view.interrupted()

    def ended(self) -> list[News]:
        """Keep what was learned: there is no further frame."""
        view = self._view
        if view is None or not view.memory.ready or view.memory.watched_ns - self._saved_ns < _SAVE_AT_END_NS:
            return []
        return self._save(view)

    def _weigh(self, glance: Glance, now_ns: int) -> list[News]:
        """Tell when most looks of the last minutes could not be judged, and when they can be again."""
        if self.learning or self._looked_ns is None or self._looked_ns > now_ns:
            return []
        passed_ns = min(now_ns - self._looked_ns, _LONGEST_LOOK_NS)
        balance_ns = self._unjudged_ns + (-passed_ns if glance.judged else passed_ns)
        self._unjudged_ns = min(max(balance_ns, 0), _UNJUDGED_NS)
        if self._unjudged_ns != (0 if self.unjudged else _UNJUDGED_NS):
            return []
        self.unjudged = not self.unjudged
        return [News("view_unjudged" if self.unjudged else "view_judged", {})]

    def _judge(self, glance: Glance, now_ns: int) -> list[Doubt]:
        """Tell what has been so for long enough."""
        from_ns, self._looked_ns = self._looked_ns, now_ns
        if from_ns is None or from_ns > now_ns:
            from_ns = now_ns
        what = glance.what if glance.what is None or self._after_ns[glance.what] else None
        if not glance.judged or (what is not None) is (self.alarm is not None):
            # one look in which nothing is suspicious may be noise, two are none
            self._calm += 1
            if not glance.judged or self.alarm is not None or self._calm > 1:
                self._restart()
            return []
        self._calm = 0
        if self._since_ns is not None and glance.level * _DARKER_OF < self._level * (_DARKER_OF - 1):
            self._restart()  # the light is going: a fault changes it at once, and is told when it stays
        if self._since_ns is None:
            self._since_ns, self._level = from_ns, glance.level
        if self.alarm is not None:
            if now_ns - self._since_ns < self._clear_ns:
                return []
            found, self.alarm, detail = self.alarm, None, glance.detail or {}
        else:
            assert what is not None
            self._kinds[what] += 1
            self._details[what] = glance.detail or {}
            found = self._kinds.most_common(1)[0][0]
            if now_ns - self._since_ns < self._after_ns[found]:
                return []
            self.alarm, detail = found, self._details[found]
        self._restart()
        return [Doubt(found, self.alarm is not None, detail)]

    def _restart(self) -> None:
        """Begin anew to count for how long something is so."""
        self._since_ns = None
        self._kinds.clear()
        self._details.clear()
        self._calm = 0

    def _begin(self, shape: tuple[int, ...]) -> list[News]:
        """Take up what is kept of pictures of this shape, or begin to learn."""
        self.interrupted()
        memory: ViewMemory | None = None
        why: Learning = "new"
        if self._keeper is not None:
            try:
                if (data := self._keeper.load()) is not None:
                    memory = ViewMemory.from_bytes(data, self._keeper.key, shape)
            except ForeignViewError:
                why = "other"
            except (OSError, DamagedViewError):
                why = "damaged"
        return self._start(shape, memory, why)

    def _start(self, shape: tuple[int, ...], memory: ViewMemory | None, why: Learning) -> list[News]:
        self._view = view = CameraView(shape, memory)
        self._kept = memory is not None
        self._saved_ns = self._asked_ns = view.memory.watched_ns
        self._ready = view.memory.ready
        self.unjudged, self._unjudged_ns = False, 0
        return [] if memory is not None else [News("view_learning", {"why": why})]

    def _keep(self, view: CameraView) -> list[Doubt | News]:
        """Save now and then what was learned, and begin anew when somebody has removed it."""
        told: list[Doubt | News] = []
        watched_ns = view.memory.watched_ns
        if view.memory.ready and not self._ready:
            self._ready = True
            told.append(News("view_learned", {"watched_s": watched_ns // NS_PER_S}))
            told += self._save(view)
        elif watched_ns - self._saved_ns >= _SAVE_NS and view.memory.ready:
            told += self._save(view)
        if self._kept and self._keeper is not None and watched_ns - self._asked_ns >= _ASK_NS:
            self._asked_ns = watched_ns
            if not self._keeper.there():
                told += self._forget(view.shape)
        return told

    def _forget(self, shape: tuple[int, ...]) -> list[Doubt | News]:
        """Learn anew: what was kept is gone, and an alarm with it."""
        told: list[Doubt | News] = []
        if self.alarm is not None:
            told.append(Doubt(self.alarm, False, {}))
            self.alarm = None
        self.interrupted()
        return told + self._start(shape, None, "removed")

    def _save(self, view: CameraView) -> list[News]:
        self._saved_ns = view.memory.watched_ns
        if self._keeper is None:
            return []
        try:
            self._keeper.save(view.memory.to_bytes(self._keeper.key, view.shape))
        except OSError as error:
            fault = error.strerror or type(error).__name__
            told = [] if fault == self._fault else [News("view_unsaved", {"message": fault})]
            self._fault = fault
            return told
        self._kept, self._fault = True, ""
        return []
