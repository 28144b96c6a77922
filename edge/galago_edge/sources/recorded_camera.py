"""A camera of a recording file, as it was when it was recorded."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.modality import Modality
from galago_edge.contract.streams import Frame, Gap, Item, Notice
from galago_edge.recorded.stored_items import Missing, StoredPicture
from galago_edge.sources.media.recorded_video import RecordedVideo
from galago_edge.sources.recorded_source import OpenedRecording
from galago_edge.sources.still_image import decode_picture
from galago_edge.sources.taken_items import TakenItems, from_ns_of

_STILL = ("jpeg", "png", "webp")


class RecordedCamera(OpenedRecording):
    """Frames with their own indexes and times, from the camera's own bytes."""

    modality: Modality = "camera"
    _unreadable, _truncated = Reason.VIDEO_UNREADABLE, Reason.VIDEO_TRUNCATED

    def conversion(self) -> None:
        """Return None: pictures are decoded as a live camera's are."""
        return

    def __iter__(self) -> Generator[Item, None, None]:
        """Yield frames, gaps and notices as they were recorded; then say what was wrong.

        Raises:
            InputError: VIDEO_UNREADABLE, VIDEO_TRUNCATED; SOURCE_MISMATCH, pictures of an unknown kind.
            LinkError: The disk fails.
            DeviceError: EXTRA_MISSING.
        """
        video: RecordedVideo | None = None
        taken = TakenItems(self._drops)
        mark = self._source.mark
        conceal = mark is not None and mark.conceal
        for item in self._items():
            yield from self._beginning(item)
            if isinstance(item, StoredPicture) and item.format not in _STILL:
                if video is None:
                    video = RecordedVideo(item.format, str(self._path), conceal=conceal)
                for picture, frame in video.decode(item):
                    yield from self._shown(picture, frame, taken)
                continue
            if video is not None:
                for picture, frame in video.rest(lost=isinstance(item, Missing)):
                    yield from self._shown(picture, frame, taken)
            if isinstance(item, StoredPicture):
                if not item.hidden:
                    yield from self._shown(item, self._still(item, conceal), taken)
            elif isinstance(item, Missing):
                yield from self._lost(item)
            else:
                yield from taken.before(from_ns_of(item))
                self._end_ns = max(self._end_ns, item.to_ns if isinstance(item, Gap) else 0)
                yield item
        if video is not None:
            for picture, frame in video.rest():
                yield from self._shown(picture, frame, taken)
        yield from self._ending()
        self._judge()

    def _shown(self, picture: StoredPicture, pixels: Any, taken: TakenItems) -> Iterator[Item]:
        """Yield one picture, or that it cannot be decoded."""
        if not taken.takes(picture.index):
            return
        yield from taken.before(picture.captured_ns)
        self._next_index, self._end_ns = picture.index + 1, picture.captured_ns
        if pixels is None:
            self._missing += 1
            if self._first_damage is None:
                self._first_damage = picture.captured_ns
            yield Notice("unreadable", picture.index, picture.captured_ns, {"frames": 1})
            yield Gap(picture.captured_ns, picture.captured_ns, "unreadable")
            return
        self._given += 1
        encoded = picture.data if picture.format == "jpeg" else None
        yield Frame(pixels, picture.index, picture.captured_ns, encoded)

    def _still(self, picture: StoredPicture, conceal: bool) -> Any:
        """Return the pixels of a JPEG or PNG, by the code that decodes a live camera's; None for damage."""
        from galago_edge.sources.media.picture_reader import LARGEST_PIXELS

        try:
            pixels, whole = decode_picture(picture.data, str(self._path), largest_pixels=LARGEST_PIXELS)
        except InputError:
            return None
        return pixels if whole or conceal else None
