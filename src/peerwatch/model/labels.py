"""Labels: the identity of a series."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

METRIC_NAME = "__name__"

RESERVED = "\x00"
"""Names of labels that begin so are the store's own (see parts.py). Whatever lets labels in refuses them."""


class Labels(tuple[tuple[str, str], ...]):
    """Sorted (name, value) pairs without empty values; hashable, ordered as Prometheus orders label sets.

    Build with `Labels.of`, which sorts and drops empty values. The bare constructor trusts its argument.
    """

    __slots__ = ()

    @classmethod
    def of(cls, pairs: Mapping[str, str] | Iterable[tuple[str, str]] = (), /, **more: str) -> Labels:
        """Labels from a mapping or pairs; an empty value means that the label is absent."""
        merged = {**dict(pairs), **more}
        return cls(sorted((name, value) for name, value in merged.items() if value))

    def get(self, name: str, default: str = "") -> str:
        """The value of `name`, or `default` (an absent label is the empty string in this field)."""
        for key, value in self:
            if key == name:
                return value
        return default

    @property
    def metric(self) -> str:
        """The metric's name, or the empty string."""
        return self.get(METRIC_NAME)

    def with_(self, pairs: Mapping[str, str]) -> Labels:
        """These labels with `pairs` set; an empty value removes."""
        return Labels.of({**dict(self), **pairs})

    def without(self, names: Iterable[str]) -> Labels:
        """These labels less `names`."""
        drop = frozenset(names)
        return Labels([pair for pair in self if pair[0] not in drop])  # a list is a third faster than a generator

    def keep(self, names: Iterable[str]) -> Labels:
        """Only the labels in `names`."""
        wanted = frozenset(names)
        return Labels([pair for pair in self if pair[0] in wanted])

    def __str__(self) -> str:
        rest = ", ".join(f"{name}={_quote(value)}" for name, value in self if name != METRIC_NAME)
        return f"{self.metric}{{{rest}}}" if rest or not self.metric else self.metric

    def __repr__(self) -> str:
        return f"Labels({self!s})"


def _quote(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
