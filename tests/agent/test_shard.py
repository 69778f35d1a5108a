"""One of many hubs takes what an agent sends: which one, when it is left, and when it is preferred again."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import anyio
import pytest

from peerwatch.agent import shard
from peerwatch.agent.shard import ShardConfig, ShardLink, ranked
from peerwatch.agent.ship import Link
from peerwatch.errors import DecodeError, LinkError, NodeDownError
from peerwatch.links import first
from peerwatch.links.first import FirstLink
from peerwatch.model import SystemClock
from peerwatch.wire.envelope import parse_envelope
from peerwatch.wire.identity import PrivateKey
from peerwatch.wire.push import RefusalReason, decode_reply, decode_request
from tests.agent.hub_words import Fleet

HUBS = [bytes([number]) * 32 for number in range(1, 6)]
KEY = PrivateKey(b"m" * 32)
ME = KEY.public
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


Say = Callable[["_Hubs", bytes, int], bytes]
"""What a hub answers: the hubs, this one, and the number of the batch that came."""


def acks(hubs: _Hubs, hub: bytes, seq: int) -> bytes:
    """All is well."""
    return hubs.fleet.ack(hub, [seq])


def refuses(reason: RefusalReason, wait_s: float = 0.0) -> Say:
    """It takes nothing."""
    return lambda hubs, hub, seq: hubs.fleet.refusal(hub, reason, seq, wait_s)


def unreadable(*_: object) -> bytes:
    """A proxy before it takes no such request."""
    raise DecodeError("answered 413: too large")


class _Hubs:
    """Links to hubs of a fleet that acknowledge, after a delay, or answer with something else, or raise.

    With `libp2p` each has two ways: the first one, which may hang, and HTTPS.
    """

    def __init__(self, folder: Path, *, libp2p: bool = False) -> None:
        self.fleet = Fleet(folder, KEY)
        for hub in HUBS:
            self.fleet.know(hub)
        self.libp2p = libp2p
        self.hangs = False
        self.by: list[str] = []
        self.delay_s: dict[bytes, float] = {}
        self.errors: dict[bytes, Exception] = {}
        self.says: dict[bytes, Say] = {}
        self.pushed: list[bytes] = []
        self.probed: list[bytes] = []
        self.certificates: list[bytes] = []
        self.open: set[bytes] = set()
        self.active = set(HUBS)

    @asynccontextmanager
    async def link(self, hub: bytes) -> AsyncIterator[Link]:
        hubs = self

        class Way:
            def __init__(self, name: str) -> None:
                self.name = name

            async def push(self, request: bytes) -> bytes:
                await self._arrive()
                hubs.pushed.append(hub)
                await hubs.answer(hub)
                (raw,) = decode_request(request).envelopes
                return hubs.says.get(hub, acks)(hubs, hub, parse_envelope(raw).header.seq)

            async def membership(self) -> bytes:
                await self._arrive()
                hubs.probed.append(hub)
                await hubs.answer(hub)
                return hubs.fleet.welcome(*hubs.certificates)

            async def _arrive(self) -> None:
                hubs.by.append(self.name)
                if hubs.hangs and self.name == "p2p":
                    await anyio.sleep_forever()

        self.open.add(hub)
        yield FirstLink([Way("p2p"), Way("https")]) if self.libp2p else Way("https")
        self.open.remove(hub)

    async def answer(self, hub: bytes) -> None:
        await anyio.sleep(self.delay_s.get(hub, 0))
        if hub in self.errors:
            raise self.errors[hub]

    def shard_link(self, random: int = 1) -> ShardLink:
        """The agent's."""
        return ShardLink(
            ME, self.fleet.membership, lambda: self.active, self.link, SystemClock(), QUICK, Random(random)
        )

    async def taker(self, link: ShardLink) -> bytes:
        """The hub that takes the agent's next batch."""
        reply = decode_reply(await link.push(self.fleet.sealed()[1]))
        assert reply.acks, reply
        return reply.hub


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., None]:
    """Tell a story of hubs and a link; all links are closed at its end."""

    def tell(story: Callable[[_Hubs, ShardLink], Awaitable[None]], *, libp2p: bool = False) -> None:
        async def main() -> None:
            hubs = _Hubs(tmp_path, libp2p=libp2p)
            link = hubs.shard_link()
            with anyio.fail_after(20):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(link.watch)
                    await story(hubs, link)
                    tasks.cancel_scope.cancel()
            assert hubs.open == set()

        anyio.run(main)

    return tell


Run = Callable[..., None]


async def until_true(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - what is waited for sets no event
        await anyio.sleep(0.01)


FIRST, SECOND, THIRD, FOURTH, _ = ranked(ME, HUBS)


@pytest.mark.parametrize("trouble", ["dead", "slow"])
def test_a_hub_that_does_not_answer_in_time_is_left_with_the_same_request(run: Run, trouble: str) -> None:
    """It goes to the next one at once; the next requests do not try the first again, until it answers a probe."""

    async def story(hubs: _Hubs, link: ShardLink) -> None:
        assert await hubs.taker(link) == FIRST
        if trouble == "dead":
            hubs.errors[FIRST] = LinkError("refused")
        else:
            hubs.delay_s[FIRST] = 5.0
        began_s = anyio.current_time()
        assert await hubs.taker(link) == SECOND
        assert anyio.current_time() - began_s < QUICK.answer_s + 0.3
        assert [await hubs.taker(link) for _ in range(3)] == [SECOND] * 3
        assert hubs.pushed.count(FIRST) == 2
        hubs.errors.clear()
        hubs.delay_s.clear()
        await until_true(lambda: link.hubs[0] == FIRST)
        assert await hubs.taker(link) == FIRST
        assert hubs.probed[-1] == FIRST and hubs.pushed.count(FIRST) == 3

    run(story)


@pytest.mark.parametrize(
    "say",
    [
        pytest.param(refuses(RefusalReason.STORE, 1.0), id="its disk is full"),
        pytest.param(refuses(RefusalReason.NOT_A_MEMBER), id="its roster is old"),
        pytest.param(refuses(RefusalReason.FUTURE, 30.0), id="its clock is behind"),
        pytest.param(refuses(RefusalReason.TOO_OLD), id="its clock is ahead"),
        pytest.param(refuses(RefusalReason.MALFORMED), id="it is of an older version"),
        pytest.param(unreadable, id="a proxy before it takes no such request"),
        pytest.param(lambda hubs, hub, _: hubs.fleet.silence(hub), id="it says nothing"),
        pytest.param(lambda *_: b"junk", id="that is no reply"),
        pytest.param(
            lambda hubs, hub, seq: hubs.fleet.ack(hub, [seq], by=PrivateKey.generate()), id="its ack does not verify"
        ),
        pytest.param(lambda hubs, hub, seq: hubs.fleet.ack(hub, [seq + 1]), id="it acknowledges something else"),
    ],
)
def test_a_hub_that_answers_and_takes_nothing_is_left(run: Run, say: Say) -> None:
    """Only an ack counts, that can be believed and is for what was sent: what this hub does not take, the next does."""

    async def story(hubs: _Hubs, link: ShardLink) -> None:
        hubs.says[FIRST] = say
        assert [await hubs.taker(link) for _ in range(3)] == [SECOND] * 3
        assert hubs.pushed == [FIRST, SECOND, SECOND, SECOND]

    run(story)


@pytest.mark.parametrize("reason", [RefusalReason.CLONED, RefusalReason.SERIES_LIMIT])
def test_a_batch_that_this_hub_cannot_have_goes_nowhere_else(run: Run, reason: RefusalReason) -> None:
    """It follows from what that hub has taken before. Nor does one that lacks schemas: all hubs ask for those."""

    async def story(hubs: _Hubs, link: ShardLink) -> None:
        for say in (refuses(reason), lambda hubs, hub, _: hubs.fleet.asks(hub)):
            hubs.says[FIRST] = say
            assert not decode_reply(await link.push(hubs.fleet.sealed()[1])).acks
        assert hubs.pushed == [FIRST, FIRST] and link.hubs[0] == FIRST

    run(story)


@pytest.mark.parametrize("reason", [RefusalReason.FUTURE, RefusalReason.MALFORMED, RefusalReason.NOT_A_MEMBER])
def test_a_batch_that_two_hubs_refuse_is_at_fault_and_no_hub_is_left_for_it(run: Run, reason: RefusalReason) -> None:
    """It does not walk through all of them; and for a while nobody else is asked about what the first one refuses."""

    async def story(hubs: _Hubs, link: ShardLink) -> None:
        hubs.says = dict.fromkeys(HUBS, refuses(reason))
        for _ in range(3):
            assert decode_reply(await link.push(hubs.fleet.sealed()[1])).refusals[0].reason is reason
        assert hubs.pushed == [FIRST, SECOND, FIRST, FIRST]
        assert link.hubs == ranked(ME, HUBS)

    run(story)


def test_two_hubs_with_the_same_wrong_clock_do_not_agree_for_ever(run: Run) -> None:
    """The next time another one is asked, and those that it proves wrong are left one by one."""

    async def story(hubs: _Hubs, link: ShardLink) -> None:
        hubs.says = dict.fromkeys((FIRST, SECOND), refuses(RefusalReason.FUTURE))
        await link.push(hubs.fleet.sealed()[1])
        await anyio.sleep(QUICK.rest_first_s + 0.01)
        assert await hubs.taker(link) == THIRD
        assert await hubs.taker(link) == FOURTH
        assert link.hubs[0] == THIRD

    run(story)


def test_a_hub_that_asks_for_schemas_proves_nothing(run: Run) -> None:
    """Once it has them it takes the batch, and that does."""

    async def story(hubs: _Hubs, link: ShardLink) -> None:
        hubs.says = {FIRST: refuses(RefusalReason.FUTURE), SECOND: lambda hubs, hub, _: hubs.fleet.asks(hub)}
        _, request = hubs.fleet.sealed()
        assert decode_reply(await link.push(request)).need_schemas
        assert link.hubs[0] == FIRST
        del hubs.says[SECOND]
        assert decode_reply(await link.push(request)).hub == SECOND
        assert link.hubs[0] == SECOND

    run(story)


def test_a_hub_whose_certificate_is_new_is_believed_once_it_is_asked_again(run: Run) -> None:
    """What it tells when its rest is over is learned."""

    async def story(hubs: _Hubs, link: ShardLink) -> None:
        hubs.certificates = [hubs.fleet.certify(FIRST, serial=2)]
        assert await hubs.taker(link) == SECOND
        await until_true(lambda: link.hubs[0] == FIRST)
        assert await hubs.taker(link) == FIRST

    run(story)


def test_where_libp2p_hangs_it_goes_on_over_https(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same request, at each hub, and nobody is left for it; libp2p has its turn again after its rest."""
    monkeypatch.setattr(first, "_REST_S", 0.5)

    async def story(hubs: _Hubs, link: ShardLink) -> None:
        hubs.hangs = True
        assert [await hubs.taker(link) for _ in range(3)] == [FIRST] * 3
        assert hubs.by == ["p2p", "https", "https", "https"]
        hubs.hangs = False
        await anyio.sleep(0.55)
        assert await hubs.taker(link) == FIRST
        assert hubs.by[-1] == "p2p"

    run(story, libp2p=True)


def test_where_all_were_left_all_are_tried(run: Run) -> None:
    """One that takes a request counts again; none at all is a failure that names each."""

    async def story(hubs: _Hubs, link: ShardLink) -> None:
        hubs.errors = dict.fromkeys(HUBS, LinkError("refused"))
        with pytest.raises(LinkError) as caught:
            await link.push(hubs.fleet.sealed()[1])
        assert str(caught.value).count("refused") == len(HUBS)
        del hubs.errors[THIRD]
        assert await hubs.taker(link) == THIRD
        assert link.hubs == [THIRD]

    run(story)


def test_a_full_hub_rests_as_long_as_it_says(run: Run) -> None:
    """The next one takes what the full one does not."""

    async def story(hubs: _Hubs, link: ShardLink) -> None:
        hubs.errors[FIRST] = LinkError("full", 1.0)
        began_s = anyio.current_time()
        assert await hubs.taker(link) == SECOND
        await until_true(lambda: bool(hubs.probed))
        assert anyio.current_time() - began_s >= 1.0

    run(story)


def test_a_request_that_two_hubs_cannot_read_is_none(run: Run) -> None:
    """Whoever made it is told; no hub is left."""

    async def story(hubs: _Hubs, link: ShardLink) -> None:
        hubs.says = dict.fromkeys(HUBS, unreadable)
        with pytest.raises(DecodeError):
            await link.push(hubs.fleet.sealed()[1])
        assert hubs.pushed == [FIRST, SECOND] and link.hubs == ranked(ME, HUBS)

    run(story)


def test_whoever_cannot_read_a_probe_is_no_hub_yet(run: Run) -> None:
    """A proxy in front of the hub answers 400: the hub stays left, and all goes on elsewhere."""

    async def story(hubs: _Hubs, link: ShardLink) -> None:
        first, second, *_ = ranked(ME, HUBS)
        hubs.errors[first] = LinkError("no")
        assert await hubs.taker(link) == second
        hubs.errors[first] = DecodeError("answered 400: Bad Request")
        await until_true(lambda: hubs.probed.count(first) >= 2)
        assert await hubs.taker(link) == second
        del hubs.errors[first]
        await until_true(lambda: hubs.probed.count(first) >= 3)
        await anyio.sleep(0.05)
        assert await hubs.taker(link) == first

    run(story)


def test_no_hub_is_left_because_our_own_node_is_down(run: Run) -> None:
    """All were said to rest for longer and longer, and the agent began at whichever came back first."""

    async def story(hubs: _Hubs, link: ShardLink) -> None:
        hubs.errors = dict.fromkeys(HUBS, NodeDownError("not up yet"))
        for _ in range(3):
            with pytest.raises(LinkError):
                await link.push(hubs.fleet.sealed()[1])
        hubs.errors = {FIRST: LinkError("refused")}
        assert await hubs.taker(link) == SECOND
        hubs.errors[FIRST] = NodeDownError("not up again")
        await until_true(lambda: len(hubs.probed) > 1)
        assert link.hubs[0] == SECOND
        hubs.errors.clear()
        await until_true(lambda: link.hubs[0] == FIRST)

    run(story)


def test_a_hub_that_leaves_the_fleet_is_asked_no_more(run: Run) -> None:
    """Its link is closed."""

    async def story(hubs: _Hubs, link: ShardLink) -> None:
        assert await hubs.taker(link) == FIRST
        hubs.active.discard(FIRST)
        assert await hubs.taker(link) == SECOND
        await until_true(lambda: FIRST not in hubs.open)

    run(story)


def test_agents_come_back_spread_over_their_rests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred agents left a hub at the same moment: each tenth of the time from half to one and a half rests sees
    some of them, and none sees more than a quarter."""
    monkeypatch.setattr(shard, "_LOOK_S", 0.01)
    came_s: list[float] = []

    async def agent(number: int) -> None:
        hubs = _Hubs(tmp_path)
        hubs.active = {FIRST}
        hubs.errors[FIRST] = LinkError("refused")
        link = hubs.shard_link(number)
        async with anyio.create_task_group() as tasks:
            with pytest.raises(LinkError):
                await link.push(hubs.fleet.sealed()[1])
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
