"""Python, the TFLite runtime, numpy and the optional libraries: each imported in a process of its own."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import galago_edge
from galago_edge.contract.profile import this_arch
from galago_edge.doctor.findings import Case, Finding, fail, ok, warn
from galago_edge.doctor.probes import ProbeResult, run_python

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

_EXTRAS: dict[str, tuple[tuple[str, str], ...]] = {
    "camera": (("cv2", "opencv-python-headless"),),
    "microphone": (("sounddevice", "sounddevice"), ("soxr", "soxr")),
    "recording": (("soundfile", "soundfile"), ("soxr", "soxr")),
    "mqtt": (("paho.mqtt.client", "paho-mqtt"),),
    "metrics": (("prometheus_client", "prometheus-client"),),
    "web": (("waitress", "waitress"),),
}
"""Module and distribution by extra of galago-edge."""

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
    modules = sorted({pair for pairs in _EXTRAS.values() for pair in pairs})
    with ThreadPoolExecutor(4) as pool:
        outcomes = dict(
            zip(modules, pool.map(lambda pair: run_python(_VERSION, *pair), modules), strict=True)
        )
    for extra, pairs in _EXTRAS.items():
        yield _extra(extra, {pair: outcomes[pair] for pair in pairs}, needs.get(extra))


def _extra(extra: str, outcomes: dict[tuple[str, str], ProbeResult], need: str | None) -> Finding:
    name = f"extra {extra}"
    install = f'pip install "galago-edge[{extra}]"'
    bad = {pair: outcome for pair, outcome in outcomes.items() if outcome.fault}
    if not bad:
        return ok(name, ", ".join(f"{package} {done.answer}" for (_, package), done in outcomes.items()))
    missing = [pair[1] for pair, outcome in bad.items() if _is_missing(pair[0], outcome)]
    if len(missing) == len(bad):
        if need is None:
            return ok(name, f"not installed, and nothing here needs it ({', '.join(missing)})")
        return fail(name, f"{', '.join(missing)} not installed, needed by {need}", install)
    package, outcome = next((pair[1], outcome) for pair, outcome in bad.items() if pair[1] not in missing)
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
    kinds = case.kinds()
    for kind in ("camera", "microphone"):
        if kind in kinds:
            needs[kind] = f"a {kind} in {case.config}"
    if case.settings is not None:
        if case.settings.mqtt is not None:
            needs["mqtt"] = f"[mqtt] in {case.config}"
        if case.settings.page is not None:
            needs |= dict.fromkeys(("metrics", "web"), f"[page] in {case.config}")
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
