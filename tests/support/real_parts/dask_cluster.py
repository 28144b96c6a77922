"""A Dask cluster on the loopback interface: a scheduler and workers, each a process that can be killed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from real_parts.processes import Child, MissingPartError, free_port


class DaskCluster:
    """A scheduler; workers are added one by one. Start it in the main thread."""

    def __init__(self, folder: Path) -> None:
        if importlib.util.find_spec("distributed") is None:
            raise MissingPartError("distributed: pip install 'galago[cluster]'")
        self._folder = folder
        self._port = free_port()
        self._scheduler: Child | None = None
        self.workers: list[Child] = []

    @property
    def address(self) -> str:
        """Where clients and workers find the scheduler."""
        return f"tcp://127.0.0.1:{self._port}"

    def start(self) -> DaskCluster:
        """Start the scheduler."""
        self._scheduler = self._run("dask_scheduler", "--host", "127.0.0.1", "--port", str(self._port))
        ready = f"Scheduler at: {self.address}"
        self._scheduler.wait_until(
            lambda: any(ready in " ".join(line.split()) for line in self._said(self._scheduler)),
            "a scheduler",
        )
        return self

    def add_worker(self, **resources: int) -> Child:
        """Start a worker of one thread that declares these resources, and wait until it is registered."""
        declared = " ".join(f"{name}={count}" for name, count in resources.items())
        options = ["--resources", declared] if resources else []
        local = ["--host", "127.0.0.1", "--local-directory", str(self._folder)]
        worker = self._run("dask_worker", self.address, "--nthreads", "1", "--no-nanny", *local, *options)
        worker.wait_until(lambda: any("Registered to" in line for line in self._said(worker)), "a worker")
        self.workers.append(worker)
        return worker

    def stop(self) -> None:
        """End everything."""
        for child in (*self.workers, *([self._scheduler] if self._scheduler else [])):
            child.kill()

    def _run(self, module: str, *arguments: str) -> Child:
        log = self._folder / f"{module}-{len(self.workers)}.log"
        command = [sys.executable, "-m", f"distributed.cli.{module}", *arguments, "--no-dashboard"]
        return Child(command, log)

    @staticmethod
    def _said(child: Child | None) -> list[str]:
        return [] if child is None else child.log.read_text(errors="replace").splitlines()
