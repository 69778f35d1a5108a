"""A revoked member is cut off at once: nothing of it is taken, its `up` ends, its connection closes."""

from __future__ import annotations

import anyio
import anyio.lowlevel

from peerwatch.collector.push_http import PushEndpoint
from peerwatch.model import STALE_BITS, Labels
from peerwatch.wire.push import RefusalReason
from tests.collector.kit import EPOCH, Hub, acked, only_refusal
from tests.model.native import bits


def test_pushes_of_a_revoked_member_are_refused_at_once(hub: Hub) -> None:
    """With the reason, and the connection should end; the others are not disturbed."""
    agent, other = hub.agent(), hub.agent("web-2")

    async def story() -> None:
        assert acked(hub.read(await hub.collector.push(agent.request(agent.seal())))) == [(EPOCH, 0)]
        hub.authority.revoke("web-1")
        result = await hub.collector.push(agent.request(agent.seal()))
        refused = only_refusal(hub.read(result))
        assert (refused.reason, result.closes) == (RefusalReason.NOT_A_MEMBER, True)
        assert "was revoked" in refused.message
        kept = await hub.collector.push(other.request(other.seal()))
        assert (acked(hub.read(kept)), kept.closes) == ([(EPOCH, 0)], False)

    hub.run(story)
    assert [one.name for one in hub.collector.agents()] == ["hub-1", "web-2"]
    gone = [one for one in hub.collector.agents(revoked=True) if one.revoked]
    assert [(one.name, one.up) for one in gone] == [("web-1", False)]


def test_what_waited_for_the_store_when_its_sender_was_revoked_is_not_stored(hub: Hub) -> None:
    """Between the signature and the layout there is time."""
    agent = hub.agent()

    async def story() -> RefusalReason:
        results = []
        hub.collector.take(agent.request(agent.seal()), results.append)  # it waits for a layout now
        assert results == []
        hub.authority.revoke("web-1")
        with anyio.fail_after(5):
            while not results:
                await anyio.lowlevel.checkpoint()
        return only_refusal(hub.read(results[0])).reason

    assert hub.run(story) is RefusalReason.NOT_A_MEMBER


def test_up_ends_when_the_roster_changes_and_not_an_interval_later(hub: Hub) -> None:
    """One stale marker, at once."""
    agent = hub.agent()
    up = Labels.of(__name__="up", instance="web-1", job="node")

    async def written(wanted: int) -> None:
        with anyio.fail_after(5):
            while wanted not in [bits(value) for value in hub.store.samples(up).values()]:
                await anyio.lowlevel.checkpoint()

    async def story() -> None:
        await hub.collector.push(agent.request(agent.seal()))
        hub.collector.roster_changed()
        await written(bits(1.0))
        hub.clock.advance(1.0)
        hub.authority.revoke("web-1")
        hub.collector.roster_changed()
        await written(STALE_BITS)

    hub.run(story)


def test_the_connection_of_a_revoked_member_is_closed(hub: Hub) -> None:
    """On both roads of a push: the fast lane's and the application's."""
    agent = hub.agent()
    hub.authority.revoke("web-1")
    request = agent.request(agent.seal())
    endpoint = PushEndpoint(hub.collector, hub.authority, hub.clock, 1 << 20)
    told: list[tuple[int, bytes]] = []
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": request}

    async def send(message: object) -> None:
        sent.append(message)  # type: ignore[arg-type]  # ASGI's are dictionaries

    async def story() -> None:
        fast = endpoint.fast()[b"POST /api/v1/push HTTP/1.1"]
        fast(request, lambda status, fields, body: told.append((status, fields)))
        scope = {"type": "http", "path": "/api/v1/push", "method": "POST", "headers": []}
        await endpoint(scope, receive, send)

    hub.run(story)
    assert told == [(200, b"connection: close\r\n")]
    assert (b"connection", b"close") in sent[0]["headers"]  # type: ignore[operator]  # a list of pairs
