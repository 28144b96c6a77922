"""Whatever of the store is a link to another place, or another user's: nothing there is read as the store's
own, changed, moved or removed, and whoever asks is told in one line."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from galago_devices import profile_text
from galago_edge.bundle import Bundle, write_bundle
from galago_edge.bundle.keys import key_id, public_line
from galago_edge.contract.errors import GalagoError, LinkError, Reason, disk_error
from galago_edge.contract.records import EventRecord
from galago_edge.contract.wishes import Wishes
from galago_edge.host.machine import this_arch
from galago_edge.intake.inbox import Upload
from galago_edge.intake.provisioning import provision
from galago_edge.service.handover import read_coverage, write_coverage
from galago_edge.service.kept_views import KeptView
from galago_edge.sinks import Outbox
from galago_edge.sinks.sink_tables import settings_of
from galago_edge.store import (
    Store,
    activate,
    begin_boot,
    collect,
    commit,
    install_bundle,
    mark_bad,
    rollback,
    scrub,
)
from galago_edge.store.inventory import take_inventory
from galago_edge.store.trust_folder import revoke_key, set_threshold, trust_key
from test_kit import OTHER_KEY, TEST_KEY, changed, hollow_manifest, trust

SHA = "ab" * 32
PROFILE = profile_text("generic-x86-64").replace('"x86_64"', f'"{this_arch()}"')
FOLDERS = ("bundles", "incoming", "trust", "factory", "loaded", "inbox", "views", "spool")
Tree = dict[str, tuple[int, int, int, int, bytes]]


def pack(folder: Path, counter: int) -> Bundle:
    manifest, files = hollow_manifest(
        model=b"model %d" % counter, version=f"{counter}.0.0", release_counter=counter
    )
    manifest = changed(manifest, rollback__min_release_counter_after_commit=counter)
    return write_bundle(folder / f"{counter}.galago", manifest, files, [TEST_KEY])


def install(root: Path, bundle: Bundle, **options: bool) -> None:
    store = Store(root)
    install_bundle(store, bundle, store.trusted(), lambda _: {}, Wishes(**options))


def deliver(root: Path) -> None:
    """Start and stop what keeps a spool and a log in the store."""
    tables = {
        "stream": [{"name": "s", "source": "x"}],
        "webhook": {"url": "http://127.0.0.1:9/", "timeout_s": 1},
        "log": {"path": str(root / "log" / "events.jsonl")},
    }
    outbox = Outbox(settings_of(tables), root, "porch")
    try:
        outbox.start()
        outbox.emit(
            [
                EventRecord(
                    stream="s", seq=1, label="a", score=0.9, start_index=0, end_index=1, start_ns=0, end_ns=1,
                    bundle="b", backend="cpu",
                )
            ]
        )  # fmt: skip
    finally:
        outbox.stop(0.0)


def receive(root: Path) -> None:
    with Upload.open(root, SHA, 100) as upload:
        upload.write(b"x" * 10)
        upload.discard()


def save_view(root: Path) -> None:
    try:
        KeptView(root, "door", "address").save(b"seen")
    except OSError as error:
        raise disk_error(error, "keep a view") from error


def boot(root: Path) -> None:
    store = Store(root)
    for choice in begin_boot(store, store.trusted()).values():
        assert choice.bundle is None or choice.bundle.path.resolve().is_relative_to(root)


ACTS: dict[str, Callable[[Path, list[Bundle]], object]] = {
    "gc": lambda root, _: collect(Store(root)),
    "install": lambda root, bundles: install(root, bundles[3]),
    "install again": lambda root, bundles: install(root, bundles[1]),
    "stage": lambda root, bundles: install(root, bundles[3], stage_only=True),
    "activate": lambda root, _: activate(Store(root), "tiny"),
    "commit": lambda root, _: commit(Store(root), "tiny"),
    "rollback": lambda root, _: rollback(Store(root), "tiny", reason="no"),
    "mark bad": lambda root, bundles: mark_bad(Store(root), "tiny", bundle_id=bundles[1].id),
    "scrub": lambda root, _: scrub(Store(root), Store(root).trusted()),
    "trust": lambda root, _: trust_key(Store(root), key_id(OTHER_KEY), "other"),
    "revoke": lambda root, _: revoke_key(Store(root), key_id(OTHER_KEY), "stolen"),
    "threshold": lambda root, _: set_threshold(Store(root), 1),
    "provision": lambda root, _: provision(
        root, PROFILE + "# new\n", [public_line(key_id(OTHER_KEY), "o")], replace=True, system=None
    ),
    "receive": lambda root, _: receive(root),
    "boot": lambda root, _: boot(root),
    "status": lambda root, _: take_inventory(root, None),
    "view": lambda root, _: save_view(root),
    "coverage": lambda root, _: write_coverage(root, read_coverage(root)),
    "deliver": lambda root, _: deliver(root),
}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a power cut leaves is no matter here."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(os, "fdatasync", lambda _: None)


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[Bundle]]]:
    """A store in which everything is there that a store can have, and the bundles 1 to 4."""
    folder = tmp_path_factory.mktemp("device")
    bundles = [pack(folder, counter) for counter in (1, 2, 3, 4)]
    root = trust(folder / "root")
    (root / "profile.toml").write_text(PROFILE)
    for bundle in bundles[:2]:
        install(root, bundle)
    install(root, bundles[2], stage_only=True)
    (root / "factory").mkdir()
    shutil.copy(bundles[0].path, root / "factory" / "tiny.galago")
    revoke_key(Store(root), "cd" * 32, "lost")
    set_threshold(Store(root), 1)
    for name in ("incoming/new-1/golden", f"bundles/{'f' * 64}/golden", "loaded"):
        (root / name).mkdir(parents=True)
        (root / name / "file").write_bytes(b"left")
    (root / "loaded" / bundles[0].id).write_text("here")
    KeptView(root, "door", "address").save(b"seen before")
    write_coverage(root, {})
    deliver(root)
    with Upload.open(root, "ef" * 32, 100) as upload:
        upload.write(b"half")
    yield root, bundles


def everything(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))


def seen(folder: Path) -> Tree:
    """All that a change would change."""
    found: Tree = {}
    for path in (folder, *sorted(folder.rglob("*"))):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path.relative_to(folder))] = (
            status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, content
        )  # fmt: skip
    return found


def ending(act: Callable[[Path, list[Bundle]], object], root: Path, bundles: list[Bundle]) -> str:
    """Do it; return the reason code, or nothing when it went well."""
    try:
        act(root, bundles)
    except GalagoError as error:
        assert "\n" not in str(error) and str(error) and error.hint
        return str(error.reason)
    return ""


@pytest.mark.parametrize("name", ACTS)
def test_nothing_behind_a_link_is_changed_moved_or_removed_by(
    device: tuple[Path, list[Bundle]], tmp_path: Path, name: str
) -> None:
    before, bundles = device
    refused = 0
    for what in everything(before):
        root, foreign = tmp_path / "store", tmp_path / "foreign"
        shutil.copytree(before, root)
        foreign.mkdir()
        (foreign / "neighbour").write_bytes(b"precious")
        shutil.move(root / what, foreign / "there")
        if (foreign / "there").is_dir():
            (foreign / "there" / "precious").write_bytes(b"precious")
        (root / what).symlink_to(foreign / "there")
        was = seen(foreign)
        reason = ending(ACTS[name], root, bundles)
        assert seen(foreign) == was, f"{name} with {what} as a link"
        refused += reason == Reason.NOT_OWN
        shutil.rmtree(root)
        shutil.rmtree(foreign)
    assert refused or name in ("boot", "coverage", "deliver")


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        *(("bundles", name) for name in ("gc", "install", "commit", "rollback", "scrub", "activate")),
        *(("incoming", name) for name in ("gc", "install", "scrub")),
        *(("trust", name) for name in ("install", "trust", "revoke", "threshold", "provision")),
        ("factory", "scrub"),
        ("inbox", "receive"),
    ],
)
@pytest.mark.parametrize("kind", ["link", "dangling", "file", "foreign"])
def test_a_folder_that_is_not_the_stores_own_is_refused_in_one_line(
    device: tuple[Path, list[Bundle]], tmp_path: Path, folder: str, name: str, kind: str
) -> None:
    if kind == "foreign" and os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    before, bundles = device
    root = tmp_path / "store"
    shutil.copytree(before, root)
    place = root / folder
    place.rename(tmp_path / "there")
    if kind in ("link", "dangling"):
        place.symlink_to(tmp_path / ("there" if kind == "link" else "nowhere"))
    elif kind == "file":
        place.write_bytes(b"a file")
    else:  # moved in from another user's
        shutil.copytree(tmp_path / "there", place)
        os.chown(place, 12_345, 12_345)
        os.chown(root, 23_456, 23_456)
    was = seen(place) if kind == "foreign" else seen(tmp_path)
    assert ending(ACTS[name], root, bundles) == Reason.NOT_OWN
    if kind == "foreign":
        assert seen(place) == was
    else:
        for left in ("there", "store/" + folder):
            assert {path: one for path, one in seen(tmp_path).items() if path.startswith(left)} == {
                path: one for path, one in was.items() if path.startswith(left)
            }


@pytest.mark.parametrize("what", FOLDERS)
def test_nothing_behind_a_link_is_read_as_the_stores_own(
    device: tuple[Path, list[Bundle]], tmp_path: Path, what: str
) -> None:
    before, bundles = device
    root = tmp_path / "store"
    shutil.copytree(before, root)
    (root / what).rename(tmp_path / "there")
    (root / what).symlink_to(tmp_path / "there")
    store = Store(root)
    reads: dict[str, Callable[[], object]] = {
        "bundles": lambda: store.open(bundles[1].id),
        "incoming": store.leftovers,
        "trust": store.trusted,
        "factory": store.factory_names,
        "loaded": lambda: store.fs.read(root / "loaded" / bundles[0].id, 100),
        "inbox": lambda: store.fs.read(root / "inbox" / f"{'ef' * 32}.part", 100),
        "views": lambda: KeptView(root, "door", "address").load(),
        "spool": lambda: store.fs.entries(root / "spool"),
    }
    with pytest.raises((LinkError, OSError), match="is a link"):
        reads[what]()


@pytest.mark.parametrize("what", ["state.a", "profile.toml", "lock", "trust/policy.toml"])
def test_a_file_that_is_a_link_is_refused(
    device: tuple[Path, list[Bundle]], tmp_path: Path, what: str
) -> None:
    root = tmp_path / "store"
    shutil.copytree(device[0], root)
    (root / what).rename(tmp_path / "there")
    (root / what).symlink_to(tmp_path / "there")
    store = Store(root)
    reads: dict[str, Callable[[], object]] = {
        "state.a": store.state,
        "profile.toml": store.profile,
        "lock": lambda: collect(store),
        "trust/policy.toml": store.trusted,
    }
    with pytest.raises(LinkError) as caught:
        reads[what]()
    assert caught.value.reason == Reason.NOT_OWN and caught.value.exit_code == 3


def test_a_start_with_a_link_for_its_bundles_loads_the_factorys(
    device: tuple[Path, list[Bundle]], tmp_path: Path
) -> None:
    root = tmp_path / "store"
    shutil.copytree(device[0], root)
    (root / "bundles").rename(tmp_path / "there")
    (root / "bundles").symlink_to(tmp_path / "there")
    store = Store(root)
    choice = begin_boot(store, store.trusted())["tiny"]
    assert choice.part == "factory" and {fault.reason for fault in choice.faults} == {Reason.NOT_OWN}


def test_the_root_itself_may_be_a_link_of_the_systems(
    device: tuple[Path, list[Bundle]], tmp_path: Path
) -> None:
    shutil.copytree(device[0], tmp_path / "disk" / "store")
    (tmp_path / "var").symlink_to(tmp_path / "disk")
    (tmp_path / "root").symlink_to(tmp_path / "disk" / "store")
    for root in (tmp_path / "root", tmp_path / "var" / "store"):
        store = Store(root)
        collect(store)
        assert store.active("tiny").id == device[1][1].id


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_gives_nothing_away_that_has_a_second_name(tmp_path: Path) -> None:
    """Where the kernel lets a user link to root's files, the lock could be /etc/shadow."""
    root = trust(tmp_path / "store")
    (tmp_path / "shadow").write_bytes(b"secret")
    (root / "lock").hardlink_to(tmp_path / "shadow")
    os.chown(root, 12_345, 12_345)
    os.chown(root / "trust", 12_345, 12_345)
    with contextlib.redirect_stdout(io.StringIO()):
        collect(Store(root))
    assert (tmp_path / "shadow").stat().st_uid == 0
    assert (root / "bundles").stat().st_uid == 12_345
