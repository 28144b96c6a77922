"""A password is told to whom it is for, and shown to nobody."""

from __future__ import annotations

import base64
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from galago_edge.contract.errors import CallerError, LinkError, Reason
from galago_edge.contract.settings import LoginTable
from galago_edge.host.credentials import Login, Secrets, has_login, login_of, open_to_all, with_login
from galago_edge.host.urls import hide_credentials, server_fault


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://admin:secret@10.0.0.7:554/live", "rtsp://***@10.0.0.7:554/live"),
        ("rtsp://admin:se@cr/et@10.0.0.7/live", "rtsp://***@10.0.0.7/live"),
        ("rtsp://u:hunter2#secret@host/", "rtsp://***@host/"),
        ("http://cam/video.cgi?user=admin&pwd=secret", "http://cam/video.cgi"),
        ("http://cam/video.cgi?channel=3&pwd=secret&subtype=1", "http://cam/video.cgi?channel=3&subtype=1"),
        ("http://cam/video.cgi?channel=hunter2", "http://cam/video.cgi"),
        ("http://cam/x?mail=anna@example.org", "http://cam/x"),
        ("http://u:8080/x?mail=a@b", "http://***"),
        ("rtsp://u:sec?ret@cam/live", "rtsp://***@cam/live"),
        ("rtsp://u:sec?ret@cam/live?mail=a@hunter2", "rtsp://***"),
        ("rtsp://admin:hunter2/live", "rtsp://***"),
        ("rtsp://cam/user=admin_password=hunter2_channel=1.sdp", "rtsp://cam/user=admin_password=***"),
        ("rtsp:/admin:hunter2@cam/live", "rtsp:/***@cam/live"),
        ("RTSP:\\\\admin:hunter2@cam/live", "RTSP:\\\\***@cam/live"),
        ("door=camera:rtsp://u:a://b@cam/live", "door=camera:rtsp://***@cam/live"),
        ("http://[fe80::1%25eth0]:8080/x", "http://[fe80::1%25eth0]:8080/x"),
        ("/dev/v4l/by-path/platform-soc@0-video:1", "/dev/v4l/by-path/platform-soc@0-video:1"),
        ("/data/what?.wav", "/data/what?.wav"),
    ],
)
def test_credentials_are_never_shown(text: str, shown: str) -> None:
    assert hide_credentials(text) == shown


SHOWN = "camera:rtsp://***@cam.example:554/live/main?channel=3&subtype=1"


def parts(secret: str) -> set[str]:
    """Return what of a secret may stand nowhere: every four characters that are not there anyhow."""
    four = {secret[at : at + 4] for at in range(len(secret) - 3)}
    return {part for part in four if part not in SHOWN}


@given(user=st.text(min_size=1, max_size=12), password=st.text(max_size=24))
@example(user="u", password="hunter2#secret")
@example(user="u", password="8080/sec?ret")
@example(user="u", password="80?a@b@c?d@secret")
@example(user="a/b?c", password="rtsp://x:y@z")
@example(user="u", password="secret@cam.example/secret?channel=123")
def test_no_part_of_a_password_is_shown_whatever_is_in_it(user: str, password: str) -> None:
    for end in ("/live/main?channel=3", "/live?mail=a@b", "", "?x=1", "/a@b"):
        url = f"camera:rtsp://{user}:{password}@cam.example:554{end}"
        assert not [part for part in parts(password) if part in hide_credentials(url)], hide_credentials(url)


@given(st.text(min_size=1, max_size=24), st.text(max_size=24))
def test_an_escaped_login_comes_out_of_its_url_as_it_was(user: str, password: str) -> None:
    login = Login(user, password)
    url = urlsplit(with_login("http://cam.example:80/x?channel=3", login))
    assert (unquote(url.username or ""), unquote(url.password or "")) == (user, password)
    assert (url.hostname, url.port, url.path) == ("cam.example", 80, "/x")
    assert hide_credentials(url.geturl()) == "http://***@cam.example:80/x?channel=3"
    assert base64.b64decode(login.basic().removeprefix("Basic ")).decode() == f"{user}:{password}"


@given(
    st.text(alphabet=st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=4, max_size=24)
)
@example("hunter2#secret")
@example("p@ss/w%rd")
@example("üßüß")
def test_messages_are_cleaned_of_a_password_in_every_form(password: str) -> None:
    url = with_login("rtsp://cam.example/live", Login("anna", password))
    raw = f"rtsp://anna:{password}@cam.example/live"
    for secrets in (Secrets(url), Secrets(raw), Secrets("rtsp://cam.example/live", password)):
        for form in (password, quote(password), quote(password, safe="")):
            assert form not in secrets.hidden(f"401 for [{form}] at 10.0.0.7").replace("401 for [", "")
    basic = Login("anna", password).basic()
    assert basic not in Secrets(url).hidden(f"sent {basic}")
    assert Secrets(url).hidden(url) == "rtsp://***@cam.example/live"


def test_a_message_that_quotes_a_part_of_a_badly_written_url_is_cleaned() -> None:
    url = "rtsp://u:hunter2#secret@host/x?token=opensesame&channel=3"
    try:
        _ = urlsplit(url).port
    except ValueError as error:
        told = Secrets(url).hidden(f"{error}, opensesame, channel=3")
    assert "hunter2" not in told and "opensesame" not in told and "channel=3" in told


def test_errors_leave_without_secrets_and_keep_what_they_are() -> None:
    secrets = Secrets("http://u:hunter2@h/")
    with pytest.raises(LinkError, match=r"^\*\*\*\\nrefused$") as caught, secrets.kept():
        raise LinkError(Reason.SOURCE_LOST, "hunter2\nrefused", hint="say hunter2")
    assert (caught.value.reason, caught.value.hint) == (Reason.SOURCE_LOST, "say ***")
    with pytest.raises(RuntimeError, match=r"^KeyError: '\*\*\*'$"), secrets.kept():
        raise KeyError("hunter2")
    with pytest.raises(KeyError, match="other"), secrets.kept():
        raise KeyError("other")


def table(**said: str) -> LoginTable:
    return msgspec.convert(said, LoginTable)


@pytest.mark.parametrize(
    "content", ["p@ss/w%rd #1", "p@ss/w%rd #1\n", "p@ss/w%rd #1\r\n", "\ufeffp@ss/w%rd #1\n"]
)
def test_a_password_file_is_one_line_whose_end_does_not_count(tmp_path: Path, content: str) -> None:
    path = tmp_path / "password"
    path.write_bytes(content.encode())
    assert login_of(table(user="anna", password_file=str(path))) == Login("anna", "p@ss/w%rd #1")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "does not exist"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"one\ntwo\n", "has more than one line"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"x" * 5_000, "has 5000 bytes"),
    ],
)
def test_a_file_that_is_no_password_is_told_in_words(
    tmp_path: Path, content: bytes | None, told: str
) -> None:
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CallerError, match=f"password_file .*password {told}.*, expected one line") as caught:
        login_of(table(user="anna", password_file=str(path)))
    assert caught.value.reason is Reason.CONFIG_BAD and "chmod 600" in caught.value.hint
    with pytest.raises(CallerError, match="cannot be read"):
        login_of(table(user="anna", password_file=str(tmp_path)))


def test_a_password_comes_from_a_variable_or_stands_in_the_table() -> None:
    assert login_of(table(user="a", password_env="CAM"), {"CAM": "x#y"}) == Login("a", "x#y")
    assert login_of(table(user="a", password="x#y")) == Login("a", "x#y")
    assert login_of(table(user="a")) == Login("a", "") and login_of(table()) == Login("", "")
    with pytest.raises(CallerError, match="the environment has no variable CAM"):
        login_of(table(user="a", password_env="CAM"), {})


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            {"user": "a", "password": "x", "password_env": "Y"},
            "password and password_env: say the password in one",
        ),
        ({"password_file": "x"}, "password_file without user"),
    ],
)
def test_two_passwords_or_one_of_nobody_are_refused(said: dict[str, str], told: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=told):
        table(**said)


def test_a_table_never_shows_what_is_in_it() -> None:
    assert "hunter2" not in repr([table(user="a", password="hunter2")]) + repr(Login("a", "hunter2"))


def test_a_file_that_others_may_read_is_open_to_all(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("x")
    for mode, expected in ((0o600, False), (0o640, False), (0o644, True), (0o602, True)):
        path.chmod(mode)
        assert open_to_all(path) is expected
    assert not open_to_all(tmp_path / "none")


def test_a_user_in_a_url_is_seen_and_an_at_sign_in_its_query_is_none() -> None:
    assert has_login("http://u:p@h/x") and has_login("camera:http://u@h")
    assert not has_login("http://h/x?mail=a@b") and not has_login("http://h")


@pytest.mark.parametrize(
    "url",
    ["rtsp://u:hunter2#secret@host/", "http://hunter2:1234/x@127.0.0.1:1/", "http://[::1/x", "http:///x"],
)
def test_nobody_is_asked_at_a_url_that_cannot_be_taken_apart_and_no_part_of_it_is_told(url: str) -> None:
    fault = server_fault(url)
    assert "is no usable URL" in fault and "hunter2" not in fault and "1234" not in fault


@given(
    before=st.text("0123456789 ()", max_size=30),
    password=st.text("abcdXYZé;=,@/%&", min_size=4, max_size=20),
    behind=st.text("0123456789 ()", max_size=30),
    came=st.integers(0, 80),
    longest=st.integers(0, 60),
    as_bytes=st.booleans(),
)
@example(before="", password=";;;;", behind="", came=7, longest=60, as_bytes=False)
def test_no_beginning_of_a_secret_is_quoted_however_it_is_cut(
    before: str, password: str, behind: str, came: int, longest: int, as_bytes: bool
) -> None:
    secrets = Secrets(with_login("http://10.0.0.7/x", Login("anna", password)))
    said: str | bytes = f"{before}{password}{behind}{password.swapcase()}"[:came]
    if as_bytes:
        said = str(said).encode()
    quoted = secrets.quoted(said, longest)
    assert len(quoted) <= 6 * longest + 3 and quoted.isprintable()
    beginning = ascii(password[:3].encode() if as_bytes else password[:3]).lstrip("b")[1:-1]
    assert beginning.lower() not in quoted.lower()
