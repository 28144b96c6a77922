"""Who may see the page.

Without a token only this device itself may: the page listens on a loopback address, and a request whose
``Host`` is a name other than ``localhost`` is refused. Otherwise a web site could let its own name point to
127.0.0.1 and read the page through its visitor's browser (DNS rebinding); an address that is written as
numbers cannot be pointed elsewhere.

With a token everybody has to know it. A program sends ``Authorization: Bearer TOKEN``. A browser gives it
once and then has a cookie; a rebound name is another site to the browser, which keeps the cookie from it.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from http.cookies import CookieError, SimpleCookie

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.settings import PageSettings

TOKEN_LEAST = 12
"""Characters; a shorter token can be guessed by trying."""

_COOKIE_S = 400 * 24 * 3600  # the longest that browsers keep one
_HOST = re.compile(r"\A(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?\Z")


class Access:
    """Decides for each request."""

    def __init__(self, settings: PageSettings) -> None:
        """Check that the page is not open to strangers.

        Raises:
            CallerError: CONFIG_BAD; no token, or one that is too short or is not plain text, for an address
                that others reach.
        """
        self._token = settings.token.encode()
        if not settings.token:
            if not _is_this_device(settings.host):
                raise CallerError(
                    Reason.CONFIG_BAD,
                    f"[page] host = {settings.host!r} lets others in and there is no token",
                    hint='set token (openssl rand -hex 16 makes one), or host = "127.0.0.1"',
                )
        elif len(settings.token) < TOKEN_LEAST or not re.fullmatch(r"[!-~]+", settings.token):
            raise CallerError(
                Reason.CONFIG_BAD,
                f"[page] token must be at least {TOKEN_LEAST} printable characters without spaces",
                hint="openssl rand -hex 16 makes a good one",
            )

    @property
    def needs_token(self) -> bool:
        """Whether a visitor has to give a token."""
        return bool(self._token)

    def host_is_ours(self, host: str) -> bool:
        """Whether a request with this ``Host`` may have been meant for this page."""
        if self.needs_token:
            return True
        match = _HOST.match(host)
        return match is not None and (match[1].lower() == "localhost" or _is_number(match[1]))

    def token_is_right(self, token: str) -> bool:
        """Compare in a time that does not depend on where the first difference is."""
        return self.needs_token and hmac.compare_digest(token.encode(errors="replace"), self._token)

    def may_see(self, authorization: str, cookies: str) -> bool:
        """Whether a request with these headers comes from somebody who knows the token."""
        if not self.needs_token:
            return True
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() == "bearer" and self.token_is_right(given.strip()):
            return True
        try:
            cookie = SimpleCookie(cookies).get(self._cookie_name())
        except CookieError:
            return False
        return cookie is not None and hmac.compare_digest(cookie.value.encode(errors="replace"), self._pass())

    def cookie(self) -> str:
        """Return the ``Set-Cookie`` for a browser that gave the token."""
        return (
            f"{self._cookie_name()}={self._pass().decode()}; HttpOnly; SameSite=Strict; Path=/; "
            f"Max-Age={_COOKIE_S}"
        )

    def _pass(self) -> bytes:
        """Who reads the cookie does not learn the token; a new token ends all cookies."""
        return self._derived(b"galago page").encode()

    def _cookie_name(self) -> str:
        """Return a name that no other token's cookie has.

        A browser takes two devices for one site that are behind one name: on two ports or paths of it, or
        on localhost at the end of a tunnel, now the one, now the other.
        """
        return f"galago_{self._derived(b'galago page, name of the cookie')[:12]}"

    def _derived(self, what: bytes) -> str:
        return hmac.new(self._token, what, hashlib.sha256).hexdigest()


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _is_this_device(host: str) -> bool:
    return host == "localhost" or (_is_number(host) and ipaddress.ip_address(host.strip("[]")).is_loopback)
