"""Queryable: all that the engine knows of where samples come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from peerwatch.model import Matcher, SeriesSet


class Queryable(Protocol):
    """A store, or anything that can answer like one. Called from worker threads, several at once."""

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, *, max_samples: int | None = None
    ) -> SeriesSet:
        """All series that satisfy every matcher, with their samples in [start_ms, end_ms] (both ends inclusive).

        Labels come sorted; each sample once; stale markers included. A read sees every acknowledged sample exactly
        once, whatever flush or compaction does meanwhile. Raises LimitError before it holds more than `max_samples`.
        """
        ...

    def label_values(self, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """Sorted distinct values of label `name` among the series that match and may have samples in the range."""
        ...

    def label_names(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """Sorted distinct label names among the series that match and may have samples in the range."""
        ...
