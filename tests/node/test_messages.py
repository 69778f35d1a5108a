"""Messages between node and main process say what docs/formats/node.md says, and nothing else gets through."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatch.errors import DecodeError
from peerwatch.node.bans import Ban
from peerwatch.node.messages import (
    AskMetrics,
    AskStatus,
    Banned,
    BanRecord,
    ClosePeer,
    Deliver,
    Delivered,
    Done,
    Failed,
    Failure,
    FromMain,
    FromNode,
    Heard,
    Hello,
    Inbound,
    Logged,
    MemberRecord,
    Message,
    Metrics,
    OpenPeer,
    PartnerRecord,
    PeerRecord,
    Presence,
    Probe,
    Probed,
    Publish,
    SetBans,
    SetPartners,
    SetRoster,
    Status,
    decode_from_main,
    decode_from_node,
    encode_message,
    from_ban,
    from_view,
    to_ban,
    to_view,
)
from peerwatch.node.roster_view import MemberView, RosterView
from tests.node.kit import NOW, PEERS

A = PEERS[0]
BAN = BanRecord(A, "forged", "hub", 1, 0)
HELLO = Hello(role="main", program="x", max_frame_bytes=1, window_requests=1, window_bytes=1)
BOTH: list[Message] = [Done(), Delivered(body=b"ack"), Failed(reason=Failure.BUSY, message="full", wait_ms=5)]
OF_MAIN: list[Message] = [
    *BOTH,
    Deliver(peer=A, protocol="/peerwatch/push/1", body=b"push", wait_ms=1000),
    SetRoster(roster_version=3, members=[MemberRecord(A, ["agent"], 0)]),
    SetBans(bans=[BAN]),
    OpenPeer(peer=A, addresses=["/ip4/192.0.2.1/tcp/1"], wait_ms=1),
    ClosePeer(peer=A, reason="revoked"),
    SetPartners(partners=[PartnerRecord(A, ["/ip4/192.0.2.1/tcp/1"])], interval_ms=15_000),
    Publish(body=b"signed"),
    AskStatus(),
    AskMetrics(),
]
OF_NODE: list[Message] = [
    *BOTH,
    Inbound(peer=A, address="/ip4/192.0.2.1/tcp/1", protocol="/peerwatch/push/1", body=b"push"),
    Banned(bans=[BAN]),
    Status(peer=A, uptime_ms=1, addresses=[], peers=[PeerRecord(A, "/ip4/192.0.2.1/tcp/1", "inbound", NOW, 5, -1.5)]),
    Metrics(text=b"up 1\n"),
]
NOTES: list[Message] = [
    Presence(peer=A, connected=True, direction="inbound", address="/ip4/192.0.2.1/tcp/1", time_ms=NOW),
    Heard(peer=A, body=b"signed", lost=1),
    Probed(probes=[Probe(A, 3, [800, 900], NOW, 1, 0)]),
    Logged(level="info", event="connection opened", fields={"peer_id": A, "duration_ms": 1.5}, time_ms=NOW, lost=2),
]


@pytest.mark.parametrize("message", OF_MAIN, ids=lambda one: type(one).__name__)
def test_the_main_process_is_understood(message: Message) -> None:
    """Every request and reply, under its id."""
    assert decode_from_main(encode_message(message, 7)) == msgspec.structs.replace(message, id=7)


@pytest.mark.parametrize("message", OF_NODE, ids=lambda one: type(one).__name__)
def test_the_node_is_understood(message: Message) -> None:
    """Every request and reply, under its id."""
    assert decode_from_node(encode_message(message, 7)) == msgspec.structs.replace(message, id=7)


@pytest.mark.parametrize("message", NOTES, ids=lambda one: type(one).__name__)
def test_notes_are_understood(message: Message) -> None:
    """They have no id."""
    assert decode_from_node(encode_message(message)) == message
    with pytest.raises(DecodeError, match=f"{type(message).__name__} with id 1"):
        decode_from_node(encode_message(message, 1))


def test_every_kind_is_tried_here() -> None:
    """None was forgotten."""
    assert {type(one) for one in OF_MAIN} | {Hello} == set(get_args(FromMain))
    assert {type(one) for one in [*OF_NODE, *NOTES]} | {Hello} == set(get_args(FromNode))


def test_every_kind_and_field_is_documented() -> None:
    """docs/formats/node.md names what another program must know."""
    page = (Path(__file__).parents[2] / "docs/formats/node.md").read_text()
    for message in [*OF_MAIN, *OF_NODE, *NOTES, HELLO]:
        row = re.search(rf"^\| `{message.__struct_config__.tag}` .*$", page, re.MULTILINE)
        assert row, message
        fields = {one.encode_name for one in msgspec.structs.fields(message)} - {"v", "id"}
        assert all(f"`{name}`" in row[0] for name in fields), (message, fields)


def test_the_bytes_are_messagepack_maps() -> None:
    """Any language reads them."""
    assert msgspec.msgpack.decode(encode_message(Delivered(body=b"ack"), 5)) == {
        "kind": "delivered",
        "v": 1,
        "id": 5,
        "body": b"ack",
    }


def test_each_side_says_only_what_is_its_own() -> None:
    """A node does not set rosters, a main process sends no inbound envelopes."""
    for message in OF_MAIN[len(BOTH) :]:
        with pytest.raises(DecodeError, match="on the node's socket"):
            decode_from_node(encode_message(message, 1))
    for message in [*OF_NODE[len(BOTH) :], *NOTES]:
        with pytest.raises(DecodeError, match="on the node's socket"):
            decode_from_main(encode_message(message, 1))


def _raw(**fields: Any) -> bytes:
    return msgspec.msgpack.encode({"kind": "done", "v": 1, "id": 1, **fields})


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "message of 0 bytes"),
        (b"\xc1", "message of 1 bytes"),
        (_raw(v=2), "message of version 2 on the node's socket, this program speaks 1"),
        (_raw(id=0), "Done with id 0"),
        (_raw(id=-1), "id"),
        (_raw(kind="reboot"), "reboot"),
        (_raw(kind="deliver"), "missing required field"),
        (_raw(kind="failed", reason="bored"), "bored"),
        (_raw(kind="failed", reason="busy", message="x" * 4097), "4096"),
        (_raw(kind="open_peer", peer="x" * 257, addresses=[], wait_ms=1), "256"),
        (_raw(kind="open_peer", peer="x", addresses=["a"] * 65, wait_ms=1), "64"),
        (b"\x91" * 5000, "message of 5000 bytes"),
        (encode_message(HELLO, 1), "Hello with id 1"),
    ],
)
def test_nonsense_is_refused(payload: bytes, words: str) -> None:
    """The message names what and the limit."""
    with pytest.raises(DecodeError, match=words):
        decode_from_main(payload)


def test_unknown_fields_are_ignored() -> None:
    """So that a later program may say more within one version."""
    assert decode_from_main(_raw(later=1)) == Done(id=1)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    """No bytes raise anything but our own error."""
    for decode in (decode_from_main, decode_from_node):
        with contextlib.suppress(DecodeError):
            decode(payload)


@settings(deadline=None)
@given(st.data())
def test_any_changed_message_is_read_or_refused(data: st.DataObject) -> None:
    """The same for what almost is one."""
    message = data.draw(st.sampled_from([*OF_NODE, *NOTES]))
    raw = bytearray(encode_message(message, 0 if message in NOTES else 1))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DecodeError):
        decode_from_node(bytes(raw[: data.draw(st.integers(0, len(raw)))]))


def test_rosters_and_bans_travel_whole() -> None:
    """As the values that the gater and the bans take."""
    view = RosterView(4, {A: MemberView(("agent", "hub"), 17), PEERS[1]: MemberView(("hub",))})
    assert to_view(from_view(view)) == view
    for ban in (Ban(A, "why", "who", 1, 2), Ban(A, "why", "who", 1, 2, lifted=True)):
        assert to_ban(from_ban(ban)) == ban
