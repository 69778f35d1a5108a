"""Invite: a token that lets a machine in, once or as often as it says."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from hashlib import sha256

from peerwatch.errors import ConfigError, DecodeError, SignatureError
from peerwatch.fleet.roster import AGENT
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.envelope import FLEET_BYTES
from peerwatch.wire.identity import KEY_BYTES, PrivateKey, Verifier
from peerwatch.wire.signed import Domain, parse_message

TOKEN_PREFIX = "pw1."
_CHECK_BYTES = 4  # catches a token cut off by a terminal; authenticity is the invite key's
_MAX_TOKEN_CHARS = 4096
MAX_INVITE_MULTIADDRS = 6  # a token has to be pasted: each takes some 110 of its characters
DEFAULT_LIFE_MS = 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class Invite:
    """What a token holds: where the hubs are, how to know them, a key, and what its holder becomes.

    `tls_pin` is the SHA-256 of the hub's certificate (DER); empty where the system's authorities decide. `multiaddrs`
    are where hubs are reached over libp2p, each with its peer id, the inviting hub first; whoever dials checks them.
    """

    fleet: bytes
    root: bytes
    key: PrivateKey
    addresses: tuple[str, ...]
    tls_pin: bytes
    expires_ms: int
    link: str
    roles: tuple[str, ...] = (AGENT,)
    multiaddrs: tuple[str, ...] = ()


def encode_token(invite: Invite) -> str:
    """The token: one word, safe to paste into any shell. It is a secret until it is spent.

    Raises ConfigError where its addresses make it longer than a token may be.
    """
    raw = pb.InviteToken(
        fleet=invite.fleet,
        root=invite.root,
        invite_seed=invite.key.seed,
        addresses=invite.addresses,
        tls_pin=invite.tls_pin,
        expires_ms=invite.expires_ms,
        link=invite.link,
        roles=[] if invite.roles == (AGENT,) else invite.roles,
        multiaddrs=invite.multiaddrs,
    ).SerializeToString()
    checked = raw + sha256(raw).digest()[:_CHECK_BYTES]
    token = TOKEN_PREFIX + base64.urlsafe_b64encode(checked).decode().rstrip("=")
    if len(token) > _MAX_TOKEN_CHARS:
        raise ConfigError(f"token of {len(token)} characters, limit {_MAX_TOKEN_CHARS}: name fewer addresses")
    return token


def decode_token(token: str) -> Invite:
    """The invite in a token. Raises DecodeError with what is wrong: another program's, cut off, or damaged."""
    token = token.strip()
    if not token.startswith(TOKEN_PREFIX):
        raise DecodeError(f"this is not a peerwatch token: it does not start with {TOKEN_PREFIX}")
    if len(token) > _MAX_TOKEN_CHARS:
        raise DecodeError(f"token of {len(token)} characters, limit {_MAX_TOKEN_CHARS}")
    text = token[len(TOKEN_PREFIX) :]
    try:
        checked = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise DecodeError("the token holds characters that no token has; copy it again") from error
    raw, check = checked[:-_CHECK_BYTES], checked[-_CHECK_BYTES:]
    if sha256(raw).digest()[:_CHECK_BYTES] != check:
        raise DecodeError("the token is cut off or mistyped; copy it again")
    message = parse_message(pb.InviteToken, raw)
    if len(message.fleet) != FLEET_BYTES or len(message.root) != KEY_BYTES:
        raise DecodeError("the token names no fleet")
    key = PrivateKey(message.invite_seed)
    return Invite(
        message.fleet,
        message.root,
        key,
        tuple(message.addresses),
        message.tls_pin,
        message.expires_ms,
        message.link,
        tuple(message.roles) or (AGENT,),
        tuple(message.multiaddrs)[:MAX_INVITE_MULTIADDRS],
    )


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A machine that asks to be let in: `invite` is the invite key's public half, `name` what it calls itself."""

    fleet: bytes
    invite: bytes
    member: bytes
    signing_key: bytes
    name: str
    time_ms: int


def sign_enrolment(invite: PrivateKey, peer: PrivateKey, signing: PrivateKey, enrolment: Enrolment) -> bytes:
    """The request, signed by the invite key and by both new keys, so that nobody enrols a key he does not hold."""
    body = pb.EnrolBody(
        fleet=enrolment.fleet,
        invite=enrolment.invite,
        member=enrolment.member,
        signing_key=enrolment.signing_key,
        name=enrolment.name,
        time_ms=enrolment.time_ms,
    ).SerializeToString()
    return pb.EnrolRequest(
        body=body,
        invite_signature=invite.sign(Domain.ENROL.value + body),
        member_signature=peer.sign(Domain.ENROL.value + body),
        signing_signature=signing.sign(Domain.ENROL.value + body),
    ).SerializeToString()


def open_enrolment(raw: bytes) -> Enrolment:
    """The request, once all three signatures hold. Whether the invite is good is the roster's to say."""
    request = parse_message(pb.EnrolRequest, raw)
    body = parse_message(pb.EnrolBody, request.body)
    if len(body.fleet) != FLEET_BYTES:
        raise SignatureError("enrolment names no fleet")
    for public, signature in (
        (body.invite, request.invite_signature),
        (body.member, request.member_signature),
        (body.signing_key, request.signing_signature),
    ):
        Verifier(public).verify(Domain.ENROL.value + request.body, signature)
    return Enrolment(body.fleet, body.invite, body.member, body.signing_key, body.name, body.time_ms)
