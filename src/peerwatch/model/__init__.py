"""The nouns that travel: labels, series, batches, what a read returns. No I/O, no clock of their own."""

from peerwatch.model.arrays import STALE, STALE_BITS, BoolArray, Float64Array, Int64Array, is_stale
from peerwatch.model.batch import Batch, BatchBlock, Matrix, SampleMatrix
from peerwatch.model.clock import Clock, SystemClock
from peerwatch.model.dropped import Dropped
from peerwatch.model.entry import EnvelopeEntry, Layout, Part, RowsEntry
from peerwatch.model.histograms import CUSTOM_SCHEMA, KEY_BIAS, HistogramCells, Histograms
from peerwatch.model.intervals import Marks, SeqIntervals
from peerwatch.model.labels import METRIC_NAME, RESERVED, Labels
from peerwatch.model.matcher import Matcher, MatchOp
from peerwatch.model.series import MetricType, Series
from peerwatch.model.series_set import SeriesSet

__all__ = [
    "CUSTOM_SCHEMA",
    "KEY_BIAS",
    "METRIC_NAME",
    "RESERVED",
    "STALE",
    "STALE_BITS",
    "Batch",
    "BatchBlock",
    "BoolArray",
    "Clock",
    "Dropped",
    "EnvelopeEntry",
    "Float64Array",
    "HistogramCells",
    "Histograms",
    "Int64Array",
    "Labels",
    "Layout",
    "Marks",
    "MatchOp",
    "Matcher",
    "Matrix",
    "MetricType",
    "Part",
    "RowsEntry",
    "SampleMatrix",
    "SeqIntervals",
    "Series",
    "SeriesSet",
    "SystemClock",
    "is_stale",
]
