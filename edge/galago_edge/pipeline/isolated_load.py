"""The first load of a model, in a process of its own that may crash, hang or eat memory.

Everything about a bundle can be right, the signature and every byte, and its model can still end the process
that loads it. So nobody else loads a model that this device has never run: it is loaded, timed and asked its
golden samples by ``galago_edge.pipeline.first_load_child``, which has little memory, little time, no socket,
and nothing that it could take along.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

import galago_edge
from galago_edge.bundle import Bundle
from galago_edge.children.child import Child
from galago_edge.children.child_environment import FEW_RESERVES
from galago_edge.children.ending import Ending
from galago_edge.children.output import Output
from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import (
    BundleError,
    CallerError,
    DeviceError,
    GalagoError,
    InputError,
    LinkError,
    Reason,
    disk_error,
)
from galago_edge.contract.manifest import AudioPreprocess, Manifest
from galago_edge.contract.profile import DeviceProfile, RuntimeInfo
from galago_edge.engine import check_model_file, runtime
from galago_edge.pipeline.first_load_child import (
    MIN_RUNS,
    RUNNING,
    FirstLoadFailed,
    FirstLoadPassed,
    FirstLoadRequest,
    memory_error,
)
from galago_edge.pipeline.golden_run import GoldenResult

_CHILD = "galago_edge.pipeline.first_load_child"
_START_S = 60.0
"""For Python and its libraries, from a slow SD card, on a device that is busy watching."""
_GRACE_S = 2.0
"""The process ends itself when its time is up; this one only helps."""
_KILLED_S = 5.0
_KINDS = {kind.__name__: kind for kind in (BundleError, DeviceError, LinkError, InputError, CallerError)}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a model may take of this device when it is loaded for the first time."""

    memory_bytes: int
    """Beyond what an empty runtime takes."""
    seconds: float
    """For loading, timing and all golden samples."""
    window_ms: float
    """For one run, at its fastest."""
    threads: int = 1


@dataclass(frozen=True, slots=True)
class FirstLoad:
    """How the first load went, when it went well."""

    golden: tuple[GoldenResult, ...]
    load_ms: float
    invoke_p50_ms: float
    invoke_max_ms: float
    memory_bytes: int
    """By how much the process grew at its peak."""


BASE_MEMORY_BYTES = 256_000_000
"""What any model may take: some twenty times what a MobileNetV2 does."""
BASE_S = 20.0
LONGEST_S = 300.0
"""However slow a manifest says that its model may be: other commands wait for the store meanwhile."""


def limits_for(manifest: Manifest, profile: DeviceProfile | None) -> Limits:
    """Return what a bundle may take here.

    Memory: twice what it took where it was built, or :data:`BASE_MEMORY_BYTES` if that is more; never more
    than half of the board's. Time for one window: the shorter of what its trial allows and the time until
    the next one.
    """
    if profile is None:
        most_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    else:
        most_bytes = board_memory_bytes(profile)
    window_ms = min(float(manifest.health.live.max_p99_ms), _period_ms(manifest))
    runs = 2 * (MIN_RUNS + 1) + len(manifest.golden)
    return Limits(
        memory_bytes=min(most_bytes, max(BASE_MEMORY_BYTES, 2 * manifest.resources.rss_peak_bytes)),
        seconds=min(BASE_S + runs * window_ms / 1000, LONGEST_S),
        window_ms=window_ms,
        threads=profile.threads if profile else 1,
    )


def board_memory_bytes(profile: DeviceProfile) -> int:
    """Return the most memory that any model may take on a board: half of it."""
    return profile.ram_mb * 1_000_000 // 2


def first_load(bundle: Bundle, limits: Limits) -> FirstLoad:
    """Load, time and ask the model of ``bundle`` in a process of its own.

    Raises:
        BundleError: LOAD_CRASH, LOAD_TIMEOUT, or what a load and a golden run raise:
            MODEL_BAD, GOLDEN_FAIL, TENSOR_MISMATCH, PREPROCESS_MISMATCH.
        DeviceError: MEMORY, TOO_SLOW, or no such process can be had: LOAD_CRASH, RUNTIME_MISSING,
            EXTRA_MISSING.
        LinkError: The bundle cannot be read, or the system starts no process.
    """
    check_model_file(bundle.read(bundle.manifest.model[0].file))  # what can be told without a process
    request = FirstLoadRequest(
        bundle_id=bundle.id,
        threads=limits.threads,
        memory_bytes=limits.memory_bytes,
        seconds=limits.seconds,
        limit_ms=limits.window_ms,
    )
    try:
        passed = _run(bundle, request, limits)
    except OSError as error:
        raise disk_error(error, f"start the process that loads {bundle} for the first time") from error
    return FirstLoad(
        golden=tuple(GoldenResult(done.file, done.label, done.difference) for done in passed.golden),
        load_ms=passed.load_ms,
        invoke_p50_ms=passed.invoke_p50_ms,
        invoke_max_ms=passed.invoke_max_ms,
        memory_bytes=passed.memory_bytes,
    )


def judge(bundle: Bundle, profile: DeviceProfile | None) -> FirstLoad:
    """Look at what a new bundle says of itself, then load it for the first time.

    Raises:
        BundleError: CONSTANT_ANSWER; or as :func:`first_load`.
        DeviceError, LinkError: As :func:`first_load`.
    """
    _check_answers_differ(bundle.manifest)
    return first_load(bundle, limits_for(bundle.manifest, profile))


def note(done: FirstLoad, profile: DeviceProfile | None) -> Mapping[str, Any]:
    """Return what ``accepted.json`` says about a first load."""
    return {
        "galago_edge": galago_edge.__version__,
        "runtime": runtime_name(runtime()),
        "profile": profile.id if profile else None,
        "golden": [
            {"file": result.file, "label": result.label, "difference": result.largest_difference}
            for result in done.golden
        ],
        "load_ms": done.load_ms,
        "invoke_p50_ms": done.invoke_p50_ms,
        "invoke_max_ms": done.invoke_max_ms,
        "memory_bytes": done.memory_bytes,
    }


def runtime_name(here: RuntimeInfo) -> str:
    """Return how ``accepted.json`` names a runtime."""
    return f"{here.package} {here.version}"


def _check_answers_differ(manifest: Manifest) -> None:
    """Refuse a bundle whose own golden samples say that its model cannot tell labels apart."""
    labels = {golden.label for golden in manifest.golden}
    answers = {golden.expected.logits for golden in manifest.golden}
    if len(labels) > 1 and len(answers) == 1:
        raise BundleError(
            Reason.CONSTANT_ANSWER,
            f"the golden samples of {len(labels)} labels all have the same answer",
            hint="train and convert the model again: this one does not look at its input",
        )


def _period_ms(manifest: Manifest) -> float:
    """Return the stream time between two windows; a camera that decides on every frame skips what it must."""
    spec = manifest.preprocess.spec
    if isinstance(spec, AudioPreprocess):
        return 1000 * spec.hop_frames * spec.frame_hop_samples / spec.sample_rate_hz
    return float(spec.hop_ms) if spec.hop_ms else float("inf")


def _run(bundle: Bundle, request: FirstLoadRequest, limits: Limits) -> FirstLoadPassed:
    with Output("galago-answer") as answer, Output("galago-stderr") as stderr:
        child = Child(
            ("-m", _CHILD),
            (str(bundle.path), msgspec.json.encode(request)),
            shared=(answer.fileno(),),
            more_environment=FEW_RESERVES,  # address space is bounded there
            stderr=stderr.fileno(),
        )
        try:
            ending = child.wait(_START_S + limits.seconds + _GRACE_S)
        finally:
            child.close(killed_s=_KILLED_S)
        *stages, last = answer.read().splitlines() or [b""]
        if ending is not None and ending.exit_code == 0:
            return _passed(last)
        raise _lost(ending, [*stages, last], stderr.last_line(), limits)


def _passed(line: bytes) -> FirstLoadPassed:
    try:
        told = from_json(line, type=FirstLoadPassed | FirstLoadFailed)
        if isinstance(told, FirstLoadPassed):
            return told
        failure: GalagoError = _KINDS[told.kind].from_data(msgspec.structs.asdict(told))
    except (msgspec.DecodeError, KeyError, ValueError):
        raise _crash(DeviceError, "ended without an answer") from None
    raise failure


def _lost(ending: Ending | None, stages: list[bytes], said: str, limits: Limits) -> GalagoError:
    """Return what became of a process that gave no answer; ``ending`` is None when it took too long."""
    doing = "starting" if stages == [b""] else "running" if RUNNING in stages else "loading"
    if ending is None and doing == "starting":
        return DeviceError(
            Reason.LOAD_TIMEOUT,
            f"the process of the first load had not even started after {_START_S:g} s",
            hint="look at the load and the disk of this device, then run the command again",
        )
    if ending is None or ending.signal in ("SIGALRM", "SIGXCPU"):
        return BundleError(
            Reason.LOAD_TIMEOUT,
            f"the model was still {doing} after {limits.seconds:.3g} s, when its process was ended",
            hint="use a smaller model, or look for a loop in it that does not end",
        )
    if ending.signal == "SIGKILL":  # not by us: the system was out of memory and took the likeliest
        return memory_error(limits.memory_bytes, f"the system ended its process while {doing}")
    if "alloc" in said.lower():
        return memory_error(limits.memory_bytes, said)
    how = f"{ending} while {doing}" + (" the model" if ending.signal else "")
    # before the model was touched only this installation can be at fault
    return _crash(DeviceError if doing == "starting" else BundleError, f"{how} ({said})" if said else how)


def _crash(kind: type[GalagoError], how: str) -> GalagoError:
    if kind is BundleError:
        hint = "convert the model again, and tell who built the bundle which device this is"
    else:
        hint = "galago doctor checks this installation"
    return kind(Reason.LOAD_CRASH, f"the process of the first load {how}", hint=hint)
