"""The sinks of the configuration: each says itself whether its receiver is there."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from galago_edge.contract.findings import Finding, fail, warn
from galago_edge.doctor.case import Case, DoctorCheck


def check_sinks(case: Case) -> Iterator[DoctorCheck]:
    """Every sink's receiver takes us, each looked at alone."""
    if case.settings is None:
        return
    for name in case.settings.sinks:
        yield DoctorCheck(name, partial(_sink, name))
    if case.settings.attachments is not None and case.settings.attachments.labels:
        yield DoctorCheck("attachments", partial(labels_of, "attachments"))


def _sink(name: str, case: Case) -> Iterator[Finding]:
    from galago_edge.contract.errors import DeviceError
    from galago_edge.sinks.sink_kind import kind_of

    assert case.settings is not None
    try:
        kind = kind_of(name)
    except DeviceError as error:
        yield fail(name, error.line, f"{error.hint}; its records wait in the spool")
        return
    table = case.settings.sinks[name]
    if kind is not None and kind.check is not None and isinstance(table, kind.settings):
        yield from kind.check(table)
    yield from labels_of(name, case)


def labels_of(name: str, case: Case) -> Iterator[Finding]:
    """Find labels that a table asks for and no bundle decides: there would never be anything about them."""
    from galago_edge.service.idle_settings import event_labels, unheard_labels

    assert case.settings is not None
    installed = {bundle: event_labels(manifest) for bundle, manifest in case.bundles.items()}
    any_of_them = frozenset[str]().union(*installed.values())
    decided = {
        stream.name: any_of_them if stream.bundle is None else installed.get(stream.bundle, frozenset())
        for stream in case.settings.stream
    }
    for table, line in unheard_labels(case.settings, decided):
        if table == name:
            yield warn(name, line, f"correct labels of [{name}]")


CHECKS = (DoctorCheck("sinks", check_sinks, place=180, needs=("config", "bundles")),)
