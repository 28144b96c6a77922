"""Event files for TensorBoard, in ``FOLDER/NAME/train`` and ``FOLDER/NAME/validation``, as Keras has them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from galago_workstation.run_folder import Run
from galago_workstation.training.curves import Epoch

_OF = {
    "train": {
        "epoch_loss": "loss",
        "epoch_accuracy": "accuracy",
        "epoch_learning_rate": "learning_rate",
        "epoch_seconds": "seconds",
    },
    "validation": {
        "epoch_loss": "validation_loss",
        "epoch_accuracy": "validation_accuracy",
        "epoch_balanced": "validation_balanced",
        "epoch_stream_recall": "stream_recall",
        "epoch_stream_false_alarms_per_hour": "stream_false_alarms_per_hour",
    },
}
"""Fields of an epoch by part and tag; the names are those of ``keras.callbacks.TensorBoard``."""


class TensorboardLog:
    """Writes one value of each figure an epoch; the step is the epoch, from 1.

    A training that goes on adds another file to the same folders, which TensorBoard shows as one.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.title = f"TensorBoard in {folder}"
        self._folder = folder / name
        self._writers: dict[str, Any] = {}

    def write(self, epochs: Sequence[Epoch]) -> None:
        """Write and flush."""
        from galago_converters.frameworks import import_tensorflow

        tf = import_tensorflow()
        for part, fields in _OF.items():
            if part not in self._writers:
                (self._folder / part).mkdir(parents=True, exist_ok=True)  # TensorFlow's own error says little
                self._writers[part] = tf.summary.create_file_writer(str(self._folder / part))
            with self._writers[part].as_default():
                for epoch in epochs:
                    for tag, field in fields.items():
                        if (value := getattr(epoch, field)) is not None:
                            _scalar(tf, tag, value, epoch.epoch)
            self._writers[part].flush()

    def finish(self, run: Run | None) -> None:
        """Close the files."""
        for writer in self._writers.values():
            writer.close()


def _scalar(tf: Any, tag: str, value: float, step: int) -> None:
    """Write what ``tf.summary.scalar`` writes, which is there only where TensorBoard is installed.

    The plugin's data, a protobuf of one field, version 0, is empty.
    """
    metadata = tf.compat.v1.SummaryMetadata(
        plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars"),
        data_class="DATA_CLASS_SCALAR",
    )
    tf.summary.write(tag, tf.constant(value, tf.float32), step=step, metadata=metadata)
