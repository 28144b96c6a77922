"""A microphone through PortAudio, in the child.

The child sends ``Sound`` as it comes, and ``Overrun`` before samples that do not follow on those before.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from galago_edge.children.channel import MAX_PAYLOAD
from galago_edge.contract.errors import DeviceError, LinkError, Reason
from galago_edge.host.extras import import_extra
from galago_edge.sources.capture.capture_messages import MicrophoneDescription, Order, Overrun, Sound
from galago_edge.sources.capture.frame_server import ParentLink
from galago_edge.sources.hardware import alsa_card

_BLOCKS_PER_S = 25
"""Each costs two processes some work, and as much delay as it is long."""
_KEPT_S = 10
_LOOK_S = 0.1
"""How long a silent device may keep the end of the parent unseen."""
_NS_PER_S = 1_000_000_000
_SAMPLE_BYTES = 2
_USUAL_RATES_HZ = (48_000, 44_100, 16_000, 32_000, 96_000, 8_000)
_DEFAULT = "default"


def run(link: ParentLink, order: Order) -> None:
    """Open the microphone that ``order`` names and send its samples.

    Raises:
        ParentGoneError: The parent is gone; the device is closed.
        LinkError: SOURCE_MISSING, SOURCE_LOST.
        DeviceError: EXTRA_MISSING.
    """
    sounddevice = _import_sounddevice()
    name = order.target
    try:
        device = pick(name, _inputs(sounddevice))
        rate_hz, channels = _format(sounddevice, device, order)
    except sounddevice.PortAudioError as error:
        raise _missing(name, f"cannot be opened ({_first_line(error)})") from None
    recorder = Recorder(rate_hz, channels)
    try:
        stream = sounddevice.RawInputStream(
            samplerate=rate_hz,
            blocksize=rate_hz // _BLOCKS_PER_S,
            device=device.index,
            channels=channels,
            dtype="int16",
            latency="high",
            dither_off=True,
            callback=recorder.take,
        )
        stream.start()
    except sounddevice.PortAudioError as error:
        raise _missing(name, f"cannot be opened ({_first_line(error)})") from None
    try:
        link.opened(MicrophoneDescription(name=device.name, rate_hz=rate_hz, channels=channels))
        recorder.send(link, lambda: bool(stream.active), name)
    finally:
        stream.abort(ignore_errors=True)
        stream.close(ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Input:
    """One device that PortAudio can record from."""

    index: int
    """PortAudio's number, good for this process only."""
    name: str
    channels: int
    rate_hz: int
    """Its default."""
    default: bool = False


def pick(name: str, inputs: Sequence[Input], card: int | None = None) -> Input:
    """Return the one device that ``name`` means.

    ``default``, a name or link below ``/dev/snd/by-id`` or ``by-path``, an ALSA card id, a device's name or
    a part of it that no other name has.

    Raises:
        LinkError: SOURCE_MISSING; none or several fit.
    """
    if name == _DEFAULT:
        found = [one for one in inputs if one.default]
    else:
        card = alsa_card(name) if card is None else card
        found = [one for one in inputs if card is not None and f"(hw:{card}," in one.name]
        found = found[:1]  # a card's first device is its microphone
        found = found or [one for one in inputs if one.name.lower() == name.lower()][:1]
        found = found or [one for one in inputs if name.lower() in one.name.lower()]
    if len(found) == 1:
        return found[0]
    names = ", ".join(one.name for one in (found or inputs)) or "none"
    what = "fits several devices" if found else "is not there"
    raise LinkError(
        Reason.SOURCE_MISSING,
        f"microphone {name} {what}; {'they are' if found else 'there are'}: {names}",
        hint="galago doctor shows microphones with their stable names",
    )


class Recorder:
    """Between PortAudio's thread and the one that sends."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        """Prepare for one stream."""
        self._rate_hz, self._channels = rate_hz, channels
        self._blocks: queue.SimpleQueue[tuple[int, int, bytes]] = queue.SimpleQueue()
        self._next = 0
        self._end_ns = 0

    def take(self, data: Any, frames: int, times: Any, status: Any) -> None:
        """PortAudio's callback: nothing here may wait, and nothing may be raised."""
        captured_ns = time.monotonic_ns() - frames * _NS_PER_S // self._rate_hz
        if status.input_overflow and self._next:  # the driver lost some, it does not say how many
            lost = (captured_ns - self._end_ns) * self._rate_hz // _NS_PER_S
            self._next += max(1, lost)
        self._end_ns = captured_ns + frames * _NS_PER_S // self._rate_hz
        self._blocks.put((self._next, captured_ns, bytes(data)))
        self._next += frames
        while self._blocks.qsize() > _KEPT_S * _BLOCKS_PER_S:  # nobody keeps up: the oldest go
            try:
                self._blocks.get_nowait()
            except queue.Empty:
                break

    def send(self, link: ParentLink, active: Any, name: str) -> None:
        """Send what comes until the parent is gone.

        Raises:
            ParentGoneError: It is gone.
            LinkError: SOURCE_LOST; the device stopped.
        """
        frame_bytes = _SAMPLE_BYTES * self._channels
        most = MAX_PAYLOAD // frame_bytes * frame_bytes
        expected, end_ns = 0, 0
        while True:
            link.asked()  # notices when nobody is there
            try:
                first, captured_ns, data = self._blocks.get(timeout=_LOOK_S)
            except queue.Empty:
                if active():
                    continue
                raise LinkError(
                    Reason.SOURCE_LOST, f"microphone {name} stopped", hint="check its cable"
                ) from None
            if first > expected:
                link.tell(Overrun(from_ns=end_ns, to_ns=max(end_ns, captured_ns)))
            for at in range(0, len(data), most):
                skipped = at // frame_bytes
                ns = captured_ns + skipped * _NS_PER_S // self._rate_hz
                link.tell(Sound(first_sample=first + skipped, captured_ns=ns), data[at : at + most])
            expected = first + len(data) // frame_bytes
            end_ns = captured_ns + (expected - first) * _NS_PER_S // self._rate_hz


def _import_sounddevice() -> Any:
    try:
        return import_extra("sounddevice", "microphone", "a microphone")
    except OSError:  # the module is there, the library that it wraps is not
        raise DeviceError(
            Reason.EXTRA_MISSING,
            "a microphone needs the PortAudio library, which is not installed",
            hint="apt-get install libportaudio2",
        ) from None


def _inputs(sounddevice: Any) -> list[Input]:
    default = sounddevice.default.device[0]
    return [
        Input(
            index,
            str(device["name"]),
            int(device["max_input_channels"]),
            int(device["default_samplerate"]),
            index == default,
        )
        for index, device in enumerate(sounddevice.query_devices())
        if device["max_input_channels"] > 0
    ]


def _format(sounddevice: Any, device: Input, order: Order) -> tuple[int, int]:
    """Return rate and channels: those that are declared, else the bundle's rate and one channel if it can."""
    declared = order.options
    usual = (order.rate_hz, device.rate_hz, *_USUAL_RATES_HZ)
    rates = [declared["rate"]] if "rate" in declared else [rate for rate in usual if rate]
    channels = [declared["channels"]] if "channels" in declared else sorted({1, 2, device.channels})
    channels = _with_channel(device, channels, declared.get("channel", 1))
    problem = ""
    for rate_hz in dict.fromkeys(rates):
        for count in channels:
            try:
                sounddevice.check_input_settings(device.index, count, "int16", None, rate_hz)
            except sounddevice.PortAudioError as error:
                problem = problem or _first_line(error)
            else:
                return rate_hz, count
    wanted = ", ".join(f"{name} {declared[name]}" for name in ("rate", "channels") if name in declared)
    raise _missing(device.name, f"cannot be opened{f' with {wanted}' if wanted else ''} ({problem})")


def _with_channel(device: Input, counts: list[int], channel: int) -> list[int]:
    """Return the numbers of channels among which there is this one."""
    if fitting := [count for count in counts if count >= channel]:
        return fitting
    raise LinkError(
        Reason.SOURCE_MISMATCH,
        f"channel {channel} is asked for, but microphone {device.name} has {max(counts)}",
        hint=f"channel=1 to channel={max(counts)}, or none for the mean of all",
    )


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:120]


def _missing(name: str, what: str) -> LinkError:
    return LinkError(
        Reason.SOURCE_MISSING,
        f"microphone {name} {what}",
        hint="check that it is plugged in and free, and that this user may record (group audio)",
    )
