"""Sinks: where records go."""

from galago_edge.sinks.jsonl import JsonlSink, open_jsonl
from galago_edge.sinks.outbox import Outbox

__all__ = ["JsonlSink", "Outbox", "open_jsonl"]
