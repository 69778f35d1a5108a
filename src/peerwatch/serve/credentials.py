"""Credentials: bearer tokens with a scope. On disk there are only their hashes."""

from __future__ import annotations

import hmac
import secrets
from enum import IntEnum
from hashlib import sha256
from pathlib import Path

import msgspec

from peerwatch.errors import ConfigError
from peerwatch.fleet.files import read_private, write_private

_PREFIX = "pwt_"
_SECRET_BYTES = 32
_MAX_CREDENTIALS = 1_000


class Scope(IntEnum):
    """What a credential allows; each includes the ones before it."""

    NONE = 0
    READ = 1
    WRITE = 2
    ADMIN = 3


class _Credential(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    scope: str
    sha256: str


class Credentials:
    """The tokens of one hub, in one private file that is read again when it changes. Owned by the hub's gate."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._known: list[_Credential] = []

    @property
    def exists(self) -> bool:
        """Whether the file is there: the first start makes it."""
        return self._path.exists()

    def names(self) -> list[tuple[str, str]]:
        """(name, scope) of each credential."""
        self._refresh()
        return [(one.name, one.scope) for one in self._known]

    def create(self, name: str, scope: Scope) -> str:
        """A new token; this is the only time that it is seen. Raises ConfigError for a name that is taken."""
        self._refresh()
        if not name or len(name) > 128 or any(one.name == name for one in self._known):
            raise ConfigError(f"credential name {name!r} is empty, too long or taken")
        if len(self._known) >= _MAX_CREDENTIALS:
            raise ConfigError(f"{len(self._known)} credentials exist, limit {_MAX_CREDENTIALS}")
        token = _PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
        self._save([*self._known, _Credential(name, scope.name.lower(), _digest(token))])
        return token

    def remove(self, name: str) -> None:
        """Make a token worthless. Raises ConfigError for a name that no credential has."""
        self._refresh()
        kept = [one for one in self._known if one.name != name]
        if len(kept) == len(self._known):
            raise ConfigError(f"no credential is named {name!r}; there are: {[one.name for one in self._known]}")
        self._save(kept)

    def scope_of(self, token: str) -> Scope:
        """What this token allows; Scope.NONE for an unknown one. Compares in constant time."""
        self._refresh()
        digest = _digest(token)
        found = Scope.NONE
        for one in self._known:
            if hmac.compare_digest(one.sha256, digest):
                found = Scope[one.scope.upper()]
        return found

    def _save(self, known: list[_Credential]) -> None:
        write_private(self._path, msgspec.json.format(msgspec.json.encode(known)))
        self._stamp = None
        self._refresh()

    def _refresh(self) -> None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._known, self._stamp = [], None
            return
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp == self._stamp:
            return
        try:
            known = msgspec.json.decode(read_private(self._path), type=list[_Credential])
            for one in known:
                Scope[one.scope.upper()]
        except (msgspec.DecodeError, KeyError) as error:
            raise ConfigError(f"{self._path} is damaged: {error}; remove it and make new credentials") from error
        self._known, self._stamp = known, stamp


def _digest(token: str) -> str:
    return sha256(token.encode(errors="surrogatepass")).hexdigest()
