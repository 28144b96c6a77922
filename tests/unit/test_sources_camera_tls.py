"""A camera over TLS is trusted by an authority, by its own file or by its fingerprint, else not at all."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from galago_edge.contract.errors import CallerError, GalagoError, LinkError, Reason
from galago_edge.contract.settings import SourceSettings
from galago_edge.service.configuration import read_config
from galago_edge.sources import open_capture, parse_source
from galago_edge.sources.capture.camera_request import CameraRequest
from galago_edge.sources.capture.capture_messages import Order
from real_parts.web_camera import OwnCertificate, WebCamera, answers, sends_to

FOREVER_S = 60.0
FINE = answers(200, b"fine")


@pytest.fixture
def certificate(tmp_path: Path) -> OwnCertificate:
    return OwnCertificate.make(tmp_path)


@pytest.fixture
def camera(certificate: OwnCertificate) -> Iterator[WebCamera]:
    with WebCamera(FINE, certificate) as camera:
        yield camera


def ask(url: str, **settings: Any) -> bytes:
    """Ask once, in this process."""
    given = {"options": {}, "fps": None, "rate_hz": None, "open_s": FOREVER_S, "stall_s": FOREVER_S}
    with closing(CameraRequest(Order(kind="mjpeg", target=url, shown="yard", **given | settings))) as request:
        return request.open(FOREVER_S).read()


def refused(url: str, **settings: Any) -> str:
    """Ask, and return why not."""
    with pytest.raises(LinkError) as caught:
        ask(url, **settings)
    assert caught.value.reason is Reason.SOURCE_MISSING and caught.value.hint
    return str(caught.value)


def test_an_own_certificate_is_refused_with_its_fingerprint_and_what_to_do(
    camera: WebCamera, certificate: OwnCertificate
) -> None:
    with pytest.raises(LinkError) as caught:
        ask(camera.url(login="anna:hunter2@"))
    assert str(caught.value) == (
        "camera yard cannot be trusted: its certificate is signed by nobody who is trusted here (its own, or "
        f"an own authority's); its SHA-256 fingerprint is {certificate.fingerprint}"
    )
    assert 'fingerprint = "..."' in caught.value.hint and 'ca_file = "..."' in caught.value.hint
    assert not camera.asked, "nothing was asked, so no password was given"


@pytest.mark.parametrize("form", [str, str.lower, lambda text: text.replace(":", "")])
def test_its_fingerprint_lets_it_in(camera: WebCamera, certificate: OwnCertificate, form: Any) -> None:
    assert ask(camera.url(), fingerprint=form(certificate.fingerprint)) == b"fine"


def test_its_file_lets_it_in(camera: WebCamera, certificate: OwnCertificate) -> None:
    assert ask(camera.url(), ca_file=str(certificate.path)) == b"fine"
    assert ask(camera.url(), ca_file=str(certificate.path), fingerprint=certificate.fingerprint) == b"fine"


def test_another_certificate_than_the_one_that_is_expected_is_told(
    camera: WebCamera, certificate: OwnCertificate, tmp_path: Path
) -> None:
    other = OwnCertificate.make(tmp_path)
    said = refused(camera.url(), fingerprint=other.fingerprint)
    assert said == (
        "camera yard shows another certificate than the one of its fingerprint: "
        f"{certificate.fingerprint}, expected {other.fingerprint}"
    )
    said = refused(camera.url(), ca_file=str(other.path))
    assert "signed by nobody who is trusted here" in said and certificate.fingerprint in said
    assert not camera.asked


@pytest.mark.parametrize(
    ("names", "days", "says"),
    [
        (["10.0.0.7"], (-1, 1), "its certificate is for another name than 127.0.0.1"),
        (["porch.lan"], (-1, 1), "its certificate is for another name than 127.0.0.1"),
        (["127.0.0.1"], (-9, -1), "its certificate has expired, or the clock here is wrong"),
        (["127.0.0.1"], (1, 9), "its certificate is not valid yet, or the clock here is wrong"),
    ],
    ids=["address", "name", "expired", "early"],
)
def test_names_and_dates_are_checked_unless_the_very_certificate_is_known(
    tmp_path: Path, names: list[str], days: tuple[int, int], says: str
) -> None:
    certificate = OwnCertificate.make(tmp_path, names, days)
    with WebCamera(FINE, certificate) as camera:
        said = refused(camera.url(), ca_file=str(certificate.path))
        assert f"cannot be trusted: {says}; its SHA-256 fingerprint is {certificate.fingerprint}" in said
        assert ask(camera.url(), fingerprint=certificate.fingerprint) == b"fine"


def test_a_file_without_a_certificate_is_an_error_of_the_configuration(
    camera: WebCamera, tmp_path: Path
) -> None:
    for path, text in ((tmp_path / "none.pem", None), (tmp_path / "text.pem", "no certificate")):
        if text is not None:
            path.write_text(text)
        with pytest.raises(CallerError, match=re.escape(f"ca_file {path} is no certificate: ")) as caught:
            ask(camera.url(), ca_file=str(path))
        assert caught.value.reason is Reason.CONFIG_BAD


def test_a_certificate_is_not_expected_of_one_that_has_none(certificate: OwnCertificate) -> None:
    for settings in ({"ca_file": str(certificate.path)}, {"fingerprint": certificate.fingerprint}):
        with pytest.raises(CallerError, match="ca_file or fingerprint, which are for https:// addresses"):
            ask("http://127.0.0.1:9/x", **settings)


def test_pictures_are_not_taken_from_an_open_address_that_a_secret_one_sends_to(
    camera: WebCamera, certificate: OwnCertificate, web_camera: WebCamera
) -> None:
    web_camera.behaviour = FINE
    camera.behaviour = sends_to(web_camera.url())
    said = refused(camera.url(login="anna:hunter2@"), fingerprint=certificate.fingerprint)
    assert "sends from https:// to http://, where everybody can read and change the pictures" in said
    assert not web_camera.asked


def test_an_open_address_may_send_to_a_secret_one(
    camera: WebCamera, certificate: OwnCertificate, web_camera: WebCamera
) -> None:
    web_camera.behaviour = sends_to(camera.url())
    assert certificate.fingerprint in refused(web_camera.url())


def test_what_speaks_no_tls_is_told(web_camera: WebCamera) -> None:
    assert "does not answer as TLS (" in refused(web_camera.url().replace("http://", "https://"))


def test_a_name_that_nobody_knows_and_a_port_where_nobody_is_are_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert "cannot be reached (Connection refused)" in refused(f"https://127.0.0.1:{port}/")
    assert "cannot be reached (" in refused("http://no-such-name.invalid/")
    assert "is no usable address" in refused("http://a b/x")


def test_the_settings_of_a_source_reach_its_camera(camera: WebCamera, certificate: OwnCertificate) -> None:
    with ExitStack() as stack, pytest.raises(GalagoError) as caught:
        settings = SourceSettings(
            address="x", open_s=FOREVER_S, stall_s=FOREVER_S, fingerprint=certificate.fingerprint
        )
        stack.enter_context(closing(open_capture(parse_source(f"camera:{camera.url()}"), settings)))
    assert "first bytes b'fine'" in str(caught.value), "it was let in, and read"


def test_in_a_file_the_path_starts_at_its_folder_and_a_fingerprint_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "galago.toml"
    text = '[source.yard]\naddress = "camera:https://h/"\nca_file = "own.pem"\n'
    text += '[[stream]]\nname = "a"\nsource = "yard"\n'
    path.write_text(text)
    assert read_config(path).source["yard"].ca_file == str(tmp_path / "own.pem")
    path.write_text(text.replace('ca_file = "own.pem"', 'fingerprint = "12:34"'))
    with pytest.raises(CallerError, match="fingerprint"):
        read_config(path)
    for fingerprint in ("", "ab" * 32, ":".join(["AB"] * 32)):
        msgspec.convert({"address": "x", "fingerprint": fingerprint}, SourceSettings)
