"""``galago pull`` from a real web server on loopback, and ``galago bundle index`` that makes its list."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import http.server
import io
import json
import os
import socket
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from galago_edge.bundle import index
from galago_edge.bundle.index import read_index, write_index
from galago_edge.bundle.keys import create_key_pair, key_id, read_private_key
from galago_edge.bundle.signature import sign
from galago_edge.bundle.trust import TrustedKeys
from galago_edge.commands.cli import main
from galago_edge.contract.errors import BundleError, LinkError
from galago_edge.host.machine import this_arch
from galago_edge.intake import pull, web
from galago_edge.intake.web import Server
from galago_edge.store import Store, mark_bad
from real_parts import FileServer
from test_kit import OTHER_KEY, TEST_KEY, make_bundle, trust

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
    monkeypatch.setattr(pull, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(pull, "_LONGEST_PAUSE_S", 0.01)
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
    mark_bad(Store(place.root), "eyes", bundle_id=slot.active.id)
    assert place.active == "1.0.0"
    result = place.pull()
    assert result["state"] == "up to date" and "failed here before" in result["note"]


def test_nobody_who_is_away_can_say_that_a_bundle_for_other_boards_is_wanted(place: Place) -> None:
    place.publish(1)
    profile = place.root / "profile.toml"
    profile.write_text(
        f'id = "porch"\ntitle = "Porch"\narch = "{this_arch()}"\nram_mb = 512\ncores = 1\n'
        '[runtime]\npackage = "ai-edge-litert"\nmin_version = "2.0"\n[runtime.ops]\nCONV_2D = 3\n'
    )
    assert place.pull("--name", "eyes", exit_code=1)["fault"]["reason"] == "PROFILE_MISMATCH"
    assert run("pull", place.server.url, "--root", place.root, "--ignore-compatible").exit_code == 2


def test_a_server_that_gives_an_older_release_changes_nothing(place: Place) -> None:
    place.publish(2)
    place.pull("--name", "eyes")
    (place.www / "eyes-2.0.0.galago").unlink()
    place.publish(1)
    assert "no later release" in place.pull()["note"]


def test_a_device_whose_record_is_lost_makes_a_new_one_and_pulls(place: Place) -> None:
    place.publish(1)
    place.pull("--name", "eyes")
    place.publish(2)
    for name in ("state.a", "state.b"):
        (place.root / name).unlink()
        (place.root / name).write_bytes(b"not a record")
    assert (place.pull()["phase"], place.active) == ("on trial", "2.0.0")


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


def test_what_was_packed_on_the_way_is_no_list(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that packs although nobody asked for it."""
    place.publish(1)
    packed = gzip.compress((place.www / "index.json").read_bytes())

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        assert request.headers["Accept-Encoding"] == "identity"
        place.server._head(request, 200, {"Content-Encoding": "gzip", "Content-Length": str(len(packed))})
        request.wfile.write(packed)

    monkeypatch.setattr(place.server, "_answer", answer)
    error = place.pull("--name", "eyes", exit_code=3)
    assert error["reason"] == "TRANSPORT" and "packed on the way" in error["message"]


@pytest.mark.parametrize(("said", "code", "version"), [(-1, 3, None), (1, 0, "1.0.0")], ids=["less", "more"])
def test_a_false_length_ends_in_an_error_or_in_the_right_bytes(
    place: Place, monkeypatch: pytest.MonkeyPatch, said: int, code: int, version: str | None
) -> None:
    path = place.publish(1)
    right = place.server._answer

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        if not request.path.endswith(".galago"):
            return right(request)
        data = path.read_bytes()
        place.server._head(request, 200, {"Content-Length": str(len(data) + said)})
        request.wfile.write(data)
        request.close_connection = True
        return None

    monkeypatch.setattr(place.server, "_answer", answer)
    result = place.pull("--name", "eyes", exit_code=code)
    assert place.active == version
    assert version is not None or result["fault"]["reason"] == "TRANSPORT"


def test_a_server_that_drips_is_left_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, only the header never ends."""
    monkeypatch.setattr(web, "_ANSWER_S", 0.2)
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not ended.wait(0.02):
                    connection.sendall(b"z")

        server = threading.Thread(target=drip, daemon=True)
        server.start()
        with pytest.raises(LinkError, match=r"no whole answer in time|timed out"):
            Server(f"http://127.0.0.1:{listener.getsockname()[1]}/").small("index.json", 1_000)
        ended.set()
        server.join()


@pytest.mark.parametrize(
    "to", ["http://example.org/x", "https://example.org:8443/x", "https://example.com/x"]
)
def test_a_redirect_away_from_the_secure_server_is_not_followed(to: str) -> None:
    request = urllib.request.Request("https://example.org/galago/index.json")
    with pytest.raises(LinkError, match="another server"):
        web._SameHost().redirect_request(request, io.BytesIO(), 302, "", http.client.HTTPMessage(), to)


def test_a_list_that_was_signed_anew_is_taken_after_its_old_key_is_gone(place: Place) -> None:
    """The list is the same, so the server says *not modified*; only its signature is another one."""
    trust(place.root, OTHER_KEY)
    place.publish(1, keys=[TEST_KEY, OTHER_KEY])
    place.pull("--name", "eyes")
    data = (place.www / "index.json").read_bytes()
    (place.www / "index.sig").write_bytes(sign(index._DOMAIN + data, [OTHER_KEY]))
    assert run("keys", "revoke", key_id(TEST_KEY), "--root", place.root).exit_code == 0
    assert place.pull()["state"] == "up to date"


def test_the_exit_code_is_that_of_the_bundle_that_fared_worst(place: Place) -> None:
    """Refused is worse than failed, as galago flash has it."""
    eyes = place.publish(1)
    place.publish(2, name="ears", keys=[OTHER_KEY])
    eyes.write_bytes(eyes.read_bytes()[:-1])
    done = run("pull", place.server.url, "--root", place.root, "--name", "eyes", "--name", "ears")
    assert done.exit_code == 1, done.output
    assert "[TRANSPORT]" in done.stdout and "[KEY_UNKNOWN]" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_root_has_pulled_the_owner_of_the_store_can_read_and_replace(place: Place) -> None:
    os.chown(place.root, 12_345, 12_346)
    place.publish(1)
    place.pull("--name", "eyes")
    assert (place.root / "inbox").stat().st_uid == 12_345
    assert (place.root / "pulled.json").stat().st_mode & 0o777 == 0o644  # replaced by a rename in its folder


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
    made = read_index(data, signature, trusted, "x")
    assert (made.sequence, [entry.version for entry in made.bundles]) == (3, ["3.0.0"])


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
