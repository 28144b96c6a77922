"""The log-mel frontend as a float graph of builtin operators, for tools that feed samples.

The definition is that of :mod:`galago_edge.preprocess.audio`, in float32 instead of integers: after rounding
nearly all codes are the same, and the others differ by one (half a decibel), or by more where a band is so
quiet that the rounding of the samples is all it has.
"""

from __future__ import annotations

import math
import tempfile
from typing import Any

import numpy as np

from galago_converters.chatter import captured
from galago_converters.frameworks import import_tensorflow
from galago_edge.contract.manifest import AudioPreprocess
from galago_edge.preprocess.audio import FEATURE_SCALE
from galago_edge.preprocess.filterbank import BANK_BITS, dense_bank
from galago_edge.preprocess.tables import (
    CODES_PER_DB,
    TABLE_BITS,
    ZERO_DB_CODE,
    FrontendTables,
    fft_length,
    floor_code,
)

_SILENCE = 1e-12
"""Added to a band before its logarithm: far below the lowest code."""


def float_frontend(spec: AudioPreprocess) -> bytes:
    """Return a ``.tflite`` file that turns one window of samples into what the network is fed.

    Its input is float32 ``(1, spec.window_samples)``, samples from -1 to 1; its output float32
    ``(1, window_frames, mel_bands)``, codes times ``FEATURE_SCALE``, not rounded.
    """
    tf = import_tensorflow()
    with captured(), tempfile.TemporaryDirectory(prefix="galago-frontend-") as folder:
        module = tf.Module()
        module.levels = tf.function(
            _levels(tf, spec), input_signature=[tf.TensorSpec((1, spec.window_samples), tf.float32)]
        )
        tf.saved_model.save(module, folder, signatures=module.levels.get_concrete_function())
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.exclude_conversion_metadata = True
        return bytes(converter.convert())


def _levels(tf: Any, spec: AudioPreprocess) -> Any:
    tables = FrontendTables.build(spec)
    window = (tables.window / 2.0**TABLE_BITS).astype(np.float32)
    bank = dense_bank(tables.bank, spec.mel_bands) / 2.0**BANK_BITS
    power = spec.spectrum == "power"
    # of a full-scale sine at a bin's centre: a periodic Hann window sums to half its length
    full_scale = spec.frame_samples / 4
    bank = (bank / (full_scale**2 if power else full_scale)).astype(np.float32)
    codes_per_factor = CODES_PER_DB * (10 if power else 20) / math.log(10)
    starts = np.arange(spec.window_frames)[:, None] * spec.frame_hop_samples
    places = (starts + np.arange(spec.frame_samples)).astype(np.int32)
    length = fft_length(spec.frame_samples)

    def levels(samples: Any) -> Any:
        frames = tf.gather(samples[0], places) * window
        spectrum = tf.signal.rfft(frames, [length])
        sums = tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))
        bands = tf.matmul(sums if power else tf.sqrt(sums), bank) + _SILENCE
        codes = codes_per_factor * tf.math.log(bands) + float(ZERO_DB_CODE)
        return tf.maximum(codes, float(floor_code(spec)))[tf.newaxis] * FEATURE_SCALE

    return levels
