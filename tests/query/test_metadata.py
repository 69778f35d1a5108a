"""`/api/v1/metadata`: types, help and units in Prometheus's words."""

from __future__ import annotations

import msgspec

from peerwatch.model import Matcher, MetricType, SeriesSet
from peerwatch.query.prometheus import PrometheusApi


class _Known:
    """A source that knows two metrics and holds no samples."""

    def metadata(self) -> dict[str, tuple[MetricType, str, str]]:
        return {
            "a_seconds": (MetricType.GAUGE_HISTOGRAM, "How long.", "seconds"),
            "b_total": (MetricType.COUNTER, "How many.", ""),
        }

    def select(self, *_: object, **__: object) -> SeriesSet:
        raise AssertionError("metadata reads no samples")

    def label_values(self, name: str, matchers: list[Matcher], start_ms: int, end_ms: int) -> list[str]:
        raise AssertionError("metadata reads no labels")

    def label_names(self, matchers: list[Matcher], start_ms: int, end_ms: int) -> list[str]:
        raise AssertionError("metadata reads no labels")


def _ask(**form: str) -> object:
    api = PrometheusApi(_Known())  # type: ignore[arg-type]  # its methods are never called
    return msgspec.json.decode(api.metadata({name: [value] for name, value in form.items()}))["data"]


def test_metadata_is_listed_by_metric() -> None:
    """Each metric has a list with one object, as Grafana's and Prometheus's clients expect."""
    histogram = [{"type": "gaugehistogram", "help": "How long.", "unit": "seconds"}]
    counter = [{"type": "counter", "help": "How many.", "unit": ""}]
    assert _ask() == {"a_seconds": histogram, "b_total": counter}
    assert _ask(metric="b_total") == {"b_total": counter}
    assert _ask(limit="1") == {"a_seconds": histogram}
    assert _ask(metric="c") == {}
