"""Evaluation: one query being answered, from the leaves of its tree to the root."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from peerwatch.errors import QueryError
from peerwatch.model import Int64Array
from peerwatch.query.aggregate import aggregate
from peerwatch.query.annotation import Annotations
from peerwatch.query.ast import (
    SET_OPERATORS,
    Aggregate,
    At,
    AtEdge,
    Binary,
    Call,
    Duration,
    Expr,
    MatrixSelector,
    NumberLiteral,
    Paren,
    StringLiteral,
    Subquery,
    Unary,
    VectorSelector,
    left_spine,
    unwrap,
)
from peerwatch.query.binary import Operation, between_scalars, between_vectors, negate, with_scalar
from peerwatch.query.extension import check_extended
from peerwatch.query.functions import FUNCTIONS, Argument, CallContext
from peerwatch.query.info import InfoFilter, enrich, when_selected
from peerwatch.query.invariance import step_invariant
from peerwatch.query.limits import Budget
from peerwatch.query.loader import Loader, samples_of
from peerwatch.query.options import EngineOptions
from peerwatch.query.setops import combine_sets
from peerwatch.query.span import resolve_duration_ms
from peerwatch.query.statistics_only import statistics_only
from peerwatch.query.value import Grid, QuerySpan, Scalar, Text, Value, Vector, broadcast, empty_vector
from peerwatch.query.window import RangeVector


class Evaluation:
    """Answers one query. Single-threaded; everything it holds goes when it goes."""

    def __init__(
        self, loader: Loader, options: EngineOptions, budget: Budget, notes: Annotations, query: QuerySpan
    ) -> None:
        self._loader = loader
        self._options = options
        self._budget = budget
        self._notes = notes
        self._query = query
        self._invariant: frozenset[int] = frozenset()
        self._statistics: frozenset[int] = frozenset()

    def run(self, expr: Expr) -> Value | RangeVector:
        """The value of the whole query over its grid."""
        self._invariant, self._statistics = step_invariant(expr), statistics_only(expr)
        grid = self._query.grid
        if isinstance(unwrap(expr), MatrixSelector | Subquery):
            return self._ranges(expr, grid)
        return self._value(expr, grid)

    def _value(self, expr: Expr, grid: Grid) -> Value:
        if grid.count > 1 and id(expr) in self._invariant:
            return broadcast(self._evaluated(expr, grid.first), grid.count)
        return self._evaluated(expr, grid)

    def _evaluated(self, expr: Expr, grid: Grid) -> Value:
        self._budget.check()
        match expr:
            case NumberLiteral():
                return Scalar(np.full(grid.count, expr.value))
            case StringLiteral():
                return Text(expr.value)
            case Paren():
                return self._value(expr.expr, grid)
            case Unary():
                return self._unary(expr, grid)
            case Binary():
                return self._binary(expr, grid)
            case VectorSelector():
                return self._instant(expr, grid)
            case Aggregate():
                return self._aggregate(expr, grid)
            case Call():
                return self._call(expr, grid)
            case _:
                raise QueryError(f"no instant value for {type(expr).__name__}")

    # operators

    def _unary(self, expr: Unary, grid: Grid) -> Value:
        value = self._value(expr.expr, grid)
        if expr.op == "+":
            return value
        if isinstance(value, Scalar):
            return Scalar(-value.values)
        return negate(_vector(value), delayed=self._options.delayed_name_removal)

    def _binary(self, expr: Binary, grid: Grid) -> Value:
        chain = left_spine(expr)
        value = self._value(chain[0].lhs, grid)
        for link in chain:
            self._budget.check()
            value = self._combined(link, value, self._value(link.rhs, grid))
        return value

    def _combined(self, link: Binary, left: Value, right: Value) -> Value:
        if isinstance(left, Scalar) and isinstance(right, Scalar):
            return between_scalars(link.op, left, right)
        operation = self._operation(link)
        if isinstance(left, Scalar):
            return with_scalar(operation, _vector(right), left, scalar_is_left=True)
        if isinstance(right, Scalar):
            return with_scalar(operation, _vector(left), right, scalar_is_left=False)
        return self._between(link, operation, _vector(left), _vector(right))

    def _operation(self, link: Binary) -> Operation:
        delayed = self._options.delayed_name_removal
        return Operation(link.op, link.span, link.return_bool, delayed, self._notes, self._budget)

    def _between(self, link: Binary, operation: Operation, left: Vector, right: Vector) -> Vector:
        if link.matching is None:
            raise QueryError(f"operator {link.op} between vectors without a matching")
        if link.op in SET_OPERATORS:
            self._budget.cells(len(left.labels) + len(right.labels), left.values.shape[1])
            return combine_sets(link.op, left, right, link.matching)
        return between_vectors(operation, left, right, link.matching)

    def _aggregate(self, expr: Aggregate, grid: Grid) -> Value:
        param = None if expr.param is None else self._value(expr.param, grid)
        return aggregate(expr, _vector(self._value(expr.expr, grid)), param, self._notes, self._budget)

    # functions

    def _call(self, expr: Call, grid: Grid) -> Value:
        bare = replace(expr, args=tuple(unwrap(arg) for arg in expr.args))  # remarks point inside of parentheses
        context = CallContext(bare, grid, self._query, self._options, self._notes, self._budget)
        if expr.function == "timestamp":
            selector = unwrap(expr.args[0])
            if isinstance(selector, VectorSelector):
                at_ms = self._times(grid, selector.at, selector.offset)
                vector, sampled_ms = self._loader.latest_times(selector.matchers, at_ms, self._options.lookback_ms)
                return context.drop_names(vector.with_values(sampled_ms / 1000.0, vector.present))
        if expr.function == "start_timestamp":
            return self._start_timestamps(context, unwrap(expr.args[0]), grid)
        if expr.function == "info":
            return self._info(expr, grid)
        function = FUNCTIONS.get(expr.function)
        if function is None:
            raise QueryError(f"function {expr.function}() is not supported yet")
        check_extended(expr)
        return function(context, [self._argument(arg, grid) for arg in expr.args])

    def _start_timestamps(self, context: CallContext, selector: Expr, grid: Grid) -> Vector:
        """Since when each sample counts; nothing for what was computed, or where start times are not looked at."""
        if not isinstance(selector, VectorSelector) or not self._options.start_timestamps:
            return empty_vector(grid.count)
        at_ms = self._times(grid, selector.at, selector.offset)
        vector, starts_ms = self._loader.latest_starts(selector.matchers, at_ms, self._options.lookback_ms)
        return context.drop_names(vector.with_values(starts_ms / 1000.0, vector.present))

    def _info(self, expr: Call, grid: Grid) -> Vector:
        base = _vector(self._value(expr.args[0], grid))
        selector = unwrap(expr.args[1]) if len(expr.args) > 1 else None
        wanted = InfoFilter.of(selector if isinstance(selector, VectorSelector) else None)
        matchers = wanted.matchers(base)
        at, offsets = when_selected(expr.args[0])
        at_ms = self._times(grid, at, sum(self._duration(one, may_be_negative=True) for one in offsets))
        if matchers:
            info, sampled_ms = self._loader.latest_times(matchers, at_ms, self._options.lookback_ms)
        else:
            info, sampled_ms = empty_vector(grid.count), np.empty((0, grid.count), np.int64)
        return enrich(base, info, sampled_ms, wanted)

    def _argument(self, expr: Expr, grid: Grid) -> Argument:
        if isinstance(unwrap(expr), MatrixSelector | Subquery):
            return self._ranges(expr, grid)
        return self._value(expr, grid)

    # selectors

    def _instant(self, expr: VectorSelector, grid: Grid) -> Vector:
        at_ms = self._times(grid, expr.at, expr.offset)
        if expr.smoothed:
            return self._loader.smoothed(expr.matchers, at_ms, self._options.lookback_ms, self._notes, expr.span)
        statistics = id(expr) in self._statistics
        return self._loader.latest(expr.matchers, at_ms, self._options.lookback_ms, statistics=statistics)

    def _ranges(self, expr: Expr, grid: Grid) -> RangeVector:
        node = unwrap(expr)
        if isinstance(node, Subquery):
            return self._subquery(node, grid)
        if not isinstance(node, MatrixSelector):
            raise QueryError(f"no ranges in {type(node).__name__}")
        selector = node.selector
        lookback_ms = self._options.lookback_ms
        return self._loader.ranges(
            selector.matchers,
            self._times(grid, selector.at, selector.offset),
            self._duration(node.range),
            grid.times_ms,
            before_ms=lookback_ms if selector.anchored or selector.smoothed else 0,
            after_ms=lookback_ms if selector.smoothed else 0,
            statistics=id(selector) in self._statistics,
        )

    def _subquery(self, expr: Subquery, grid: Grid) -> RangeVector:
        """The inner expression at multiples of the step, whatever the query's own steps are."""
        ends_ms = self._times(grid, expr.at, expr.offset)
        range_ms = self._duration(expr.range)
        step_ms = self._options.subquery_step_ms if expr.step is None else self._duration(expr.step)
        first = int(ends_ms.min()) - range_ms
        start_ms = (first // step_ms + 1) * step_ms
        inner = Grid.between(start_ms, int(ends_ms.max()), step_ms)
        self._budget.cells(1, inner.count)
        vector = _vector(self._value(expr.expr, inner)) if inner.count else Vector([], np.empty((0, 0)), _NO_CELLS)
        samples = samples_of(vector, inner.times_ms)
        return RangeVector(vector.labels, samples, ends_ms, range_ms, grid.times_ms, self._budget, vector.drop_name)

    def _times(self, grid: Grid, at: At | None, offset: Duration) -> Int64Array:
        """When a selector looks, for each step."""
        offset_ms = self._duration(offset, may_be_negative=True)
        if at is None:
            return grid.times_ms - offset_ms
        if isinstance(at, AtEdge):
            at = self._query.start_ms if at is AtEdge.START else self._query.end_ms
        return np.full(grid.count, at - offset_ms, np.int64)

    def _duration(self, duration: Duration, *, may_be_negative: bool = False) -> int:
        if isinstance(duration, int):
            return duration
        return resolve_duration_ms(duration, self._query, may_be_negative=may_be_negative)


_NO_CELLS = np.empty((0, 0), np.bool_)


def _vector(value: Value) -> Vector:
    if not isinstance(value, Vector):
        raise QueryError(f"expected an instant vector, got {type(value).__name__}")
    return value
