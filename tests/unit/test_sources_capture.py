"""Capture children: what hangs is killed, what dies is told, and the newest frame wins."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from galago_edge.children import stragglers
from galago_edge.contract.errors import CallerError, DeviceError, LinkError, Reason
from galago_edge.contract.settings import SourceSettings
from galago_edge.contract.streams import Frame
from galago_edge.sources import open_capture, parse_source
from galago_edge.sources.capture import capture_process
from galago_edge.sources.capture.connection import connect
from galago_edge.sources.capture.frame_capture import FrameCapture
from galago_edge.sources.capture.frame_server import Turns
from galago_edge.sources.source_kind import Address

FOREVER_S = 60.0
"""A deadline that is met only when something is broken."""

DEVICE = """
import ctypes, os, sys, time
from pathlib import Path
from galago_edge.contract.errors import DeviceError, LinkError, Reason
from galago_edge.sources.capture import capture_child
from galago_edge.sources.capture import frame_server
from galago_edge.sources.capture.capture_messages import CameraDescription

class Device:
    def __init__(self, folder):
        Path(folder, "pid").write_text(str(os.getpid()))
        print("chatter about", folder, file=sys.stderr, flush=True)
        self.gate, self.done = os.open(f"{folder}/gate", os.O_RDONLY), os.open(f"{folder}/done", os.O_WRONLY)
        self.frames = 0

    def grab(self):
        if self.frames:
            os.write(self.done, b".")  # all that the frame before was good for is done
        GRAB
        self.frames += 1

    def wait(self):
        if not os.read(self.gate, 1):
            raise LinkError(Reason.SOURCE_LOST, "unplugged", hint="plug it in")

    def retrieve(self, memory):
        side = 8 * self.frames  # another size with every frame
        size = side * side * 3
        memory.room(size)[:size] = bytes([self.frames]) * size
        return [side, side, 3], 0

def run(link):
    order = link.order()
    OPEN
    device = Device(order.target)
    device.link = link
    link.opened(CameraDescription(name=order.shown, width=8, height=8))
    frame_server.serve(link, device, order.fps)

capture_child.run = run
capture_child.main()
"""
HANGS = "time.sleep(1000)"
HANGS_HOLDING_EVERYTHING = "ctypes.PyDLL(None).sleep(1000)"  # the interpreter lock too: no thread runs


def program(grab: str = "", open: str = "pass") -> tuple[str, ...]:
    """A child whose device does ``grab`` for every frame that it is given, and ``open`` before it opens."""
    script = DEVICE.replace("GRAB", f"self.wait(); {grab}").replace("OPEN", open)
    return ("-c", script)


class Camera:
    """A camera whose frames the test gives, in a child process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        os.mkfifo(folder / "gate")
        os.mkfifo(folder / "done")
        # both ends are open here, so that nobody waits for the other side
        self.gate = os.open(folder / "gate", os.O_RDWR)
        self.done = os.open(folder / "done", os.O_RDWR)
        self.captures: list[FrameCapture] = []

    def open(self, grab: str = "", open: str = "pass", **settings: float) -> FrameCapture:
        address = Address("camera", str(self.folder), {})
        given = SourceSettings(address="x", **{"open_s": FOREVER_S} | settings)
        capture = connect(address, given, None, program=program(grab, open))
        assert isinstance(capture, FrameCapture)
        self.captures.append(capture)
        return capture

    def give(self, frames: int = 1) -> None:
        os.write(self.gate, b"." * frames)

    def show(self, capture: FrameCapture) -> Frame:
        """Give a frame that is waited for."""
        assert capture.read(0) is None  # asks
        self.give()
        return read(capture)

    def close_gate(self) -> None:
        """Let the camera see that nobody gives any more."""
        os.close(self.gate)
        self.gate = -1

    def wait_until_done(self, frames: int) -> None:
        left = frames
        while left:
            left -= len(os.read(self.done, left))

    @property
    def pid(self) -> int:
        return int((self.folder / "pid").read_text())

    def close(self) -> None:
        if self.gate >= 0:
            self.close_gate()  # ends what waits for it
        for capture in self.captures:
            capture.close()
        os.close(self.done)


@pytest.fixture
def camera(tmp_path: Path) -> Iterator[Camera]:
    camera = Camera(tmp_path)
    yield camera
    camera.close()


def is_there(pid: int) -> bool:
    """Whether a process lives; one that ended and that nobody looked after yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + FOREVER_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def read(capture: FrameCapture) -> Frame:
    frame = capture.read(FOREVER_S)
    assert frame is not None
    return frame


def test_a_frame_comes_over_whole_with_its_time(camera: Camera) -> None:
    capture = camera.open()
    before_ns = time.monotonic_ns()
    camera.give()
    frame = read(capture)
    assert before_ns <= frame.captured_ns <= time.monotonic_ns()
    assert frame.index == 0 and frame.encoded is None
    np.testing.assert_array_equal(frame.pixels, np.full((8, 8, 3), 1, np.uint8))
    described = {"kind": "camera", "name": str(camera.folder), "width": 8, "height": 8}
    assert list(capture.description().items()) == list(described.items())  # a record begins with it


def test_frames_of_changing_size_come_over_whole_and_stay_what_they_were(camera: Camera) -> None:
    capture = camera.open()
    frames = []
    for _ in range(12):
        frames.append(camera.show(capture))
    for number, frame in enumerate(frames, 1):
        np.testing.assert_array_equal(frame.pixels, np.full((8 * number, 8 * number, 3), number, np.uint8))
    frames[0].pixels[:] = 0  # it is the receiver's own


def test_of_the_frames_that_nobody_asked_for_the_newest_wins_and_the_index_jumps(camera: Camera) -> None:
    capture = camera.open()
    camera.give()
    assert read(capture).index == 0
    camera.give(5)
    camera.wait_until_done(6)
    assert capture.read(0) is None  # asks
    camera.give()
    frame = read(capture)
    assert frame.index == 6
    assert frame.pixels[0, 0, 0] == 7


def test_a_slow_camera_gives_none_in_between_and_loses_nothing(camera: Camera) -> None:
    capture = camera.open()
    for index in range(3):
        assert capture.read(0.01) is None
        assert camera.show(capture).index == index


@pytest.mark.parametrize("hang", [HANGS, HANGS_HOLDING_EVERYTHING])
def test_a_read_that_never_returns_is_waited_for_no_longer_than_asked_and_killed(
    hang: str, camera: Camera
) -> None:
    capture = camera.open(grab=hang)
    camera.give()
    assert capture.read(0.1) is None
    assert is_there(camera.pid)
    capture.close()
    assert not is_there(camera.pid)


@pytest.mark.parametrize("hang", [HANGS, HANGS_HOLDING_EVERYTHING])
def test_an_open_that_never_returns_is_a_missing_source_and_killed(hang: str, camera: Camera) -> None:
    note = f"Path({str(camera.folder)!r}, 'pid').write_text(str(os.getpid())); {hang}"
    for open_s in (1, 8, 64):  # a busy machine may need longer to come as far as where it hangs
        with pytest.raises(LinkError, match=f"was not open after {open_s} s") as caught:
            camera.open(open=note, open_s=open_s)
        assert caught.value.reason is Reason.SOURCE_MISSING
        if (camera.folder / "pid").exists():
            break
    assert not is_there(camera.pid)


@pytest.mark.parametrize("hang", ["", HANGS, HANGS_HOLDING_EVERYTHING])
def test_a_child_dies_with_its_parent_whatever_it_hangs_in(hang: str, camera: Camera) -> None:
    opener = """
import os, sys
from galago_edge.contract.settings import SourceSettings
from galago_edge.sources.source_kind import Address
from galago_edge.sources.capture.connection import connect
folder, *program = sys.argv[1:]
settings = SourceSettings(address="x", open_s=60)
capture = connect(Address("camera", folder, {}), settings, None, program=program)
print("open", flush=True)
sys.stdin.read()
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", opener, str(camera.folder), *program(grab=hang)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with parent:
        assert parent.stdout is not None and parent.stdout.readline() == b"open\n"
        camera.give()  # what hangs does so now
        parent.kill()
    wait_until(lambda: not is_there(camera.pid), "the child outlives its parent")


def test_a_child_outlives_the_thread_that_opened_it(camera: Camera) -> None:
    thread = threading.Thread(target=camera.open)
    thread.start()
    thread.join()
    camera.give()
    assert read(camera.captures[0]).index == 0


def test_signals_to_the_whole_group_do_not_end_a_capture(camera: Camera) -> None:
    capture = camera.open()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(capture.pid, number)
    camera.give()
    assert read(capture).index == 0
    assert os.getpgid(capture.pid) != os.getpgid(0)


def test_a_crash_of_the_driver_is_a_lost_source_that_says_so(camera: Camera) -> None:
    capture = camera.open(grab="os.kill(os.getpid(), 11)")
    camera.give()
    with pytest.raises(LinkError, match="was ended by SIGSEGV") as caught:
        capture.read(FOREVER_S)
    assert caught.value.reason is Reason.SOURCE_LOST


def test_a_fault_of_our_own_in_the_child_is_one_line_too(camera: Camera) -> None:
    capture = camera.open(grab="no_such_thing")
    camera.give()
    with pytest.raises(LinkError, match="capture process: NameError") as caught:
        capture.read(FOREVER_S)
    assert caught.value.reason is Reason.SOURCE_LOST and "\n" not in str(caught.value)


def test_a_capture_may_not_take_the_devices_memory_and_says_so(camera: Camera) -> None:
    capture = camera.open(grab="bytearray(2 << 30)")
    [line] = [
        line
        for line in Path(f"/proc/{capture.pid}/limits").read_text().splitlines()
        if line.startswith("Max address space")
    ]
    assert 1 << 30 <= int(line.split()[3]) <= (1 << 30) + (256 << 20)
    camera.give()
    with pytest.raises(LinkError, match="needs more than 1024 MB of memory") as caught:
        capture.read(FOREVER_S)
    assert caught.value.reason is Reason.SOURCE_MISMATCH


def test_what_the_device_gave_last_is_read_before_its_end(camera: Camera) -> None:
    capture = camera.open()
    assert capture.read(0) is None  # asks
    camera.give()
    camera.close_gate()
    assert read(capture).index == 0
    with pytest.raises(LinkError, match="unplugged") as caught:
        read(capture)
    assert (caught.value.reason, caught.value.hint) == (Reason.SOURCE_LOST, "plug it in")


def test_a_missing_library_is_the_devices_fault_not_the_links(camera: Camera) -> None:
    with pytest.raises(DeviceError, match="no cv2") as caught:
        camera.open(open='raise DeviceError(Reason.EXTRA_MISSING, "no cv2", hint="pip install it")')
    assert caught.value.reason is Reason.EXTRA_MISSING and caught.value.hint == "pip install it"


def test_credentials_are_in_no_argument_no_environment_no_message_and_no_chatter(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    url = "rtsp://admin:hunter2@127.0.0.1/live?token=hunter2"
    marker = tmp_path / "seen"
    look = (
        "own = open('/proc/self/cmdline').read() + open('/proc/self/environ').read(); "
        f"Path({str(marker)!r}).write_text('leak' if 'hunt' 'er2' in own else 'clean'); "
        "print(order.target, file=sys.stderr); raise OSError(order.target + ' cannot be opened')"
    )
    with pytest.raises(LinkError) as caught:
        settings = SourceSettings(address="x", open_s=FOREVER_S)
        connect(parse_source(f"camera:{url}"), settings, None, program=program(open=look))
    assert marker.read_text() == "clean"
    assert "rtsp://***@127.0.0.1/live cannot be opened" in str(caught.value)
    assert "hunter2" not in f"{caught.value}{caught.value.hint}{capfd.readouterr()}"


def test_opening_and_closing_leaves_nothing_behind(camera: Camera) -> None:
    def left() -> tuple[int, int]:
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    camera.open().close()
    before = left()
    for _ in range(4):
        capture = camera.open()
        camera.give()
        read(capture)
        capture.close()
        capture.close()
        assert not is_there(capture.pid)

    def as_before() -> bool:  # what has just ended may still be there for a moment
        return all(now <= then for now, then in zip(left(), before, strict=True))

    wait_until(as_before, f"{left()} is left, not {before}")
    wait_until(lambda: stragglers.reap() == 0, "those that were slow to end")


def test_a_child_that_the_kernel_does_not_end_is_left_and_looked_after_later(
    camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture_process, "_POLITE_S", 0.01)
    monkeypatch.setattr(capture_process, "_KILLED_S", 0.01)
    capture = camera.open(grab=HANGS)
    camera.give()
    process = capture._process._child._process
    monkeypatch.setattr(process, "kill", lambda: None)  # as if stuck inside a driver
    # its lifeline must not end it either
    stdin, process.stdin = process.stdin, None
    capture.close()
    assert stragglers.reap() == 1
    os.kill(capture.pid, signal.SIGKILL)
    wait_until(lambda: stragglers.reap() == 0, "the child is not looked after")
    assert stdin is not None
    stdin.close()


def test_what_the_slim_children_load_is_slim() -> None:
    code = """
import sys
import galago_edge.sources.capture.capture_child
import galago_edge.sources.capture.{part}
print(*(name.partition(".")[0] for name in sys.modules))
"""
    for part, heavy in (
        ("mjpeg", {"numpy", "cv2", "cryptography", "ai_edge_litert", "click", "sounddevice"}),
        ("microphone", {"numpy", "cv2", "cryptography", "ai_edge_litert", "click"}),
        ("camera", {"cryptography", "ai_edge_litert", "click", "sounddevice"}),
    ):
        out = subprocess.check_output([sys.executable, "-c", code.format(part=part)], text=True)
        assert not heavy & set(out.split()), part


def test_at_most_the_declared_rate_counts_and_a_pause_is_not_caught_up() -> None:
    turns = Turns(5.0)
    jitter = np.random.default_rng(3).integers(-4_000_000, 4_000_000, 300)
    counted = [index for index in range(300) if turns.due(int(index * 33_333_333 + jitter[index]))]
    assert 49 <= len(counted) <= 51  # ten seconds
    assert set(np.diff(counted)) <= {5, 6, 7}
    after_s = [3600.0 + index / 30 for index in range(30)]
    assert sum(turns.due(round(s * 1e9)) for s in after_s) in (5, 6)


def test_a_camera_at_the_declared_rate_loses_no_frame_to_its_jitter() -> None:
    turns = Turns(30.0)
    jitter = np.random.default_rng(4).integers(-1_500_000, 1_500_000, 300)
    assert all(turns.due(int(index * 33_333_333 + jitter[index])) for index in range(300))


def test_frames_above_the_declared_rate_are_not_counted_as_dropped(camera: Camera) -> None:
    capture = camera.open(fps=0.001)
    camera.give(20)
    assert read(capture).index == 0
    camera.wait_until_done(20)
    assert capture.read(0) is None  # asks
    camera.give(5)
    camera.wait_until_done(5)
    assert capture.read(0) is None  # the next one counts in a thousand seconds


@pytest.mark.parametrize("text", ["clip.avi", "night.wav", ".", "pipe:-"])
def test_what_ends_for_good_is_no_live_source(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("clip.avi", "night.wav"):
        Path(name).touch()
    with pytest.raises(CallerError, match="expected what can be reopened") as caught:
        open_capture(parse_source(text), SourceSettings(address="x"), rate_hz=16_000)
    assert caught.value.reason is Reason.CONFIG_BAD


@pytest.mark.parametrize(
    "device", ["987", "/dev/no-such-camera", "/dev/null", pytest.param("/dev/\udcff", id="no UTF-8")]
)
def test_a_device_that_is_no_camera_is_a_missing_source(
    device: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(LinkError, match=r"there is no camera /dev/|cannot be opened") as caught:
        open_capture(parse_source(f"camera:{device}"), SourceSettings(address="x"))
    assert caught.value.reason is Reason.SOURCE_MISSING
    assert caught.value.hint
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("said", [b"nonsense\n", b'{"type":"overrun","from_ns":1,"to_ns":2}\n'])
@pytest.mark.parametrize("opened", [False, True])
def test_a_child_that_says_what_makes_no_sense_is_a_lost_source(
    said: bytes, opened: bool, camera: Camera
) -> None:
    say = f"link._channel._link.send({said!r})"
    with pytest.raises(LinkError, match="said what makes no sense") as caught:
        if opened:
            capture = camera.open(grab=f"self.{say}")
            camera.give()
            capture.read(FOREVER_S)
        else:
            camera.open(open=say)
    assert caught.value.reason is (Reason.SOURCE_LOST if opened else Reason.SOURCE_MISSING)
