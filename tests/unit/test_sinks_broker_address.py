"""Where a broker is, however people write it; and what is no broker is refused in one line."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.sinks.broker_address import BrokerAddress, broker_address
from galago_edge.sinks.kinds.mqtt_sink import MqttSettings


@pytest.mark.parametrize(
    ("text", "host", "port", "tls"),
    [
        ("broker.lan", "broker.lan", None, None),
        ("  broker.lan\n", "broker.lan", None, None),
        ("my_broker", "my_broker", None, None),
        ("broker.lan.", "broker.lan.", None, None),
        ("broker:1884", "broker", 1884, None),
        ("10.0.0.7", "10.0.0.7", None, None),
        ("mqtt://broker.lan", "broker.lan", None, False),
        ("MQTT://broker.lan:1/", "broker.lan", 1, False),
        ("mqtts://broker.lan:8884", "broker.lan", 8884, True),
        ("::1", "::1", None, None),
        ("[::1]", "::1", None, None),
        ("[fe80::1%eth0]:1884", "fe80::1%eth0", 1884, None),
        ("mqtts://[::1]:65535", "::1", 65_535, True),
        ("bücher.example", "bücher.example", None, None),
    ],
)
def test_an_address_is_read_as_it_is_meant(text: str, host: str, port: int | None, tls: bool | None) -> None:
    assert broker_address(text) == BrokerAddress(host, port, tls)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "host is empty"),
        ("   ", "host is empty"),
        ("mqtt://", "host is empty"),
        ("broker lan", "has blanks"),
        ("bro\x00ker", "control characters"),
        ("broker.lan/mqtt", "has a path"),
        ("mqtt://broker.lan/mqtt", "has a path"),
        ("mqtt://broker?x=1", "has a path"),
        ("http://broker.lan", "begins with http://, expected mqtt://"),
        ("ws://broker.lan", "begins with ws://"),
        ("mqtt://me:hunter2@broker.lan", "holds a user"),
        ("me:hunter2://x", "no scheme"),
        ("broker:", "port in host is no number"),
        ("broker:0", "port in host is no number"),
        ("broker:65536", "port in host is no number"),
        ("broker:http", "port in host is no number"),
        ("broker:١٢", "port in host is no number"),
        ("[broker.lan]", "brackets without an IPv6 address"),
        ("[::1", "brackets without an IPv6 address"),
        ("[::1]1883", "brackets without an IPv6 address"),
        ("a:b:c", "several colons"),
        ("mqtt://::1", "several colons"),
        ("a..b", "a part of it is empty"),
        ("x" * 64 + ".lan", "longer than 63"),
        (".".join(["x" * 60] * 5), "too long"),
    ],
)
def test_what_can_be_no_broker_is_refused_and_shows_no_password(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        broker_address(text)
    assert "hunter2" not in str(caught.value) and "\n" not in str(caught.value)


@given(st.text(max_size=40) | st.from_regex(r"(mqtts?://)?[a-z:@\[\]/.0-9 ]{0,20}", fullmatch=True))
def test_any_text_is_an_address_or_refused_in_one_line(text: str) -> None:
    try:
        found = broker_address(text)
    except ValueError as error:
        assert "\n" not in str(error)
        return
    again = f"[{found.host}]" if ":" in found.host else found.host
    assert broker_address(again) == BrokerAddress(found.host)
    found.host.encode("idna") if ":" not in found.host else None


def settings(**given_: Any) -> MqttSettings:
    return msgspec.convert(given_, MqttSettings)


@pytest.mark.parametrize(
    ("given_", "shown", "secured"),
    [
        ({"host": "b"}, "b:1883", False),
        ({"host": "b", "tls": False}, "b:1883", False),
        ({"host": "b", "tls": True}, "b:8883", True),
        ({"host": "b", "tls": True, "port": 1883}, "b:1883", True),
        ({"host": "b", "port": 8883}, "b:8883", False),
        ({"host": "mqtts://b"}, "b:8883", True),
        ({"host": "mqtts://b:9"}, "b:9", True),
        ({"host": "b:9", "port": 9}, "b:9", False),
        ({"host": "[::1]", "tls": True}, "[::1]:8883", True),
    ],
)
def test_tls_chooses_the_port_when_none_is_given(given_: dict[str, Any], shown: str, secured: bool) -> None:
    place = settings(**given_).place()
    assert (str(place), place.trust is not None) == (shown, secured)


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({"host": "b:9", "port": 10}, "host says port 9, port says 10"),
        ({"host": "mqtt://b", "tls": True}, "host says mqtt://, tls says true"),
        ({"host": "mqtts://b", "tls": False}, "host says mqtts://, tls says false"),
        ({"host": "b", "tls": True, "client_key_file": "k"}, "client_key_file without client_cert_file"),
        ({"host": "b", "client_cert_file": "c"}, "client_cert_file without TLS"),
        ({"host": "http://b"}, "begins with http://"),
        ({"host": "b", "port": 0}, "Expected `int` >= 1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(given_: dict[str, Any], words: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=words):
        settings(**given_)
