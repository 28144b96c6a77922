"""From a configured stream to one that is ready: which installed bundle, loaded with what changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from galago_edge.bundle import Bundle
from galago_edge.contract.device import DeviceProfile
from galago_edge.contract.errors import CallerError, DeviceError, InputError, LinkError, Reason
from galago_edge.contract.settings import AcceleratorSettings, SourceSettings, StreamSettings
from galago_edge.pipeline import Stream, load
from galago_edge.service.config import source_of
from galago_edge.service.live_stream import Build
from galago_edge.sources import Source, open_source, parse_source
from galago_edge.sources.address import Address, Modality, hide_credentials
from galago_edge.store import Store


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
    def source_name(self) -> str:
        """Name of the source for people, without credentials."""
        named = self.source.address != self.settings.source
        return self.settings.source if named else hide_credentials(self.settings.source)

    def open_source(self) -> Source:
        """Open a source that this stream reads alone: a recording, or standard input.

        Raises:
            GalagoError: It is missing or cannot be read.
        """
        return open_source(self.source.address, self.bundle.manifest.preprocess.spec, live=True)


def prepare(
    settings: StreamSettings,
    store: Store,
    *,
    sources: Mapping[str, SourceSettings] | None = None,
    accelerator: AcceleratorSettings | None = None,
    scores: bool = False,
) -> PreparedStream:
    """Choose and load the bundle of a stream.

    Raises:
        CallerError: CONFIG_BAD; no such bundle or label, thresholds that cross, no such form of source.
        DeviceError: NO_BUNDLE, or the device cannot run it.
        InputError: SOURCE_MISMATCH; the bundle is for the other kind of source.
        BundleError: What is installed is not whole.
        LinkError: The store cannot be read.
    """
    source = source_of(settings, sources or {})
    address = _address(source)
    bundle = _bundle(settings, store, address.modality if address else None)
    manifest = bundle.manifest
    if address is not None and manifest.modality != address.modality:
        raise InputError(
            Reason.SOURCE_MISMATCH,
            f"stream {settings.name}: {manifest.bundle.name} is for a {manifest.modality}, "
            f"the source is a {address.modality}",
            hint="give the stream another source or another bundle",
        )
    build = build_of(settings, bundle, store.profile(), accelerator, scores=scores)
    return PreparedStream(settings, source, address, bundle, build)


def build_of(
    settings: StreamSettings,
    bundle: Bundle,
    profile: DeviceProfile | None,
    accelerator: AcceleratorSettings | None,
    *,
    scores: bool,
) -> Build:
    """Load ``bundle`` for a stream.

    Raises:
        CallerError, DeviceError, BundleError: As :func:`prepare`.
    """
    loaded = load(
        bundle,
        threads=profile.threads if profile else 1,
        accelerators=profile.accelerator if profile else None,
        accelerator_settings=accelerator,
    )
    stream = Stream(settings.name, loaded, overrides=settings.overrides(), scores=scores)
    return Build(loaded, stream, lambda: build_of(settings, bundle, profile, accelerator, scores=scores))


def _address(source: SourceSettings) -> Address | None:
    try:
        return parse_source(source.address)
    except LinkError:
        return None  # a source that is missing now is the running stream's matter


def _bundle(settings: StreamSettings, store: Store, modality: Modality | None) -> Bundle:
    if settings.bundle is not None:
        return store.active(settings.bundle)
    bundles = [store.active(name) for name in sorted(store.state().slots)]
    if not bundles:
        raise DeviceError(
            Reason.NO_BUNDLE,
            f"{store.root} has no bundle",
            hint=f"galago install BUNDLE --root {store.root}",
        )
    fitting = [bundle for bundle in bundles if modality in (None, bundle.manifest.modality)]
    if len(fitting) != 1:
        names = ", ".join(bundle.manifest.bundle.name for bundle in bundles)
        raise CallerError(
            Reason.CONFIG_BAD,
            f"stream {settings.name}: {len(fitting)} installed bundles fit its source (installed: {names})",
            hint=f"say which one: --stream {settings.name}:BUNDLE=...",
        )
    return fitting[0]
