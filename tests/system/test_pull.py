"""``galago pull`` from a real web server on loopback, and ``galago bundle index`` that makes its list."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from galago_edge.bundle.index import read_index, write_index
from galago_edge.bundle.keys import create_key_pair, key_id, read_private_key
from galago_edge.bundle.trust import TrustedKeys
from galago_edge.commands.cli import main
from galago_edge.contract.errors import BundleError
from galago_edge.service import pulling
from galago_edge.store import Store, mark_bad
from galago_edge.testing import OTHER_KEY, TEST_KEY, make_bundle, trust
from real_parts import FileServer

LABELS = ["dark", "mid", "bright"]
RealPart = Callable[..., Any]


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


class Place:
    """A web folder and a device."""

    def __init__(self, folder: Path, model: bytes, server: FileServer) -> None:
        self.www, self.root, self.server = server.folder, trust(folder / "device"), server
        self._model = model

    def publish(self, counter: int, *, big: bool = False, **options: Any) -> Path:
        golden = None
        if big:
            noise = np.random.default_rng(counter).integers(0, 256, (500, 500, 3), np.uint8)
            golden = {"mid": cv2.imencode(".png", noise)[1].tobytes()}
        info = {"name": "eyes", "version": f"{counter}.0.0", "release_counter": counter, **options}
        path = make_bundle(
            self.www / f"eyes-{counter}.0.0.galago", self._model, LABELS, golden=golden, **info
        )
        write_index(self.www, [TEST_KEY])
        return path

    def pull(self, *options: object, exit_code: int = 0) -> dict[str, Any]:
        """Return what the command says of the one bundle, or its error."""
        done = run("pull", self.server.url, "--root", self.root, "--json", *options)
        assert done.exit_code == exit_code, done.output
        said = json.loads(done.stdout)
        bundles: list[dict[str, Any]] = said.get("bundles") or [said["error"]]
        return bundles[0]

    @property
    def active(self) -> str | None:
        slot = Store(self.root).state().slots.get("eyes")
        return slot.active.version if slot else None


@pytest.fixture
def place(
    tmp_path: Path, tiny_image_model: bytes, real_part: RealPart, monkeypatch: pytest.MonkeyPatch
) -> Place:
    monkeypatch.setattr(pulling, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(pulling, "_LONGEST_PAUSE_S", 0.01)
    (tmp_path / "www").mkdir()
    return Place(tmp_path, tiny_image_model, real_part(FileServer, tmp_path / "www").start())


def test_a_device_brings_itself_up_to_date_and_then_asks_for_one_small_file_only(place: Place) -> None:
    place.publish(1)
    assert place.pull("--name", "eyes")["phase"] == "committed"
    place.publish(2)
    assert (place.pull()["phase"], place.active) == ("on trial", "2.0.0")
    place.server.requests.clear()
    before = {path: path.stat().st_mtime_ns for path in place.root.rglob("*")}
    assert place.pull()["state"] == "up to date"
    assert place.server.requests == [("/index.json", None)]
    assert {path: path.stat().st_mtime_ns for path in place.root.rglob("*")} == before


def test_a_download_that_breaks_off_goes_on_where_it_stopped(place: Place) -> None:
    size = place.publish(1, big=True).stat().st_size
    place.server.cut_after_bytes = 200_000
    result = place.pull("--name", "eyes")
    assert result["state"] == "installed"
    ranges = [wanted for path, wanted in place.server.requests if path.endswith(".galago")]
    assert ranges[:3] == [None, "bytes=200000-", "bytes=400000-"]
    assert len(ranges) == -(-size // 200_000)
    assert list((place.root / "inbox").iterdir()) == []


def test_a_server_without_ranges_is_read_from_the_beginning(place: Place) -> None:
    place.publish(1, big=True)
    place.server.cut_after_bytes = 100_000
    assert place.pull("--name", "eyes", exit_code=3)["state"] == "failed"
    place.server.cut_after_bytes, place.server.ranges = None, False
    assert place.pull("--name", "eyes")["state"] == "installed"


def test_a_rotten_beginning_is_noticed_and_fetched_anew(place: Place) -> None:
    path = place.publish(1, big=True)
    whole = path.read_bytes()
    path.write_bytes(bytes(200_000) + whole[200_000:])
    place.server.cut_after_bytes = 100_000
    place.pull("--name", "eyes", exit_code=3)
    path.write_bytes(whole)
    place.server.cut_after_bytes = None
    assert place.pull("--name", "eyes")["state"] == "installed"


def test_an_older_list_than_the_last_one_is_refused(place: Place) -> None:
    place.publish(1)
    old = {name: (place.www / name).read_bytes() for name in ("index.json", "index.sig")}
    place.pull("--name", "eyes")
    place.publish(2)
    place.pull()
    for name, data in old.items():
        (place.www / name).write_bytes(data)
    assert place.pull(exit_code=1)["reason"] == "REPLAY"
    assert place.active == "2.0.0"


def test_a_list_by_somebody_else_is_refused(place: Place) -> None:
    place.publish(1)
    write_index(place.www, [OTHER_KEY])
    assert place.pull("--name", "eyes", exit_code=1)["reason"] == "KEY_UNKNOWN"


def test_a_list_whose_signature_does_not_fit_is_refused_and_asked_for_twice(place: Place) -> None:
    place.publish(1)
    (place.www / "index.json").write_bytes((place.www / "index.json").read_bytes() + b"\n")
    assert place.pull("--name", "eyes", exit_code=1)["reason"] == "SIG_BAD"
    assert [path for path, _ in place.server.requests].count("/index.json") == 2


def test_a_bundle_that_failed_here_is_not_fetched_again(place: Place) -> None:
    place.publish(1)
    place.pull("--name", "eyes")
    place.publish(2)
    place.pull()
    slot = Store(place.root).state().slots["eyes"]
    mark_bad(Store(place.root), "eyes", slot.active.id)
    assert place.active == "1.0.0"
    result = place.pull()
    assert result["state"] == "up to date" and "failed here before" in result["note"]


def test_a_server_that_gives_an_older_release_changes_nothing(place: Place) -> None:
    place.publish(2)
    place.pull("--name", "eyes")
    (place.www / "eyes-2.0.0.galago").unlink()
    place.publish(1)
    assert "no later release" in place.pull()["note"]


def test_channels_are_apart(place: Place) -> None:
    place.publish(1)
    place.publish(2, channel="beta")
    assert place.pull("--name", "eyes")["active"] == "1.0.0"
    assert place.pull("--channel", "beta")["active"] == "2.0.0"
    assert place.pull("--channel", "none")["state"] == "not offered"


def test_a_file_that_is_longer_than_the_list_says_is_not_read_to_its_end(place: Place) -> None:
    path = place.publish(1)
    with path.open("ab") as file:
        file.write(bytes(1_000_000))
    result = place.pull("--name", "eyes", exit_code=3)
    assert result["fault"]["reason"] == "TRANSPORT" and "more than the promised" in result["fault"]["message"]
    assert place.active is None


MISCHIEF: dict[str, tuple[dict[str, Any], str, int]] = {
    "another server": ({"redirect": "http://localhost:1/index.json"}, "TRANSPORT", 3),
    "out of order": ({"status": 503}, "TRANSPORT", 3),
    "nothing there": ({"status": 404}, "TARGET_UNKNOWN", 2),
    "a login page": ({"page": b"<html>Welcome to the hotel</html>"}, "SIG_BAD", 1),
    "an endless page": ({"page": b"x" * 1_000_000}, "TRANSPORT", 3),
}


@pytest.mark.parametrize(("does", "reason", "code"), MISCHIEF.values(), ids=MISCHIEF)
def test_whatever_answers_instead_of_the_server_is_an_error_and_changes_nothing(
    place: Place, does: dict[str, Any], reason: str, code: int
) -> None:
    place.publish(1)
    place.pull("--name", "eyes")
    for name, value in does.items():
        setattr(place.server, name, value)
    assert place.pull(exit_code=code)["reason"] == reason
    assert place.active == "1.0.0"


@pytest.mark.parametrize("url", ["ftp://x/", "file:///etc/", "x", "http:///y"])
def test_an_address_that_is_no_web_folder_is_a_usage_error(tmp_path: Path, url: str) -> None:
    done = run("pull", url, "--root", trust(tmp_path / "device"))
    assert done.exit_code == 2 and "[CONFIG_BAD]" in done.stderr


def test_the_command_makes_a_list_whose_number_grows(tmp_path: Path, tiny_image_model: bytes) -> None:
    create_key_pair(tmp_path / "k")
    trusted = TrustedKeys({key_id(read_private_key(tmp_path / "k")): ""})
    www = tmp_path / "www"
    www.mkdir()
    assert run("bundle", "index", www, "--key", tmp_path / "k").exit_code == 2
    for counter in (1, 3, 2):
        info = {"name": "eyes", "version": f"{counter}.0.0", "release_counter": counter}
        make_bundle(www / f"eyes-{counter}.galago", tiny_image_model, LABELS, **info)
        assert run("bundle", "index", www, "--key", tmp_path / "k").exit_code == 0
    data, signature = ((www / name).read_bytes() for name in ("index.json", "index.sig"))
    index = read_index(data, signature, trusted, "x")
    assert (index.sequence, [entry.version for entry in index.bundles]) == (3, ["3.0.0"])


def test_any_changed_byte_of_a_list_or_its_signature_is_refused(place: Place) -> None:
    place.publish(1)
    trusted = TrustedKeys({key_id(TEST_KEY): ""})
    data, signature = ((place.www / name).read_bytes() for name in ("index.json", "index.sig"))
    for at in range(len(data)):
        with pytest.raises(BundleError):
            read_index(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], signature, trusted, "x")
    for at in range(len(signature)):
        with pytest.raises(BundleError):
            read_index(data, signature[:at] + bytes([signature[at] ^ 1]) + signature[at + 1 :], trusted, "x")


def test_a_bundle_s_signature_is_none_for_a_list(place: Place) -> None:
    from galago_edge.bundle import open_bundle

    opened = open_bundle(place.publish(1))
    with pytest.raises(BundleError):
        read_index(opened.manifest_bytes, opened.signature_bytes, TrustedKeys({key_id(TEST_KEY): ""}), "x")
