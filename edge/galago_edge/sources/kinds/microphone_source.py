"""``microphone:NAME``: a sound card's input."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.findings import Finding, fail, ok, warn
from galago_edge.host.extras import Extra, Library
from galago_edge.sources.address_options import OptionReader, integer, yes_no
from galago_edge.sources.media.library import MEDIA_EXTRA
from galago_edge.sources.source_kind import Address, Site, SourceKind
from galago_edge.sources.stream_target import is_test_file, split_target, streams

if TYPE_CHECKING:
    from galago_edge.contract.settings import SourceSettings
    from galago_edge.sources.source import Capture

_INPUTS = """
import sounddevice
print(*(device["name"] for device in sounddevice.query_devices() if device["max_input_channels"]), sep="\\t")
"""


_OPTIONS: dict[str, OptionReader] = {
    "rate": integer(4_000, 192_000),
    "channels": integer(1, 64),
    "channel": integer(1, 64),
}
_EXTRA = Extra("microphone", (Library("sounddevice", "sounddevice"),))


def _split(rest: str) -> tuple[str, str]:
    name, query = split_target("microphone", rest, _OPTIONS, ("loop", "channel"))
    if not name or name.isdigit():
        what = f"microphone:{name} is a number, which changes" if name else "microphone: names no device"
        raise CallerError(
            Reason.CONFIG_BAD,
            what,
            hint="microphone:default, microphone:/dev/snd/by-id/... or a name that galago doctor shows",
        )
    return name, query


def _capture(address: Address, settings: SourceSettings, rate_hz: int | None) -> Capture:
    from galago_edge.sources.capture.connection import connect

    return connect(address, settings, rate_hz)


def _live(address: Address) -> bool:
    return not is_test_file(address.target)


def _needs(address: Address) -> tuple[Extra, ...]:
    return (MEDIA_EXTRA,) if streams(address.target) else (_EXTRA,)


def _check(name: str, address: Address, site: Site) -> Iterator[Finding]:
    """A card that records, at the rate that is asked for, or an input that PortAudio knows."""
    from galago_edge.sources.hardware import alsa_card, list_microphones

    if streams(address.target):
        yield from site.try_out(name)
        return
    wanted, rate_hz = address.target, address.options.get("rate")
    microphones = list_microphones(site.system)
    card = alsa_card(wanted, site.system)
    here = ", ".join(microphone.id for microphone in microphones) or "none"
    if card is None:
        found_input = _input(name, wanted, site, [one.id for one in microphones])
        tried = () if found_input.level == "fail" else tuple(site.try_out(name))
        yield from tried or (found_input,)
        return
    found = next((one for one in microphones if one.card == card), None)
    if found is None:
        yield fail(name, f"card {card} records nothing (microphones here: {here})", "name one of those")
    elif rate_hz is not None and found.rates_hz and rate_hz not in found.rates_hz:
        rates = ", ".join(map(str, found.rates_hz))
        fix = f"microphone:{wanted}?rate={max(found.rates_hz)}: galago converts exactly, and says so"
        yield from site.try_out(name)
        yield warn(name, f"card {card} records at {rates} Hz, not at {rate_hz} Hz", fix)
    else:
        yield from tuple(site.try_out(name)) or (ok(name, f"card {card}: {found.name}"),)


def _input(name: str, wanted: str, site: Site, cards: list[str]) -> Finding:
    outcome = site.run_python(_INPUTS)
    if outcome.fault:
        return fail(name, f"PortAudio cannot be asked: {outcome.fault}", "see extra microphone")
    inputs = [device for device in outcome.answer.split("\t") if device]
    if wanted == "default" and inputs:
        return ok(name, "the system's default input")
    if any(wanted.lower() in device.lower() for device in inputs):
        return ok(name, "is there")
    listed = ", ".join(dict.fromkeys((*cards, *inputs))) or "none"
    return fail(
        name, f"there is no microphone {wanted} (here: {listed})", "check its cable, or name one of those"
    )


SOURCE = SourceKind(
    modality="microphone",
    what="a microphone",
    form="microphone:NAME",
    options=_OPTIONS | {"loop": yes_no},
    split=_split,
    path_target=is_test_file,
    capture=_capture,
    live=_live,
    extras=(_EXTRA, MEDIA_EXTRA),
    needs=_needs,
    check=_check,
)
