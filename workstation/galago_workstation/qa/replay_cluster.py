"""Replays on a Dask cluster: the same jobs, on workers that read the same files.

Recordings, bundle and results are named by path. A task may run twice, on two workers: its result is whole or
absent.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

import msgspec

from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import LinkError
from galago_workstation.cluster_tasks import ClusterTask, ClusterWork, done_on_cluster, worker_name
from galago_workstation.qa.replay_results import StoredFailure
from galago_workstation.qa.replay_runner import replay_here
from galago_workstation.qa.replay_work import ReplayOrder, ReplayOutcome


def replay_on_cluster(orders: Sequence[ReplayOrder], address: str) -> Generator[ReplayOutcome, None, None]:
    """Yield how each order ended, in the order in which they end.

    A worker that dies has its orders given to another one. When the iteration is left early, what was not
    begun is cancelled.

    Raises:
        DeviceError: EXTRA_MISSING; distributed is not installed.
        LinkError: TRANSPORT; see ``done_on_cluster``.
    """
    work = ClusterWork(on_worker, resource="replay", verb="replay", doing="replaying", done="replayed")
    tasks = [ClusterTask(order.job.digest, order.address, msgspec.json.encode(order)) for order in orders]
    for task, outcome in done_on_cluster(tasks, work, address):
        if isinstance(outcome, LinkError):
            yield ReplayOutcome(digest=task.digest, error=StoredFailure.of(outcome))
        else:
            yield from_json(outcome, type=ReplayOutcome)


def on_worker(order: bytes) -> bytes:
    """Do what is ordered, in a process of its own; return the outcome, both as JSON. Errors name the worker.

    Not in the worker's own process: its profiler holds frames, and with them views of the model's tensors,
    and the runtime then refuses to run. And what crashes must not take the worker with it.
    """
    (outcome,) = replay_here([from_json(order, type=ReplayOrder)], jobs=1)
    if (error := outcome.error) is not None:
        told = msgspec.structs.replace(error, message=f"worker {worker_name()}: {error.message}")
        outcome = msgspec.structs.replace(outcome, error=told)
    return msgspec.json.encode(outcome)
