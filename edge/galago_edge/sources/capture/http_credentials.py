"""User and password, given as a server asks for them: by Digest (RFC 7616, and RFC 2069 as old cameras speak
it), or by Basic (RFC 7617) where nothing better is offered.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from galago_edge.sources.capture.capture_messages import Order

_HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}
_STRENGTHS = ("basic", "MD5", "SHA-256")
_SESSION = "-SESS"

_PIECE = re.compile(
    r"""[\s,]* ([^\s,="]+) (?: \s*=\s* (?: "((?:[^"\\]|\\.)*)" | ([^\s,"]*) ) )?""", re.VERBOSE | re.DOTALL
)
"""A scheme's name, or a field of the scheme before it; what is quoted may hold commas and escaped quotes."""
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class HttpChallenge:
    """One way in which a server would take a password."""

    scheme: str
    """In small letters: ``digest``, ``basic`` ..."""
    fields: dict[str, str]
    """By their names in small letters, without quotes."""

    @property
    def algorithm(self) -> str:
        """What a Digest hashes with, without ``-sess``, in capitals."""
        return self.fields.get("algorithm", "MD5").upper().removesuffix(_SESSION)

    @property
    def strength(self) -> int:
        """The higher, the better it keeps the password; -1 for what is not spoken here."""
        way = self.algorithm if self.scheme == "digest" else self.scheme
        return _STRENGTHS.index(way) if way in _STRENGTHS else -1

    @property
    def stale(self) -> bool:
        """Whether only the nonce was refused, and not the password."""
        return self.fields.get("stale", "").lower() == "true"


def read_challenges(headers: Iterable[str]) -> list[HttpChallenge]:
    """Return what the ``WWW-Authenticate`` headers of an answer offer.

    >>> [way.scheme for way in read_challenges(['Basic realm="a, b", Digest realm="c", nonce="d"'])]
    ['basic', 'digest']
    """
    found: list[HttpChallenge] = []
    for header in headers:
        for piece in _PIECE.finditer(header):
            name, quoted, bare = piece.groups()
            if quoted is None and bare is None:
                found.append(HttpChallenge(name.lower(), {}))
            elif found:
                value = bare if quoted is None else _ESCAPED.sub(r"\1", quoted)
                found[-1].fields.setdefault(name.lower(), value)
    return found


def quoted(order: Order, said: str | bytes, longest: int) -> str:
    """Return the beginning of what a server said, for a message: without what is secret in its address."""
    from galago_edge.host.credentials import Secrets  # here: a camera that is well says nothing

    return Secrets(order.target).quoted(said, longest)


class HttpCredentials:
    """A user and a password for one server. Nothing is given before it is asked for."""

    def __init__(self, user: str, password: str) -> None:
        """Keep them; an empty ``user`` stands for none."""
        self._user, self._password = user, password
        self._challenge: HttpChallenge | None = None
        self._asked = 0
        """Requests that answered the challenge."""
        self._accepted = False

    @property
    def known(self) -> bool:
        """Whether there is a user."""
        return bool(self._user)

    def header(self, target: str) -> str | None:
        """Return the ``Authorization`` of a GET request; None while nobody asked."""
        challenge = self._challenge
        if challenge is None:
            return None
        self._asked += 1
        if challenge.scheme == "basic":
            return "Basic " + base64.b64encode(f"{self._user}:{self._password}".encode()).decode()
        cnonce = os.urandom(8).hex()
        return digest(challenge, self._user, self._password, target, cnonce, self._asked)

    def accepted(self) -> None:
        """Note that the last request was let in."""
        self._accepted = True

    def forget(self) -> None:
        """Give nothing before it is asked for again: another place may ask in another way."""
        self._challenge, self._asked = None, 0

    def answer(self, offered: list[HttpChallenge]) -> bool:
        """Choose the strongest way that a refusing server offers; return whether another attempt may help.

        It may not once the password itself was refused: cameras lock out who tries too often.

        Raises:
            ValueError: None of them is spoken here; the text says what is expected.
        """
        best = max(offered, key=lambda challenge: challenge.strength, default=None)
        if best is None or best.strength < 0:
            raise ValueError("expected Digest (MD5, SHA-256) or Basic")
        nonce_alone = best.scheme == "digest" and (best.stale or self._accepted)
        refused = self._challenge is not None and not nonce_alone
        self._challenge, self._asked, self._accepted = best, 0, False
        return not refused


def digest(
    challenge: HttpChallenge, user: str, password: str, target: str, cnonce: str, count: int = 1
) -> str:
    """Return the ``Authorization`` that answers a Digest challenge for a GET request.

    ``count`` is the number of requests with this nonce, this one included.
    """
    fields = challenge.fields
    hashes = _HASHES[challenge.algorithm]

    def hashed(*parts: str) -> str:
        return hashes(":".join(parts).encode()).hexdigest()

    realm, nonce, nc = fields.get("realm", ""), fields.get("nonce", ""), f"{count:08x}"
    secret, asked = hashed(user, realm, password), hashed("GET", target)
    session = fields.get("algorithm", "").upper().endswith(_SESSION)
    if session:
        secret = hashed(secret, nonce, cnonce)
    offered = [way.strip().lower() for way in fields.get("qop", "").split(",")]
    qop = next((way for way in ("auth", "auth-int") if way in offered), "")
    answer = {"username": user, "realm": realm, "nonce": nonce, "uri": target}
    bare = {}
    if qop:
        if qop == "auth-int":  # the body too, which a GET has not
            asked = hashed("GET", target, hashed(""))
        answer["response"] = hashed(secret, nonce, nc, cnonce, qop, asked)
        bare = {"qop": qop, "nc": nc}
    else:
        answer["response"] = hashed(secret, nonce, asked)
    if qop or session:
        answer["cnonce"] = cnonce
    if "opaque" in fields:
        answer["opaque"] = fields["opaque"]
    if "algorithm" in fields:
        bare["algorithm"] = fields["algorithm"]
    quoted = (f'{name}="{_ESCAPABLE.sub(_ESCAPE, value)}"' for name, value in answer.items())
    return "Digest " + ", ".join([*quoted, *(f"{name}={value}" for name, value in bare.items())])


_ESCAPABLE, _ESCAPE = re.compile(r'(["\\])'), r"\\\1"
