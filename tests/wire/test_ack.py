"""Acks: one signature serves a group, and no ack can be forged, moved or changed."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerwatch.errors import DecodeError, SignatureError
from peerwatch.wire import merkle
from peerwatch.wire.ack import AckBody, parse_ack, sign_acks
from peerwatch.wire.identity import PrivateKey, Verifier
from peerwatch.wire.push import PushReply, Refusal, RefusalReason, ReplyDraft, decode_reply

HUB = PrivateKey(bytes(32))


def _body(number: int) -> AckBody:
    return AckBody(b"F" * 16, bytes([number]) * 32, 9, ((0, number), (number + 5, number + 6)), 3)


@given(st.integers(1, 40))
def test_every_ack_of_a_group_verifies(count: int) -> None:
    """Whatever the size of the group commit."""
    bodies = [_body(number) for number in range(count)]
    acks = [parse_ack(ack) for ack in sign_acks(HUB, bodies)]
    for ack, body in zip(acks, bodies, strict=True):
        ack.verify(Verifier(HUB.public), body.fleet, body.sender)
        assert (ack.epoch, ack.runs, ack.roster_version) == (body.epoch, body.runs, body.roster_version)


@given(st.integers(1, 20), st.data())
def test_a_forged_ack_never_verifies(count: int, data: st.DataObject) -> None:
    """Another key, another content, another receiver, another place in the tree: all refused."""
    messages = sign_acks(HUB, [_body(number) for number in range(count)])
    at = data.draw(st.integers(0, count - 1))
    forged = messages[at]
    kind = data.draw(
        st.sampled_from(["epoch", "runs", "version", "fleet", "sender", "index", "signature", "key", "path"])
    )
    verifier, fleet, sender = Verifier(HUB.public), b"F" * 16, bytes([at]) * 32
    if kind == "epoch":
        forged.epoch += 1
    elif kind == "runs":
        forged.runs[1].last += 1
    elif kind == "version":
        forged.roster_version += 1
    elif kind == "fleet":
        fleet = b"G" * 16
    elif kind == "sender":
        sender = b"s" * 32
    elif kind == "index":
        forged.index += 1 << 20
    elif kind == "signature":
        forged.signature = bytes(64)
    elif kind == "path":
        forged.path.append(bytes(32))
    else:
        verifier = Verifier(PrivateKey.generate().public)
    with pytest.raises(SignatureError):
        parse_ack(forged).verify(verifier, fleet, sender)


def test_a_reply_comes_back_whole() -> None:
    """Acks, asked-for schemas and refusals with their wait."""
    draft = ReplyDraft(5, HUB.public, sign_acks(HUB, [_body(1)]), [b"s" * 16])
    draft.refusals.append(Refusal(4, 2, RefusalReason.QUOTA, "too many series", 1.5))
    reply = decode_reply(draft.encode())
    assert reply == PushReply(
        (parse_ack(draft.acks[0]),),
        (b"s" * 16,),
        (Refusal(4, 2, RefusalReason.QUOTA, "too many series", 1.5),),
        5,
        HUB.public,
    )


@given(st.binary(max_size=200))
def test_any_bytes_are_a_reply_or_refused(data: bytes) -> None:
    """A hub gone mad cannot end an agent."""
    with contextlib.suppress(DecodeError):
        decode_reply(data)


def test_a_long_path_is_refused() -> None:
    """No tree is that high."""
    with pytest.raises(DecodeError, match="33 steps, limit 32"):
        merkle.climb(bytes(32), 0, [bytes(32)] * 33)
