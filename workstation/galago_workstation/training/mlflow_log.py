"""A training as a run of MLflow: settings, figures of every epoch, and the small files of the run folder.

A training that goes on begins another run of MLflow, which has the former epochs, too.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any
from urllib.parse import unquote

import msgspec
from msgspec import UNSET

from galago_edge.contract.errors import DeviceError, LinkError, Reason, system_words
from galago_edge.host.urls import HIDDEN, hide_credentials
from galago_workstation.files import read_json, write_json
from galago_workstation.run_folder import (
    CONFIG_FILE,
    CURVES_FILE,
    ENVIRONMENT_FILE,
    METRICS_FILE,
    RUN_FILE,
    Run,
)
from galago_workstation.training.curves import Epoch

EXPERIMENT = "galago"
"""Unless MLflow's own variable MLFLOW_EXPERIMENT_NAME names one."""
_IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""Left alone it tries for minutes where nobody answers; here later epochs try again. What is set stays."""
_FILES = (RUN_FILE, CONFIG_FILE, METRICS_FILE, CURVES_FILE, ENVIRONMENT_FILE)
_PARAMETERS, _METRICS = 100, 1_000
"""So many of them MLflow takes in one request."""
_LONGEST = 6_000
"""Characters of a parameter that MLflow takes."""
_SAID = 300
"""Characters of what MLflow says of a failure."""
MLFLOW_FILE = "mlflow.json"
"""In a run folder: which run of MLflow it is."""
_UNFIT = re.compile(r"[^/\w.\- :]")
"""Characters that MLflow refuses in a name."""


class MlflowPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Content of ``RUN/mlflow.json``."""

    run: str
    """Id of the run of MLflow."""


class MlflowLog:
    """One run of MLflow, made with the first epoch.

    Args:
        uri: Of a server, or of a store in a database.
        name: Of the run.
        settings: By key, as ``train.epochs``.
        tags: More about it.

    Raises:
        DeviceError: EXTRA_MISSING; the package is not installed.
    """

    def __init__(self, uri: str, name: str, settings: Mapping[str, str], tags: Mapping[str, str]) -> None:
        for variable, value in _IMPATIENT.items():
            os.environ.setdefault(variable, value)
        self._library = mlflow_library()
        self.title = f"MLflow at {hide_credentials(uri)}"
        self._uri, self._name = uri, name
        self._settings, self._tags = sorted(settings.items()), tags
        self._client: Any = None
        self._run = ""

    def write(self, epochs: Sequence[Epoch]) -> None:
        """Write all figures of these epochs; the step is the epoch, from 1."""
        with secrets_kept(self._uri):
            self._write(epochs)

    def finish(self, run: Run | None) -> None:
        """Add what the run came to and its small files, and close it: ``FAILED`` without one."""
        if run is not None or self._run:  # else nothing was trained
            with secrets_kept(self._uri):
                self._finish(run)

    def _write(self, epochs: Sequence[Epoch]) -> None:
        self._begin()
        metric, now = self._library.entities.Metric, time.time_ns() // 1_000_000
        self._send(
            [
                metric(name, float(value), now, epoch.epoch)
                for epoch in epochs
                for name, value in asdict(epoch).items()
                if name != "epoch" and value is not None
            ]
        )

    def _finish(self, run: Run | None) -> None:
        self._begin()
        if run is None:
            self._client.set_terminated(self._run, "FAILED")
            return
        result, metric = run.record.result, self._library.entities.Metric
        best = {"best_epoch": result.best_epoch, "best_validation_accuracy": result.validation_accuracy}
        if result.validation_balanced is not UNSET:
            best["best_validation_balanced"] = result.validation_balanced
        now = time.time_ns() // 1_000_000
        self._send([metric(name, float(value), now, result.best_epoch) for name, value in best.items()])
        for name in _FILES:
            self._client.log_artifact(self._run, str(run.path / name))
        self._client.set_terminated(self._run, "FINISHED")
        write_json(run.path / MLFLOW_FILE, MlflowPlace(run=self._run))

    def _begin(self) -> None:
        """Make the run and send its settings, unless that is done."""
        if not self._run:
            client = self._library.MlflowClient(tracking_uri=self._uri)
            wanted = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
            found = client.get_experiment_by_name(wanted)
            experiment = client.create_experiment(wanted) if found is None else found.experiment_id
            run = client.create_run(experiment, run_name=self._name, tags=dict(self._tags))
            self._client, self._run = client, run.info.run_id
        param = self._library.entities.Param
        while self._settings:
            some = self._settings[:_PARAMETERS]
            params = [param(_UNFIT.sub("_", key), value[:_LONGEST]) for key, value in some]
            self._client.log_batch(self._run, params=params)
            self._settings = self._settings[_PARAMETERS:]

    def _send(self, metrics: Sequence[Any]) -> None:
        for start in range(0, len(metrics), _METRICS):
            self._client.log_batch(self._run, metrics=metrics[start : start + _METRICS])


def send_report(run: Run, uri: str, files: Sequence[str], figures: Mapping[str, float]) -> None:
    """Add files of a run folder, and figures, to the run of MLflow that its training made.

    Raises:
        InputError: RUN_BAD; the training made none.
        DeviceError: EXTRA_MISSING; the package is not installed.
        LinkError: TRANSPORT; what MLflow said.
    """
    hint = "only a run that was trained with --mlflow has one there"
    place = read_json(run.path / MLFLOW_FILE, MlflowPlace, hint=hint)
    library = mlflow_library()
    with secrets_kept(uri):
        client, now = library.MlflowClient(tracking_uri=uri), time.time_ns() // 1_000_000
        metrics = [library.entities.Metric(name, value, now, 0) for name, value in figures.items()]
        client.log_batch(place.run, metrics=metrics)
        for name in files:
            client.log_artifact(place.run, str(run.path / name))


@contextlib.contextmanager
def secrets_kept(uri: str) -> Iterator[None]:
    """Raise what MLflow raises without user and password, which its messages quote.

    Raises:
        LinkError: TRANSPORT; what MLflow said.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 (MLflow and what it uses raise what they like)
        said = system_words(error)
        for secret in secrets_of(uri):
            said = said.replace(secret, HIDDEN)
        raise LinkError(Reason.TRANSPORT, said[:_SAID], hint="look at the server's log") from None


def secrets_of(uri: str) -> list[str]:
    """Return what of an address must not be shown, as it stands there and unescaped; longest first.

    >>> secrets_of("http://me:pass%2Fword@host/x?token=a")
    ['me:pass%2Fword', 'pass%2Fword', 'pass/word', 'token=a']
    """
    authority, _, rest = uri.partition("://")[2].partition("/")
    login = authority.rpartition("@")[0]
    password = login.partition(":")[2]
    found = {login, password, unquote(password), rest.partition("?")[2]}
    return sorted((one for one in found if one), key=lambda one: (-len(one), one))


def mlflow_library() -> Any:
    """Return the package, with ``MlflowClient`` and ``entities``.

    Raises:
        DeviceError: EXTRA_MISSING; it is not installed.
    """
    try:
        import mlflow
        import mlflow.entities
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "mlflow":
            raise  # installed but broken: say so
        raise DeviceError(
            Reason.EXTRA_MISSING,
            "logging to MLflow needs the Python module mlflow, which is not installed",
            hint='pip install "galago[mlflow]"',
        ) from None
    return mlflow
