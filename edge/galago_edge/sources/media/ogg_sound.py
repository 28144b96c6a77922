"""The sound of an Ogg stream, each page at the time at which it says that it ends.

FFmpeg guesses where the packets of a page are: where Vorbis changes the length of its blocks it is wrong by
448 samples for one packet, and behind a page that is missing by the length of that page. The pages themselves
are exact: each holds the count of samples at its end (RFC 3533; RFC 7845 for Opus, which counts what is to be
left out at the beginning, too; Vorbis I, A.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any, BinaryIO

from galago_edge.sources.media.ogg_pages import OggLink, OggPage, ogg_stream
from galago_edge.sources.media.sound_packets import DecodedSound, LostSound, SoundPackets

_FLAC_SYNC = 0xFF


class OggSound:
    """Decodes one stream of an Ogg link: what :class:`SoundPackets` is for other containers."""

    exact = True
    whole = False
    counted = False

    def __init__(self, av: Any, file: BinaryIO, link: OggLink, stream: Any, packets: SoundPackets) -> None:
        """Prepare for ``stream``, an ``av.AudioStream`` of ``link``, whose decoder ``packets`` has."""
        self._av, self._packets = av, packets
        self._pages = ogg_stream(file, link, link.serials[stream.id])
        context = stream.codec_context
        self._is_header, self._extradata = _HEADERS[context.name], context.extradata or b""
        self._trimmed = context.name in ("vorbis", "opus")
        """Whether the last page may end before its last packet does. FFmpeg hears the others out."""
        self._ahead = int.from_bytes(self._extradata[10:12], "little") if context.name == "opus" else 0
        self.path = packets.path
        self._next: int | None = None
        """Where the page before ended, in samples."""

    def __iter__(self) -> Iterator[DecodedSound | LostSound]:
        """Yield everything up to the end."""
        number = -1
        for page in self._pages:
            sounds: list[DecodedSound | LostSound] = []
            if page.missing and self._next is not None:
                self._packets.forget()
                sounds.append(LostSound(Fraction(0)))  # how long it was, the stamps say
            for data in page.packets:
                number += 1
                if data and not self._is_header(data, number, self._extradata):
                    sounds += self._packets.decode(self._av.Packet(data))
            if any(isinstance(sound, DecodedSound) for sound in sounds):
                yield from self._placed(page, sounds)
            else:
                yield from sounds

    def _placed(self, page: OggPage, sounds: list[DecodedSound | LostSound]) -> Iterator[Any]:
        """Yield the sounds of a page with their stamps: those behind a loss end where the page does."""
        rate_hz = next(sound.format.rate_hz for sound in sounds if isinstance(sound, DecodedSound))
        lost = max((i for i, sound in enumerate(sounds) if isinstance(sound, LostSound)), default=-1)
        behind = sum(len(sound.samples) for sound in sounds[lost + 1 :] if isinstance(sound, DecodedSound))
        end = page.granule - self._ahead
        if page.granule < 0:
            end = (self._next or 0) + behind
        at = end - behind
        if self._next is None:
            at = max(0, at) if page.last else at
            if page.damaged and at > 0:
                yield LostSound(Fraction(at, rate_hz))
        elif lost < 0:
            at = max(at, self._next)
        left = end - at if page.last and self._trimmed else behind
        before, self._next = self._next, max(end, at)
        for index, sound in enumerate(sounds):
            if isinstance(sound, LostSound):
                before = None
                yield sound
            elif index > lost:
                kept = sound.samples[: max(0, left)]
                if len(kept):
                    yield replace(sound, samples=kept, stamp=Fraction(at, rate_hz))
                at, left = at + len(sound.samples), left - len(sound.samples)
            elif before is None:
                yield replace(sound, stamp=None)
            else:
                yield replace(sound, stamp=Fraction(before, rate_hz))
                before += len(sound.samples)


_HEADERS: dict[str, Callable[[bytes, int, bytes], bool]] = {
    "vorbis": lambda packet, number, extradata: bool(packet[0] & 1),
    "opus": lambda packet, number, extradata: packet.startswith((b"OpusHead", b"OpusTags")),
    "flac": lambda packet, number, extradata: packet[0] != _FLAC_SYNC,
    "speex": lambda packet, number, extradata: number < 2 + int.from_bytes(extradata[68:72], "little"),
}
"""What of each codec tells that a packet is no sound: its bytes, its number, and the codec's extradata."""


def counts_samples(stream: Any, link: OggLink) -> bool:
    """Tell whether the pages of a stream count its samples, in a way that is known here."""
    return stream.codec_context.name in _HEADERS and stream.id < len(link.serials)
