"""How a process ends whose model hangs: with a record, a line and an exit code that say why."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import NoReturn

from galago_edge.contract.errors import DeviceError, GalagoError, Reason
from galago_edge.contract.records import StateRecord
from galago_edge.service.handover import Heartbeat
from galago_edge.service.slots import Slots
from galago_edge.service.stream_set import StreamSet
from galago_edge.service.watchdog import Hang
from galago_edge.sinks.outbox import Outbox

_TELLING_S = 2.0
_HUNG_EXIT = 1


class LastWords:
    """Ends the process at once. A thread inside native code cannot be ended otherwise."""

    def __init__(self, streams: StreamSet, slots: Slots, outbox: Outbox, heartbeat: Heartbeat) -> None:
        self._streams = streams
        self._slots = slots
        self._outbox = outbox
        self._heartbeat = heartbeat

    def end(self, hang: Hang) -> NoReturn:
        """Say which stream hangs, leave its bundle if that is on trial, and end."""
        text = f"stream {hang.stream}: one window has taken {hang.for_s:.0f} s"
        telling = threading.Thread(target=self._tell, args=(hang.stream, text), daemon=True)
        telling.start()
        telling.join(_TELLING_S)  # whoever hangs may hold what is needed for telling
        sys.stderr.write(f"Error: {text}; the process ends to be restarted [{Reason.HUNG}]\n")
        sys.stderr.flush()
        self._heartbeat.close(self._streams.uncounted())
        os._exit(_HUNG_EXIT)

    def _tell(self, stream: str, text: str) -> None:
        running = self._streams.named(stream)
        with contextlib.suppress(GalagoError, OSError):
            if running is not None and (bundle_id := running.on_trial_id()) is not None:
                failure = DeviceError(Reason.HUNG, text, hint="build it with a smaller model")
                self._slots.leave_now(failure, lambda trial: trial.bundle_id == bundle_id)
        record = StateRecord(
            stream=stream,
            subject="stream",
            state="hung",
            index=0,
            ns=running.end_ns if running is not None else 0,
            detail={"reason": str(Reason.HUNG), "message": text},
        )
        with contextlib.suppress(GalagoError, OSError):
            self._outbox.emit([record, *self._slots.news()])
            self._outbox.stop(_TELLING_S / 2)
