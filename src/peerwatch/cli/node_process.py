"""NodeProcess: the libp2p node beside a hub or an agent: started, told who is a member, and started again."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import anyio
import anyio.abc
import msgspec

from peerwatch import __version__
from peerwatch.cli.ban_book import BanBook
from peerwatch.cli.node_holds import NodeHolds
from peerwatch.errors import LinkError, NodeDownError, PeerwatchError, QuotaError, StoreError
from peerwatch.model import Clock
from peerwatch.node.channel import Channel
from peerwatch.node.config import SocketConfig
from peerwatch.node.messages import (
    AskMetrics,
    AskStatus,
    Banned,
    Deliver,
    Delivered,
    Done,
    Heard,
    Inbound,
    Message,
    Metrics,
    Note,
    OpenPeer,
    Presence,
    Probed,
    Publish,
    Reply,
    SetBans,
    SetPartners,
    Status,
    from_ban,
    from_view,
    to_ban,
)
from peerwatch.node.roster_view import Members, MemberView, view_of
from peerwatch.node.socket import SOCKET_NAME, open_channel
from peerwatch.node.start import NodeStart
from peerwatch.telemetry import get_logger
from peerwatch.wire.identity import peer_id

_log = get_logger("node")
_START_S = 120.0  # it imports libp2p: 2 s on a quiet machine, but killed while it is slow it only begins anew
_LOOK_S = 1.0  # how soon a change of the roster reaches the node
_FIRST_WAIT_S, _MOST_WAIT_S, _WELL_S = 1.0, 60.0, 60.0
_DELIVER_S = 20.0  # as over HTTPS
_END_S = 5.0
_DRAIN_S = 10.0
_LEAVING_WAIT_S = 5.0  # who is turned away comes back when the machine may be up again
_ASK_S = 5.0
_ALIVE_S = 10.0  # how often it must show that it is not frozen
_FROZEN_S = 15.0  # silent for so long: one that a thousand agents come back to is busy for some seconds, and says so

_BANS_AT_ONCE = 5_000  # 3 MB

Answer = Callable[[Inbound], Awaitable[Delivered]]
"""What a member is answered, and what it was found to have done. Raises errors of ours."""


class Mesh(Protocol):
    """Whom the node measures, and whom it lets in besides the roster's members: `mesh_probes.MeshProbes`."""

    changes: int
    """Grows with each change of what follows."""

    def guests(self) -> Mapping[str, MemberView]:
        """By peer id."""
        ...

    def plan(self) -> SetPartners:
        """Whom to measure."""
        ...

    def listens(self, addresses: Sequence[str]) -> None:
        """Where the node listens, after each of its starts."""
        ...

    def hear(self, note: Probed) -> None:
        """What it found."""
        ...


async def _nothing_to_answer(inbound: Inbound) -> Delivered:
    raise LinkError(f"nobody answers {inbound.protocol} here")


@dataclass(slots=True)
class _Told:
    """What one life of the node was told, and has told."""

    holds: NodeHolds
    changes: int = -1
    bans: int = -1
    addresses: list[str] = field(default_factory=list)
    trouble: str = ""
    """Why the addresses could not be passed on; they are again at the next look."""


class NodeProcess:
    """One node. `run` keeps it up until cancelled, with growing waits; `deliver` fails while it is down.

    `hold` says to which members it stays connected, with their multiaddrs; it is asked whenever the roster has changed.
    `on_addresses` hears where the node is reached, at its start and when that changes. `bans` are kept here and obeyed
    there; without them, as of a node that runs for a moment, it keeps its own.
    """

    def __init__(
        self,
        start: NodeStart,
        roster: Callable[[], Members],
        clock: Clock,
        *,
        bans: BanBook | None = None,
        answer: Answer = _nothing_to_answer,
        hold: Callable[[], Mapping[bytes, Sequence[str]]] = dict,
        on_addresses: Callable[[Sequence[str]], None] = lambda _: None,
    ) -> None:
        self._start = start
        self._roster = roster
        self._bans = bans
        self._clock = clock
        self._answer = answer
        self._hold = hold
        self._on_addresses = on_addresses
        self.mesh: Mesh | None = None
        """Whom it measures, and lets in for that; set before `run`."""
        self.on_news: Callable[[Heard], None] = lambda _: None
        """What other hubs publish; set before `run` by a hub."""
        self._socket = SocketConfig()
        self._channel: Channel | None = None
        self._connected: set[str] = set()
        self._table_size = 0
        self._leaving = False
        self._answering = 0
        self._quiet = anyio.Event()
        self.pid = 0

    @property
    def connected_peers(self) -> int:
        """How many peers are connected now; none while the node is down."""
        return len(self._connected) if self._channel is not None else 0

    @property
    def routing_table_size(self) -> int:
        """Peers in its routing table, at most ten seconds ago; none while the node is down, and of an agent's."""
        return self._table_size if self._channel is not None else 0

    async def deliver(self, member: bytes, protocol: str, body: bytes) -> bytes:
        """The member's answer. Raises LinkError, DecodeError, QuotaError."""
        if self._channel is None:
            raise NodeDownError("the libp2p node is not up yet")
        request = Deliver(peer=peer_id(member), protocol=protocol, body=body, wait_ms=round(_DELIVER_S * 1000))
        reply = await self._channel.request(request, _DELIVER_S + 1.0)
        if not isinstance(reply, Delivered):
            raise LinkError(f"the node answered with {type(reply).__name__}")
        return reply.body

    async def open_peer(self, member: bytes, addresses: Sequence[str], within_s: float) -> None:
        """Be connected to a member, after waiting for the node to come up. Raises LinkError, QuotaError."""
        try:
            with anyio.fail_after(_START_S):
                while self._channel is None:  # noqa: ASYNC110  # a node that is coming up tells nothing
                    await anyio.sleep(0.05)
        except TimeoutError as error:
            raise LinkError("the libp2p node is not up yet") from error
        wait_ms = round(within_s * 1000)
        asked = OpenPeer(peer=peer_id(member), addresses=list(addresses), wait_ms=wait_ms)
        await self._channel.request(asked, within_s + 1.0)

    async def publish(self, body: bytes) -> None:
        """Tell every hub, from a hub's node. Raises LinkError while it is down, QuotaError."""
        if self._channel is None:
            raise LinkError("the libp2p node is not up yet")
        await self._channel.request(Publish(body=body), _ASK_S)

    async def metrics(self) -> bytes:
        """The node's own metrics as Prometheus text. Raises LinkError while it is down."""
        if self._channel is None:
            raise LinkError("the libp2p node is not up yet")
        reply = await self._channel.request(AskMetrics(), _ASK_S)
        if not isinstance(reply, Metrics):
            raise LinkError(f"the node answered with {type(reply).__name__}")
        return reply.text

    async def status(self, *, measure: bool = False) -> Status:
        """Where it listens, and who is connected. Raises LinkError while it is down.

        `measure`: with round trips of just now, which takes up to 2 s.
        """
        if self._channel is None:
            raise LinkError("the libp2p node is not up yet")
        reply = await self._channel.request(AskStatus(measure=measure), _ASK_S)
        if not isinstance(reply, Status):
            raise LinkError(f"the node answered with {type(reply).__name__}")
        return reply

    async def answer(self, request: Message) -> Reply:
        """See `channel.Handler`."""
        if isinstance(request, Inbound):
            return await self._answered(request)
        if isinstance(request, Banned):
            if self._bans is not None:
                self._bans.take(map(to_ban, request.bans))
            return Done()
        raise LinkError(f"{type(request).__name__} is not dealt with here")

    async def _answered(self, inbound: Inbound) -> Delivered:
        if self._leaving:
            raise QuotaError("this machine is stopping", _LEAVING_WAIT_S)
        self._answering += 1
        try:
            return await self._answer(inbound)
        finally:
            self._answering -= 1
            if not self._answering:
                self._quiet.set()
                self._quiet = anyio.Event()

    async def drain(self) -> None:
        """Answer nothing more that peers ask, and wait until what runs is answered, for 10 s at most (B80)."""
        self._leaving = True
        with anyio.move_on_after(_DRAIN_S):
            while self._answering:
                await self._quiet.wait()
        if self._answering:
            _log.warning("requests of peers not answered before stopping", requests=self._answering)

    def hear(self, note: Note) -> None:
        """See `channel.Handler`."""
        if self.mesh is not None and isinstance(note, Probed):
            self.mesh.hear(note)
        if isinstance(note, Heard):
            self.on_news(note)
        if isinstance(note, Presence):
            (self._connected.add if note.connected else self._connected.discard)(note.peer)

    async def run(self) -> None:
        """Keep it up."""
        wait_s = _FIRST_WAIT_S
        while True:
            began_s = self._clock.monotonic_s()
            reason = "ended"
            try:
                await self._live()
            except (PeerwatchError, OSError, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
                reason = str(error)
            if self._clock.monotonic_s() - began_s > _WELL_S:
                wait_s = _FIRST_WAIT_S
            _log.warning("libp2p node down", reason=reason, again_s=wait_s)
            await anyio.sleep(wait_s * random.uniform(0.5, 1.0))
            wait_s = min(wait_s * 2, _MOST_WAIT_S)

    async def _live(self) -> None:
        """One life of the process, from start to end."""
        async with self._process() as process:
            channel = await self._connect(process)
            failure: PeerwatchError | None = None
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(channel.run)
                try:
                    await channel.ready()
                    await self._attend(channel, tasks)
                except PeerwatchError as error:
                    failure = error
                finally:
                    self._channel = None
                    channel.close()
            if failure := failure or channel.failure:
                raise failure

    @asynccontextmanager
    async def _process(self) -> AsyncIterator[anyio.abc.Process]:
        command = [sys.executable, "-m", "peerwatch.node"]
        process = await anyio.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=None)
        self.pid = process.pid
        try:
            assert process.stdin is not None
            await process.stdin.send(msgspec.json.encode(self._start) + b"\n")
            yield process
        finally:
            with anyio.CancelScope(shield=True):
                await _end(process)

    async def _connect(self, process: anyio.abc.Process) -> Channel:
        path = Path(self._start.folder) / SOCKET_NAME
        deadline_s = self._clock.monotonic_s() + _START_S
        while True:
            if process.returncode is not None:
                raise LinkError(f"the node ended with {process.returncode}; its log says why")
            try:
                return await open_channel(path, self, self._socket, f"peerwatch {__version__}")
            except LinkError:
                if self._clock.monotonic_s() > deadline_s:
                    raise
            await anyio.sleep(0.1)

    async def _attend(self, channel: Channel, tasks: anyio.abc.TaskGroup) -> None:
        """Tell it bans, roster and whom to hold, at first and whenever these change; until the channel ends."""
        told = _Told(NodeHolds(channel, tasks))
        await self._tell_bans(channel, told)  # before anybody is let in
        await self._tell(channel, told)
        await self._look(channel, told)
        self._channel = channel
        asked_s = self._clock.monotonic_s()
        while not channel.closed.is_set():
            with anyio.move_on_after(_LOOK_S):
                await channel.closed.wait()
            if not channel.closed.is_set():
                await self._tell_bans(channel, told)
                await self._tell(channel, told)
                if self._clock.monotonic_s() - asked_s > _ALIVE_S:  # one that is frozen says nothing by itself
                    await self._look(channel, told)
                    asked_s = self._clock.monotonic_s()

    async def _tell(self, channel: Channel, told: _Told) -> None:
        roster, mesh = self._roster(), self.mesh
        changes = roster.changes + (mesh.changes if mesh is not None else 0)
        if changes == told.changes:
            return
        view = view_of(roster, self._clock.now_ms())
        if mesh is None:
            await channel.request(from_view(view))
        else:  # the roster first: nobody is dialled who is not in it
            await channel.request(from_view(view.with_guests(mesh.guests())))
            await channel.request(mesh.plan())
        told.changes = changes
        await told.holds.follow(self._hold())

    async def _look(self, channel: Channel, told: _Told) -> None:
        status = await channel.ask_whether_alive(AskStatus(), _FROZEN_S)
        if isinstance(status, Status):  # notes may have been lost: this is what is
            self._connected = {one.peer for one in status.peers}
            self._table_size = status.routing_table_size
        if isinstance(status, Status) and status.addresses != told.addresses:
            self._listens(status.addresses, told)

    def _listens(self, addresses: list[str], told: _Told) -> None:
        """Pass on where it listens. A disk that is full must not cost the node its life: it would not mend the disk."""
        if self.mesh is not None:
            self.mesh.listens(addresses)
        try:
            self._on_addresses(addresses)
        except (StoreError, OSError) as error:
            if not told.trouble:
                _log.error("addresses of the libp2p node not kept", reason=str(error), again_s=_ALIVE_S)
            told.trouble = str(error) or type(error).__name__
            return
        _log.info("libp2p node listens", addresses=" ".join(addresses))
        told.addresses, told.trouble = addresses, ""

    async def _tell_bans(self, channel: Channel, told: _Told) -> None:
        if self._bans is None or self._bans.changes == told.bans:
            return
        changes, bans = self._bans.changes, list(self._bans)
        for start in range(0, len(bans), _BANS_AT_ONCE):
            some = bans[start : start + _BANS_AT_ONCE]
            await channel.request(SetBans(bans=[from_ban(one) for one in some]))
        told.bans = changes


async def _end(process: anyio.abc.Process) -> None:
    """Closing its input ends it; what hangs is killed."""
    if process.stdin is not None:
        await process.stdin.aclose()
    with anyio.move_on_after(_END_S):
        await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()
