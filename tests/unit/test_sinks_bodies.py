"""What a webhook's body is: by a template, or ready-made for a service."""

from __future__ import annotations

import json
import urllib.parse
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.sinks.body_template import BodyTemplate
from galago_edge.sinks.delivery import Delivery
from galago_edge.sinks.kinds.webhook_sink import WebhookSender, WebhookSettings
from galago_edge.sinks.message_formats import FORMATS
from galago_edge.sinks.record_words import PLACEHOLDERS, words_of
from galago_edge.sinks.sink_kind import ReceiverParts
from galago_edge.sinks.spool import Spool

JSON, TEXT, FORM = "application/json", "text/plain; charset=utf-8", "application/x-www-form-urlencoded"
EVENT: dict[str, Any] = {
    "v": 1, "kind": "event", "stream": "hall", "seq": 7, "label": "smoke", "score": 0.934,
    "start_index": 0, "end_index": 1, "start_ns": 1_000_000_000, "end_ns": 2_500_000_000, "bundle": "b" * 64,
    "backend": "cpu", "wall_ns": 1_795_349_926_372_714_733, "clock_synced": True, "key": "porch-1:9",
}  # fmt: skip
GAP = {"v": 1, "kind": "gap", "stream": "hall", "from_ns": 0, "to_ns": 12_000_000_000, "cause": "stall"}
LOST = {
    "v": 1, "kind": "state", "stream": "", "subject": "spool", "state": "lost", "index": 0, "ns": 0,
    "detail": {"lost": 37, "cause": "given_up"},
}  # fmt: skip
STATE = {"v": 1, "kind": "state", "stream": "hall", "subject": "source", "state": "lost", "index": 0, "ns": 0}
OFF = STATE | {"subject": "label:smoke", "state": "off"}


def delivery(record: dict[str, Any]) -> Delivery:
    return Delivery(1, 9, "porch-1:9", record["kind"], msgspec.json.encode(record))


def body(template: str, record: dict[str, Any] = EVENT, kind: str = JSON) -> str:
    return BodyTemplate(template, kind).body("porch", delivery(record)).decode()


# ---- words


@pytest.mark.parametrize(
    ("record", "title", "text"),
    [
        (EVENT, "porch: smoke", "smoke on hall, score 0.93"),
        (GAP, "porch: gap", "hall watched nothing for 12.0 s (stall)"),
        (STATE, "porch: source lost", "source lost on hall"),
        (OFF, "porch: smoke off", "smoke off on hall"),
        (LOST, "porch: spool lost", "37 records are lost on the way (given_up)"),
    ],
    ids=["event", "gap", "state", "label", "lost"],
)
def test_each_record_is_told_in_a_sentence(record: dict[str, Any], title: str, text: str) -> None:
    words = words_of("porch", delivery(record))
    assert (words["title"], words["text"]) == (title, text)


def test_the_words_are_the_placeholders_and_the_record() -> None:
    assert {*words_of("porch", delivery(EVENT)), "record"} == set(PLACEHOLDERS)


@pytest.mark.parametrize(
    ("changes", "time", "told"),
    [
        ({}, "2026-11-22T12:18:46Z", "(2026-11-22 12:18:46 UTC)"),
        ({"clock_synced": False}, "", "(at a time that is not known)"),
        (
            {"clock_synced": False, "wall_ns": 0, "wall_corrected_ns": 1_000_000_000_000_000_000},
            "2001-09-09T01:46:40Z",
            "(2001-09-09 01:46:40 UTC)",
        ),
        ({"wall_ns": 10**30}, "", "(at a time that is not known)"),
    ],
    ids=["right", "not set", "corrected", "impossible"],
)
def test_a_time_is_that_of_the_corrected_clock_and_is_not_told_when_it_may_be_wrong(
    changes: dict[str, Any], time: str, told: str
) -> None:
    words = words_of("porch", delivery(EVENT | changes))
    assert words["time"] == time
    assert words["message"] == f"porch: smoke on hall, score 0.93 {told}"


# ---- templates


@pytest.mark.parametrize(
    ("template", "made"),
    [
        ('{"a":"{label}"}', '{"a":"smoke"}'),
        ('{"a":{label}}', '{"a":"smoke"}'),
        ('{"a":{score},"b":"{score}","c":{percent}}', '{"a":0.934,"b":"0.934","c":93}'),
        ('{"a":{"b":{"c":{seq}}}}', '{"a":{"b":{"c":7}}}'),
        ('{"a":"{cause}","b":{cause},"c":{seconds}}', '{"a":"","b":"","c":1.5}'),
        ('{"a":"{{label}}"}', '{"a":"{label}"}'),
        ('{"a":"\\\\","b":"{label}"}', '{"a":"\\\\","b":"smoke"}'),
        ('{"a":"\\"","b":{label}}', '{"a":"\\"","b":"smoke"}'),
        ('{ "a" : "{ label }" }', '{ "a" : "{ label }" }'),
        ("[{title}, {time}]", '["porch: smoke", "2026-11-22T12:18:46Z"]'),
        ("{text}", '"smoke on hall, score 0.93"'),
    ],
)
def test_a_template_of_json_gives_json(template: str, made: str) -> None:
    assert body(template) == made


def test_the_whole_record_goes_into_json_as_an_object_or_as_text() -> None:
    found = json.loads(body('{"object":{record},"text":"{record}"}'))
    assert found["object"] == json.loads(found["text"]) == EVENT


def test_a_value_that_a_record_does_not_have_is_null_outside_a_text_and_nothing_within_one() -> None:
    assert body('{"a":{score},"b":"{score}","c":{seq}}', GAP) == '{"a":null,"b":"","c":null}'


@given(st.text(alphabet=st.characters(exclude_categories=("Cs",))))
def test_no_label_can_break_out_of_json_or_of_a_form(label: str) -> None:
    record = EVENT | {"label": label}
    assert json.loads(body('{"a":"<{label}>","b":{label}}', record)) == {"a": f"<{label}>", "b": label}
    fields = urllib.parse.parse_qsl(body("a={label}&b={seq}", record, FORM), keep_blank_values=True)
    assert fields == [("a", label), ("b", "7")]


def test_what_is_neither_json_nor_a_form_is_taken_as_it_is() -> None:
    assert body('<b>{label}</b> "{score}" {{label}} {cause}', kind=TEXT) == '<b>smoke</b> "0.934" {label} '


@pytest.mark.parametrize("kind", [JSON, "application/json; charset=utf-8", "application/vnd.api+json"])
def test_what_is_called_json_and_would_be_none_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="is no JSON when its places are filled"):
        BodyTemplate('{"a":{label}', kind)
    with pytest.raises(ValueError, match="is no JSON when its places are filled"):
        BodyTemplate("{label} on {stream}", kind)


@pytest.mark.parametrize("template", ["{lable}", '{"a":"{Label}"}', '{"a":{__class__}}', "{device_name}"])
def test_a_placeholder_that_there_is_not_is_refused_with_those_that_there_are(template: str) -> None:
    with pytest.raises(ValueError, match=r"names \{[A-Za-z_]+\}; .*here are backend, bundle, cause"):
        BodyTemplate(template, TEXT)


# ---- ready-made


def made(name: str, to: str = "", record: dict[str, Any] = EVENT) -> Any:
    return json.loads(FORMATS[name].body("porch", to, delivery(record)))


MESSAGE = "porch: smoke on hall, score 0.93 (2026-11-22 12:18:46 UTC)"


def test_the_ready_made_bodies_are_what_their_services_document() -> None:
    assert made("galago") == EVENT
    assert made("ntfy", "alarms") == {"topic": "alarms", "title": "porch: smoke", "message": MESSAGE}
    assert made("discord") == {"content": MESSAGE, "allowed_mentions": {"parse": []}}
    assert made("slack") == {"text": MESSAGE, "mrkdwn": False}
    assert made("telegram", "-100123") == {"chat_id": -100123, "text": MESSAGE}
    assert made("telegram", "@porch") == {"chat_id": "@porch", "text": MESSAGE}
    found = made("home-assistant")
    assert (found["device"], found["label"], found["score"]) == ("porch", "smoke", 0.934)
    assert found["record"] == EVENT


def test_a_label_is_no_markup_and_no_mention_of_anybody() -> None:
    record = EVENT | {"label": "<!channel> & *all* @everyone"}
    assert "&lt;!channel&gt; &amp; *all*" in made("slack", record=record)["text"]
    assert made("discord", record=record)["content"].startswith("porch: \\<!channel\\> & \\*all\\* @everyone")
    assert made("telegram", "1", record)["text"].startswith("porch: <!channel> & *all* @everyone on hall")


def test_a_message_is_as_long_as_the_service_takes() -> None:
    record = EVENT | {"label": "x" * 10_000}
    assert len(made("discord", record=record)["content"]) == 2_000
    assert len(made("telegram", "1", record)["text"]) == 4_096


@pytest.mark.parametrize("record", [EVENT, GAP, STATE, OFF, LOST], ids=str)
@pytest.mark.parametrize("name", FORMATS)
def test_every_kind_of_record_can_be_told_to_every_service(name: str, record: dict[str, Any]) -> None:
    assert made(name, "1", record)


def test_every_format_is_one_that_the_settings_know() -> None:
    for name in FORMATS:
        assert msgspec.convert({"url": "http://h/", "format": name}, WebhookSettings).format == name


# ---- at the start


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(
        tmp_path,
        "porch",
        dict.fromkeys(("webhook", "webhook.phone"), ("event",)),
        max_bytes=1 << 20,
        sync_s=5.0,
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"body": "{lable}"}, "body names {lable}; did you mean label? There are "),
        ({"body": '{"text": {text}'}, "body is no JSON when its places are filled"),
        ({"format": "ntfy"}, "format ntfy needs to: the topic"),
        ({"format": "ntfy", "to": "a", "url": "https://ntfy.sh/a"}, "format ntfy needs the server alone"),
        ({"format": "telegram", "to": "1"}, "format telegram needs https://api.telegram.org/botTOKEN/"),
        ({"format": "slack", "to": "hall"}, "format slack takes no to"),
        ({"to": "hall"}, "format galago takes no to"),
        ({"url": "http:///x"}, "url has no host"),
        ({"url": "http://h st/x"}, "url has a host that is no name of a computer"),
        ({"url": "http://h/x\n"}, "url has a control character in it"),
        ({"url": "http://h\t/x"}, "url has a control character in it"),
        ({"url": "http://h/x "}, "url has a blank at its beginning or end"),
        ({"url": "http://münchen.de/"}, "url has letters beyond ASCII in its host"),
        ({"url": "http://h:0/"}, "url has the port 0"),
        ({"url": "http://h:65536/"}, "url cannot be taken apart"),
        ({"url": "http://[::1/"}, "url cannot be taken apart"),
        ({"url": "http://a..b/"}, "url has a host that is no name"),
        ({"url": f"http://{'a' * 64}.de/"}, "url has a host that is no name"),
        ({"url": "http://anna:hunter2@h/"}, "url takes no password"),
        ({"headers": {"Content-Length": "3"}}, "headers: 'Content-Length' is set by galago itself"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "headers: 'X-A' is there twice"),
        ({"headers": {"X A": "1"}}, "headers: 'X A' or its value"),
        ({"headers": {"X": "hunter2\r\nY: 1"}}, "headers: 'X' or its value"),
        ({"headers": {"X": "hunter2 ✓"}}, "headers: 'X' or its value"),
    ],
    ids=str,
)
def test_what_can_never_be_sent_is_one_line_at_the_start(
    options: dict[str, Any], said: str, spool: Spool
) -> None:
    settings = WebhookSettings(**({"url": "http://h/", "name": "phone"} | options))
    with pytest.raises(CallerError) as caught:
        WebhookSender(settings, ReceiverParts("webhook.phone", "porch", "1", spool))
    assert caught.value.reason is Reason.CONFIG_BAD
    assert str(caught.value).startswith(f"[webhook.phone] {said}")
    assert "\n" not in str(caught.value) and "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["http://h", "https://h:8443/x?y=z", "http://127.0.0.1:1/", "http://[fe80::1%eth0]:80/", "http://h_1.lan./",
     "http://h/Hof Süd?a=b c", "HTTPS://H/", "http://xn--mnchen-3ya.de/"],
)  # fmt: skip
def test_what_can_be_sent_somewhere_is_taken(url: str, spool: Spool) -> None:
    assert WebhookSender(WebhookSettings(url=url), ReceiverParts("webhook", "porch", "1", spool)).works


def test_format_and_body_at_once_are_refused() -> None:
    with pytest.raises(ValueError, match="say in one way what is sent"):
        WebhookSettings(url="http://h/", format="slack", body="{text}")
