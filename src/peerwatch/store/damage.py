"""Damage: where bytes on disk failed their checksums. Counted, and logged once per place."""

from __future__ import annotations

import threading

from peerwatch.telemetry import Counter, get_logger

_KEPT_PLACES = 1024

_log = get_logger("store.damage")


class Damage:
    """Thread-safe. Remembers up to 1024 places; further ones are counted each time they are met."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._lock = threading.Lock()
        self._places: set[str] = set()
        self._count = 0

    @property
    def count(self) -> int:
        """Distinct places met since the store was opened."""
        return self._count

    @property
    def places(self) -> list[str]:
        """Where, as far as they are remembered."""
        with self._lock:
            return sorted(self._places)

    def note(self, event: str, place: str) -> None:
        """Count and log `place`, unless that was done before."""
        with self._lock:
            if place in self._places:
                return
            if len(self._places) < _KEPT_PLACES:
                self._places.add(place)
            self._count += 1
        self._counter.inc()
        _log.error(event, place=place)
