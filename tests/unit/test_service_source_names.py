"""A source has one name of its own, which holds no secret and does not change."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.errors import CallerError
from galago_edge.contract.settings import Settings, SourceSettings, StreamSettings
from galago_edge.service.configuration import examined, read_config
from galago_edge.service.source_names import with_named_sources
from galago_edge.sources.address import parse_source

RECORDER = "camera:http://10.0.0.5/cgi-bin/mjpg/video.cgi"


def named(*addresses: str, **tables: str) -> dict[str, str]:
    """Return the address of each source by its name, of streams ``s0``, ``s1`` ... on ``addresses``."""
    settings = with_named_sources(
        Settings(
            source={name: SourceSettings(address=address) for name, address in tables.items()},
            stream=tuple(
                StreamSettings(name=f"s{number}", source=address) for number, address in enumerate(addresses)
            ),
        )
    )
    assert [settings.source[stream.source].address for stream in settings.stream] == [
        tables.get(address, address) for address in addresses
    ]
    return {name: source.address for name, source in settings.source.items()}


def test_the_channels_of_a_recorder_are_named_by_their_numbers() -> None:
    found = named(f"{RECORDER}?channel=1&key=x", f"{RECORDER}?channel=3&key=x")
    assert list(found) == [f"{RECORDER}?channel=1", f"{RECORDER}?channel=3"]


@pytest.mark.parametrize(
    ("first", "second", "shown"),
    [
        ("camera:http://h/x?id=left", "camera:http://h/x?id=right", "camera:http://h/x"),
        ("camera:rtsp://anna:p@h/x", "camera:rtsp://otto:p@h/x", "camera:rtsp://***@h/x"),
        ("camera:rtsp://anna:p@h/x", "camera:rtsp://anna:q@h/x", "camera:rtsp://***@h/x"),
    ],
)
def test_what_would_be_called_the_same_has_its_streams_name_behind_it(
    first: str, second: str, shown: str
) -> None:
    assert named(first, second) == {f"{shown} (s0)": first, f"{shown} (s1)": second}
    assert named(first) == {shown: first}


def test_streams_of_one_source_share_it_by_its_name_or_by_its_address() -> None:
    assert named("yard", "camera:0", "camera:0", yard="camera:0") == {"yard": "camera:0"}
    assert named("camera:1", "camera:1") == {"camera:1": "camera:1"}


@given(st.lists(st.tuples(st.sampled_from("ab"), st.text("ab&=?#1", max_size=6)), min_size=1, max_size=6))
def test_every_source_has_a_name_of_its_own_in_any_order(parts: list[tuple[str, str]]) -> None:
    addresses = [f"camera:rtsp://{user}:hunter2@h/x?channel=1&{query}" for user, query in parts]
    found = named(*addresses)
    assert sorted(found.values()) == sorted(set(addresses))
    assert not any("hunter2" in name for name in found)


def test_the_same_file_gives_the_same_names_after_every_start(tmp_path: Path) -> None:
    path = tmp_path / "galago.toml"
    path.write_text(
        "".join(f'[[stream]]\nname = "{name}"\nsource = "{RECORDER}?id={name}"\n' for name in ("a", "b"))
    )
    first, again = read_config(path), read_config(path)
    assert list(first.source) == list(again.source) == [f"{RECORDER} (a)", f"{RECORDER} (b)"]
    assert with_named_sources(first) == first


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('address = "camera:0"\nuser = "a"\npassword = "hunter2"', "are for a URL"),
        ('address = "camera:http://u:hunter2@h/"\nuser = "a"\npassword = "hunter2"', "say it once"),
        ('address = "camera:http://h/"\npassword = "hunter2"', "password without user"),
        (
            'address = "camera:http://h/"\nuser = "a"\npassword = "hunter2"\npassword_file = "x"',
            r"\[source.yard\]: password and password_file: say the password in one way",
        ),
        ('address = "camera:http://h/"\nuser = "a"\npassword_env = "NOT_SET"', "has no variable NOT_SET"),
    ],
)
def test_a_login_that_could_not_be_used_is_refused_in_words(tmp_path: Path, table: str, told: str) -> None:
    path = tmp_path / "galago.toml"
    path.write_text(f'[source.yard]\n{table}\n[[stream]]\nname = "a"\nsource = "yard"\n')
    with pytest.raises(CallerError, match=told) as caught:
        read_config(path, {})
    assert "hunter2" not in f"{caught.value}{caught.value.hint}"


def test_password_files_start_at_the_folder_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "galago.toml"
    login = 'user = "a"\npassword_file = "secret"\n'
    path.write_text(
        f'[source.yard]\naddress = "camera:http://h/"\n{login}[mqtt]\nhost = "h"\n{login}'
        f'[webhook]\nurl = "http://h/"\n{login}[[stream]]\nname = "a"\nsource = "yard"\n'
    )
    settings = read_config(path)
    tables = (settings.source["yard"], settings.sinks["mqtt"], settings.sinks["webhook"])
    assert {table.password_file for table in tables} == {str(tmp_path / "secret")}


def test_one_camera_may_be_looked_at_as_two_users_and_not_with_two_passwords(tmp_path: Path) -> None:
    path = tmp_path / "galago.toml"
    stream = '[[stream]]\nname = "a"\nsource = "a"\n'
    tables = (f'[source.{name}]\naddress = "camera:http://h/"\nuser = "{name}"\n' for name in ("a", "b"))
    path.write_text("".join((*tables, stream)))
    assert list(read_config(path).source) == ["a", "b"]
    path.write_text(path.read_text().replace('user = "b"', 'user = "a"\npassword = "hunter2"'))
    with pytest.raises(CallerError) as caught:
        read_config(path)
    assert str(caught.value) == f"{path}: [source.a] and [source.b] are the same address and user"
    assert "--stream" not in caught.value.hint and 'source = "a"' in caught.value.hint
    path.write_text(
        '[source.a]\naddress = "camera:rtsp://anna:hunter2@h/x"\n'
        f'[source.b]\naddress = "camera:rtsp://h/x"\nuser = "anna"\npassword = "other"\n{stream}'
    )
    with pytest.raises(CallerError, match="are the same address and user"):
        read_config(path)


def test_a_fault_of_one_source_names_the_file_and_leaves_the_rest_to_be_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "galago.toml"
    path.write_text(
        '[source.a]\naddress = "camera:http://u:hunter2@h/"\nuser = "a"\n'
        '[source.b]\naddress = "camera:rtsp://admin:pa#ss@10.0.0.7/live"\n'
        '[[stream]]\nname = "s"\nsource = "camera:0"\n'
    )
    settings, faults = examined(path)
    assert settings.stream[0].source == "camera:0"
    assert [str(fault) for fault in faults] == [
        f"{path}: [source.a]: a user stands in its address too; say it once",
        f"{path}: [source.b]: source camera:rtsp://***@10.0.0.7/live is no usable address: it is no URL",
    ]
    assert not any("--stream" in fault.hint for fault in faults)
    assert "%40 %2F %3F %23 %25" in faults[1].hint


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://admin:pa#ss@10.0.0.7/live",
        "rtsp://admin:pa/ss@10.0.0.7/live",
        "http://admin:pa?ss@10.0.0.7/live",
        "http://admin:12#34@10.0.0.7/live",
        "rtsp:///live",
        "http://cam:99999/",
    ],
)
@pytest.mark.parametrize("kind", ["camera", "microphone"])
def test_a_url_that_can_never_be_opened_is_refused_at_once(kind: str, url: str) -> None:
    with pytest.raises(CallerError, match="is no usable address") as caught:
        parse_source(f"{kind}:{url}")
    assert "@ / ? # % of a password are written %40 %2F %3F %23 %25" in caught.value.hint
    assert "ss@" not in f"{caught.value}" and "34" not in f"{caught.value}"


@pytest.mark.parametrize(
    "url",
    ["http://10.0.0.7:8080/x?key=a@b", "rtsp://anna:p@ss@h/x", "http://h:80/a@2.jpg", "srt://h:9000?a=b#c"],
)
def test_a_url_that_may_be_right_is_left_to_who_opens_it(url: str) -> None:
    assert parse_source(f"camera:{url}").target == url
