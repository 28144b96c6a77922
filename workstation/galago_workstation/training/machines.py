"""Which machines train together: what the environment variable ``TF_CONFIG`` says.

Source of its form: https://www.tensorflow.org/guide/distributed_training#setting_up_the_tf_config_environment_variable
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec

from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import CallerError, Reason

VARIABLE = "TF_CONFIG"
_JOBS = ("chief", "worker")  # the order in which TensorFlow numbers machines
_ADDRESS = re.compile(r"[^\s:/]+:[0-9]{1,5}|\[[0-9a-fA-F:.]+\]:[0-9]{1,5}")
_EXAMPLE = (
    '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", "index": 0}}'
)


@dataclass(frozen=True, slots=True)
class Machines:
    """The machines of one training, and which of them this is."""

    addresses: tuple[str, ...]
    """``HOST:PORT`` of each; the first one is the chief."""
    own: int
    """Which of them this one is, from 0."""
    tasks: tuple[str, ...] = ()
    """What TensorFlow calls each of them."""

    @property
    def chief(self) -> bool:
        """Whether this machine writes the run folder and the checkpoint."""
        return self.own == 0

    @property
    def said(self) -> str:
        """Which machine this is, for people.

        >>> Machines(("a:1", "b:1"), 1).said
        'machine 2 of 2'
        """
        return f"machine {self.own + 1} of {len(self.addresses)}"


class _Task(msgspec.Struct, frozen=True):
    type: str
    index: Annotated[int, msgspec.Meta(ge=0)]


class _TfConfig(msgspec.Struct, frozen=True):
    """Other keys are for other programs."""

    cluster: dict[str, list[str]]
    task: _Task


def read_machines(environment: Mapping[str, str]) -> Machines | None:
    """Return the machines that ``TF_CONFIG`` names; None when there is none, or only this one.

    Raises:
        CallerError: CONFIG_BAD; it is no JSON, lacks a key, names no address, or this machine is not in it.
    """
    text = environment.get(VARIABLE, "")
    if not text.strip():
        return None
    try:
        config = from_json(text, _TfConfig)
    except msgspec.DecodeError as error:
        raise _bad(str(error)) from None
    if others := sorted(set(config.cluster) - set(_JOBS)):
        raise _bad(f"cluster names {others[0]!r}, expected the jobs worker and chief only")
    if len(config.cluster.get("chief", [])) > 1:
        raise _bad(f"cluster names {len(config.cluster['chief'])} chiefs, expected one at most")
    numbered = [(job, index) for job in _JOBS for index in range(len(config.cluster.get(job, [])))]
    addresses = tuple(config.cluster[job][index] for job, index in numbered)
    for address in addresses:
        port = int(address.rpartition(":")[2]) if _ADDRESS.fullmatch(address) else 0
        if not 0 < port < 65_536:
            raise _bad(f"cluster names {address!r}, expected HOST:PORT")
        if addresses.count(address) > 1:
            raise _bad(f"cluster names {address} twice")
    own = (config.task.type, config.task.index)
    if own not in numbered:
        known = ", ".join(f"{job} {index}" for job, index in numbered) or "none"
        raise _bad(f"task is {own[0]} {own[1]}, which cluster does not name (it names {known})")
    tasks = tuple(f"/job:{job}/replica:0/task:{index}" for job, index in numbered)
    return Machines(addresses, numbered.index(own), tasks) if len(addresses) > 1 else None


def _bad(message: str) -> CallerError:
    return CallerError(
        Reason.CONFIG_BAD,
        f"{VARIABLE}: {message}",
        hint=f"{VARIABLE} is like {_EXAMPLE}, with another index on each machine; unset it to train alone",
    )


def refuse_several(environ: Mapping[str, str], command: str) -> None:
    """Refuse what one machine does alone.

    Raises:
        CallerError: CONFIG_BAD; the environment names several machines, or says so wrongly.
    """
    machines = read_machines(environ)
    if machines is not None:
        raise CallerError(
            Reason.CONFIG_BAD,
            f"{command} trains on one machine, {VARIABLE} names {len(machines.addresses)}",
            hint=f"unset {VARIABLE}; galago train is what several machines do together",
        )
