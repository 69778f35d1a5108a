"""Exchange: two hubs tell each other what only one of them knows of the fleet. Bytes to bytes; no I/O.

A first question holds a digest of the whole roster, which is all that travels while the two agree. Where they do not,
a second one holds a print of every entry; the answer has the entries that the asker lacks and the prints of those that
the other lacks, which go with a third. Entries are signed one by one, so who carries them is not believed for that.

A relay asks in the same way and is told nothing less, for it must know every member; what it sends is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from peerwatch.errors import DecodeError, PeerError, SignatureError
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.keys import MemberKeys
from peerwatch.fleet.membership import Membership
from peerwatch.fleet.trust import certified_hub
from peerwatch.model import Clock
from peerwatch.telemetry import get_logger
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.identity import Verifier
from peerwatch.wire.signed import Domain, open_message, parse_message, sign_message, split_message

ROSTER_PATH = "/api/v1/roster"
MAX_QUESTION_BYTES = 8 << 20  # the prints of a full roster take 1.6 MB, entries at most a quarter of this
_MOST_ENTRY_BYTES = 2 << 20  # in one message, which must fit a frame of libp2p; the rest goes with the next exchange
_PRINT_BYTES = 16
_MOST_SKEW_MS = 300_000  # between two hubs' clocks; an older question is a replay

_log = get_logger("roster")


@dataclass(frozen=True, slots=True)
class Heard:
    """What an answer said: whether the other hub knows more or less, and the prints of what it lacks."""

    agrees: bool
    lacking: frozenset[bytes]


class Asker:
    """Asks for one hub or relay. Owned by its event loop; `on_change` makes durable what was learned."""

    def __init__(self, membership: Membership, keys: MemberKeys, clock: Clock, on_change: Callable[[], None]) -> None:
        self._membership = membership
        self._keys = keys
        self._clock = clock
        self._on_change = on_change

    def first_question(self, to: bytes) -> bytes:
        """Do we know the same?"""
        return self._question(to, pb.RosterQuestion())

    def second_question(self, to: bytes) -> bytes:
        """Here is what I know: what do I lack, and what do you?"""
        return self._question(to, pb.RosterQuestion(prints=b"".join(sorted(self._prints()))))

    def third_question(self, to: bytes, lacking: frozenset[bytes]) -> bytes:
        """Here is what you lack."""
        entries = [raw for name, raw in self._prints().items() if name in lacking]
        return self._question(to, pb.RosterQuestion(entries=_bounded(entries)))

    def _question(self, to: bytes, question: pb.RosterQuestion) -> bytes:
        membership, trust = self._membership, self._membership.trust
        question.fleet, question.hub, question.to = membership.fleet, self._keys.peer.public, to
        question.time_ms = self._clock.now_ms()
        question.digest = _digest(self._prints())
        question.certificates.extend(trust.certificates)
        question.rotations.extend(trust.rotations)
        return sign_message(self._keys.signing, Domain.ROSTER_QUESTION, question.SerializeToString())

    def digest(self) -> bytes:
        """The digest over all that is known here."""
        return _digest(self._prints())

    def take(self, raw: bytes) -> Heard:
        """Take in what a hub answered. Raises DecodeError for nonsense."""
        answer = parse_message(pb.RosterAnswer, raw)
        self._learn(answer.rotations, answer.certificates, answer.entries)
        return Heard(answer.digest == _digest(self._prints()), frozenset(_split(answer.lacking)))

    def _learn(self, rotations: Sequence[bytes], certificates: Iterable[bytes], entries: Iterable[bytes]) -> None:
        """Merge piece by piece: one that is not believed does not stop the others."""
        membership, now_ms = self._membership, self._clock.now_ms()
        changed = membership.trust.learn(rotations, certificates, now_ms)
        for raw in entries:
            try:
                changed |= membership.roster.merge(raw, now_ms) is not None
            except PeerError as error:
                _log.warning("roster entry not believed", reason=str(error))
        if changed:
            self._on_change()

    def _prints(self) -> dict[bytes, bytes]:
        """Print -> entry, of all that is still of use."""
        return {_print(raw): raw for raw in self._membership.roster.raw_entries(self._clock.now_ms())}


class Exchange(Asker):
    """Asks and answers for one hub; what is learned is on disk before it is answered."""

    def __init__(self, authority: Authority, clock: Clock) -> None:
        super().__init__(authority.membership, authority.keys, clock, authority.settle)

    def answer(self, raw: bytes) -> bytes:
        """The answer to a hub's or relay's question, once it is known to be one. Raises PeerError with the reason."""
        if len(raw) > MAX_QUESTION_BYTES:
            raise DecodeError(f"roster question of {len(raw)} bytes, limit {MAX_QUESTION_BYTES}")
        question = self._opened(raw)
        if self._relay_key(question) is None:
            self._learn(question.rotations, question.certificates, question.entries)
        ours, trust = self._prints(), self._membership.trust
        answer = pb.RosterAnswer(digest=_digest(ours), certificates=trust.certificates, rotations=trust.rotations)
        if question.prints:
            theirs = _split(question.prints)
            answer.entries.extend(_bounded(raw for name, raw in ours.items() if name not in theirs))
            answer.lacking = b"".join(sorted(theirs - ours.keys()))
        return answer.SerializeToString()

    def _opened(self, raw: bytes) -> pb.RosterQuestion:
        payload, _, _ = split_message(raw)
        question = parse_message(pb.RosterQuestion, payload)
        if question.fleet != self._membership.fleet or question.to != self._keys.peer.public:
            raise SignatureError("roster question is for another fleet or another hub")
        now_ms = self._clock.now_ms()
        if abs(now_ms - question.time_ms) > _MOST_SKEW_MS:
            raise SignatureError(
                f"roster question is of {question.time_ms} ms, here it is {now_ms} ms: check the clocks"
            )
        relay = self._relay_key(question)
        if relay is not None:
            open_message(raw, Domain.ROSTER_QUESTION, relay)
            return question
        # Of what a stranger sends two signatures are looked at: more would let him keep this hub busy.
        own = [one for one in question.certificates if certified_hub(one) == question.hub][:1]
        self._membership.trust.learn(question.rotations, own, now_ms)
        verifier = self._membership.hub_verifier(question.hub, now_ms)
        open_message(raw, Domain.ROSTER_QUESTION, verifier)
        return question

    def _relay_key(self, question: pb.RosterQuestion) -> Verifier | None:
        """By which the asker signs, where it is a relay of this fleet."""
        entry = self._membership.roster.get(question.hub)
        is_relay = entry is not None and entry.is_relay and self._membership.roster.may_act(entry, self._clock.now_ms())
        return Verifier(entry.signing_key) if entry is not None and is_relay else None


def _print(raw: bytes) -> bytes:
    return sha256(raw).digest()[:_PRINT_BYTES]


def _digest(prints: Iterable[bytes]) -> bytes:
    return sha256(b"".join(sorted(prints))).digest()


def _split(prints: bytes) -> set[bytes]:
    if len(prints) % _PRINT_BYTES:
        raise DecodeError(f"{len(prints)} bytes of roster prints, not a multiple of {_PRINT_BYTES}")
    return {prints[at : at + _PRINT_BYTES] for at in range(0, len(prints), _PRINT_BYTES)}


def _bounded(entries: Iterable[bytes]) -> list[bytes]:
    taken: list[bytes] = []
    left = _MOST_ENTRY_BYTES
    for raw in entries:
        left -= len(raw)
        if left < 0:
            break
        taken.append(raw)
    return taken
