"""What a device changes in a bundle's policy, and how that is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.manifest import Label

ThresholdOverrides = Mapping[str, Mapping[str, float]]
"""Label name to ``{"on": ..., "off": ...}``, either or both."""

Differences = dict[str, dict[str, Any]]
"""Label name to ``{"on": {"manifest": ..., "device": ...}}``; only what really differs."""


def override_thresholds(
    labels: Sequence[Label], overrides: ThresholdOverrides
) -> tuple[tuple[Label, ...], Differences]:
    """Return the labels as this device decides them, and where that differs from the manifest.

    Raises:
        CallerError: CONFIG_BAD; there is no such label.
    """
    names = [label.name for label in labels]
    for name in overrides:
        if name not in names:
            raise CallerError(
                Reason.CONFIG_BAD,
                f"thresholds are given for {name!r}, which is no label of the bundle",
                hint=f"its labels: {', '.join(names[:20])}",
            )
    differences: Differences = {}
    changed = []
    for label in labels:
        policy = label.policy
        new = msgspec.structs.replace(policy, **overrides.get(label.name, {}))
        changed.append(msgspec.structs.replace(label, policy=new))
        for key in overrides.get(label.name, {}):
            manifest, device = getattr(policy, key), getattr(new, key)
            if manifest != device:
                difference = {"manifest": manifest, "device": device}
                differences.setdefault(label.name, {})[key] = difference
    return tuple(changed), differences
