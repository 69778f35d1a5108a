"""NameFilter: which devices, mount points or fields a source leaves out."""

from __future__ import annotations

from peerwatch.errors import ConfigError, QueryError
from peerwatch.model.matcher import compile_pattern

_MAX_REMEMBERED = 4096


class NameFilter:
    """Decides by a pattern (RE2, found anywhere unless it is anchored) whether a name is meant.

    Answers are remembered, since the same names come every tick; at 4096 names the memory starts anew.
    """

    __slots__ = ("_known", "_pattern")

    def __init__(self, pattern: str, setting: str) -> None:
        try:
            self._pattern = compile_pattern(pattern)
        except QueryError as error:
            raise ConfigError(f"{setting}: {pattern!r} is not a pattern: {error}") from error
        self._known: dict[str, bool] = {}

    def matches(self, name: str) -> bool:
        """Whether the pattern is found in `name`."""
        known = self._known.get(name)
        if known is None:
            if len(self._known) >= _MAX_REMEMBERED:
                self._known.clear()
            known = self._known[name] = self._pattern.search(name) is not None
        return known
