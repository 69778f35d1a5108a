"""Our side: the same samples in our store, the same API, without a server around it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry

from peerwatch.errors import PeerwatchError
from peerwatch.model import MetricType, Part, RowsEntry, SampleMatrix, Series, SystemClock
from peerwatch.model.parts import names_of, part_of, split
from peerwatch.query.parameters import instant_request, range_request
from peerwatch.query.prometheus import PrometheusApi, error_of
from peerwatch.query.render import failure
from peerwatch.store.config import StoreConfig
from peerwatch.store.store import Store
from tests.differential.material import SPAN_MS, START_MS, Column
from tests.differential.natives import NativeColumn
from tests.differential.reference import Answer
from tests.model.native import column
from tests.store.material import decode


class Ours:
    """Answers what the hub would."""

    def __init__(self, api: PrometheusApi) -> None:
        self._api = api

    def ask(self, path: str, form: Mapping[str, str]) -> Answer:
        """A form to the query API: `query` or `query_range`."""
        fields = {name: [value] for name, value in form.items()}
        try:
            if path == "query":
                body = self._api.query(instant_request(fields, self._api.now_ms))
            else:
                body = self._api.query_range(range_request(fields))
        except PeerwatchError as error:
            status, kind = error_of(error)
            return status, json.loads(failure(kind, str(error)))
        return 200, json.loads(body)


@contextmanager
def running(folder: Path, columns: Sequence[Column], natives: Sequence[NativeColumn] = ()) -> Iterator[Ours]:
    """A store in `folder` that holds the samples: the first half in blocks, the second in memory."""
    columns = [*columns, *parts_of(natives)]
    store = Store.open(folder, StoreConfig(), clock=SystemClock(), decode_envelope=decode, registry=CollectorRegistry())
    try:
        middle = START_MS + SPAN_MS // 2
        _write(store, columns, START_MS - SPAN_MS, middle)
        store.flush()
        _write(store, columns, middle, START_MS + 2 * SPAN_MS)
        yield Ours(PrometheusApi(store))
    finally:
        store.close()


def parts_of(natives: Sequence[NativeColumn]) -> Iterator[Column]:
    """Native histograms as the plain series that a store keeps of them."""
    for labels, times_ms, histograms in natives:
        pieces = split(column(histograms), np.zeros(len(histograms), np.int64))
        series: dict[str, list[tuple[int, float]]] = {}
        for at, shape in enumerate(pieces.shapes):
            values = pieces.values[pieces.offsets[at] : pieces.offsets[at + 1]].tolist()
            for name, value in zip(names_of(shape), values, strict=True):
                series.setdefault(name, []).append((int(times_ms[at]), value))
        for name, points in series.items():
            times, values = zip(*points, strict=True)
            yield part_of(labels, name), np.array(times, np.int64), np.array(values, np.float64)


def _write(store: Store, columns: Sequence[Column], start_ms: int, end_ms: int) -> None:
    parts = []
    for labels, times_ms, values in columns:
        kept = (times_ms >= start_ms) & (times_ms < end_ms)
        if kept.any():
            layout = store.layout((Series(labels, MetricType.UNKNOWN, "", ""),))
            matrix = SampleMatrix(np.ascontiguousarray(times_ms[kept]), np.ascontiguousarray(values[None, kept]), None)
            parts.append(Part(layout, matrix))
    store.append([RowsEntry(tuple(parts))])
