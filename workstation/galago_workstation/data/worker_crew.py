"""Processes that prepare samples beside the one that trains.

They are forked, and so have everything that their parent holds: decoded samples are in memory once. What each
of them makes depends on its job alone and is handed out in the order of the jobs, so their number changes
nothing. A worker has two jobs at a time, so that it never waits and never runs ahead without bounds.

A fork copies only the thread that forks. So a crew is made before a library has started threads of its own
that hold locks: before TensorFlow is loaded. Later, :func:`usual_workers` is 0, and the work is done where
its results are asked for.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, Pipe
from typing import Any, Generic, TypeVar

from galago_edge.children.ending import Ending
from galago_edge.children.lifeline import die_with_parent, leave_signals_to_parent
from galago_edge.contract.errors import DeviceError, GalagoError, Reason, disk_error

MOST_WORKERS = 16
_JOBS_EACH = 2
_NUMBER_BYTES = 8
_REFUSED, _FAILED, _DONE = range(3)

Job = TypeVar("Job")
Result = TypeVar("Result")
Begin = Callable[[int], None]
"""Is told the position of the sample that is being prepared, so that a crash can name it."""
Make = Callable[[Job, Begin | None], Result]
"""Makes the result of a job; in the process that asks for it nobody needs to be told."""


def usual_workers() -> int:
    """Return how many workers a training has: one for each core that it may use, 16 at most.

    0 where a fork is not safe any more.
    """
    if "tensorflow" in sys.modules or threading.active_count() > 1:
        return 0
    return min(MOST_WORKERS, len(os.sched_getaffinity(0)))


class WorkerCrew(Generic[Job, Result]):
    """Makes something of jobs, in order, in processes of its own.

    Args:
        make: Makes the result of a job, which must be small (some kB).
        count: Number of processes; 0: ``make`` is called where results are asked for.
        named: Returns what a sample is called, by its position.

    Raises:
        LinkError: The system refuses another process.
    """

    def __init__(self, make: Make[Job, Result], count: int, named: Callable[[int], str]) -> None:
        self._make = make
        self._named = named
        self._workers: list[_Worker] = []
        self._given: deque[tuple[_Worker, Job]] = deque()
        self._number = 0
        self._series = 0
        self._lock = threading.Lock()
        self._at = mmap.mmap(-1, _NUMBER_BYTES * max(1, count))  # shared with the workers
        try:
            lifeline = os.pipe()
            self._finalize = weakref.finalize(self, _end, os.getpid(), self._workers, lifeline)
            with _without_opencv_threads():
                for number in range(count):
                    self._workers.append(self._forked(number, lifeline))
        except OSError as error:
            raise disk_error(error, "start processes that prepare samples") from error

    def __len__(self) -> int:
        return len(self._workers)

    def close(self) -> None:
        """End the processes, and what another thread may still be asking of them.

        They end with this object, too, and with the process that made it.
        """
        with self._lock:
            self._series += 1
            self._given.clear()
            self._finalize()

    def _forked(self, number: int, lifeline: tuple[int, int]) -> _Worker:
        ours, theirs = Pipe()
        sys.stdout.flush()  # else what is in the buffer could be written twice
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            try:
                for worker in self._workers:
                    worker.link.close()
                ours.close()
                self._work(theirs, number, lifeline)
            finally:
                os._exit(1)  # nothing of what the parent would do at its end
        theirs.close()
        return _Worker(pid, number, ours)

    def _work(self, link: Connection[Any, Any], number: int, lifeline: tuple[int, int]) -> None:
        """Do jobs until the parent ends. Runs in the forked process."""
        leave_signals_to_parent()
        os.dup2(lifeline[0], 0)
        os.close(lifeline[1])
        die_with_parent()

        def begin(position: int) -> None:
            self._at[number * _NUMBER_BYTES : (number + 1) * _NUMBER_BYTES] = position.to_bytes(_NUMBER_BYTES)

        while True:
            job = link.recv()
            answer: tuple[int, Any]
            try:
                answer = (_DONE, self._make(job, begin))
            except GalagoError as error:
                answer = (_REFUSED, (type(error), error.as_data(with_exit=True)))
            except Exception as error:  # noqa: BLE001 - a process boundary: the parent tells it with the sample
                answer = (_FAILED, f"{type(error).__name__}: {error}")
            link.send(answer)

    def results(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Result]]:
        """Yield each job with its result; jobs are taken ahead of time. A newer call ends an older one.

        Raises:
            GalagoError: What ``make`` raised.
            DeviceError: TRAIN_CRASHED; a worker died, or could not go on, at a sample that is named.
        """
        if not self._workers:
            for job in jobs:
                yield job, self._make(job, None)
            return
        with self._lock:
            self._series += 1
            series = self._series
            while self._given:  # of somebody who asked for more than was used
                self._received(self._given.popleft()[0])
        ahead = iter(jobs)
        while True:
            with self._lock:
                if series != self._series:
                    return
                self._give(ahead)
                if not self._given:
                    return
                worker, job = self._given.popleft()
                answer = self._received(worker)
            yield job, self._judged(*answer, worker)

    def _give(self, jobs: Iterator[Job]) -> None:
        while len(self._given) < _JOBS_EACH * len(self._workers):
            try:
                job = next(jobs)
            except StopIteration:
                return
            worker = self._workers[self._number % len(self._workers)]
            self._number += 1
            try:
                worker.link.send(job)
            except OSError:
                raise self._death(worker) from None
            self._given.append((worker, job))

    def _received(self, worker: _Worker) -> tuple[int, Any]:
        try:
            kind, content = worker.link.recv()
        except (EOFError, OSError):
            raise self._death(worker) from None
        return kind, content

    def _judged(self, kind: int, content: Any, worker: _Worker) -> Result:
        if kind == _REFUSED:
            kind_of_error, told = content
            raise kind_of_error.from_data(told)
        if kind == _FAILED:
            raise self._crash(worker, f"failed ({content})")
        result: Result = content
        return result

    def _death(self, worker: _Worker) -> DeviceError:
        return self._crash(worker, str(worker.ending()))

    def _crash(self, worker: _Worker, what: str) -> DeviceError:
        position = int.from_bytes(self._at[worker.number * _NUMBER_BYTES :][:_NUMBER_BYTES])
        return DeviceError(
            Reason.TRAIN_CRASHED,
            f"a process that prepares samples {what}; it was at {self._named(position)}",
            hint="the same command goes on behind the last epoch that was kept; if it dies again, look at "
            "that sample, and at dmesg for want of memory",
        )


class _Worker:
    """The parent's side of one process."""

    def __init__(self, pid: int, number: int, link: Connection[Any, Any]) -> None:
        self.pid = pid
        self.number = number
        self.link = link
        self._status: int | None = None

    def ending(self) -> Ending:
        """Return how a process ended that has closed its side."""
        if self._status is None:
            self._status = os.waitpid(self.pid, 0)[1]
        return Ending.of(os.waitstatus_to_exitcode(self._status))

    def end(self) -> None:
        """End it."""
        self.link.close()
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.ending()


@contextlib.contextmanager
def _without_opencv_threads() -> Iterator[None]:
    """End the threads of OpenCV for a while: a forked copy has none of them, and shall not count on any."""
    cv2 = sys.modules.get("cv2")  # nobody loads it for this
    if cv2 is None:
        yield
        return
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _end(owner: int, workers: list[_Worker], lifeline: tuple[int, int]) -> None:
    if os.getpid() != owner:  # the copy in a worker of another crew
        return
    for worker in workers:
        worker.end()
    workers.clear()
    for descriptor in lifeline:
        os.close(descriptor)
