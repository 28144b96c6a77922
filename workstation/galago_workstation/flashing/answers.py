"""How a device says that it ended, as far as it is believed: what follows from it is computed here.

A device may be broken, of another version, or somebody else's machine. Its refusal is a failure whatever exit
code it names, and its success counts where the rest of what it says bears it out.
"""

from __future__ import annotations

import re

import msgspec

from galago_edge.contract.errors import BusyError, CallerError, GalagoError, LinkError, Reason
from galago_edge.contract.flash_messages import Done, Refused
from galago_workstation.flashing.order import FlashOptions, Package

_AGAIN = frozenset(
    {
        *(Reason.NO_SPACE, Reason.READ_ONLY, Reason.IO, Reason.NOT_OWN, Reason.PERMISSION, Reason.TRANSPORT),
        *(Reason.SOURCE_MISSING, Reason.SOURCE_LOST, Reason.SERVICE_SILENT),
    }
)
_ASKED = frozenset({Reason.CONFIG_BAD, Reason.KEY_BAD, Reason.TARGET_UNKNOWN, Reason.EXISTS})
_CODE = re.compile(r"[A-Z][A-Z0-9_]{1,39}")


def believed(said: Refused) -> Refused:
    """Return a refusal with the exit code that its reason has here, never that of a success.

    A reason that this version does not know is a refusal; what is no reason code at all is TRANSPORT.
    """
    if _CODE.fullmatch(said.reason) is None:
        return Refused(
            reason=str(Reason.TRANSPORT),
            message=f"the device refused with something that is no reason code: {said.message}",
            hint="galago --version, here and there: use the same version of Galago on workstation and device",
            exit=LinkError.exit_code,
        )
    return msgspec.structs.replace(said, exit=_exit_of(said.reason))


def _exit_of(reason: str) -> int:
    if reason == Reason.LOCKED:
        return BusyError.exit_code
    if reason in _AGAIN:
        return LinkError.exit_code
    return CallerError.exit_code if reason in _ASKED else GalagoError.exit_code


def refusal(said: Refused) -> GalagoError:
    """Return a refusal as an error to raise."""
    told = believed(said)
    known = told.reason in set(Reason)
    error = GalagoError(
        Reason(told.reason) if known else Reason.TRANSPORT,
        told.message if known else f"{told.message} [{told.reason}]",
        hint=told.hint,
    )
    error.exit_code = told.exit
    return error


def confirmed(done: Done, package: Package, options: FlashOptions) -> Done:
    """Return a success that what the device says of its bundles bears out.

    Raises:
        LinkError: TRANSPORT; it contradicts itself, or is not what was asked for.
    """
    slot = done.slot
    is_active = slot is not None and slot.name == package.name and slot.active.id == package.id
    on_trial = slot is not None and slot.trial_left is not None
    is_staged = slot is not None and slot.staged is not None and slot.staged.id == package.id
    fits = {
        "would install": options.dry_run,
        "staged": options.wishes.stage_only and is_staged,
        "already active": is_active,
        "committed": is_active and not on_trial,
        "on trial": is_active and on_trial,
        "rolled back": not is_active,
    }
    if options.dry_run != (done.outcome == "would install") or not fits.get(done.outcome, False):
        active = f"{slot.active.version} (id {slot.active.id[:16]}…)" if slot is not None else "nothing"
        raise LinkError(
            Reason.TRANSPORT,
            f"the device says {done.outcome}, and that {active} is active under {package.name}",
            hint="galago status there says what is; galago --version, here and there, must be the same",
        )
    return done
