"""Histograms of a hub or a Prometheus, by remote read: for stories that compare them."""

from __future__ import annotations

from dataclasses import replace

import cramjam
import httpx

from peerwatch.wire import remote_pb2 as pb
from peerwatch.wire.remote_histograms import read_histograms
from tests.model.native import Native, natives
from tests.wire.remote_kit import snappy

Found = dict[tuple[tuple[str, str], ...], dict[int, Native]]
"""Histograms by labels and time."""


def read(url: str, start_ms: int, end_ms: int, *labels: tuple[str, str]) -> Found:
    """The histograms of series with these labels."""
    matchers = [pb.ReadMatcher(type=0, name=name, value=value) for name, value in labels]
    query = pb.ReadQuery(start_ms=start_ms, end_ms=end_ms, matchers=matchers)
    answer = httpx.post(
        f"{url}/api/v1/read", content=snappy(pb.ReadRequest(queries=[query])), timeout=30, trust_env=False
    )
    assert answer.status_code == 200, answer.text
    message = pb.ReadResponse.FromString(bytes(cramjam.snappy.decompress_raw(answer.content)))
    found: Found = {}
    for raw in message.results[0].timeseries:
        series = pb.SeriesV1.FromString(raw)
        pairs = [pb.LabelPair.FromString(label) for label in series.labels]
        sent = [pb.Histogram.FromString(one) for one in series.histograms]
        column, wrong = read_histograms(sent, 4096)
        assert not any(wrong)
        if sent:
            name = tuple(sorted((pair.name, pair.value) for pair in pairs))
            found[name] = {one.timestamp_ms: _plain(own) for one, own in zip(sent, natives(column), strict=True)}
    return found


def _plain(native: Native) -> Native:
    """Without empty buckets and hints: what a server says of the sample before depends on how it keeps them."""
    return replace(native, hint=0, buckets=tuple(bucket for bucket in native.buckets if bucket[1]))
