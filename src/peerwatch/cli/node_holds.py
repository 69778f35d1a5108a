"""NodeHolds: to whom one life of the node was told to stay connected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import anyio
import anyio.abc

from peerwatch.errors import LinkError, PeerwatchError
from peerwatch.node.channel import Channel
from peerwatch.node.messages import ClosePeer, OpenPeer
from peerwatch.telemetry import get_logger
from peerwatch.wire.identity import peer_id

_log = get_logger("node")
_AT_ONCE = 32  # half of what the node answers at a time: deliveries have the other half, whoever cannot be reached
_DIAL_MS = 10_000
_AGAIN_S = 1.0


class NodeHolds:
    """Owned by `NodeProcess`, which makes one for each life of the node. `tasks` ends with the channel.

    Who could not be told, because too much else was being asked of the node, is told again until it is: what the node
    has heard once it goes on trying by itself.
    """

    def __init__(self, channel: Channel, tasks: anyio.abc.TaskGroup) -> None:
        self._channel = channel
        self._tasks = tasks
        self._hold: dict[bytes, tuple[str, ...]] = {}
        self._turns = anyio.CapacityLimiter(_AT_ONCE)

    async def follow(self, hold: Mapping[bytes, Sequence[str]]) -> None:
        """Hold these members at these multiaddrs, and no others. Raises LinkError when the node is gone."""
        before, self._hold = self._hold, {member: tuple(addresses) for member, addresses in hold.items()}
        for member in before.keys() - self._hold.keys():
            await self._channel.request(ClosePeer(peer=peer_id(member), reason="not held"))
        for member, addresses in self._hold.items():
            if before.get(member) != addresses:
                self._tasks.start_soon(self._open, member, addresses)

    async def _open(self, member: bytes, addresses: tuple[str, ...]) -> None:
        """Until the node has heard of it, it is to be held no longer, or held elsewhere."""
        async with self._turns:
            while self._hold.get(member) == addresses and not self._channel.closed.is_set():
                try:
                    request = OpenPeer(peer=peer_id(member), addresses=list(addresses), wait_ms=_DIAL_MS)
                    await self._channel.request(request)
                except PeerwatchError as error:
                    if not _may_be_unheard(error):  # the node goes on trying
                        _log.info("hub not reached over libp2p yet", reason=str(error))
                        return
                    await anyio.sleep(error.wait_s or _AGAIN_S if isinstance(error, LinkError) else _AGAIN_S)
                else:
                    return


def _may_be_unheard(error: PeerwatchError) -> bool:
    """Whether it is the channel's own word: no room to wait, or no answer, where the node's is due within 10 s."""
    return isinstance(error, LinkError) and (error.wait_s is not None or isinstance(error.__cause__, TimeoutError))
