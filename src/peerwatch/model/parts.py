"""Parts: native histograms and start timestamps as plain series of numbers. See docs/formats/histograms.md.

The store knows nothing of histograms. Each becomes a handful of samples at its time, in series that have all its labels
and one more, PART, which says what the number is. This file owns their names and splits; assembly.py joins.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from peerwatch.model.arrays import STALE, BoolArray, Float64Array, Int64Array, is_stale
from peerwatch.model.histograms import CUSTOM_SCHEMA, KEY_BIAS, Histograms, offsets_of
from peerwatch.model.labels import RESERVED, Labels

PART = RESERVED + "part"
"""The label that says which part a series is. It sorts before all others: parts come first in what a read returns."""

COUNT, SUM, FORM, ZERO, WIDTH, START = SINGLES = ("count", "sum", "form", "zero", "width", "start")
"""What there is once per histogram. COUNT is always there, and is all there is of a stale marker, with START."""

OVERFLOW = float("inf")
"""The bound of the last bucket of a histogram with custom bounds."""

START_SHAPE = np.array([0, 1 << SINGLES.index(START)], np.int64).tobytes()
"""The shape of a number's start: nothing else."""

_SCHEMA_BIAS, _HINTS = 64, 4
_Whole = TypeVar("_Whole", int, Int64Array)


def is_part(labels: Labels) -> bool:
    """Whether this series is a part of another one."""
    return bool(labels) and labels[0][0] == PART


def part_of(labels: Labels, name: str) -> Labels:
    """The labels of one part of a series."""
    return Labels(((PART, name), *labels))


def without_part(labels: Labels) -> Labels:
    """The series that a part belongs to; any other as it is."""
    return Labels(labels[1:]) if is_part(labels) else labels


def form_of(schema: _Whole, hint: _Whole) -> _Whole:
    """Schema and reset hint of a histogram as one small number."""
    return (schema + _SCHEMA_BIAS) * _HINTS + hint


def read_form(forms: Float64Array) -> tuple[Int64Array, Int64Array]:
    """(schemas, reset hints) that such numbers mean."""
    whole = forms.astype(np.int64)
    return whole // _HINTS - _SCHEMA_BIAS, whole % _HINTS


def read_bucket(name: str) -> tuple[int, float] | None:
    """(schema, key in it or upper bound) of the bucket that a part of this name counts; None for no bucket's."""
    try:
        if name[:1] == "b":
            return CUSTOM_SCHEMA, float(name[1:])
        index, cut, schema = name[1:].partition("@")
        if not cut or name[0] not in "pn":
            return None
        key = int(index) + KEY_BIAS
        return int(schema), key if name[0] == "p" else -key
    except ValueError:  # what a later version writes
        return None


@dataclass(frozen=True, slots=True)
class Split:
    """N histograms in parts: histogram i has `values[offsets[i]:offsets[i + 1]]`, named `names_of(shapes[i])`.

    Histograms of the same shape have the same parts, in the same order.
    """

    shapes: list[bytes]
    offsets: Int64Array
    values: Float64Array


def names_of(shape: bytes) -> list[str]:
    """The names of the parts of histograms of this shape."""
    schema, there = np.frombuffer(shape, np.int64, 2).tolist()
    names = [name for bit, name in enumerate(SINGLES) if there >> bit & 1]
    rest = shape[16:]
    if schema == CUSTOM_SCHEMA:
        return names + ["b+Inf" if bound == OVERFLOW else f"b{bound!r}" for bound in np.frombuffer(rest).tolist()]
    keys = np.frombuffer(rest, np.int64).tolist()
    return names + [f"p{key - KEY_BIAS}@{schema}" if key > 0 else f"n{-key - KEY_BIAS}@{schema}" for key in keys]


def split(histograms: Histograms, starts_ms: Int64Array) -> Split:
    """All parts of these histograms. starts_ms: int64 [N], 0 where it is unknown since when one counts."""
    stale = histograms.stale
    kept = _with_all_bounds(histograms.with_buckets((histograms.buckets != 0) & ~stale[histograms.owners]))
    # a count that happens to have the bits of a stale marker is just no number
    counts = np.where(stale, STALE, np.where(is_stale(kept.counts), np.nan, kept.counts))
    forms = form_of(kept.schemas, kept.hints).astype(np.float64)
    singles = np.stack((counts, kept.sums, forms, kept.zero_counts, kept.zero_widths, starts_ms.astype(np.float64)), 1)
    there = singles != 0
    there[:, 0] = True
    there[:, 1:3] = True
    there[:, 1:5] &= ~stale[:, None]
    heads = there.sum(1)
    offsets = offsets_of(heads + kept.sizes)
    values = np.empty(int(offsets[-1]))
    values[(offsets[:-1, None] + np.cumsum(there, 1) - 1)[there]] = singles[there]
    shift = offsets[:-1] + heads - kept.offsets[:-1]
    values[np.arange(len(kept.keys)) + np.repeat(shift, kept.sizes)] = kept.buckets
    return Split(_shapes(kept, there), offsets, values)


def _with_all_bounds(histograms: Histograms) -> Histograms:
    """The same with every bucket of custom bounds, empty ones too: the parts that are there then tell the bounds."""
    custom = histograms.custom & ~histograms.stale
    if not custom.any():
        return histograms
    bounds = np.array([len(one) for one in histograms.bounds] + [0], np.int64)
    sizes = np.where(custom, bounds[histograms.bounds_of] + 1, histograms.sizes)
    offsets, owners = offsets_of(sizes), histograms.owners
    rank = np.arange(len(owners)) - histograms.offsets[owners]
    at = offsets[owners] + np.where(custom[owners], histograms.keys - KEY_BIAS, rank)
    keys = np.arange(offsets[-1], dtype=np.int64) - np.repeat(offsets[:-1], sizes) + KEY_BIAS
    keys[at] = histograms.keys
    buckets = np.zeros(len(keys))
    buckets[at] = histograms.buckets
    return replace(histograms, offsets=offsets, keys=keys, buckets=buckets)


def _shapes(histograms: Histograms, there: BoolArray) -> list[bytes]:
    """Per histogram, as bytes: schema, which of SINGLES there are, then the keys of its buckets or its bounds."""
    heads = np.stack((histograms.schemas, there @ (1 << np.arange(len(SINGLES)))), 1).tobytes()
    keys, ends = histograms.keys.tobytes(), (8 * histograms.offsets).tolist()
    lists = [np.array([*one, OVERFLOW]).tobytes() for one in histograms.bounds]
    return [
        heads[16 * at : 16 * at + 16] + (lists[bounds] if bounds >= 0 and end > start else keys[start:end])
        for at, (start, end, bounds) in enumerate(zip(ends[:-1], ends[1:], histograms.bounds_of.tolist(), strict=True))
    ]
