"""Several devices and several machines train what one does; one that dies ends all, and all go on."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pytest

from galago_workstation.run_folder import Run
from test_kit.hostile_data import encoded, picture

pytestmark = pytest.mark.slow

CONFIG = """
[data]
kind = "images"
folder = "pictures"
[preprocess]
kind = "image"
width = 8
height = 8
[model]
kind = "resnet"
filters = 4
stages = 1
[augment]
noise = 8
[train]
epochs = 4
min_steps = 0
batch_size = 16
average = 0.9
clip_norm = 1
class_weights = true
learning_rate = 0.02
"""
NOISE = 1e-4
"""Largest relative difference of a loss between one device and two: the order of sums, over eight steps."""

PROGRAM = """
import os, signal, sys
from pathlib import Path
from galago_converters.frameworks import import_tensorflow
from galago_edge.contract.errors import GalagoError
from galago_workstation.training import checkpoint_saver
from galago_workstation.training.machines import read_machines
from galago_workstation.training.progress import PlainProgress
from galago_workstation.training.training_run import train, train_along

config, out, devices, at, death = Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:6])
checkpoint_saver.SAVED_EVERY_S = 0.0
tf = import_tensorflow()
if devices > 1:
    processor = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * devices)

class Dying(PlainProgress):
    left = at
    def step(self):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), death)

progress = Dying(lambda line: print(line, flush=True))
machines = read_machines(os.environ)
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    if machines is None or machines.chief:
        train(config, out, progress, machines=machines)
    else:
        train_along(config, progress, machines)
except GalagoError as error:
    print(error.line, flush=True)
    os._exit(error.exit_code)
os._exit(0)
"""


CHANCE = """
import json, os, sys
from galago_converters.frameworks import import_tensorflow
from galago_workstation.training.replicas import open_replicas
tf = import_tensorflow()
processor = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
replicas = open_replicas(tf, None)
layers = tf.keras.layers
with replicas.scope():
    inner = tf.keras.Sequential([tf.keras.Input((8,)), layers.BatchNormalization()])
    network = tf.keras.Sequential([tf.keras.Input((8,)), inner, layers.Dropout(0.5, seed=3)])
replicas.prepare(network)
masks = replicas.strategy.run(lambda: network(tf.reshape(tf.range(32.0), (4, 8)), training=True) != 0)
masks = [mask.numpy().tolist() for mask in replicas.strategy.experimental_local_results(masks)]
print(json.dumps([masks, inner.layers[0].synchronized]))
sys.stdout.flush()
os._exit(0)
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for at, (label, count) in enumerate((("cat", 35), ("dog", 25))):
        (folder / "pictures" / label).mkdir(parents=True)
        for number in range(count):
            content = encoded(".png", picture(1_000 * at + number, 8, 8))
            (folder / "pictures" / label / f"{number}.png").write_bytes(content)
    path = folder / "c.toml"
    path.write_text(CONFIG)
    return path


def program(
    config: Path,
    out: Path,
    *,
    devices: int = 1,
    at: int = -1,
    death: int = 0,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.Popen[str]:
    return started([sys.executable, "-c", PROGRAM, config, out, devices, at, death], environment)


def started(command: list[object], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        list(map(str, command)),
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(*processes: subprocess.Popen[str]) -> list[tuple[int, str]]:
    """Return exit code and output of each."""
    try:
        outputs = [process.communicate(timeout=900)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, output) for process, output in zip(processes, outputs, strict=True)]


def two_machines() -> list[dict[str, str]]:
    """Return the environment of each, with ports that are free."""
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    addresses = [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]
    for server in servers:
        server.close()
    return [
        {
            "TF_CONFIG": json.dumps(
                {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            )
        }
        for index in range(2)
    ]


def curve(run: Path) -> npt.NDArray[np.float64]:
    """Return loss, validation loss and validation accuracy by epoch."""
    rows = csv.DictReader((run / "metrics.csv").read_text().splitlines())
    names = ("loss", "validation_loss", "validation_accuracy")
    return np.array([[float(row[name]) for name in names] for row in rows])


@pytest.fixture(scope="module")
def one(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give what one device comes to."""
    out = tmp_path_factory.mktemp("one") / "run"
    [(code, output)] = ended(program(config, out))
    assert code == 0, output
    yield out


def test_two_devices_train_what_one_does(config: Path, one: Path, tmp_path: Path) -> None:
    [(code, output)] = ended(program(config, tmp_path / "run", devices=2))
    assert code == 0 and "2 devices learn together" in output, output
    np.testing.assert_allclose(curve(tmp_path / "run"), curve(one), rtol=NOISE)


def test_each_device_drops_other_units_and_batch_norm_sees_the_whole_batch() -> None:
    [(code, output)] = ended(started([sys.executable, "-c", CHANCE], {}))
    assert code == 0, output
    (one, other), synchronized = json.loads(output.splitlines()[-1])
    assert one != other and synchronized


def test_a_machine_that_dies_ends_the_training_and_both_go_on_to_what_one_comes_to(
    config: Path, one: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    first, second = two_machines()
    (code, output), (death, _) = ended(
        program(config, out, environment=first),
        program(config, tmp_path / "none", environment=second, at=2 * 2 + 1, death=signal.SIGKILL),
    )
    assert death == -signal.SIGKILL
    assert code == 3 and "lost the connection to machine 2 (127.0.0.1:" in output, output
    assert output.rstrip().endswith("[WORKER_LOST]") and "Traceback" not in output

    command = [sys.executable, "-m", "galago_edge", "train", config, "--out"]
    first, second = two_machines()
    (code, output), (other, along) = ended(
        started([*command, out], first), started([*command, tmp_path / "none"], second)
    )
    assert (code, other) == (0, 0), output + along
    assert "goes on behind epoch 2" in output and "goes on behind epoch 2" in along
    assert "2 devices of 2 machines learn together, this is machine 2 of 2" in along
    assert along.splitlines()[-1].startswith("machine 2 of 2 is done; the run folder is on the first one")
    np.testing.assert_allclose(curve(out), curve(one), rtol=NOISE)
    assert Run.open(out).record.result.epochs == 4
    assert not (tmp_path / "none").exists() and not (tmp_path / "run.unfinished").exists()


def test_ctrl_c_on_one_machine_ends_all_of_them_well(config: Path, tmp_path: Path) -> None:
    config = config.with_name("mixed.toml")
    config.write_text(CONFIG + 'precision = "mixed_float16"\n')
    first, second = two_machines()
    (code, output), (other, along) = ended(
        program(config, tmp_path / "run", environment=first),
        program(config, tmp_path / "none", environment=second, at=3, death=signal.SIGINT),
    )
    assert (code, other) == (0, 0), output + along
    result = Run.open(tmp_path / "run").record.result
    assert result.interrupted and result.epochs == 2
