"""Members: who may push, by the roster, and what is known of each since the hub started."""

from __future__ import annotations

from collections.abc import Iterator

from peerwatch.collector.config import CollectorConfig
from peerwatch.collector.member import AgentStatus, MemberState
from peerwatch.fleet.roster import Roster, RosterEntry
from peerwatch.model import Clock
from peerwatch.wire.identity import peer_id


class Members:
    """The states of those who push. Owned by the collector's event loop; bounded by the roster."""

    def __init__(self, roster: Roster, config: CollectorConfig, clock: Clock) -> None:
        self._roster = roster
        self._config = config
        self._clock = clock
        self._started_ms = clock.now_ms()
        self._states: dict[bytes, MemberState] = {}

    def get(self, sender: bytes) -> MemberState | None:
        """The state of an active member; None for strangers, the revoked, the expired and open invites."""
        entry, now_ms = self._roster.get(sender), self._clock.now_ms()
        state = self._states.get(sender)
        if state is not None and state.entry is entry and self._roster.may_act(entry, now_ms):
            return state  # the roster has not changed, so its roles have not
        if entry is None or not self._may_push(entry, now_ms):
            self._states.pop(sender, None)
            return None
        if state is None or state.entry.signing_key != entry.signing_key or state.name != entry.name:
            state = self._states[sender] = MemberState(entry, self._config, self._clock.monotonic_s())
        state.entry = entry
        return state

    def statuses(self, *, revoked: bool = False) -> list[AgentStatus]:
        """Every active agent, by name; and those that were revoked where they are asked for."""
        now_ms = self._clock.now_ms()
        entries = list(self._agents(now_ms))
        if revoked:
            entries += [one for one in self._roster if one.revoked and one.is_agent]
        return [self._status(entry, now_ms) for entry in sorted(entries, key=lambda entry: entry.name)]

    def is_revoked(self, sender: bytes) -> bool:
        """Whether that member was put out of the fleet."""
        return self._roster.is_revoked_key(sender)

    def status(self, name: str) -> AgentStatus | None:
        """The active agent of that name."""
        now_ms = self._clock.now_ms()
        found = (entry for entry in self._roster.named(name) if entry.is_agent and self._may_push(entry, now_ms))
        return next((self._status(entry, now_ms) for entry in found), None)

    def reporting(self) -> int:
        """How many report now."""
        now_ms = self._clock.now_ms()
        return sum(self._is_up(entry, now_ms) for entry in self._agents(now_ms))

    def judged(self, now_ms: int) -> dict[str, bool]:
        """Name -> whether it is up. Who has not reported yet is judged only once it has had the time to."""
        settled = now_ms - self._started_ms > self._config.silent_after_ms
        return {
            entry.name: self._is_up(entry, now_ms)
            for entry in self._agents(now_ms)
            if settled or self._last_seen_ms(entry)
        }

    def _agents(self, now_ms: int) -> Iterator[RosterEntry]:
        return (entry for entry in self._roster if entry.is_agent and self._may_push(entry, now_ms))

    def _may_push(self, entry: RosterEntry, now_ms: int) -> bool:
        return (entry.is_agent or entry.is_hub) and self._roster.may_act(entry, now_ms)

    def _last_seen_ms(self, entry: RosterEntry) -> int:
        state = self._states.get(entry.member)
        return 0 if state is None else state.last_seen_ms

    def _is_up(self, entry: RosterEntry, now_ms: int) -> bool:
        return now_ms - self._last_seen_ms(entry) <= self._config.silent_after_ms

    def _status(self, entry: RosterEntry, now_ms: int) -> AgentStatus:
        state = self._states.get(entry.member)
        if state is None:
            return AgentStatus(entry.name, peer_id(entry.member), entry.roles, entry.revoked, False, 0, 0, 0, 0, 0, 0)
        return AgentStatus(
            name=entry.name,
            peer_id=peer_id(entry.member),
            roles=entry.roles,
            revoked=entry.revoked,
            up=not entry.revoked and self._is_up(entry, now_ms),
            since_ms=state.epoch,
            last_seen_ms=state.last_seen_ms,
            newest_sample_ms=state.newest_ms,
            behind_batches=state.behind_batches,
            active_series=state.quota.active,
            refused_batches=state.refused,
        )
