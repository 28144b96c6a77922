"""Replays on a Dask cluster: the same jobs, on workers that read the same files.

Recordings, bundle and results are named by path, so every worker must see them under the same path as this
computer, on a shared file system. A task may run twice, on two workers: its result is whole or absent.
"""

from __future__ import annotations

import queue
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from galago_edge.contract.count_words import count_of
from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import DeviceError, LinkError, Reason, system_words
from galago_workstation.qa.replay_results import StoredFailure
from galago_workstation.qa.replay_runner import replay_here
from galago_workstation.qa.replay_work import ReplayOrder, ReplayOutcome

if TYPE_CHECKING:
    from distributed import Client

RESOURCE = "replay"
"""What a worker declares to be given replays, one at a time for each unit."""
_START = 'dask worker {address} --nthreads 1 --resources "replay=1"'
_CONNECT_S = 15
_RETRIES = 2
_LOOK_S = 5.0
"""While nothing ends, the cluster is looked at so often."""
_PATIENCE = 6
"""Looks in a row without a worker that declares the resource, after which none is expected back."""


def replay_on_cluster(orders: Sequence[ReplayOrder], address: str) -> Generator[ReplayOutcome, None, None]:
    """Yield how each order ended, in the order in which they end.

    A worker that dies has its orders given to another one. When the iteration is left early, what was not
    begun is cancelled.

    Raises:
        DeviceError: EXTRA_MISSING; distributed is not installed.
        LinkError: TRANSPORT; there is no scheduler, or none of its workers declares the resource, at the
            start or for half a minute: tasks would wait for ever.
    """
    with _connected(address) as client:
        _check_declared(client, address)
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        digests = [order.job.digest for order in orders]
        futures = client.map(
            on_worker,
            [msgspec.json.encode(order) for order in orders],
            key=[f"galago-replay-{digest}" for digest in digests],
            pure=False,
            retries=_RETRIES,
            resources={RESOURCE: 1},
        )
        addresses = {future.key: order for future, order in zip(futures, orders, strict=True)}
        try:
            for future in futures:
                future.add_done_callback(ended.put)
            for _ in futures:
                future = _next(ended, client, address)
                yield _outcome(future, addresses[future.key])
        finally:
            client.cancel(futures)


def on_worker(order: bytes) -> bytes:
    """Do what is ordered, in a process of its own; return the outcome, both as JSON. Errors name the worker.

    Not in the worker's own process: its profiler holds frames, and with them views of the model's tensors,
    and the runtime then refuses to run. And what crashes must not take the worker with it.
    """
    from distributed import get_worker

    (outcome,) = replay_here([from_json(order, type=ReplayOrder)], jobs=1)
    if (error := outcome.error) is not None:
        told = msgspec.structs.replace(error, message=f"worker {get_worker().address}: {error.message}")
        outcome = msgspec.structs.replace(outcome, error=told)
    return msgspec.json.encode(outcome)


def _connected(address: str) -> Client:
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        if error.name not in ("dask", "distributed"):
            raise
        raise DeviceError(
            Reason.EXTRA_MISSING,
            "replaying on a cluster needs the Python module distributed, which is not installed",
            hint='pip install "galago[cluster]"',
        ) from None
    try:
        return Client(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise LinkError(
            Reason.TRANSPORT,
            f"no Dask scheduler answers at {address}: {system_words(error)}",
            hint=f"start one with dask scheduler, and workers with {_START.format(address=address)}",
        ) from None


def _declaring(client: Client) -> tuple[int, int]:
    """Return how many workers there are, and how many of them declare the resource."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return len(workers), sum(RESOURCE in worker["resources"] for worker in workers)


def _check_declared(client: Client, address: str) -> None:
    workers, declaring = _declaring(client)
    if declaring:
        return
    met = (
        f"none of the {count_of(workers, 'worker')} of {address} declares"
        if workers
        else f"{address} has no worker with"
    )
    raise LinkError(
        Reason.TRANSPORT,
        f"{met} the resource {RESOURCE}, expected at least one",
        hint=f"start workers with {_START.format(address=address)}",
    )


def _next(ended: queue.SimpleQueue[Any], client: Client, address: str) -> Any:
    """Return the next future that has ended; as long as none does, look whether one still can."""
    looks = 0
    while True:
        try:
            return ended.get(timeout=_LOOK_S)
        except queue.Empty:
            looks = 0 if _reached(client, address) else looks + 1
            if looks >= _PATIENCE:
                _check_declared(client, address)


def _reached(client: Client, address: str) -> bool:
    try:
        return _declaring(client)[1] > 0
    except OSError as error:
        raise LinkError(
            Reason.TRANSPORT,
            f"the Dask scheduler at {address} is gone: {system_words(error)}",
            hint="start it again and run the same command: what was replayed stays",
        ) from None


def _outcome(future: Any, order: ReplayOrder) -> ReplayOutcome:
    if future.status == "finished":
        return from_json(future.result(), type=ReplayOutcome)
    error = future.exception() if future.status == "error" else None
    said = system_words(error) if error is not None else future.status
    lost = LinkError(
        Reason.WORKER_LOST,
        f"no worker of the cluster could replay {order.address}: {type(error).__name__}: {said[:300]}",
        hint="look at the workers' logs; each needs galago installed, and memory for one replay a thread",
    )
    return ReplayOutcome(digest=order.job.digest, error=StoredFailure.of(lost))
