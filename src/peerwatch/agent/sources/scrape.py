"""Any `/metrics` URL, relabelled: what a Prometheus would scrape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from peerwatch.agent.config import ScrapeConfig
from peerwatch.agent.source import Family, Reading
from peerwatch.agent.sources.http_get import HttpGetter
from peerwatch.errors import ConfigError, DecodeError, LinkError, QuotaError
from peerwatch.model import Clock, Float64Array, Int64Array, Labels, Series
from peerwatch.model.relabel import RelabelRule, relabel
from peerwatch.telemetry import get_logger
from peerwatch.wire.exposition import ACCEPT, ExpositionLimits, ExpositionParser

# Prometheus adds the same to every target, under the same names
_META = tuple(
    Family(name, text).series()
    for name, text in (
        ("up", "1 if the target could be scraped, 0 otherwise."),
        ("scrape_duration_seconds", "Duration of the scrape."),
        ("scrape_samples_scraped", "Number of samples the target exposed."),
        ("scrape_samples_post_metric_relabeling", "Number of samples left after metric relabeling."),
        ("scrape_series_added", "Number of series that the scrape before did not have."),
    )
)
_META_LABELS = frozenset(series.labels for series in _META)
_MAX_TOKEN_BYTES = 16 << 10

_log = get_logger("agent.scrape")


class Getter(Protocol):
    """Fetches the target's page."""

    def get(self, headers: dict[str, str]) -> tuple[bytes, str]:
        """Body and content type. Raises LinkError."""
        ...


class ScrapeSource:
    """One target. A scrape that fails gives `up` 0 and no other series, so that they end.

    Timestamps in the page are not used: all series of a target share the time of the scrape. Bounded by the target's
    `body_limit_bytes` and `sample_limit`; past either the scrape fails.
    """

    def __init__(self, config: ScrapeConfig, clock: Clock, getter: Getter | None = None) -> None:
        self._config = config
        self._clock = clock
        self._getter = getter or HttpGetter(
            config.url,
            clock,
            timeout_s=config.timeout_s,
            limit_bytes=config.body_limit_bytes,
            ca_file=config.ca_file,
        )
        self._parser = ExpositionParser(ExpositionLimits(body_bytes=config.body_limit_bytes))
        self._relabelled = _Relabelled(config.metric_relabel)
        self._series: tuple[Series, ...] = ()
        self._with_meta: tuple[Series, ...] = _META
        self._trouble = ""

    def collect(self, now_ms: int) -> Reading:
        start_s = self._clock.monotonic_s()
        try:
            scraped, series, values = self._scrape()
        except (LinkError, DecodeError, QuotaError, ConfigError) as error:
            self._tell(str(error))
            return self._reading((), np.zeros(0), [0.0, self._clock.monotonic_s() - start_s, 0.0, 0.0, 0.0])
        self._tell("")
        added = 0 if series is self._series else len({s.labels for s in series} - {s.labels for s in self._series})
        meta = [1.0, self._clock.monotonic_s() - start_s, float(scraped), float(len(series)), float(added)]
        return self._reading(series, values, meta)

    def _scrape(self) -> tuple[int, tuple[Series, ...], Float64Array]:
        body, content_type = self._getter.get(self._headers())
        found = self._parser.parse(body, openmetrics="application/openmetrics-text" in content_type)
        series, rows = self._relabelled.rows(found.series)
        limit = self._config.sample_limit
        if len(series) > limit:
            raise QuotaError(f"{self._config.url}: {len(series)} samples after relabelling, limit {limit}")
        return len(found.series) + found.duplicates, series, found.values if rows is None else found.values[rows]

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": ACCEPT, "User-Agent": "peerwatch-agent", **dict(self._config.headers)}
        headers["X-Prometheus-Scrape-Timeout-Seconds"] = f"{self._config.timeout_s:g}"
        if self._config.bearer_token_file:
            headers["Authorization"] = f"Bearer {_token(self._config.bearer_token_file)}"
        return headers

    def _reading(self, series: tuple[Series, ...], values: Float64Array, meta: Sequence[float]) -> Reading:
        if series is not self._series:
            self._series = series
            self._with_meta = series + _META
        columns = np.concatenate([values, np.array(meta)])
        return Reading(self._with_meta, columns, self._config.job, self._config.target_name)

    def _tell(self, trouble: str) -> None:
        if trouble == self._trouble:
            return
        if trouble:
            _log.warning("scrape failed", job=self._config.job, target=self._config.target_name, error=trouble)
        else:
            _log.info("scrape works again", job=self._config.job, target=self._config.target_name)
        self._trouble = trouble


class _Relabelled:
    """Which rows of a page are kept and what they are called: worked out anew only when its series change."""

    def __init__(self, rules: tuple[RelabelRule, ...]) -> None:
        self._rules = rules
        self._source: tuple[Series, ...] | None = None
        self._series: tuple[Series, ...] = ()
        self._rows: Int64Array | None = None

    def rows(self, source: tuple[Series, ...]) -> tuple[tuple[Series, ...], Int64Array | None]:
        """The series after relabelling, and the rows of `source` they come from (None: all, as they are).

        Rules that make two series the same keep the first. A name that a rule took away drops the series.
        """
        if source is not self._source:
            self._source = source
            self._series, self._rows = self._work_out(source)
        return self._series, self._rows

    def _work_out(self, source: tuple[Series, ...]) -> tuple[tuple[Series, ...], Int64Array | None]:
        kept: dict[Labels, tuple[Series, int]] = {}
        for row, series in enumerate(source):
            labels = relabel(series.labels, self._rules) if self._rules else series.labels
            if labels is not None and labels.metric and labels not in _META_LABELS and labels not in kept:
                kept[labels] = (series if labels == series.labels else replace(series, labels=labels), row)
        if len(kept) == len(source) and not self._rules:
            return source, None
        return tuple(series for series, _ in kept.values()), np.fromiter(
            (row for _, row in kept.values()), dtype=np.int64
        )


def _token(path: str) -> str:
    try:
        text = Path(path).read_bytes()[:_MAX_TOKEN_BYTES].decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise LinkError(f"agent.scrape.bearer_token_file {path}: {error}") from error
    if not text.isprintable() or not text:
        raise ConfigError(f"agent.scrape.bearer_token_file {path}: not a token")
    return text
