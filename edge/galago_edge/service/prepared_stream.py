"""From a configured stream to one that is ready: which installed bundle, loaded with what changes."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from galago_edge.bundle import Bundle
from galago_edge.contract.errors import CallerError, DeviceError, InputError, LinkError, Reason
from galago_edge.contract.manifest import Manifest
from galago_edge.contract.modality import Modality
from galago_edge.contract.profile import DeviceProfile
from galago_edge.contract.settings import AcceleratorSettings, SourceSettings, StreamSettings
from galago_edge.host.urls import hide_credentials
from galago_edge.pipeline import DecidingStream, LoadedBundle, load
from galago_edge.service.build import Build
from galago_edge.service.configuration import source_of
from galago_edge.service.first_loads import ensure_first_load
from galago_edge.service.slots import Slots
from galago_edge.sources import Source, open_source, parse_source
from galago_edge.sources.source_kind import Address
from galago_edge.sources.view_options import PictureView, view_of
from galago_edge.sources.viewed_source import check_view


@dataclass(frozen=True, slots=True)
class PreparedStream:
    """A stream whose bundle is loaded; its source is opened when it runs, for it may come and go."""

    settings: StreamSettings
    source: SourceSettings
    address: Address | None
    """None when it is a path that does not exist."""
    bundle: Bundle
    build: Build

    @property
    def live(self) -> bool:
        """Whether its source gives what happens now. A recording judges no bundle."""
        return _is_live(self.address)

    @property
    def source_name(self) -> str:
        """Name of the source for people, without credentials: ``galago_edge.service.source_names``."""
        named = self.source.address != self.settings.source
        return self.settings.source if named else hide_credentials(self.settings.source)

    def open_source(self) -> Source:
        """Open a source that this stream reads alone: a recording, or standard input.

        Raises:
            GalagoError: It is missing or cannot be read.
        """
        tables = (self.source, self.settings)
        found = self.source
        return open_source(
            found.address, self.bundle.spec, live=self.live, channel=found.channel, view=tables
        )

    @property
    def view(self) -> PictureView:
        """What this stream sees of a live camera's pictures."""
        return view_of({}, self.source, self.settings)


def prepare(
    settings: StreamSettings,
    slots: Slots,
    *,
    sources: Mapping[str, SourceSettings] | None = None,
    accelerator: AcceleratorSettings | None = None,
    scores: bool = False,
) -> PreparedStream:
    """Choose and load the bundle of a stream.

    One on trial that does not load is left at once, and for one that cannot be run the next whole one is
    loaded.

    Raises:
        CallerError: CONFIG_BAD; no such bundle or label, thresholds that cross, no such form of source.
        DeviceError: NO_BUNDLE, or the device cannot run it.
        InputError: SOURCE_MISMATCH; the bundle is for the other kind of source.
        BundleError: What is installed is not whole.
        LinkError: The store cannot be read.
    """
    source = source_of(settings, sources or {})
    address = _address(source)
    bundle = _bundle(settings, slots, address)
    while True:
        try:
            _check_modality(settings, bundle, address)
            check_view(view_of({}, source, settings), bundle.modality)
            build = build_of(settings, bundle, slots, accelerator, scores=scores, live=_is_live(address))
        except Exception as failure:  # any failure tells against the bundle; the one before it may do
            before = slots.reject(bundle, failure)
            if before is None:
                raise
            bundle = before
        else:
            return PreparedStream(settings, source, address, bundle, build)


def is_live(settings: StreamSettings, sources: Mapping[str, SourceSettings]) -> bool:
    """Tell whether a stream is on a source that gives what happens now, and not on a recording.

    Raises:
        CallerError: CONFIG_BAD; no such form of source.
    """
    try:
        return _is_live(_address(source_of(settings, sources)))
    except DeviceError:
        return False  # a plug-in that cannot be used gives nothing; preparing its stream says why


def _is_live(address: Address | None) -> bool:
    return address is not None and address.live  # a path that does not exist is no device


def build_of(
    settings: StreamSettings,
    bundle: Bundle,
    slots: Slots,
    accelerator: AcceleratorSettings | None,
    *,
    scores: bool,
    live: bool,
) -> Build:
    """Load ``bundle`` for a stream; its folder stays until the build is closed.

    ``live``: the stream's source gives what happens now, so it judges a bundle that is on trial.

    Raises:
        CallerError, DeviceError, BundleError: As :func:`prepare`.
    """
    hold = slots.store.hold(bundle.id)
    try:
        judge = slots.judge(settings.name, bundle) if live else None
        profile = slots.profile()
        if slots.live:
            ensure_first_load(slots.store, bundle, profile)
        with contextlib.nullcontext() if judge is None else judge.memory.working():
            loaded, stream = _loaded(settings, bundle, profile, accelerator, scores=scores)
    except BaseException:  # whatever it was, the folder must not stay held
        if hold is not None:
            hold.close()
        raise
    return Build(
        loaded,
        stream,
        lambda: build_of(settings, bundle, slots, accelerator, scores=scores, live=live),
        judge,
        release=hold.close if hold is not None else lambda: None,
    )


def _loaded(
    settings: StreamSettings,
    bundle: Bundle,
    profile: DeviceProfile | None,
    accelerator: AcceleratorSettings | None,
    *,
    scores: bool,
) -> tuple[LoadedBundle, DecidingStream]:
    loaded = load(
        bundle,
        threads=profile.threads if profile else 1,
        accelerators=profile.accelerator if profile else None,
        accelerator_settings=accelerator,
    )
    try:
        thresholds = settings.threshold_overrides()
        return loaded, DecidingStream(settings.name, loaded, thresholds=thresholds, scores=scores)
    except CallerError as error:
        loaded.close()
        raise CallerError(error.reason, f"stream {settings.name}: {error}", hint=error.hint) from None
    except BaseException:  # whatever it was, the engine's process must be ended
        loaded.close()
        raise


def _check_modality(settings: StreamSettings, bundle: Bundle, address: Address | None) -> None:
    manifest = bundle.manifest
    if address is not None and not address.gives(manifest.modality):
        raise InputError(
            Reason.SOURCE_MISMATCH,
            f"stream {settings.name}: {manifest.bundle.name} is for a {manifest.modality}, "
            f"the source is a {address.modality}",
            hint="give the stream another source or another bundle",
        )


def _address(source: SourceSettings) -> Address | None:
    try:
        return parse_source(source.address)
    except LinkError:
        return None  # a source that is missing now is the running stream's matter


def _bundle(settings: StreamSettings, slots: Slots, address: Address | None) -> Bundle:
    if settings.bundle is not None:
        return slots.bundle(settings.bundle)
    bundles = [slots.bundle(name) for name in slots.names()]
    if not bundles:
        raise slots.missing()
    fitting = [bundle for bundle in bundles if address is None or address.gives(bundle.modality)]
    if len(fitting) != 1:
        names = ", ".join(bundle.name for bundle in bundles)
        raise CallerError(
            Reason.CONFIG_BAD,
            f"stream {settings.name}: {len(fitting)} installed bundles fit its source (installed: {names})",
            hint=f"say which one: --stream {settings.name}:BUNDLE=...",
        )
    return fitting[0]


def check_same_input(running: Manifest, new: Manifest) -> None:
    """Refuse a bundle that a running source cannot feed.

    Raises:
        InputError: SOURCE_MISMATCH.
    """
    met = (new.modality, getattr(new.preprocess.spec, "sample_rate_hz", None))
    expected = (running.modality, getattr(running.preprocess.spec, "sample_rate_hz", None))
    if met != expected:
        raise InputError(
            Reason.SOURCE_MISMATCH,
            f"{new.bundle.name} {new.bundle.version} is for a {_words(*met)}, the stream runs on a "
            f"{_words(*expected)}",
            hint="restart the service, or give the stream another bundle",
        )


def _words(modality: Modality, rate_hz: int | None) -> str:
    return f"{modality} at {rate_hz} Hz" if rate_hz else modality
