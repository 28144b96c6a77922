"""The one place that imports TensorFlow: quiet, and only when somebody trains or converts."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

_STDERR = 2


def import_tensorflow() -> Any:
    """Import TensorFlow without its start-up noise and return the module; ``tf.keras`` is Keras 3.

    A ``TF_CPP_MIN_LOG_LEVEL`` that the user has set stays. ``KERAS_BACKEND`` does not: networks of
    another backend cannot become TFLite files.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    first = "tensorflow" not in sys.modules
    with quiet_stderr() if first else contextlib.nullcontext(), warnings.catch_warnings():
        # TensorFlow's own modules use deprecated names of Python and numpy; nobody here can change that
        warnings.simplefilter("ignore")
        import tensorflow as tf

        tf.get_logger().setLevel("ERROR")
        _ = tf.keras.Model  # tf.keras loads lazily: load it while the warnings are off
    return tf


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hold back what the process, native libraries included, writes to stderr; show it if the block fails.

    TensorFlow 2.21 writes notes on oneDNN and CUDA there whatever ``TF_CPP_MIN_LOG_LEVEL`` says.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        original = os.dup(_STDERR)
        os.dup2(held.fileno(), _STDERR)
        failed = True
        try:
            yield
            failed = False
        finally:
            sys.stderr.flush()
            os.dup2(original, _STDERR)
            if failed:
                held.seek(0)
                with os.fdopen(original, "wb") as stderr:
                    shutil.copyfileobj(held, stderr)
            else:
                os.close(original)
