"""Tasks on a Dask cluster, on workers that declare a resource and read the same files.

Files are named by path, so every worker must see them under the same path as this computer, on a shared file
system. A task may run twice, on two workers: what it leaves must be whole or absent.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from galago_edge.contract.count_words import count_of
from galago_edge.contract.errors import DeviceError, LinkError, Reason, system_words

if TYPE_CHECKING:
    from distributed import Client

_CONNECT_S = 15
_RETRIES = 2
_LOOK_S = 5.0
"""While nothing ends, the cluster is looked at so often."""
_PATIENCE = 6
"""Looks in a row without a worker that declares the resource, after which none is expected back."""


@dataclass(frozen=True, slots=True)
class ClusterWork:
    """What is asked of the workers, and how it is spoken of."""

    function: Callable[[bytes], bytes]
    """Runs on a worker, in a thread of its own: an order in, its outcome out."""
    resource: str
    """What a worker declares to be given such tasks, one at a time for each unit; a noun."""
    verb: str
    doing: str
    done: str
    """``what was ... stays``."""

    def start(self, address: str) -> str:
        """Return how a worker is started."""
        return f'dask worker {address} --nthreads 1 --resources "{self.resource}=1"'


@dataclass(frozen=True, slots=True)
class ClusterTask:
    """One order."""

    digest: str
    """Tells it from all others."""
    title: str
    """What it is about, for people."""
    order: bytes


def done_on_cluster(
    tasks: Sequence[ClusterTask], work: ClusterWork, address: str
) -> Generator[tuple[ClusterTask, bytes | LinkError], None, None]:
    """Yield each task and its outcome, in the order in which they end.

    A worker that dies has its tasks given to another one; where none could do one, its outcome is a
    WORKER_LOST. When the iteration is left early, what was not begun is cancelled.

    Raises:
        DeviceError: EXTRA_MISSING; distributed is not installed.
        LinkError: TRANSPORT; there is no scheduler, or none of its workers declares the resource, at the
            start or for half a minute: tasks would wait for ever.
    """
    with _connected(address, work) as client:
        _check_declared(client, address, work)
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        futures = client.map(
            work.function,
            [task.order for task in tasks],
            key=[f"galago-{work.resource}-{task.digest}" for task in tasks],
            pure=False,
            retries=_RETRIES,
            resources={work.resource: 1},
        )
        of_future = {future.key: task for future, task in zip(futures, tasks, strict=True)}
        try:
            for future in futures:
                future.add_done_callback(ended.put)
            for _ in futures:
                future = _next(ended, client, address, work)
                task = of_future[future.key]
                yield task, _outcome(future, task, work)
        finally:
            client.cancel(futures)


def worker_name() -> str:
    """Return the address of the worker that runs this."""
    from distributed import get_worker

    return str(get_worker().address)


def _connected(address: str, work: ClusterWork) -> Client:
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        if error.name not in ("dask", "distributed"):
            raise
        raise DeviceError(
            Reason.EXTRA_MISSING,
            f"{work.doing} on a cluster needs the Python module distributed, which is not installed",
            hint='pip install "galago[cluster]"',
        ) from None
    try:
        return Client(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise LinkError(
            Reason.TRANSPORT,
            f"no Dask scheduler answers at {address}: {system_words(error)}",
            hint=f"start one with dask scheduler, and workers with {work.start(address)}",
        ) from None


def _declaring(client: Client, work: ClusterWork) -> tuple[int, int]:
    """Return how many workers there are, and how many of them declare the resource."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return len(workers), sum(work.resource in worker["resources"] for worker in workers)


def _check_declared(client: Client, address: str, work: ClusterWork) -> None:
    workers, declaring = _declaring(client, work)
    if declaring:
        return
    met = (
        f"none of the {count_of(workers, 'worker')} of {address} declares"
        if workers
        else f"{address} has no worker with"
    )
    raise LinkError(
        Reason.TRANSPORT,
        f"{met} the resource {work.resource}, expected at least one",
        hint=f"start workers with {work.start(address)}",
    )


def _next(ended: queue.SimpleQueue[Any], client: Client, address: str, work: ClusterWork) -> Any:
    """Return the next future that has ended; as long as none does, look whether one still can."""
    looks = 0
    while True:
        try:
            return ended.get(timeout=_LOOK_S)
        except queue.Empty:
            looks = 0 if _reached(client, address, work) else looks + 1
            if looks >= _PATIENCE:
                _check_declared(client, address, work)


def _reached(client: Client, address: str, work: ClusterWork) -> bool:
    try:
        return _declaring(client, work)[1] > 0
    except OSError as error:
        raise LinkError(
            Reason.TRANSPORT,
            f"the Dask scheduler at {address} is gone: {system_words(error)}",
            hint=f"start it again and run the same command: what was {work.done} stays",
        ) from None


def _outcome(future: Any, task: ClusterTask, work: ClusterWork) -> bytes | LinkError:
    if future.status == "finished":
        answer: bytes = future.result()
        return answer
    error = future.exception() if future.status == "error" else None
    said = system_words(error) if error is not None else future.status
    return LinkError(
        Reason.WORKER_LOST,
        f"no worker of the cluster could {work.verb} {task.title}: {type(error).__name__}: {said[:300]}",
        hint=f"look at the workers' logs; each needs galago installed, and memory for one {work.resource} a "
        "thread",
    )
