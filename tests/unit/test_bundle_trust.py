"""Whom a device believes: how many must sign, who counts no more, and what a refusal says."""

from __future__ import annotations

from pathlib import Path

import pytest

from galago_edge.bundle.keys import create_key_pair
from galago_edge.bundle.trust import TrustedKeys, TrustPolicy, read_policy
from galago_edge.contract.errors import BundleError, CallerError, Reason

A, B, C, D = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)
SA, SB, SC, SD = (f"{letter * 16}…" for letter in "abcd")


def refusal(keys: TrustedKeys, *signers: str) -> tuple[Reason, str]:
    with pytest.raises(BundleError) as caught:
        keys.require(signers, "x.galago")
    assert caught.value.hint
    return caught.value.reason, str(caught.value)


@pytest.mark.parametrize(
    ("threshold", "signers", "enough"),
    [
        (1, [A], True),
        (1, [D, A], True),
        (2, [A], False),
        (2, [A, A], False),  # the same key twice is one
        (2, [A, B], True),
        (2, [A, D], False),
        (3, [A, B, C], True),
        (3, [A, B, D], False),
        (0, [A], True),
    ],
)
def test_so_many_different_trusted_keys_must_have_signed(
    threshold: int, signers: list[str], enough: bool
) -> None:
    keys = TrustedKeys({A: "", B: "", C: ""}, threshold=threshold)
    if enough:
        keys.require(signers, "x.galago")
    else:
        assert refusal(keys, *signers)[0] is Reason.SIG_MISSING


@pytest.mark.parametrize("threshold", [0, 1])
def test_no_signature_is_never_enough(threshold: int) -> None:
    assert refusal(TrustedKeys({A: ""}, threshold=threshold))[0] is Reason.KEY_UNKNOWN
    assert refusal(TrustedKeys({}, threshold=threshold), A)[0] is Reason.KEY_UNKNOWN


@pytest.mark.parametrize(
    ("trusted", "others"),
    [
        ([], "no key is"),
        ([A], "one other key is"),
        ([A, B], "2 other keys are"),
        ([A, B, C], "3 other keys are"),
    ],
)
def test_an_unknown_signer_is_told_beside_how_many_are_trusted(trusted: list[str], others: str) -> None:
    assert refusal(TrustedKeys(dict.fromkeys(trusted, "")), D) == (
        Reason.KEY_UNKNOWN,
        f"x.galago is signed by {SD}; {others} trusted here",
    )


def test_too_few_signers_are_told_with_how_many_are_needed() -> None:
    keys = TrustedKeys({A: "", B: "", C: ""}, threshold=3)
    assert refusal(keys, B, D, A) == (
        Reason.SIG_MISSING,
        f"x.galago is signed by {SA}, {SB}, {SD}; "
        "2 of the 3 trusted signatures that this device needs are there",
    )


@pytest.mark.parametrize(
    ("revoked", "why"),
    [
        ({D: "stolen"}, f"{SD} is revoked here (stolen)"),
        ({D: ""}, f"{SD} is revoked here"),
        ({C: "stolen", D: "lost"}, f"{SC}, {SD} is revoked here (stolen; lost)"),
        ({C: "", D: "lost"}, f"{SC}, {SD} is revoked here (lost)"),
    ],
)
def test_a_revoked_signer_is_told_with_the_reason(revoked: dict[str, str], why: str) -> None:
    keys = TrustedKeys({A: ""}, revoked)
    assert refusal(keys, *revoked) == (
        Reason.KEY_REVOKED,
        f"x.galago is signed by {', '.join(f'{keyid[:16]}…' for keyid in revoked)}; {why}, "
        "and 0 of the 1 trusted signatures that this device needs are there",
    )


def test_a_revoked_key_counts_nothing_and_does_no_harm_beside_enough_others() -> None:
    keys = TrustedKeys({A: "", B: ""}, {B: "stolen", D: "lost"}, threshold=1)
    keys.require([A, B, D], "x.galago")
    assert refusal(keys, B)[0] is Reason.KEY_REVOKED
    assert A in keys and B not in keys and C not in keys and D not in keys


def test_exactly_these_keys_must_all_have_signed() -> None:
    keys = TrustedKeys.exactly([A, B, A])
    assert (len(keys), keys.threshold) == (2, 2)
    keys.require([A, B, C], "x.galago")
    assert refusal(keys, A)[0] is Reason.SIG_MISSING


@pytest.mark.parametrize(
    ("followed", "channel", "taken"),
    [(None, "beta", True), ("stable", "stable", True), ("stable", "beta", False)],
)
def test_a_device_takes_bundles_of_its_channel_only(followed: str | None, channel: str, taken: bool) -> None:
    keys = TrustedKeys({}, channel=followed)
    if taken:
        keys.require_channel(channel, "x.galago")
        return
    with pytest.raises(BundleError) as caught:
        keys.require_channel(channel, "x.galago")
    assert caught.value.reason is Reason.CHANNEL_MISMATCH
    assert str(caught.value) == "x.galago is of the channel beta, this device takes stable only"


# ---- the folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A trust folder with one key, under the name that its maker gave."""
    path = tmp_path / "trust"
    path.mkdir()
    create_key_pair(tmp_path / "release", comment="release key")
    (tmp_path / "release.pub").rename(path / "release.pub")
    return path


def test_a_key_in_the_folder_counts_with_its_comment_and_alone_is_enough(folder: Path) -> None:
    keys = TrustedKeys.in_folder(folder)
    assert list(keys.comments.values()) == ["release key"]
    assert (keys.revoked, keys.threshold, keys.channel) == ({}, 1, None)
    assert TrustedKeys.of([folder / "release.pub"], threshold=4) == TrustedKeys(keys.comments, threshold=4)
    assert TrustedKeys.of([folder / "release.pub"]).threshold == 1


def test_a_revoked_key_is_not_among_those_that_count(folder: Path) -> None:
    (keyid,) = TrustedKeys.in_folder(folder).comments
    (folder / "any.revoked").write_bytes((folder / "release.pub").read_bytes())
    keys = TrustedKeys.in_folder(folder)
    assert (keys.comments, list(keys.revoked)) == ({}, [keyid])


def test_the_policy_counts_where_it_is_asked_for(folder: Path) -> None:
    (folder / "policy.toml").write_text('threshold = 2\nchannel = "stable"\n')
    asked, not_asked = TrustedKeys.in_folder(folder), TrustedKeys.in_folder(folder, with_policy=False)
    assert (asked.threshold, asked.channel) == (2, "stable")
    assert (not_asked.threshold, not_asked.channel) == (1, None)


@pytest.mark.parametrize("text", ["threshold = 0", "threshold = 17", 'threshold = "2"', "quorum = 2", "="])
def test_a_policy_that_cannot_be_understood_is_no_trust(folder: Path, text: str) -> None:
    (folder / "policy.toml").write_text(text)
    with pytest.raises(CallerError) as caught:
        TrustedKeys.in_folder(folder)
    assert caught.value.reason is Reason.CONFIG_BAD


def test_without_a_policy_its_defaults_hold(tmp_path: Path) -> None:
    assert read_policy(tmp_path) == TrustPolicy(threshold=1, channel=None)
    assert TrustedKeys.in_folder(tmp_path / "none") == TrustedKeys({})


@pytest.mark.parametrize("suffix", [".pub", ".revoked"])
def test_a_damaged_key_counts_by_the_id_that_is_its_name(folder: Path, suffix: str) -> None:
    (folder / f"{A}{suffix}").write_bytes(b"rotten")
    keys = TrustedKeys.in_folder(folder)
    where = keys.revoked if suffix == ".revoked" else keys.comments
    assert where[A] == "its file is damaged, its name is not"
    assert (A in keys) is (suffix == ".pub")


@pytest.mark.parametrize("suffix", [".pub", ".revoked"])
@pytest.mark.parametrize("name", ["mine", "a" * 63, "a" * 65, "A" * 64])
def test_a_damaged_key_of_another_name_is_no_trust_at_all(folder: Path, name: str, suffix: str) -> None:
    (folder / f"{name}{suffix}").write_bytes(b"rotten")
    with pytest.raises(CallerError) as caught:
        TrustedKeys.in_folder(folder)
    assert caught.value.reason is Reason.KEY_BAD
    assert caught.value.hint.startswith(f"remove {folder / name}{suffix}, or put the right key there")
