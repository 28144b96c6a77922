"""From a configured stream to one that is ready: which installed bundle, loaded with what changes."""

from __future__ import annotations

from dataclasses import dataclass

from galago_edge.bundle import Bundle
from galago_edge.contract.errors import CallerError, DeviceError, InputError, LinkError, Reason
from galago_edge.pipeline import Stream, load
from galago_edge.service.config import StreamConfig
from galago_edge.sources import Source, open_source, parse_source
from galago_edge.sources.address import Modality
from galago_edge.store import Store


@dataclass(frozen=True, slots=True)
class PreparedStream:
    """A stream whose bundle is loaded; its source is opened when it runs, for it may come and go."""

    config: StreamConfig
    bundle: Bundle
    stream: Stream

    def open_source(self) -> Source:
        """Open the source for running.

        Raises:
            GalagoError: It is missing or cannot be read.
        """
        return open_source(self.config.source, self.bundle.manifest.preprocess.spec, live=True)


def prepare(config: StreamConfig, store: Store, *, scores: bool = False) -> PreparedStream:
    """Choose and load the bundle of a stream.

    Raises:
        CallerError: CONFIG_BAD; no such bundle or label, thresholds that cross, no such form of source.
        DeviceError: NO_BUNDLE, or the device cannot run it.
        InputError: SOURCE_MISMATCH; the bundle is for the other kind of source.
        BundleError: What is installed is not whole.
        LinkError: The store cannot be read.
    """
    modality = _modality(config)
    bundle = _bundle(config, store, modality)
    manifest = bundle.manifest
    if modality is not None and manifest.modality != modality:
        raise InputError(
            Reason.SOURCE_MISMATCH,
            f"stream {config.name}: {manifest.bundle.name} is for a {manifest.modality}, "
            f"the source is a {modality}",
            hint="give the stream another source or another bundle",
        )
    profile = store.profile()
    loaded = load(bundle, threads=profile.threads if profile else 1)
    stream = Stream(config.name, loaded, overrides=config.overrides(), scores=scores)
    return PreparedStream(config, bundle, stream)


def _modality(config: StreamConfig) -> Modality | None:
    """Return what the source gives; None when it is not there yet and could be either."""
    try:
        return parse_source(config.source).modality
    except LinkError:
        return None  # a source that is missing now is the running stream's matter


def _bundle(config: StreamConfig, store: Store, modality: Modality | None) -> Bundle:
    if config.bundle is not None:
        return store.active(config.bundle)
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
            f"stream {config.name}: {len(fitting)} installed bundles fit its source (installed: {names})",
            hint=f"say which one: --stream {config.name}:BUNDLE=...",
        )
    return fitting[0]
