"""Who we are somewhere: the user and password of a table of ``galago.toml``, and what no message may show.

A password is read when it is needed, at each new connection, so that one that was changed needs no restart.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote

from galago_edge.contract.errors import CallerError, GalagoError, Reason
from galago_edge.contract.settings import LoginTable
from galago_edge.host.small_file import NotPlainError, TooLongError, read_small
from galago_edge.host.urls import HIDDEN, hide_credentials

_LONGEST_BYTES = 4_096
_SHORTEST = 4
"""What is shorter is in half of all words, and no password."""


@dataclass(frozen=True, slots=True)
class Login:
    """A user and a password, as the other side is to get them."""

    user: str
    """Empty for none."""
    password: str = field(repr=False)
    """Empty for none."""

    def basic(self) -> str:
        """Return the value of an ``Authorization`` header, RFC 7617 in UTF-8."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def login_of(table: LoginTable, environment: Mapping[str, str] = os.environ) -> Login:
    """Return who ``table`` says that we are, with the password from where it stands.

    Raises:
        CallerError: CONFIG_BAD; the file or the variable is not there, empty, or holds more than a password.
    """
    return Login(table.user, _password(table, environment))


def with_login(url: str, login: Login) -> str:
    """Return ``url`` with user and password in it, escaped.

    >>> with_login("rtsp://10.0.0.7/live", Login("anna", "p@ss/w%rd"))
    'rtsp://anna:p%40ss%2Fw%25rd@10.0.0.7/live'
    """
    if not login.user:
        return url
    scheme, _, place = url.partition("://")
    password = f":{quote(login.password, safe='')}" if login.password else ""
    return f"{scheme}://{quote(login.user, safe='')}{password}@{place}"


def has_login(url: str) -> bool:
    """Tell whether a user stands in ``url`` itself."""
    return "@" in re.split("[/?#]", url.partition("://")[2], maxsplit=1)[0]


def open_to_all(path: Path) -> bool:
    """Tell whether everybody on this computer may read or change a file; False when it is not there."""
    try:
        return bool(path.stat().st_mode & 0o006)
    except OSError:
        return False


class Secrets:
    """What no message may show: the credentials in a URL, as they stand there and as they are sent."""

    def __init__(self, url: str, *passwords: str) -> None:
        """Learn what is secret in ``url``, however badly it is written, and ``passwords``."""
        found: dict[str, str] = {}
        shown = hide_credentials(url)
        if shown != url:
            found[url] = shown
        for password in filter(None, passwords):
            found |= dict.fromkeys(_forms(password), HIDDEN)
        for login in _logins(url):
            found |= dict.fromkeys(_forms(login), HIDDEN)
            _, colon, secret = login.partition(":")
            if colon:
                found |= dict.fromkeys(_forms(secret), HIDDEN)
                # a message may quote one part of what was cut at the wrong places
                found |= dict.fromkeys(re.split("[@/?#:]", secret), HIDDEN)
                told = Login(unquote(login.partition(":")[0]), unquote(secret)).basic()
                found[told.removeprefix("Basic ")] = HIDDEN
        found |= dict.fromkeys(_of_query(url, shown), HIDDEN)
        found = {secret: instead for secret, instead in found.items() if len(secret) >= _SHORTEST}
        self._longest_first = sorted(found, key=len, reverse=True)
        self._instead = {secret.lower(): instead for secret, instead in found.items()}
        # what a server says may come in other letters: types and hosts are read in small ones
        self._pattern = re.compile("|".join(map(re.escape, self._longest_first)) or "(?!)", re.IGNORECASE)

    def hidden(self, text: str) -> str:
        """Return ``text`` as one line without what is secret."""
        return " ".join(self._without(text).split())

    def quoted(self, said: str | bytes, longest: int) -> str:
        r"""Return the beginning of what somebody said, for a message: without what is secret, then cut.

        ``longest`` is in characters before they are escaped. What ``said`` itself was cut off in is hidden.

        >>> secrets = Secrets("http://anna:hunter2@10.0.0.7/x")
        >>> secrets.quoted(b"\xff hunter2 and so on", 8), secrets.quoted("a hunt", 8)
        ("b'\\xff *** an'", "'a ***'")
        """
        is_text = isinstance(said, str)
        text = said if isinstance(said, str) else said.decode(errors="surrogateescape")
        cut = self._whole(self._without(text))[:longest]
        return ascii(cut) if is_text else ascii(cut.encode(errors="surrogateescape"))

    def _without(self, text: str) -> str:
        return self._pattern.sub(lambda found: self._instead.get(found[0].lower(), HIDDEN), text)

    def _whole(self, text: str) -> str:
        """Return the text without the beginning of a secret at its end."""
        small = text.lower()
        for secret in self._longest_first:
            for length in range(min(len(secret), len(text)), _SHORTEST - 2, -1):
                if small.endswith(secret[:length].lower()):
                    return text[: len(text) - length] + HIDDEN
        return text

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Let no error out of the block with what is secret in it.

        Raises:
            GalagoError: As in the block, without what is secret.
            RuntimeError: Instead of another error that shows something.
        """
        try:
            yield
        except GalagoError as error:
            hidden = {"message": self.hidden(str(error)), "hint": self.hidden(error.hint)}
            if tuple(hidden.values()) == (str(error), error.hint):
                raise
            raise type(error).from_data(error.as_data(with_exit=True) | hidden) from None
        except Exception as error:  # a plug-in's; raised again, in other words when it must be
            text = f"{type(error).__name__}: {error}"
            if self._pattern.search(text) is None:
                raise
            raise RuntimeError(self.hidden(text)) from None


def _logins(url: str) -> set[str]:
    """Return what may be ``USER:PASSWORD``: up to the ``@`` where it must end, or up to the last one."""
    rest = url.partition("://")[2] or url
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    return {login for place in (rest, authority) if (login := place.rpartition("@")[0])}


def _of_query(url: str, shown: str) -> list[str]:
    query = url.partition("?")[2]
    parts = [part for part in re.split("[&#]", query) if part not in shown]
    values = [value for _, value in parse_qsl(query) if len(value) >= 2 * _SHORTEST]  # no "true", no "main"
    return [*([query] if parts else []), *parts, *values]


def _forms(secret: str) -> set[str]:
    plain = {secret, unquote(secret)}
    return plain | {quote(form, safe=safe) for form in plain for safe in ("", "/", ":")}


def _password(table: LoginTable, environment: Mapping[str, str]) -> str:
    if table.password_env:
        try:
            return environment[table.password_env]
        except KeyError:
            text = f"password_env: the environment has no variable {table.password_env}"
            hint = "set it, under systemd with Environment= or EnvironmentFile="
            raise CallerError(Reason.CONFIG_BAD, text, hint=hint) from None
    return _read(Path(table.password_file)) if table.password_file else table.password


def _read(path: Path) -> str:
    """Return what stands in a password file."""
    try:
        data = read_small(path, _LONGEST_BYTES)
    except FileNotFoundError:
        raise _bad_file(path, "does not exist") from None
    except NotPlainError:
        raise _bad_file(path, "is no plain file") from None
    except TooLongError as error:
        raise _bad_file(path, f"has {error}") from None
    except OSError as error:
        raise _bad_file(path, f"cannot be read: {error.strerror or error}") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _bad_file(path, "is not UTF-8") from None
    password = text.removesuffix("\n").removesuffix("\r")
    if "\n" in password:
        hint = f"leave the password alone in it, on its first line, and chmod 600 {path}"
        raise _bad_file(path, "has more than one line", hint)
    if not password or "\0" in password:
        raise _bad_file(path, "is empty" if not password else "holds a NUL character")
    return password


def _bad_file(path: Path, what: str, hint: str = "") -> CallerError:
    return CallerError(
        Reason.CONFIG_BAD,
        f"password_file {path} {what}, expected one line with the password",
        hint=hint or f"write the password into it, for the service's user alone to read: chmod 600 {path}",
    )
