"""Preprocessing: the one implementation that training, conversion, device and replay share."""

from __future__ import annotations

import hashlib

import msgspec

from galago_edge.contract.decoding import from_json
from galago_edge.contract.manifest import AudioPreprocess, Preprocess
from galago_edge.preprocess.audio import FEATURE_SCALE, FEATURE_ZERO_POINT, LogMelFrontend, log_mel
from galago_edge.preprocess.image import ImagePreprocessor
from galago_edge.preprocess.tables import FrontendTables, built_tables

__all__ = [
    "FEATURE_SCALE",
    "FEATURE_ZERO_POINT",
    "FrontendTables",
    "ImagePreprocessor",
    "LogMelFrontend",
    "fingerprint",
    "log_mel",
]

_IMPLEMENTATION = {"image/1": 1, "logmel/1": 1, "logmel/2": 1}
"""Raised whenever the code gives other bytes for the same specification; the goldens show that."""


def fingerprint(spec: Preprocess) -> str:
    """Return what identifies a preprocessing: specification, tables and implementation, as sha256.

    Two runtimes with equal fingerprints turn the same input into the same tensor. Cheap when repeated.

    Raises:
        CallerError: CONFIG_BAD; see :meth:`FrontendTables.build`.
    """
    digest = hashlib.sha256(f"galago.preprocess/{_IMPLEMENTATION[spec.version]}\n".encode())
    # decoded and encoded again: a limit of 60 Hz given as an integer is the same as 60.0
    plain = from_json(msgspec.json.encode(spec), type=type(spec))
    digest.update(msgspec.json.encode(plain))
    if isinstance(spec, AudioPreprocess):
        digest.update(f"\n{built_tables(spec).sha256}".encode())
    return digest.hexdigest()
