"""`/api/v1/read`: samples as they are stored, for a Prometheus that reads here."""

from __future__ import annotations

import anyio
import cramjam
import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from peerwatch.model import KEY_BIAS, STALE_BITS, Labels, SeriesSet
from peerwatch.model.assembly import assemble
from peerwatch.query.api import routes
from peerwatch.query.prometheus import READ_SAMPLES, PrometheusApi
from peerwatch.wire import remote_pb2 as pb
from peerwatch.wire.remote_histograms import encode_histogram, read_histograms
from peerwatch.wire.remote_read import encode_read_response
from tests.model.native import NATIVES, Native, bits, natives, series_set, stored
from tests.model.native import column as column_of
from tests.promql.memory import MemoryQueryable
from tests.wire.remote_kit import snappy
from tests.wire.strategies import BITS

NOW = 1_700_000_000_000
Told = list[list[tuple[dict[str, str], list[tuple[int, int]]]]]


def source() -> MemoryQueryable:
    memory = MemoryQueryable()
    bits = np.array([0x3FF0000000000000, STALE_BITS, 0], np.uint64)
    times = np.array([NOW, NOW + 1000, NOW + 2000], np.int64)
    memory.add(Labels.of(__name__="m", job="a"), times, bits.view(np.float64))
    memory.add(Labels.of(__name__="m", job="b"), times, np.array([5.0, 6.0, 7.0]))
    return memory


def read(body: bytes, memory: MemoryQueryable | None = None) -> httpx.Response:
    """The answer to a request."""

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(Starlette(routes=routes(PrometheusApi(memory or source()))))
        async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
            return await client.post("/api/v1/read", content=body)

    return anyio.run(run)


def told(body: bytes) -> Told:
    """What a response holds: labels, and times with the bits of their values."""
    message = pb.ReadResponse.FromString(bytes(cramjam.snappy.decompress_raw(body)))
    found: Told = []
    for result in message.results:
        rows = []
        for raw in result.timeseries:
            series = pb.SeriesV1.FromString(raw)
            pairs = [pb.LabelPair.FromString(label) for label in series.labels]
            samples = [(one.timestamp_ms, int(np.float64(one.value).view(np.uint64))) for one in series.samples]
            rows.append(({pair.name: pair.value for pair in pairs}, samples))
        found.append(rows)
    return found


def query(*matchers: tuple[int, str, str], start_ms: int = NOW, end_ms: int = NOW + 1000) -> pb.ReadQuery:
    wanted = [pb.ReadMatcher(type=kind, name=name, value=value) for kind, name, value in matchers]
    return pb.ReadQuery(start_ms=start_ms, end_ms=end_ms, matchers=wanted)


def test_each_query_has_its_result() -> None:
    """Both ends included, stale markers as they are, every kind of matcher."""
    queries = [
        query((0, "__name__", "m"), (1, "job", "b")),
        query((2, "job", "b|c"), end_ms=NOW),
        query((3, "job", ".+")),
        query((0, "__name__", "m"), start_ms=NOW - 10, end_ms=NOW - 1),
    ]
    answer = read(snappy(pb.ReadRequest(queries=queries, accepted_response_types=[1])))
    assert answer.status_code == 200
    assert (answer.headers["content-type"], answer.headers["content-encoding"]) == ("application/x-protobuf", "snappy")
    first = ({"__name__": "m", "job": "a"}, [(NOW, 0x3FF0000000000000), (NOW + 1000, STALE_BITS)])
    assert told(answer.content) == [[first], [({"__name__": "m", "job": "b"}, [(NOW, 0x4014000000000000)])], [], []]


@given(
    st.lists(
        st.lists(st.tuples(st.one_of(st.integers(NOW, NOW + 10**9), st.integers(-(2**53), 2**53)), BITS), max_size=5),
        max_size=5,
    )
)
def test_every_sample_is_told_bit_for_bit(rows: list[list[tuple[int, int]]]) -> None:
    """Any time, any bits; series without samples are left out."""
    rows = [sorted(dict(row).items()) for row in rows]
    flat = [one for row in rows for one in row]
    found = SeriesSet(
        [Labels.of(__name__="m", row=str(at)) for at in range(len(rows))],
        np.array([time_ms for time_ms, _ in flat], np.int64),
        np.array([bits for _, bits in flat], np.uint64).view(np.float64),
        np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64),
    )
    expected = [({"__name__": "m", "row": str(at)}, row) for at, row in enumerate(rows) if row]
    assert told(encode_read_response([found])) == [expected]


@given(
    st.dictionaries(
        st.tuples(st.sampled_from(["a", "b"]), st.one_of(st.integers(NOW, NOW + 100), st.integers(-(2**53), 2**53))),
        st.one_of(NATIVES, st.floats()),
        max_size=12,
    )
)
def test_histograms_are_told_beside_numbers(story: dict[tuple[str, int], float | Native]) -> None:
    """With float counts, the buckets there are, hint and bounds; a stale marker has the stale NaN as its sum."""
    flat = [(Labels.of(__name__=name), time_ms, sample, 0) for (name, time_ms), sample in story.items()]
    body = encode_read_response([assemble(series_set(stored(flat)))])
    message = pb.ReadResponse.FromString(bytes(cramjam.snappy.decompress_raw(body)))
    found: dict[tuple[str, int], object] = {}
    for raw in message.results[0].timeseries:
        series = pb.SeriesV1.FromString(raw)
        name = pb.LabelPair.FromString(series.labels[0]).value
        found |= {(name, one.timestamp_ms): bits(one.value) for one in series.samples}
        sent = [pb.Histogram.FromString(one) for one in series.histograms]
        column, wrong = read_histograms(sent, 4096)
        assert not any(wrong)
        for one, native in zip(sent, natives(column), strict=True):
            found[name, one.timestamp_ms] = native.told
    assert found == {place: one.told if isinstance(one, Native) else bits(one) for place, one in story.items()}


def test_buckets_without_a_gap_share_a_span() -> None:
    """As Prometheus writes them."""
    keys = (-9 - KEY_BIAS, -8 - KEY_BIAS, KEY_BIAS - 3, KEY_BIAS - 2, KEY_BIAS + 4)
    native = Native(count=15.0, buckets=tuple((key, at + 1.0) for at, key in enumerate(keys)))
    sent = encode_histogram(column_of([native]), 0, NOW)
    assert [(one.offset, one.length) for one in sent.negative_spans] == [(8, 2)]
    assert [(one.offset, one.length) for one in sent.positive_spans] == [(-3, 2), (5, 1)]
    assert (list(sent.negative_counts), list(sent.positive_counts)) == ([2.0, 1.0], [3.0, 4.0, 5.0])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"junk", "snappy"),
        (snappy(pb.ReadRequest(queries=[query((4, "a", "b"))])), "matcher type 4 is unknown"),
        (snappy(pb.ReadRequest(queries=[query((2, "a", "("))])), "matcher of 'a': regular expression '('"),
        (snappy(pb.ReadRequest(queries=[query()] * 101)), "101 queries in one request, limit 100"),
    ],
)
def test_what_is_no_request_is_refused(body: bytes, message: str) -> None:
    """400 and words."""
    answer = read(body)
    assert (answer.status_code, message in answer.text) == (400, True), answer.text


def test_a_read_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """In Prometheus's words, over all queries of a request together."""
    monkeypatch.setattr("peerwatch.query.prometheus.READ_SAMPLES", 5)
    wanted = query((0, "__name__", "m"), end_ms=NOW + 2000)
    answer = read(snappy(pb.ReadRequest(queries=[wanted])))
    assert (answer.status_code, answer.text) == (400, "exceeded sample limit (5)\n")
    assert READ_SAMPLES == 5_000_000
