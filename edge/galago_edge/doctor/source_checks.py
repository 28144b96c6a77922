"""The sources of the configuration: each is opened once, as the service would, and what comes is told."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec

from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import GalagoError, Reason
from galago_edge.contract.findings import Finding, fail, ok, warn
from galago_edge.contract.settings import SourceSettings, ViewSettings
from galago_edge.contract.status import SourceStatus
from galago_edge.doctor.case import Case, DoctorCheck
from galago_edge.doctor.glimpse_order import GlimpseOrder, longest_s
from galago_edge.doctor.probes import ask_module, run_python
from galago_edge.host.credentials import Secrets
from galago_edge.host.plugins import plugin_code
from galago_edge.sources.source_kind import Address, Site

_START_S = 20.0
"""Until a process of its own has imported what it needs, on a small board that does something else."""


def check_sources(case: Case) -> Iterator[DoctorCheck]:
    """Every source gives frames or samples now. The service would wait for one that does not."""
    if case.settings is None:
        return
    for name, settings in case.settings.source.items():
        yield DoctorCheck(f"source {name}", partial(_source, name, settings))


def _source(name: str, settings: SourceSettings, case: Case) -> Iterator[Finding]:
    secrets = Secrets(settings.address, settings.password)
    try:
        for found in _looked_at(f"source {name}", name, settings, case):
            cleaned = {"met": secrets.hidden(found.met), "fix": secrets.hidden(found.fix)}
            yield msgspec.structs.replace(found, **cleaned)  # whatever a plug-in says
    except GalagoError as error:
        met = error.line if error.reason is Reason.PLUGIN_BAD else str(error)
        yield fail(f"source {name}", secrets.hidden(met), secrets.hidden(error.hint))


def _looked_at(shown: str, name: str, settings: SourceSettings, case: Case) -> Iterator[Finding]:
    from galago_edge.sources.address import parse_source

    address = parse_source(settings.address)
    site = Site(
        case.system,
        case.account.name,
        case.account.may_write,
        run_python,
        case.account.may_read,
        lambda shown: _tried(shown, name, settings, address, case),
    )
    check = address.described.check
    if check is None:
        yield from _without_check(shown, address, site)
        return
    with plugin_code("source", address.kind):
        yield from check(shown, address, site)


def _without_check(shown: str, address: Address, site: Site) -> Iterator[Finding]:
    if address.described.is_path and not site.may_read(Path(address.target)):
        yield fail(
            shown,
            f"user {site.user} may not read it",
            f"sudo chmod o+rX {address.target}, and the folders that it is in",
        )
        return
    yield from tuple(site.try_out(shown)) or (ok(shown, f"a {address.kind}"),)


def _tried(
    shown: str, name: str, settings: SourceSettings, address: Address, case: Case
) -> Iterator[Finding]:
    """Open it once, unless the service does: two cannot have one device, and it knows better."""
    if case.system != Path("/") or "numpy" in case.broken:
        return  # said already
    known = {source.name: source for source in case.status.sources} if case.status else {}
    a_device = address.reopens and "://" not in address.target
    if name in known and (a_device or known[name].liveness == "healthy"):
        yield _told_by_service(shown, known[name], case)
        return
    if a_device and case.running:
        yield warn(
            shown,
            "not opened: a service runs that may hold it, and says nothing of it",
            f"galago status --root {case.root}; a changed configuration needs a restart",
        )
        return
    assert case.settings is not None
    views = tuple(
        ViewSettings(rotate=stream.rotate, region=stream.region, mask=stream.mask)
        for stream in case.settings.stream
        if stream.source == name
    )
    order = GlimpseOrder(settings=settings, rate_hz=_rate_hz(name, case), views=views)
    outcome = ask_module(
        "galago_edge.doctor.glimpse_child",
        msgspec.json.encode(order),
        timeout_s=longest_s(settings) + _START_S,
    )
    if outcome.fault:
        yield fail(shown, f"trying it out: {outcome.fault}", "dmesg shows whether a driver hangs or crashed")
        return
    yield msgspec.structs.replace(from_json(outcome.answer, type=Finding), name=shown)


def _rate_hz(name: str, case: Case) -> int | None:
    """Return the rate at which the bundles of this source's streams want samples; None when none says."""
    assert case.settings is not None
    for stream in case.settings.stream:
        manifest = case.bundles.get(stream.bundle or "")
        if stream.source == name and manifest is not None:
            return getattr(manifest.preprocess.spec, "sample_rate_hz", None)
    return None


def _told_by_service(shown: str, source: SourceStatus, case: Case) -> Finding:
    look = f"galago status --root {case.root}"
    since = f"the running service: {source.liveness} for {source.for_s:.0f} s"
    if source.liveness == "recovering":
        return warn(shown, since if not source.fault else f"{since}: {source.fault}", f"wait for it: {look}")
    if source.liveness != "healthy":
        return fail(shown, f"{since}: {source.fault}", f"mend it; {look} says when it is back")
    what = f"{source.rate_hz:g} {'fps' if source.level_dbfs is None else 'Hz'}"
    if source.alarms:
        return warn(shown, f"{since}, {what}, but {', '.join(source.alarms)}", "look at it: docs/sources.md")
    return ok(shown, f"{since}, {what}")


CHECKS = (DoctorCheck("sources", check_sources, place=170, needs=("config", "unit", "bundles", "service")),)
