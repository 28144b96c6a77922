"""The files of one recording: what each is called, while it is written and when it is whole."""

from __future__ import annotations

from pathlib import Path

import msgspec

from galago_edge.contract.errors import CallerError, Reason, disk_error
from galago_edge.host.file_replacement import Durable, FileEffects, replace_file
from galago_edge.recorded.about import METADATA, PART_SUFFIX, SUFFIX, AboutRecording, about_metadata
from galago_edge.recorded.chunk_file import ChunkFile


class FileSeries:
    """``NAME-000.mcap``, ``NAME-001.mcap`` ...; or ``NAME.mcap`` alone. Nothing is ever written over."""

    def __init__(
        self, folder: Path, name: str, about: AboutRecording, *, single: bool, part: Path | None
    ) -> None:
        """Make no file yet. ``part``: where a single file is written before it is whole."""
        self._folder, self._name, self._about = folder, name, about
        self._part = part
        self.single = single

    def begin(self, number: int) -> ChunkFile:
        """Make the file of this number, ``.part`` until it is whole.

        Raises:
            CallerError: EXISTS; there is such a file.
            LinkError: The disk refuses.
            DeviceError: EXTRA_MISSING.
        """
        if (whole := self.whole(number)).exists():
            raise CallerError(Reason.EXISTS, f"{whole} exists already", hint="choose another name")
        path = self._part or self._folder / (self._called(number) + PART_SUFFIX)
        about = msgspec.structs.replace(self._about, part=number)
        try:
            return ChunkFile(path, {METADATA: about_metadata(about)})
        except FileExistsError:
            raise CallerError(
                Reason.EXISTS,
                f"{path} exists: another recording is being made, or was ended while it was",
                hint=f"galago recording recover {path} makes a whole one of it; or choose another name",
            ) from None
        except OSError as error:
            raise disk_error(error, f"write {whole}") from error

    def free_number(self, after: int) -> int:
        """Return the next number of which there is no file, whole or not."""
        number = after + 1
        while any((self._folder / (self._called(number) + end)).exists() for end in (SUFFIX, PART_SUFFIX)):
            number += 1
        return number

    def whole(self, number: int) -> Path:
        """Return what the file of this number is called when it is whole."""
        return self._folder / (self._called(number) + SUFFIX)

    def finish(self, file: ChunkFile, number: int) -> Path:
        """End a file, all of whose chunks are written, give it its name, and lay its SHA-256 beside it.

        Raises:
            OSError: The disk refuses: it stays ``.part``, whole up to its last chunk.
        """
        whole = self.whole(number)
        file.finish()
        sums = f"{file.sha256}  {whole.name}\n".encode()
        replace_file(whole.with_name(whole.name + ".sha256"), sums, durable=Durable.WHOLE)
        file.path.rename(whole)
        FileEffects().fsync_dir(whole.parent)
        return whole

    def _called(self, number: int) -> str:
        return self._name if self.single else f"{self._name}-{number:03d}"
