"""The devices that learn together: one, all GPUs of this machine, or those of several machines.

It is one training for all of them (docs/adr/0021-one-loop-for-all-devices.md): a batch is divided into equal
shares, each device has a replica of the network and learns from its share, and what they found is summed up
before anything changes. So all replicas stay the same network.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from galago_workstation.training.machines import Machines

_SEED_STATE = "seed_generator_state"  # Keras' name of what a dropout layer counts
_SEED_STEP = 1_000_003


class Replicas:
    """The devices of one training.

    Args:
        tf: TensorFlow.
        strategy: Keeps the replicas of all variables.
        machines: All machines and which one this is; None: this one alone.
    """

    def __init__(self, tf: Any, strategy: Any, machines: Machines | None) -> None:
        self._tf = tf
        self.strategy = strategy
        self.machines = machines
        self.count = int(strategy.num_replicas_in_sync)
        """Devices of all machines."""
        here = self.count // (1 if machines is None else len(machines.addresses))
        first = 0 if machines is None else machines.own * here
        self.own = range(first, first + here)
        """Those of this machine."""

    @property
    def chief(self) -> bool:
        """Whether this machine writes what is kept."""
        return self.machines is None or self.machines.chief

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Make the variables of the block on every device."""
        with self.strategy.scope():
            yield

    def batches(self, shares: Any) -> Any:
        """Return an iterator of what a step takes.

        Args:
            shares: A dataset of the shares of this machine's devices, one after the other, which has as many
                as will ever be asked for: the machines do not tell each other when theirs is over.
        """
        endless = shares.apply(
            self._tf.data.experimental.assert_cardinality(self._tf.data.INFINITE_CARDINALITY)
        )
        return iter(self.strategy.distribute_datasets_from_function(lambda _: endless))

    def prepare(self, network: Any) -> None:
        """Let batch norm see the whole batch, and each device draw its own random numbers.

        Called again after the network's variables were set. With one device nothing changes.
        """
        if self.count == 1:
            return
        for layer in _layers(network):
            if isinstance(layer, self._tf.keras.layers.BatchNormalization):
                layer.synchronized = True
        states = [variable for variable in network.variables if variable.path.endswith(_SEED_STATE)]

        def of_replica() -> None:
            device = self._tf.distribute.get_replica_context().replica_id_in_sync_group
            for state in states:
                step = self._tf.cast(device, state.value.dtype) * _SEED_STEP
                state.assign(state.value + self._tf.stack([step, self._tf.zeros_like(step)]))

        if states:
            self._tf.function(lambda: self.strategy.run(of_replica))()

    def agreed(self, values: Sequence[npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float32]]:
        """Return the means over all devices of what each has: the same everywhere, to the last bit."""
        if self.count == 1:
            return list(values)
        tf = self._tf

        def means() -> list[Any]:
            here = tf.distribute.get_replica_context()
            return [here.all_reduce(tf.distribute.ReduceOp.MEAN, tf.constant(value)) for value in values]

        found = tf.function(lambda: self.strategy.run(means))()
        return [self.strategy.experimental_local_results(mean)[0].numpy() for mean in found]


def open_replicas(tf: Any, machines: Machines | None) -> Replicas:
    """Return the devices that are here: all GPUs; where there is none, the processor.

    TensorFlow must not have been used before where there are several machines. It then waits for them.

    Args:
        tf: TensorFlow.
        machines: What ``TF_CONFIG`` says.
    """
    if machines is not None:
        return Replicas(tf, tf.distribute.MultiWorkerMirroredStrategy(), machines)
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) == 1:
        return Replicas(tf, tf.distribute.get_strategy(), None)
    return Replicas(tf, tf.distribute.MirroredStrategy([device.name for device in devices]), None)


def _layers(network: Any) -> Iterator[Any]:
    """Yield all layers, those of networks inside it too."""
    for layer in network.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from _layers(layer)
