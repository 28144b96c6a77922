"""Whether a device may take a bundle: profile, machine, runtime and operators, each with both values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from galago_edge.contract.errors import DeviceError, Reason
from galago_edge.contract.manifest import Compatibility, Manifest, Operator
from galago_edge.contract.profile import DeviceProfile, Runtime

FEATURES = frozenset({"image/1", "logmel/1", "logmel/2", "motion/1", "level/1"})
"""What a manifest may ask of this version of galago-edge."""
_OR_ELSE = "or install it with --ignore-compatible"


def check_compat(
    manifest: Manifest,
    *,
    arch: str,
    edge_version: str,
    profile: DeviceProfile | None,
    ignore_compatible: bool = False,
) -> list[str]:
    """Refuse a bundle that this device cannot run, or that was not built for it; return what was overridden.

    ``arch`` is the machine's, ``edge_version`` that of galago-edge; without a profile nothing is known
    about the board, so only these two count. ``ignore_compatible`` takes a bundle that was built for other
    boards or machines; whether it can run here is checked all the same.

    Raises:
        DeviceError: PROFILE_MISMATCH, ARCH, RUNTIME_OLD or OP_UNSUPPORTED.
    """
    compat = manifest.compat
    if profile is not None and profile.arch != arch:
        raise DeviceError(  # of the device itself, so no bundle would be right
            Reason.ARCH,
            f"the profile {profile.id} is for {profile.arch}, this machine is {arch}",
            hint="give the device its own board's profile: galago devices show NAME -o ROOT/profile.toml",
        )
    meant_for_others = _meant_for_others(compat, arch, profile)
    if meant_for_others is not None and not ignore_compatible:
        raise meant_for_others
    unknown = [feature for feature in compat.features if feature not in FEATURES]
    if version_key(edge_version) < version_key(compat.min_runtime_version) or unknown:
        wanted = f"galago-edge {compat.min_runtime_version}" + "".join(f" with {name}" for name in unknown)
        raise DeviceError(
            Reason.RUNTIME_OLD,
            f"the bundle needs {wanted} or later, this is {edge_version}",
            hint='pip install --upgrade "galago-edge"',
        )
    if profile is not None:
        for text in unsupported_ops(compat.ops, profile.runtime):
            raise DeviceError(
                Reason.OP_UNSUPPORTED,
                f"{profile.id}: {text}",
                hint="train or convert a model without it, or update the device's runtime and profile",
            )
    return [] if meant_for_others is None else ["ignore-compatible"]


def _meant_for_others(compat: Compatibility, arch: str, profile: DeviceProfile | None) -> DeviceError | None:
    """Return what to say of a bundle that was built for other boards; None when it is for this one."""
    if profile is not None and profile.id not in compat.device_profiles:
        return DeviceError(
            Reason.PROFILE_MISMATCH,
            f"the bundle is for {', '.join(compat.device_profiles) or 'no profile'}, "
            f"this device is {profile.id}",
            hint=f"build the bundle for this board: galago bundle build --device {profile.id}, {_OR_ELSE}",
        )
    if arch not in compat.arch:
        return DeviceError(
            Reason.ARCH,
            f"the bundle is for {', '.join(compat.arch)}, this machine is {arch}",
            hint=f"build the bundle for this board: galago bundle build --device NAME, {_OR_ELSE}",
        )
    return None


def check_runtime(package: str, version: str, profile: DeviceProfile) -> None:
    """Refuse a TFLite runtime older than the one whose operators the profile lists.

    Raises:
        DeviceError: RUNTIME_OLD.
    """
    wanted = profile.runtime
    if package != wanted.package or version_key(version) < version_key(wanted.min_version):
        raise DeviceError(
            Reason.RUNTIME_OLD,
            f"the profile {profile.id} is for {wanted.package} {wanted.min_version} or later, "
            f"here is {package} {version}",
            hint=f'pip install --upgrade "{wanted.package}>={wanted.min_version}"',
        )


def unsupported_ops(ops: Iterable[Operator], runtime: Runtime) -> Iterator[str]:
    """Yield one sentence for each operator that the board's runtime lacks."""
    name = f"{runtime.package} {runtime.min_version}"
    for op in ops:
        highest = runtime.ops.get(op.name)
        if highest is None:
            yield f"the model uses {op.name}, which is not in the op table of {name}"
        elif op.version > highest:
            yield f"the model uses {op.name} version {op.version}, {name} has version {highest}"


def version_key(version: str) -> tuple[int, ...]:
    """Return what orders versions: the leading numbers, ``2.1.0rc1`` and ``2.1.0`` alike.

    >>> version_key("2.14.0") > version_key("2.9")
    True
    """
    match = re.match(r"\d+(\.\d+)*", version)
    numbers = [int(part) for part in match[0].split(".")] if match else [0]
    while numbers and numbers[-1] == 0:
        numbers.pop()  # 2.0 and 2.0.0 are one version
    return tuple(numbers)
