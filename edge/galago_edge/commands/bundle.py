"""``galago bundle inspect`` and ``verify``. Building bundles is the workstation's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import galago_edge
from galago_edge.commands.cli import GalagoGroup, json_option, say, say_data
from galago_edge.commands.options import PATH, opened_bundle, trust_option

if TYPE_CHECKING:
    from msgspec import UnsetType

    from galago_edge import Bundle
    from galago_edge.contract.manifest import (
        Gate,
        Health,
        Label,
        Preprocess,
        Provenance,
        Resources,
        Rollback,
    )


@click.group(cls=GalagoGroup, prefix="bundle.")
def bundle() -> None:
    """Look into bundles, check them, compare them, sign them."""


@click.command()
@click.argument("path", metavar="BUNDLE", type=PATH)
@json_option
def inspect(path: Path, as_json: bool) -> None:
    """Show what BUNDLE holds.

    Labels, decision policy, preprocessing, model, figures and files. Every byte is checked on the way;
    whether the signer is to be trusted is not asked (galago bundle verify --trust).

    \b
    Example:
      galago bundle inspect alarms-1.4.0.galago
    """
    opened = opened_bundle(path, ())
    if as_json:
        manifest = json.loads(opened.manifest_bytes)
        data = {"id": opened.id, "signers": list(opened.signers), "manifest": manifest}
        say_data(data)
        return
    for title, lines in _sections(opened).items():
        for number, line in enumerate(lines):
            say(f"{title if number == 0 else '':<12}{line}")


@click.command()
@click.argument("path", metavar="BUNDLE", type=PATH)
@trust_option
@click.option(
    "--threshold",
    type=click.IntRange(1, 16),
    default=1,
    show_default=True,
    help="How many different --trust keys must have signed it.",
)
@json_option
def verify(path: Path, trusted: tuple[Path, ...], threshold: int, as_json: bool) -> None:
    """Check that BUNDLE is whole, signed and consistent.

    With --trust it must also be signed by one of these keys.

    \b
    Example:
      galago bundle verify alarms-1.4.0.galago --trust release.key.pub
    """
    from galago_edge.contract.errors import CallerError, Reason

    if threshold > 1 and not trusted:
        raise CallerError(
            Reason.CONFIG_BAD,
            f"--threshold {threshold} counts keys that are trusted, and none is given",
            hint=f"give at least {threshold} keys with --trust PUB",
        )
    opened = galago_edge.open_bundle(path, trusted=trusted, threshold=threshold, unverified=not trusted)
    if as_json:
        data = {
            "ok": True,
            "id": opened.id,
            "name": opened.name,
            "version": opened.version,
            "signers": list(opened.signers),
            "trust_checked": bool(trusted),
            "trusted_signers": list(opened.trusted_signers),
        }
        say_data(data)
        return
    say(f"{opened} is whole (id {opened.id[:16]}…)")
    for signer in opened.signers:
        believed = signer in opened.trusted_signers
        said = "trusted" if believed else "not trusted" if trusted else "trust was not asked for"
        say(f"signed by {signer} ({said})")


def _sections(opened: Bundle) -> dict[str, list[str]]:
    from msgspec import UNSET

    manifest = opened.manifest
    info, compat, data, resources = manifest.bundle, manifest.compat, manifest.data, manifest.resources
    model = manifest.model[0]
    latency = [
        f"{measure.p50_us / 1000:.2f} ms (p99 {measure.p99_us / 1000:.2f}) on {measure.cpu}, "
        f"threads: {measure.threads}"
        for measure in resources.latency
    ]
    accelerated = [f"{other.backend}: {other.file}" for other in manifest.model[1:]]
    return {
        "bundle": [f"{info.name} {info.version}, release counter {info.release_counter} ({info.channel})"]
        + ([info.description] if info.description else []),
        "id": [opened.id],
        "signed by": list(opened.signers),
        "made": [f"{info.created_utc} by {info.producer}", *_origin(manifest.provenance), *_history(opened)],
        "for": [
            f"profiles: {', '.join(compat.device_profiles) or 'none'}",
            f"machines: {', '.join(compat.arch)}; galago-edge {compat.min_runtime_version} or later",
        ],
        "input": [f"{manifest.modality}: {_fields(manifest.preprocess.spec)}"],
        "model": [
            f"{model.file}: {resources.model_bytes} bytes, {model.quantization}, "
            f"{'x'.join(map(str, model.input.shape))} {model.input.dtype} in",
            ", ".join(f"{op.count} {op.name} v{op.version}" for op in compat.ops),
            *latency,
        ],
        **({"accelerated": accelerated} if accelerated else {}),
        "takes": [_costs(resources)],
        "labels": [_label(label) for label in manifest.labels],
        "scores": [f"{manifest.decision.activation}, temperature {manifest.decision.temperature:g}"],
        **({} if manifest.gate is UNSET else {"gate": [_fields(manifest.gate)]}),
        "accuracy": [
            f"{100 * data.accuracy_int8:.2f} % int8, {100 * data.accuracy_float:.2f} % float "
            f"on {data.test_samples} held-out samples"
        ],
        "golden": [f"{golden.file} ({golden.label})" for golden in manifest.golden],
        "trial": _trial(manifest.health, manifest.rollback),
        "files": [f"{entry.size:>10} {entry.path} ({entry.role})" for entry in manifest.files],
    }


def _origin(origin: Provenance | UnsetType) -> list[str]:
    from msgspec import UNSET

    if origin is UNSET:
        return []
    lines = [f"trained {origin.trained_utc} by {origin.trained_by}, seed {origin.seed}"]
    lines += [f"build {origin.build_id}"] if origin.build_id else []
    lines += [f"config {origin.config_sha256[:16]}…, network {origin.model_sha256[:16]}…"]
    return [*lines, "with " + ", ".join(f"{name} {version}" for name, version in origin.versions.items())]


def _history(opened: Bundle) -> list[str]:
    from galago_edge.bundle.policy_history import history_of_bundle

    return [
        f"from {step.source.version} (id {step.source.id[:16]}…) by {step.producer}: "
        + ", ".join(f"{one.label} {one.field} {one.old:g} -> {one.new:g}" for one in step.changes)
        for step in history_of_bundle(opened)
    ]


def _costs(resources: Resources) -> str:
    from msgspec import UNSET

    memory = f"{resources.rss_peak_bytes / 1e6:.1f} MB of memory with its process"
    if resources.engine_heap_bytes is not UNSET:
        memory += f", {resources.engine_heap_bytes / 1e6:.1f} MB of it for the loaded model"
    return f"{memory}, {resources.min_free_disk_bytes / 1e6:.1f} MB of disk"


def _trial(health: Health, rollback: Rollback) -> list[str]:
    live, floor = health.live, rollback.min_release_counter_after_commit
    return [
        f"{health.trial_s} s, in at most {health.max_trials} starts: {live.min_inferences} windows within "
        f"{live.within_s} s, p99 at most {live.max_p99_ms} ms",
        *([f"afterwards no release counter below {floor}"] if floor else []),
    ]


def _fields(spec: Preprocess | Gate) -> str:
    fields: dict[str, Any] = {
        name: getattr(spec, name) for name in spec.__struct_fields__ if name != "version"
    }
    return f"{spec.version}, " + ", ".join(f"{name} {value}" for name, value in fields.items())


def _label(label: Label) -> str:
    policy = label.policy
    if label.background:
        return f"{label.name} (background)"
    return (
        f"{label.name}: on {policy.on:g}, off {policy.off:g}, mean of {policy.smoothing_windows} windows, "
        f"at least {policy.min_count}, then {policy.refractory_ms} ms of rest"
    )
