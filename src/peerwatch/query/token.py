"""Token: one word of a PromQL text."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from peerwatch.query.gotext import quote


class Kind(Enum):
    """What a token is, as far as the grammar cares."""

    EOF = auto()
    ERROR = auto()
    NUMBER = auto()
    DURATION = auto()
    STRING = auto()
    IDENTIFIER = auto()
    METRIC_IDENTIFIER = auto()
    AGGREGATOR = auto()
    KEYWORD = auto()
    PREPROCESSOR = auto()
    OPERATOR = auto()
    PUNCTUATION = auto()


_PLAIN_AGGREGATORS = frozenset(["sum", "avg", "count", "min", "max", "group", "stddev", "stdvar"])
AGGREGATORS_WITH_PARAMETER = frozenset(["topk", "bottomk", "count_values", "quantile", "limitk", "limit_ratio"])
AGGREGATORS = _PLAIN_AGGREGATORS | AGGREGATORS_WITH_PARAMETER
WORD_OPERATORS = frozenset(["and", "or", "unless", "atan2"])
_MATCHING_KEYWORDS = frozenset(
    ["on", "ignoring", "group_left", "group_right", "fill", "fill_left", "fill_right", "bool"]
)
KEYWORDS = _MATCHING_KEYWORDS | {"offset", "smoothed", "anchored", "by", "without"}
PREPROCESSORS = frozenset(["start", "end", "step", "range", "max_of", "min_of"])
NUMBER_WORDS = frozenset(["inf", "nan"])

WORD_KINDS: dict[str, Kind] = (
    dict.fromkeys(AGGREGATORS, Kind.AGGREGATOR)
    | dict.fromkeys(WORD_OPERATORS, Kind.OPERATOR)
    | dict.fromkeys(KEYWORDS, Kind.KEYWORD)
    | dict.fromkeys(PREPROCESSORS, Kind.PREPROCESSOR)
    | dict.fromkeys(NUMBER_WORDS, Kind.NUMBER)
)

NOT_A_METRIC = frozenset(["bool", "on", "ignoring", "group_left", "group_right", "atan2", "inf", "nan"])
"""Words that cannot stand for a metric of that name."""


@dataclass(frozen=True, slots=True)
class Token:
    """`text` as written, from character `start` of the query. For ERROR the text is the message."""

    kind: Kind
    text: str
    start: int
    end: int

    @property
    def word(self) -> str:
        """The text in lower case: keywords, operators and aggregators are case-insensitive."""
        return self.text.lower()

    def describe(self) -> str:
        """How an error message names this token."""
        shown = quote(self.text) if len(self.text) <= 10 else quote(self.text[:10]) + "..."
        match self.kind:
            case Kind.EOF:
                return "end of input"
            case Kind.ERROR:
                return self.text
            case Kind.IDENTIFIER:
                return f"identifier {quote(self.text)}"
            case Kind.METRIC_IDENTIFIER:
                return f"metric identifier {quote(self.text)}"
            case Kind.STRING | Kind.NUMBER | Kind.DURATION:
                return f"{self.kind.name.lower()} {shown}"
            case Kind.KEYWORD:
                return f"<{self.text}>"
            case Kind.OPERATOR:
                return f"<op:{self.text}>"
            case Kind.AGGREGATOR:
                return f"<aggr:{self.text}>"
            case _:
                return shown
