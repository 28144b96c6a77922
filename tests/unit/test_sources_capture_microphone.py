"""PortAudio in the child: which device a name means, at which rate it is opened, and what was lost."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from galago_edge.children.channel import Channel, Packet, channel_ends
from galago_edge.contract.errors import DeviceError, LinkError, Reason
from galago_edge.contract.settings import SourceSettings
from galago_edge.contract.streams import AudioBlock, Gap
from galago_edge.sources.capture import microphone
from galago_edge.sources.capture.capture_messages import (
    Captured,
    FromChild,
    MicrophoneDescription,
    Opened,
    Order,
)
from galago_edge.sources.capture.frame_server import ParentGoneError, ParentLink
from galago_edge.sources.capture.microphone import Input, Recorder, pick
from galago_edge.sources.capture.sound_capture import SoundCapture
from galago_edge.sources.source_kind import Address

INPUTS = [
    Input(0, "bcm2835 Headphones: - (hw:0,0)", 2, 44_100),
    Input(2, "USB PnP Sound Device: Audio (hw:1,0)", 1, 48_000),
    Input(3, "USB PnP Sound Device: Audio (hw:2,0)", 1, 48_000),
    Input(4, "ReSpeaker 4 Mic Array: USB Audio (hw:3,0)", 6, 16_000),
    Input(5, "pulse", 32, 44_100),
    Input(6, "default", 32, 44_100, default=True),
]


@pytest.mark.parametrize(
    ("name", "card", "index"),
    [
        ("default", None, 6),
        ("pulse", None, 5),
        ("respeaker", None, 4),
        ("ReSpeaker 4 Mic Array: USB Audio (hw:3,0)", None, 4),
        ("/dev/snd/by-id/usb-C-Media_USB_PnP_Sound_Device-00", 2, 3),
        ("Device_1", 2, 3),
        ("/dev/snd/by-path/platform-usb-0:1.3:1.0", 1, 2),
    ],
)
def test_a_name_means_one_device(name: str, card: int | None, index: int) -> None:
    assert pick(name, INPUTS, card).index == index


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("USB PnP", r"fits several devices; they are: USB PnP .*\(hw:1,0\), USB PnP .*\(hw:2,0\)$"),
        ("no such", "is not there; there are: bcm2835 .*, default$"),
    ],
)
def test_a_name_that_means_none_or_several_is_refused_with_those_there_are(name: str, says: str) -> None:
    with pytest.raises(LinkError, match=says) as caught:
        pick(name, INPUTS)
    assert caught.value.reason is Reason.SOURCE_MISSING


def test_without_any_microphone_default_is_missing() -> None:
    with pytest.raises(LinkError, match="microphone default is not there; there are: none"):
        pick("default", [])


def order(rate_hz: int | None, options: dict[str, int]) -> Order:
    return Order(
        kind="microphone",
        target="mic",
        shown="mic",
        options=options,
        fps=None,
        rate_hz=rate_hz,
        open_s=10.0,
        stall_s=5.0,
    )


class FakeSounddevice:
    """Takes the given rates and numbers of channels."""

    class PortAudioError(Exception):
        pass

    def __init__(self, takes: set[tuple[int, int]]) -> None:
        self.takes = takes

    def check_input_settings(self, device: int, channels: int, dtype: str, extra: Any, rate_hz: int) -> None:
        if (rate_hz, channels) not in self.takes:
            raise self.PortAudioError("Invalid sample rate\nmore of it")


@pytest.mark.parametrize(
    ("takes", "options", "wanted", "chosen"),
    [
        ({(16_000, 1), (48_000, 1)}, {}, 16_000, (16_000, 1)),
        ({(48_000, 1), (44_100, 1)}, {}, 16_000, (48_000, 1)),
        ({(44_100, 2)}, {}, 16_000, (44_100, 2)),
        ({(96_000, 6)}, {}, None, (96_000, 6)),
        ({(16_000, 1), (48_000, 1)}, {"rate": 48_000}, 16_000, (48_000, 1)),
        ({(16_000, 1), (16_000, 4)}, {"channels": 4}, 16_000, (16_000, 4)),
        ({(16_000, 1), (16_000, 2)}, {"channel": 2}, 16_000, (16_000, 2)),
        ({(16_000, 2), (16_000, 6)}, {"channel": 3}, 16_000, (16_000, 6)),
    ],
)
def test_the_bundles_rate_and_one_channel_are_taken_where_the_device_can(
    takes: set[tuple[int, int]], options: dict[str, int], wanted: int | None, chosen: tuple[int, int]
) -> None:
    device = Input(0, "mic", 6, 48_000)
    assert microphone._format(FakeSounddevice(takes), device, order(wanted, options)) == chosen


def test_a_declared_rate_that_the_device_cannot_is_refused() -> None:
    declared = order(16_000, {"rate": 44_100})
    with pytest.raises(LinkError, match=r"cannot be opened with rate 44100 \(Invalid sample rate\)"):
        microphone._format(FakeSounddevice({(48_000, 1)}), Input(0, "mic", 1, 48_000), declared)


@pytest.mark.parametrize(("options", "has"), [({"channel": 7}, 6), ({"channels": 2, "channel": 3}, 2)])
def test_a_channel_that_the_device_does_not_have_is_refused(options: dict[str, int], has: int) -> None:
    device = Input(0, "mic", 6, 48_000)
    with pytest.raises(LinkError, match=f"asked for, but microphone mic has {has}") as caught:
        microphone._format(FakeSounddevice({(16_000, 6)}), device, order(16_000, options))
    assert caught.value.reason is Reason.SOURCE_MISMATCH


def test_a_missing_portaudio_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*given: str) -> Any:
        raise OSError("PortAudio library not found")

    monkeypatch.setattr(microphone, "import_extra", missing)
    with pytest.raises(DeviceError, match="PortAudio") as caught:
        microphone._import_sounddevice()
    assert caught.value.reason is Reason.EXTRA_MISSING and "libportaudio2" in caught.value.hint


class Ears:
    """A recorder whose device is played by the test, and the parent that listens to it."""

    def __init__(self, channels: int = 1) -> None:
        ours, theirs = channel_ends()
        self.recorder = Recorder(1_000, channels)
        self.link, self.ours, self.theirs = ParentLink(theirs), ours, theirs
        self.channel: Channel[FromChild] = Channel(ours, FromChild)
        self.channels = channels

    def hear(self, first: int, frames: int, *, overflow: bool = False) -> None:
        """The driver's callback with samples that count up from ``first``."""
        samples = np.repeat(np.arange(first, first + frames), self.channels).astype("<i2")
        self.recorder.take(samples.tobytes(), frames, None, SimpleNamespace(input_overflow=overflow))

    def given(self, channel: int | None = None) -> list[AudioBlock | Gap]:
        """What the parent gets, up to the device's stop."""
        sender = threading.Thread(target=self._send)
        sender.start()
        described = MicrophoneDescription(name="mic", rate_hz=1_000, channels=self.channels)
        capture = SoundCapture(self, described, channel)  # type: ignore[arg-type]
        assert capture.description().get("channel") == channel
        items: list[AudioBlock | Gap] = []
        with pytest.raises(EOFError):
            while True:
                item = capture.read(0)
                assert item is not None
                items.append(item)
        sender.join()
        self.ours.close()
        return items

    def _send(self) -> None:
        with pytest.raises(LinkError, match="microphone mic stopped"):
            self.recorder.send(self.link, lambda: False, "mic")
        self.theirs.close()

    def receive(self, timeout_s: float) -> Packet[Opened | Captured]:
        """As a child gives it."""
        packet = self.channel.receive()
        assert isinstance(packet.message, Opened | Captured)
        return Packet(packet.message, packet.payload, packet.fds)


def test_samples_arrive_in_order_with_the_time_of_the_first() -> None:
    ears = Ears()
    before_ns = time.monotonic_ns()
    ears.hear(0, 20)
    ears.hear(20, 20)
    after_ns = time.monotonic_ns()
    first, second = ears.given()
    assert isinstance(first, AudioBlock) and isinstance(second, AudioBlock)
    assert (first.first_sample, second.first_sample, first.rate_hz) == (0, 20, 1_000)
    np.testing.assert_array_equal(np.concatenate([first.samples, second.samples]), np.arange(40))
    assert before_ns <= first.captured_ns + 20_000_000 <= after_ns


def test_channels_become_their_mean() -> None:
    ears = Ears(channels=4)
    ears.hear(5, 3)
    (block,) = ears.given()
    assert isinstance(block, AudioBlock)
    np.testing.assert_array_equal(block.samples, [5, 6, 7])


def test_one_channel_is_taken_where_it_is_named() -> None:
    ears = Ears(channels=2)
    samples = np.array([[1, 10], [2, 20]], "<i2")
    ears.recorder.take(samples.tobytes(), 2, None, SimpleNamespace(input_overflow=False))
    (block,) = ears.given(channel=2)
    assert isinstance(block, AudioBlock)
    np.testing.assert_array_equal(block.samples, [10, 20])


def test_a_long_block_is_sent_in_pieces_that_join() -> None:
    ears = Ears(channels=32)
    ears.hear(0, 8_000)
    blocks = ears.given()
    assert len(blocks) > 1 and all(isinstance(block, AudioBlock) for block in blocks)
    np.testing.assert_array_equal(
        np.concatenate([block.samples for block in blocks if isinstance(block, AudioBlock)]), np.arange(8_000)
    )
    ends = [(b.first_sample, b.captured_ns) for b in blocks if isinstance(b, AudioBlock)]
    assert all((ns - ends[0][1]) == first * 1_000_000 for first, ns in ends)


def test_samples_that_the_driver_lost_are_a_gap_and_the_index_jumps() -> None:
    ears = Ears()
    ears.hear(0, 20)
    end_ns = ears.recorder._end_ns
    ears.recorder._end_ns -= 500_000_000  # half a second passes
    ears.hear(20, 20, overflow=True)
    first, gap, second = ears.given()
    assert isinstance(first, AudioBlock) and isinstance(gap, Gap) and isinstance(second, AudioBlock)
    assert gap.cause == "overrun" and gap.to_ns == max(gap.from_ns, second.captured_ns)
    assert gap.from_ns == first.captured_ns + 20_000_000 == end_ns
    assert second.first_sample >= 20 + 480


def test_an_overflow_before_the_first_sample_is_no_loss() -> None:
    ears = Ears()
    ears.hear(0, 20, overflow=True)
    (block,) = ears.given()
    assert isinstance(block, AudioBlock) and block.first_sample == 0


def test_when_nobody_keeps_up_the_oldest_go_and_are_a_gap() -> None:
    ears = Ears()
    kept = microphone._KEPT_S * microphone._BLOCKS_PER_S
    for number in range(kept + 100):
        ears.hear(number % 1000, 1)
    gap, first, *rest = ears.given()
    assert isinstance(gap, Gap) and isinstance(first, AudioBlock)
    assert (gap.cause, first.first_sample, len(rest)) == ("overrun", 100, kept - 1)


def test_the_end_of_the_parent_ends_a_silent_microphone() -> None:
    ears = Ears()
    ears.ours.close()
    with pytest.raises(ParentGoneError):
        ears.recorder.send(ears.link, lambda: True, "mic")
    ears.theirs.close()


def test_a_microphone_that_is_not_there_is_a_missing_source_without_chatter(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from galago_edge.sources import open_capture

    (tmp_path / "asoundrc").write_text("pcm.!default { type null }\n")
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(tmp_path / "asoundrc"))
    monkeypatch.setenv("HOME", os.devnull)
    address = Address("microphone", "no such microphone", {})
    with pytest.raises((LinkError, DeviceError)) as caught:
        open_capture(address, SourceSettings(address="x"), rate_hz=16_000)
    assert caught.value.reason in (Reason.SOURCE_MISSING, Reason.EXTRA_MISSING) and caught.value.hint
    assert capfd.readouterr().err == ""
