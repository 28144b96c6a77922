"""A program for each record: what it is given, what its end means, and that nothing of it outlives it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from galago_edge.children import program_run
from galago_edge.sinks.kinds import program_sink
from galago_edge.sinks.kinds.program_sink import SINK, ProgramSender, ProgramSettings
from galago_edge.sinks.sink_kind import ReceiverParts
from galago_edge.sinks.spool import Entry, Spool
from real_parts import wait_for

EVENT = {
    "v": 1, "kind": "event", "stream": "hall", "seq": 0, "label": "smoke", "score": 0.93, "start_index": 0,
    "end_index": 1, "start_ns": 0, "end_ns": 1, "bundle": "b", "backend": "cpu",
    "wall_ns": 1_795_349_926_372_714_733, "clock_synced": True,
}  # fmt: skip


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program_sink, "_FIRST_PAUSE_S", 0.01)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool", "porch", {"program": ("event",)}, max_bytes=1 << 20, sync_s=5.0)
    opened.lock()
    opened.load()
    yield opened
    opened.close()


@contextmanager
def running(spool: Spool, command: list[str], **settings: Any) -> Iterator[ProgramSender]:
    """A sender that runs this."""
    table = {"command": command, "backoff_max_s": 0.02, "timeout_s": 100.0} | settings
    parts = ReceiverParts("program", "porch", "1", spool)
    sender = ProgramSender(msgspec.convert(table, ProgramSettings), parts)
    sender.start()
    try:
        yield sender
    finally:
        sender.stop(30.0)


def add(spool: Spool, count: int = 1, **changes: Any) -> None:
    for number in range(count):
        line = json.dumps(EVENT | {"seq": number} | changes).encode() + b"\n"
        spool.append([Entry("event", line, synced=True)])


def shell(script: str, *arguments: str) -> list[str]:
    return ["/bin/sh", "-c", script, "sh", *arguments]


def delivered(sender: ProgramSender, count: int = 1) -> None:
    wait_for(lambda: sender.status().delivered == count, f"{count} delivered records")


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


# ---- what it is given


def test_it_finds_the_record_on_its_standard_input_as_one_line_of_json(spool: Spool, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with running(spool, shell('cat >> "$1"', str(out))) as sender:
        add(spool, 2)
        delivered(sender, 2)
    lines = out.read_bytes().splitlines(keepends=True)
    assert [json.loads(line)["seq"] for line in lines] == [0, 1]
    assert all(line.endswith(b"\n") for line in lines)
    assert json.loads(lines[0])["key"].startswith("porch-")


def test_its_arguments_are_given_as_they_are_and_no_shell_reads_them(spool: Spool, tmp_path: Path) -> None:
    out = tmp_path / "out"
    odd = ["$HOME", "a b", "`id`", "*", "", "{label}", "'\"", "ü", "; touch /tmp/never"]
    program = "import json, sys; json.dump(sys.argv[2:], open(sys.argv[1], 'w'))"
    with running(spool, [sys.executable, "-c", program, str(out), *odd]) as sender:
        add(spool)
        delivered(sender)
    assert json.loads(out.read_text(encoding="utf-8")) == odd


def test_its_environment_holds_what_was_meant_for_it_and_no_secret_of_ours(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MQTT_PASSWORD", "hunter2")
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", "") or "/nowhere")
    monkeypatch.setenv("LC_TIME", "C.UTF-8")
    out = tmp_path / "out"
    with running(spool, shell('env -0 > "$1"', str(out)), environment={"DOOR": "back = 1"}) as sender:
        add(spool, label="smo\0ke\nfire", stream="")
        delivered(sender)
    found = dict(entry.split("=", 1) for entry in out.read_text(encoding="utf-8").split("\0") if entry)
    assert found["DOOR"] == "back = 1" and found["LC_TIME"] == "C.UTF-8"
    assert (found["GALAGO_LABEL"], found["GALAGO_STREAM"], found["GALAGO_SCORE"]) == (
        "smoke\nfire",
        "",
        "0.93",
    )
    assert found["GALAGO_TIME"] == "2026-11-22T12:18:46Z" and found["GALAGO_DEVICE"] == "porch"
    assert "hunter2" not in str(found) and "PYTHONPATH" not in found


def test_it_has_no_open_file_of_ours_its_own_session_and_the_usual_signals(
    spool: Spool, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    program = textwrap.dedent(
        """
        import json, os, signal, sys
        targets = {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
                   if os.path.exists(f"/proc/self/fd/{fd}")}
        status = [line.split() for line in open("/proc/self/status")]
        masks = [words[1] for words in status if words[0] in ("SigIgn:", "SigBlk:")]
        found = {"open": targets, "session": os.getsid(0), "pid": os.getpid(), "masks": masks,
                 "cwd": os.getcwd(), "score": open("/proc/self/oom_score_adj").read().strip()}
        json.dump(found, open(sys.argv[1], "w"))
        """
    )
    secret = tmp_path / "secret"
    secret.write_text("x", encoding="utf-8")
    with secret.open("rb") as held, ignored(signal.SIGHUP):
        os.set_inheritable(held.fileno(), True)
        with running(
            spool, ["/usr/bin/env", "-i", sys.executable, "-I", "-S", "-c", program, str(out)]
        ) as sender:
            add(spool)
            delivered(sender)
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["session"] == found["pid"] and found["cwd"] == "/" and found["score"] == "500"
    assert str(secret) not in found["open"].values()
    # standard input, output and error, the lifeline, which is a pipe, and what python opens itself
    kinds = [target.partition(":")[0] for target in found["open"].values()]
    assert kinds.count("pipe") == 3 and "socket" not in kinds
    # Python ignores two by itself; 32 and 33 are the C library's own, which no program can set
    # through it (signal(7), "real-time signals"), so that one ignored by our parent stays so.
    not_ours = {signal.SIGPIPE, signal.SIGXFSZ, 32, 33}
    told = {n for mask in found["masks"] for n in range(1, 65) if int(mask, 16) >> (n - 1) & 1}
    assert told - not_ours == set()


@contextmanager
def ignored(number: signal.Signals) -> Iterator[None]:
    """As nohup leaves a process: what it starts inherits it."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, before)


def test_sigpipe_ends_it_as_it_would_from_a_shell(spool: Spool) -> None:
    with running(spool, shell("kill -PIPE $$"), tries=1) as sender:
        add(spool)
        wait_for(lambda: sender.status().lost == 1, "the record to be given up")
        assert "SIGPIPE" in sender.status().fault


def test_it_need_not_read_what_it_is_given_however_long_that_is(spool: Spool) -> None:
    with running(spool, ["/bin/true"]) as sender:
        add(spool, label="x" * 500_000)
        delivered(sender)


# ---- what its end means


def test_exit_code_0_acknowledges_and_any_other_is_tried_again(spool: Spool, tmp_path: Path) -> None:
    tries = tmp_path / "tries"
    script = 'echo x >> "$1"; [ $(wc -l < "$1") -ge 3 ] || { echo; echo "no door: $2" >&2; exit 7; }'
    with running(spool, shell(script, str(tries), "back"), tries=5) as sender:
        add(spool)
        delivered(sender)
        assert tries.read_text(encoding="utf-8") == "x\n" * 3
        status = sender.status()
        assert (status.state, status.fault, status.pending, status.lost) == ("ok", "", 0, 0)


def test_the_first_line_that_it_prints_is_shown_as_its_fault(spool: Spool) -> None:
    script = 'echo; echo "  no door  " >&2; echo more; exit 7'
    with running(spool, shell(script), tries=1_000) as sender:
        add(spool)
        wait_for(lambda: sender.status().fault, "the fault")
        assert sender.status().fault == "sh ended with exit code 7: no door"
        assert sender.status().state == "retrying"


def test_a_record_with_which_it_failed_so_often_is_given_up_and_the_next_one_follows(spool: Spool) -> None:
    script = "grep -q '\"seq\": *1' || exit 3"
    with running(spool, shell(script), tries=2) as sender:
        add(spool, 2)
        delivered(sender)
        status = sender.status()
        assert (status.lost, status.pending) == (1, 0)


def test_what_it_prints_without_end_is_read_and_forgotten(spool: Spool, tmp_path: Path) -> None:
    script = 'yes "a long line of output" | head -c 50000000; exit 4'
    with running(spool, shell(script), tries=1_000) as sender:
        add(spool)
        wait_for(lambda: sender.status().fault, "its end")
        assert sender.status().fault.endswith("exit code 4: a long line of output")


@pytest.mark.parametrize("command", [["/nowhere/alarm"], ["no-such-program-here"], ["/etc/passwd"], ["/"]])
def test_a_program_that_is_not_there_needs_a_person_and_loses_nothing(
    spool: Spool, command: list[str]
) -> None:
    with running(spool, command, tries=1) as sender:
        add(spool)
        wait_for(lambda: sender.status().state == "failed", "the fault")
        assert sender.status().fault == f"there is no program {command[0]} that this user may run"
        assert (sender.status().pending, sender.status().lost) == (1, 0)


def test_a_file_that_is_no_program_is_told(spool: Spool, tmp_path: Path) -> None:
    script = tmp_path / "alarm"
    script.write_text("echo forgot the first line\n", encoding="utf-8")
    script.chmod(0o755)
    with running(spool, [str(script)], tries=1_000) as sender:
        add(spool)
        wait_for(lambda: sender.status().fault, "the fault")
        assert sender.status().fault == "alarm ended with exit code 126: cannot be run: Exec format error"


# ---- its time


def test_it_is_killed_with_everything_that_it_started_when_its_time_is_over(
    spool: Spool, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    script = 'echo $$ >> "$1"; sleep 1000 & echo $! >> "$1"; trap "" TERM; echo waits; sleep 1000'
    with running(spool, shell(script, str(pids)), timeout_s=0.5, tries=1) as sender:
        add(spool)
        wait_for(lambda: sender.status().lost == 1, "the record to be given up")
        assert sender.status().fault.startswith("sh did not end within 0.5 s: waits; record porch-")
    started = [int(pid) for pid in pids.read_text(encoding="utf-8").split()]
    assert len(started) == 2
    wait_for(lambda: not any(map(alive, started)), "its processes to be gone")


def test_what_it_leaves_behind_ends_with_it_and_holds_nobody_up(spool: Spool, tmp_path: Path) -> None:
    """Also where the one that is left holds the output open."""
    pids = tmp_path / "pids"
    with running(spool, shell('sleep 1000 & echo $! >> "$1"', str(pids))) as sender:
        add(spool, 2)
        delivered(sender, 2)
    started = [int(pid) for pid in pids.read_text(encoding="utf-8").split()]
    wait_for(lambda: not any(map(alive, started)), "its processes to be gone")


def test_a_service_that_ends_ends_it_and_runs_it_again_after_the_next_start(
    spool: Spool, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    with running(spool, shell('echo $$ >> "$1"; exec sleep 1000', str(pids)), tries=1) as sender:
        add(spool)
        wait_for(lambda: pids.exists() and pids.read_text(encoding="utf-8"), "it to run")
    wait_for(lambda: not alive(int(pids.read_text(encoding="utf-8"))), "it to be gone")
    assert (sender.status().pending, sender.status().lost) == (1, 0)
    with running(spool, ["/bin/true"]) as again:
        delivered(again)


def test_it_dies_with_the_service_however_that_ends(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = 'echo $$ >> "$1"; sleep 1000 & echo $! >> "$1"; wait'
    code = (
        "import sys\n"
        "from galago_edge.children.program_run import program_environment, run_program\n"
        f"command = ['/bin/sh', '-c', {script!r}, 'sh', {str(pids)!r}]\n"
        "run_program('/bin/sh', command, b'{}', program_environment({}), 1000.0, lambda: False)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as service:
        wait_for(lambda: pids.exists() and pids.read_text(encoding="utf-8").count("\n") == 2, "both to run")
        service.kill()
    started = [int(pid) for pid in pids.read_text(encoding="utf-8").split()]
    wait_for(lambda: not any(map(alive, started)), "both to be gone")


def test_nothing_is_left_open_after_many_runs(spool: Spool) -> None:
    with running(spool, ["/bin/true"]) as sender:
        add(spool)
        delivered(sender)
        before = len(list(Path("/proc/self/fd").iterdir()))
        add(spool, 10)
        delivered(sender, 11)
        assert len(list(Path("/proc/self/fd").iterdir())) <= before


# ---- its table


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"command": "aplay alarm.wav"}, "Expected `array`, got `str`"),
        ({"command": []}, "length >= 1"),
        ({"command": [""]}, "command names no program"),
        ({"command": ["a\0b"]}, "NUL"),
        ({"command": ["x"], "environment": {"A=B": "1"}}, "'A=B' is no name of a variable"),
        ({"command": ["x"], "timeout_s": 0}, "> 0.0"),
        ({"command": ["x"], "shell": True}, "unknown field"),
        ({"command": ["x"], "name": "a/b"}, "matching regex"),
    ],
)
def test_what_could_never_be_run_is_refused(table: dict[str, Any], said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=said.replace(">", "[>]")):
        msgspec.convert(table, ProgramSettings)


def test_a_path_starts_at_the_folder_of_the_configuration_and_a_bare_name_does_not(tmp_path: Path) -> None:
    assert SINK.anchor is not None
    of = lambda *command: SINK.anchor(ProgramSettings(command=command), tmp_path).command  # noqa: E731
    assert of("./alarm.sh", "x") == (str(tmp_path / "alarm.sh"), "x")
    assert of("/opt/alarm.sh") == ("/opt/alarm.sh",)
    assert of("aplay", "alarm.wav") == ("aplay", "alarm.wav")


def test_the_doctor_says_whether_it_is_there_and_does_not_run_it(tmp_path: Path) -> None:
    assert SINK.check is not None
    (there,) = SINK.check(ProgramSettings(command=("sh",), name="door"))
    (gone,) = SINK.check(ProgramSettings(command=("/nowhere/alarm",)))
    assert (there.level, there.name) == ("ok", "program.door")
    assert (gone.level, gone.name) == ("fail", "program")


def test_its_settings_show_nothing_of_themselves() -> None:
    assert "hunter2" not in repr(ProgramSettings(command=("x", "hunter2"), environment={"A": "hunter2"}))


def test_the_environment_has_a_path_where_the_service_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PATH")
    assert "/usr/bin" in program_run.program_environment({})["PATH"]
