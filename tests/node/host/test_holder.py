"""Connections that are to be open are dialled again and again, one dial at a time, whatever the others come to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import pytest

pytest.importorskip("libp2p", reason="the extra p2p is not installed: make p2p")
import trio
import trio.testing

from peerwatch.errors import LinkError
from peerwatch.model import SystemClock
from peerwatch.node.holder import Holder
from peerwatch.wire.identity import peer_id
from tests.node.host.kit import node, run, until

pytestmark = pytest.mark.p2p
AWAY = b"\1" * 32
UNREADABLE = "/dns4/hub_1/tcp/4001/p2p/"  # by the library: a name of compose's


def test_an_address_that_cannot_be_read_stands_in_nobodys_way() -> None:
    """Neither in that of the same member's others, nor in that of other members."""

    async def story() -> None:
        one, other, caller = node(), node(), node(listen=False)
        async with one.host, other.host, caller.host, anyio.create_task_group() as tasks:
            holder = Holder(caller.host, SystemClock())
            tasks.start_soon(holder.run)
            with pytest.raises(LinkError, match="hub_1"):
                await holder.hold(AWAY, [f"{UNREADABLE}{peer_id(AWAY)}"], 5.0)
            await holder.hold(one.member, [f"{UNREADABLE}{peer_id(one.member)}", *one.host.addresses], 5.0)
            await holder.hold(other.member, other.host.addresses, 5.0)
            await one.host.close_peer(caller.member)
            await until(lambda: not caller.host.is_connected(one.member))
            await until(lambda: caller.host.is_connected(one.member))
            tasks.cancel_scope.cancel()

    run(story)


class _Nowhere:
    """A host whose dials take ten seconds for each address, and fail, but for those to `works`."""

    def __init__(self) -> None:
        self.works = ""
        self.under_way = self.most = 0
        self.reached_s = 0.0

    def is_connected(self, member: bytes) -> bool:
        return self.reached_s > 0

    def watch(self, member: bytes) -> None:
        """It is watched."""

    async def dial(self, member: bytes, addresses: Sequence[str]) -> None:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            for one in addresses:
                if one == self.works:
                    self.reached_s = trio.current_time()
                    return
                await anyio.sleep(10)
            raise LinkError("nobody is there")
        finally:
            self.under_way -= 1


class _TrioClock(SystemClock):
    def monotonic_s(self) -> float:
        return trio.current_time()


def test_dials_of_one_that_is_away_do_not_pile_up_and_a_new_address_counts_at_once() -> None:
    """Six hours with eight addresses that swallow packets; then it says where it is."""
    host: Any = _Nowhere()

    async def main() -> None:
        holder = Holder(host, _TrioClock())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(holder.run)
            with pytest.raises(LinkError, match="no connection within 10 s"):
                await holder.hold(AWAY, [str(n) for n in range(8)], 10.0)
            await anyio.sleep(6 * 3600)
            assert host.most == 1
            host.works, moved_s = "here", trio.current_time()
            await holder.hold(AWAY, ["here"], 10.0)
            assert host.reached_s - moved_s < 1.0
            tasks.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_who_is_dropped_is_dialled_no_longer() -> None:
    """Not even to the end of the dial that is under way."""
    host: Any = _Nowhere()

    async def main() -> None:
        holder = Holder(host, _TrioClock())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(holder.run)
            holder.want([AWAY])
            with pytest.raises(LinkError):
                await holder.hold(AWAY, ["1", "2", "3"], 1.0)
            await anyio.sleep(5)
            assert host.under_way == 1
            holder.drop(AWAY)
            await anyio.sleep(0.1)
            assert host.under_way == 0
            tasks.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
