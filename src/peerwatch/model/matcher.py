"""Matcher: which values of one label are meant."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

import re2

from peerwatch.errors import QueryError

MAX_PATTERN_BYTES = 64 << 10
_RE2_BUDGET_BYTES = 8 << 20  # RE2's own default; a pattern that needs more is refused, not run slowly


class MatchOp(Enum):
    """The four operators of a selector."""

    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"


@dataclass(frozen=True, slots=True)
class Matcher:
    """`name op value`. An absent label has the value ``""``. Patterns are RE2, anchored at both ends: linear time."""

    name: str
    op: MatchOp
    value: str

    def __post_init__(self) -> None:
        if self.op in (MatchOp.REGEX, MatchOp.NOT_REGEX):
            compile_pattern(self.value)

    def matches(self, value: str) -> bool:
        """Whether a label with this value is meant."""
        if self.op is MatchOp.EQUAL:
            return value == self.value
        if self.op is MatchOp.NOT_EQUAL:
            return value != self.value
        found = compile_pattern(self.value).fullmatch(value) is not None
        return found is (self.op is MatchOp.REGEX)

    @property
    def matches_empty(self) -> bool:
        """Whether series without the label are meant too."""
        return self.matches("")

    def __str__(self) -> str:
        escaped = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.name}{self.op.value}"{escaped}"'


@lru_cache(maxsize=1024)
def compile_pattern(pattern: str) -> re2._Regexp:
    """The compiled form of a matcher's pattern ('.' matches a newline, as in Prometheus).

    Raises QueryError for what RE2 does not accept or for a pattern over `MAX_PATTERN_BYTES`.
    """
    size_bytes = len(pattern.encode())
    if size_bytes > MAX_PATTERN_BYTES:
        raise QueryError(f"regular expression of {size_bytes} bytes, limit {MAX_PATTERN_BYTES}")
    options = re2.Options()
    options.max_mem = _RE2_BUDGET_BYTES
    options.log_errors = False
    options.dot_nl = True
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0]
        text = reason.decode() if isinstance(reason, bytes) else str(reason)
        raise QueryError(f"regular expression {pattern[:200]!r}: {text}") from error
