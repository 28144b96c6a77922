"""A recording's container, opened by PyAV: nothing but the file itself is ever read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from galago_edge.children.confinement import memory_bounded
from galago_edge.contract.errors import InputError, LinkError, Reason, disk_error
from galago_edge.sources.media.container_faults import WHOLE_FILE, why_not_opened
from galago_edge.sources.media.library import import_av

FORMATS = (
    *("avi", "matroska", "webm", "mov", "mp4", "m4a", "3gp", "3g2", "mj2", "mpegts", "mpeg", "mpegvideo"),
    *("flv", "dhav", "asf", "gif", "ogg", "ivf", "nut", "mxf", "dv", "rm", "wtv", "yuv4mpegpipe", "mjpeg"),
    *("mpjpeg", "h264", "hevc", "vvc", "av1", "obu", "m4v", "h263", "vc1", "cavsvideo"),
    *("wav", "w64", "aiff", "au", "caf", "flac", "mp3", "aac", "ac3", "eac3", "amr", "ape", "tta", "wv"),
    *("dts", "tak", "mpc", "mpc8", "voc", "ircam", "nistsphere", "loas", "dsf", "truehd", "mlp", "adx"),
)
"""Formats of one file. Playlists are none: they name other files, and addresses in the network."""
BARE = frozenset(
    {"h264", "hevc", "vvc", "m4v", "mpegvideo", "mjpeg", "mpjpeg", "h263", "vc1", "cavsvideo", "obu"}
)
"""Formats that hold pictures and nothing else: they have no time stamps of their own."""
OPTIONS = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "file"}
"""Whatever a file says, nothing else is opened, here or in the network."""
_COVER = 0x400
"""FFmpeg's ``AV_DISPOSITION_ATTACHED_PIC``."""
_MOST_BYTES = 1 << 30
"""Memory for one packet, or for an index; hours of video have an index of some megabytes."""
_MOST_FAULTS = 1000
"""A damaged stretch is passed over packet by packet, but not for ever."""


class RecordingContainer:
    """One open file."""

    def __init__(self, path: Path, need: str) -> None:
        """Open ``path``; ``need`` completes "... needs", should PyAV be missing.

        Raises:
            InputError: VIDEO_UNREADABLE; it is no container that FFmpeg opens, or its index is missing.
            LinkError: SOURCE_MISSING, or the disk fails.
            DeviceError: EXTRA_MISSING.
        """
        self._av = import_av(need)
        self._path = path
        self.faults = 0
        """How often the container itself turned out to be damaged."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise LinkError(Reason.SOURCE_MISSING, f"{path} does not exist", hint="check the path") from None
        except OSError as error:
            raise disk_error(error, f"read {path}") from error
        try:
            # a row of JPEGs without a container is not told from one JPEG by FFmpeg
            kind = "mjpeg" if os.pread(fd, 3, 0) == b"\xff\xd8\xff" else None
            # by its number: a name may be no UTF-8, or look like a protocol of FFmpeg's
            with memory_bounded(_MOST_BYTES):
                self.av: Any = self._av.open(
                    f"file:/proc/self/fd/{fd}", format=kind, options=OPTIONS, metadata_errors="replace"
                )
        except OSError as error:
            raise disk_error(error, f"read {path}") from error
        except (self._av.error.FFmpegError, ValueError):
            why, known = why_not_opened(os.pread(fd, 12, 0))
            raise InputError(
                Reason.VIDEO_UNREADABLE,
                f"{path} cannot be read as video: {why}",
                hint=WHOLE_FILE if known else "expected a whole MP4, Matroska, AVI or other video",
            ) from None
        finally:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def format(self) -> str:
        """FFmpeg's name of the format: ``avi``, ``matroska,webm`` ..."""
        return str(self.av.format.name)

    @property
    def pictures(self) -> Any | None:
        """The stream of pictures, an ``av.VideoStream``; a cover of sound is none."""
        best = self.av.streams.best("video")
        return None if best is None or best.disposition & _COVER else best

    def packets(self) -> Iterator[Any]:
        """Yield the packets of all streams in the order of the file, without those that only flush.

        Raises:
            LinkError: The disk fails.
        """
        streams = [stream for stream in self.av.streams if stream.type in ("video", "audio", "subtitle")]
        met = 0
        while met <= _MOST_FAULTS:
            try:
                demuxed = self.av.demux(*streams)
                while (packet := self._next(demuxed)) is not None:
                    if packet.size:
                        self.faults = met
                        yield packet
                break
            except IndexError:  # PyAV does not know a stream that appears late: its packet is not ours
                continue
            except OSError as error:
                raise disk_error(error, f"read {self._path}") from error
            except (self._av.error.FFmpegError, MemoryError):
                met += 1
        if self.format != "mpjpeg":  # behind the last boundary FFmpeg misses a picture
            self.faults = met

    def _next(self, demuxed: Iterator[Any]) -> Any | None:
        """Return the next packet. A damaged length may claim gigabytes, which are not to be had."""
        with memory_bounded(_MOST_BYTES):
            return next(demuxed, None)

    def close(self) -> None:
        """Close it. May be called twice."""
        self.av.close()
