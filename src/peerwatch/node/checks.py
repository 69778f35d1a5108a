"""Checks: pings the connections that must prove that the other side lives, and ends those that do not. See `health`."""

from __future__ import annotations

from contextlib import suppress

import anyio
import anyio.abc

from peerwatch.node import health
from peerwatch.node.config import NodeLimits
from peerwatch.node.swarm import GuardedSwarm
from peerwatch.node.swarm_conn import GuardedConn
from peerwatch.telemetry import get_logger

_log = get_logger("node")

_MEASURE_S = 2.0


class Checks:
    """Owned by the host's event loop. Bounded: one check per connection and round, one watch per member."""

    def __init__(self, swarm: GuardedSwarm, limits: NodeLimits) -> None:
        self._swarm = swarm
        self._limits = limits
        self._watched: dict[bytes, anyio.CancelScope] = {}
        self._tasks: anyio.abc.TaskGroup | None = None

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled: ping what is idle; close what does not answer; end what the other side left half closed."""
        async with anyio.create_task_group() as self._tasks:
            task_status.started()
            while True:
                await anyio.sleep(health.round_s(self._limits))
                now_s = anyio.current_time()
                for conn in self._swarm.open_connections():
                    uses = [stream.used_s for stream in conn.streams]
                    if health.must_check(conn.seat, uses, self._limits, now_s):
                        conn.refresh(now_s)
                        self._tasks.start_soon(self._check, conn, health.CHECK_S, "health")
                    if len(conn.muxed_conn.streams) > len(conn.streams):
                        self._tasks.start_soon(conn.sweep)

    def watch(self, member: bytes) -> None:
        """See `Host.watch`."""
        if self._tasks is not None and member not in self._watched:
            self._watched[member] = anyio.CancelScope()
            self._tasks.start_soon(self._watch, member)

    def unwatch(self, member: bytes) -> None:
        """Leave it to the idle timers again."""
        scope = self._watched.pop(member, None)
        if scope is not None:
            scope.cancel()

    async def _watch(self, member: bytes) -> None:
        with self._watched[member]:
            while (conn := self._swarm.connection_to(member)) is not None:
                if conn.owes and not await self._check(conn, health.WATCH_ANSWER_S, "frozen"):
                    break
                await anyio.sleep(health.WATCH_EVERY_S)
        self._watched.pop(member, None)

    async def measure(self, within_s: float = _MEASURE_S) -> None:
        """Ping every connection, for their `rtt_s`. Who does not answer is left to the timers."""

        async def ping(conn: GuardedConn) -> None:
            with suppress(Exception):  # too slow, or closed meanwhile: it keeps its last value
                conn.seat.rtt_s = await conn.muxed_conn.ping(within_s)

        async with anyio.create_task_group() as pings:
            for conn in self._swarm.open_connections():
                pings.start_soon(ping, conn)

    async def _check(self, conn: GuardedConn, within_s: float, reason: str) -> bool:
        try:
            conn.seat.rtt_s = await conn.muxed_conn.ping(within_s)
        except Exception as error:  # too slow, or closed meanwhile: it must go in any case
            _log.info("peer does not answer", peer=str(conn.muxed_conn.peer_id), error=repr(error))
            await conn.abort(reason)
            return False
        return True
