"""Every refusal says what it is about, the value and the limit; and nothing that is refused is stored."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from peerwatch.errors import DecodeError
from peerwatch.fleet.invite import DEFAULT_LIFE_MS
from peerwatch.fleet.roster import AGENT, RosterEntry, sign_entry
from peerwatch.spool import Position
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.batch import encode_batch
from peerwatch.wire.identity import PrivateKey, peer_id
from peerwatch.wire.limits import WireLimits
from peerwatch.wire.push import Refusal, RefusalReason, encode_request
from peerwatch.wire.run_root import sign_run
from peerwatch.wire.schema import Schema
from tests.collector.kit import BOX, EPOCH, Agent, Hub, acked, batch, only_refusal, series, wrap

MakeHub = Callable[..., Hub]


def _refused(hub: Hub, request: bytes) -> Refusal:
    refusal = only_refusal(hub.push(request)[0])
    assert hub.store.cells == {} and hub.store.layouts_made == 0
    return refusal


def test_garbage_is_not_a_push(hub: Hub) -> None:
    """Bytes that are no request are an error of the request, counted."""

    async def story() -> None:
        with pytest.raises(DecodeError, match="PushRequest of 4 bytes is not protobuf"):
            await hub.collector.push(b"\xff\xff\xff\xff")

    hub.run(story)
    assert hub.metric("junk_requests_total") == 1


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (bytes(2000), "push of 2000 bytes, limit 1000"),
        (encode_request([b"", b"", b""], [], BOX), "push of 3 envelopes and 0 schemas, limits 2 and 2"),
        (encode_request([], [b"", b"", b""], BOX), "push of 0 envelopes and 3 schemas, limits 2 and 2"),
    ],
)
def test_a_request_past_a_limit_is_not_read(make_hub: MakeHub, request_: bytes, words: str) -> None:
    """Size and counts are judged before anything inside."""
    hub = make_hub(limits=WireLimits(max_request_bytes=1000, max_envelopes=2, max_schemas=2))

    async def story() -> None:
        with pytest.raises(DecodeError, match=words):
            await hub.collector.push(request_)

    hub.run(story)


def test_garbage_in_an_envelope_is_malformed(hub: Hub) -> None:
    """It has no number, since none can be read."""
    assert _refused(hub, wrap(b"\xff")) == Refusal(
        0, 0, RefusalReason.MALFORMED, "Signed of 1 bytes is not protobuf"
    )  # fmt: skip


def test_a_truncated_envelope_is_refused(hub: Hub) -> None:
    """Wherever it is cut."""
    agent = hub.agent()
    raw = agent.seal().item.envelope
    requests = [encode_request([raw[:at]], [], BOX) for at in range(0, len(raw), 7)]
    for reply in hub.push(*requests):
        assert only_refusal(reply).reason in (RefusalReason.MALFORMED, RefusalReason.SIGNATURE)
    assert hub.store.cells == {}


def test_an_oversized_envelope_is_refused_unread(make_hub: MakeHub) -> None:
    """With its size and the limit."""
    hub = make_hub(limits=WireLimits(max_envelope_bytes=100))
    agent = hub.agent()
    sealed = agent.seal()
    refusal = _refused(hub, agent.request(sealed))
    size = len(sealed.item.envelope)
    assert refusal == Refusal(0, 0, RefusalReason.MALFORMED, f"batch envelope: {size} bytes, limit 100")


def test_a_body_that_would_grow_past_the_limit_is_not_opened(make_hub: MakeHub) -> None:
    """The size that the sender signed is judged before the decompression."""
    hub = make_hub(limits=WireLimits(max_body_bytes=1000))
    agent = hub.agent()
    refusal = _refused(hub, agent.forged(bytes(5000)))
    assert refusal == Refusal(EPOCH, 0, RefusalReason.MALFORMED, "batch body of 5000 bytes, limit 1000")


def test_a_wrong_signature_is_refused(hub: Hub) -> None:
    """The expected key is named."""
    agent = hub.agent()
    thief = Agent(hub.authority.fleet)
    thief.sender = agent.sender
    refusal = _refused(hub, thief.forged(encode_batch(batch([[1.0]]), Schema.of)))
    words = f"signature does not verify with key {peer_id(agent.sender)}"
    assert refusal == Refusal(EPOCH, 0, RefusalReason.SIGNATURE, words)


def test_a_changed_byte_is_noticed(hub: Hub) -> None:
    """The signature covers everything inside."""
    agent = hub.agent()
    message = pb.SignedMessage.FromString(agent.seal().item.envelope)
    payload = bytearray(message.payload)
    payload[-1] ^= 1
    refusal = _refused(hub, wrap(bytes(payload), message.signature))
    assert refusal.reason is RefusalReason.SIGNATURE


def test_a_stranger_is_told_how_to_join(hub: Hub) -> None:
    """By name, since an operator will look for it."""
    stranger = Agent(hub.authority.fleet)
    words = f"{peer_id(stranger.sender)} is not a member of this fleet: peerwatch join"
    assert _refused(hub, stranger.request(stranger.seal())) == Refusal(EPOCH, 0, RefusalReason.NOT_A_MEMBER, words)


def test_a_revoked_member_is_a_stranger(hub: Hub) -> None:
    """From the moment that the roster says so."""
    agent = hub.agent()
    version = hub.authority.membership.roster.version + 1
    entry = RosterEntry(agent.sender, agent.sender, "web-1", (AGENT,), 0, version, revoked=True)
    revoked = sign_entry(hub.authority.keys.signing, hub.authority.member, hub.authority.fleet, entry)

    async def story() -> list[Refusal]:
        before = hub.read(await hub.collector.push(agent.request(agent.seal())))
        assert acked(before) == [(EPOCH, 0)]
        hub.authority.membership.roster.merge(revoked, EPOCH)
        return [only_refusal(hub.read(await hub.collector.push(agent.request(agent.seal()))))]

    (refusal,) = hub.run(story)
    assert refusal.reason is RefusalReason.NOT_A_MEMBER
    assert [status.name for status in hub.collector.agents()] == ["hub-1"]


def test_an_expired_member_is_a_stranger(hub: Hub) -> None:
    """To the millisecond."""
    agent = Agent(hub.authority.fleet)
    hub.authority.admit(agent.sender, agent.sender, "guest", (AGENT,), expires_ms=EPOCH + 1000)

    async def story() -> list[RefusalReason | None]:
        told = []
        for _ in range(2):
            reply = hub.read(await hub.collector.push(agent.request(agent.seal())))
            told.append(reply.refusals[0].reason if reply.refusals else None)
            hub.clock.advance(1.0)
        return told

    assert hub.run(story) == [None, RefusalReason.NOT_A_MEMBER]


@pytest.mark.parametrize("name", ["", "db-7"])
def test_an_open_invite_may_not_push(hub: Hub, name: str) -> None:
    """Also one that fixes the name of its machine: the token is for joining and nothing else."""
    invite = hub.authority.invite(("https://hub:9480",), b"", DEFAULT_LIFE_MS, "https", name)
    agent = Agent(hub.authority.fleet, key=invite.key)
    assert _refused(hub, agent.request(agent.seal())).reason is RefusalReason.NOT_A_MEMBER
    assert [status.name for status in hub.collector.agents()] == ["hub-1"]


def test_a_batch_of_another_fleet_is_refused(hub: Hub) -> None:
    """Both fleets are named."""
    agent = hub.agent()
    refusal = _refused(hub, agent.forged(b"", fleet=b"F" * 16))
    words = f"batch is for fleet {'46' * 16}, this is {hub.authority.fleet.hex()}"
    assert refusal == Refusal(EPOCH, 0, RefusalReason.WRONG_FLEET, words)


def test_samples_from_the_future_are_kept_by_their_sender(hub: Hub) -> None:
    """The refusal carries the hub's time and a wait; when the clocks agree the same batch is stored."""
    agent = hub.agent()
    sealed = agent.seal(batch([[1.0]], at_ms=EPOCH + 86_400_000))

    async def story() -> None:
        reply = hub.read(await hub.collector.push(agent.request(sealed)))
        words = "web-1: samples lie 86400 s in the future, limit 600 s; check the clocks"
        assert reply.hub_time_ms == EPOCH
        assert only_refusal(reply) == Refusal(EPOCH, 0, RefusalReason.FUTURE, words, 30.0)
        assert not RefusalReason.FUTURE.final
        hub.clock.advance(86_400 - 600)
        assert acked(hub.read(await hub.collector.push(agent.request(sealed)))) == [(EPOCH, 0)]

    hub.run(story)


def test_samples_from_before_the_retention_are_refused_for_good(hub: Hub) -> None:
    """With the time and where retention begins."""
    hub.store.horizon_ms = EPOCH - 1000
    agent = hub.agent()
    refusal = _refused(hub, agent.request(agent.seal(batch([[1.0]], at_ms=0))))
    words = f"web-1: newest sample at 0 ms, retention begins at {EPOCH - 1000} ms"
    assert refusal == Refusal(EPOCH, 0, RefusalReason.TOO_OLD, words)
    assert RefusalReason.TOO_OLD.final


def test_ancient_samples_within_retention_are_stored(hub: Hub) -> None:
    """A batch of the year 1900 is data like any other."""
    hub.store.horizon_ms = -3_000_000_000_000
    agent = hub.agent()
    (reply,) = hub.push(agent.request(agent.seal(batch([[1.0]], at_ms=-2_208_988_800_000))))
    assert acked(reply) == [(EPOCH, 0)]


def test_a_schema_with_more_rows_than_the_batch_is_malformed(hub: Hub) -> None:
    """Both counts are told, and the store learns nothing."""
    agent = hub.agent()
    known = Schema.of(series({"row": "0"}, {"row": "1"}))
    body = encode_batch(batch([[1.0]]), lambda _: known)
    raw = agent.forged(body)
    envelope = pb.PushRequest.FromString(raw).envelopes[0]
    sealed = agent.seal(batch([[1.0], [2.0]]))
    refusal = _refused(hub, encode_request([envelope], list(sealed.schemas.values()), BOX))
    words = "web-1: block of 1 rows, its schema has 2 series"
    assert refusal == Refusal(EPOCH, 0, RefusalReason.MALFORMED, words)


def test_a_run_root_must_be_the_senders_own(hub: Hub) -> None:
    """A root over another sender, or over numbers still to come, proves nothing."""
    agent = hub.agent()
    body = encode_batch(batch([[1.0]]), Schema.of)
    leaves = [bytes(16)] * 2
    other = sign_run(agent.key, agent.fleet, b"o" * 32, (EPOCH, 0), leaves, (0, 0))
    early = sign_run(agent.key, agent.fleet, agent.sender, (EPOCH, 9), leaves, (0, 0))
    forged = sign_run(PrivateKey.generate(), agent.fleet, agent.sender, (EPOCH, 0), leaves, (0, 0))
    requests = [agent.forged(body, seq=9, run_root=root) for root in (other, early, forged)]
    messages = [only_refusal(reply).message for reply in hub.push(*requests)]
    assert messages == [
        "web-1: run root is of another sender or fleet",
        f"web-1: run root reaches {EPOCH}/10, ahead of its envelope",
        f"signature does not verify with key {peer_id(agent.sender)}",
    ]


def test_a_floor_above_the_envelope_is_malformed(hub: Hub) -> None:
    """It would close the number that it comes with."""
    agent = hub.agent()
    refusal = _refused(hub, agent.forged(b"", seq=3, floor_epoch=EPOCH, floor_seq=4))
    assert refusal.message == f"floor {EPOCH}/4 lies above the envelope {EPOCH}/3"


def test_refusals_are_counted_per_member(hub: Hub) -> None:
    """What a stranger does under a member's name does not count against the member."""
    agent = hub.agent()
    thief = Agent(hub.authority.fleet)
    thief.sender = agent.sender
    future = agent.seal(batch([[1.0]], at_ms=EPOCH + 10**9))
    hub.push(thief.forged(b"x"), agent.request(future), agent.request(future))
    (status,) = [one for one in hub.collector.agents() if one.name == "web-1"]
    assert status.refused_batches == 2
    assert hub.metric("batches_total", result="signature") == 1
    assert hub.metric("batches_total", result="future") == 2


def test_one_bad_envelope_does_not_spoil_the_others(hub: Hub) -> None:
    """Each gets an answer of its own."""
    agent = hub.agent()
    good, future = agent.seal(), agent.seal(batch([[1.0]], at_ms=EPOCH + 10**9))
    junk = b"\xff\xff"
    records = list(good.schemas.values())
    (reply,) = hub.push(encode_request([good.item.envelope, junk, future.item.envelope], records, BOX))
    assert acked(reply) == [(EPOCH, 0)]
    assert [(one.epoch, one.seq, one.reason) for one in reply.refusals] == [
        (0, 0, RefusalReason.MALFORMED),
        (EPOCH, 1, RefusalReason.FUTURE),
    ]


def test_a_floor_that_promises_nothing_stays_one(hub: Hub) -> None:
    """A spool that could not read its old segments says (0, 0); no epoch may be closed by that."""
    agent = hub.agent()
    older = Agent(hub.authority.fleet, key=agent.key, epoch=EPOCH - 5)
    replies = hub.push(agent.request(agent.seal(floor=Position(0, 0))), older.request(older.seal(floor=Position(0, 0))))
    assert [acked(reply) for reply in replies] == [[(EPOCH, 0)], [(EPOCH - 5, 0)]]


def test_a_member_that_is_kept_out_keeps_its_batches(hub: Hub) -> None:
    """On every road: it is told to wait, nothing of it is stored, and once it is let in again the same batch is."""
    agent = hub.agent()
    hub.collector.keep_out(lambda sender: "banned for ever by op: too loud" if sender == agent.sender else "")
    request = agent.request(agent.seal())
    refusal = _refused(hub, request)
    assert (refusal.reason, refusal.message) == (RefusalReason.QUOTA, "banned for ever by op: too loud")
    assert refusal.wait_s == 60.0
    hub.restart()
    hub.collector.keep_out(lambda sender: "" if sender == agent.sender else "banned")
    assert len(acked(hub.push(request)[0])) == 1
