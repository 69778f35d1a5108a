"""Who reports: `up`, and the lines of `peerwatch agents`."""

from __future__ import annotations

import struct
from collections.abc import Callable

import anyio
import anyio.lowlevel
import numpy as np

from peerwatch.collector.collector import statuses_as_rows
from peerwatch.collector.presence import Presence
from peerwatch.model import STALE_BITS, Labels
from peerwatch.spool import Position
from peerwatch.wire.identity import peer_id
from tests.collector.kit import EPOCH, Agent, Hub, acked

MakeHub = Callable[..., Hub]


def _up(name: str) -> Labels:
    return Labels.of(__name__="up", instance=name, job="node")


def test_up_is_a_row_per_member() -> None:
    """1 while it reports and 0 when it does not."""
    series, matrix = Presence("node").rows({"b": False, "a": True}, 5000) or ((), None)
    assert [one.labels for one in series] == [_up("a"), _up("b")]
    assert matrix is not None and matrix.times_ms.tolist() == [5000] and matrix.values.tolist() == [[1.0], [0.0]]


def test_no_members_no_rows() -> None:
    """Nothing to say."""
    assert Presence("node").rows({}, 0) is None


def test_a_member_that_left_ends_with_one_stale_marker() -> None:
    """Its series does not linger for the five minutes of a look-back."""
    presence = Presence("node")
    presence.rows({"a": True, "b": True}, 0)
    series, matrix = presence.rows({"a": True}, 1000) or ((), None)
    assert matrix is not None
    bits = dict(zip((one.labels for one in series), matrix.values.view(np.uint64)[:, 0].tolist(), strict=True))
    assert bits == {_up("a"): struct.unpack("<Q", struct.pack("<d", 1.0))[0], _up("b"): STALE_BITS}
    again, _ = presence.rows({"a": True}, 2000) or ((), None)
    assert [one.labels for one in again] == [_up("a")]


def test_the_hub_writes_up(make_hub: MakeHub) -> None:
    """Who has reported is up, who has not is judged only after it had the time to, and a failing store is survived."""
    hub = make_hub(presence_interval_ms=1)
    agent = hub.agent()
    hub.agent("silent")

    async def written(name: str, time_ms: int) -> float:
        with anyio.fail_after(5):
            while time_ms not in hub.store.samples(_up(name)):
                await anyio.lowlevel.checkpoint()
        return hub.store.samples(_up(name))[time_ms]

    async def story() -> list[float]:
        hub.store.fail_layout(times=2)
        assert acked(hub.read(await hub.collector.push(agent.request(agent.seal())))) in ([], [(EPOCH, 0)])
        while not acked(hub.read(await hub.collector.push(agent.request(agent.seal())))):
            pass
        told = [await written("web-1", EPOCH)]
        assert hub.store.samples(_up("silent")) == {}
        hub.clock.advance(46.0)
        return [*told, await written("web-1", EPOCH + 46_000), await written("silent", EPOCH + 46_000)]

    assert hub.run(story) == [1.0, 0.0, 0.0]


def test_agents_lists_who_reports(hub: Hub) -> None:
    """Since when, the newest sample, and how far behind; hubs count since each runs an agent."""
    agent = hub.agent()

    async def story() -> None:
        for _ in range(4):
            reply = hub.read(await hub.collector.push(agent.request(agent.seal(floor=Position(EPOCH, 0)))))
            assert len(acked(reply)) == 1

    hub.run(story)
    rows = statuses_as_rows(hub.collector.agents())
    assert [row["name"] for row in rows] == ["hub-1", "web-1"]
    assert rows[1] == {
        "name": "web-1",
        "peer_id": peer_id(agent.sender),
        "roles": ("agent",),
        "revoked": False,
        "up": True,
        "since_ms": EPOCH,
        "last_seen_ms": EPOCH,
        "newest_sample_ms": EPOCH,
        "behind_batches": 3,
        "active_series": 1,
        "refused_batches": 0,
    }
    assert hub.metric("members_reporting") == 1
    hub.clock.advance(46.0)
    assert hub.metric("members_reporting") == 0


def test_back_fill_does_not_say_how_far_behind_an_agent_is(hub: Hub) -> None:
    """Only its newest batch does, also when the backlog reaches into an earlier run of it."""
    agent = hub.agent()
    newer = Agent(hub.authority.fleet, key=agent.key, epoch=EPOCH + 1)
    old = agent.request(agent.seal(floor=Position(EPOCH, 0)))
    newer.seal()
    fresh = newer.request(newer.seal(floor=Position(EPOCH, 0)))
    hub.push(fresh, old)
    assert [status.behind_batches for status in hub.collector.agents() if status.name == "web-1"] == [1]
