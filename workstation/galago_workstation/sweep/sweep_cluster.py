"""Trainings of a sweep on a Dask cluster, on workers that read and write the same files."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import msgspec

from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import LinkError
from galago_workstation.cluster_tasks import ClusterTask, ClusterWork, done_on_cluster, worker_name
from galago_workstation.sweep.sweep_runner import train_here
from galago_workstation.sweep.sweep_work import SweepOrder, SweepOutcome


def train_on_cluster(orders: Sequence[SweepOrder], address: str) -> Generator[SweepOutcome, None, None]:
    """Yield how each order ended, in the order in which they end.

    A worker that dies has its training given to another one, which goes on behind the last epoch kept. When
    the iteration is left early, what was not begun is cancelled; what workers train ends there.

    Raises:
        DeviceError: EXTRA_MISSING; distributed is not installed.
        LinkError: TRANSPORT; see ``done_on_cluster``.
    """
    work = ClusterWork(on_worker, resource="training", verb="train", doing="training", done="trained")
    tasks = [ClusterTask(order.config_sha256, order.name, msgspec.json.encode(order)) for order in orders]
    names = {order.config_sha256: order.name for order in orders}
    for task, outcome in done_on_cluster(tasks, work, address):
        if isinstance(outcome, LinkError):
            yield SweepOutcome.failed(names[task.digest], outcome)
        else:
            yield from_json(outcome, type=SweepOutcome)


def on_worker(order: bytes) -> bytes:
    """Train what is ordered in a process of its own; order and outcome as JSON. Errors name the worker."""
    (outcome,) = train_here(
        [from_json(order, type=SweepOrder)], jobs=1, say=lambda _: None, complain=lambda _: None
    )
    if (error := outcome.error) is not None:
        error = error | {"message": f"worker {worker_name()}: {error['message']}"}
        outcome = msgspec.structs.replace(outcome, error=error)
    return msgspec.json.encode(outcome)
