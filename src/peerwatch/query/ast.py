"""The syntax tree of PromQL: frozen values. Equality ignores positions."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from peerwatch.model import Matcher


class ValueType(Enum):
    """What an expression yields; the value is how messages name it."""

    SCALAR = "scalar"
    STRING = "string"
    VECTOR = "instant vector"
    MATRIX = "range vector"


@dataclass(frozen=True, slots=True)
class Span:
    """Characters start..end (exclusive) of the query text."""

    start: int
    end: int


NOWHERE = Span(0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expr:
    """Anything that has a value."""

    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class NumberLiteral(Expr):
    """A scalar. `is_duration`: it was written as one (5m is 300). NaN is always `math.nan` itself, so trees compare."""

    value: float
    is_duration: bool = False


@dataclass(frozen=True, slots=True)
class StringLiteral(Expr):
    """A string, unquoted; bytes that are not UTF-8 are surrogate escapes."""

    value: str


@dataclass(frozen=True, slots=True)
class DurationExpr(Expr):
    """Arithmetic on durations, resolved when the query's step and range are known. `op` may be step, range, min_of,
    max_of (functions) or an arithmetic operator; a unary one has no `lhs`. `wrapped`: written in parentheses."""

    op: str
    lhs: DurationExpr | NumberLiteral | None = None
    rhs: DurationExpr | NumberLiteral | None = None
    wrapped: bool = False


Duration = int | DurationExpr
"""Milliseconds, or an expression that yields seconds."""


class AtEdge(Enum):
    """The moving ends that @ can name."""

    START = "start"
    END = "end"


At = int | AtEdge
"""The time of an @ modifier: UTC milliseconds, or an end of the query's range."""


@dataclass(frozen=True, slots=True)
class VectorSelector(Expr):
    """Series by matchers, sorted by their text. `name`: the metric name written before the braces, or empty."""

    name: str
    matchers: tuple[Matcher, ...]
    offset: Duration = 0
    at: At | None = None
    anchored: bool = False
    smoothed: bool = False


@dataclass(frozen=True, slots=True)
class MatrixSelector(Expr):
    """`selector[range]`; offset and @ are the selector's."""

    selector: VectorSelector
    range: Duration


@dataclass(frozen=True, slots=True)
class Subquery(Expr):
    """`expr[range:step]`. `step` None means the engine's default."""

    expr: Expr
    range: Duration
    step: Duration | None = None
    offset: Duration = 0
    at: At | None = None


@dataclass(frozen=True, slots=True)
class Call(Expr):
    """A function call."""

    function: str
    args: tuple[Expr, ...]
    returns: ValueType


@dataclass(frozen=True, slots=True)
class Aggregate(Expr):
    """An aggregation over series."""

    op: str
    expr: Expr
    param: Expr | None = None
    grouping: tuple[str, ...] = ()
    without: bool = False


class Cardinality(Enum):
    """How many series of either side may share a match group."""

    ONE_TO_ONE = "one-to-one"
    MANY_TO_ONE = "many-to-one"
    ONE_TO_MANY = "one-to-many"
    MANY_TO_MANY = "many-to-many"


@dataclass(frozen=True, slots=True)
class Matching:
    """How the series of two vectors pair up. `labels` are the ones of on() or ignoring()."""

    card: Cardinality = Cardinality.ONE_TO_ONE
    on: bool = False
    labels: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    fill_left: float | None = None
    fill_right: float | None = None


@dataclass(frozen=True, slots=True)
class Binary(Expr):
    """`lhs op rhs`. `matching` is None unless both sides are vectors; `returns` is a scalar only between scalars."""

    op: str
    lhs: Expr
    rhs: Expr
    returns: ValueType
    matching: Matching | None = None
    return_bool: bool = False
    op_span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Unary(Expr):
    """`+expr` or `-expr`."""

    op: str
    expr: Expr


@dataclass(frozen=True, slots=True)
class Paren(Expr):
    """`(expr)`."""

    expr: Expr


SET_OPERATORS = frozenset(["and", "or", "unless"])
COMPARISONS = frozenset(["==", "!=", ">", "<", ">=", "<="])


def unwrap(expr: Expr) -> Expr:
    """The expression without parentheses around it."""
    while isinstance(expr, Paren):
        expr = expr.expr
    return expr


_FIXED_TYPES: dict[type[Expr], ValueType] = {
    NumberLiteral: ValueType.SCALAR,
    StringLiteral: ValueType.STRING,
    VectorSelector: ValueType.VECTOR,
    MatrixSelector: ValueType.MATRIX,
    Subquery: ValueType.MATRIX,
    Aggregate: ValueType.VECTOR,
}


def value_type(expr: Expr) -> ValueType:
    """What the expression yields. Calls carry theirs (`Call.returns`), so no table of functions is needed here."""
    while isinstance(expr, Paren | Unary):
        expr = expr.expr
    if isinstance(expr, Binary | Call):
        return expr.returns
    return _FIXED_TYPES[type(expr)]


def left_spine(expr: Binary) -> list[Binary]:
    """The chain a + b + c … from its innermost link outwards. Walkers go along it in a loop, not by recursion:
    generated queries chain hundreds of operands."""
    chain = [expr]
    while isinstance(chain[-1].lhs, Binary):
        chain.append(chain[-1].lhs)
    chain.reverse()
    return chain


def children(expr: Expr) -> tuple[Expr, ...]:
    """The expressions directly below, in the order they are written."""
    match expr:
        case Binary():
            return (expr.lhs, expr.rhs)
        case Call():
            return expr.args
        case Aggregate():
            return (expr.expr,) if expr.param is None else (expr.param, expr.expr)
        case MatrixSelector():
            return (expr.selector,)
        case Subquery() | Paren() | Unary():
            return (expr.expr,)
        case _:
            return ()
