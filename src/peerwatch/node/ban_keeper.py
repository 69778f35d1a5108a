"""BanKeeper: sees to it that a ban holds: on disk, at the main process, and for connections that are open."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import anyio
import anyio.to_thread

from peerwatch.errors import PeerwatchError, StoreError
from peerwatch.model import Clock
from peerwatch.node.ban_file import save_bans
from peerwatch.node.bans import Ban, Bans
from peerwatch.node.messages import Banned, from_ban
from peerwatch.node.socket import NodeServer
from peerwatch.telemetry import get_logger

_log = get_logger("node")
_LOOK_S = 5.0  # how soon what did not work is tried again, and what has expired is forgotten
_AT_ONCE = 5_000  # bans in one message: 3 MB, and a frame takes 16


class BanKeeper:
    """Mutable; owned by the node's event loop. `cut_off` closes the connections of whoever is kept out now.

    A main process that has just come is told everything; after that, what is new. Where it is not there, or the disk
    takes nothing, the ban holds in memory and both are tried again.
    """

    def __init__(
        self, bans: Bans, file: Path, clock: Clock, server: NodeServer, cut_off: Callable[[], Awaitable[None]]
    ) -> None:
        self._bans = bans
        self._file = file
        self._clock = clock
        self._server = server
        self._cut_off = cut_off
        self._saved = bans.changes
        self._told = 0
        self._fresh: list[Ban] = []
        self._news = anyio.Event()
        self._one_at_a_time = anyio.Lock()

    def made(self, ban: Ban) -> None:
        """This node has banned somebody."""
        self._fresh.append(ban)
        self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.settle()
            await self._tell()
            with anyio.move_on_after(_LOOK_S):
                await self._news.wait()

    async def settle(self) -> None:
        """What is known now holds for connections, and is on disk unless that fails."""
        async with self._one_at_a_time:
            self._news = anyio.Event()
            self._bans.remove_ended(self._clock.now_ms())
            if self._bans.changes == self._saved:
                return
            await self._cut_off()
            changes, values = self._bans.changes, list(self._bans)
            try:
                await anyio.to_thread.run_sync(save_bans, self._file, values)
            except StoreError as error:
                _log.error("bans not saved", reason=str(error))
            else:
                self._saved = changes

    async def _tell(self) -> None:
        told = self._server.greeted
        fresh, self._fresh = self._fresh, []
        try:
            await self._send(list(self._bans) if told != self._told else fresh)
        except PeerwatchError as error:
            _log.info("bans not told yet", reason=str(error))
            self._told = 0  # everything, then
        else:
            self._told = told

    async def _send(self, bans: Sequence[Ban]) -> None:
        for start in range(0, len(bans), _AT_ONCE):
            some = bans[start : start + _AT_ONCE]
            await self._server.request(Banned(bans=[from_ban(one) for one in some]))
