"""Credentials: shown once, kept as hashes, changed without a restart."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from peerwatch.errors import ConfigError
from peerwatch.serve.credentials import Credentials, Scope


def _credentials(tmp_path: Path) -> Credentials:
    return Credentials(tmp_path / "credentials.json")


def test_a_token_has_the_scope_that_it_was_made_with(tmp_path: Path) -> None:
    """Another process that reads the same file agrees; an unknown token has none."""
    made = {scope: _credentials(tmp_path).create(scope.name, scope) for scope in (Scope.READ, Scope.WRITE, Scope.ADMIN)}
    other = _credentials(tmp_path)
    assert {scope: other.scope_of(token) for scope, token in made.items()} == {scope: scope for scope in made}
    assert other.scope_of("pwt_" + "x" * 43) is Scope.NONE
    assert other.scope_of("") is Scope.NONE
    assert other.names() == [("READ", "read"), ("WRITE", "write"), ("ADMIN", "admin")]


def test_the_file_is_private_and_holds_no_token(tmp_path: Path) -> None:
    """Whoever copies a backup cannot log in with it."""
    token = _credentials(tmp_path).create("me", Scope.ADMIN)
    path = tmp_path / "credentials.json"
    assert token not in path.read_text() and token.removeprefix("pwt_") not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_names_are_unique_and_bounded(tmp_path: Path) -> None:
    """A name that is taken, empty or too long is refused; so is removing one that is not there."""
    credentials = _credentials(tmp_path)
    credentials.create("me", Scope.READ)
    for name in ("me", "", "x" * 129):
        with pytest.raises(ConfigError, match="is empty, too long or taken"):
            credentials.create(name, Scope.READ)
    with pytest.raises(ConfigError, match=r"no credential is named 'you'; there are: \['me'\]"):
        credentials.remove("you")


@pytest.mark.parametrize("content", [b"", b"{}", b"[{}]", b'[{"name":"x","scope":"king","sha256":"00"}]', b"\xff"])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    """Nothing is guessed from what is left of it."""
    path = tmp_path / "credentials.json"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=r"credentials.json is damaged: .*; remove it and make new credentials"):
        Credentials(path).scope_of("pwt_anything")


def test_without_a_file_nobody_has_a_scope(tmp_path: Path) -> None:
    """The first start makes it."""
    assert not _credentials(tmp_path).exists
    assert _credentials(tmp_path).scope_of("pwt_x") is Scope.NONE
