"""A password is given by the strongest way that is offered, as the standards' own examples say, and once."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.sources.capture.http_credentials import (
    HttpChallenge,
    HttpCredentials,
    digest,
    read_challenges,
)

RFC_7616 = {
    "realm": "http-auth@example.org",
    "qop": "auth, auth-int",
    "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
    "opaque": "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
}
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
PASSWORD = "Circle of Life"


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_digest_is_the_one_of_the_standard(algorithm: str, response: str) -> None:
    """RFC 7616, section 3.9.1."""
    challenge = HttpChallenge("digest", RFC_7616 | {"algorithm": algorithm})
    answer = digest(challenge, "Mufasa", PASSWORD, "/dir/index.html", CNONCE)
    assert f'response="{response}"' in answer and f"algorithm={algorithm}" in answer
    assert "qop=auth, nc=00000001" in answer and f'opaque="{RFC_7616["opaque"]}"' in answer


def test_the_digest_without_qop_is_the_one_of_the_older_standard() -> None:
    """RFC 2069, with the response that its errata give."""
    fields = {"realm": "testrealm@host.com", "nonce": "dcd98b7102dd2f0e8b11d0f600bfb0c093"}
    challenge = HttpChallenge("digest", fields)
    answer = digest(challenge, "Mufasa", "CircleOfLife", "/dir/index.html", "")
    assert 'response="1949323746fe6a43ef61f9606e7febea"' in answer
    assert "qop" not in answer and "cnonce" not in answer and "algorithm" not in answer


def fields_of(answer: str) -> dict[str, str]:
    (challenge,) = read_challenges([answer])
    return challenge.fields


@pytest.mark.parametrize("algorithm", ["MD5", "MD5-sess", "SHA-256", "SHA-256-sess", "md5-SESS", ""])
@pytest.mark.parametrize("qop", [None, "", "auth", "auth,auth-int", "auth-int"])
def test_every_algorithm_with_every_qop_is_what_a_server_works_out(algorithm: str, qop: str | None) -> None:
    given = {"realm": 'the "yard"', "nonce": "a,b=c"}
    given |= {"algorithm": algorithm} if algorithm else {}
    given |= {} if qop is None else {"qop": qop}
    answer = fields_of(digest(HttpChallenge("digest", given), "anna", "p@ss:wörd", "/x?y=1", "c1", 3))

    def h(text: str) -> str:
        kind = hashlib.sha256 if "256" in algorithm else hashlib.md5
        return kind(text.encode()).hexdigest()

    secret = h('anna:the "yard":p@ss:wörd')
    if algorithm.lower().endswith("-sess"):
        secret = h(f"{secret}:a,b=c:{answer['cnonce']}")
    asked = h("GET:/x?y=1:" + h("")) if qop == "auth-int" else h("GET:/x?y=1")
    if qop:
        assert answer["nc"] == "00000003" and answer["qop"] == ("auth-int" if qop == "auth-int" else "auth")
        wanted = h(f"{secret}:a,b=c:00000003:c1:{answer['qop']}:{asked}")
    else:
        assert "qop" not in answer and "nc" not in answer
        wanted = h(f"{secret}:a,b=c:{asked}")
    assert answer["response"] == wanted
    assert (answer["realm"], answer["nonce"], answer["uri"]) == ('the "yard"', "a,b=c", "/x?y=1")


def test_challenges_are_read_as_servers_write_them() -> None:
    one = (
        'Basic realm="yard, 2nd door", Digest realm="a \\"b\\"", nonce="x==", qop="auth,auth-int",stale=TRUE'
    )
    basic, way = read_challenges([one])
    assert (basic.scheme, basic.fields) == ("basic", {"realm": "yard, 2nd door"})
    assert way.fields == {"realm": 'a "b"', "nonce": "x==", "qop": "auth,auth-int", "stale": "TRUE"}
    assert way.stale and not basic.stale
    schemes = [way.scheme for way in read_challenges(["Negotiate", "NTLM TlRMTVNTUAAC==", "Basic"])]
    assert schemes == ["negotiate", "ntlm", "basic"]
    assert read_challenges(["Digest realm=cam,nonce=n1,algorithm=MD5"])[0].fields["nonce"] == "n1"


@given(st.lists(st.text(max_size=60), max_size=4))
def test_no_challenge_is_an_error(headers: list[str]) -> None:
    for way in read_challenges(headers):
        assert way.strength <= 2 and isinstance(way.stale, bool)


def offers(*ways: str) -> list[HttpChallenge]:
    return read_challenges(ways)


BASIC, MD5 = 'Basic realm="r"', 'Digest realm="r", nonce="n1"'
SHA = 'Digest realm="r", nonce="n2", algorithm=SHA-256'


@pytest.mark.parametrize(
    ("ways", "begins"),
    [
        ([BASIC], "Basic "),
        ([BASIC, MD5], "Digest "),
        ([SHA, MD5, BASIC], "SHA-256"),
        ([MD5, SHA], "SHA-256"),
        ([MD5.replace("n1", "n3") + ", algorithm=SHA-512-256", MD5], 'nonce="n1"'),
    ],
)
def test_the_strongest_way_that_is_offered_is_taken(ways: list[str], begins: str) -> None:
    login = HttpCredentials("anna", "hunter2")
    assert login.header("/") is None and login.answer(offers(*ways))
    assert begins in str(login.header("/"))


@pytest.mark.parametrize("ways", [[], ["NTLM"], ["Negotiate", 'Digest realm="r", nonce="n", algorithm=NEW']])
def test_a_way_that_is_not_known_is_said_and_no_password_is_given(ways: list[str]) -> None:
    login = HttpCredentials("anna", "hunter2")
    with pytest.raises(ValueError, match=r"expected Digest .* or Basic"):
        login.answer(offers(*ways))
    assert login.header("/") is None


def test_a_password_that_is_refused_is_not_given_again_but_a_stale_nonce_is_replaced() -> None:
    login = HttpCredentials("anna", "hunter2")
    assert login.answer(offers(MD5))
    login.header("/")
    assert login.answer(offers(MD5.replace("n1", "n2") + ", stale=true"))
    assert 'nonce="n2"' in str(login.header("/"))
    assert not login.answer(offers(MD5.replace("n1", "n3")))


def test_a_nonce_that_was_taken_is_counted_and_may_end_without_a_word() -> None:
    login = HttpCredentials("anna", "hunter2")
    assert login.answer(offers(MD5 + ', qop="auth"'))
    counts = []
    for _ in range(3):
        counts.append(fields_of(str(login.header("/")))["nc"])
        login.accepted()
    assert counts == ["00000001", "00000002", "00000003"]
    assert login.answer(offers(MD5)), "it was good until now: only its nonce can be old"
    login.header("/")
    assert not login.answer(offers(MD5)), "with a new nonce it is the password"


def test_a_basic_password_that_was_changed_is_refused_at_once() -> None:
    login = HttpCredentials("anna", "hunter2")
    assert login.answer(offers(BASIC))
    login.header("/")
    login.accepted()
    assert not login.answer(offers(BASIC))
