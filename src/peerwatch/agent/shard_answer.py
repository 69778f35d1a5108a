"""What a hub's answer is worth: whether it took something, and whether another hub may say otherwise."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from peerwatch.agent.ship import Link
from peerwatch.errors import DecodeError, LinkError, PeerError, SignatureError
from peerwatch.fleet.membership import Membership
from peerwatch.model import Clock
from peerwatch.wire.ack import Ack
from peerwatch.wire.envelope import parse_envelope
from peerwatch.wire.push import PushReply, RefusalReason, decode_reply, decode_request

_OF_THE_HUB = (RefusalReason.QUOTA, RefusalReason.STORE, RefusalReason.UNSPECIFIED)
"""What a hub says of itself, or of what it bears now."""
_WORD_AGAINST_WORD = (
    RefusalReason.FUTURE,  # whose clock is wrong?
    RefusalReason.TOO_OLD,
    RefusalReason.MALFORMED,  # an older version of ours, or damage in its memory
    RefusalReason.SIGNATURE,  # a roster that is old, or a sender that is no member any more
    RefusalReason.NOT_A_MEMBER,
    RefusalReason.WRONG_FLEET,
)
"""What is the sender's fault or the hub's, which another hub can tell. Not so CLONED and SERIES_LIMIT: they follow from
what this hub has taken before, and that another has not proves nothing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`took`: something of the request is durable, by an ack that verifies. `doubt`: why it may be the hub's fault that
    nothing was taken; empty where it is not. `error`: the request could not be read there, for all that was said."""

    raw: bytes = b""
    took: bool = False
    doubt: str = ""
    error: DecodeError | None = None

    def outcome(self) -> bytes:
        """What `Link.push` returns or raises for it."""
        if self.error is not None:
            raise self.error
        return self.raw


class AnswerJudge:
    """Judges by what the agent knows of its fleet. Owned by one ShardLink; without state."""

    def __init__(self, membership: Membership, sender: bytes, clock: Clock) -> None:
        self._membership = membership
        self._sender = sender
        self._clock = clock

    async def push(self, link: Link, request: bytes) -> Answer:
        """Push and judge. Raises LinkError for what is no answer, and where the hub takes nothing of anybody now."""
        try:
            raw = await link.push(request)
        except DecodeError as error:
            return Answer(doubt=f"it cannot read the request: {error}", error=error)
        try:
            reply = decode_reply(raw)
        except DecodeError as error:
            raise LinkError(f"hub answered with something else than a reply: {error}") from error
        problem = self._problem_of_acks(reply, request)
        if not problem and reply.acks:
            return Answer(raw, took=True)
        if reply.need_schemas:
            return Answer(raw)
        return Answer(raw, doubt=_problem_of_refusals(reply) or problem)

    def _problem_of_acks(self, reply: PushReply, request: bytes) -> str:
        """Why no ack is for anything in this request; empty where one is, or where there is none."""
        problem = ""
        for ack in reply.acks:
            try:
                self._verify(ack, reply.hub)
            except SignatureError as error:
                problem = f"its ack is not believed: {error}"
                continue
            if any(ack.epoch == epoch and a <= seq <= b for epoch, seq in _numbers(request) for a, b in ack.runs):
                return ""
            problem = problem or "it acknowledges what it was not sent"
        return problem

    def _verify(self, ack: Ack, hub: bytes) -> None:
        verifier = self._membership.hub_verifier(hub, self._clock.now_ms())
        ack.verify(verifier, self._membership.fleet, self._sender)


def _numbers(request: bytes) -> list[tuple[int, int]]:
    """Epoch and seq of each envelope that can be read; damage in the spool is found by the hub."""
    found = []
    for raw in decode_request(request).envelopes:
        with suppress(PeerError):
            header = parse_envelope(raw).header
            found.append((header.epoch, header.seq))
    return found


def _problem_of_refusals(reply: PushReply) -> str:
    """What another hub may see otherwise, where no schemas are needed. Raises LinkError for trouble of the hub's."""
    if not reply.refusals and not reply.acks:
        raise LinkError("hub did not answer for anything")
    for refusal in reply.refusals:
        if refusal.reason in _OF_THE_HUB:
            raise LinkError(f"hub took nothing: {refusal.message}", refusal.wait_s or None)
    contested = [one for one in reply.refusals if one.reason in _WORD_AGAINST_WORD]
    return f"it refuses what another takes: {contested[0].message}" if contested else ""


class SecondOpinions:
    """When another hub is asked about what one refuses, and which. Mutable; owned by one ShardLink.

    One more hub is asked about a request, never all of them. Where it says the same, the sender is at fault, and it
    asks nobody else for a while, longer each time; the next time it asks another one, so that two hubs with the same
    wrong clock do not agree for ever.
    """

    def __init__(self, clock: Clock, first_s: float, most_s: float) -> None:
        self._clock = clock
        self._first_s = first_s
        self._most_s = most_s
        self._gap_s = first_s
        self._not_before_s = 0.0
        self._turn = 0

    def order(self, others: list[bytes]) -> list[bytes]:
        """The hubs that may be asked, in order; none now, where others have lately said the same."""
        if not others or self._clock.monotonic_s() < self._not_before_s:
            return []
        first = self._turn % len(others)
        return others[first:] + others[:first]

    def agreed(self) -> None:
        """Two hubs have said the same."""
        self._not_before_s = self._clock.monotonic_s() + self._gap_s
        self._gap_s = min(2 * self._gap_s, self._most_s)
        self._turn += 1

    def taken(self) -> None:
        """A hub has taken something."""
        self._gap_s = self._first_s
