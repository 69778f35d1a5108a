"""Messages between the node and the main process (hub or agent): MessagePack maps. docs/formats/node.md has them all.

The main process believes nothing that is in them: envelopes and acks are signed by keys that the node never sees.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

import msgspec

from peerwatch.errors import DecodeError
from peerwatch.node.bans import Ban
from peerwatch.node.roster_view import MemberView, RosterView

VERSION = 1

_Word = Annotated[str, msgspec.Meta(max_length=256)]
_Text = Annotated[str, msgspec.Meta(max_length=4_096)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
_Words = Annotated[list[_Text], msgspec.Meta(max_length=64)]


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """`id` numbers the requests of one side from 1; a reply bears its request's, a note bears 0."""

    v: int = VERSION
    id: _Count = 0


# --- both ways --------------------------------------------------------------------------------------------------------


class Hello(Message, frozen=True, kw_only=True, tag="hello"):
    """The first message of each side: who it is, and how much it takes before it has answered."""

    role: _Word
    program: _Word
    max_frame_bytes: _Count
    window_requests: _Count
    window_bytes: _Count


class Done(Message, frozen=True, kw_only=True, tag="done"):
    """A reply that says nothing more."""


class DeedCount(msgspec.Struct, frozen=True, array_like=True):
    """A deed, by the value of `reputation.Deed`, and how often."""

    deed: _Word
    times: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 1


class Delivered(Message, frozen=True, kw_only=True, tag="delivered"):
    """What the receiver answered: a PushReply with signed acks, a membership.

    `deeds`: what the main process found the sender to have done, as `reputation.Deed` calls it, and how often. They are
    for the node, and do not go out with the answer.
    """

    body: bytes
    deeds: Annotated[list[DeedCount], msgspec.Meta(max_length=16)] | msgspec.UnsetType = msgspec.UNSET


class Failure(Enum):
    """Why a request failed; says who can do something about it."""

    UNREACHABLE = "unreachable"
    """The peer could not be reached. Try again, or another."""
    TIMEOUT = "timeout"
    """No answer in time. It may have been delivered."""
    BUSY = "busy"
    """Too much is waiting; after `wait_ms` there may be room."""
    DENIED = "denied"
    """The gater, a ban or the other side's gater. Trying again does not help."""
    MALFORMED = "malformed"
    """The other side cannot read it, or it is too large. The same bytes never pass."""
    INTERNAL = "internal"
    """A bug of the side that answers."""


class Failed(Message, frozen=True, kw_only=True, tag="failed"):
    """A reply to anything that did not work."""

    reason: Failure
    message: _Text = ""
    wait_ms: _Count = 0


# --- from the main process --------------------------------------------------------------------------------------------


class Deliver(Message, frozen=True, kw_only=True, tag="deliver"):
    """Carry `body` to a peer by a protocol, within `wait_ms`: Delivered with its answer, or Failed."""

    peer: _Word
    protocol: _Word
    body: bytes
    wait_ms: _Count


class MemberRecord(msgspec.Struct, frozen=True, array_like=True):
    """One member of a roster: peer id, roles, expiry (0: never)."""

    peer: _Word
    roles: Annotated[list[_Word], msgspec.Meta(max_length=8)]
    expires_ms: _Count = 0


class SetRoster(Message, frozen=True, kw_only=True, tag="set_roster"):
    """Who is a member from now on. Replaces what was; who is not in it is cut off."""

    roster_version: _Count
    members: Annotated[list[MemberRecord], msgspec.Meta(max_length=100_000)]


class BanRecord(msgspec.Struct, frozen=True, array_like=True):
    """One ban; docs/formats/bans.md says what it means."""

    subject: _Word
    reason: _Word
    by: _Word
    version: _Count
    expires_ms: _Count
    lifted: bool = False


_Bans = Annotated[list[BanRecord], msgspec.Meta(max_length=200_000)]


class SetBans(Message, frozen=True, kw_only=True, tag="set_bans"):
    """Bans and lifts to be united with those that the node knows."""

    bans: _Bans


class OpenPeer(Message, frozen=True, kw_only=True, tag="open_peer"):
    """Hold a connection to this peer from now on, at one of these multiaddrs; Done once it is there."""

    peer: _Word
    addresses: _Words
    wait_ms: _Count


class ClosePeer(Message, frozen=True, kw_only=True, tag="close_peer"):
    """Close what there is to this peer, and hold nothing open any more."""

    peer: _Word
    reason: _Word = ""


class PartnerRecord(msgspec.Struct, frozen=True, array_like=True):
    """A member to be measured. Without addresses it is measured while it is connected."""

    peer: _Word
    addresses: Annotated[list[_Text], msgspec.Meta(max_length=8)]


class SetPartners(Message, frozen=True, kw_only=True, tag="set_partners"):
    """Whom to measure from now on, each once per interval: `probed` tells. Replaces what was."""

    partners: Annotated[list[PartnerRecord], msgspec.Meta(max_length=64)]
    interval_ms: Annotated[int, msgspec.Meta(ge=100, le=3_600_000)]


class Publish(Message, frozen=True, kw_only=True, tag="publish"):
    """Tell every hub; the main process has signed it, so that they can believe it. Done once it is on its way."""

    body: Annotated[bytes, msgspec.Meta(max_length=16_384)]


class AskStatus(Message, frozen=True, kw_only=True, tag="ask_status"):
    """How are you, and whom do you know: answered by Status. `measure`: with round trips of just now."""

    measure: bool = False


class PeerRecord(msgspec.Struct, frozen=True, array_like=True):
    """A connected peer. `rtt_us` 0: not measured yet."""

    peer: _Word
    address: _Text
    direction: _Word
    since_ms: _Count
    rtt_us: _Count = 0
    score: float = 0.0


class Status(Message, frozen=True, kw_only=True, tag="status"):
    """The reply to AskStatus."""

    peer: _Word
    uptime_ms: _Count
    addresses: _Words
    peers: Annotated[list[PeerRecord], msgspec.Meta(max_length=100_000)]
    routing_table_size: _Count = 0
    roster_version: _Count = 0


class AskMetrics(Message, frozen=True, kw_only=True, tag="ask_metrics"):
    """Answered by Metrics."""


class Metrics(Message, frozen=True, kw_only=True, tag="metrics"):
    """The node's own metrics as Prometheus text, for the main process's /metrics."""

    text: bytes


# --- from the node ----------------------------------------------------------------------------------------------------


class Inbound(Message, frozen=True, kw_only=True, tag="inbound"):
    """A peer sent `body`: answered by Delivered with what it is to get back, or Failed."""

    peer: _Word
    address: _Text
    protocol: _Word
    body: bytes


class Banned(Message, frozen=True, kw_only=True, tag="banned"):
    """Bans that the node made or heard of. A request, not a note: none may get lost."""

    bans: _Bans


class Presence(Message, frozen=True, kw_only=True, tag="presence"):
    """A peer came or went. `lost`: notes that were dropped so far; when it grows, AskStatus tells what is."""

    peer: _Word
    connected: bool
    direction: _Word
    address: _Text
    time_ms: _Count
    lost: _Count = 0


class Heard(Message, frozen=True, kw_only=True, tag="heard"):
    """A hub published `body` to all. The node knows that it was this hub's node; the rest is for the main process."""

    peer: _Word
    body: Annotated[bytes, msgspec.Meta(max_length=16_384)]
    lost: _Count = 0


class Probe(msgspec.Struct, frozen=True, array_like=True):
    """One partner's round trips; `sent` without an answer are lost, and nothing was sent where it was not reached.

    `opened` and `failed` are dials.
    """

    peer: _Word
    sent: _Count
    rtts_us: Annotated[list[_Count], msgspec.Meta(max_length=64)]
    time_ms: _Count
    opened: _Count = 0
    failed: _Count = 0


class Probed(Message, frozen=True, kw_only=True, tag="probed"):
    """Results of mesh probes."""

    probes: Annotated[list[Probe], msgspec.Meta(max_length=64)]
    lost: _Count = 0


class Logged(Message, frozen=True, kw_only=True, tag="logged"):
    """A log event of the node (requirement B43); `event` is a constant phrase."""

    level: _Word
    event: _Word
    fields: Annotated[dict[_Word, _Text | int | float], msgspec.Meta(max_length=16)]
    time_ms: _Count
    lost: _Count = 0


Reply = Done | Delivered | Failed | Status | Metrics
Note = Presence | Heard | Probed | Logged
FromMain = (
    Hello
    | Deliver
    | SetRoster
    | SetBans
    | OpenPeer
    | ClosePeer
    | SetPartners
    | Publish
    | AskStatus
    | AskMetrics
    | Done
    | Delivered
    | Failed
)
FromNode = Hello | Inbound | Banned | Presence | Heard | Probed | Logged | Done | Delivered | Failed | Status | Metrics

_from_main = msgspec.msgpack.Decoder(FromMain)
_from_node = msgspec.msgpack.Decoder(FromNode)
_encoder = msgspec.msgpack.Encoder()


def encode_message(message: Message, request_id: int = 0) -> bytes:
    """A message as a frame's payload, under this id."""
    return _encoder.encode(msgspec.structs.replace(message, id=request_id) if request_id else message)


def decode_from_main(payload: bytes) -> FromMain:
    """What the main process said. Raises DecodeError for what it cannot have said."""
    message: FromMain = _decode(_from_main, payload)
    return message


def decode_from_node(payload: bytes) -> FromNode:
    """What the node said. Raises DecodeError for what it cannot have said."""
    message: FromNode = _decode(_from_node, payload)
    return message


def _decode(decoder: msgspec.msgpack.Decoder[Any], payload: bytes) -> Any:
    try:
        message = decoder.decode(payload)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:  # ValueError: text that is not UTF-8
        raise DecodeError(f"message of {len(payload)} bytes on the node's socket: {error}") from error
    if message.v != VERSION:
        raise DecodeError(f"message of version {message.v} on the node's socket, this program speaks {VERSION}")
    if isinstance(message, Hello | Note) == bool(message.id):
        raise DecodeError(f"{type(message).__name__} with id {message.id}: requests and replies have one, others none")
    return message


def to_view(message: SetRoster) -> RosterView:
    """The roster that the gater reads."""
    members = {one.peer: MemberView(tuple(one.roles), one.expires_ms) for one in message.members}
    return RosterView(message.roster_version, members)


def from_view(view: RosterView) -> SetRoster:
    """The message that carries this roster."""
    members = [MemberRecord(peer, list(one.roles), one.expires_ms) for peer, one in view.members.items()]
    return SetRoster(roster_version=view.version, members=members)


def to_ban(record: BanRecord) -> Ban:
    """A ban, not checked yet: `Bans.merge` does that."""
    return Ban(record.subject, record.reason, record.by, record.version, record.expires_ms, record.lifted)


def from_ban(ban: Ban) -> BanRecord:
    """The record that carries a ban."""
    return BanRecord(ban.subject, ban.reason, ban.by, ban.version, ban.expires_ms, ban.lifted)
