"""What a corpus lost while it was replayed: recordings that failed, and such as are cut off or damaged.

One rule for all commands. A recording **failed** when it has no result, when nothing of it could be decided,
or when it is damaged and nobody can say where: it is not judged, it is counted, and the command ends with the
exit code of the recording that fared worst, as ``galago replay`` does. A recording that was decided as far as
it could be read, and whose rest is a gap, is **read in part**: what was decided is judged, the gap is time
that nobody watched, and that is no failure (``galago_edge.sources.recording_damage.read_in_part``).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from galago_edge.contract.count_words import count_of
from galago_edge.contract.errors import GalagoError

_NAMED = 5


class RecordingLoss(msgspec.Struct, frozen=True, kw_only=True):
    """Why one recording has no result, or one of its readable part: as errors are told, with its name."""

    recording: str
    reason: str
    message: str
    hint: str
    exit: int
    sha256: str = ""
    """Of the recording, which two runs may call by two names; empty where nobody knows it."""

    @classmethod
    def of(cls, recording: str, error: GalagoError, *, sha256: str = "") -> RecordingLoss:
        """Return what is kept of an error."""
        said = {"recording": recording, "sha256": sha256, **error.as_data(with_exit=True)}
        return msgspec.convert(said, cls)

    @property
    def which(self) -> str:
        """The recording: its content, or its name where that is all there is."""
        return self.sha256 or self.recording

    def error(self, about: str = "") -> GalagoError:
        """Return the error, its exit code too; ``about`` goes before what was met."""
        data = msgspec.to_builtins(self)
        return GalagoError.from_data(data | {"message": f"{about}{self.recording}: {self.message}"})


class RecordingLosses(msgspec.Struct, frozen=True, kw_only=True):
    """Of a whole corpus."""

    failed: tuple[RecordingLoss, ...] = ()
    """Not judged. By name."""
    read_in_part: tuple[RecordingLoss, ...] = ()
    """Judged as far as they could be read. By name."""

    @property
    def exit_code(self) -> int:
        """That of the recording that fared worst; 0 when none failed."""
        return max((one.exit for one in self.failed), default=0)

    def __or__(self, other: RecordingLosses) -> RecordingLosses:
        """Return both; what two bundles met alike in one recording is there once, as the other has it."""
        return RecordingLosses(
            failed=_united(self.failed, other.failed),
            read_in_part=_united(self.read_in_part, other.read_in_part),
        )

    def lines(self) -> list[str]:
        """Return what reports say, one sentence each; nothing when all is well."""
        told = (
            ("Failed, and not judged", self.failed),
            ("Read in part, the rest is a gap", self.read_in_part),
        )
        return [f"{what}: {_counted(losses)}." for what, losses in told if losses]


def _united(one: Sequence[RecordingLoss], other: Sequence[RecordingLoss]) -> tuple[RecordingLoss, ...]:
    found = {(loss.which, loss.reason): loss for loss in (*one, *other)}
    return tuple(sorted(found.values(), key=lambda loss: (loss.recording, loss.reason, loss.message)))


def _counted(losses: Sequence[RecordingLoss]) -> str:
    each = {one.which: f"{one.recording}: {one.reason}" for one in losses}
    shown = sorted(each.values())
    return (
        f"{count_of(len(shown), 'recording')} ({', '.join(shown[:_NAMED])}{' ...' * (len(shown) > _NAMED)})"
    )
