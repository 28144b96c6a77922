"""Stable names of cameras and microphones, from the listings of real boards."""

from __future__ import annotations

from pathlib import Path

import pytest

from galago_edge.sources.hardware import (
    CameraAbilities,
    alsa_card,
    camera_abilities,
    list_cameras,
    list_microphones,
    usb_formats,
)

PI_CARDS = """\
 0 [Headphones     ]: bcm2835_headpho - bcm2835 Headphones
                      bcm2835 Headphones
 1 [Device         ]: USB-Audio - USB PnP Sound Device
                      C-Media Electronics Inc. USB PnP Sound Device at usb-0000:01:00.0-1.3, full speed
 2 [Device_1       ]: USB-Audio - USB PnP Sound Device
                      C-Media Electronics Inc. USB PnP Sound Device at usb-0000:01:00.0-1.4, full speed
 3 [seeed4micvoicec]: seeed-4mic-voic - seeed-4mic-voicecard
                      seeed-4mic-voicecard
"""
PI_PCM = """\
00-00: bcm2835 Headphones : bcm2835 Headphones : playback 8
01-00: USB Audio : USB Audio : playback 1 : capture 1
02-00: USB Audio : USB Audio : playback 1 : capture 1
03-00: bcm2835-i2s-ac10x-codec0 ac10x-codec0-0 : bcm2835-i2s-ac10x-codec0 : capture 1
"""
C_MEDIA_STREAM = """\
C-Media Electronics Inc. USB PnP Sound Device at usb-0000:01:00.0-1.3, full speed : USB Audio

Playback:
  Status: Stop
  Interface 1
    Altset 1
    Format: S16_LE
    Channels: 2
    Endpoint: 0x01 (1 OUT) (ADAPTIVE)
    Rates: 48000, 44100

Capture:
  Status: Stop
  Interface 2
    Altset 1
    Format: S16_LE
    Channels: 1
    Endpoint: 0x82 (2 IN) (ASYNC)
    Rates: 48000, 44100
"""
BY_PATH = "platform-fd500000.pcie-pci-0000:01:00.0-usb-0:1"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


@pytest.fixture
def raspberry(tmp_path: Path) -> Path:
    """A Raspberry Pi 4 with a USB camera, a codec, two equal USB microphones and an array on its pins."""
    root = tmp_path / "board"
    write(root / "proc/asound/cards", PI_CARDS)
    write(root / "proc/asound/pcm", PI_PCM)
    for card, name in enumerate(["Headphones", "Device", "Device_1", "seeed4micvoicec"]):
        write(root / f"proc/asound/card{card}/id", f"{name}\n")
    for card, socket in ((1, 3), (2, 4)):
        write(root / f"proc/asound/card{card}/stream0", C_MEDIA_STREAM)
        link(root / f"dev/snd/by-path/{BY_PATH}.{socket}:1.0", f"../controlC{card}")
        write(root / f"dev/snd/pcmC{card}D0c", "")
    # equal devices without serial numbers have one name: the last one plugged in has it
    link(root / "dev/snd/by-id/usb-C-Media_Electronics_Inc._USB_PnP_Sound_Device-00", "../controlC2")
    for number, name, index in (
        (0, "HD Pro Webcam C920", 0),
        (1, "HD Pro Webcam C920", 1),
        (10, "bcm2835-codec-decode", 0),
    ):
        write(root / f"sys/class/video4linux/video{number}/name", f"{name}\n")
        write(root / f"sys/class/video4linux/video{number}/index", f"{index}\n")
        write(root / f"dev/video{number}", "")
    write(root / "sys/class/video4linux/v4l-subdev0/name", "imx219 10-0010\n")
    for number in (0, 1):
        link(
            root / f"dev/v4l/by-id/usb-046d_HD_Pro_Webcam_C920_6F7C-video-index{number}",
            f"../../video{number}",
        )
        link(root / f"dev/v4l/by-path/{BY_PATH}.1:1.0-video-index{number}", f"../../video{number}")
    return root


def asked(device: Path) -> CameraAbilities | None:
    return {
        "video0": CameraAbilities(True, ("YUYV", "H264", "MJPG")),
        "video1": CameraAbilities(False, ()),
        "video10": CameraAbilities(False, ()),
    }.get(device.name)


def test_cameras_have_the_name_that_stays_and_nothing_else_is_a_camera(raspberry: Path) -> None:
    (camera,) = list_cameras(raspberry, asked)
    assert camera.id == "/dev/v4l/by-id/usb-046d_HD_Pro_Webcam_C920_6F7C-video-index0"
    assert camera.by_path == f"/dev/v4l/by-path/{BY_PATH}.1:1.0-video-index0"
    assert (camera.device, camera.name) == ("/dev/video0", "HD Pro Webcam C920")
    assert camera.formats == ("YUYV", "H264", "MJPG")
    assert camera.readable


def test_cameras_that_may_not_be_opened_are_listed_all_the_same(raspberry: Path) -> None:
    cameras = list_cameras(raspberry, lambda device: None)
    assert [camera.device for camera in cameras] == ["/dev/video0", "/dev/video10"]
    assert cameras[0].formats == ()
    (raspberry / "dev/video0").unlink()
    assert not list_cameras(raspberry, lambda device: None)[0].readable


def test_a_camera_without_links_is_called_by_its_device(tmp_path: Path) -> None:
    write(tmp_path / "sys/class/video4linux/video2/name", "mmal service 16.1\n")
    (camera,) = list_cameras(tmp_path, lambda device: CameraAbilities(True, ("MJPG",)))
    assert (camera.id, camera.by_id, camera.by_path) == ("/dev/video2", None, None)


def test_microphones_have_a_name_that_stays_their_rates_and_their_socket(raspberry: Path) -> None:
    first, second, array = list_microphones(raspberry)
    assert (first.card, first.card_id, first.name) == (1, "Device", "USB PnP Sound Device")
    assert (
        first.id == first.by_path == f"/dev/snd/by-path/{BY_PATH}.3:1.0"
    )  # the by-id name is the other one's
    assert second.id == second.by_id == "/dev/snd/by-id/usb-C-Media_Electronics_Inc._USB_PnP_Sound_Device-00"
    assert second.by_path == f"/dev/snd/by-path/{BY_PATH}.4:1.0"
    assert (first.rates_hz, first.channels) == ((44_100, 48_000), 1)
    assert (array.id, array.name, array.rates_hz) == ("seeed4micvoicec", "seeed-4mic-voicecard", ())
    assert first.readable and not array.readable


def test_every_name_of_a_microphone_leads_to_its_card(raspberry: Path) -> None:
    for microphone in list_microphones(raspberry):
        names = {microphone.id, microphone.card_id, microphone.by_id, microphone.by_path} - {None}
        for name in names:
            assert alsa_card(str(name), raspberry) == microphone.card
            assert alsa_card(Path(str(name)).name, raspberry) == microphone.card
    assert alsa_card("Headset", raspberry) is None
    assert alsa_card("default", raspberry) is None


def test_a_renumbered_card_keeps_its_name(raspberry: Path) -> None:
    path = raspberry / f"dev/snd/by-path/{BY_PATH}.3:1.0"
    path.unlink()
    path.symlink_to("../controlC7")
    assert alsa_card(f"/dev/snd/by-path/{BY_PATH}.3:1.0", raspberry) == 7


def test_a_range_of_rates_is_listed_by_its_usual_ones() -> None:
    rates, channels = usb_formats("Capture:\n  Channels: 2\n  Rates: 16000 - 48000 (continuous)\n")
    assert rates == (16_000, 22_050, 32_000, 44_100, 48_000) and channels == 2
    assert usb_formats("Playback:\n  Channels: 2\n  Rates: 48000\n") == ((), 0)


def test_a_board_without_any_of_it_has_none(tmp_path: Path) -> None:
    assert list_cameras(tmp_path) == []
    assert list_microphones(tmp_path) == []
    assert alsa_card("default", tmp_path) is None


def test_a_broken_listing_is_survived(raspberry: Path) -> None:
    (raspberry / "dev/v4l/by-id/dangling").symlink_to("../../video99")
    (raspberry / "dev/v4l/by-id/file").write_text("")
    (raspberry / "proc/asound/cards").write_bytes(b"\xff\xfe 1 [")
    (raspberry / "dev/snd/by-path/loop").symlink_to("loop")
    assert [camera.device for camera in list_cameras(raspberry, asked)] == ["/dev/video0"]
    first, *_ = list_microphones(raspberry)
    assert (first.name, first.by_path) == ("card 1", f"/dev/snd/by-path/{BY_PATH}.3:1.0")


def test_what_is_no_video_device_has_no_abilities(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert camera_abilities(tmp_path / "file") is None
    assert camera_abilities(Path("/dev/null")) is None
    assert camera_abilities(tmp_path / "nothing") is None


def test_this_computer_can_be_listed() -> None:
    assert all(camera.device.startswith("/dev/video") for camera in list_cameras())
    assert all(microphone.id for microphone in list_microphones())
