"""The collector's door over real HTTP: from the agent's seal to the store and back, and everything else refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from structlog.testing import capture_logs

from peerwatch.agent.ship import Shipper
from peerwatch.collector.push_http import PushEndpoint
from peerwatch.errors import LinkError
from peerwatch.fleet.invite import DEFAULT_LIFE_MS, Enrolment, Invite, sign_enrolment
from peerwatch.fleet.membership import new_membership
from peerwatch.links.https import HttpsConfig, HttpsLink
from peerwatch.serve.address import Address
from peerwatch.serve.listen import bind_tcp
from peerwatch.serve.server import Server
from peerwatch.telemetry import CollectorRegistry
from peerwatch.wire.identity import PrivateKey
from peerwatch.wire.push import RefusalReason, decode_reply
from tests.agent.ship_kit import QUICK, World, until
from tests.collector.kit import EPOCH, Agent, Hub, acked
from tests.links.server import Certificate, free_port, self_signed, serving


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Refusals are logged."""
    with capture_logs():
        yield


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    """A hub with the default settings."""
    return Hub(tmp_path / "hub")


def _serve(
    hub: Hub,
    story: Callable[[str], Awaitable[None]],
    certificate: Certificate | None = None,
    **options: Any,
) -> None:
    limits = {"max_request_bytes": 100_000, **options}

    async def served() -> None:
        async with serving(
            PushEndpoint(hub.collector, hub.authority, hub.clock, **limits), free_port(), certificate
        ) as url:
            await story(url)

    hub.run(served)


def _requests(hub: Hub, *calls: tuple[str, str, bytes], **endpoint: Any) -> list[tuple[int, str]]:
    """(status, text) of each call."""
    told: list[tuple[int, str]] = []

    async def story(url: str) -> None:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            for method, path, body in calls:
                response = await client.request(method, path, content=body)
                told.append((response.status_code, response.text))

    _serve(hub, story, **endpoint)
    return told


def test_junk_is_a_bad_request(hub: Hub) -> None:
    """With the reason."""
    assert _requests(hub, ("POST", "/api/v1/push", b"\xff\xff"), ("POST", "/api/v1/enrol", b"\xff\xff")) == [
        (400, "PushRequest of 2 bytes is not protobuf\n"),
        (400, "EnrolRequest of 2 bytes is not protobuf\n"),
    ]


def test_an_empty_push_is_answered(hub: Hub) -> None:
    """It asks for nothing and gets nothing."""
    ((status, _),) = _requests(hub, ("POST", "/api/v1/push", b""))
    assert status == 200


def test_each_path_has_its_method(hub: Hub) -> None:
    """And there are no others."""
    assert _requests(
        hub,
        ("GET", "/api/v1/push", b""),
        ("DELETE", "/api/v1/enrol", b""),
        ("POST", "/api/v1/membership", b""),
        ("POST", "/api/v1/other", b""),
    ) == [
        (405, "/api/v1/push takes POST only\n"),
        (405, "/api/v1/enrol takes POST only\n"),
        (405, "/api/v1/membership takes GET only\n"),
        (404, "no /api/v1/other here\n"),
    ]


def test_a_body_past_the_limit_is_not_read(hub: Hub) -> None:
    """Whether it says its size or not; an enrolment has a small limit of its own."""
    told: list[tuple[int, str]] = []

    async def story(url: str) -> None:
        async def pieces() -> Any:
            for _ in range(3):
                yield bytes(500)

        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            for path, content in (
                ("/api/v1/push", bytes(1001)),
                ("/api/v1/push", pieces()),
                ("/api/v1/enrol", bytes(5000)),
            ):
                response = await client.post(path, content=content)
                told.append((response.status_code, response.text))

    _serve(hub, story, max_request_bytes=1000)
    assert told == [
        (413, "request of 1001 bytes or more, limit 1000\n"),
        (413, "request of 1500 bytes or more, limit 1000\n"),
        (413, "request of 5000 bytes or more, limit 4096\n"),
    ]


def test_a_body_that_trickles_is_left(hub: Hub) -> None:
    """It must not hold memory and a connection for ever."""
    raw: list[bytes] = []

    async def slow(url: str) -> None:
        async with await anyio.connect_tcp("127.0.0.1", int(url.rsplit(":", 1)[1])) as stream:
            await stream.send(b"POST /api/v1/push HTTP/1.1\r\nhost: x\r\ncontent-length: 20\r\n\r\n0123456789")
            with anyio.fail_after(3):
                raw.append(await stream.receive())

    _serve(hub, slow, body_deadline_s=0.1)
    assert raw[0].startswith(b"HTTP/1.1 408")
    assert b"10 bytes of body within 0.1 s, the limit; send it faster" in raw[0]


def test_bodies_are_bounded_together(hub: Hub) -> None:
    """Sixteen of the largest; the next one is told to wait, and when they are gone there is room again."""
    answers: list[bytes] = []

    async def story(url: str) -> None:
        port = int(url.rsplit(":", 1)[1])
        head = b"POST /api/v1/push HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n"
        slow = [await anyio.connect_tcp("127.0.0.1", port) for _ in range(17)]
        for stream in slow:
            await stream.send(head + bytes(999))
            await anyio.sleep(0.01)
        with anyio.fail_after(3):
            answers.append(await slow[-1].receive())
        for stream in slow:
            await stream.aclose()
        await anyio.sleep(0.05)
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            answers.append(str((await client.post("/api/v1/push", content=bytes(500))).status_code).encode())

    _serve(hub, story, max_request_bytes=1000)
    assert answers[0].startswith(b"HTTP/1.1 429")
    assert b"retry-after: 2" in answers[0]
    assert b"requests of 16983 bytes in memory, limit 16000" in answers[0]
    assert answers[1] == b"400"  # it was read: zeros are no push


def _invite(hub: Hub) -> Invite:
    return hub.authority.invite(("https://hub:9480",), b"", DEFAULT_LIFE_MS, "https")


def _enrolment(invite: Invite, peer: PrivateKey, signing: PrivateKey) -> bytes:
    enrolment = Enrolment(invite.fleet, invite.key.public, peer.public, signing.public, "web-9", EPOCH)
    return sign_enrolment(invite.key, peer, signing, enrolment)


def test_an_invite_lets_one_machine_in_once(hub: Hub, tmp_path: Path) -> None:
    """Over HTTP: the answer is a membership that leads from the token's root to the hub."""
    invite, expired = _invite(hub), _invite(hub)
    peer, signing = PrivateKey.generate(), PrivateKey.generate()
    first = _enrolment(invite, peer, signing)
    second = _enrolment(invite, PrivateKey.generate(), PrivateKey.generate())

    async def story(url: str) -> None:
        async with HttpsLink(url) as link:
            mine = new_membership(tmp_path / "m.bin", invite.root)
            mine.absorb(await link.enrol(first), EPOCH)
            assert mine.trust.hub_verifier(hub.authority.member, EPOCH)
            entry = mine.roster.get(peer.public)
            assert entry is not None and entry.name == "web-9"
            assert await link.enrol(first)
            with pytest.raises(LinkError, match="answered 403: this invite has been used; ask for a new one"):
                await link.enrol(second)
            hub.clock.advance(DEFAULT_LIFE_MS / 1000)
            with pytest.raises(LinkError, match="answered 403: this invite has expired; ask for a new one"):
                await link.enrol(_enrolment(expired, peer, signing))
            agent = Agent(hub.authority.fleet, key=signing)
            agent.sender = peer.public
            agent.sealer = type(agent.sealer)(agent.fleet, peer.public, signing, EPOCH)
            assert acked(decode_reply(await link.push(agent.request(agent.seal())))) == [(EPOCH, 0)]

    _serve(hub, story)


def test_the_membership_is_given_to_whoever_asks(hub: Hub, tmp_path: Path) -> None:
    """Certificates and hubs, and nobody else's name."""
    hub.agent("secret-host")

    async def story(url: str) -> None:
        async with HttpsLink(url) as link:
            raw = await link.membership()
            assert b"secret-host" not in raw
            mine = new_membership(tmp_path / "m.bin", hub.authority.membership.trust.root)
            mine.absorb(raw, EPOCH)
            assert mine.trust.hub_verifier(hub.authority.member, EPOCH)

    _serve(hub, story)


def test_a_full_hub_answers_429(tmp_path: Path) -> None:
    """With Retry-After in whole seconds, rounded up, and the refusal in the body."""
    hub = Hub(tmp_path / "hub", max_bytes_per_s=10.0, burst_bytes=200)
    agent = hub.agent()
    told: list[httpx.Response] = []

    async def story(url: str) -> None:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            told.extend([await client.post("/api/v1/push", content=agent.request(agent.seal())) for _ in range(2)])

    _serve(hub, story)
    assert told[1].status_code == 429
    assert 1 <= int(told[1].headers["retry-after"]) <= 20
    assert decode_reply(told[1].content).refusals[0].reason is RefusalReason.QUOTA


def test_an_agent_ships_over_https(tmp_path: Path) -> None:
    """Spool, shipper, TLS with a pinned certificate, uvicorn, collector, store, and the signed ack all the way back."""
    world = World(tmp_path)
    certificate = self_signed(tmp_path)
    world.produce(20)

    async def story(url: str) -> None:
        async with HttpsLink(url, certificate.pem, HttpsConfig(answer_s=5.0)) as link:
            shipper = Shipper(
                world.spool,
                "hub",
                link,
                world.membership,
                world.agent.sender,
                world.agent.sealer.delta,
                QUICK,
                world.clock,
                CollectorRegistry(),
                hub=world.hub.authority.member,
            )
            async with world.shipping(shipper):
                await until(lambda: world.reader.pending().count == 0)

    _serve(world.hub, story, certificate)
    world.assert_all_stored_once()


def test_the_fast_lane_says_the_same(tmp_path: Path) -> None:
    """Junk, nothing, a good batch, a repeat, one too many for now, and who the hubs are: by both doors."""
    told: dict[bool, list[tuple[int, object]]] = {}
    for fast in (True, False):
        hub = Hub(tmp_path / str(fast), max_bytes_per_s=10.0, burst_bytes=400)
        agent = hub.agent()
        first = agent.request(agent.seal())
        bodies = [b"\xff\xff", b"", first, first, agent.request(agent.seal())]

        async def story(hub: Hub = hub, bodies: list[bytes] = bodies, fast: bool = fast) -> None:
            endpoint = PushEndpoint(hub.collector, hub.authority, hub.clock, 100_000)
            listener = bind_tcp(Address("127.0.0.1", 0), "x", configured=True)
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            server = Server(endpoint, listener, None, drain_s=1.0, fast=endpoint.fast() if fast else {})
            async with anyio.create_task_group() as tasks:
                await tasks.start(server.run)
                async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
                    answers = [await client.post("/api/v1/push", content=body) for body in bodies]
                    answers.append(await client.get("/api/v1/membership"))
                server.stop()
            assert all(("date" in one.headers) != fast for one in answers)  # which uvicorn adds
            told[fast] = [(one.status_code, _gist(one)) for one in answers]

        hub.run(story)
    assert told[True] == told[False]
    assert [status for status, _ in told[True]] == [400, 200, 200, 200, 429, 200]


def _gist(response: httpx.Response) -> object:
    """What an answer says, without what differs between two hubs."""
    if response.status_code == 400:
        return response.text
    if response.url.path == "/api/v1/membership":
        return len(response.content) > 100
    reply = decode_reply(response.content)
    return (
        [(ack.epoch, ack.runs) for ack in reply.acks],
        [refusal.reason for refusal in reply.refusals],
        response.headers.get("retry-after"),
    )
