"""HostStream: libp2p's stream as the rest of the node sees it: `connection.Stream`. Behind the door, as `swarm.py`."""

from __future__ import annotations

from libp2p.exceptions import BaseLibp2pError
from libp2p.network.stream.exceptions import StreamEOF

from peerwatch.errors import LinkError
from peerwatch.node.gater import Direction
from peerwatch.node.swarm_conn import GuardedStream
from peerwatch.wire.identity import peer_id


class HostStream:
    """`connection.Stream` over libp2p's."""

    def __init__(self, stream: GuardedStream, protocol: str) -> None:
        self._stream = stream
        self.protocol = protocol
        self.member: bytes = stream.swarm_conn.seat.member
        self.direction: Direction = stream.way

    async def read(self, most_bytes: int) -> bytes:
        """See `connection.Stream`."""
        try:
            data: bytes = await self._stream.read(most_bytes)
        except StreamEOF:
            return b""
        except (BaseLibp2pError, ValueError) as error:
            raise LinkError(f"stream {self.protocol} of {peer_id(self.member)} broke: {error!r}") from error
        return data

    async def write(self, data: bytes) -> None:
        """See `connection.Stream`."""
        try:
            await self._stream.write(data)
        except (BaseLibp2pError, ValueError) as error:
            raise LinkError(f"stream {self.protocol} of {peer_id(self.member)} broke: {error!r}") from error

    async def close(self) -> None:
        """See `connection.Stream`."""
        try:
            await self._stream.close()
        except BaseLibp2pError as error:
            raise LinkError(f"stream {self.protocol} of {peer_id(self.member)} broke: {error!r}") from error

    async def reset(self) -> None:
        """See `connection.Stream`."""
        await self._stream.reset()
