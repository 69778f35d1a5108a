"""Plan: what an attack is told of the hub that it attacks."""

from __future__ import annotations

import msgspec

from peerwatch.wire.identity import PrivateKey


class Plan(msgspec.Struct, frozen=True):
    """Where the hub is, with which keys the attack may come, and the request of somebody else that it has captured."""

    port: int
    member: bytes
    fleet: bytes
    seeds: list[bytes]
    source: str
    captured: bytes
    seconds: float

    @property
    def address(self) -> str:
        """The hub's multiaddr."""
        return f"/ip4/127.0.0.1/tcp/{self.port}"

    @property
    def keys(self) -> list[PrivateKey]:
        """Of members of the fleet; the attack's own."""
        return [PrivateKey(seed) for seed in self.seeds]

    @property
    def key(self) -> PrivateKey:
        """The first."""
        return self.keys[0]
