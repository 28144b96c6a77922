"""The idx format of MNIST and its successors: a big-endian header, then bytes.

Source: http://yann.lecun.com/exdb/mnist/ ("The IDX file format"): two zero bytes, type 0x08 (unsigned byte),
number of dimensions, each dimension as a 32-bit integer, then the values, last dimension fastest.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from galago_edge.contract.errors import InputError, Reason, disk_error, system_words
from galago_workstation.data.listing import Listing, Met, check_labels, make_listing, refuse
from galago_workstation.data.sample import Sample
from galago_workstation.training_config import IdxFiles

_UNSIGNED_BYTE = 0x08


def read_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """Read an idx file of unsigned bytes; ``.gz`` is unpacked.

    Returns:
        Array of ``dimensions`` axes as the header says: ``(n, height, width)`` or ``(n,)``.

    Raises:
        InputError: DATA_BAD; another magic number, or more or fewer bytes than the header promises.
        LinkError: The file cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(Reason.DATA_BAD, f"{path} does not exist", hint="check [data]") from None
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise _bad(path, f"cannot be unpacked: {system_words(error)}") from None
    return parse_idx(content, dimensions, path)


def parse_idx(content: bytes, dimensions: int, path: Path) -> npt.NDArray[np.uint8]:
    """Return the array that the bytes of an unpacked idx file stand for; ``path`` is for messages.

    Raises:
        InputError: DATA_BAD; another magic number, or more or fewer bytes than the header promises.

    >>> parse_idx(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]), 1, Path("labels"))
    array([7, 8, 9], dtype=uint8)
    """
    magic = int.from_bytes(content[:4])
    expected = _UNSIGNED_BYTE << 8 | dimensions
    if magic != expected or len(content) < 4 + 4 * dimensions:
        raise _bad(path, f"begins with magic number {magic}; expected {expected}")
    header = np.frombuffer(content, ">u4", dimensions, offset=4)
    shape = tuple(int(size) for size in header)
    data = np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions)
    promised = int(np.prod(shape, dtype=object))
    if data.size != promised:
        raise _bad(path, f"holds {data.size} values; its header promises {'x'.join(map(str, shape))}")
    return data.reshape(shape)


class IdxSet:
    """The pictures and labels of a configuration, read when first needed."""

    def __init__(self, data: IdxFiles, root: Path) -> None:
        self._data = data
        self._root = root

    @cached_property
    def _pictures(self) -> dict[str, npt.NDArray[np.uint8]]:
        names = [self._data.images]
        if self._data.test_images is not None:
            names.append(self._data.test_images)
        return {name: read_idx(self._root / name, 3) for name in names}

    def picture(self, sample_id: str) -> npt.NDArray[np.uint8]:
        """Return the gray picture ``(height, width)`` of ``FILE#INDEX``.

        Raises:
            InputError: DATA_BAD; there is no such picture.
        """
        name, _, index = sample_id.rpartition("#")
        pictures = self._pictures.get(name)
        if pictures is None or not index.isdecimal() or int(index) >= len(pictures):
            raise InputError(Reason.DATA_BAD, f"there is no image {sample_id}", hint="check [data]")
        picture: npt.NDArray[np.uint8] = pictures[int(index)]
        return picture

    def listing(self, met: Met = refuse) -> Listing:
        """List and hash all pictures; ``met`` is told of labels and samples that are wrong, each time.

        Raises:
            InputError: DATA_BAD, CLASS_EMPTY, CLASS_SINGLE, LABELS_REPEAT.
        """
        data = self._data
        check_labels(data.label_names, "[data] label_names", met)
        pool = self._samples(data.images, data.labels)
        if data.test_images is None or data.test_labels is None:
            return make_listing(data.label_names, pool, None, met)
        test = self._samples(data.test_images, data.test_labels)
        return make_listing(data.label_names, pool, test, met)

    def _samples(self, images: str, labels: str) -> list[Sample]:
        pictures = self._pictures[images]
        numbers = read_idx(self._root / labels, 1)
        if len(pictures) != len(numbers):
            raise _bad(
                self._root / labels, f"holds {len(numbers)} labels for {len(pictures)} images of {images}"
            )
        if numbers.size and int(numbers.max()) >= len(self._data.label_names):
            raise _bad(
                self._root / labels,
                f"holds label {numbers.max()}; [data] label_names has {len(self._data.label_names)} names",
            )
        digits = len(str(len(pictures)))  # ids then sort as the file does
        return [
            Sample(f"{images}#{index:0{digits}}", None, pixels_sha256(picture), int(number))
            for index, (picture, number) in enumerate(zip(pictures, numbers, strict=True))
        ]


def pixels_sha256(picture: npt.NDArray[np.uint8]) -> str:
    """Return the hash of a picture's values, row by row."""
    return hashlib.sha256(picture.tobytes()).hexdigest()


def _bad(path: Path, problem: str) -> InputError:
    return InputError(Reason.DATA_BAD, f"{path} {problem}", hint="fetch the file again")
