"""What is acknowledged is stored, once; what is not stored is not acknowledged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import ceil

import anyio
import anyio.lowlevel
import pytest

from peerwatch.collector.collector import PushResult
from peerwatch.errors import StoreError
from peerwatch.spool import Position
from peerwatch.testing.sample_store import MemorySampleStore
from peerwatch.wire.batch import encode_batch
from peerwatch.wire.identity import Verifier
from peerwatch.wire.push import PushReply, Refusal, RefusalReason
from peerwatch.wire.run_root import open_run
from peerwatch.wire.schema import Schema
from tests.collector.kit import EPOCH, Agent, Hub, acked, batch, only_refusal

MakeHub = Callable[..., Hub]


async def _until(true: Callable[[], bool]) -> None:
    """Let the other tasks run until something holds."""
    with anyio.fail_after(5):
        while not true():
            await anyio.lowlevel.checkpoint()


def _settled(hub: Hub) -> bool:
    return hub.metric("waiting_bytes") == 0


def test_a_batch_is_stored_and_acknowledged(hub: Hub) -> None:
    """The ack is signed for this fleet and sender, and names the number and the roster's version."""
    agent = hub.agent()
    (reply,) = hub.push(agent.request(agent.seal(batch([[1.0, 2.0]]))))
    (ack,) = reply.acks
    ack.verify(Verifier(hub.authority.keys.signing.public), agent.fleet, agent.sender)
    assert (ack.epoch, ack.runs) == (EPOCH, ((0, 0),))
    assert ack.roster_version == hub.authority.membership.roster.version
    assert (reply.hub, reply.hub_time_ms) == (hub.authority.member, EPOCH)
    assert list(hub.store.cells.values()) == [{EPOCH: 0x3FF0000000000000, EPOCH + 5000: 0x4000000000000000}]
    assert hub.metric("samples_total") == 2


def test_a_repeat_is_acknowledged_again_and_stored_once(hub: Hub) -> None:
    """Acks get lost; the sender must be able to ask again."""
    agent = hub.agent()
    sealed = agent.seal()
    replies = hub.push(agent.request(sealed), agent.request(sealed), agent.request(sealed, sealed))
    assert [acked(reply) for reply in replies] == [[(EPOCH, 0)]] * 3
    assert set(hub.store.envelopes.values()) == {1}
    assert hub.metric("batches_total", result="duplicate") == 3


def test_a_repeat_while_the_first_is_being_stored_waits_for_it(hub: Hub) -> None:
    """Both callers get an ack, and it is stored once."""
    agent = hub.agent()
    sealed = agent.seal()
    request = agent.request(sealed)

    async def story() -> list[PushReply]:
        replies: list[PushReply] = []

        async def push() -> None:
            replies.append(hub.read(await hub.collector.push(request)))

        hub.store.pause()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(push)
            await _until(lambda: hub.metric("waiting_bytes") > 0)
            tasks.start_soon(push)
            await _until(lambda: hub.metric("batches_total", result="duplicate") == 1)
            assert replies == []
            hub.store.resume()
        return replies

    assert [acked(reply) for reply in hub.run(story)] == [[(EPOCH, 0)]] * 2
    assert set(hub.store.envelopes.values()) == {1}
    assert hub.metric("batches_total", result="stored") == 1


def test_a_repeat_after_a_restart_of_the_hub_is_stored_once(hub: Hub) -> None:
    """The numbers are the store's to remember."""
    agent = hub.agent()
    sealed = agent.seal()
    hub.push(agent.request(sealed))
    hub.restart()
    (reply,) = hub.push(agent.request(sealed))
    assert acked(reply) == [(EPOCH, 0)]
    assert set(hub.store.envelopes.values()) == {1}


def _twins(hub: Hub) -> tuple[bytes, bytes]:
    """Two machines with one identity that send under one number."""
    agent = hub.agent()
    twin = Agent(hub.authority.fleet, key=agent.key)
    return agent.request(agent.seal(batch([[1.0]]))), twin.request(twin.seal(batch([[2.0]])))


CLONED = Refusal(
    EPOCH,
    0,
    RefusalReason.CLONED,
    f"web-1: number {EPOCH}/0 came twice with different content; "
    "two machines use one identity: stop one, remove its data folder and join again",
    300.0,
)


def test_a_cloned_identity_is_reported(hub: Hub) -> None:
    """The same number with other content is refused, and its sender keeps it."""
    one, other = _twins(hub)
    replies = hub.push(one, other)
    assert only_refusal(replies[1]) == CLONED
    assert not CLONED.reason.final
    assert list(hub.store.cells.values()) == [{EPOCH: 0x3FF0000000000000}]


def test_a_clone_is_noticed_while_the_first_is_being_stored(hub: Hub) -> None:
    """It must not get the other one's ack."""
    one, other = _twins(hub)

    async def story() -> PushReply:
        hub.store.pause()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hub.collector.push, one)
            await _until(lambda: hub.metric("waiting_bytes") > 0)
            reply = hub.read(await hub.collector.push(other))
            hub.store.resume()
        return reply

    assert only_refusal(hub.run(story)) == CLONED


def test_a_number_that_failed_may_come_with_other_content(hub: Hub) -> None:
    """What was not stored is forgotten wholly."""
    one, other = _twins(hub)
    hub.store.fail()
    replies = hub.push(one, other)
    assert only_refusal(replies[0]).reason is RefusalReason.STORE
    assert acked(replies[1]) == [(EPOCH, 0)]


def test_a_floor_in_a_later_epoch_closes_the_earlier_ones(hub: Hub) -> None:
    """The store may forget their numbers; the sender's own run goes on."""
    old = hub.agent()
    new = Agent(hub.authority.fleet, key=old.key, epoch=EPOCH + 7)
    hub.push(
        old.request(old.seal()),
        new.request(new.seal(floor=Position(EPOCH, 1))),
        new.request(new.seal(floor=None)),
        new.request(new.seal(floor=None)),
    )
    kept = sorted((epoch, list(runs)) for _, epoch, runs in hub.store.marks())
    assert kept == [(0, [(0, EPOCH + 6)]), (EPOCH + 7, [(0, 2)])]
    assert hub.store.marks().floors() == {old.sender: EPOCH + 7}


def test_a_replay_is_refused_also_after_a_restart_of_the_hub(hub: Hub) -> None:
    """What was captured, of a closed epoch or an open one, stored once or never: none of it is stored by a replay."""
    old = hub.agent()
    new = Agent(hub.authority.fleet, key=old.key, epoch=EPOCH + 7)
    stored, never = old.request(old.seal()), old.request(old.seal())
    fresh = new.request(new.seal(floor=None))
    hub.push(stored, fresh, new.request(new.seal(floor=None)))
    hub.restart()
    replies = hub.push(stored, never, fresh)
    assert [only_refusal(reply).reason for reply in replies[:2]] == [RefusalReason.CLONED] * 2
    assert acked(replies[2]) == [(EPOCH + 7, 0)]
    assert [number[1:] for number in hub.store.envelopes] == [(EPOCH, 0), (EPOCH + 7, 0), (EPOCH + 7, 1)]


def test_what_lies_below_the_floor_is_never_acknowledged_unstored(hub: Hub) -> None:
    """A clone that started earlier would lose its samples by such an ack; a replay must not be stored again."""
    late = hub.agent()
    early = Agent(hub.authority.fleet, key=late.key, epoch=EPOCH - 7)
    lost = early.request(early.seal())
    replies = hub.push(late.request(late.seal(floor=None)), lost)
    words = (
        f"web-1: number {EPOCH - 7}/0 lies below {EPOCH}/0, which it called its lowest still to come; "
        "two machines use one identity: stop one, remove its data folder and join again"
    )
    assert only_refusal(replies[1]) == Refusal(EPOCH - 7, 0, RefusalReason.CLONED, words, 300.0)
    assert len(hub.store.envelopes) == 1


def test_a_stored_number_below_the_floor_is_acknowledged_again(hub: Hub) -> None:
    """As long as its epoch is open the hub knows that it has it."""
    agent = hub.agent()
    first = agent.seal()
    replies = hub.push(agent.request(first), agent.request(agent.seal(floor=Position(EPOCH, 1))), agent.request(first))
    assert acked(replies[2]) == [(EPOCH, 0)]


def test_gaps_in_a_senders_numbers_are_bounded(make_hub: MakeHub) -> None:
    """Numbers that extend a run are still taken, and a new epoch that closes the old one frees them."""
    hub = make_hub(max_runs_per_sender=2)
    agent = hub.agent()
    body = encode_batch(batch([[1.0]]), Schema.of)
    learn = agent.request(agent.seal())
    numbers = [agent.forged(body, seq=seq) for seq in (2, 4, 1)]
    closing = agent.forged(body, epoch=EPOCH + 1, seq=0, floor_epoch=EPOCH + 1)
    replies = hub.push(learn, *numbers, closing)
    assert [len(acked(reply)) for reply in replies] == [1, 1, 0, 1, 1]
    assert only_refusal(replies[2]).message == (
        f"web-1: number {EPOCH}/4 would be run 3 of this sender's numbers, limit 2; a restart of the agent closes them"
    )


def test_a_sender_that_is_too_fast_waits(make_hub: MakeHub) -> None:
    """429 with the time until there is room, and nothing is looked at meanwhile."""
    hub = make_hub(max_bytes_per_s=100.0, burst_bytes=300)
    agent = hub.agent()
    first, second = agent.request(agent.seal()), agent.request(agent.seal())

    async def story() -> tuple[PushResult, PushReply]:
        while not hub.read(await hub.collector.push(first)).acks:  # the schema is charged too
            hub.clock.advance(1.0)
        result = await hub.collector.push(second)
        hub.clock.advance((result.wait_s or 0.0) + 0.001)
        return result, hub.read(await hub.collector.push(second))

    full, later = hub.run(story)
    refusal = only_refusal(hub.read(full))
    assert full.wait_s is not None and 0 < full.wait_s <= 3
    assert (refusal.reason, refusal.message) == (
        RefusalReason.QUOTA,
        "web-1: sends more than 100 bytes/s, the limit",
    )
    assert acked(later) == [(EPOCH, 1)]


def test_strangers_cannot_use_up_a_members_quota(make_hub: MakeHub) -> None:
    """Only what bears its signature is charged to it."""
    hub = make_hub(max_bytes_per_s=1.0, burst_bytes=2000)
    agent = hub.agent()
    thief = Agent(hub.authority.fleet)
    thief.sender = agent.sender
    replies = hub.push(*[thief.forged(bytes(1000))] * 10, agent.request(agent.seal()))
    assert acked(replies[-1]) == [(EPOCH, 0)]


def test_a_full_queue_is_429_and_nothing_is_taken(make_hub: MakeHub) -> None:
    """Waiting is bounded in bytes over all senders; when the disk has caught up the same push is stored."""
    hub = make_hub(max_waiting_bytes=300)
    agent = hub.agent()
    hub.push(agent.request(agent.seal()))
    hub.restart()
    first, second = agent.request(agent.seal()), agent.request(agent.seal())

    async def story() -> tuple[PushResult, PushReply]:
        hub.store.pause()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hub.collector.push, first)
            await _until(lambda: hub.metric("waiting_bytes") > 0)
            full = await hub.collector.push(second)
            hub.store.resume()
        await _until(lambda: _settled(hub))
        return full, hub.read(await hub.collector.push(second))

    full, later = hub.run(story)
    refusal = only_refusal(hub.read(full))
    assert full.wait_s == 2.0
    assert refusal.message.endswith("bytes would wait for the disk, limit 300")
    assert acked(later) == [(EPOCH, 2)]


def test_a_store_that_fails_acknowledges_nothing(hub: Hub) -> None:
    """The sender is told why and when to try again, and then it is stored."""
    agent = hub.agent()
    request = agent.request(agent.seal())
    hub.store.fail(StoreError("disk full: 0 bytes free"), times=2)
    replies = hub.push(request, request, request)
    wanted = Refusal(EPOCH, 0, RefusalReason.STORE, "disk full: 0 bytes free", 2.0)
    assert [only_refusal(reply) for reply in replies[:2]] == [wanted, wanted]
    assert acked(replies[2]) == [(EPOCH, 0)]
    assert set(hub.store.envelopes.values()) == {1}
    assert hub.metric("commit_failures_total") == 2


def test_a_store_that_is_full_says_so(make_hub: MakeHub) -> None:
    """Its own words reach the sender."""
    hub = make_hub(store=MemorySampleStore(max_cells=1))
    agent = hub.agent()
    replies = hub.push(agent.request(agent.seal()), agent.request(agent.seal(batch([[1.0, 2.0]]))))
    assert acked(replies[0]) == [(EPOCH, 0)]
    assert only_refusal(replies[1]).message == "store: 3 samples, limit 1"


def test_a_store_that_cannot_learn_series_refuses_the_batch(hub: Hub) -> None:
    """Not only appends fail."""
    agent = hub.agent()
    request = agent.request(agent.seal())
    hub.store.fail_layout()
    replies = hub.push(request, request)
    assert only_refusal(replies[0]) == Refusal(
        EPOCH, 0, RefusalReason.STORE, "the dictionary cannot be written", 2.0
    )  # fmt: skip
    assert acked(replies[1]) == [(EPOCH, 0)]


def test_a_bug_in_the_store_stops_only_the_batch_that_brings_it_out(hub: Hub) -> None:
    """The batches beside it in its group are stored."""
    agents = [hub.agent(f"host-{number}") for number in range(3)]
    known = [agent.request(agent.seal()) for agent in agents]
    requests = [agent.request(agent.seal()) for agent in agents]

    async def story() -> list[PushReply]:
        replies: list[PushReply] = []

        async def push(request: bytes) -> None:
            replies.append(hub.read(await hub.collector.push(request)))

        for request in known:
            await hub.collector.push(request)
        hub.store.pause()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(push, agents[0].request(agents[0].seal()))
            await _until(lambda: hub.metric("waiting_bytes") > 0)
            one = hub.metric("waiting_bytes")
            for request in requests:
                tasks.start_soon(push, request)
            await _until(lambda: hub.metric("waiting_bytes") > 3.5 * one)
            # first the group of one, then the group of three as a whole, then one by one
            hub.store.fail(RuntimeError("bug"), times=3)
            hub.store.resume()
        return replies

    replies = hub.run(story)
    refused = [reply.refusals[0] for reply in replies if reply.refusals]
    assert [one.message for one in refused] == ["the store failed: RuntimeError('bug')"] * 2
    assert sum(len(acked(reply)) for reply in replies) == 2


@pytest.mark.parametrize("outcome", ["stored", "failed"])
def test_a_caller_that_leaves_loses_the_answer_and_nothing_else(hub: Hub, outcome: str) -> None:
    """The batch is committed (or fails) all the same, and the next push finds clean books."""
    agent = hub.agent()
    request = agent.request(agent.seal())

    async def story() -> PushReply:
        hub.store.pause()
        if outcome == "failed":
            hub.store.fail()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hub.collector.push, request)
            await _until(lambda: hub.metric("waiting_bytes") > 0)
            tasks.cancel_scope.cancel()
        hub.store.resume()
        await _until(lambda: _settled(hub))
        return hub.read(await hub.collector.push(request))

    assert acked(hub.run(story)) == [(EPOCH, 0)]
    assert set(hub.store.envelopes.values()) == {1}
    assert hub.metric("waiting_bytes") == 0


def test_many_pushes_share_few_commits(hub: Hub) -> None:
    """While one group is being written the next one gathers; each push gets its own ack under one signature."""
    agents = [hub.agent(f"host-{number}") for number in range(20)]
    known = [agent.request(agent.seal()) for agent in agents]
    requests = [agent.request(agent.seal(), agent.seal()) for agent in agents]

    async def story() -> list[PushReply]:
        replies: list[PushReply] = []

        async def push(request: bytes) -> None:
            replies.append(hub.read(await hub.collector.push(request)))

        for request in known:
            await hub.collector.push(request)
        hub.store.appends.clear()
        hub.store.pause()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(push, requests[0])
            await _until(lambda: hub.metric("waiting_bytes") > 0)
            one = hub.metric("waiting_bytes")
            for request in requests[1:]:
                tasks.start_soon(push, request)
            await _until(lambda: hub.metric("waiting_bytes") > 19.5 * one)
            hub.store.resume()
        return replies

    replies = hub.run(story)
    assert [acked(reply) for reply in replies] == [[(EPOCH, 1), (EPOCH, 2)]] * 20
    assert sum(hub.store.appends) == 40 and len(hub.store.appends) == 2
    signatures = {ack.signature for reply in replies for ack in reply.acks}
    assert len(signatures) == sum(ceil(count / 8) for count in hub.store.appends)


def _story_of_ending(hub: Hub, end: Callable[[], Awaitable[None]]) -> list[PushReply]:
    agent = hub.agent()
    requests = [agent.request(agent.seal()) for _ in range(3)]

    async def story() -> list[PushReply]:
        replies: list[PushReply] = []

        async def push(request: bytes) -> None:
            replies.append(hub.read(await hub.collector.push(request)))

        hub.store.pause()
        async with anyio.create_task_group() as tasks:
            for request in requests:
                tasks.start_soon(push, request)
            await _until(lambda: hub.metric("batches_total", result="need_schema") == 0 and not _settled(hub))
            await end()
            hub.store.resume()
        late = agent.request(agent.seal())
        replies.append(hub.read(await hub.collector.push(late)))
        return replies

    return hub.run(story)


def test_closing_drains(hub: Hub) -> None:
    """What was accepted is stored and acknowledged; what comes later is told to wait."""

    async def end() -> None:
        hub.collector.close()

    replies = _story_of_ending(hub, end)
    assert hub.metric("waiting_bytes") == 0
    assert only_refusal(replies[-1]).message == "the hub is stopping"
    stored = {number for reply in replies for number in acked(reply)}
    assert stored == {(epoch, seq) for _, epoch, seq in hub.store.envelopes}


def test_cancelling_the_collector_leaves_nobody_waiting(hub: Hub) -> None:
    """Whatever it had accepted is committed first, and every caller gets an answer."""
    agent = hub.agent()
    hub.push(agent.request(agent.seal()))
    hub.restart()
    requests = [agent.request(agent.seal()) for _ in range(5)]
    replies: list[PushReply] = []

    async def push(request: bytes) -> None:
        replies.append(hub.read(await hub.collector.push(request)))

    async def main() -> None:
        with anyio.fail_after(10):
            async with anyio.create_task_group() as callers, anyio.create_task_group() as tasks:
                await tasks.start(hub.collector.run)
                hub.store.pause()
                callers.start_soon(push, requests[0])
                await _until(lambda: not _settled(hub))
                for request in requests[1:]:
                    callers.start_soon(push, request)
                await anyio.lowlevel.checkpoint()
                await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
                hub.store.resume()

    anyio.run(main)
    assert len(replies) == 5
    assert sum(len(acked(reply)) for reply in replies) == len(hub.store.envelopes) - 1


def test_a_signed_run_is_kept_with_the_envelope_that_brings_it(hub: Hub) -> None:
    """The 64th batch brings the agent's signature over all 64."""
    agent = hub.agent()
    hub.push(*[agent.request(agent.seal(batch([[1.0]], at_ms=EPOCH + number))) for number in range(64)])
    (raw,) = hub.store.run_roots
    assert open_run(raw, Verifier(agent.key.public)).root.last_seq == 63
