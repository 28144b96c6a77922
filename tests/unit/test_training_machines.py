"""TF_CONFIG, the meeting of machines, shares of a batch, and on what a training says that it computes."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.commands.cli import main
from galago_edge.contract.errors import CallerError, GalagoError, LinkError, Reason
from galago_workstation.data.batches import Batches, Witness, trained_batch
from galago_workstation.data.feed import ChangedInputs
from galago_workstation.training import roll_call, trained_on
from galago_workstation.training.machines import Machines, read_machines
from galago_workstation.training.roll_call import Meeting, meet
from galago_workstation.training.trained_on import unused_gpu
from real_parts.processes import wait_for

PAIR = ["10.0.0.1:2222", "10.0.0.2:2222"]


def tf_config(cluster: Any, kind: str = "worker", index: Any = 0) -> dict[str, str]:
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


def test_machines_are_counted_from_the_chief() -> None:
    second = read_machines(tf_config({"worker": PAIR}, index=1))
    assert second is not None
    assert (second.addresses, second.own, second.chief) == (tuple(PAIR), 1, False)
    behind = read_machines(tf_config({"worker": PAIR, "chief": ["[::1]:7"]}, index=0))
    assert behind is not None
    assert (behind.addresses[0], behind.own, behind.tasks[1]) == (
        "[::1]:7",
        1,
        "/job:worker/replica:0/task:0",
    )


@pytest.mark.parametrize(
    "environment", [{}, {"TF_CONFIG": " "}, tf_config({"worker": PAIR[:1]})], ids=["none", "empty", "one"]
)
def test_without_others_there_is_no_cluster(environment: dict[str, str]) -> None:
    assert read_machines(environment) is None


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"TF_CONFIG": "{worker"}, "malformed"),
        ({"TF_CONFIG": '{"cluster": {}}'}, "missing required field `task`"),
        ({"TF_CONFIG": '{"task": {"type": "worker", "index": 0}}'}, "missing required field `cluster`"),
        (tf_config({"worker": PAIR}, index=2), "worker 2, which cluster does not name"),
        (tf_config({"worker": PAIR}, index=-1), ">= 0"),
        (tf_config({"worker": PAIR}, kind="chief"), "chief 0, which cluster does not name"),
        (tf_config({"worker": PAIR, "ps": ["a:1"]}), "'ps'"),
        (tf_config({"worker": PAIR, "chief": ["a:1", "b:1"]}), "2 chiefs"),
        (tf_config({"worker": ["10.0.0.1", "10.0.0.2:1"]}), "'10.0.0.1', expected HOST:PORT"),
        (tf_config({"worker": ["a:0", "b:1"]}), "'a:0', expected HOST:PORT"),
        (tf_config({"worker": ["a:1", "a:1"]}), "a:1 twice"),
    ],
)
def test_a_wrong_tf_config_is_one_line_before_anything_is_done(
    environment: dict[str, str], said: str
) -> None:
    result = CliRunner().invoke(main, ["train", "none.toml"], env=environment)
    assert result.exit_code == 2
    error, hint = result.output.splitlines()
    assert said in error and error.endswith("[CONFIG_BAD]") and "TF_CONFIG is like" in hint


@given(st.text() | st.dictionaries(st.text(), st.lists(st.text())).map(json.dumps))
def test_whatever_tf_config_says_is_read_or_refused(text: str) -> None:
    try:
        read_machines({"TF_CONFIG": text})
    except CallerError as error:
        assert error.reason == Reason.CONFIG_BAD


def local_machines(count: int = 2) -> list[Machines]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    addresses = (f"127.0.0.1:{port}", *(f"127.0.0.1:{number}" for number in range(1, count)))
    return [Machines(addresses, number) for number in range(count)]


class Call:
    """One machine's side of the meeting, in a thread."""

    def __init__(self, machines: Machines, key: str = "same", state: bytes = b"") -> None:
        self.lines: list[str] = []
        self.result: bytes | GalagoError | None = None
        self._arguments = (machines, key, state)
        self.meeting: Meeting | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.meeting = meet(*self._arguments, self.lines.append)
            self.result = self.meeting.state
        except GalagoError as error:
            self.result = error

    def cut(self) -> None:
        """End the connections, as its death would."""
        assert self.meeting is not None
        for link in self.meeting._links.values():
            link.close()

    def ended(self) -> bytes | GalagoError | None:
        self._thread.join(60)
        return self.result


def test_all_machines_get_the_state_of_the_chief_when_the_last_has_come() -> None:
    chief, second, third = local_machines(3)
    state = bytes(range(256)) * 5_000
    calls = [Call(third), Call(chief, state=state)]
    wait_for(lambda: calls[1].lines, "the chief")
    assert calls[1].lines == ["waits for machine 2 (127.0.0.1:1), machine 3 (127.0.0.1:2)"]
    assert [call.result for call in calls] == [None, None]
    calls.append(Call(second))
    assert [call.ended() for call in calls] == [state] * 3
    all_of_them = [parted(call.meeting) for call in calls]
    wait_for(lambda: all_of_them == [[None]] * 3, "all machines")


def parted(meeting: Meeting | None) -> list[LinkError | None]:
    """Let a machine part in a thread; the list gets what comes of it."""
    assert meeting is not None
    came: list[LinkError | None] = []

    def part() -> None:
        try:
            meeting.part()
        except LinkError as error:
            came.append(error)
        else:
            came.append(None)

    threading.Thread(target=part, daemon=True).start()
    return came


def test_nobody_goes_before_all_are_done() -> None:
    chief, second, third = (Call(one) for one in local_machines(3))
    for call in (chief, second, third):
        call.ended()
    early = [parted(second.meeting), parted(chief.meeting)]
    assert early == [[], []]
    late = parted(third.meeting)
    wait_for(lambda: [*early, late] == [[None]] * 3, "all machines")


def test_a_machine_is_told_when_the_chief_ends_before_the_run_is_kept() -> None:
    chief, second = (Call(one) for one in local_machines())
    assert chief.ended() == second.ended() == b""
    waiting = parted(second.meeting)
    chief.cut()
    (error,) = wait_for(lambda: waiting, "the end")
    assert error is not None and error.reason == Reason.WORKER_LOST


def test_machines_that_would_train_something_else_are_refused_everywhere() -> None:
    chief, second = local_machines()
    for result in [call.ended() for call in (Call(chief), Call(second, key="other"))]:
        assert isinstance(result, CallerError) and result.reason == Reason.CONFIG_BAD
        assert "machine 2 (127.0.0.1:1) has another configuration" in str(result)


def test_who_only_looks_at_the_port_is_no_machine_and_one_that_died_must_come_again() -> None:
    chief, second = local_machines()
    call = Call(chief, state=b"state")
    wait_for(lambda: call.lines, "the chief")
    host, _, port = chief.addresses[0].rpartition(":")
    for said in (b"GET / HTTP/1.1\r\n", b'{"machine": 9, "task": ""}\n', b""):
        with socket.create_connection((host, int(port))) as link:
            link.sendall(said)
            link.shutdown(socket.SHUT_WR)
    other = Call(second)
    assert other.ended() == b"state" == call.ended()
    both = [parted(one.meeting) for one in (call, other)]
    wait_for(lambda: both == [[None], [None]], "both machines")


def test_a_machine_that_does_not_come_is_one_line_on_each_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roll_call, "WAIT_S", 0.2)
    for machines, lacking in zip(local_machines(), ("machine 2 (127.0.0.1:1)", "machine 1 ("), strict=True):
        result = Call(machines).ended()
        assert isinstance(result, LinkError) and result.reason == Reason.WORKER_LOST
        assert str(result).startswith(lacking) and "did not come" in str(result)


def test_a_port_that_is_taken_is_one_line() -> None:
    chief = local_machines()[0]
    with socket.create_server(("", int(chief.addresses[0].rpartition(":")[2]))):
        result = Call(chief).ended()
    assert isinstance(result, LinkError) and result.reason == Reason.TRANSPORT


class CountingFeed:
    """Inputs that tell which sample they are, and in which epoch."""

    def __len__(self) -> int:
        return 30

    def plain(self, indices: Any) -> Any:
        return np.array([[index, 0] for index in indices.tolist()], np.uint8)

    def name(self, index: int) -> str:
        return f"sample {index}"

    def augmented(self, epoch: int, indices: Any, begin: Any = None) -> ChangedInputs:
        inputs = np.array([[index, epoch] for index in indices.tolist()], np.uint8)
        return ChangedInputs(inputs, indices.copy(), np.ones(len(indices), np.float32))


def shares(replicas: int, own: range | None = None) -> list[list[tuple[int, int]]]:
    feed = CountingFeed()
    batches = Batches(
        feed, [0] * 30, classes=2, batch_size=12, seed=3, witness=Witness(feed), replicas=replicas, own=own
    )
    return [[(int(a), int(b)) for a, b in inputs] for inputs, _ in batches.of(range(2))]


def test_the_shares_of_all_devices_are_the_batch_of_one() -> None:
    whole = shares(1)
    first, second = shares(2, range(1)), shares(2, range(1, 2))
    assert [a + b for a, b in zip(first, second, strict=True)] == whole
    both = shares(2)
    assert [a + b for a, b in zip(both[::2], both[1::2], strict=True)] == whole


@given(st.integers(1, 300), st.integers(2, 300), st.integers(1, 16))
def test_every_share_is_even(wanted: int, samples: int, replicas: int) -> None:
    if samples < 2 * replicas and replicas > 1:
        with pytest.raises(CallerError, match="too few"):
            trained_batch(wanted, samples, replicas)
        return
    batch = trained_batch(wanted, samples, replicas)
    assert batch % (2 * replicas) == 0 and batch <= samples
    assert batch <= wanted or batch == 2 * replicas


def fake(root: Path, *, driver: bool = True, pci: bool = True) -> Path:
    for number, (vendor, kind) in enumerate([("0x8086", "0x030000"), ("0x10de", "0x040300")]):
        put(root / f"sys/bus/pci/devices/{number}", vendor, kind)  # Intel's display, NVIDIA's sound
    if pci:
        put(root / "sys/bus/pci/devices/2", "0x10de", "0x030200")
    if driver:
        (root / "sys/module/nvidia").mkdir(parents=True)
        (root / "sys/module/nvidia/version").write_text("570.1\n")
    return root


def put(folder: Path, vendor: str, kind: str) -> None:
    folder.mkdir(parents=True)
    (folder / "vendor").write_text(vendor + "\n")
    (folder / "class").write_text(kind + "\n")


@pytest.mark.parametrize(
    ("driver", "pci", "cuda", "lacking", "visible", "said"),
    [
        (True, False, True, [], None, "no GPU is seen here; one needs NVIDIA's driver and pip install"),
        (False, True, True, [], None, "its driver is not loaded; install NVIDIA's driver"),
        (True, True, False, [], None, "built without CUDA; pip install 'tensorflow[and-cuda]'"),
        (True, True, True, ["nvidia-cudnn-cu12"], None, "not installed (nvidia-cudnn-cu12); pip install"),
        (True, True, True, ["a", "b", "c", "d"], None, "not installed (a, b and 2 more); pip install"),
        (True, True, True, [], None, "TensorFlow cannot open it (driver 570.1); update"),
        (True, True, True, [], "-1", "CUDA_VISIBLE_DEVICES='-1' hides it; unset"),
        (True, True, True, [], "", "CUDA_VISIBLE_DEVICES='' hides it; unset"),
    ],
)
def test_a_gpu_that_is_not_used_says_why_and_what_it_takes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    driver: bool,
    pci: bool,
    cuda: bool,
    lacking: list[str],
    visible: str | None,
    said: str,
) -> None:
    monkeypatch.setattr(trained_on, "_lacking_libraries", lambda: lacking)
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    line = unused_gpu(
        built_with_cuda=cuda, root=fake(tmp_path, driver=driver, pci=pci), environment=environment
    )
    assert said in line and "\n" not in line


def test_the_libraries_that_a_gpu_needs_are_those_that_tensorflow_names() -> None:
    named: Callable[[], list[str]] = trained_on._lacking_libraries
    assert all(package.startswith("nvidia-") for package in named())


@pytest.mark.parametrize(
    "command", [("retrain", "run", "--with", "new"), ("sweep", "c.toml", "--seeds", "2")]
)
def test_what_one_machine_does_alone_is_refused_on_several(
    monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    cluster = {"worker": ["127.0.0.1:2222", "127.0.0.1:2223"]}
    task = {"type": "worker", "index": 1}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2, result.output
    assert f"galago {command[0]} trains on one machine, TF_CONFIG names 2 [CONFIG_BAD]" in result.output
