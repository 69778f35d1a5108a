"""Acquaintances: members of the mesh that this node was connected to, and where: the routing table on disk.

A hub that comes back when every address that it was given is dead finds the fleet by any of them (B79, B80).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from peerwatch.errors import DecodeError, PeerwatchError, StoreError
from peerwatch.fleet.files import read_private, write_private
from peerwatch.telemetry import get_logger
from peerwatch.wire.identity import peer_id, public_key_of

_log = get_logger("node")
FILE_NAME = "routing_table.json"
_VERSION = 1
_MOST = 256  # as many hubs as may be certified
_MOST_ADDRESSES = 16
_MAX_FILE_BYTES = 2 << 20  # 256 peers with 16 addresses of 256 characters, and then some


class _Peer(msgspec.Struct, frozen=True):
    peer: Annotated[str, msgspec.Meta(max_length=128)]
    addresses: Annotated[tuple[Annotated[str, msgspec.Meta(max_length=256)], ...], msgspec.Meta(max_length=16)]
    seen_ms: Annotated[int, msgspec.Meta(ge=0)]


class _File(msgspec.Struct, frozen=True):
    version: int
    peers: Annotated[tuple[_Peer, ...], msgspec.Meta(max_length=_MOST)]


class Acquaintances:
    """Mutable; owned by the node's event loop. Bounded at 256 peers: who was not seen for longest goes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._peers: dict[bytes, _Peer] = {}
        self._saved: dict[bytes, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self._peers)

    def __iter__(self) -> Iterator[bytes]:
        return iter(list(self._peers))

    def load(self) -> None:
        """What the file holds; a damaged one is logged and as good as none."""
        try:
            raw = read_private(self._path)
            if len(raw) > _MAX_FILE_BYTES:
                raise DecodeError(f"{len(raw)} bytes, limit {_MAX_FILE_BYTES}")
            found = msgspec.json.decode(raw, type=_File)
            if found.version != _VERSION:
                raise DecodeError(f"version {found.version}, this program reads {_VERSION}")
            self._peers = {public_key_of(one.peer): one for one in found.peers}
        except FileNotFoundError:
            return
        except (OSError, msgspec.MsgspecError, PeerwatchError) as error:
            _log.warning("routing table not read", path=str(self._path), reason=str(error))
            return
        _log.info("routing table loaded", peers=len(self._peers))

    def met(self, member: bytes, addresses: Sequence[str], now_ms: int) -> None:
        """It is connected, and this is where it is reached; what was known before comes after."""
        before = self._peers.get(member)
        tail = f"/p2p/{peer_id(member)}"
        full = [f"{one.removesuffix(tail)}{tail}" for one in addresses]
        merged = dict.fromkeys([*full, *(before.addresses if before is not None else ())])
        if not merged:
            return
        self._peers[member] = _Peer(peer_id(member), tuple(merged)[:_MOST_ADDRESSES], now_ms)
        if len(self._peers) > _MOST:
            del self._peers[min(self._peers, key=lambda one: self._peers[one].seen_ms)]

    def addresses(self, member: bytes) -> tuple[str, ...]:
        """Where it was reached; none for a stranger."""
        found = self._peers.get(member)
        return found.addresses if found is not None else ()

    @property
    def has_news(self) -> bool:
        """Whether the file would hold other addresses than it does."""
        return {member: one.addresses for member, one in self._peers.items()} != self._saved

    def save(self) -> int:
        """Write the file; how many peers are in it. A failure is logged: nothing else must fail for it."""
        peers = tuple(sorted(self._peers.values(), key=lambda one: -one.seen_ms))
        self._saved = {member: one.addresses for member, one in self._peers.items()}
        try:
            write_private(self._path, msgspec.json.format(msgspec.json.encode(_File(_VERSION, peers))))
        except (StoreError, OSError) as error:
            _log.error("routing table not saved", path=str(self._path), reason=str(error))
            return 0
        return len(peers)
