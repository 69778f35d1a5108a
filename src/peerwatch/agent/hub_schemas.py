"""HubSchemas: which schemas one hub has asked for, and which it has."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from peerwatch.wire.limits import DEFAULT_LIMITS

_MAX_KNOWN = 4_096
_MAX_BYTES = 4 << 20  # of records in one request: they and a full lane stay far below a hub's limits

Delta = Callable[[bytes], tuple[bytes, bytes] | None]


@dataclass(frozen=True, slots=True)
class SentSchemas:
    """The schema records of one request. `whole` names those that were sent in full, `lost` those nobody has."""

    records: tuple[bytes, ...] = ()
    whole: frozenset[bytes] = frozenset()
    lost: frozenset[bytes] = frozenset()


class HubSchemas:
    """Mutable; owned by one Shipper, on its event loop. Bounded: what is forgotten is sent again when it is asked for.

    A schema goes out when the hub asks: at first as a change of one that it has, and when it asks again as a whole.
    """

    def __init__(self, delta: Delta) -> None:
        self._delta = delta
        self._has: set[bytes] = set()
        self._asked: dict[bytes, bool] = {}  # schema id -> whether only the whole one helps

    def wanted(self, used: Iterable[bytes]) -> list[bytes]:
        """Those of `used` that the hub asked for, as many as one request may hold."""
        return [one for one in used if one in self._asked][: DEFAULT_LIMITS.max_schemas]

    def choose(self, wanted: Iterable[bytes], whole: Mapping[bytes, bytes | None]) -> SentSchemas:
        """What to send for `wanted`; `whole` has the full records, None where the spool lost one."""
        records: list[bytes] = []
        in_full: set[bytes] = set()
        lost: set[bytes] = set()
        room_bytes = _MAX_BYTES
        for schema_id in wanted:
            change = None if self._asked.get(schema_id, True) else self._delta(schema_id)
            use_change = change is not None and change[0] in self._has
            record = change[1] if change is not None and use_change else whole.get(schema_id)
            if record is None:
                lost.add(schema_id)
                continue
            room_bytes -= len(record)
            if room_bytes < 0 and records:
                break
            records.append(record)
            if not use_change:
                in_full.add(schema_id)
        return SentSchemas(tuple(records), frozenset(in_full), frozenset(lost))

    def answered(self, used: Collection[bytes], sent: SentSchemas, needs: Collection[bytes]) -> bool:
        """Take in what the hub needs now; False when it asks for one that it was just sent in full."""
        needed = {one for one in needs if one in used}
        known = set(used) - needed
        if len(self._has) + len(known) > _MAX_KNOWN:
            self._has.clear()
        self._has |= known
        self._has -= needed
        for schema_id in known:
            self._asked.pop(schema_id, None)
        for schema_id in needed:
            self._asked[schema_id] = schema_id in self._asked  # asked before: the change did not help
        return not needed & sent.whole
