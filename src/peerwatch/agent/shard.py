"""ShardDelivery: each envelope to one of many hubs that share an engine; to another as soon as one does not answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from random import Random
from typing import TypeVar

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from peerwatch.agent.embedded import MakeShipper, OpenLink
from peerwatch.agent.membership_keeper import learn
from peerwatch.agent.shard_answer import Answer, AnswerJudge, SecondOpinions
from peerwatch.agent.ship import Link, Shipper
from peerwatch.errors import LinkError, NodeDownError, PeerError, StoreError
from peerwatch.fleet.membership import Membership
from peerwatch.model import Clock
from peerwatch.spool import Spool
from peerwatch.telemetry import get_logger
from peerwatch.wire.identity import peer_id

RECEIVER = "shard"
MOST_REQUEST_BYTES = 256 << 10
"""So that a slow uplink (half a megabit) does not make a good hub look slow."""
_LOOK_S = 0.5

_log = get_logger("ship")
T = TypeVar("T")


def ranked(sender: bytes, hubs: Iterable[bytes]) -> list[bytes]:
    """The hubs in the order in which this sender prefers them: rendezvous hashing.

    Every hub is the first of as many senders as every other; the senders of one that dies spread over all others, and
    nobody else moves.
    """
    return sorted(hubs, key=lambda hub: sha256(sender + hub).digest())


@dataclass(frozen=True, slots=True)
class ShardConfig:
    """When a hub is left, and when it is looked at again."""

    answer_s: float = 4.0
    """A hub that has not acknowledged by then is left: the next one has the request within five seconds."""
    rest_first_s: float = 5.0
    """The first rest of a hub that was left, half to one and a half of it by chance."""
    rest_most_s: float = 60.0
    """Rests double up to this, so that a thousand agents come back to a hub spread over a minute."""


class _State(Enum):
    RESTING = "resting"
    PROBED = "probed"
    BACK = "back"


@dataclass(slots=True)
class _Rest:
    """A hub that was left. It is remembered for a while after it is back: one that fails again rests longer."""

    wait_s: float
    until_s: float
    state: _State = _State.RESTING


async def _membership(link: Link) -> bytes:
    """Raises LinkError only: whoever cannot read this question, a proxy in front of the hub, say, is not the hub."""
    try:
        return await link.membership()
    except PeerError as error:
        raise LinkError(str(error)) from error


class ShardLink:
    """A link to whichever hub is preferred of those that answer. Owned by the delivery, which runs `watch` meanwhile.

    A request goes to the preferred hub that is not resting; when it fails, is late or takes nothing of anybody, the hub
    is left and the same request goes to the next one at once. So it does, once, when the hub refuses what is in it, or
    acknowledges it in a way that cannot be believed: if the next one takes it, the first was at fault and is left; if
    that refuses too, the batch is, and nobody is left for it (`SecondOpinions`).

    A hub that rests is asked for the membership when its time has come, beside everything else, and preferred again
    once it answers: no sample waits for a hub that may be dead; what it tells is learned, as a new certificate may be
    what its acks lacked. Where all rest, all are tried. One that says how long to wait rests at least as long.
    """

    def __init__(
        self,
        sender: bytes,
        membership: Membership,
        active: Callable[[], Iterable[bytes]],
        open_link: OpenLink,
        clock: Clock,
        config: ShardConfig | None = None,
        random: Random | None = None,
    ) -> None:
        self._sender = sender
        self._membership = membership
        self._active = active
        self._open_link = open_link
        self._clock = clock
        self._config = config or ShardConfig()
        self._random = random or Random()
        self._judge = AnswerJudge(membership, sender, clock)
        self._opinions = SecondOpinions(clock, self._config.rest_first_s, self._config.rest_most_s)
        self._links: dict[bytes, tuple[Link, AsyncExitStack]] = {}
        self._rests: dict[bytes, _Rest] = {}
        self._opening = anyio.Lock()

    @property
    def hubs(self) -> list[bytes]:
        """The hubs to be tried, in order."""
        order = ranked(self._sender, self._active())
        return [hub for hub in order if not self._is_resting(hub)] or order

    async def push(self, request: bytes) -> bytes:
        """Deliver a push request. Raises LinkError when no hub took it, DecodeError as `Link.push` does."""

        async def pushed(link: Link) -> Answer:
            return await self._judge.push(link, request)

        hub, answer, others = await self._first(self.hubs, pushed)
        if answer.took:
            self._opinions.taken()
        if answer.doubt:
            return await self._contested(hub, answer, others, pushed)
        return answer.outcome()

    async def _contested(
        self, hub: bytes, answer: Answer, others: list[bytes], pushed: Callable[[Link], Awaitable[Answer]]
    ) -> bytes:
        """Ask another hub about what this one did not take: the outcome is that one's where it knows better."""
        try:
            _, second, _ = await self._first(self._opinions.order(others), pushed)
        except LinkError:
            return answer.outcome()
        if second.took:
            self._leave(hub, LinkError(answer.doubt))
            self._opinions.taken()
        if second.doubt:
            self._opinions.agreed()
            return answer.outcome()
        return second.outcome()

    async def membership(self) -> bytes:
        """The signed word of a hub on who the hubs are."""
        return (await self._first(self.hubs, _membership))[1]

    async def watch(self) -> None:
        """Look after the hubs that were left, until cancelled; then the links are closed."""
        try:
            async with anyio.create_task_group() as probes:
                while True:
                    await self._look(probes)
                    await anyio.sleep(_LOOK_S)
        finally:
            with anyio.CancelScope(shield=True):
                await self._keep_only(())

    async def _look(self, probes: TaskGroup) -> None:
        active = set(self._active())
        await self._keep_only(active)
        now_s = self._clock.monotonic_s()
        for hub, rest in list(self._rests.items()):
            if hub not in active or (rest.state is _State.BACK and now_s > rest.until_s):
                del self._rests[hub]
            elif rest.state is _State.RESTING and now_s > rest.until_s:
                rest.state = _State.PROBED
                probes.start_soon(self._probe, hub, rest)

    async def _first(self, hubs: list[bytes], ask: Callable[[Link], Awaitable[T]]) -> tuple[bytes, T, list[bytes]]:
        """The first of these hubs that answers, its answer, and those behind it. Raises LinkError where none does."""
        failures: list[str] = []
        wait_s: float | None = None
        for index, hub in enumerate(hubs):
            try:
                return hub, await self._asked(hub, ask), hubs[index + 1 :]
            except LinkError as error:
                failures.append(f"{peer_id(hub)}: {error}")
                wait_s = error.wait_s or wait_s
        raise LinkError("; ".join(failures) or "the fleet has no hub", wait_s)

    async def _asked(self, hub: bytes, ask: Callable[[Link], Awaitable[T]]) -> T:
        """The hub's answer in time. Raises LinkError when there is none; the hub then rests, if it was asked at all."""
        answer_s = self._config.answer_s
        try:
            with anyio.fail_after(answer_s):
                answer = await ask(await self._link(hub))
        except TimeoutError as error:
            failure = LinkError(f"no answer within {answer_s:g} s")
            self._leave(hub, failure)
            raise failure from error
        except NodeDownError:
            raise
        except LinkError as error:
            self._leave(hub, error)
            raise
        self._answered(hub)
        return answer

    async def _probe(self, hub: bytes, rest: _Rest) -> None:
        try:
            learn(self._membership, await self._asked(hub, _membership), self._clock.now_ms())
        except NodeDownError:
            rest.state = _State.RESTING  # nobody was asked: it is looked at again at once
        except LinkError:
            pass  # it rests longer now
        except (PeerError, StoreError) as error:
            _log.warning("membership not refreshed", hub=peer_id(hub), reason=str(error))

    def _answered(self, hub: bytes) -> None:
        rest = self._rests.get(hub)
        if rest is not None and rest.state is not _State.BACK:
            rest.state, rest.until_s = _State.BACK, self._clock.monotonic_s() + self._config.rest_most_s
            _log.info("hub answers again", hub=peer_id(hub))

    def _leave(self, hub: bytes, error: LinkError) -> None:
        config, rest = self._config, self._rests.get(hub)
        if rest is not None and rest.state is _State.RESTING:
            return  # another request has said so already
        wait_s = error.wait_s or (config.rest_first_s if rest is None else 2 * rest.wait_s)
        wait_s = min(wait_s, config.rest_most_s)
        rest_s = wait_s * self._random.uniform(1.0 if error.wait_s else 0.5, 1.5)
        self._rests[hub] = _Rest(wait_s, self._clock.monotonic_s() + rest_s)
        _log.warning("hub left", hub=peer_id(hub), reason=str(error), again_s=round(rest_s, 1))

    def _is_resting(self, hub: bytes) -> bool:
        rest = self._rests.get(hub)
        return rest is not None and rest.state is not _State.BACK

    async def _link(self, hub: bytes) -> Link:
        async with self._opening:
            if hub not in self._links:
                stack = AsyncExitStack()
                self._links[hub] = (await stack.enter_async_context(self._open_link(hub)), stack)
            return self._links[hub][0]

    async def _keep_only(self, hubs: Iterable[bytes]) -> None:
        for hub in self._links.keys() - set(hubs):
            await self._links.pop(hub)[1].aclose()


class ShardDelivery:
    """One shipper and one cursor, whichever hub acknowledges. Owned by the agent's role."""

    def __init__(self, spool: Spool, link: ShardLink, make_shipper: MakeShipper) -> None:
        self._spool = spool
        self._link = link
        self._shipper: Shipper = make_shipper(RECEIVER, b"", link)
        self._scope = anyio.CancelScope()
        self._drain_s: float | None = None
        self._ended = anyio.Event()

    @property
    def hubs(self) -> list[bytes]:
        """The hub that is delivered to."""
        return self._link.hubs[:1]

    @property
    def last_ack_ms(self) -> int:
        """When a hub last acknowledged something; 0: never."""
        return self._shipper.last_ack_ms

    def wake(self) -> None:
        """Something new is in the spool."""
        self._shipper.wake()

    async def run(self) -> None:
        """Deliver until `drain`, or until cancelled."""
        try:
            for receiver in set(self._spool.receivers()) - {RECEIVER}:  # of another mode
                try:
                    await anyio.to_thread.run_sync(self._spool.forget, receiver)
                except StoreError as error:
                    _log.warning("spool cursor not removed", receiver=receiver, reason=str(error))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._link.watch)
                with self._scope:
                    await self._shipper.run()
                if self._drain_s is not None:
                    await self._shipper.drain(self._drain_s)
                tasks.cancel_scope.cancel()
        finally:
            self._ended.set()

    async def drain(self, most_s: float) -> int:
        """End `run`: deliver what is fresh, for at most `most_s`; how many batches remain."""
        self._drain_s = most_s
        self._scope.cancel()
        await self._ended.wait()
        return self._shipper.pending
