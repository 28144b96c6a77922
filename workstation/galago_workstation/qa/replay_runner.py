"""Replays on this computer: one process for each core, each with one thread."""

from __future__ import annotations

import collections
import contextlib
import os
import selectors
from collections.abc import Generator, Sequence
from contextlib import ExitStack

from galago_edge.children.channel import Channel, channel_ends
from galago_edge.children.child import Child
from galago_edge.children.child_environment import FEW_RESERVES
from galago_edge.children.output import Output
from galago_edge.contract.errors import LinkError, Reason, disk_error
from galago_workstation.qa.replay_results import ReplayResults, StoredFailure
from galago_workstation.qa.replay_work import ReplayOrder, ReplayOutcome

_PROGRAM = ("-m", "galago_workstation.qa.replay_child")
_ATTEMPTS = 2
"""So often a recording is given to a process that dies: the first may have been killed for its neighbours."""
_ENDED_S = 10.0


def cores() -> int:
    """Return the processors that this process may use."""
    return len(os.sched_getaffinity(0))


def replay_here(orders: Sequence[ReplayOrder], jobs: int) -> Generator[ReplayOutcome, None, None]:
    """Yield how each order ended, in the order in which they end; at most ``jobs`` at a time.

    A process that dies is replaced, and its order given once more before it is told as an error. When the
    iteration is left early, every process is ended, and only whole results are left.

    Raises:
        LinkError: The system starts no process.
    """
    waiting = collections.deque((order, _ATTEMPTS) for order in orders)
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for _ in range(min(jobs, len(waiting))):
            worker = stack.enter_context(_Worker())
            selector.register(worker.link, selectors.EVENT_READ, worker)
            worker.give(*waiting.popleft())
        while selector.get_map():
            for key, _ in selector.select():
                worker = key.data
                outcome = worker.answer()
                if outcome is None:  # it died
                    selector.unregister(worker.link)
                    worker.close()
                    if worker.left:
                        waiting.appendleft((worker.order, worker.left))
                    else:
                        yield worker.loss()
                    if waiting:
                        worker = stack.enter_context(_Worker())
                        selector.register(worker.link, selectors.EVENT_READ, worker)
                        worker.give(*waiting.popleft())
                    continue
                yield outcome
                if waiting:
                    worker.give(*waiting.popleft())
                else:
                    selector.unregister(worker.link)
                    worker.close()


class _Worker:
    """A process that replays."""

    def __init__(self) -> None:
        self.order: ReplayOrder
        self.left = 0
        """So many more times its order may be given, if it dies."""
        self._ending = ""
        try:
            self._stderr = Output("galago-stderr")
            self.link, theirs = channel_ends()
            with theirs:
                self._child = Child(
                    _PROGRAM,
                    shared=(theirs.fileno(),),
                    more_environment=FEW_RESERVES,
                    stderr=self._stderr.fileno(),
                )
        except OSError as error:
            raise disk_error(error, "start a process that replays") from error
        self._channel = Channel[ReplayOutcome](self.link, ReplayOutcome)

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self._child.pid

    def give(self, order: ReplayOrder, attempts: int) -> None:
        """Let it replay; what it is busy with is known by ``order``."""
        self.order, self.left = order, attempts - 1
        with contextlib.suppress(OSError):  # it is gone: the answer says so
            self._channel.send(order)

    def answer(self) -> ReplayOutcome | None:
        """Return its answer; None when it has died."""
        try:
            return self._channel.receive().message
        except (EOFError, ValueError):
            return None

    def loss(self) -> ReplayOutcome:
        """Return the outcome of an order that every process died of."""
        error = LinkError(
            Reason.WORKER_LOST,
            f"the process that replayed {self.order.address} {self._ending}, {_ATTEMPTS} times",
            hint="free memory or give fewer --jobs; replay this recording alone to see more",
        )
        return ReplayOutcome(digest=self.order.job.digest, error=StoredFailure.of(error))

    def close(self) -> None:
        """End the process and remove what it has half-written; twice does no harm."""
        if self._ending:
            return
        self._channel.close()
        if (ending := self._child.wait(0)) is None:
            self._child.kill()
            ending = self._child.wait(_ENDED_S)
        said = self._stderr.last_line()  # what it died of, when it was a mistake of ours
        self._ending = f"{ending or 'hangs'}{f' ({said})' if said else ''}"
        self._child.close()
        self._stderr.close()
        ReplayResults(self.order.results).clear(self.order.job.digest)
