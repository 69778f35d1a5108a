"""Bans: who is kept out, why, until when, and by whose word (requirements B28, B32).

A set of values that hubs share. What counts for a subject: a ban keeps it out while it lasts, unless a newer lift
exists. So the union of two sets means the same in whatever order, and however often, its parts arrive.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf

from peerwatch.errors import DecodeError, QuotaError
from peerwatch.node.address import IP, parse_subject
from peerwatch.node.networks import Networks

LIFT_KEPT_MS = 90 * 86_400_000  # a hub that was away for longer brings back what was lifted meanwhile: it fails closed
_MAX_REASON_CHARS = 256
_MAX_BY_CHARS = 128
_MAX_NUMBER = (1 << 63) - 1
_MAX_BANS = 16  # of one subject that do not cover each other: one per hub that did not hear of the rest; longest stay


@dataclass(frozen=True, slots=True)
class Ban:
    """One word about a subject: a peer id, or a network in its shortest form.

    `version` is later than that of everything its maker knew of the subject. `expires_ms` 0: for ever; in a lift it is
    when the lift itself may be forgotten.
    """

    subject: str
    reason: str
    by: str
    version: int
    expires_ms: int
    lifted: bool = False

    @property
    def permanent(self) -> bool:
        """Whether only a lift ends it."""
        return self.expires_ms == 0

    def ended(self, now_ms: int) -> bool:
        """Whether it means nothing any more."""
        return not self.permanent and now_ms >= self.expires_ms


def make_subject(text: str) -> str:
    """A peer id as it is, a network or an address in its one form. Raises DecodeError."""
    return str(parse_subject(text))


def checked_ban(ban: Ban) -> Ban:
    """A ban that came from elsewhere, with its subject in its one form. Raises DecodeError."""
    if len(ban.reason) > _MAX_REASON_CHARS or len(ban.by) > _MAX_BY_CHARS:
        raise DecodeError(
            f"ban with {len(ban.reason)} characters of reason and {len(ban.by)} of author, "
            f"limits {_MAX_REASON_CHARS} and {_MAX_BY_CHARS}"
        )
    if not 0 < ban.version <= _MAX_NUMBER or not 0 <= ban.expires_ms <= _MAX_NUMBER:
        raise DecodeError(f"ban with version {ban.version} and expiry {ban.expires_ms} ms, limit {_MAX_NUMBER}")
    if ban.lifted and ban.permanent:
        raise DecodeError(f"lift of {ban.subject!r} that is never forgotten")
    return Ban(make_subject(ban.subject), ban.reason, ban.by, ban.version, ban.expires_ms, ban.lifted)


class _Word:
    """All that counts of one subject: its bans that no other covers, and its newest lift."""

    __slots__ = ("bans", "lift")

    def __init__(self) -> None:
        self.bans: tuple[Ban, ...] = ()
        self.lift: Ban | None = None

    @property
    def version(self) -> int:
        return max((one.version for one in self.values()), default=0)

    def values(self) -> list[Ban]:
        return [*self.bans, self.lift] if self.lift else list(self.bans)

    def put(self, ban: Ban) -> bool:
        """Take it in; whether that changed anything."""
        if ban.lifted:
            return self._put_lift(ban)
        if (self.lift and ban.version <= self.lift.version) or any(_covers(one, ban) for one in self.bans):
            return False
        kept = [*(one for one in self.bans if not _covers(ban, one)), ban]
        self.bans = tuple(sorted(kept, key=lambda one: (_end(one), _order(one)))[-_MAX_BANS:])
        return ban in self.bans

    def _put_lift(self, lift: Ban) -> bool:
        if self.lift and _order(self.lift) >= _order(lift):
            return False
        self.lift = lift
        self.bans = tuple(one for one in self.bans if one.version > lift.version)
        return True

    def drop_ended(self, now_ms: int) -> bool:
        before = len(self.values())
        self.bans = tuple(one for one in self.bans if not one.ended(now_ms))
        if self.lift and self.lift.ended(now_ms):
            self.lift = None
        return len(self.values()) != before

    def strongest(self, now_ms: int) -> Ban | None:
        active = [one for one in self.bans if not one.ended(now_ms)]
        return max(active, key=lambda one: (_end(one), _order(one)), default=None)


def _end(ban: Ban) -> float:
    return inf if ban.permanent else ban.expires_ms


def _order(ban: Ban) -> tuple[int, float, str, str]:
    """Later or longer is more; the rest only settles it alike everywhere."""
    return ban.version, _end(ban), ban.by, ban.reason


def _covers(one: Ban, other: Ban) -> bool:
    """Whether `other` adds nothing to `one`: whatever is lifted and whatever time it is."""
    return one.version >= other.version and _end(one) >= _end(other) and _order(one) >= _order(other)


class Bans:
    """The bans known here. Owned by the node's event loop; `ban_file` keeps them on disk.

    Bounded by `max_subjects`. When full, whoever has the temporary ban that ends first goes (or a lift that is
    forgotten first) for one that lasts longer; where nothing ends earlier than the new ban, that is a QuotaError, and
    nobody is let in for it. `changes` grows with every change, so that an owner knows when to write the file.
    """

    def __init__(self, max_subjects: int = 10_000) -> None:
        self._max_subjects = max_subjects
        self._words: dict[str, _Word] = {}
        self._networks = Networks()
        self.changes = 0

    def __len__(self) -> int:
        return len(self._words)

    def __iter__(self) -> Iterator[Ban]:
        """Every value, lifts included: for the file and for other hubs."""
        return iter([ban for word in self._words.values() for ban in word.values()])

    def active(self, now_ms: int) -> list[Ban]:
        """The ban that counts of each subject that is kept out now, by subject."""
        found = [word.strongest(now_ms) for word in self._words.values()]
        return sorted((ban for ban in found if ban), key=lambda ban: ban.subject)

    def ban_permanent(self, subject: str, reason: str, by: str, now_ms: int) -> Ban:
        """Keep a peer id or network out until somebody lifts it. Raises DecodeError, QuotaError."""
        return self._ban(subject, reason, by, 0, now_ms)

    def ban_temporary(self, subject: str, duration_s: float, reason: str, by: str, now_ms: int) -> Ban:
        """Keep it out for a while. A longer ban that stands is not shortened: then that one is returned."""
        if not 0 < duration_s < inf:
            raise DecodeError(f"ban of {subject!r} for {duration_s} s, must be above 0 and finite")
        return self._ban(subject, reason, by, now_ms + max(1, round(duration_s * 1000)), now_ms)

    def lift(self, subject: str, reason: str, by: str, now_ms: int) -> Ban | None:
        """Let it in again; None when nothing known here keeps it out. A newer ban works again."""
        name = make_subject(subject)
        word = self._words.get(name)
        if word is None or word.strongest(now_ms) is None:
            return None
        ends = [now_ms + LIFT_KEPT_MS if one.permanent else one.expires_ms for one in word.bans]
        lift = checked_ban(Ban(name, reason, by, max(word.version + 1, now_ms), max(ends), lifted=True))
        self._put(lift, now_ms)
        return lift

    def is_blocked(self, peer: str | None, ip: IP | None, now_ms: int) -> bool:
        """Whether the peer, or a network that holds the address, is banned."""
        return bool(self.blocking([peer] if peer else [], ip, now_ms))

    def blocking(self, peers: Iterable[str], ip: IP | None, now_ms: int) -> str:
        """Why one of the peers, or the address, is banned now; empty when none is."""
        subjects = [*peers, *(str(one) for one in (self._networks.holding(ip) if ip is not None else ()))]
        for subject in subjects:
            word = self._words.get(subject)
            ban = word.strongest(now_ms) if word else None
            if ban:
                until = "for ever" if ban.permanent else f"until {ban.expires_ms} ms"
                return f"{subject} is banned {until} by {ban.by}: {ban.reason}"
        return ""

    def merge(self, bans: Iterable[Ban], now_ms: int) -> list[Ban]:
        """Take in what another hub knows, or a file; what was new is returned. Its right to say so is checked before.

        Raises DecodeError for what is no ban (those before it are kept). What does not fit is left out: a full list
        stays full of what it has.
        """
        taken = []
        for one in bans:
            ban = checked_ban(one)
            try:
                if not ban.ended(now_ms) and self._put(ban, now_ms):
                    taken.append(ban)
            except QuotaError:
                continue
        return taken

    def remove_ended(self, now_ms: int) -> int:
        """Forget what has expired; how many subjects are gone. Call it now and then, and before writing the file."""
        before = len(self._words)
        for name, word in list(self._words.items()):
            if word.drop_ended(now_ms):
                self.changes += 1
            if not word.values():
                self._forget(name)
        return before - len(self._words)

    def _ban(self, subject: str, reason: str, by: str, expires_ms: int, now_ms: int) -> Ban:
        name = make_subject(subject)
        word = self._words.get(name)
        standing = word.strongest(now_ms) if word else None
        version = max(now_ms, 1 if word is None else word.version + 1)
        ban = checked_ban(Ban(name, reason, by, version, expires_ms))
        if standing is not None and (standing.permanent or _end(standing) > _end(ban)):
            return standing
        self._put(ban, now_ms)
        return ban

    def _put(self, ban: Ban, now_ms: int) -> bool:
        word = self._words.get(ban.subject)
        if word is None:
            self._make_room(ban, now_ms)
            word = self._words[ban.subject] = _Word()
            network = parse_subject(ban.subject)
            if not isinstance(network, str):
                self._networks.add(network)
        changed = word.put(ban)
        self.changes += changed
        return changed

    def _make_room(self, ban: Ban, now_ms: int) -> None:
        if len(self._words) < self._max_subjects:
            return
        self.remove_ended(now_ms)
        if len(self._words) < self._max_subjects:
            return
        weakest = min(self._words, key=lambda name: _last_end(self._words[name]))
        if _last_end(self._words[weakest]) >= _end(ban):
            raise QuotaError(
                f"ban of {ban.subject}: {len(self._words)} bans that last longer, limit {self._max_subjects}"
            )
        self._forget(weakest)

    def _forget(self, name: str) -> None:
        del self._words[name]
        self.changes += 1
        network = parse_subject(name)
        if not isinstance(network, str):
            self._networks.discard(network)


def _last_end(word: _Word) -> float:
    return max((_end(one) for one in word.values()), default=0.0)
