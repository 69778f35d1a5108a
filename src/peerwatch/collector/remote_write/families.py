"""Families: what writers say metrics mean. Remote write 1.0 tells it apart from the samples, once a minute."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from peerwatch.model import Labels, MetricType, Series
from peerwatch.wire.remote_write import Meaning

_SUFFIXES = ("", "_bucket", "_sum", "_count", "_total", "_created", "_info", "_gsum", "_gcount")
NOTHING: Meaning = (MetricType.UNKNOWN, "", "")
"""What is said of a metric of which nothing is known."""


class Families:
    """Meanings by family, and one series of each metric, to tell the store about. Owned by the receiver.

    Bounded: past `max_families` families, and that many metrics, further ones have no meaning.
    """

    def __init__(self, max_families: int) -> None:
        self._max = max_families
        self._meanings: dict[str, Meaning] = {}
        self._examples: dict[str, Labels] = {}

    def meaning(self, metric: str) -> Meaning:
        """What is known of a metric: its own entry, else that of the family whose part it is."""
        exact = self._meanings.get(metric)
        if exact is not None:
            return exact
        base, cut, suffix = metric.rpartition("_")
        return self._meanings.get(base, NOTHING) if cut + suffix in _SUFFIXES else NOTHING

    def __contains__(self, metric: str) -> bool:
        """Whether this metric's own meaning is known, or there is no room for it."""
        return metric in self._meanings or len(self._meanings) >= self._max

    def note(self, series: Iterable[Series]) -> None:
        """Remember that the store knows these."""
        for one in series:
            if len(self._examples) < self._max:
                self._examples.setdefault(one.labels.metric, one.labels)

    def learn(self, families: Mapping[str, Meaning]) -> list[Series]:
        """Take new meanings in; the series by which the store is to learn them, one per metric."""
        changed = [name for name, meaning in families.items() if self._meanings.get(name) != meaning]
        for name in changed:
            if name in self._meanings or len(self._meanings) < self._max:
                self._meanings[name] = families[name]
        metrics = {name + suffix for name in changed for suffix in _SUFFIXES}
        known = sorted(metrics & self._examples.keys())
        return [Series(self._examples[name], *self.meaning(name)) for name in known]
