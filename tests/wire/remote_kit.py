"""Remote write requests as senders make them, for tests."""

from __future__ import annotations

from collections.abc import Sequence

import cramjam

from peerwatch.model import Labels, MetricType
from peerwatch.wire import remote_pb2 as pb

Sent = tuple[Labels, Sequence[tuple[int, float]]]
"""A series and its samples (time in ms, value)."""


def snappy(message: pb.WriteV1 | pb.WriteV2 | pb.ReadRequest) -> bytes:
    """The message as a body."""
    return bytes(cramjam.snappy.compress_raw(message.SerializeToString()))


def series_v1(labels: Labels, samples: Sequence[tuple[int, float]], **more: list[bytes]) -> pb.SeriesV1:
    """One TimeSeries of 1.0."""
    return pb.SeriesV1(
        labels=[pb.LabelPair(name=name, value=value).SerializeToString() for name, value in labels],
        samples=[pb.Sample(timestamp_ms=time_ms, value=value) for time_ms, value in samples],
        exemplars=more.get("exemplars", []),
        histograms=more.get("histograms", []),
    )


def request_v1(*sent: Sent, families: dict[str, tuple[MetricType, str, str]] | None = None) -> bytes:
    """A WriteRequest of 1.0."""
    return snappy(
        pb.WriteV1(
            timeseries=[series_v1(*one).SerializeToString() for one in sent],
            metadata=[
                pb.FamilyMeaning(family=name, type=kind, help=help_, unit=unit)
                for name, (kind, help_, unit) in (families or {}).items()
            ],
        )
    )


def request_v2(*sent: Sent, meaning: tuple[MetricType, str, str] | None = None) -> bytes:
    """A Request of 2.0; `meaning` is sent with every series, an empty one where it is None, as Prometheus does."""
    symbols: dict[str, int] = {"": 0}

    def ref(word: str) -> int:
        return symbols.setdefault(word, len(symbols))

    kind, help_, unit = meaning or (MetricType.UNKNOWN, "", "")
    series = [
        pb.SeriesV2(
            labels_refs=[ref(word) for pair in labels for word in pair],
            samples=[pb.Sample(timestamp_ms=time_ms, value=value) for time_ms, value in samples],
            metadata=pb.SeriesMeaning(type=kind, help_ref=ref(help_), unit_ref=ref(unit)),
        ).SerializeToString()
        for labels, samples in sent
    ]
    return snappy(pb.WriteV2(symbols=list(symbols), timeseries=series))
