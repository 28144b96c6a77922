"""Runs a model: the only place that knows which TFLite runtimes exist."""

from galago_edge.engine.backend import Backend, BackendChange, TensorInfo
from galago_edge.engine.cpu import Engine
from galago_edge.engine.model_file import check_model_file
from galago_edge.engine.remote import AcceleratorError, Fault, RemoteEngine, probe_delegate
from galago_edge.engine.runtime import interpreter_class, runtime

__all__ = [
    "AcceleratorError",
    "Backend",
    "BackendChange",
    "Engine",
    "Fault",
    "RemoteEngine",
    "TensorInfo",
    "check_model_file",
    "interpreter_class",
    "probe_delegate",
    "runtime",
]
