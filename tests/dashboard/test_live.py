"""The live stream without a network: ticks, topics, mailboxes, resuming, bounds."""

from __future__ import annotations

import anyio
import pytest

from peerwatch.dashboard import Config
from peerwatch.dashboard.mailbox import Mailbox
from peerwatch.dashboard.sse import EventId, event
from peerwatch.dashboard.timespan import timespan
from peerwatch.dashboard.topic import TopicKey
from peerwatch.errors import QuotaError
from peerwatch.telemetry import CollectorRegistry
from tests.dashboard.events import Event, parse
from tests.dashboard.fakes import FakeQueryClient, ManualClock, make_live

pytestmark = pytest.mark.anyio
ATLAS = TopicKey("atlas", timespan("5m"))
ATLAS_HOUR = TopicKey("atlas", timespan("1h"))
BOREALIS = TopicKey("borealis", timespan("5m"))
NOBODY = TopicKey("", timespan("5m"))


async def drain(mailbox: Mailbox) -> list[Event]:
    """Everything that waits now."""
    found: list[Event] = []
    while True:
        with anyio.move_on_after(0) as waiting:
            message = await mailbox.take()
        if waiting.cancelled_caught or message is None:
            return found
        parsed = parse(message.decode())
        assert parsed is not None
        found.append(parsed)


async def test_many_clients_cost_one_evaluation() -> None:
    """Fifty pages on one topic ask the engine exactly what one page asks, and all get the same."""
    alone, crowd = FakeQueryClient(), FakeQueryClient()
    quiet, busy = make_live(alone, ManualClock()), make_live(crowd, ManualClock())
    with quiet.subscribe(ATLAS):
        await quiet.tick()
    with busy.subscribe(ATLAS) as first, busy.subscribe(ATLAS) as second:
        held = [busy.subscribe(ATLAS) for _ in range(48)]
        for place in held:
            place.__enter__()
        await busy.tick()
        assert await drain(first.mailbox) == await drain(second.mailbox)
        for place in held:
            place.__exit__(None, None, None)
    assert crowd.asked == alone.asked


async def test_nobody_looking_costs_nothing() -> None:
    """Without a client no query is made."""
    client = FakeQueryClient()
    await make_live(client, ManualClock()).tick()
    assert client.asked == []


async def test_a_tick_brings_tiles_points_and_the_fleet() -> None:
    """Each tick is complete in itself: nothing in it refers to an earlier one."""
    clock = ManualClock()
    live = make_live(FakeQueryClient(("atlas", "borealis"), down=("borealis",)), clock)
    with live.subscribe(ATLAS) as place:
        clock.advance(1)
        await live.tick()
        tick, fleet = await drain(place.mailbox)
    assert (tick.name, tick.id, tick.data["t"], tick.data["at"]) == ("tick", "b00t-1", clock.now_ms(), clock.now_ms())
    assert tick.data["panels"]["disk"] == [{"/": 61.5, "/home": 38.2, "/var/lib/data": 82.9}]
    assert set(tick.data["panels"]) == {"cpu", "load", "memory", "network", "disk_io", "tcp", "disk", "swap", "age"}
    assert tick.data["tiles"][1] == {"cores": 8.0}
    assert fleet.name == "fleet" and fleet.data["total"] == 2
    assert fleet.data["rows"][1] == ["borealis", 0.0, None, None, None, None]


async def test_long_ranges_get_a_point_once_per_step() -> None:
    """Between two steps a tick brings tiles only."""
    clock = ManualClock()
    live = make_live(FakeQueryClient(), clock)
    points: list[int | None] = []
    with live.subscribe(ATLAS_HOUR) as place:
        for _ in range(8):
            clock.advance(5)
            await live.tick()
            points += [found.data.get("at") for found in await drain(place.mailbox) if found.name == "tick"]
    boundaries = [moment for moment in points if moment is not None]
    assert len(points) == 8 and len(boundaries) in (2, 3)
    assert all(moment % 15_000 == 0 for moment in boundaries)


async def test_a_failing_panel_leaves_the_others_alone() -> None:
    """Its reason comes in `errors`; the other panels have their points."""
    client = FakeQueryClient()
    client.fail = "tcp_connections"
    clock = ManualClock()
    live = make_live(client, clock)
    with live.subscribe(ATLAS) as place:
        clock.advance(1)
        await live.tick()
        tick = (await drain(place.mailbox))[0].data
    assert tick["errors"] == {"tcp": "tcp_connections is out of order"}
    assert "tcp" not in tick["panels"] and "cpu" in tick["panels"]


async def test_a_slow_client_gets_the_newest_and_the_loss_is_counted() -> None:
    """A full mailbox drops its oldest messages; the tick loop never waits."""
    clock = ManualClock()
    registry = CollectorRegistry()
    live = make_live(FakeQueryClient(), clock, Config(queue_messages=4), registry)
    with live.subscribe(ATLAS) as slow:
        for _ in range(10):
            clock.advance(1)
            await live.tick()
        left = await drain(slow.mailbox)
    assert [(found.name, found.id) for found in left] == [
        ("tick", "b00t-9"),
        ("fleet", ""),
        ("tick", "b00t-10"),
        ("fleet", ""),
    ]
    assert registry.get_sample_value("peerwatch_dashboard_dropped_messages_total") == 16.0


async def test_who_comes_back_gets_what_was_missed() -> None:
    """Within the kept ticks nothing is missing, in order, and nothing comes twice."""
    clock = ManualClock()
    live = make_live(FakeQueryClient(), clock)
    with live.subscribe(ATLAS):
        await live.tick()
    for _ in range(3):
        clock.advance(1)
        await live.tick()
    with live.subscribe(ATLAS, EventId("b00t", 2)) as back:
        assert back.resumed
        assert [parse(message.decode()).id for message in back.replay] == ["b00t-3", "b00t-4"]  # type: ignore[union-attr]
        clock.advance(1)
        await live.tick()
        assert [found.id for found in await drain(back.mailbox) if found.name == "tick"] == ["b00t-5"]


@pytest.mark.parametrize("last", [EventId("b00t", 1), EventId("b00t", 99), EventId("older", 4), None], ids=str)
async def test_who_was_away_too_long_starts_afresh(last: EventId | None) -> None:
    """Forgotten ticks, ids of the future, of an earlier hub, or none at all: the page must read the history."""
    clock = ManualClock()
    live = make_live(FakeQueryClient(), clock, Config(resume_ticks=2))
    with live.subscribe(ATLAS):
        for _ in range(4):
            clock.advance(1)
            await live.tick()
        with live.subscribe(ATLAS, last) as back:
            assert (back.resumed, back.replay) == (False, [])


async def test_the_edge_of_what_is_kept_is_exact() -> None:
    """Whoever has the newest forgotten tick misses nothing."""
    clock = ManualClock()
    live = make_live(FakeQueryClient(), clock, Config(resume_ticks=2))
    with live.subscribe(ATLAS):
        for _ in range(4):
            clock.advance(1)
            await live.tick()
        with live.subscribe(ATLAS, EventId("b00t", 2)) as back:
            assert back.resumed and len(back.replay) == 2


async def test_an_id_of_another_topic_does_not_resume() -> None:
    """Ids count over all topics; only those of this one mean that nothing is missing here."""
    live = make_live(FakeQueryClient(("atlas", "borealis")), ManualClock())
    with live.subscribe(ATLAS), live.subscribe(BOREALIS):
        await live.tick()
        with live.subscribe(BOREALIS, EventId("b00t", 1)) as place:
            assert not place.resumed


async def test_clients_are_bounded_and_a_place_is_free_again() -> None:
    """The client beyond the limit is refused with the numbers and a wait; leaving frees the place."""
    live = make_live(FakeQueryClient(), ManualClock(), Config(max_clients=1))
    with live.subscribe(ATLAS), pytest.raises(QuotaError) as caught, live.subscribe(ATLAS):
        pass
    assert (str(caught.value), caught.value.wait_s) == ("1 live streams open, limit 1", 5.0)
    with live.subscribe(ATLAS):
        assert live.client_count == 1
    assert live.client_count == 0


async def test_topics_without_clients_end_after_a_while() -> None:
    """They go on for `linger_s`, and then cost nothing."""
    client, clock = FakeQueryClient(), ManualClock()
    live = make_live(client, clock, Config(linger_s=30))
    with live.subscribe(ATLAS):
        pass
    clock.advance(29)
    await live.tick()
    assert client.asked
    client.asked.clear()
    clock.advance(1)
    await live.tick()
    assert client.asked == []


async def test_topics_are_bounded() -> None:
    """A new one takes the place of one without clients; when all are in use it is refused."""
    live = make_live(FakeQueryClient(), ManualClock(), Config(max_topics=1))
    with live.subscribe(ATLAS), pytest.raises(QuotaError, match="1 topics in use, limit 1"), live.subscribe(BOREALIS):
        pass
    with live.subscribe(BOREALIS):
        assert live.client_count == 1


async def test_without_an_instance_only_the_fleet_comes() -> None:
    """A page that opens before the first agent has reported learns when there is one."""
    live = make_live(FakeQueryClient(()), ManualClock())
    with live.subscribe(NOBODY) as place:
        await live.tick()
        assert [(found.name, found.data["rows"]) for found in await drain(place.mailbox)] == [("fleet", [])]


async def test_a_long_fleet_list_comes_less_often() -> None:
    """Beyond `short_fleet` rows it is sent every `fleet_every_s`, and cut at `max_fleet_rows` with the total."""
    clock = ManualClock()
    client = FakeQueryClient([f"host{i}" for i in range(5)])
    live = make_live(client, clock, Config(short_fleet=2, max_fleet_rows=3, fleet_every_s=10))
    counts = []
    with live.subscribe(NOBODY) as place:
        for seconds in (0, 5, 5):
            clock.advance(seconds)
            await live.tick()
            counts.append([(found.data["total"], len(found.data["rows"])) for found in await drain(place.mailbox)])
    assert counts == [[(5, 3)], [], [(5, 3)]]


async def test_when_the_loop_ends_every_stream_ends() -> None:
    """Stopping a hub does not wait for pages that are open."""
    live = make_live(FakeQueryClient(), ManualClock(), Config(min_tick_s=0))
    with live.subscribe(ATLAS) as place:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(live.run)
            with anyio.fail_after(5):
                assert await place.mailbox.take() is not None
            tasks.cancel_scope.cancel()
        with anyio.fail_after(5):
            while await place.mailbox.take() is not None:
                pass
    with pytest.raises(QuotaError), live.subscribe(ATLAS):
        pass


async def test_news_make_a_tick_without_waiting_for_the_quiet_time() -> None:
    """As soon as the store has something newer the page gets it."""
    client = FakeQueryClient()
    live = make_live(client, ManualClock(), Config(min_tick_s=0, max_quiet_s=3600))
    async with anyio.create_task_group() as tasks:
        with live.subscribe(NOBODY) as place:
            tasks.start_soon(live.run)
            with anyio.fail_after(5):
                await place.mailbox.take()  # the tick that a new client gets
                client.publish()
                await place.mailbox.take()
        tasks.cancel_scope.cancel()


def test_an_event_is_one_frame() -> None:
    """Newlines in the data cannot end an event early."""
    assert event("tick", {"a": "x\n\ny"}, "b-1") == b'id: b-1\nevent: tick\ndata: {"a":"x\\n\\ny"}\n\n'


@pytest.mark.parametrize("text", ["", "b00t", "b00t-", "b00t-x", "b00t-1_0", "b00t-" + "9" * 40, "b00t-²"])
def test_a_foreign_id_is_no_id(text: str) -> None:
    """Whatever a client sends as Last-Event-ID, it is ours or it is ignored."""
    assert EventId.parse(text) is None
    assert EventId.parse("b00t-17") == EventId("b00t", 17)
