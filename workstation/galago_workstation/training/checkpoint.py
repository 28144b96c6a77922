"""Where a training is, in one file, so that one that was killed goes on and ends with the same weights.

Batches and augmentation depend on seed and epoch alone, so the state of a training between two epochs is the
network's variables (batch norm and the states of dropout among them), the optimizer's, the best weights so
far and the epochs that were.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import disk_error
from galago_workstation.files import write_bytes
from galago_workstation.training.curves import Epoch
from galago_workstation.training.learner import Weights

_STATE = "state"


class _State(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    key: str
    phase: int
    phase_first: int
    phase_over: bool
    batch_size: int
    epochs: tuple[Epoch, ...]
    best_epoch: int


_SCHEMA = "galago.checkpoint/1"
_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class TrainingState:
    """What a training is between two epochs."""

    phase: int
    """Which of the phases, from 0."""
    phase_first: int
    """The epoch with which it began, from 0."""
    phase_over: bool
    """It is done, whatever epochs it had left."""
    batch_size: int
    """Samples of a batch, which may depend on the number of devices."""
    epochs: tuple[Epoch, ...]
    best_epoch: int
    """From 1."""
    variables: Weights
    """Of the network, in its order."""
    optimizer: Weights
    best_weights: Weights


class Checkpoint:
    """The file with the state of one training.

    Args:
        path: The file.
        key: What must be equal for a state to be this training's: hashes of configuration, data and start,
            and the versions of the software.
    """

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self.key = key

    def save(self, state: TrainingState) -> None:
        """Replace the file.

        Raises:
            LinkError: NO_SPACE and other trouble with the disk; the former state stays.
        """
        write_bytes(self._path, self._encoded(state))

    def content(self) -> bytes:
        """Return what the file holds; nothing where there is none.

        Raises:
            LinkError: It cannot be read.
        """
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise disk_error(error, f"read {self._path}") from error

    def _encoded(self, state: TrainingState) -> bytes:
        head = _State(
            schema=_SCHEMA,
            key=self.key,
            phase=state.phase,
            phase_first=state.phase_first,
            phase_over=state.phase_over,
            batch_size=state.batch_size,
            epochs=state.epochs,
            best_epoch=state.best_epoch,
        )
        encoded = np.frombuffer(msgspec.json.encode(msgspec.to_builtins(head)), np.uint8)
        groups = (("v", state.variables), ("o", state.optimizer), ("b", state.best_weights))
        arrays: dict[str, Any] = {
            f"{letter}{number:05}": array for letter, group in groups for number, array in enumerate(group)
        }
        arrays[_STATE] = encoded
        content = io.BytesIO()
        np.savez(content, **arrays)
        # zip's own checksums do not cover the names of the arrays; readers of zip skip what stands behind it
        return content.getvalue() + hashlib.sha256(content.getvalue()).digest()

    def state_in(self, content: bytes) -> TrainingState | None:
        """Return the state in a file's content; None where it is another training's, or damaged."""
        whole, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
        if hashlib.sha256(whole).digest() != digest:
            return None
        try:
            with np.load(io.BytesIO(whole), allow_pickle=False) as file:
                head = from_json(file[_STATE].tobytes(), _State)
                if (head.schema, head.key) != (_SCHEMA, self.key):
                    return None
                groups = {
                    letter: [
                        file[name]
                        for name in sorted(file.files)
                        if name.startswith(letter) and name != _STATE
                    ]
                    for letter in "vob"
                }
        except (ValueError, KeyError, msgspec.DecodeError):
            return None  # whole, but another version's
        return TrainingState(
            phase=head.phase,
            phase_first=head.phase_first,
            phase_over=head.phase_over,
            batch_size=head.batch_size,
            epochs=head.epochs,
            best_epoch=head.best_epoch,
            variables=groups["v"],
            optimizer=groups["o"],
            best_weights=groups["b"],
        )

    def remove(self) -> None:
        """Remove the file: the training is over."""
        self._path.unlink(missing_ok=True)
