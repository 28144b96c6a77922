"""Galago on the device: load a signed bundle, watch and listen, decide, tell.

The names below are for programs that use Galago themselves (docs/python.md); importing this package loads
none of them, each comes when it is first used. Whatever else lies in here may change at any time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from galago_edge.api.classifier import Classifier
    from galago_edge.api.fed_stream import Stream
    from galago_edge.api.record_reader import CutRecordWarning, read_records
    from galago_edge.api.replayed_recording import Replay, replay
    from galago_edge.api.trusted_bundle import open_bundle
    from galago_edge.bundle.reader import Bundle
    from galago_edge.contract.errors import (
        BundleError,
        CallerError,
        DeviceError,
        GalagoError,
        InputError,
        LinkError,
        Reason,
    )
    from galago_edge.contract.records import (
        AttachmentRecord,
        EventRecord,
        GapRecord,
        Record,
        ScoresRecord,
        StateRecord,
        encode_record,
    )
    from galago_edge.contract.streams import Span
    from galago_edge.pipeline.classification import Classification, RankedLabel

__version__ = "0.1.0"

__all__ = [
    "AttachmentRecord",
    "Bundle",
    "BundleError",
    "CallerError",
    "Classification",
    "Classifier",
    "CutRecordWarning",
    "DeviceError",
    "EventRecord",
    "GalagoError",
    "GapRecord",
    "InputError",
    "LinkError",
    "RankedLabel",
    "Reason",
    "Record",
    "Replay",
    "ScoresRecord",
    "Span",
    "StateRecord",
    "Stream",
    "__version__",
    "encode_record",
    "open_bundle",
    "read_records",
    "replay",
]

_HOMES = {
    "AttachmentRecord": "contract.records",
    "Bundle": "bundle.reader",
    "BundleError": "contract.errors",
    "CallerError": "contract.errors",
    "Classification": "pipeline.classification",
    "Classifier": "api.classifier",
    "CutRecordWarning": "api.record_reader",
    "DeviceError": "contract.errors",
    "EventRecord": "contract.records",
    "GalagoError": "contract.errors",
    "GapRecord": "contract.records",
    "InputError": "contract.errors",
    "LinkError": "contract.errors",
    "RankedLabel": "pipeline.classification",
    "Reason": "contract.errors",
    "Record": "contract.records",
    "Replay": "api.replayed_recording",
    "ScoresRecord": "contract.records",
    "Span": "contract.streams",
    "StateRecord": "contract.records",
    "Stream": "api.fed_stream",
    "encode_record": "contract.records",
    "open_bundle": "api.trusted_bundle",
    "read_records": "api.record_reader",
    "replay": "api.replayed_recording",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
