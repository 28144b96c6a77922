"""The recordings of the media campaign: made by ffmpeg, then damaged, and what is right for each of them."""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from galago_edge.contract.modality import Modality

FRAMES = 120
FPS = 10
"""Every video shows 12 seconds, unless its name says otherwise."""
SOUND_S = 12.3
"""Every sound: a length that ends in the middle of a window, so that a few samples make no difference."""
RATE_HZ = 16_000

_PICTURE = f"testsrc2=size=320x240:rate={FPS}:duration={FRAMES // FPS}"
_SOUND = (
    "aevalsrc='0.3*sin(2*PI*t*(300+400*mod(t,3)))+0.2*sin(2*PI*5000*t)*gt(mod(t,4),2)'"
    f":sample_rate={RATE_HZ}:duration={SOUND_S}"
)
LONGEST_FRAME = 2_048
"""Samples of a coder's frame, at most."""
LONG_WAV_FRAMES = (1 << 25) + 5 * 48_000
"""4 GiB and five seconds of 64 channels, 16 bits."""
_EVERY_SECOND_FROM_6_S = "select='lt(t,6)+gte(t,6)*not(mod(n,2))'"
_SPOTS = 60
_SPOT_BYTES = 200


@dataclass(frozen=True, slots=True)
class GapExpected:
    """A gap that must be there; its ends within ``tolerance_s``."""

    cause: str
    from_s: float
    to_s: float
    tolerance_s: float = 0.25


@dataclass(frozen=True, slots=True)
class MediaCase:
    """One recording and what a replay of it must say."""

    name: str
    modality: Modality
    make: Callable[[Kit], Path]
    options: str = ""
    """What stands behind the path: ``?fps=10``."""
    exit: int = 0
    frames: int | None = None
    """Pictures to decide; as many as ffprobe finds when not given."""
    samples: int | None = None
    """Samples per channel to decide, at the file's rate; as many as ffmpeg decodes when not given."""
    fewer: int = 0
    """So many may be missing of them: ffmpeg makes up a frame that is cut off, a gap breaks windows."""
    rate_hz: int = RATE_HZ
    at_s: Callable[[int], float] | None = None
    """Time of each picture from the first; what ffprobe says when not given."""
    gaps: tuple[GapExpected, ...] = ()
    some_gaps: tuple[str, ...] = ()
    """Causes of gaps whose number and places are not known beforehand: at least one of each."""
    states: tuple[str, ...] = ()
    """States of the source that must be told."""
    like: str = ""
    """Another case: windows of both at one place must have the same logits."""
    unnoticed: float = 0.0
    """Share of those windows that may differ: damage that the codec itself cannot show."""
    reason: str = ""
    """Code on standard error."""
    decided: tuple[float, float] = (1.0, 1.0)
    """Share of ``frames`` that may be decided, where the damage does not say exactly which."""


@dataclass(slots=True)
class Kit:
    """The folder that files are made in, each once."""

    folder: Path
    made: dict[str, Path] = field(default_factory=dict)

    def ffmpeg(self, name: str, *arguments: str | Path) -> Path:
        """Return the file ``name``, made with these arguments before its name.

        Raises:
            RuntimeError: ffmpeg cannot.
        """
        if name not in self.made:
            path = self.folder / name
            command = ["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, arguments), str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
            self.made[name] = path
        return self.made[name]

    def video(self, name: str, *codec: str, picture: str = _PICTURE) -> Path:
        """Return a video of the usual picture."""
        return self.ffmpeg(name, "-f", "lavfi", "-i", picture, *codec)

    def sound(self, name: str, *codec: str) -> Path:
        """Return the usual sound."""
        return self.ffmpeg(name, "-f", "lavfi", "-i", _SOUND, *codec)

    def copied(self, name: str, source: Path, *arguments: str) -> Path:
        """Return the same packets in another container."""
        return self.ffmpeg(name, "-i", source, "-c", "copy", *arguments)

    def written(self, name: str, data: bytes) -> Path:
        """Return a file with these bytes."""
        path = self.folder / name
        path.write_bytes(data)
        return path

    # what several cases begin with

    def mjpeg(self) -> Path:
        """120 pictures as a camera sends them, in AVI."""
        return self.video("mjpeg.avi", *MJPEG)

    def h264(self) -> Path:
        """H.264 with B-frames, a key frame every two seconds, in MKV."""
        return self.video("h264.mkv", *H264)

    def hevc(self) -> Path:
        """HEVC in MP4."""
        return self.video("hevc.mp4", *HEVC)

    def wav(self) -> Path:
        """The usual sound, 16 bits at 16 kHz."""
        return self.sound("sound.wav", "-c:a", "pcm_s16le")


MJPEG = ("-c:v", "mjpeg", "-q:v", "3", "-pix_fmt", "yuvj420p")
H264 = ("-c:v", "libx264", "-preset", "veryfast", "-g", "20", "-bf", "2", "-pix_fmt", "yuv420p")
HEVC = (
    *("-c:v", "libx265", "-x265-params", "log-level=error:keyint=20"),
    *("-movflags", "+faststart", "-pix_fmt", "yuv420p"),
)


_TS_PACKET = 188


def within_picture(content: bytes, share: float, rest: int) -> bytes:
    """Return the packets of a transport stream before ``share`` of it, and ``rest`` bytes of the next.

    That next one begins no picture: its bit payload_unit_start (ISO/IEC 13818-1, 2.4.3.2) is not set.
    """
    end = int(len(content) * share) // _TS_PACKET * _TS_PACKET
    while content[end + 1] & 0x40:
        end -= _TS_PACKET
    return content[: end + rest]


def first_share(data: bytes, share: float) -> bytes:
    """Return the beginning of a file."""
    return data[: int(len(data) * share)]


def spotted(data: bytes, header: int = 8_000, seed: int = 1) -> bytes:
    """Return ``data`` with 60 places behind its header overwritten."""
    rng = random.Random(seed)
    damaged = bytearray(data)
    for _ in range(_SPOTS):
        at = rng.randrange(header, len(damaged) - 4_000)
        damaged[at : at + _SPOT_BYTES] = bytes(rng.randrange(256) for _ in range(_SPOT_BYTES))
    return bytes(damaged)


def avi_pictures(data: bytes) -> list[tuple[int, int]]:
    """Return where each picture of an AVI begins and how long it is."""
    at, found = data.index(b"movi") + 4, []
    while data[at : at + 4] in (b"00dc", b"JUNK"):
        size = struct.unpack_from("<I", data, at + 4)[0]
        if data[at : at + 4] == b"00dc":
            found.append((at + 8, size))
        at += 8 + size + size % 2
    return found


def without_pictures(data: bytes, numbers: range) -> bytes:
    """Return an AVI in which these pictures are zeros."""
    damaged = bytearray(data)
    places = avi_pictures(data)
    for number in numbers:
        at, size = places[number]
        damaged[at : at + size] = bytes(size)
    return bytes(damaged)


def zero_data_size(wav: bytes) -> bytes:
    """Return a WAV as a recorder leaves it that was killed: both sizes are still zero."""
    at = wav.index(b"data") + 4
    return wav[:4] + bytes(4) + wav[8:at] + bytes(4) + wav[at + 4 :]


def with_data_size(wav: bytes, size: int) -> bytes:
    """Return a WAV whose header states another size of its samples."""
    at = wav.index(b"data") + 4
    return wav[:at] + struct.pack("<I", size) + wav[at + 4 :]


def two_data_chunks(wav: bytes) -> bytes:
    """Return a WAV whose second half is in a chunk of its own."""
    at = wav.index(b"data") + 8
    half = (len(wav) - at) // 4 * 2
    chunks = with_data_size(wav[: at + half], half) + b"data" + struct.pack("<I", len(wav) - at - half)
    return chunks + wav[at + half :]


def over_4_gib(path: Path) -> Path:
    """Write a WAV of 64 channels at 48 kHz and a little more than 4 GiB, with what 32 bits keep of its size.

    It is nearly all hole, so it takes no room.
    """
    samples = LONG_WAV_FRAMES * 128
    form = struct.pack("<HHIIHH", 1, 64, 48_000, 48_000 * 128, 128, 16)
    size = struct.pack("<I", samples % (1 << 32))
    with path.open("wb") as file:
        file.write(b"RIFF" + bytes(4) + b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + size)
        file.truncate(file.tell() + samples)
    return path


def without_page(ogg: bytes) -> bytes:
    """Return an Ogg without a page in its middle."""
    at = ogg.index(b"OggS", len(ogg) // 2)
    return ogg[:at] + ogg[ogg.index(b"OggS", at + 4) :]


def _video_cases() -> Iterator[MediaCase]:
    def case(name: str, make: Callable[[Kit], Path], **more: Any) -> MediaCase:
        return MediaCase(name, "camera", make, **more)

    # whole, at a constant rate: every codec and container that the field brings
    yield case("mjpeg.avi", lambda k: k.mjpeg())
    for name in ("mjpeg.mkv", "mjpeg.mp4", "mjpeg.mov", "mjpeg.nut"):
        yield case(name, lambda k, n=name: k.copied(n, k.mjpeg()), like="mjpeg.avi")
    yield case("h264.mkv", lambda k: k.h264())
    for name in ("h264.mp4", "h264.mov", "h264.ts", "h264.flv"):
        yield case(name, lambda k, n=name: k.copied(n, k.h264()), like="h264.mkv")
    yield case(
        "raw.h264",
        lambda k: k.copied("raw.h264", k.h264(), "-bsf:v", "h264_mp4toannexb"),
        options=f"?fps={FPS}",
        frames=FRAMES,
        at_s=lambda n: n / FPS,
        like="h264.mkv",
    )
    yield case("hevc.mp4", lambda k: k.hevc())
    yield case("hevc.mkv", lambda k: k.copied("hevc.mkv", k.hevc()), like="hevc.mp4")
    for name, codec in CODECS.items():
        yield case(name, lambda k, n=name, c=codec: k.video(n, *c))
    yield case("ntsc.mp4", lambda k: k.video("ntsc.mp4", "-r", "30000/1001", *H264))
    yield case(
        "odd_size.mkv",
        lambda k: k.video("odd_size.mkv", "-c:v", "ffv1", picture=_PICTURE.replace("320x240", "321x241")),
    )
    # times that are the recording's own
    yield case(
        "late_start.mkv",
        lambda k: k.copied("late.mkv", k.mjpeg(), "-output_ts_offset", "3600"),
        like="mjpeg.avi",
        states=("offset",),
    )
    yield case(
        "late_start.ts",
        lambda k: k.copied("late.ts", k.h264(), "-output_ts_offset", "3600"),
        like="h264.mkv",
        states=("offset",),
    )
    for suffix in ("mp4", "mkv"):
        yield case(
            f"variable_rate.{suffix}",
            lambda k, s=suffix: k.ffmpeg(
                f"vfr.{s}",
                "-i",
                k.mjpeg(),
                "-vf",
                "select='lt(t,6)+gte(t,6)*not(mod(n,2))'",
                "-vsync",
                "vfr",
                *H264,
            ),
        )
        yield case(
            f"hole.{suffix}",
            lambda k, s=suffix: k.ffmpeg(
                f"hole.{s}",
                "-f",
                "lavfi",
                "-i",
                _PICTURE.replace("duration=12", "duration=60"),
                "-vf",
                "select='lt(t,10)+gte(t,40)'",
                "-vsync",
                "vfr",
                *H264,
            ),
            gaps=(GapExpected("missing", 10.0, 40.0),),
        )
    yield case(
        "label_25fps.mkv",
        lambda k: k.copied(
            "label25.mkv",
            k.ffmpeg("label25.mjpeg", "-i", k.mjpeg(), "-c", "copy"),
            "-bsf:v",
            "setts=pts=N*100:dts=N*100",
        ),
        states=("rate",),
        frames=FRAMES,
        at_s=lambda n: n / FPS,
        like="mjpeg.avi",
    )
    yield case(
        "fps_overrides.avi",
        lambda k: k.mjpeg(),
        options="?fps=5",
        frames=FRAMES,
        at_s=lambda n: n / 5,
        states=("rate",),
    )
    # a picture that cannot be decoded
    yield case(
        "bad_picture.avi",
        lambda k: k.written("bad.avi", without_pictures(k.mjpeg().read_bytes(), range(40, 41))),
        exit=1,
        frames=FRAMES - 1,
        at_s=lambda n: (n if n < 40 else n + 1) / FPS,
        gaps=(GapExpected("unreadable", 4.0, 4.1, 0.11),),
        states=("unreadable",),
        like="mjpeg.avi",
        reason="VIDEO_UNREADABLE",
    )
    yield case(
        "bad_pictures.avi",
        lambda k: k.written("bad10.avi", without_pictures(k.mjpeg().read_bytes(), range(40, 60))),
        exit=1,
        frames=FRAMES - 20,
        at_s=lambda n: (n if n < 40 else n + 20) / FPS,
        gaps=(GapExpected("unreadable", 4.0, 6.0, 0.11),),
        states=("unreadable",),
        like="mjpeg.avi",
        reason="VIDEO_UNREADABLE",
    )
    # JPEG has no checksum, some places in H.264 are not noticed;
    # what FFmpeg makes of damaged HEVC is seldom called damaged
    for name, base, unnoticed in (
        ("spots.avi", "mjpeg.avi", 0.05),
        ("spots.mkv", "h264.mkv", 0.25),
        ("spots.mp4", "hevc.mp4", 1.0),
    ):
        yield case(
            name,
            lambda k, n=name, b=base: k.written(n, spotted(MADE[b](k).read_bytes())),
            exit=1,
            frames=FRAMES,
            decided=(0.02, 0.97),
            some_gaps=("unreadable",),
            states=("unreadable",),
            like=base,
            unnoticed=unnoticed,
        )
    # an end that comes early
    for name, base in (
        ("cut.avi", "mjpeg.avi"),
        ("cut.mkv", "mjpeg.mkv"),
        ("cut_h264.mkv", "h264.mkv"),
        ("cut.webm", "vp9.webm"),
    ):
        yield case(
            name,
            lambda k, n=name, b=base: k.written(n, first_share(MADE[b](k).read_bytes(), 0.6)),
            exit=1,
            frames=FRAMES,
            decided=(0.4, 0.8),
            some_gaps=("truncated",),
            states=("truncated",),
            like=base,
        )
    # a transport stream promises nothing: only half a packet, or half a picture, tells that it was cut
    for name, rest, told in (("cut.ts", _TS_PACKET // 2, "truncated"), ("cut_at_packet.ts", 0, "unreadable")):
        yield case(
            name,
            lambda k, n=name, r=rest: k.written(n, within_picture(MADE["h264.ts"](k).read_bytes(), 0.6, r)),
            exit=1,
            frames=FRAMES,
            decided=(0.4, 0.8),
            some_gaps=(told,),
            states=(told,),
            like="h264.ts",
        )
    yield case(
        "cut_fragmented.mp4",
        lambda k: k.written(
            "cutfrag.mp4",
            first_share(
                k.copied(
                    "frag.mp4", k.h264(), "-movflags", "frag_keyframe+empty_moov+default_base_moof"
                ).read_bytes(),
                0.6,
            ),
        ),
        exit=1,
        frames=FRAMES,
        decided=(0.4, 0.8),
        some_gaps=("truncated",),
        states=("truncated",),
        like="h264.mkv",
    )
    yield case(
        "cut_before_index.mp4",
        lambda k: k.written("noindex.mp4", first_share(MADE["h264.mp4"](k).read_bytes(), 0.6)),
        exit=1,
        frames=0,
        reason="VIDEO_UNREADABLE",
    )
    # names that do not say what is inside
    yield case(
        "mp4_called.avi", lambda k: k.written("called.avi", MADE["h264.mp4"](k).read_bytes()), like="h264.mkv"
    )
    yield case(
        "avi_without_suffix", lambda k: k.written("recording", k.mjpeg().read_bytes()), like="mjpeg.avi"
    )


def _odd_video_cases() -> Iterator[MediaCase]:
    """Yield what is whole and looks damaged, or is damaged and looks whole."""

    def case(name: str, make: Callable[[Kit], Path], **more: Any) -> MediaCase:
        return MediaCase(name, "camera", make, **more)

    def joined(kit: Kit, name: str, base: str) -> Path:
        return kit.written(name, 2 * MADE[base](kit).read_bytes())

    # files behind one another
    for name, base, count in (
        ("joined.ts", "h264.ts", FRAMES),
        ("joined.mpeg", "mpeg1.mpeg", FRAMES * 25 // FPS),
    ):
        yield case(
            name,
            lambda k, n=name, b=base: joined(k, n, b),
            frames=2 * count,
            at_s=lambda n, c=count: n * FRAMES / FPS / c,
            gaps=(GapExpected("missing", 12.0, 12.0),),
            states=("stamps",),
            like=base,
        )
    yield case(
        "boundaries.mpjpeg",
        lambda k: k.copied("boundaries.mpjpeg", k.mjpeg(), "-f", "mpjpeg"),
        options=f"?fps={FPS}",
        frames=FRAMES,
        at_s=lambda n: n / FPS,
        like="mjpeg.avi",
    )
    # what is behind the end is no part of it
    for name, base in (("padded.flv", "h264.flv"), ("padded.gif", "picture.gif"), ("padded.mp4", "h264.mp4")):
        yield case(
            name,
            lambda k, n=name, b=base: k.written(n, MADE[b](k).read_bytes() + bytes(5_000)),
            like=base,
        )
    yield case(
        "killed_gstreamer.flv",
        lambda k: k.written("killed.flv", a_day_long(MADE["h264.flv"](k).read_bytes())),
        states=("unfinished",),
        like="h264.flv",
    )
    yield case(
        "rotated.mp4",
        lambda k: k.copied("rotated.mp4", k.h264(), "-metadata:s:v", "rotate=180"),
        states=("rotation",),
    )
    # pictures that lean on one that is not there
    yield case(
        "lost_packets.ts",
        lambda k: k.written("lost_packets.ts", without_packets(MADE["h264.ts"](k).read_bytes(), 5)),
        exit=1,
        frames=FRAMES,
        decided=(0.3, 0.99),
        some_gaps=("unreadable",),
        states=("unreadable",),
        like="h264.ts",
    )
    yield case(
        "lost_pictures.mpeg2.mkv",
        lambda k: k.copied(
            "lost_mpeg2.mkv",
            k.copied("mpeg2.mkv", MADE["mpeg2.ts"](k)),
            "-bsf:v",
            "noise=drop=eq(n\\,30)+eq(n\\,71)",
        ),
        exit=1,
        frames=FRAMES,
        decided=(0.7, 0.99),
        some_gaps=("unreadable",),
        states=("unreadable",),
    )
    yield case(
        "spots.ogv",
        lambda k: k.written("spots.ogv", spotted(MADE["theora.ogv"](k).read_bytes())),
        exit=1,
        frames=FRAMES,
        decided=(0.0, 0.97),
        some_gaps=("unreadable",),
        states=("unreadable",),
    )


def two_gigabytes(wav: bytes) -> bytes:
    """Return a WAV as GStreamer leaves it when it is killed."""
    at = wav.index(b"data") + 4
    riff, data = struct.pack("<I", 0x7FFF_0024), struct.pack("<I", 0x7FFF_0000)
    return wav[:4] + riff + wav[8:at] + data + wav[at + 4 :]


def a_day_long(flv: bytes) -> bytes:
    """Return an FLV as GStreamer leaves it when it is killed: it states a day."""
    at = flv.index(b"duration") + len("duration") + 1
    return flv[:at] + struct.pack(">d", 86_400.0) + flv[at + 8 :]


def without_packets(stream: bytes, count: int, seed: int = 2) -> bytes:
    """Return an MPEG transport stream that lacks some packets of its middle half."""
    packets = [stream[at : at + 188] for at in range(0, len(stream), 188)]
    lost = set(random.Random(seed).sample(range(len(packets) // 4, len(packets) * 3 // 4), count))
    return b"".join(packet for number, packet in enumerate(packets) if number not in lost)


CODECS: Mapping[str, tuple[str, ...]] = {
    "vp8.webm": ("-c:v", "libvpx", "-deadline", "realtime"),
    "vp9.webm": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"),
    "av1.mkv": ("-c:v", "libsvtav1", "-preset", "12"),
    "mpeg4.avi": ("-c:v", "mpeg4", "-bf", "0"),
    "mpeg4.3gp": ("-c:v", "mpeg4", "-s", "352x288"),
    "mpeg1.mpeg": ("-c:v", "mpeg1video", "-r", "25"),
    "video.dv": ("-s", "720x576", "-r", "25", "-pix_fmt", "yuv420p"),
    "real.rm": ("-c:v", "rv10", "-s", "176x144"),
    "mpeg2.ts": ("-c:v", "mpeg2video", "-r", "25"),
    "theora.ogv": ("-c:v", "libtheora"),
    "wmv2.wmv": ("-c:v", "wmv2"),
    "picture.gif": ("-c:v", "gif"),
    "ffv1.mkv": ("-c:v", "ffv1"),
    "huffyuv.avi": ("-c:v", "huffyuv"),
    "png.mov": ("-c:v", "png"),
    "raw.avi": ("-c:v", "rawvideo", "-pix_fmt", "yuyv422"),
    "full_range.mp4": (*H264[:-2], "-pix_fmt", "yuvj420p"),
    "bt709.mp4": (*H264, "-colorspace", "bt709"),
    "yuv444.mkv": (*H264[:-2], "-pix_fmt", "yuv444p"),
    "ten_bits.mkv": (*HEVC[:-2], "-pix_fmt", "yuv420p10le"),
    "gray.mkv": ("-c:v", "ffv1", "-pix_fmt", "gray"),
}


def _sound_cases() -> Iterator[MediaCase]:
    def case(name: str, make: Callable[[Kit], Path], **more: Any) -> MediaCase:
        return MediaCase(name, "microphone", make, **more)

    exact = "sound.wav"
    yield case(exact, lambda k: k.wav())
    for name, codec in LOSSLESS.items():
        yield case(name, lambda k, n=name, c=codec: k.ffmpeg(n, "-i", k.wav(), *c), like=exact)
    for name, codec in LOSSY.items():
        yield case(name, lambda k, n=name, c=codec: k.ffmpeg(n, "-i", k.wav(), *c))
    for name, (rate_hz, codec) in OTHER_RATES.items():
        yield case(
            name,
            lambda k, n=name, c=codec, r=rate_hz: k.ffmpeg(n, "-i", k.wav(), "-ar", str(r), *c),
            rate_hz=rate_hz,
        )
    yield case(
        "picture_and_sound.mkv",
        lambda k: k.ffmpeg("both.mkv", "-i", k.h264(), "-i", k.wav(), "-c:v", "copy", "-c:a", "flac"),
        like=exact,
    )
    yield case(
        "picture_and_sound.mp4",
        lambda k: k.ffmpeg("both.mp4", "-i", k.h264(), "-i", k.wav(), "-c:v", "copy", "-c:a", "alac"),
        like=exact,
    )
    # what samples are written without a header
    yield case(
        "samples.raw",
        lambda k: k.ffmpeg("samples.raw", "-i", k.wav(), "-f", "s16le"),
        options=f"?rate={RATE_HZ}",
        samples=round(SOUND_S * RATE_HZ),
        like=exact,
    )
    # names that do not say what is inside
    yield case("wav_called.mkv", lambda k: k.written("called.mkv", k.wav().read_bytes()), like=exact)
    yield case(
        "flac_without_suffix", lambda k: k.written("noise", MADE["sound.flac"](k).read_bytes()), like=exact
    )
    # a recorder that was killed, streams one behind the other
    yield case(
        "size_zero.wav",
        lambda k: k.written("zero.wav", zero_data_size(k.wav().read_bytes())),
        like=exact,
        samples=round(SOUND_S * RATE_HZ),
    )
    yield case(
        "killed_gstreamer.wav",
        lambda k: k.written("killed.wav", two_gigabytes(k.wav().read_bytes())),
        like=exact,
        samples=round(SOUND_S * RATE_HZ),
        states=("unfinished",),
    )
    yield case(
        "chained.ogg",
        lambda k: k.written("chained.ogg", 2 * MADE["vorbis.ogg"](k).read_bytes()),
        samples=2 * round(SOUND_S * RATE_HZ),
    )
    yield case(
        "size_of_a_minute_ago.wav",
        lambda k: k.written("stale.wav", with_data_size(k.wav().read_bytes(), 5 * 2 * RATE_HZ)),
        like=exact,
        samples=round(SOUND_S * RATE_HZ),
        states=("unfinished",),
    )
    yield case(
        "two_data_chunks.wav",
        lambda k: k.written("two_data.wav", two_data_chunks(k.wav().read_bytes())),
        like=exact,
        samples=round(SOUND_S * RATE_HZ) // 2,
        states=("unclaimed",),
    )
    yield case(
        "over_4_gib.wav",
        lambda k: over_4_gib(k.folder / "over_4_gib.wav"),
        options="?channel=1",
        rate_hz=48_000,
        samples=LONG_WAV_FRAMES,
        states=("unfinished",),
    )
    yield case(
        "s302m.ts",  # ffmpeg does not decode short frames that share a packet
        lambda k: k.ffmpeg(
            *("s302m.ts", "-i", k.wav(), "-ar", "48000", "-ac", "2", "-c:a", "s302m", "-strict", "-2")
        ),
        rate_hz=48_000,
        samples=round(SOUND_S * 48_000),
    )
    yield case(
        "lost_page.ogg",
        lambda k: k.written("lost_page.ogg", without_page(MADE["vorbis_48.ogg"](k).read_bytes())),
        rate_hz=48_000,
        fewer=48_000 // 3,
        exit=1,
        some_gaps=("unreadable",),
        states=("unreadable",),
        reason="AUDIO_UNREADABLE",
        like="vorbis_48.ogg",
    )
    yield case(
        "cut_before_table.caf",
        lambda k: k.written("notable.caf", first_share(MADE["alac.caf"](k).read_bytes(), 0.6)),
        exit=1,
        samples=0,
        reason="AUDIO_UNREADABLE",
    )
    yield case("clip.wav", lambda k: k.sound("clip.wav", "-t", "0.1"), exit=1, states=("too_short",))
    # an end that comes early
    for base in (
        "s24_extensible.wav",
        "float.wav",
        "alaw.wav",
        "adpcm.wav",
        "sound.aiff",
        "sound.au",
        "six_channels.wav",
        "sound.flac",
        "vorbis.ogg",
        "opus.opus",
        "sound.mka",
        "sound.w64",
        "tta.tta",
        "flac.ogg",
        "speex.spx",
        "latm.latm",
        "vorbis_44.ogg",
        "sound.ac3",
        "sound.eac3",
        "sound.dts",
        "sound.mp2",
        "truehd.thd",
        "sound.voc",
    ):
        name = f"cut_{base}"
        yield case(
            name,
            lambda k, n=name, b=base: k.written(n, first_share(MADE[b](k).read_bytes(), 0.6037)),
            fewer=LONGEST_FRAME,
            rate_hz=OTHER_RATES[base][0] if base in OTHER_RATES else RATE_HZ,
            exit=1,
            some_gaps=("truncated",),
            states=("truncated",),
            reason="AUDIO_TRUNCATED",
        )
    yield case(
        "cut_sound.mp3",
        lambda k: k.written("cut_sound.mp3", first_share(MADE["sound.mp3"](k).read_bytes(), 0.6)),
        fewer=LONGEST_FRAME,
        exit=1,
        some_gaps=("truncated",),
        states=("truncated",),
        reason="AUDIO_TRUNCATED",
    )


LOSSLESS: Mapping[str, tuple[str, ...]] = {
    "s24_extensible.wav": ("-c:a", "pcm_s24le"),
    "s32.wav": ("-c:a", "pcm_s32le"),
    "float.wav": ("-c:a", "pcm_f32le"),
    "double.wav": ("-c:a", "pcm_f64le"),
    "six_channels.wav": ("-af", "pan=5.1|c0=c0|c1=c0|c2=c0|c3=c0|c4=c0|c5=c0", "-c:a", "pcm_s16le"),
    "sound.rf64.wav": ("-rf64", "always", "-c:a", "pcm_s16le"),
    "sound.w64": ("-c:a", "pcm_s16le"),
    "sound.aiff": ("-c:a", "pcm_s16be"),
    "sound.au": ("-c:a", "pcm_s16be"),
    "sound.caf": ("-c:a", "pcm_s16be"),
    "sound.flac": ("-c:a", "flac"),
    "sound.mka": ("-c:a", "pcm_s16le"),
    "alac.m4a": ("-c:a", "alac"),
    "wavpack.wv": ("-c:a", "wavpack"),
    "alac.caf": ("-c:a", "alac"),
    "flac.ogg": ("-c:a", "flac", "-f", "ogg"),
    "tta.tta": ("-c:a", "tta"),
    "ircam.sf": ("-c:a", "pcm_s16le", "-f", "ircam"),
}
LOSSY: Mapping[str, tuple[str, ...]] = {
    "u8.wav": ("-c:a", "pcm_u8"),
    "alaw.wav": ("-c:a", "pcm_alaw"),
    "mulaw.wav": ("-c:a", "pcm_mulaw"),
    "adpcm.wav": ("-c:a", "adpcm_ima_wav"),
    "adpcm_ms.wav": ("-c:a", "adpcm_ms"),
    "sound.mp3": ("-c:a", "libmp3lame"),
    "vorbis.ogg": ("-c:a", "libvorbis"),
    "sound.m4a": ("-c:a", "aac"),
    "sound.aac": ("-c:a", "aac"),
    "latm.latm": ("-c:a", "aac"),
    "speex.spx": ("-c:a", "libspeex"),
}
OTHER_RATES: Mapping[str, tuple[int, tuple[str, ...]]] = {
    "opus.opus": (48_000, ("-c:a", "libopus")),
    "opus.webm": (48_000, ("-c:a", "libopus")),
    "cd.wav": (44_100, ("-c:a", "pcm_s16le")),
    "cd.wma": (44_100, ("-c:a", "wmav2")),
    "dvd.ts": (48_000, ("-c:a", "mp2")),
    "cd.flv": (44_100, ("-c:a", "libmp3lame")),
    "telephone.wav": (8_000, ("-c:a", "pcm_mulaw")),
    "vorbis_8.ogg": (8_000, ("-c:a", "libvorbis")),
    "vorbis_22.ogg": (22_050, ("-c:a", "libvorbis", "-q:a", "9")),
    "vorbis_44.ogg": (44_100, ("-c:a", "libvorbis", "-ac", "2")),
    "vorbis_48.ogg": (48_000, ("-c:a", "libvorbis", "-q:a", "-1")),
    "vorbis_44.webm": (44_100, ("-c:a", "libvorbis")),
    "alac_48.caf": (48_000, ("-c:a", "alac", "-ac", "2")),
    "sound.ac3": (48_000, ("-c:a", "ac3")),
    "sound.eac3": (48_000, ("-c:a", "eac3")),
    "sound.dts": (48_000, ("-c:a", "dca", "-strict", "-2")),
    "sound.mp2": (48_000, ("-c:a", "mp2")),
    "truehd.thd": (48_000, ("-c:a", "truehd", "-strict", "-2")),
    "sound.voc": (8_000, ("-c:a", "pcm_u8")),
    "m4a_44.m4a": (44_100, ("-c:a", "aac")),
}


def _folder_cases() -> Iterator[MediaCase]:
    def pictures(kit: Kit, name: str, numbers: range, pattern: str = "img{}.jpg") -> Path:
        folder = kit.folder / name
        folder.mkdir(exist_ok=True)
        data = kit.mjpeg().read_bytes()
        places = avi_pictures(data)
        for number in numbers:
            at, size = places[number - 1]
            (folder / pattern.format(number)).write_bytes(data[at : at + size])
        return folder

    def some_missing(kit: Kit) -> Path:
        folder = pictures(kit, "missing", range(1, FRAMES + 1))
        for number in range(31, 61):
            (folder / f"img{number}.jpg").unlink(missing_ok=True)
        return folder

    def with_thumbnail(kit: Kit) -> Path:
        folder = pictures(kit, "thumbs", range(1, FRAMES + 1))
        (folder / "Thumbs.jpg").write_bytes((folder / "img1.jpg").read_bytes())
        return folder

    def timed(kit: Kit) -> Path:
        folder = pictures(kit, "timed", range(1, FRAMES + 1))
        rows = [f"img{n}.jpg,{2 * (n - 1) / FPS:.3f}" for n in range(1, FRAMES + 1)]
        (folder / "times.csv").write_text("\n".join(["file,time_s", *rows]) + "\n")
        return folder

    def case(name: str, make: Callable[[Kit], Path], **more: Any) -> MediaCase:
        return MediaCase(name, "camera", make, options="?fps=10", like="mjpeg.avi", **more)

    yield case(
        "folder", lambda k: pictures(k, "folder", range(1, FRAMES + 1)), frames=FRAMES, at_s=lambda n: n / FPS
    )
    yield case(
        "folder_with_zeros",
        lambda k: pictures(k, "zeros", range(1, FRAMES + 1), "{:06d}.jpg"),
        frames=FRAMES,
        at_s=lambda n: n / FPS,
    )
    yield case(
        "folder_with_holes",
        some_missing,
        frames=FRAMES - 30,
        at_s=lambda n: (n if n < 30 else n + 30) / FPS,
        gaps=(GapExpected("missing", 3.0, 6.0),),
    )
    yield case("folder_with_thumbnail", with_thumbnail, frames=FRAMES, at_s=lambda n: n / FPS)
    yield MediaCase("folder_with_times", "camera", timed, frames=FRAMES, at_s=lambda n: 2 * n / FPS)


def cases() -> dict[str, MediaCase]:
    """Return every case by its name."""
    every = [*_video_cases(), *_odd_video_cases(), *_sound_cases(), *_folder_cases()]
    named = {case.name: case for case in every}
    if len(named) != len(every):
        raise ValueError("two cases have one name")
    return named


class _Made:
    """What other cases are made of, by name."""

    def __getitem__(self, name: str) -> Callable[[Kit], Path]:
        return cases()[name].make


MADE = _Made()


def long_sound(kit: Kit, seconds: int) -> Path:
    """Return a sound of that length, 16 bits at 44.1 kHz in Matroska: to be demuxed and converted."""
    return kit.ffmpeg(
        f"long{seconds}.mka",
        "-f",
        "lavfi",
        "-i",
        f"anoisesrc=sample_rate=44100:duration={seconds}:amplitude=0.1",
        "-c:a",
        "flac",
        "-compression_level",
        "0",
    )


def long_video(kit: Kit, seconds: int) -> Path:
    """Return H.264 of that length, small pictures."""
    return kit.ffmpeg(
        f"long{seconds}.mp4",
        "-f",
        "lavfi",
        "-i",
        f"testsrc2=size=160x120:rate={FPS}:duration={seconds}",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-g",
        "50",
        "-pix_fmt",
        "yuv420p",
    )


def ffprobe_times(path: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the time of every picture that ffprobe decodes, from the first, in seconds."""
    command = ["ffprobe", "-v", "quiet", "-threads", "1", "-select_streams", "v:0"]
    command += ["-show_entries", "frame=best_effort_timestamp_time", "-of", "csv=p=0", str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    values = [line.strip().strip(",") for line in said.splitlines()]
    times = np.array([float(value) for value in values if value not in ("", "N/A")])
    return times - times[0] if len(times) else times


def ffmpeg_samples(path: Path) -> int:
    """Return how many samples of each channel ffmpeg decodes."""
    command = [
        "ffmpeg",
        "-nostdin",
        "-v",
        "quiet",
        "-i",
        str(path),
        "-map",
        "0:a:0",
        "-ac",
        "1",
        "-f",
        "s16le",
        "-",
    ]
    done = subprocess.run(command, capture_output=True, check=False)
    return len(done.stdout) // 2
