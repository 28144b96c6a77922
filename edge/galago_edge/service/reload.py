"""Lets the streams of a service follow the store: another bundle runs where another one should."""

from __future__ import annotations

from collections.abc import Callable

from galago_edge.bundle import Bundle
from galago_edge.contract.errors import GalagoError
from galago_edge.contract.settings import Settings
from galago_edge.service.build import Build
from galago_edge.service.outlet import Outlet
from galago_edge.service.prepared_stream import PreparedStream, build_of, check_same_input, prepare
from galago_edge.service.running_stream import RunningStream
from galago_edge.service.slots import Slots
from galago_edge.service.stream_set import StreamSet
from galago_edge.service.trial import LiveTrial, as_failure


class Reload:
    """Loads what the store says beside what runs. It waits for the disk: used by one errand at a time."""

    def __init__(
        self,
        settings: Settings,
        slots: Slots,
        streams: StreamSet,
        outlet: Outlet,
        *,
        scores: bool,
        begin: Callable[[PreparedStream], None],
    ) -> None:
        """``begin`` is handed a stream that has a bundle now and had none before."""
        self._settings = settings
        self._slots = slots
        self._streams = streams
        self._outlet = outlet
        self._scores = scores
        self._begin = begin

    def follow(self) -> None:
        """Run what the store says now."""
        try:
            self._slots.refresh()
        except GalagoError as failure:
            for running in self._streams:
                self._outlet.deliver([running.live.reload_failed(failure)])
        else:
            self.match()

    def settle(self, trial: LiveTrial) -> None:
        """Record how a trial ended, and leave a bundle that failed."""
        if self._slots.settle(trial):
            for running in self._streams:
                running.live.withdraw(trial.bundle_id)
            self.match(leave=trial.bundle_id)

    def match(self, leave: str | None = None) -> None:
        """Load the bundle that should run now for every stream that runs another; ``leave`` one at once."""
        for running in self._streams:
            self._match_one(running, leave)
        for stream in self._streams.waiting():
            try:
                prepared = prepare(
                    stream,
                    self._slots,
                    sources=self._settings.source,
                    accelerator=self._settings.accelerator,
                    scores=self._scores,
                )
            except GalagoError as failure:
                self._streams.leave_absent(stream.name, failure)
            else:
                self._begin(prepared)

    def behind(self) -> bool:
        """Tell whether a stream runs another bundle than it should."""
        return any(self.wanted_id(running) not in (None, running.bundle_id) for running in self._streams)

    def wanted_id(self, running: RunningStream) -> str | None:
        """Return the id of the bundle that the store says should run; None where nothing can."""
        try:
            return self._slots.bundle(running.bundle_name).id
        except GalagoError:
            return None

    def _match_one(self, running: RunningStream, leave: str | None) -> None:
        live, wanted = running.live, None
        try:
            bundle = self._slots.bundle(running.bundle_name)
            wanted = bundle.id
            if bundle.id == running.bundle_id:
                return
            check_same_input(live.manifest, bundle.manifest)
            build = self._built(running, bundle)
        except Exception as failure:  # noqa: BLE001 the one that runs goes on, whatever it was
            live.refused = failure
            self._outlet.deliver([live.reload_failed(failure, to=wanted)])
            return
        if running.ended:
            build.close()
        else:
            live.offer(build, at_once=running.bundle_id == leave)

    def _built(self, running: RunningStream, bundle: Bundle) -> Build:
        """Load a bundle for a stream; one on trial that does not load has failed.

        Raises:
            Exception: It does not load.
        """
        prepared, accelerator = running.prepared, self._settings.accelerator
        try:
            return build_of(
                prepared.settings, bundle, self._slots, accelerator, scores=self._scores, live=prepared.live
            )
        except Exception as failure:  # any failure tells against the bundle; raised again
            self._slots.fail(bundle, as_failure(str(bundle), failure))
            raise
