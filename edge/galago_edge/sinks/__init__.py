"""Sinks: where records go."""

from galago_edge.sinks.jsonl import JsonlSink, open_jsonl
from galago_edge.sinks.outbox import Outbox
from galago_edge.sinks.wall_clock import clock_synced

__all__ = ["JsonlSink", "Outbox", "clock_synced", "open_jsonl"]
