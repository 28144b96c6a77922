"""The control socket: who asks gets the status, whatever was left behind and whoever misbehaves."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from galago_edge.contract.errors import BusyError, CallerError, LinkError, Reason
from galago_edge.contract.status import ServiceStatus
from galago_edge.service.control import Control
from galago_edge.store.running_service import SOCKET_NAME, ask_status, check_free
from test_kit import make_service_status

DEADLINE_S = 30.0


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    with Control(tmp_path, make_service_status) as control:
        yield control


def raw_answer(root: Path, question: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(DEADLINE_S)
        client.connect(str(root / SOCKET_NAME))
        client.sendall(question)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(1 << 16), b""))


@pytest.mark.usefixtures("control")
def test_a_running_service_tells_its_whole_status(tmp_path: Path) -> None:
    assert ask_status(tmp_path) == make_service_status()


def test_without_a_service_there_is_no_status(tmp_path: Path) -> None:
    assert ask_status(tmp_path) is None


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    for call in (
        lambda: ask_status(tmp_path / "none"),
        Control(tmp_path / "none", make_service_status).start,
    ):
        with pytest.raises(CallerError, match="there is no folder") as caught:
            call()
        assert caught.value.reason is Reason.TARGET_UNKNOWN


def test_stopping_leaves_nothing_behind_and_the_store_can_be_served_again(tmp_path: Path) -> None:
    for _ in range(3):
        control = Control(tmp_path, make_service_status)
        control.start()
        assert ask_status(tmp_path) is not None
        control.stop()
        control.stop()
        assert list(tmp_path.iterdir()) == []
        assert ask_status(tmp_path) is None
    assert not [thread for thread in threading.enumerate() if thread.name == "control"]


@pytest.mark.usefixtures("control")
def test_a_second_service_on_the_same_store_is_refused_and_told_who_runs(tmp_path: Path) -> None:
    with pytest.raises(BusyError, match=rf"process {os.getpid()}") as caught:
        Control(tmp_path, make_service_status).start()
    assert caught.value.reason is Reason.LOCKED
    assert ask_status(tmp_path) is not None  # the first one goes on


def test_a_service_that_was_killed_leaves_no_status_and_does_not_block_the_next(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from galago_edge.service.control import Control\n"
        "Control(Path(sys.argv[1]), lambda: None).start()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=DEADLINE_S)
    assert (tmp_path / SOCKET_NAME).exists()
    assert ask_status(tmp_path) is None
    with Control(tmp_path, make_service_status):
        assert ask_status(tmp_path) is not None


def test_a_folder_deeper_than_a_socket_path_may_be_long_works(tmp_path: Path) -> None:
    root = tmp_path.joinpath(*["a" * 100] * 5)
    root.mkdir(parents=True)
    with Control(root, make_service_status):
        assert ask_status(root) == make_service_status()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_user_outside_the_group_is_told_so(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom galago_edge.store.running_service import ask_status\n"
        "os.chdir(sys.argv[1]); os.setgid(65534); os.setgroups([]); os.setuid(65534)\n"
        "try: ask_status(Path('.'))\nexcept Exception as error: print(error.reason, error)\n"
    )
    tmp_path.chmod(0o755)
    with Control(tmp_path, make_service_status):
        told = subprocess.check_output(
            [sys.executable, "-c", code, str(tmp_path)], text=True, timeout=DEADLINE_S
        )
    assert told == "IO this user may not ask the service that runs on .\n"


def test_the_group_may_ask_and_others_may_not(control: Control, tmp_path: Path) -> None:
    assert (tmp_path / SOCKET_NAME).stat().st_mode & 0o777 == 0o660


@pytest.mark.parametrize("question", [b"", b"reload\n", b"status", b"x" * 1000, b"\xff\n"], ids=repr)
@pytest.mark.usefixtures("control")
def test_another_question_is_answered_with_an_error_and_the_next_client_is_served(
    question: bytes, tmp_path: Path
) -> None:
    try:
        assert b'"error"' in raw_answer(tmp_path, question)
    except (BrokenPipeError, ConnectionResetError):
        assert len(question) > 64  # more than it reads: it may hang up first
    assert ask_status(tmp_path) is not None


@pytest.mark.usefixtures("control")
def test_a_client_that_says_nothing_delays_the_others_but_does_not_block_them(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(tmp_path / SOCKET_NAME))
        assert ask_status(tmp_path, timeout_s=DEADLINE_S) is not None


def test_more_who_ask_than_the_queue_holds_are_all_answered(tmp_path: Path) -> None:
    with Control(tmp_path, make_service_status), ThreadPoolExecutor(40) as pool:
        asked = [pool.submit(ask_status, tmp_path, timeout_s=DEADLINE_S) for _ in range(200)]
        assert all(answer.result() == make_service_status() for answer in asked)


@pytest.mark.usefixtures("control")
def test_clients_that_hang_up_at_once_do_not_end_the_control(tmp_path: Path) -> None:
    for _ in range(200):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / SOCKET_NAME))  # waits where the queue is full
            client.sendall(b"status\n")
    assert ask_status(tmp_path, timeout_s=DEADLINE_S) is not None


@pytest.mark.parametrize("how", ["RuntimeError: torn", "UnicodeEncodeError: "])
def test_a_service_that_cannot_tell_its_status_says_why_and_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    first = broken if "torn" in how else lambda: make_service_status(device="\ud800")
    answers: list[Callable[[], ServiceStatus]] = [first, make_service_status]
    with Control(tmp_path, lambda: answers.pop(0)()):
        with pytest.raises(LinkError, match=rf"process {os.getpid()}.*{how}") as caught:
            ask_status(tmp_path)
        assert caught.value.reason is Reason.SERVICE_SILENT
        assert ask_status(tmp_path) == make_service_status()
    assert "the status cannot be told" in caplog.text


def broken() -> ServiceStatus:
    raise RuntimeError("torn")


def test_a_service_that_hangs_is_told_from_one_that_does_not_run(tmp_path: Path) -> None:
    release = threading.Event()

    def hanging() -> ServiceStatus:
        release.wait(DEADLINE_S)
        return make_service_status()

    with Control(tmp_path, hanging):
        with pytest.raises(LinkError, match=r"no answer within 0\.2 s") as caught:
            ask_status(tmp_path, timeout_s=0.2)
        release.set()
    assert caught.value.reason is Reason.SERVICE_SILENT
    assert "systemctl restart" in caught.value.hint


@contextlib.contextmanager
def somebody_who_answers(root: Path, answer: bytes) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / SOCKET_NAME))
        listener.listen(1)

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(100)
                client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


@pytest.mark.parametrize(
    ("answer", "told"),
    [(b"", "without an answer"), (b"{}", "no status of this version"), (b"<html>", "no status")],
    ids=["nothing", "another version", "not JSON"],
)
def test_an_answer_that_is_no_status_is_said(answer: bytes, told: str, tmp_path: Path) -> None:
    with somebody_who_answers(tmp_path, answer), pytest.raises(LinkError, match=told) as caught:
        ask_status(tmp_path, timeout_s=DEADLINE_S)
    assert caught.value.reason is Reason.SERVICE_SILENT


def test_a_later_service_with_more_to_tell_is_still_understood(tmp_path: Path) -> None:
    """``galago`` was updated and the service not restarted yet, or the other way round."""
    told = msgspec.json.encode({**msgspec.to_builtins(make_service_status()), "invented_later": {"x": 1}})
    with somebody_who_answers(tmp_path, told):
        assert ask_status(tmp_path, timeout_s=DEADLINE_S) == make_service_status()


def test_the_end_does_not_wait_for_anybody(tmp_path: Path) -> None:
    control = Control(tmp_path, make_service_status)
    control.start()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(tmp_path / SOCKET_NAME))
        began = time.monotonic()
        control.stop()
        assert time.monotonic() - began < DEADLINE_S


def test_where_no_socket_can_be_made_the_store_is_taken_all_the_same_and_the_reason_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A worn card is read-only: a device that cannot be asked still watches."""
    (tmp_path / SOCKET_NAME).mkdir()  # whoever owns that name: it is not removed
    with Control(tmp_path, make_service_status) as control:
        assert control.fault is not None and control.fault.reason is Reason.IO
        assert "could not make the control socket" in str(control.fault) and str(control.fault) in caplog.text
        with pytest.raises(BusyError):
            Control(tmp_path, make_service_status).start()
    check_free(tmp_path)
    assert (tmp_path / SOCKET_NAME).is_dir()
