"""The JPEG pictures in the body of an HTTP answer, as the camera sent them; none is decoded."""

from __future__ import annotations

import http.client
import math
import time
import zlib

from galago_edge.contract.errors import LinkError, Reason
from galago_edge.sources.capture.capture_messages import MOST_DAMAGED, Order
from galago_edge.sources.capture.http_credentials import quoted
from galago_edge.sources.capture.jpeg_scanner import LONGEST_PICTURE, JpegScanner

STREAM_TYPE = "multipart/x-mixed-replace"

_READ_BYTES = 65_536
_MOST_UNPACKED = 1 << 20
"""At once: a few packed bytes may stand for very many."""
_ANY_ZLIB = 32 + zlib.MAX_WBITS
"""Finds out by itself whether it is gzip or deflate."""
_PACKED = ("gzip", "x-gzip", "deflate")
_FIRST_BYTES = 512
_SHOWN_BYTES = 40
_SHOWN_TYPE = 80


class HttpPictures:
    """Reads an answer to its end, which for a stream never comes.

    What stands around the pictures is not read: cameras write boundaries, lengths and types that are wrong in
    every way, and browsers and recorders that guess have taught them that it does not matter.
    """

    def __init__(self, response: http.client.HTTPResponse, order: Order) -> None:
        """Read the body of ``response`` to what ``order`` asks for.

        Raises:
            LinkError: SOURCE_MISMATCH; the body is packed in a way that is not known here.
        """
        self._response = response
        self._order = order
        self._damaged = 0
        """Pictures in a row that were not whole."""
        self.type = response.headers.get_content_type() if "Content-Type" in response.headers else ""
        """In small letters; empty when the camera does not say."""
        if self.type == STREAM_TYPE:
            response.length = None  # such a stream has none, whatever the header says
        self.stated = response.length
        """Bytes of the body as the header says; None when it does not."""
        packing = response.headers.get("Content-Encoding", "identity").strip().lower()
        if packing not in (*_PACKED, "identity", ""):
            raise self.mismatch(f"it is packed as {self.quoted(packing, 20)}, which nobody asked for")
        self._unpacker = zlib.decompressobj(_ANY_ZLIB) if packing in _PACKED else None
        self._scanner = JpegScanner()
        self._patience_s = math.inf
        self._began = self._heard = time.monotonic()
        self.first = b""
        """The first bytes of the body, or of what came after the last picture."""
        self._came = 0
        self._ended = self._gave = False

    @property
    def ended(self) -> bool:
        """Whether the whole answer was read, so that its connection is free."""
        return self._ended

    def wait_for_picture(self, seconds: float) -> None:
        """Let bytes come for at most so long without a whole picture; silence is not told here."""
        self._patience_s = seconds

    def next_picture(self) -> bytes | None:
        """Wait for the next picture; return nothing (``b""``) for one that is not whole, None at the end.

        Raises:
            LinkError: SOURCE_LOST, or SOURCE_MISMATCH when bytes come and no picture, or all are damaged.
        """
        if self._damaged >= MOST_DAMAGED:
            raise self.mismatch(f"{self._damaged} in a row ({self._scanner.fault})")
        picture = self._next_picture()
        if picture is not None:
            self._damaged = 0 if picture else self._damaged + 1
        return picture

    def _next_picture(self) -> bytes | None:
        while (picture := self._scanner.next_picture()) is None:
            if self._ended:
                return None
            if (passed_s := self._heard - self._began) > self._patience_s:
                raise self.mismatch(f"in {passed_s:.1f} s {self.found}")
            self.read_on()
            if self._ended and self._scanner.finish():
                return b""
        if picture:
            self._gave = True
            rest = self._scanner.rest()
            self._began, self._came, self.first = self._heard, len(rest), rest[:_FIRST_BYTES]
        return picture

    def read_on(self) -> None:
        """Wait for the next bytes, or for the end.

        Raises:
            LinkError: As above.
        """
        data = self._read()
        now = time.monotonic()
        if now - self._heard > self._patience_s / 2:
            self._began = now  # after a silence: what comes is the beginning of something
        self._heard = now
        self._came += len(data)
        if len(self.first) < _FIRST_BYTES:
            self.first += data[:_FIRST_BYTES]
        self._scanner.feed(data)
        self._ended = not data

    @property
    def found(self) -> str:
        """What came instead of a picture, in words."""
        fault = f" ({self._scanner.fault})" if self._scanner.fault else ""
        if not self._came:
            return f"no byte came{fault}"
        first = self.quoted(self.first, _SHOWN_BYTES)
        return f"{self._came} bytes came but no whole JPEG{fault}, first bytes {first}"

    @property
    def stated_type(self) -> str:
        """The type of the answer in words, as the camera writes it."""
        written = self._response.headers.get("Content-Type", "")
        return self.quoted(written, _SHOWN_TYPE)[1:-1] if written else "no type"

    def quoted(self, said: str | bytes, longest: int) -> str:
        """Return what the camera said, for a message."""
        return quoted(self._order, said, longest)

    def close(self) -> None:
        """Read no more; a connection that is kept stays open."""
        self._response.close()

    def lost(self, how: str) -> LinkError:
        """Return the error of a camera that gives no more, with what it gave if that was no picture."""
        without = "" if self._gave else f" before its first picture: {self.found}"
        return LinkError(
            Reason.SOURCE_LOST,
            f"camera {self._order.shown} {how}{without}",
            hint="check its power and the network",
        )

    def mismatch(self, what: str) -> LinkError:
        """Return the error of what answers and is no MJPEG camera, or is one without a whole picture."""
        if self._damaged:
            sends = "pictures that are all damaged"
            hint = "look at its network; smaller pictures or fewer a second in its settings may help"
        else:
            sends = "no MJPEG stream"
            hint = "look into the camera's manual for the address of its MJPEG stream, or use its rtsp:// one"
        return LinkError(
            Reason.SOURCE_MISMATCH, f"camera {self._order.shown} sends {sends}: {what}", hint=hint
        )

    def _read(self) -> bytes:
        """Return what comes next, unpacked; nothing at the end."""
        unpacker = self._unpacker
        while True:
            try:
                if unpacker is None:
                    return self._response.read1(_READ_BYTES)
                packed = unpacker.unconsumed_tail or self._response.read1(_READ_BYTES)
                if not packed or unpacker.eof:
                    return b""
                if data := unpacker.decompress(packed, _MOST_UNPACKED):
                    return data
            except TimeoutError:
                raise self.lost("sends nothing more") from None
            except zlib.error:
                raise self.mismatch("it says that it is packed as gzip or deflate, and is not") from None
            except (OSError, http.client.HTTPException) as error:
                raise self.lost(f"broke its stream off ({type(error).__name__})") from None


def is_short(stated: int | None) -> bool:
    """Return whether a body of this stated length is one picture at most."""
    return stated is not None and stated <= LONGEST_PICTURE
