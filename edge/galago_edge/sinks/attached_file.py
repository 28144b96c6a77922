"""The file that the record of an attachment names, read when the record is delivered."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from galago_edge.contract.attachment import FOLDER, is_attachment
from galago_edge.contract.decoding import from_json
from galago_edge.contract.records import AttachmentRecord
from galago_edge.contract.settings import AttachmentsSettings
from galago_edge.host.own_folders import open_file
from galago_edge.sinks.delivery import Delivery

_PIECE_BYTES = 1 << 20
_NOT_NOW = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""What says nothing about the file."""


@dataclass(frozen=True, slots=True)
class Attached:
    """An attachment on its way to one receiver."""

    delivery: Delivery
    """As it is to be sent: with ``"gone":true`` when the file is not there any more."""
    content: bytes | None = None
    """None: it is gone."""
    media_type: str = ""
    path: Path = Path()


class AttachedFiles:
    """Where the attachments of one device lie, and which are made at all."""

    def __init__(self, root: Path = Path(), settings: AttachmentsSettings | None = None) -> None:
        """Look for them below ``root``, the store's folder; without ``settings`` no new ones are made."""
        self._root = root
        self.settings = settings

    def pictures_of(self, stream: str) -> bool:
        """Tell whether the events of a camera's stream carry pictures."""
        settings = self.settings
        return (
            settings is not None
            and settings.pictures
            and (not settings.streams or stream in settings.streams)
        )

    def of(self, delivery: Delivery) -> Attached | None:
        """Return what a delivery carries; None when it is of another kind.

        Raises:
            OSError: No file can be opened now.
        """
        if delivery.kind != "attachment":
            return None
        try:
            record = from_json(delivery.line, type=AttachmentRecord)
        except msgspec.DecodeError:  # of a version that is still to come
            return _gone(delivery)
        path = self._root / FOLDER / record.file
        try:
            content = self._read(path, record.bytes) if is_attachment(record.file) else None
        except OSError as error:
            if error.errno in _NOT_NOW:
                raise
            return _gone(delivery)
        if content is None or hashlib.sha256(content).hexdigest() != record.sha256:
            return _gone(delivery)
        return Attached(delivery, content, record.media_type, path)

    def _read(self, path: Path, size: int) -> bytes | None:
        """Return the whole file; None when it is of another size.

        Raises:
            OSError: There is none, or it cannot be read.
        """
        fd = open_file(path, os.O_RDONLY | os.O_NONBLOCK, (self._root,))
        try:
            if os.fstat(fd).st_size != size:
                return None
            content = bytearray()
            while piece := os.read(fd, min(_PIECE_BYTES, size + 1 - len(content))):
                content += piece
            return bytes(content)
        finally:
            os.close(fd)


def _gone(delivery: Delivery) -> Attached:
    return Attached(dataclasses.replace(delivery, line=delivery.line[:-1] + b',"gone":true}'))
