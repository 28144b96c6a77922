"""The self-attack refuses nothing that is right, and a reader that stopped checking does not get past it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from galago_edge.bundle import Bundle, TrustedKeys, archive, open_bundle, reader, signature
from galago_edge.bundle.keys import key_id
from galago_edge.contract.errors import ModelError, Reason
from galago_workstation.packing import self_attack
from galago_workstation.packing.self_attack import attack
from test_kit import OTHER_KEY, TEST_KEY, make_hollow_bundle

TRUSTED = TrustedKeys({key_id(TEST_KEY): ""})


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return open_bundle(make_hollow_bundle(tmp_path / "x.galago"))


def missed(bundle: Bundle) -> str:
    with pytest.raises(ModelError) as caught:
        attack(bundle, TRUSTED)
    assert caught.value.reason == Reason.TAMPER_MISSED
    return str(caught.value)


def test_every_byte_in_front_of_the_files_is_altered_and_the_bundle_stays(bundle: Bundle) -> None:
    before = bundle.path.read_bytes()
    front = archive.BLOCK * 3 + sum(
        size + -size % archive.BLOCK for size in (len(bundle.manifest_bytes), len(bundle.signature_bytes))
    )
    assert attack(bundle, TRUSTED) > front
    assert bundle.path.read_bytes() == before


def test_a_long_manifest_is_sampled_from_end_to_end(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_attack, "MOST_FRONT_BYTES", 100)
    places = list(self_attack._places(bundle.path.read_bytes(), bundle))
    assert len(places) < 200 and places[0] == 0
    assert max(later - earlier for earlier, later in pairwise(places)) < 600


BLIND: dict[str, Callable[[pytest.MonkeyPatch], Any]] = {
    "signatures": lambda patch: patch.setattr(signature, "is_valid", lambda *_: True),
    "hashes": lambda patch: patch.setattr(reader, "_compare", lambda *_: None),
    "padding": lambda patch: patch.setattr(archive, "any", lambda _: False, raising=False),
    "the end": lambda patch: patch.setattr(archive.ArchiveReader, "finish", lambda _: None),
}


@pytest.mark.parametrize("blind", BLIND.values(), ids=BLIND)
def test_a_reader_that_stopped_checking_is_noticed(
    blind: Callable[[pytest.MonkeyPatch], Any], bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind(monkeypatch)
    assert "was taken as whole" in missed(bundle)


def test_a_bundle_that_is_refused_unaltered_is_no_proof(bundle: Bundle) -> None:
    """With the wrong key everything is refused, for another reason than the alterations."""
    from galago_edge.contract.errors import BundleError

    with pytest.raises(BundleError) as caught:
        attack(bundle, TrustedKeys({key_id(OTHER_KEY): ""}))
    assert caught.value.reason == Reason.KEY_UNKNOWN
