"""What a function gets to work with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from peerwatch.errors import QueryError
from peerwatch.model import METRIC_NAME, BoolArray, Float64Array
from peerwatch.query.annotation import Annotations
from peerwatch.query.ast import Call, Span
from peerwatch.query.limits import Budget
from peerwatch.query.options import EngineOptions
from peerwatch.query.value import Grid, QuerySpan, Scalar, Text, Value, Vector, drop_names
from peerwatch.query.window import Block, RangeVector

Argument = Value | RangeVector
Kernel = Callable[[Block], tuple[Float64Array, BoolArray]]
"""Values and presence [S, T] for a slice of windows."""


@dataclass(frozen=True, slots=True)
class CallContext:
    """One call being evaluated. `query` is what was asked for as a whole; `grid` the steps of this call, which differ
    within subqueries and parts that do not depend on the step."""

    call: Call
    grid: Grid
    query: QuerySpan
    options: EngineOptions
    notes: Annotations
    budget: Budget

    def drop_names(self, vector: Vector) -> Vector:
        """The vector without metric names, now or at the end, as the options say."""
        return drop_names(vector, delayed=self.options.delayed_name_removal)

    def for_each_metric(self, ranges: RangeVector, marked: BoolArray, note: Callable[[str, Span], None]) -> None:
        """Make a remark on the first argument, once for each series with a marked cell [S, T]."""
        span = self.call.args[0].span
        for row in np.flatnonzero(marked.any(axis=1)).tolist():
            note(ranges.labels[row].get(METRIC_NAME), span)


Function = Callable[[CallContext, Sequence[Argument]], Value]


def vector_of(argument: Argument) -> Vector:
    """The argument, which the parser has seen to be a vector."""
    if not isinstance(argument, Vector):
        raise QueryError(f"expected an instant vector, got {type(argument).__name__}")
    return argument


def floats_of(argument: Argument) -> Vector:
    """The numbers of an argument that the parser has seen to be a vector; functions of numbers pass over histograms."""
    return vector_of(argument).floats


def scalar_of(argument: Argument) -> Float64Array:
    """float64 [T] of an argument that the parser has seen to be a scalar."""
    if not isinstance(argument, Scalar):
        raise QueryError(f"expected a scalar, got {type(argument).__name__}")
    return argument.values


def text_of(argument: Argument) -> str:
    """The string of an argument that the parser has seen to be one."""
    if not isinstance(argument, Text):
        raise QueryError(f"expected a string, got {type(argument).__name__}")
    return argument.value


def ranges_of(argument: Argument) -> RangeVector:
    """The argument, which the parser has seen to be a range vector."""
    if not isinstance(argument, RangeVector):
        raise QueryError(f"expected a range vector, got {type(argument).__name__}")
    return argument


def over_floats(context: CallContext, ranges: RangeVector, kernel: Kernel) -> Vector:
    """Run a kernel over the numbers in all windows. Histograms beside them are passed over, and that is said."""
    if ranges.samples.histograms is not None:
        mixed = (ranges.floats.counts > 0) & (ranges.natives.counts > 0)
        context.for_each_metric(ranges, mixed, context.notes.ignored_in_mixed_range)
    return over_windows(context, ranges.floats, kernel)


def over_windows(context: CallContext, ranges: RangeVector, kernel: Kernel, *, keep_names: bool = False) -> Vector:
    """Run a kernel over all windows, a slice of series at a time. It sees histograms and numbers alike as samples."""
    shape = (len(ranges.labels), len(ranges.ends_ms))
    context.budget.cells(*shape)
    values, present = np.zeros(shape), np.zeros(shape, np.bool_)
    with np.errstate(all="ignore"):
        for block in ranges.blocks():
            values[block.rows], present[block.rows] = kernel(block)
    vector = Vector(ranges.labels, values, present, ranges.drop_name)
    return vector if keep_names else context.drop_names(vector)
