"""One of many hubs takes what an agent sends: which one, when it is left, and when it is preferred again."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import anyio
import pytest

from peerwatch.agent import shard
from peerwatch.agent.shard import ShardConfig, ShardLink, ranked
from peerwatch.agent.ship import Link
from peerwatch.errors import DecodeError, LinkError, NodeDownError
from peerwatch.model import SystemClock
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.push import RefusalReason, decode_reply

HUBS = [bytes([number]) * 32 for number in range(1, 6)]
ME = b"m" * 32
QUICK = ShardConfig(answer_s=0.2, rest_first_s=0.6, rest_most_s=2.4)


def _senders(count: int) -> list[bytes]:
    return [number.to_bytes(32, "big") for number in range(count)]


def test_senders_spread_evenly_and_only_those_of_a_dead_hub_move() -> None:
    """Of a thousand, each of five hubs is the first of a fifth; one hub's spread over all others."""
    firsts = {sender: ranked(sender, HUBS) for sender in _senders(1000)}
    shares = Counter(order[0] for order in firsts.values())
    assert all(150 < share < 250 for share in shares.values()), shares
    left = {sender: ranked(sender, HUBS[1:])[0] for sender in firsts}
    moved = {sender for sender in firsts if left[sender] != firsts[sender][0]}
    assert moved == {sender for sender in firsts if firsts[sender][0] == HUBS[0]}
    assert all(30 < share < 80 for share in Counter(left[sender] for sender in moved).values())


def _reply(hub: bytes, **fields: Any) -> bytes:
    return pb.PushReply(hub=hub, **fields).SerializeToString()


def _refusal(reason: RefusalReason, wait_s: float = 0.0) -> dict[str, Any]:
    return {"refusals": [pb.Refusal(reason=reason.value, wait_ms=round(1000 * wait_s))]}  # type: ignore[arg-type]


class _Hubs:
    """Links that acknowledge, after a delay, or answer with something else, or raise."""

    def __init__(self) -> None:
        self.delay_s: dict[bytes, float] = {}
        self.errors: dict[bytes, Exception] = {}
        self.replies: dict[bytes, bytes] = {}
        self.pushed: list[bytes] = []
        self.probed: list[bytes] = []
        self.open: set[bytes] = set()
        self.active = set(HUBS)

    @asynccontextmanager
    async def link(self, hub: bytes) -> AsyncIterator[Link]:
        hubs = self

        class Way:
            async def push(self, request: bytes) -> bytes:
                hubs.pushed.append(hub)
                await hubs.answer(hub)
                return hubs.replies.get(hub, b"") or _reply(hub, acks=[pb.Ack(epoch=1)])

            async def membership(self) -> bytes:
                hubs.probed.append(hub)
                return await hubs.answer(hub)

        self.open.add(hub)
        yield Way()
        self.open.remove(hub)

    async def answer(self, hub: bytes) -> bytes:
        await anyio.sleep(self.delay_s.get(hub, 0))
        if hub in self.errors:
            raise self.errors[hub]
        return hub


def _run(story: Callable[[_Hubs, ShardLink], Awaitable[None]]) -> None:
    async def main() -> None:
        hubs = _Hubs()
        link = ShardLink(ME, lambda: hubs.active, hubs.link, SystemClock(), QUICK, Random(1))
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(link.watch)
                await story(hubs, link)
                tasks.cancel_scope.cancel()
        assert hubs.open == set()

    anyio.run(main)


async def taker(link: ShardLink, request: bytes) -> bytes:
    """The hub that took it."""
    return decode_reply(await link.push(request)).hub


async def until_true(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - what is waited for sets no event
        await anyio.sleep(0.01)


FIRST, SECOND, THIRD, *_ = ranked(ME, HUBS)


@pytest.mark.parametrize("trouble", ["dead", "slow"])
def test_a_hub_that_does_not_answer_in_time_is_left_with_the_same_request(trouble: str) -> None:
    """It goes to the next one at once; the next requests do not try the first again, until it answers a probe."""

    async def story(hubs: _Hubs, link: ShardLink) -> None:
        assert await taker(link, b"1") == FIRST
        if trouble == "dead":
            hubs.errors[FIRST] = LinkError("refused")
        else:
            hubs.delay_s[FIRST] = 5.0
        began_s = anyio.current_time()
        assert await taker(link, b"2") == SECOND
        assert anyio.current_time() - began_s < QUICK.answer_s + 0.3
        assert [await taker(link, b"3") for _ in range(3)] == [SECOND] * 3
        assert hubs.pushed.count(FIRST) == 2
        hubs.errors.clear()
        hubs.delay_s.clear()
        await until_true(lambda: link.hubs[0] == FIRST)
        assert await taker(link, b"4") == FIRST
        assert hubs.probed[-1] == FIRST and hubs.pushed.count(FIRST) == 3

    _run(story)


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(_reply(FIRST, **_refusal(RefusalReason.STORE, 1.0)), id="its disk is full"),
        pytest.param(_reply(FIRST, **_refusal(RefusalReason.NOT_A_MEMBER)), id="its roster is old"),
        pytest.param(_reply(FIRST), id="it says nothing"),
        pytest.param(b"junk", id="that is no reply"),
    ],
)
def test_a_hub_that_answers_and_takes_nothing_is_left(reply: bytes) -> None:
    """Only an ack counts: what this hub cannot take now, the next one may."""

    async def story(hubs: _Hubs, link: ShardLink) -> None:
        hubs.replies[FIRST] = reply
        assert [await taker(link, b"1") for _ in range(3)] == [SECOND] * 3
        assert hubs.pushed.count(FIRST) == 1

    _run(story)


def test_a_batch_that_is_refused_for_itself_goes_nowhere_else() -> None:
    """Nor does one that lacks schemas: the hub that says so is as good as any."""

    async def story(hubs: _Hubs, link: ShardLink) -> None:
        for reply in (_reply(FIRST, **_refusal(RefusalReason.TOO_OLD)), _reply(FIRST, need_schemas=[b"s"])):
            hubs.replies[FIRST] = reply
            assert await link.push(b"1") == reply
        assert link.hubs[0] == FIRST

    _run(story)


def test_where_all_were_left_all_are_tried() -> None:
    """One that takes a request counts again; none at all is a failure that names each."""

    async def story(hubs: _Hubs, link: ShardLink) -> None:
        hubs.errors = dict.fromkeys(HUBS, LinkError("refused"))
        with pytest.raises(LinkError) as caught:
            await link.push(b"1")
        assert str(caught.value).count("refused") == len(HUBS)
        del hubs.errors[THIRD]
        assert await taker(link, b"2") == THIRD
        assert link.hubs == [THIRD]

    _run(story)


def test_a_full_hub_rests_as_long_as_it_says_and_a_request_that_is_none_goes_nowhere_else() -> None:
    """The next one takes what the full one does not; junk is junk everywhere."""

    async def story(hubs: _Hubs, link: ShardLink) -> None:
        hubs.errors[FIRST] = LinkError("full", 1.0)
        began_s = anyio.current_time()
        assert await taker(link, b"1") == SECOND
        await until_true(lambda: bool(hubs.probed))
        assert anyio.current_time() - began_s >= 1.0
        hubs.errors[SECOND] = DecodeError("what is this")
        with pytest.raises(DecodeError):
            await link.push(b"2")
        assert link.hubs[0] == SECOND

    _run(story)


def test_whoever_cannot_read_a_probe_is_no_hub_yet() -> None:
    """A proxy in front of the hub answers 400: the hub stays left, and all goes on elsewhere."""

    async def story(hubs: _Hubs, link: ShardLink) -> None:
        first, second, *_ = ranked(ME, HUBS)
        hubs.errors[first] = LinkError("no")
        assert await taker(link, b"1") == second
        hubs.errors[first] = DecodeError("answered 400: Bad Request")
        await until_true(lambda: hubs.probed.count(first) >= 2)
        assert await taker(link, b"2") == second
        del hubs.errors[first]
        await until_true(lambda: hubs.probed.count(first) >= 3)
        await anyio.sleep(0.05)
        assert await taker(link, b"3") == first

    _run(story)


def test_no_hub_is_left_because_our_own_node_is_down() -> None:
    """All were said to rest for longer and longer, and the agent began at whichever came back first."""

    async def story(hubs: _Hubs, link: ShardLink) -> None:
        hubs.errors = dict.fromkeys(HUBS, NodeDownError("not up yet"))
        for _ in range(3):
            with pytest.raises(LinkError):
                await link.push(b"1")
        hubs.errors = {FIRST: LinkError("refused")}
        assert await taker(link, b"2") == SECOND
        hubs.errors[FIRST] = NodeDownError("not up again")
        await until_true(lambda: len(hubs.probed) > 1)
        assert link.hubs[0] == SECOND
        hubs.errors.clear()
        await until_true(lambda: link.hubs[0] == FIRST)

    _run(story)


def test_a_hub_that_leaves_the_fleet_is_asked_no_more() -> None:
    """Its link is closed."""

    async def story(hubs: _Hubs, link: ShardLink) -> None:
        assert await taker(link, b"1") == FIRST
        hubs.active.discard(FIRST)
        assert await taker(link, b"2") == SECOND
        await until_true(lambda: FIRST not in hubs.open)

    _run(story)


def test_agents_come_back_spread_over_their_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred agents left a hub at the same moment: each tenth of the time from half to one and a half rests sees
    some of them, and none sees more than a quarter."""
    monkeypatch.setattr(shard, "_LOOK_S", 0.01)
    came_s: list[float] = []

    async def agent(number: int) -> None:
        hubs = _Hubs()
        hubs.active = {FIRST}
        hubs.errors[FIRST] = LinkError("refused")
        link = ShardLink(ME, lambda: hubs.active, hubs.link, SystemClock(), QUICK, Random(number))
        async with anyio.create_task_group() as tasks:
            with pytest.raises(LinkError):
                await link.push(b"1")
            tasks.start_soon(link.watch)
            await until_true(lambda: bool(hubs.probed))
            came_s.append(anyio.current_time())
            tasks.cancel_scope.cancel()

    async def main() -> None:
        began_s = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for number in range(100):
                tasks.start_soon(agent, number)
        rest_s = QUICK.rest_first_s
        tenths = Counter(int(10 * (at_s - began_s - 0.5 * rest_s) / rest_s) for at_s in came_s)
        assert len(tenths) >= 9 and max(tenths.values()) <= 25, tenths

    anyio.run(main)
