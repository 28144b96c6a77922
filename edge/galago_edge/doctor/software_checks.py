"""Python, the TFLite runtime, numpy and the optional libraries: each imported in a process of its own."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import galago_edge
from galago_edge.contract.findings import Finding, fail, ok, warn
from galago_edge.doctor.case import Case, DoctorCheck
from galago_edge.doctor.probes import ProbeResult, run_python
from galago_edge.host.extras import Extra, Library
from galago_edge.host.machine import this_arch
from galago_edge.recorded.recording_library import RECORDING_EXTRA

if TYPE_CHECKING:
    pass

_OLDEST_PYTHON = (3, 11)
_VERSION = """
import importlib, importlib.metadata, sys
importlib.import_module(sys.argv[1])
try:
    print(importlib.metadata.version(sys.argv[2]))
except importlib.metadata.PackageNotFoundError:
    print("of unknown version")
"""
_RUNTIME = """
from galago_edge.engine.runtime import runtime
found = runtime()
print(found.package, found.version)
"""
_NUMPY_ABI = ("_ARRAY_API not found", "numpy.core.multiarray failed", "compiled using NumPy 1.x")

_PAGE_EXTRAS = (
    Extra("metrics", (Library("prometheus_client", "prometheus-client"),)),
    Extra("web", (Library("waitress", "waitress"),)),
)

_KNOWN_FAULTS = (
    ("libGL.so", "pip uninstall opencv-python; pip install opencv-python-headless"),
    ("PortAudio library not found", "sudo apt install libportaudio2"),
    ("SIGILL", "this processor lacks instructions that the library uses: install a build for {arch}"),
    *((text, 'pip install "numpy<2"') for text in _NUMPY_ABI),
)


def check_python(case: Case) -> Iterator[Finding]:
    """Python itself, and galago-edge in one version."""
    version = ".".join(map(str, sys.version_info[:3]))
    met = f"{version}, {64 if sys.maxsize > 2**32 else 32} bit, {this_arch()}, {sys.executable}"
    if sys.version_info < _OLDEST_PYTHON:
        yield fail("python", met, "install Python 3.11 or newer and galago-edge in it")
    else:
        yield ok("python", met)
    try:
        listed = importlib.metadata.version("galago-edge")
    except importlib.metadata.PackageNotFoundError:
        yield warn(
            "galago-edge",
            f"{galago_edge.__version__}, copied here without being installed",
            "pip install galago-edge",
        )
        return
    if listed != galago_edge.__version__:
        yield warn(
            "galago-edge",
            f"{galago_edge.__version__} runs, {listed} is installed: there are two copies",
            "pip install --force-reinstall galago-edge",
        )
    else:
        yield ok("galago-edge", listed)


def check_numpy(case: Case) -> Iterator[Finding]:
    """Numpy can be imported."""
    yield _needed(
        case, "numpy", run_python(_VERSION, "numpy", "numpy"), "pip install --force-reinstall numpy"
    )


def check_interpreter(case: Case) -> Iterator[Finding]:
    """A TFLite runtime can be imported, and fits numpy."""
    if "numpy" in case.broken:
        case.broken.add("interpreter")
        yield fail("interpreter", "cannot be looked at without numpy", "see numpy")
        return
    package = "tflite-runtime" if this_arch() == "armv7l" else "ai-edge-litert"
    outcome = run_python(_RUNTIME)
    name, _, version = outcome.answer.partition(" ")
    if not outcome.fault:
        case.runtime = name, version
    yield _needed(case, "interpreter", outcome, f"pip install {package}")


def check_cryptography(case: Case) -> Iterator[Finding]:
    """Signatures can be checked."""
    outcome = run_python(_VERSION, "cryptography.hazmat.primitives.asymmetric.ed25519", "cryptography")
    yield _needed(case, "cryptography", outcome, "pip install --force-reinstall cryptography")


def check_extras(case: Case) -> Iterator[Finding]:
    """The optional libraries: those that something here needs must be there."""
    needs = _needs(case)
    extras = known_extras()
    libraries = list({library: None for extra in extras for library in extra.libraries})
    with ThreadPoolExecutor(4) as pool:
        done = pool.map(lambda one: run_python(_VERSION, one.module, one.distribution), libraries)
        outcomes = dict(zip(libraries, done, strict=True))
    for extra in extras:
        yield _extra(extra.name, {one: outcomes[one] for one in extra.libraries}, needs.get(extra.name))


def known_extras() -> tuple[Extra, ...]:
    """Return the extras of galago-edge: those of its sources, of its sinks and of the page."""
    from galago_edge.sinks.sink_kind import SINKS
    from galago_edge.sources.source_kind import SOURCES

    of_sources = {extra.name: extra for name in SOURCES.own() for extra in _source_extras(name)}
    of_sinks = {
        kind.extra.name: kind.extra
        for name in SINKS.own()
        if (kind := SINKS.find(name)) is not None and kind.extra is not None
    }
    return (*(of_sources[name] for name in sorted(of_sources)), *of_sinks.values(), *_PAGE_EXTRAS)


def _source_extras(name: str) -> tuple[Extra, ...]:
    """Return the extras of one of our own kinds of source; none of a plug-in's."""
    from galago_edge.sources.source_kind import SOURCES

    kind = SOURCES.find(name) if name in SOURCES.own() else None
    return kind.extras if kind is not None else ()


def _address_extras(text: str) -> tuple[Extra, ...]:
    """Return the extras that a source needs, as it is written; none of a plug-in's or of an error."""
    from galago_edge.contract.errors import GalagoError
    from galago_edge.sources.address import parse_source
    from galago_edge.sources.source_kind import SOURCES

    try:
        address = parse_source(text)
    except GalagoError:
        return _source_extras(text.partition(":")[0])  # another check says what is wrong with it
    if address.kind not in SOURCES.own():
        return ()
    kind = address.described
    return kind.extras if kind.needs is None else kind.needs(address)


def _extra(extra: str, outcomes: dict[Library, ProbeResult], need: str | None) -> Finding:
    name = f"extra {extra}"
    install = f'pip install "galago-edge[{extra}]"'
    bad = {one: outcome for one, outcome in outcomes.items() if outcome.fault}
    if not bad:
        return ok(name, ", ".join(f"{one.distribution} {done.answer}" for one, done in outcomes.items()))
    missing = [one.distribution for one, outcome in bad.items() if _is_missing(one.module, outcome)]
    if len(missing) == len(bad):
        if need is None:
            return ok(name, f"not installed, and nothing here needs it ({', '.join(missing)})")
        return fail(name, f"{', '.join(missing)} not installed, needed by {need}", install)
    package, outcome = next(
        (one.distribution, outcome) for one, outcome in bad.items() if one.distribution not in missing
    )
    met = f"{package} cannot be imported: {outcome.fault}"
    fix = _known_fix(outcome) or f"{install} --force-reinstall"
    return fail(name, f"{met}; needed by {need}", fix) if need else warn(name, met, fix)


def _is_missing(module: str, outcome: ProbeResult) -> bool:
    """Tell whether the module itself is not installed; something that it needs may be missing too."""
    return f"ModuleNotFoundError: No module named '{module.partition('.')[0]}'" in outcome.said


def _needs(case: Case) -> dict[str, str]:
    """Return what needs each extra."""
    needs: dict[str, str] = {}
    for name, manifest in case.bundles.items():
        if manifest.modality == "camera":
            needs.setdefault("camera", f"bundle {name}")
    for name, address in sorted(case.addresses().items()):
        for extra in _address_extras(address):
            needs[extra.name] = f"source {name} in {case.config}"
    if case.settings is not None and case.settings.recording is not None:
        needs[RECORDING_EXTRA.name] = f"[recording] in {case.config}"
    if case.settings is not None:
        needs |= _sink_needs(case.settings.sinks, case.config)
        if case.settings.page is not None:
            needs |= {extra.name: f"[page] in {case.config}" for extra in _PAGE_EXTRAS}
    return needs


def _sink_needs(sinks: Mapping[str, object], config: Path | None) -> dict[str, str]:
    from galago_edge.sinks.sink_kind import SINKS

    needs: dict[str, str] = {}
    for name, table in sinks.items():
        kind = SINKS.find(name) if table is not None else None
        if kind is not None and kind.extra is not None:
            needs[kind.extra.name] = f"[{name}] in {config}"
    return needs


def _needed(case: Case, name: str, outcome: ProbeResult, install: str) -> Finding:
    if not outcome.fault:
        return ok(name, outcome.answer)
    case.broken.add(name)
    return fail(name, outcome.fault, _known_fix(outcome) or install)


def _known_fix(outcome: ProbeResult) -> str | None:
    text = f"{outcome.fault}\n{outcome.said}"
    for sign, fix in _KNOWN_FAULTS:
        if sign in text:
            return fix.format(arch=this_arch())
    return None


CHECKS = (
    DoctorCheck("python", check_python, place=10),
    DoctorCheck("numpy", check_numpy, place=20),
    DoctorCheck("interpreter", check_interpreter, place=30, needs=("numpy",)),
    DoctorCheck("cryptography", check_cryptography, place=40),
    DoctorCheck("extras", check_extras, place=100, needs=("config", "bundles")),
)
