"""Opens a source once, as the service would, and says what comes.

``python -m galago_edge.doctor.glimpse_child FD``: in a process of its own, because what decodes may crash or
hang. The order is read from FD, because it may hold a password. The last line on standard output is a finding
as JSON.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from galago_edge.children.lifeline import die_with_parent
from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import GalagoError, InputError, LinkError, Reason
from galago_edge.contract.findings import Finding, fail, ok, warn
from galago_edge.contract.settings import SourceSettings
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame
from galago_edge.doctor.glimpse_order import MEASURE_S, GlimpseOrder, patience_s
from galago_edge.host.credentials import Secrets
from galago_edge.host.plugins import plugin_code
from galago_edge.host.urls import ESCAPED_IN_URL
from galago_edge.sources.address import parse_source
from galago_edge.sources.capture import open_capture
from galago_edge.sources.media.stream_faults import LOGIN_REFUSED
from galago_edge.sources.picture_view import PictureViewer
from galago_edge.sources.source import Capture
from galago_edge.sources.source_kind import Address, Opening
from galago_edge.sources.view_options import AS_IT_IS, view_of

_LISTEN_S = 1.0
_STEP_S = 0.25
_USUAL_RATE_HZ = 16_000
_ORDER_BYTES = 1 << 20


def glimpse(order: GlimpseOrder) -> Finding:
    """Return what came of the source; the finding has no name yet."""
    settings = order.settings
    try:
        address = parse_source(settings.address)
        if address.reopens:
            return _captured(address, order)
        return _recorded(address, order)
    except GalagoError as error:
        secrets = Secrets(settings.address, settings.password)
        hint = _login_fix(settings) if LOGIN_REFUSED in str(error) else error.hint
        return fail("", secrets.hidden(str(error)), secrets.hidden(hint) or "see docs/sources.md")


def _login_fix(settings: SourceSettings) -> str:
    """Return where the user and password stand that a camera refuses; who captures has them in a URL."""
    if not settings.user:
        return f"check both; {ESCAPED_IN_URL}"
    said = next((key for key in ("password_file", "password_env") if getattr(settings, key)), "password")
    where = f" {getattr(settings, said)}" if said != "password" else ""
    return f"check user and {said}{where} of its [source.NAME], written as they are: nothing is escaped there"


def _captured(address: Address, order: GlimpseOrder) -> Finding:
    opened_s, settings = time.monotonic(), order.settings
    capture = open_capture(address, settings, rate_hz=order.rate_hz)
    try:
        items = _items(capture, settings)
        first = next(items, None)
        if first is None:
            unit = "sample" if address.modality == "microphone" else "whole frame"
            waited = f"no {unit} came for {patience_s(settings):g} s"
            raise LinkError(
                Reason.SOURCE_LOST,
                f"{address.kind} {address.shown} can be opened, but {waited}",
                hint="take another stream of it: its manual says which address gives frames or sound",
            )
        after_s = time.monotonic() - opened_s
        described = capture.description()
        if isinstance(first, AudioBlock):
            return _heard(first, items, described)
        _look_through(address, order, first)
        return ok("", f"{_seen(first, items, described)}, first frame after {after_s:.1f} s")
    finally:
        capture.close()


def _items(capture: Capture, settings: SourceSettings) -> Iterator[Frame | AudioBlock]:
    """Yield what comes until nothing does for as long as the service would wait."""
    until_s = time.monotonic() + patience_s(settings)
    while time.monotonic() < until_s:
        item = capture.read(_STEP_S)
        if isinstance(item, Frame | AudioBlock):
            yield item
            until_s = time.monotonic() + settings.stall_s


def _seen(first: Frame, items: Iterator[Frame | AudioBlock], described: dict[str, Any]) -> str:
    """Return size, codec and measured rate."""
    height, width = first.pixels.shape[:2]
    facts = [f"{width} x {height}", str(described.get("codec") or described.get("encoding") or "")]
    last = first
    until_s = time.monotonic() + MEASURE_S
    while time.monotonic() < until_s:
        item = next(items, None)
        if not isinstance(item, Frame):
            break
        last = item
    if last.index > first.index:
        passed_s = (last.captured_ns - first.captured_ns) / NS_PER_S
        facts.append(f"{(last.index - first.index) / passed_s:.1f} fps" if passed_s > 0 else "")
    return ", ".join(fact for fact in facts if fact)


def _heard(first: AudioBlock, items: Iterator[Frame | AudioBlock], described: dict[str, Any]) -> Finding:
    """Return rate, channels and level of the first second, or that it is silent to the last bit."""
    blocks, count = [first.samples], len(first.samples)
    while count < _LISTEN_S * first.rate_hz:
        item = next(items, None)
        if not isinstance(item, AudioBlock):
            break
        blocks.append(item.samples)
        count += len(item.samples)
    samples = np.concatenate(blocks).astype(np.float64)
    channels = described.get("channels", 1)
    facts = f"{first.rate_hz} Hz, {channels} channel{'s' * (channels != 1)}"
    if samples.min() == samples.max():
        met = f"{facts}, but no sound is in it: all of {count} samples are equal"
        return warn(
            "", met, "switch it on: a muted input, or one that nothing is plugged into, sounds like that"
        )
    level = 20 * np.log10(max(1e-6, float(np.sqrt(np.mean(samples**2))) / 32_768))
    return ok("", f"{facts}, {level:.0f} dBFS")


def _look_through(address: Address, order: GlimpseOrder, frame: Frame) -> None:
    """See the picture as each stream does.

    Raises:
        InputError: SOURCE_MISMATCH; nothing of it is in a region or a mask.
    """
    for stream in order.views or (AS_IT_IS,):
        options = {} if address.reopens else address.options
        PictureViewer(view_of(options, order.settings, stream)).frame(frame)


def _recorded(address: Address, order: GlimpseOrder) -> Finding:
    """Read the first item of a recording."""
    described = address.described
    if described.open is None or address.target == "-":
        return ok("", f"a {address.kind}")
    wanted_hz = (order.rate_hz or _USUAL_RATE_HZ) if described.modality == "microphone" else None
    with plugin_code("source", address.kind):
        source = described.open(address, Opening(wanted_hz))
        first = next((item for item in source if isinstance(item, Frame | AudioBlock)), None)
    if first is None:
        raise InputError(
            Reason.SOURCE_MISMATCH,
            f"{address.shown} holds no frame and no sample",
            hint="galago replay says more of it",
        )
    if isinstance(first, Frame):
        _look_through(address, order, first)
        return ok("", f"{described.what}, {first.pixels.shape[1]} x {first.pixels.shape[0]}")
    return ok("", f"{described.what} at {source.description().get('rate_hz', first.rate_hz)} Hz")


def main(fd: str) -> int:
    """Read the order, look, and say what was found."""
    order = from_json(os.pread(int(fd), _ORDER_BYTES, 0), type=GlimpseOrder)
    found = glimpse(order)
    sys.stdout.write(f"{msgspec.json.encode(found).decode()}\n")
    sys.stdout.flush()
    os._exit(0)  # libraries that tidy up at exit may hang there


if __name__ == "__main__":
    die_with_parent()
    main(sys.argv[1])
