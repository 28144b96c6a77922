"""The exact frontend under other numbers of BLAS threads and other sums: the same codes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import hashlib, os, sys
import numpy as np
from galago_edge.contract.manifest import AudioPreprocess
from galago_edge.preprocess import log_mel

noise = np.frombuffer(hashlib.shake_128(b"threads").digest(160_000), dtype="<i2").astype(np.int16)
digest = hashlib.sha256()
for spec in (
    AudioPreprocess(),
    # products large enough that BLAS shares them among its threads
    AudioPreprocess(sample_rate_hz=48_000, frame_samples=4096, frame_hop_samples=512, mel_bands=128,
                    fmin_hz=500.0, fmax_hz=24_000.0),
):
    digest.update(log_mel(spec, noise).tobytes())
print(digest.hexdigest(), len(os.listdir("/proc/self/task")) if sys.platform == "linux" else 0)
"""
_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def _run(threads: int, **environment: str) -> tuple[str, int]:
    environ = os.environ | dict.fromkeys(_THREADS, str(threads)) | environment
    text = subprocess.check_output([sys.executable, "-c", SCRIPT], env=environ, text=True)
    digest, count = text.split()
    return digest, int(count)


def test_codes_do_not_depend_on_the_number_of_blas_threads() -> None:
    alone, one = _run(1)
    shared, several = _run(2)
    assert shared == alone
    if sys.platform == "linux" and (os.cpu_count() or 1) > 1:
        assert several > one, "the second run had no second thread: this test compared nothing"


@pytest.mark.skipif(sys.platform != "linux", reason="kernels are chosen by an OpenBLAS variable")
def test_codes_do_not_depend_on_the_blas_kernels() -> None:
    """Other kernels sum in another order and with or without fused multiply-add."""
    assert _run(1, OPENBLAS_CORETYPE="Prescott")[0] == _run(1)[0]
