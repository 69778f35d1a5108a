"""histogram_quantile and its family, on classic and native histograms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from peerwatch.errors import QueryError
from peerwatch.model import METRIC_NAME, BoolArray, Float64Array, Histograms, Labels
from peerwatch.query.annotation import Correction
from peerwatch.query.ast import Span
from peerwatch.query.functions.buckets import (
    Batch,
    Histogram,
    batches,
    bucket_fraction,
    bucket_quantile,
    histograms_of,
    make_monotonic,
)
from peerwatch.query.functions.context import Argument, CallContext, Function, scalar_of, text_of, vector_of
from peerwatch.query.functions.label import valid_label_name
from peerwatch.query.gotext import format_open_metrics
from peerwatch.query.limits import Budget
from peerwatch.query.native.moments import variances
from peerwatch.query.native.rank import fractions, quantiles
from peerwatch.query.value import Value, Vector, compact, empty_vector, stacked


def _named(context: CallContext, labels: Labels) -> str:
    """The metric's name for a message; it is not known any more once names are dropped early."""
    return labels.get(METRIC_NAME) if context.options.delayed_name_removal else ""


def _collect(context: CallContext, vector: Vector, span: Span) -> list[Histogram]:
    histograms, unusable = histograms_of(vector)
    for row in unusable:
        if vector.present[row].any():
            labels = vector.labels[row]
            context.notes.bad_bucket_label(_named(context, labels), labels.get("le"), span)
    return histograms


def _is_quantile(wanted: Float64Array) -> BoolArray:
    return (wanted >= 0) & (wanted <= 1)


def _check_quantile(context: CallContext, wanted: Float64Array, span: Span) -> None:
    for value in np.unique(wanted[~_is_quantile(wanted)]):
        context.notes.invalid_quantile(float(value), span)


def _split(context: CallContext, vector: Vector, span: Span) -> tuple[Vector, Vector, list[Histogram]]:
    """(classic buckets, native histograms, the histograms of the former). Where both have the same labels at a step,
    neither counts."""
    classic, native = vector.floats, vector.where(vector.native)
    histograms = _collect(context, classic, span)
    if vector.histograms is None:
        return classic, native, histograms
    row_of = {labels: row for row, labels in enumerate(vector.labels)}
    buckets, whole = classic.present.copy(), native.present.copy()
    for histogram in histograms:
        row = row_of.get(histogram.labels)
        if row is None:
            continue
        both = native.present[row] & classic.present[histogram.rows].any(axis=0)
        if both.any():
            context.notes.mixed_kinds(_named(context, histogram.labels), span)
            whole[row] &= ~both
            buckets[histogram.rows] &= ~both
    return classic.where(buckets), native.where(whole), histograms


def _quantiles(
    context: CallContext, wanted: Float64Array, vector: Vector, span: Span, corrected: BoolArray | None = None
) -> list[Vector]:
    """One row per histogram, classic ones and native ones, names still on. `corrected`: steps whose corrections have
    been noted already."""
    classic, native, histograms = _split(context, vector, span)
    shape = (len(histograms), context.grid.count)
    values, present = np.zeros(shape), np.zeros(shape, np.bool_)
    silent = np.zeros(context.grid.count, np.bool_) if corrected is None else corrected
    for batch in batches(classic, histograms):
        context.budget.check()
        values[batch.owner, batch.step] = _batch_quantile(
            context, wanted[batch.step], silent[batch.step], batch, histograms, span
        )
        present[batch.owner, batch.step] = True
    labels = [histogram.labels for histogram in histograms]
    found = [Vector(labels, values, present, _drops(vector, histograms))]
    return found if native.histograms is None else [_native_quantiles(context, wanted, native, span), *found]


def _native_quantiles(context: CallContext, wanted: Float64Array, vector: Vector, span: Span) -> Vector:
    values, cells = np.zeros(vector.values.shape), vector.histograms
    if cells is not None:
        rows, steps = np.nonzero(vector.present)
        found = quantiles(cells.of(vector.present), wanted[steps], context.budget)
        values[rows, steps] = found.values
        for marked, note in ((found.lost, context.notes.nan_quantile), (found.skewed, context.notes.skewed_quantile)):
            for row in np.unique(rows[marked]).tolist():
                note(_named(context, vector.labels[row]), span)
    return vector.with_values(values, vector.present)


def _drops(vector: Vector, histograms: Sequence[Histogram]) -> np.ndarray[tuple[int], np.dtype[np.bool_]] | None:
    if vector.drop_name is None:
        return None
    return np.array([vector.drop_name[histogram.rows].any() for histogram in histograms], np.bool_)


def _batch_quantile(
    context: CallContext,
    wanted: Float64Array,
    silent: BoolArray,
    batch: Batch,
    histograms: Sequence[Histogram],
    span: Span,
) -> Float64Array:
    valid = _is_quantile(wanted)
    counts, forced, excess = make_monotonic(batch.counts)
    forced &= valid & ~silent & (batch.bounds[-1] == np.inf)
    for column in np.flatnonzero(forced.any(axis=0)).tolist():
        bounds = batch.bounds[forced[:, column]]
        time_ms = context.grid.start_ms + int(batch.step[column]) * context.grid.step_ms
        largest = float(excess[forced[:, column], column].max())
        correction = Correction(time_ms, time_ms, float(bounds.min()), float(bounds.max()), largest)
        name = _named(context, histograms[int(batch.owner[column])].labels)
        context.notes.forced_monotonicity(name, span, correction)
    result = bucket_quantile(np.where(valid, wanted, 0.0), batch.bounds, counts)
    outside = np.where(wanted < 0, -np.inf, np.where(wanted > 1, np.inf, np.nan))
    return np.where(valid, result, outside)


def _histogram_quantile(context: CallContext, args: Sequence[Argument]) -> Value:
    wanted, vector = scalar_of(args[0]), vector_of(args[1])
    _check_quantile(context, wanted, context.call.args[0].span)
    return context.drop_names(_joined(_quantiles(context, wanted, vector, context.call.args[1].span)))


def _joined(parts: Sequence[Vector]) -> Vector:
    """The rows of all parts."""
    labels = [one for part in parts for one in part.labels]
    drops = None
    if any(part.drop_name is not None for part in parts):
        drops = np.concatenate([part.names_to_drop for part in parts])
    return compact(stacked(labels, parts, drops))


def _histogram_quantiles(context: CallContext, args: Sequence[Argument]) -> Value:
    vector, label = vector_of(args[0]), text_of(args[1])
    if not valid_label_name(label):
        raise QueryError(f"invalid label name {label!r} in histogram_quantiles()")
    parts = list[Vector]()
    corrected = np.zeros(context.grid.count, np.bool_)  # what one quantile needed corrected, the next finds so
    for arg, expr in zip(args[2:], context.call.args[2:], strict=True):
        wanted = scalar_of(arg)
        _check_quantile(context, wanted, expr.span)
        part = _joined(_quantiles(context, wanted, vector, context.call.args[0].span, corrected))
        corrected = corrected | _is_quantile(wanted)
        for value in np.unique(wanted):
            same = (wanted == value) | (np.isnan(wanted) & np.isnan(value))
            marked = [one.with_({label: format_open_metrics(float(value))}) for one in part.labels]
            parts.append(replace(part.where(same), labels=marked))
    return context.drop_names(_joined(parts)) if parts else empty_vector(context.grid.count)


def _histogram_fraction(context: CallContext, args: Sequence[Argument]) -> Value:
    lower, upper, vector = scalar_of(args[0]), scalar_of(args[1]), vector_of(args[2])
    span = context.call.args[2].span
    classic, native, histograms = _split(context, vector, span)
    shape = (len(histograms), context.grid.count)
    values, present = np.zeros(shape), np.zeros(shape, np.bool_)
    for batch in batches(classic, histograms):
        context.budget.check()
        share = bucket_fraction(lower[batch.step], upper[batch.step], batch.bounds, batch.counts)
        values[batch.owner, batch.step] = share
        present[batch.owner, batch.step] = True
    labels = [histogram.labels for histogram in histograms]
    found = [Vector(labels, values, present, _drops(vector, histograms))]
    if native.histograms is not None:
        found.insert(0, _native_fractions(context, lower, upper, native, span))
    return context.drop_names(_joined(found))


def _native_fractions(
    context: CallContext, lower: Float64Array, upper: Float64Array, vector: Vector, span: Span
) -> Vector:
    values, cells = np.zeros(vector.values.shape), vector.histograms
    if cells is not None:
        rows, steps = np.nonzero(vector.present)
        shares, missing = fractions(cells.of(vector.present), lower[steps], upper[steps], context.budget)
        values[rows, steps] = shares
        for row in np.unique(rows[missing]).tolist():
            context.notes.nan_fraction(_named(context, vector.labels[row]), span)
    return vector.with_values(values, vector.present)


Measure = Callable[[Histograms, Budget], Float64Array]
"""A number for each of some native histograms."""


def _of_native(measure: Measure) -> Function:
    """A function that looks at native histograms and passes over numbers."""

    def run(context: CallContext, args: Sequence[Argument]) -> Value:
        vector = vector_of(args[0])
        native = vector.native
        values = np.zeros(native.shape)
        if vector.histograms is not None:
            with np.errstate(all="ignore"):
                values[native] = measure(vector.histograms.of(native), context.budget)
        return context.drop_names(vector.with_values(values, native))

    return run


HISTOGRAM: dict[str, Function] = {
    "histogram_quantile": _histogram_quantile,
    "histogram_quantiles": _histogram_quantiles,
    "histogram_fraction": _histogram_fraction,
    "histogram_avg": _of_native(lambda found, budget: found.sums / found.counts),
    "histogram_count": _of_native(lambda found, budget: found.counts),
    "histogram_sum": _of_native(lambda found, budget: found.sums),
    "histogram_stddev": _of_native(lambda found, budget: np.sqrt(variances(found, budget))),
    "histogram_stdvar": _of_native(variances),
}
