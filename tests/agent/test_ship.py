"""Whatever the network does, every batch arrives once; and the agent forgets only what its hub has signed for."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatch.agent.ship import Link
from peerwatch.agent.ship_metrics import ShipMetrics
from peerwatch.errors import DecodeError, LinkError
from peerwatch.fleet.keys import load_key
from peerwatch.fleet.membership import new_membership
from peerwatch.fleet.trust import HUB_CERTIFICATE_LIFE_MS, HubCertificate, certify_hub
from peerwatch.model import Batch, Labels, MetricType, Series
from peerwatch.spool import Position
from peerwatch.telemetry import CollectorRegistry
from peerwatch.testing.flaky_link import FlakyLink
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.ack import AckBody, sign_acks
from peerwatch.wire.identity import PrivateKey
from peerwatch.wire.push import Refusal, RefusalReason, ReplyDraft
from peerwatch.wire.schema import Schema
from tests.agent.ship_kit import QUICK, Broken, Recorder, World, positions, until
from tests.collector.kit import EPOCH, batch, series

MakeWorld = Callable[..., World]

STEPS = st.lists(
    st.sampled_from(["produce", "produce", "restart agent", "restart hub", "kill hub", "store fails", "wait"]),
    min_size=3,
    max_size=8,
)
CHANCES = st.sampled_from([0.0, 0.1, 0.4])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), steps=STEPS, lose_request=CHANCES, lose_reply=CHANCES, repeat=CHANCES, late=CHANCES)
def test_every_batch_arrives_exactly_once(
    seed: int, steps: list[str], lose_request: float, lose_reply: float, repeat: float, late: float
) -> None:
    """Whatever is dropped, repeated, delayed, refused or restarted in between."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        flaky = FlakyLink(
            world.link(),
            Random(seed),
            lose_request=lose_request,
            lose_reply=lose_reply,
            repeat=repeat,
            late=late,
            delay_s=0.002,
        )

        async def story() -> None:
            remaining = list(steps)
            while remaining:
                async with world.shipping(world.shipper(flaky)):
                    while remaining and (step := remaining.pop(0)) != "restart agent":
                        await _do(world, step)
                world.restart_agent()
            world.produce(2, _wide)
            flaky.trouble = False
            async with world.shipping(world.shipper(flaky)):
                await until(lambda: world.reader.pending().count == 0)

        world.tell(story, time_flows=True)
        world.assert_all_stored_once()
        assert world.handed_out() == 0
        world.spool.close()


_WIDE = series(*({"row": str(row)} for row in range(40)))


def _wide(number: int) -> Batch:
    """Rows enough for a baseline, which the hub has to ask for."""
    values = [[1e9 * row + number] for row in range(40)]
    return batch(values, of=_WIDE, at_ms=EPOCH - 10**7 + 1000 * number)


async def _do(world: World, step: str) -> None:
    if step == "produce":
        world.produce(3, _wide)
    elif step == "restart hub":
        world.hub.collector.close()
    elif step == "kill hub":
        await world.kill_hub()
    elif step == "store fails":
        world.hub.store.fail(times=3)
    await anyio.sleep(0.005)


def test_fresh_samples_do_not_wait_for_back_fill(world: World) -> None:
    """After an outage the newest go out at once, while the request with the oldest is still on its way."""
    old = world.produce(40)
    world.clock.advance(600)
    new = world.produce(3)
    gate = anyio.Event()
    plain = world.link()

    class SlowForOld:
        async def push(self, request: bytes) -> bytes:
            if old[0] in positions(request):
                await gate.wait()
            return await plain.push(request)

        async def membership(self) -> bytes:
            return await plain.membership()

    async def story() -> None:
        async with world.shipping(world.shipper(SlowForOld())):
            await until(lambda: len(world.hub.store.envelopes) == len(new))
            assert {Position(epoch, seq) for _, epoch, seq in world.hub.store.envelopes} == set(new)
            gate.set()
            await until(lambda: world.reader.pending().count == 0)

    world.tell(story)
    world.assert_all_stored_once()


def test_back_fill_waits_until_fresh_samples_get_through(world: World) -> None:
    """While the hub is away only the newest are tried; the first that it takes are they, and the rest follows."""
    old = world.produce(40)
    world.clock.advance(600)
    new = world.produce(3)
    plain = world.link()
    asked: list[set[Position]] = []
    taken: list[Position] = []

    class AwayAtFirst:
        async def push(self, request: bytes) -> bytes:
            asked.append(set(positions(request)))
            if len(asked) <= 5:
                raise LinkError("nobody there")
            taken.extend(positions(request))
            return await plain.push(request)

        async def membership(self) -> bytes:
            return await plain.membership()

    async def story() -> None:
        async with world.shipping(world.shipper(AwayAtFirst())):
            await until(lambda: world.reader.pending().count == 0)

    world.tell(story)
    world.assert_all_stored_once()
    assert [sent <= set(new) for sent in asked[:6]] == [True] * 6
    assert set(taken[: len(new)]) == set(new) and set(taken) == {*old, *new}


def test_a_long_outage_is_filled_in_requests_that_a_hub_takes(world: World) -> None:
    """A hub reads 256 envelopes at a time; a thousand small ones are one lane's bytes."""
    world.produce(600)
    world.clock.advance(600)
    recorder = Recorder(world.link())

    async def story() -> None:
        async with world.shipping(world.shipper(recorder)):
            await until(lambda: world.reader.pending().count == 0)

    world.tell(story)
    world.assert_all_stored_once()
    asked, *filled = recorder.sent
    assert [len(sent) for sent in filled] == [256, 256, 88] and asked == filled[0]
    assert [position for sent in filled for position in sent] == sorted(world.sealed)


def test_an_agent_may_leave_before_everything_is_delivered(world: World) -> None:
    """Draining stops at the first failure and says how much remains."""
    world.produce(3)
    left = []

    async def story() -> None:
        left.append(await world.shipper(Broken()).drain(5.0))
        left.append(await world.shipper().drain(5.0))

    world.tell(story)
    assert left == [3, 0]
    world.assert_all_stored_once()


# --- acks


class Forger:
    """Answers each push with an ack of its own making."""

    def __init__(self, world: World, key: PrivateKey, hub: bytes, **changes: object) -> None:
        self.world, self.key, self.hub, self.changes = world, key, hub, changes

    async def push(self, request: bytes) -> bytes:
        at = positions(request)[0]
        fields = {
            "fleet": self.world.agent.fleet,
            "sender": self.world.agent.sender,
            "epoch": at.epoch,
            "runs": ((at.seq, at.seq + 100),),
            "roster_version": 1,
        }
        body = AckBody(**{**fields, **self.changes})  # type: ignore[arg-type]  # the fields are AckBody's
        return ReplyDraft(EPOCH, self.hub, acks=sign_acks(self.key, [body])).encode()

    async def membership(self) -> bytes:
        raise LinkError("no")


def _pending_after(world: World, link: Link, hub: bytes = b"") -> tuple[int, float]:
    """(pending batches, acks not believed) after a push over this link."""
    registry = CollectorRegistry()
    left = []

    async def story() -> None:
        left.append(await world.shipper(link, registry=registry, hub=hub).drain(5.0))

    world.tell(story)
    name = "peerwatch_ship_batches_total"
    return left[0], registry.get_sample_value(name, {"hub": "hub", "result": "bad_ack"}) or 0.0


def _hub_keys(world: World) -> tuple[PrivateKey, bytes]:
    return world.hub.authority.keys.signing, world.hub.authority.member


def test_the_forger_knows_his_trade(world: World) -> None:
    """An ack made by these means with the hub's own key is believed, so the refusals below are about the key."""
    world.produce(3)
    assert _pending_after(world, Forger(world, *_hub_keys(world))) == (0, 0)


def test_an_ack_of_a_stranger_is_not_believed(world: World) -> None:
    """Neither under its own name nor under the hub's."""
    world.produce(3)
    key = PrivateKey.generate()
    assert _pending_after(world, Forger(world, key, key.public)) == (3, 1)
    assert _pending_after(world, Forger(world, key, _hub_keys(world)[1])) == (3, 1)


@pytest.mark.parametrize("changes", [{"sender": b"s" * 32}, {"fleet": b"f" * 16}])
def test_an_ack_for_somebody_else_is_not_believed(world: World, changes: dict[str, Any]) -> None:
    """Though the hub did sign it."""
    world.produce(3)
    assert _pending_after(world, Forger(world, *_hub_keys(world), **changes)) == (3, 1)


def test_an_ack_of_another_epoch_moves_nothing(world: World) -> None:
    """It is good, and about other batches."""
    world.produce(3)
    assert _pending_after(world, Forger(world, *_hub_keys(world), epoch=EPOCH - 1)) == (3, 0)


def test_a_changed_ack_is_not_believed(world: World) -> None:
    """One number or one bit: in its runs, signature or path."""
    world.produce(2)
    plain = world.link()

    class Changer:
        def __init__(self, field: str) -> None:
            self.field = field

        async def push(self, request: bytes) -> bytes:
            reply = pb.PushReply.FromString(await plain.push(request))
            for ack in reply.acks:
                if self.field == "path":
                    ack.path[0] = bytes([ack.path[0][0] ^ 1]) + ack.path[0][1:]
                elif self.field == "runs":
                    ack.runs[0].last += 1
                else:
                    value = getattr(ack, self.field)
                    setattr(ack, self.field, value[:-1] + bytes([value[-1] ^ 1]))
            return reply.SerializeToString()

        async def membership(self) -> bytes:
            return await plain.membership()

    assert _pending_after(world, plain)[0] == 0
    for field in ("runs", "signature", "path"):
        world.produce(2)
        pending, bad = _pending_after(world, Changer(field))
        assert (pending, bad) == (2, 2)
        assert _pending_after(world, plain)[0] == 0


def test_another_hubs_ack_does_not_move_this_hubs_cursor(world: World, tmp_path: Path) -> None:
    """It has the data, this one does not; with a shared engine behind them (no hub named) it counts."""
    other = PrivateKey.generate()
    root = load_key(tmp_path / "hub" / "root.key")
    fleet = world.agent.fleet
    certificate = HubCertificate(other.public, other.public, 0, EPOCH * 2, 1)
    world.membership.trust.add_certificate(certify_hub(root, fleet, certificate), EPOCH)
    world.produce(3)
    forger = Forger(world, other, other.public)
    assert _pending_after(world, forger, hub=world.hub.authority.member) == (3, 1)
    assert _pending_after(world, forger) == (0, 0)


def test_an_ack_under_an_expired_certificate_is_not_believed(world: World) -> None:
    """The hub must renew it; until then the samples stay where they are."""
    world.produce(3)
    world.clock.jump(HUB_CERTIFICATE_LIFE_MS)
    assert _pending_after(world, Forger(world, *_hub_keys(world))) == (3, 1)


def test_an_agent_learns_of_a_hub_that_it_did_not_know(world: World) -> None:
    """An ack that it cannot check makes it look at the membership, and the next one counts."""
    world.produce(3)
    unknowing = new_membership(world.folder / "agent" / "other.bin", world.hub.authority.membership.trust.root)
    recorder = Recorder(world.link())

    async def story() -> None:
        async with world.shipping(world.shipper(recorder, membership=unknowing)):
            await until(lambda: world.reader.pending().count == 0)

    world.tell(story)
    assert recorder.looks >= 1
    assert (world.folder / "agent" / "other.bin").exists()


def test_a_new_roster_is_looked_at_once_for_many_acks(make_world: MakeWorld) -> None:
    """Every enrolment anywhere raises its version: a fleet that joins must not drown its hub in looks."""
    world = make_world(config=replace(QUICK, membership_gap_s=60.0))
    recorder = Recorder(world.link())

    async def story() -> None:
        async with world.shipping(world.shipper(recorder)):
            for number in range(5):
                world.hub.agent(f"new-{number}")
                world.produce(1)
                await until(lambda: world.reader.pending().count == 0)

    world.tell(story)
    assert recorder.looks == 1


# --- refusals


class Refuser:
    """Refuses every envelope for one reason."""

    def __init__(self, reason: RefusalReason) -> None:
        self.reason = reason
        self.seen: list[Position] = []

    async def push(self, request: bytes) -> bytes:
        draft = ReplyDraft(EPOCH, b"")
        for at in positions(request):
            self.seen.append(at)
            draft.refusals.append(Refusal(at.epoch, at.seq, self.reason, "no"))
        return draft.encode()

    async def membership(self) -> bytes:
        raise LinkError("no")


@pytest.mark.parametrize("reason", list(RefusalReason))
def test_no_refusal_makes_an_agent_forget(world: World, reason: RefusalReason) -> None:
    """Refusals are not signed: anybody on the way can make one."""
    world.produce(3)
    assert _pending_after(world, Refuser(reason))[0] == 3
    assert world.handed_out() == 0
    assert _pending_after(world, world.link())[0] == 0
    world.assert_all_stored_once()


def test_what_is_refused_for_good_is_counted_and_does_not_block(world: World) -> None:
    """Batches from before the retention stand aside; it is sent once and the others arrive."""
    world.hub.store.horizon_ms = EPOCH - 10**8
    registry = CollectorRegistry()
    (ancient,) = world.produce(1, lambda _: batch([[1.0]], at_ms=0))
    world.produce(300)
    recorder = Recorder(world.link())

    async def story() -> None:
        async with world.shipping(world.shipper(recorder, registry=registry)):
            await until(lambda: world.reader.pending().count == 1)
            world.produce(1)
            await until(lambda: world.reader.pending().count == 1)

    world.tell(story)
    del world.sealed[ancient]
    world.assert_all_stored_once()
    assert sum(ancient in sent for sent in recorder.sent) == 1
    labels = {"hub": "hub", "result": "too_old"}
    assert registry.get_sample_value("peerwatch_ship_batches_total", labels) == 1
    assert world.handed_out() == 0


def test_what_nobody_can_read_stands_aside(world: World) -> None:
    """The hub cannot tell its number; the agent finds it as the one that nothing was said of."""
    world.produce(2)
    junk = world.put_raw(b"\xff\xff\xff", seq=2)
    world.agent.sealer.seal(batch([[0.0]]), 0, None)  # its number is used up
    world.produce(2)

    class Raw(Recorder):
        @property
        def sent(self) -> list[list[Position]]:
            return []

    async def story() -> None:
        async with world.shipping(world.shipper(Raw(world.link()))):
            await until(lambda: world.reader.pending().count == 1)

    world.tell(story)
    world.assert_all_stored_once()
    assert [item.position for item in world.reader.fresh(1 << 20)] == [junk]


def test_clock_skew_keeps_the_data(world: World) -> None:
    """A day ahead: refused with the hub's time, kept, not in the way, and stored once the clocks agree."""
    day_ms = 86_400_000
    world.produce(5, lambda number: batch([[float(number)]], at_ms=EPOCH + day_ms + 1000 * number))
    world.clock.advance(100)
    world.produce(5)

    async def story() -> None:
        async with world.shipping(world.shipper()):
            await until(lambda: world.reader.pending().count == 5)
            world.clock.advance(86_400)
            await until(lambda: world.reader.pending().count == 0)

    world.tell(story)
    world.assert_all_stored_once()


def test_a_full_hub_is_waited_for(make_world: MakeWorld) -> None:
    """429 upon 429; nothing is lost and nothing is stored twice."""
    world = make_world(max_bytes_per_s=2000.0, burst_bytes=3000)
    world.produce(40)
    registry = world.hub.registry

    async def story() -> None:
        async with world.shipping(world.shipper()):
            await until(lambda: world.reader.pending().count == 0)

    world.tell(story, time_flows=True)
    world.assert_all_stored_once()
    name = "peerwatch_collector_batches_total"
    assert (registry.get_sample_value(name, {"result": "quota"}) or 0) > 0


def test_nobody_can_put_an_agent_to_sleep(world: World) -> None:
    """A wait of years is not believed."""
    world.produce(1)
    plain, answers = world.link(), [LinkError("busy", 1e12)]

    class Lulling:
        async def push(self, request: bytes) -> bytes:
            if answers:
                raise answers.pop()
            return await plain.push(request)

        async def membership(self) -> bytes:
            return await plain.membership()

    async def story() -> None:
        async with world.shipping(world.shipper(Lulling())):
            await until(lambda: world.reader.pending().count == 0)

    world.tell(story)


def test_something_on_the_way_may_take_smaller_requests_only(world: World) -> None:
    """A proxy with a limit of its own: requests shrink until they pass."""
    world.produce(200)
    plain = world.link()
    limit = 10_000

    class Narrow:
        async def push(self, request: bytes) -> bytes:
            if len(request) > limit:
                raise DecodeError(f"413: {len(request)} bytes, limit {limit}")
            return await plain.push(request)

        async def membership(self) -> bytes:
            return await plain.membership()

    async def story() -> None:
        async with world.shipping(world.shipper(Narrow())):
            await until(lambda: world.reader.pending().count == 0)

    world.tell(story)
    world.assert_all_stored_once()


def test_a_hub_that_says_nothing_is_tried_again(world: World) -> None:
    """An empty answer, and one that is none, are failures of the link."""
    world.produce(1)
    answers = [b"", b"\xff", ReplyDraft(EPOCH, b"", need_schemas=[b"unknown"]).encode()]
    plain = world.link()

    class Mute:
        async def push(self, request: bytes) -> bytes:
            return answers.pop() if answers else await plain.push(request)

        async def membership(self) -> bytes:
            return await plain.membership()

    async def story() -> None:
        async with world.shipping(world.shipper(Mute())):
            await until(lambda: world.reader.pending().count == 0)

    world.tell(story)
    world.assert_all_stored_once()


# --- schemas


def _drain(world: World, link: Link, *, again: int = 1) -> None:
    shipper = world.shipper(link)

    async def story() -> None:
        for _ in range(again):
            world.produce(1, lambda number: batch([[1.0]], at_ms=EPOCH - 10**6 + number))
            assert await shipper.drain(5.0) == 0

    world.tell(story)


def test_a_schema_is_sent_when_the_hub_asks(world: World) -> None:
    """Once, and whole, since the hub has nothing to build on; later batches carry none."""
    recorder = Recorder(world.link())
    _drain(world, recorder, again=3)
    assert recorder.schemas == [[], ["whole"], [], []]


def test_a_baseline_is_sent_when_the_hub_asks(world: World) -> None:
    """Once for all batches that are relative to it; a hub that has forgotten it asks again."""
    recorder = Recorder(world.link())
    shipper = world.shipper(recorder)

    async def story() -> None:
        for _ in range(4):
            world.produce(1, _wide)
            assert await shipper.drain(5.0) == 0
        world.hub.collector.close()
        await until(lambda: world.hub.metric("received_bytes_total") == 0)
        world.produce(1, _wide)
        assert await shipper.drain(5.0) == 0

    world.tell(story)
    assert recorder.schemas == [
        *([], ["whole"]),  # the first batch is told in full
        *([], ["baseline"], [], []),
        *([], ["baseline"], ["whole"]),
    ]
    world.assert_all_stored_once()


def test_a_changed_schema_is_told_as_a_change_and_then_whole(world: World) -> None:
    """The change first, since it is small; when the hub does not have the base any more, the whole schema."""
    recorder = Recorder(world.link())
    shipper = world.shipper(recorder)

    def wide(count: int) -> None:
        rows = tuple(Series(Labels.of(__name__="m", c=str(row)), MetricType.GAUGE) for row in range(count))
        world.produce(1, lambda number: batch([[1.0]] * count, of=rows, at_ms=EPOCH - 10**6 + number))

    async def story() -> None:
        wide(20)
        assert await shipper.drain(5.0) == 0
        wide(21)
        assert await shipper.drain(5.0) == 0
        world.hub.collector.close()
        await until(lambda: world.hub.metric("received_bytes_total") == 0)
        wide(22)
        assert await shipper.drain(5.0) == 0

    world.tell(story)
    assert recorder.schemas == [[], ["whole"], [], ["delta"], [], ["delta"], ["whole"]]


def test_a_hub_that_keeps_asking_is_not_sent_the_schema_in_a_loop(world: World) -> None:
    """That is a failure, with the growing wait of one."""
    world.produce(1)
    asked: list[int] = []

    class Insatiable:
        async def push(self, request: bytes) -> bytes:
            asked.append(len(request))
            used = [Schema.of(what.blocks[0].series).id for what in world.sealed.values()]
            return ReplyDraft(EPOCH, b"", need_schemas=used).encode()

        async def membership(self) -> bytes:
            raise LinkError("no")

    left = []

    async def story() -> None:
        left.append(await world.shipper(Insatiable()).drain(5.0))

    world.tell(story)
    assert left == [1] and len(asked) == 2


# --- ends


def test_cancelling_at_any_moment_leaves_nothing_handed_out(world: World) -> None:
    """Everything that is pending is offered again at once: style 44."""
    world.hub.store.horizon_ms = EPOCH - 10**8
    world.produce(1, lambda _: batch([[1.0]], at_ms=0))  # refused for good: stands aside
    world.produce(20)
    world.clock.advance(600)

    async def story() -> None:
        for steps in range(0, 120, 2):
            world.produce(1)
            shipper = world.shipper(FlakyLink(world.link(), Random(steps), lose_reply=0.3))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(shipper.run)
                for _ in range(steps):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            assert world.handed_out() == 0
        assert await world.shipper().drain(5.0) >= 1
        async with world.shipping(world.shipper()):
            await until(lambda: world.reader.pending().count == 1)

    world.tell(story)
    del world.sealed[Position(EPOCH, 0)]
    world.assert_all_stored_once()


def test_a_spool_that_is_closed_under_a_shipper_stops_nothing_else(world: World) -> None:
    """It goes on trying, as it does when a hub is away; the agent ends it."""
    world.produce(1)

    async def story() -> None:
        shipper = world.shipper(Broken())
        async with world.shipping(shipper):
            await anyio.sleep(0.005)
            world.spool.close()
            await anyio.sleep(0.02)

    world.tell(story)


def test_a_forgotten_hub_has_nothing_pending(world: World) -> None:
    """Its metrics can still be read."""
    registry = CollectorRegistry()
    shipper = world.shipper(registry=registry)
    world.produce(1)
    assert shipper.pending == 1
    world.spool.forget("hub")
    assert shipper.pending == 0
    assert registry.get_sample_value("peerwatch_ship_pending_batches", {"hub": "hub"}) == 0


def test_two_hubs_share_the_metrics(world: World) -> None:
    """One shipper per hub, one registry, a label to tell them apart."""
    metrics = ShipMetrics(registry := CollectorRegistry())
    world.spool.reader("other")
    shippers = [world.shipper(metrics=metrics) for _ in range(2)]
    world.produce(2)
    assert [one.pending for one in shippers] == [2, 2]
    assert registry.get_sample_value("peerwatch_ship_pending_batches", {"hub": "hub"}) == 2
