"""What goes out to a receiver: a record with its key and its times, or the one that stands for lost ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from galago_edge.contract.records import StateRecord
from galago_edge.sinks.clocks import Clocks
from galago_edge.sinks.stored_record import StoredRecord


@dataclass(frozen=True, slots=True)
class Delivery:
    """One record on its way to one receiver; handed out again until it is acknowledged."""

    token: int
    """For :meth:`Spool.ack`."""
    seq: int
    key: str
    """Idempotency key: the same in every attempt, also after a restart; never used for another record."""
    kind: str
    line: bytes
    """The record as one line of JSON, without the newline, with ``key`` and ``wall_corrected_ns`` added."""
    lost: int = 0
    """When not 0, this record tells that so many records are lost."""
    told: int = 0
    """How many of them the cursor keeps as untold until this is acknowledged."""


def record_key(device: str, record: StoredRecord) -> str:
    """Return the idempotency key.

    The run stands in it, because a power cut may take a record that was delivered already, and with it the
    knowledge that its number is used.
    """
    return f"{device}-{record.run:016x}:{record.seq}"


def record_line(key: str, record: StoredRecord, boot: int, clocks: Clocks) -> bytes:
    """Return the record as it is delivered: with its key, and with its wall time if that is known now.

    When the clock was not right at the record's time and is right now, in the same ``boot``, the time that
    has passed since then tells what it should have been.
    """
    added = b',"key":' + msgspec.json.encode(key)
    if not record.synced and record.boot == boot and clocks.synced():
        corrected_ns = clocks.wall_ns() - (clocks.boot_ns() - record.boot_ns)
        added += b',"wall_corrected_ns":%d' % corrected_ns
    return record.line.rstrip()[:-1] + added + b"}"


def lost_line(key: str, lost: int, cause: Literal["given_up", "damaged"], clocks: Clocks) -> bytes:
    """Return the record that says how many are lost, as one line without its end."""
    return msgspec.json.encode(
        StateRecord(
            stream="",
            subject="spool",
            state="lost",
            index=0,
            ns=0,
            detail={"lost": lost, "cause": cause},
            wall_ns=clocks.wall_ns(),
            clock_synced=clocks.synced(),
            key=key,
        )
    )
