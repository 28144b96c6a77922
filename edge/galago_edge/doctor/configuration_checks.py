"""The configuration: whether it is valid, and whether what it names is there."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

from galago_edge.contract.errors import GalagoError
from galago_edge.contract.findings import Finding, fail, ok, warn
from galago_edge.contract.known_names import did_you_mean
from galago_edge.contract.settings import LoginTable, StreamSettings
from galago_edge.doctor.case import Case, DoctorCheck
from galago_edge.host.credentials import login_of, open_to_all


def check_config(case: Case) -> Iterator[Finding]:
    """``galago.toml`` can be read."""
    if case.config is None:
        return
    from galago_edge.service.configuration import examined
    from galago_edge.service.idle_settings import unused_sources

    case.settings, faults = examined(case.config)
    count = len(case.settings.stream)
    for fault in faults:  # the rest of the configuration is looked at all the same
        yield fail("config", str(fault), fault.hint)
    if faults:
        return
    yield ok("config", f"{case.config}: {count} stream{'s' * (count != 1)}")
    for name in unused_sources(case.settings):
        yield warn(
            "config",
            f"[source.{name}] is used by no stream",
            f'name it in a [[stream]], source = "{name}", or remove it',
        )


def check_streams(case: Case) -> Iterator[Finding]:
    """Every stream has a bundle, of its source's kind, with the labels whose thresholds are given."""
    if case.settings is None or case.broken & {"numpy", "cryptography"}:
        return
    for stream in case.settings.stream:
        yield _stream(case, stream)


def check_passwords(case: Case) -> Iterator[Finding]:
    """Every password is where the configuration says, and nobody else may read its file."""
    if case.settings is None:
        return
    from galago_edge.service.configuration import login_tables

    for where, table in login_tables(case.settings).items():
        if table.password_file:
            yield _password(case, f"password of {where}", table)


def check_page(case: Case) -> Iterator[Finding]:
    """The page is not open to strangers, and its port is free or ours."""
    if case.settings is None or case.settings.page is None:
        return
    from galago_edge.service.page.access import Access

    page = case.settings.page
    Access(page)
    where = f"{page.host}:{page.port}"
    if case.running:
        yield ok("page", f"{where}, served by the running service")
        return
    try:
        with socket.create_server((page.host, page.port)):
            pass
    except OSError as error:
        fix = f"ss -ltnp 'sport = :{page.port}' shows who has it; or choose another [page] port"
        yield fail("page", f"{where}: {error.strerror or error}", fix)
    else:
        yield ok("page", f"{where} is free")


def _stream(case: Case, stream: StreamSettings) -> Finding:
    from galago_edge.contract.errors import LinkError
    from galago_edge.pipeline.threshold_overrides import override_thresholds
    from galago_edge.service.configuration import source_of
    from galago_edge.sources.address import parse_source
    from galago_edge.sources.view_options import view_of
    from galago_edge.sources.viewed_source import check_view

    name = f"stream {stream.name}"
    assert case.settings is not None
    installed = ", ".join(case.bundles) or "none"
    try:
        source = source_of(stream, case.settings.source)
        view = view_of({}, source, stream)
        address = parse_source(source.address)
        check_view(view, address.modality)
    except LinkError:
        address = None  # a path that is not there yet
    except GalagoError as error:
        return fail(name, str(error), error.hint)
    if stream.bundle is None:
        fitting = [
            key
            for key, manifest in case.bundles.items()
            if address is None or address.gives(manifest.modality)
        ]
        if len(fitting) != 1:
            return fail(
                name,
                f"{len(fitting)} installed bundles fit its source (installed and whole: {installed})",
                f'set bundle = "NAME" in [[stream]] {stream.name}, or install one',
            )
        chosen = fitting[0]
    elif stream.bundle not in case.bundles:
        return fail(
            name,
            f"bundle {stream.bundle} is not there or not whole (installed and whole: {installed})"
            f"{did_you_mean(stream.bundle, case.bundles)}",
            f"galago install {stream.bundle}-VERSION.galago --root {case.root}",
        )
    else:
        chosen = stream.bundle
    manifest = case.bundles[chosen]
    if address is not None and not address.gives(manifest.modality):
        return fail(
            name,
            f"{chosen} is for a {manifest.modality}, the source is a {address.modality}",
            "give the stream another source or another bundle",
        )
    try:
        override_thresholds(manifest.labels, stream.threshold_overrides())
    except GalagoError as error:
        return fail(name, str(error), error.hint)
    kind = "" if stream.source.startswith(f"{manifest.modality}:") else f"{manifest.modality} "
    return ok(name, f"{chosen} {manifest.bundle.version} on {kind}{stream.source}")


def _password(case: Case, name: str, table: LoginTable) -> Finding:
    path = Path(table.password_file)
    try:
        login_of(table)
    except GalagoError as error:
        return fail(name, str(error), error.hint)
    if not case.account.may_read(path):
        fix = f"sudo chown {case.account.name} {path}"
        return fail(name, f"the service's user {case.account.name} may not read {path}", fix)
    if open_to_all(path):
        return warn(name, f"everybody on this computer may read {path}", f"chmod o-rw {path}")
    return ok(name, f"{path}: one line, which others may not read")


CHECKS = (
    DoctorCheck("config", check_config, place=60),
    DoctorCheck("streams", check_streams, place=160, needs=("config", "bundles")),
    DoctorCheck("passwords", check_passwords, place=165, needs=("config", "unit")),
    DoctorCheck("page", check_page, place=190, needs=("config", "service")),
)
