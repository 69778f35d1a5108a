"""Bans survive a restart; a damaged file is an error, never an empty list."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatch.errors import ConfigError, CorruptionError, StoreError
from peerwatch.node.ban_file import load_bans, save_bans
from peerwatch.node.bans import Ban, Bans
from tests.node.kit import NOW, PEERS

A, B = PEERS[:2]
KEPT = [
    Ban(A, "forged signature", "operator", NOW, 0),
    Ban("192.0.2.0/24", "flood: score -412", B, NOW + 1, NOW + 60_001),
    Ban(B, "mistake", "operator", NOW + 2, NOW + 3, lifted=True),
]


def test_round_trip(tmp_path: Path) -> None:
    """All of it: reasons, authors, expiries, lifts."""
    save_bans(tmp_path / "bans", KEPT)
    assert load_bans(tmp_path / "bans") == KEPT
    assert (tmp_path / "bans").stat().st_mode & 0o777 == 0o600


def test_no_file_is_no_ban(tmp_path: Path) -> None:
    """The first start."""
    assert load_bans(tmp_path / "bans") == []


def test_a_file_of_format_1_is_read(tmp_path: Path) -> None:
    """Also by later programs."""
    shutil.copy(Path(__file__).parent / "format1" / "bans", tmp_path / "bans")
    (tmp_path / "bans").chmod(0o600)
    assert load_bans(tmp_path / "bans") == KEPT


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_an_error(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Flip any bit or cut it anywhere: the error names the file, and no ban is lost in silence."""
    path = tmp_path_factory.mktemp("bans") / "bans"
    save_bans(path, KEPT)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    words = ""
    try:
        assert load_bans(path) == KEPT  # the same number written otherwise
    except StoreError as error:
        words = str(error)
    assert not words or str(path) in words


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    """Never guessed at, and not called damaged."""
    path = tmp_path / "bans"
    save_bans(path, KEPT)
    path.write_bytes(path.read_bytes().replace(b"peerwatch bans 1 ", b"peerwatch bans 2 "))
    with pytest.raises(StoreError, match="bans of format 2, this program reads 1") as caught:
        load_bans(path)
    assert not isinstance(caught.value, CorruptionError)


def test_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """A folder in its place, or a file that others may write."""
    (tmp_path / "bans").mkdir()
    with pytest.raises(StoreError, match="bans"):
        load_bans(tmp_path / "bans")
    save_bans(tmp_path / "open", KEPT)
    (tmp_path / "open").chmod(0o666)
    with pytest.raises(ConfigError, match="has mode 0666"):
        load_bans(tmp_path / "open")


def test_bans_live_on(tmp_path: Path) -> None:
    """What was banned before a restart is banned after it."""
    before, after = Bans(), Bans()
    before.ban_permanent(A, "forged", "hub", NOW)
    before.ban_temporary("192.0.2.0/24", 60.0, "flood", "hub", NOW)
    save_bans(tmp_path / "bans", before)
    after.merge(load_bans(tmp_path / "bans"), NOW + 1)
    assert after.active(NOW + 1) == before.active(NOW + 1)
