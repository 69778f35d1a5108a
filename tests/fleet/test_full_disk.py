"""What is decided while the disk is full holds at once, and is on disk as soon as there is room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from peerwatch.errors import StoreError
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.membership import Membership
from peerwatch.fleet.roster import AGENT, RosterEntry
from peerwatch.wire.identity import PrivateKey
from tests.fleet.test_membership import NOW, Clock

URLS = ("https://192.0.2.7:9480",)


def _on_disk(folder: Path, member: bytes) -> RosterEntry | None:
    return Membership.load(folder / "membership.bin", NOW).roster.get(member)


@pytest.mark.parametrize(
    ("decide", "holds"),
    [
        (lambda hub: hub.revoke("web"), lambda hub, web: web.revoked),
        (lambda hub: hub.announce(URLS, b"", ()), lambda hub, web: hub.addresses == URLS),
    ],
    ids=["revoke", "announce"],
)
def test_asked_for_again_it_is_written(
    tmp_path: Path, decide: Callable[[Authority], object], holds: Callable[[RosterEntry, RosterEntry], bool]
) -> None:
    """Though there is nothing left to decide; others were told of it the first time."""
    hub = Authority.open(tmp_path, "hub", Clock())
    web = hub.admit(PrivateKey.generate().public, PrivateKey.generate().public, "web", (AGENT,)).member
    told: list[bool] = []

    def known(look: Callable[[bytes], RosterEntry | None]) -> bool:
        mine, its = look(hub.member), look(web)
        assert mine is not None and its is not None
        return holds(mine, its)

    hub.on_change = lambda: told.append(known(hub.membership.roster.get))
    full = tmp_path / "membership.bin.tmp"
    full.mkdir()  # where it would be written first
    with pytest.raises(StoreError, match="cannot write"):
        decide(hub)
    assert told == [True] and not known(lambda member: _on_disk(tmp_path, member))
    with pytest.raises(StoreError, match="cannot write"):
        decide(hub)
    full.rmdir()
    decide(hub)
    assert told == [True] and known(lambda member: _on_disk(tmp_path, member))
