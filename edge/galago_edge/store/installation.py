"""Bring a bundle into a store so that nothing can hurt: a power cut, a full disk, two at once.

The old bundle stays the active one until one small file is renamed, and before that every byte of
the new one is on the disk, was read back and has answered its golden samples. What a broken attempt
leaves behind is removed by the next one, and the steps run in an order in which each makes
durable what the next relies on.

Where there is something to go back to, a new bundle is active on trial: ``booting`` and ``activating``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import msgspec

from galago_edge.bundle import Bundle, TrustedKeys, open_bundle
from galago_edge.bundle.reader import ACCEPTED_NAME, MANIFEST_NAME, SIGNATURE_NAME
from galago_edge.contract.errors import DeviceError, GalagoError, LinkError, Reason
from galago_edge.contract.wishes import NO_WISHES, Wishes
from galago_edge.store.added_signatures import adopt_signatures
from galago_edge.store.admission import check_release, factory_bundle, release_of, trial_of
from galago_edge.store.garbage import discard_unused
from galago_edge.store.state import Release, Slot, State, with_active, with_commit, with_entry, with_staged
from galago_edge.store.store import Store
from galago_edge.store.store_change import StoreChange, changing, now_utc

RESERVE_BYTES = 4 << 20
"""Left free on purpose: the state, logs and other programs must still be able to write."""

Accept = Callable[[Bundle], Mapping[str, Any]]
"""The last word on a bundle that lies on this disk: raises, or returns what to note about it."""

Phase = Literal["committed", "on trial", "staged"]


@dataclass(frozen=True, slots=True)
class Installation:
    """How an install ended, when it ended well."""

    outcome: Literal["installed", "already installed", "repaired"]
    folder: Path
    phase: Phase = "committed"
    """What the bundle is in the store now."""


def install_bundle(
    store: Store,
    bundle: Bundle,
    trusted: TrustedKeys,
    accept: Accept,
    wishes: Wishes = NO_WISHES,
    *,
    overrides: Sequence[str] = (),
) -> Installation:
    """Copy a bundle into the store, let ``accept`` judge the copy, and make it the active one.

    It is on trial afterwards when there is something to go back to, unless ``wishes`` say otherwise; what of
    them was needed stands in the state, and so do ``overrides``: what the caller needed before, as it is
    written on the command line.
    Where no copy of the state is whole, a new one is made first of what lies there.

    Raises:
        BusyError: LOCKED; another process is changing this store.
        DeviceError: DOWNGRADE, REPLAY, COUNTER_JUMP or TRIAL_FAILED; STATE_BAD, another version of Galago
            wrote the state; NO_BUNDLE, there is nothing that could be active while this one is staged; or
            what ``accept`` raises.
        BundleError: What came back from the disk is not the bundle, or not trusted; or from ``accept``.
        LinkError: The disk is full or failing.
    """
    doing = f"install {bundle} into {store.root}"
    # the truth is: it is active, but the disk has not confirmed it
    part = "staged" if wishes.stage_only else "active"
    done = f"confirm on the disk that {bundle}, {part} in {store.root} now, will stay so"
    with changing(store, doing, done, restore=trusted) as change:
        return _Installer(change, bundle, trusted, accept).run(wishes, overrides)


class _Installer:
    """The steps, in order. Each raises OSError when the disk refuses."""

    def __init__(self, change: StoreChange, bundle: Bundle, trusted: TrustedKeys, accept: Accept) -> None:
        self._change = change
        self._store = change.store
        self._fs = change.fs
        self._bundle = bundle
        self._name = bundle.name
        self._trusted = trusted
        self._accept = accept
        self._aside: Path | None = None
        """Where a damaged folder was put out of the way."""

    def run(self, wishes: Wishes, overrides: Sequence[str]) -> Installation:
        state = self._store.state()
        slot = state.slots.get(self._name)
        discard_unused(self._change, state, keep={self._bundle.id})
        if slot is not None and slot.active.id == self._bundle.id:
            return self._again(state, slot, commit=wishes.commit, overrides=overrides)
        needed = check_release(self._bundle, slot or self._delivered(), wishes)
        folder = self._store.folder(self._bundle.id)
        whole = self._is_whole()
        if wishes.stage_only:
            if slot is not None and slot.staged is not None and slot.staged.id == self._bundle.id and whole:
                self._adopt_signatures()
                return Installation("already installed", folder, "staged")
            state = self._with_slot(state)
        self._bring_in(folder, whole)
        release = release_of(self._bundle)
        phase: Phase = "staged"
        if wishes.stage_only:
            state = with_staged(state, self._name, release)
        else:
            judged = None
            if not wishes.commit:
                judged = trial_of(self._store, self._bundle, slot, self._trusted, wishes)
            state = with_active(state, self._name, release, judged)
            phase = "on trial" if judged is not None else "committed"
        self._publish(self._noted(state, release, [*overrides, *needed]))
        return Installation("installed", folder, phase)

    def _noted(self, state: State, release: Release, overrides: Sequence[str]) -> State:
        for override in overrides:
            state = with_entry(
                state, "override", release.since_utc, name=self._name, release=release, reason=override
            )
        return state

    def _again(self, state: State, slot: Slot, *, commit: bool, overrides: Sequence[str]) -> Installation:
        """Install what is active already: repair it, or commit it if that is asked for."""
        folder = self._store.folder(self._bundle.id)
        before = state
        on_trial = slot.trial is not None
        whole = self._is_whole()
        if not whole:
            self._bring_in(folder, whole)
            release = release_of(self._bundle)
            state = self._noted(with_active(state, self._name, release), release, overrides)
        else:
            self._adopt_signatures()
        if on_trial and commit:
            state = with_commit(state, self._name, now_utc(), "galago install --commit")
            on_trial = False
        if state is not before:
            self._publish(state)
        return Installation(
            "already installed" if whole else "repaired", folder, "on trial" if on_trial else "committed"
        )

    def _publish(self, state: State) -> None:
        self._change.publish(state)
        if self._aside is not None:
            with contextlib.suppress(OSError):  # it is done; the next change removes it
                self._change.remove(self._aside)

    def _delivered(self) -> Slot | None:
        """Return what runs where nothing was installed yet: the factory's bundle, if there is one."""
        try:
            factory = factory_bundle(self._store, self._name, self._trusted)
        except GalagoError:  # a start would not load it either
            return None
        return None if factory is None else Slot(active=release_of(factory))

    def _with_slot(self, state: State) -> State:
        """Return the state with something active beside what is staged: the factory's bundle, if need be."""
        if self._name in state.slots:
            return state
        factory = factory_bundle(self._store, self._name, self._trusted)
        if factory is None:
            raise DeviceError(
                Reason.NO_BUNDLE,
                f"{self._store.root} has no bundle named {self._name} that could run "
                f"while {self._bundle} is staged",
                hint="install it without --stage-only",
            )
        return with_active(state, self._name, release_of(factory))

    def _is_whole(self) -> bool:
        try:
            found = self._store.open(self._bundle.id)
        except GalagoError:  # missing, damaged or unreadable: it will be written again
            return False
        return found.path == self._store.folder(self._bundle.id)  # not the factory's

    def _bring_in(self, folder: Path, whole: bool) -> None:
        if whole:  # an earlier attempt came this far
            self._adopt_signatures()
            self._accept(self._store.open(self._bundle.id))
        else:
            self._check_space()
            self._copy_in(folder)

    def _adopt_signatures(self) -> None:
        adopt_signatures(self._change, self._store.open(self._bundle.id), self._bundle)

    def _check_space(self) -> None:
        manifest = self._bundle.manifest
        size = sum(entry.size for entry in manifest.files)
        needed = max(size + size // 10 + RESERVE_BYTES, manifest.resources.min_free_disk_bytes)
        files = len(manifest.files) + 16  # manifest, signature, notes, folders, the state's new copy
        free = self._fs.free(self._store.root)
        if free.size_bytes < needed or (free.files is not None and free.files < files):
            met = f"{free.size_bytes} bytes" + ("" if free.files is None else f" and {free.files} files")
            raise LinkError(
                Reason.NO_SPACE,
                f"{self._store.root} has room for {met}, "
                f"{self._bundle} needs {needed} bytes and {files} files",
                hint="free some space and run the command again",
            )

    def _copy_in(self, folder: Path) -> None:
        stage = self._change.new_name("new")
        self._fs.mkdir(stage)
        try:
            self._write_files(stage)
            copy = open_bundle(stage, self._trusted)  # what the disk gives back, not what was sent to it
            note = self._accept(copy)
            self._change.write_file(stage / ACCEPTED_NAME, _accepted(copy, note))
            self._fs.fsync_dir(stage)
            if (
                self._fs.status(folder) is not None
            ):  # damaged: out of the way, for a folder cannot be replaced
                self._aside = self._change.new_name("bad")
                self._fs.rename(folder, self._aside)
            self._fs.rename(stage, folder)  # lasts when the state is written
        except BaseException:  # an interruption, too, must leave no half bundle
            with contextlib.suppress(OSError):
                self._change.remove(stage)
            raise

    def _write_files(self, stage: Path) -> None:
        contents = {MANIFEST_NAME: self._bundle.manifest_bytes, SIGNATURE_NAME: self._bundle.signature_bytes}
        for name, data in contents.items():
            self._change.write_file(stage / name, data)
        names = [entry.path for entry in self._bundle.manifest.files]
        folders = sorted({parent for name in names for parent in PurePosixPath(name).parents[:-1]})
        for inner in folders:  # a parent sorts before its children
            self._fs.mkdir(stage / inner)
        for name in names:
            self._change.write_file(stage / name, self._bundle.read(name))
        for inner in reversed(folders):
            self._fs.fsync_dir(stage / inner)
        for name in (*contents, *names):
            self._fs.forget_cache(stage / name)


def _accepted(bundle: Bundle, note: Mapping[str, Any]) -> bytes:
    body = {"id": bundle.id, "accepted_utc": now_utc(), **note}
    return msgspec.json.format(msgspec.json.encode(body)) + b"\n"
