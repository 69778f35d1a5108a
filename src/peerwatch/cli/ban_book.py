"""BanBook: the bans that a hub or agent keeps: those of its node, of its people, and of other hubs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from peerwatch.errors import ConfigError, DecodeError
from peerwatch.fleet.roster import Roster
from peerwatch.model import Clock
from peerwatch.node.address import parse_subject
from peerwatch.node.ban_file import load_bans, save_bans
from peerwatch.node.bans import Ban, Bans
from peerwatch.wire.identity import public_key_of

_WIDEST = {4: 8, 6: 16}  # prefix lengths: a wider network is a slip of the finger that locks everybody out
_MAX_BY_CHARS = 128
_PERSON = "operator at "  # so that nobody's name is taken for a node's peer id


class BanBook:
    """One per main process, owned by its event loop; every change is on disk on return. Bounded like `Bans`.

    Hubs are never in it: they are put out by revoking them. `on_change` is called after each change.
    """

    def __init__(self, path: Path, name: str, clock: Clock, roster: Callable[[], Roster]) -> None:
        self._path = path
        self._by = (_PERSON + name)[:_MAX_BY_CHARS]
        self._clock = clock
        self._roster = roster
        self.on_change: Callable[[], None] = lambda: None
        self._bans = Bans()
        self._bans.merge(load_bans(path), clock.now_ms())
        self._keys = self._banned_keys()

    @property
    def changes(self) -> int:
        """Grows with every change: tells a copy that it is old."""
        return self._bans.changes

    def __iter__(self) -> Iterator[Ban]:
        """Every value, lifts included."""
        return iter(self._bans)

    def active(self) -> list[Ban]:
        """The ban that counts of whoever is kept out now, by subject."""
        return self._bans.active(self._clock.now_ms())

    def blocking(self, member: bytes) -> str:
        """Why this member is kept out now; empty when it is not. A look into a table where nobody is banned."""
        peer = self._keys.get(member)
        return self._bans.blocking([peer], None, self._clock.now_ms()) if peer else ""

    def add(self, subject: str, duration_s: float, reason: str) -> Ban:
        """Keep a peer id or network out, by a person's word; 0 s: until somebody lifts it. Raises ConfigError."""
        self._check(subject)
        now_ms = self._clock.now_ms()
        if duration_s:
            ban = self._bans.ban_temporary(subject, duration_s, reason, self._by, now_ms)
        else:
            ban = self._bans.ban_permanent(subject, reason, self._by, now_ms)
        self._keep()
        return ban

    def lift(self, subject: str, reason: str) -> Ban:
        """Let it in again. Raises ConfigError where no ban is on it."""
        lift = self._bans.lift(subject, reason, self._by, self._clock.now_ms())
        if lift is None:
            raise ConfigError(f"there is no ban on {subject}; those there are: peerwatch bans list")
        self._keep()
        return lift

    def take(self, bans: Iterable[Ban]) -> list[Ban]:
        """What our own node has banned; what was new of it. Raises DecodeError for what is no ban."""
        taken = self._bans.merge(bans, self._clock.now_ms())
        if taken:
            self._keep()
        return taken

    def shared(self) -> list[Ban]:
        """What other hubs are to know: all but the bans that a node made on places.

        Those say what was seen from here; another hub may have honest members there.
        """
        self._bans.remove_ended(self._clock.now_ms())
        return [one for one in self._bans if _is_for_all(one) and not self._is_hub(parse_subject(one.subject))]

    def take_shared(self, bans: Iterable[Ban]) -> list[Ban]:
        """What somebody has told who is known to be a hub; what was new of it. Raises DecodeError."""
        return self.take(one for one in bans if _is_for_all(one) and not self._is_hub(parse_subject(one.subject)))

    def _check(self, subject: str) -> None:
        try:
            what = parse_subject(subject)
        except DecodeError as error:
            raise ConfigError(
                f"{subject!r} is no member's name, no peer id, no network such as 192.0.2.0/24: {error}"
            ) from error
        if self._is_hub(what):
            raise ConfigError(f"{what} is a hub of this fleet; hubs are put out by: peerwatch revoke")
        if not isinstance(what, str) and what.prefixlen < _WIDEST[what.version]:
            raise ConfigError(f"{what} is wider than a /{_WIDEST[what.version]}, the widest network that is banned")

    def _is_hub(self, subject: object) -> bool:
        if not isinstance(subject, str):
            return False
        entry = self._roster().get(public_key_of(subject))
        return entry is not None and entry.is_hub and not entry.revoked

    def _keep(self) -> None:
        self._bans.remove_ended(self._clock.now_ms())
        save_bans(self._path, self._bans)
        self._keys = self._banned_keys()
        self.on_change()

    def _banned_keys(self) -> dict[bytes, str]:
        peers = [one.subject for one in self._bans if isinstance(parse_subject(one.subject), str)]
        return {public_key_of(peer): peer for peer in peers}


def _is_for_all(ban: Ban) -> bool:
    return isinstance(parse_subject(ban.subject), str) or not _made_by_node(ban)


def _made_by_node(ban: Ban) -> bool:
    try:
        public_key_of(ban.by)
    except DecodeError:
        return False
    return True
