"""histogram_quantile and its family, on classic histograms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from peerwatch.errors import QueryError
from peerwatch.model import METRIC_NAME, BoolArray, Float64Array, Labels
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
from peerwatch.query.value import Value, Vector, empty_vector


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


def _quantiles(
    context: CallContext, wanted: Float64Array, vector: Vector, span: Span, corrected: BoolArray | None = None
) -> Vector:
    """One row per histogram, names still on. `corrected`: steps whose corrections have been noted already."""
    histograms = _collect(context, vector, span)
    shape = (len(histograms), context.grid.count)
    values, present = np.zeros(shape), np.zeros(shape, np.bool_)
    silent = np.zeros(context.grid.count, np.bool_) if corrected is None else corrected
    for batch in batches(vector, histograms):
        context.budget.check()
        values[batch.owner, batch.step] = _batch_quantile(
            context, wanted[batch.step], silent[batch.step], batch, histograms, span
        )
        present[batch.owner, batch.step] = True
    return Vector([histogram.labels for histogram in histograms], values, present, _drops(vector, histograms))


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
    return context.drop_names(_quantiles(context, wanted, vector, context.call.args[1].span))


def _histogram_quantiles(context: CallContext, args: Sequence[Argument]) -> Value:
    vector, label = vector_of(args[0]), text_of(args[1])
    if not valid_label_name(label):
        raise QueryError(f"invalid label name {label!r} in histogram_quantiles()")
    parts, labels = list[Vector](), list[Labels]()
    corrected = np.zeros(context.grid.count, np.bool_)  # what one quantile needed corrected, the next finds so
    for arg, expr in zip(args[2:], context.call.args[2:], strict=True):
        wanted = scalar_of(arg)
        _check_quantile(context, wanted, expr.span)
        part = _quantiles(context, wanted, vector, context.call.args[0].span, corrected)
        corrected = corrected | _is_quantile(wanted)
        for value in np.unique(wanted):
            same = (wanted == value) | (np.isnan(wanted) & np.isnan(value))
            parts.append(part.with_values(part.values, part.present & same))
            labels += [one.with_({label: format_open_metrics(float(value))}) for one in part.labels]
    if not parts:
        return empty_vector(context.grid.count)
    values = np.concatenate([part.values for part in parts])
    return context.drop_names(Vector(labels, values, np.concatenate([part.present for part in parts])))


def _histogram_fraction(context: CallContext, args: Sequence[Argument]) -> Value:
    lower, upper, vector = scalar_of(args[0]), scalar_of(args[1]), vector_of(args[2])
    histograms = _collect(context, vector, context.call.args[2].span)
    shape = (len(histograms), context.grid.count)
    values, present = np.zeros(shape), np.zeros(shape, np.bool_)
    for batch in batches(vector, histograms):
        context.budget.check()
        share = bucket_fraction(lower[batch.step], upper[batch.step], batch.bounds, batch.counts)
        values[batch.owner, batch.step] = share
        present[batch.owner, batch.step] = True
    labels = [histogram.labels for histogram in histograms]
    return context.drop_names(Vector(labels, values, present, _drops(vector, histograms)))


def _of_native(context: CallContext, args: Sequence[Argument]) -> Value:
    """These look at native histograms and pass over floats, which is all there is."""
    return empty_vector(context.grid.count)


HISTOGRAM: dict[str, Function] = {
    "histogram_quantile": _histogram_quantile,
    "histogram_quantiles": _histogram_quantiles,
    "histogram_fraction": _histogram_fraction,
    "histogram_avg": _of_native,
    "histogram_count": _of_native,
    "histogram_sum": _of_native,
    "histogram_stddev": _of_native,
    "histogram_stdvar": _of_native,
}
