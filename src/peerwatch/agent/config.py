"""AgentConfig: what is sampled, how often, and what is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import urlsplit

from peerwatch.agent.aggregate import AggregationRule
from peerwatch.agent.sources import diskstats, filesystem, netclass, netdev, netstat
from peerwatch.errors import ConfigError
from peerwatch.model.relabel import RelabelRule

_MIN_INTERVAL_S = 0.1  # below that a tick of all sources would not fit in its interval
_MAX_INTERVAL_S = 86_400.0
_MAX_BODY_BYTES = 256 << 20
_MAX_SAMPLES = 2_000_000  # what one envelope may hold
_MAX_TARGETS = 256  # each may keep a thread busy, and a batch has a block for each


@dataclass(frozen=True, slots=True)
class SourceSetting:
    """On or off, and how often. `interval_s` None: the source's own default (see `sources.KINDS`)."""

    enabled: bool = True  # false: not sampled
    interval_s: float | None = None  # none: the source's own


@dataclass(frozen=True, slots=True)
class ScrapeConfig:
    """One `/metrics` URL. `target` defaults to the URL's host and port, as Prometheus's `instance`."""

    url: str  # http or https
    job: str  # label `job` of the scraped series
    target: str = ""  # label `instance` before the hub adds its own; empty: host and port of the URL
    interval_s: float = 15.0  # the field's default for pulled targets (requirement D5)
    timeout_s: float = 10.0  # for the whole of one scrape; never more than the interval
    body_limit_bytes: int = 16 << 20  # a larger page fails the scrape
    sample_limit: int = 50_000  # after relabelling; more fails the scrape, as in Prometheus
    metric_relabel: tuple[RelabelRule, ...] = ()  # as `metric_relabel_configs` of Prometheus
    headers: tuple[tuple[str, str], ...] = ()  # pairs of name and value to send
    bearer_token_file: str = ""  # read anew for each scrape, so that it can be rotated
    ca_file: str = ""  # empty: the usual authorities

    def __post_init__(self) -> None:
        if not _is_http(self.url):
            raise ConfigError(f"agent.scrape.url: {self.url!r}, must be http://… or https://…")
        if not self.job:
            raise ConfigError(f"agent.scrape {self.url}: job is empty, must be a name")
        _check_interval("agent.scrape.interval_s", self.interval_s)
        _check_range("agent.scrape.timeout_s", self.timeout_s, 0.001, self.interval_s)
        _check_range("agent.scrape.body_limit_bytes", self.body_limit_bytes, 1, _MAX_BODY_BYTES)
        _check_range("agent.scrape.sample_limit", self.sample_limit, 1, _MAX_SAMPLES)

    @property
    def target_name(self) -> str:
        """What the scraped series belong to."""
        if self.target:
            return self.target
        parts = urlsplit(self.url)
        name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return f"{name}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """The sampling half of an agent. Defaults sample every 5 s and report two ticks at a time (requirement E12)."""

    sample_interval_s: float = 5.0  # how often the host is sampled
    report_interval_s: float = 10.0  # equal to sample_interval_s: every tick is sent at once
    phase: float | None = None  # 0 to 1: where in the interval ticks lie; None: by chance, so that a fleet spreads
    source_deadline_s: float = 1.0  # a source that takes longer is left out of the tick and left alone until it ends
    max_batch_samples: int = 500_000  # a batch is closed early at this size; 4 MB of values
    sources: Mapping[str, SourceSetting] = field(default_factory=lambda: MappingProxyType({}))
    """By name, to switch one off or give it an interval of its own."""
    textfile_folder: str = ""  # empty: no textfile source
    scrape: tuple[ScrapeConfig, ...] = ()  # `/metrics` URLs to scrape
    aggregation: tuple[AggregationRule, ...] = ()  # metrics to send less often, as min, max, mean and last of a window
    diskstats_exclude: str = diskstats.DEFAULT_EXCLUDE  # devices left out (RE2), as in node_exporter
    filesystem_exclude_mounts: str = filesystem.DEFAULT_EXCLUDE_MOUNTS
    """Mount points left out (RE2), as in node_exporter."""
    filesystem_exclude_types: str = filesystem.DEFAULT_EXCLUDE_TYPES  # file systems left out (RE2), as in node_exporter
    netdev_exclude: str = netdev.DEFAULT_EXCLUDE  # interfaces left out of traffic (RE2)
    netclass_exclude: str = netclass.DEFAULT_EXCLUDE  # interfaces left out of properties (RE2)
    netstat_include: str = netstat.DEFAULT_INCLUDE  # the counters to take (RE2), as in node_exporter

    def __post_init__(self) -> None:
        _check_interval("agent.sample_interval_s", self.sample_interval_s)
        _check_interval("agent.report_interval_s", self.report_interval_s)
        if self.report_interval_s < self.sample_interval_s:
            raise ConfigError(
                f"agent.report_interval_s: {self.report_interval_s},"
                f" must be at least agent.sample_interval_s ({self.sample_interval_s})"
            )
        if self.phase is not None and not 0 <= self.phase < 1:
            raise ConfigError(f"agent.phase: {self.phase}, must be from 0 to below 1")
        _check_range("agent.source_deadline_s", self.source_deadline_s, 0.001, 60)
        _check_range("agent.max_batch_samples", self.max_batch_samples, 1000, _MAX_SAMPLES)
        for name, setting in self.sources.items():
            if setting.interval_s is not None:
                _check_interval(f"agent.sources.{name}.interval_s", setting.interval_s)
        _check_distinct_targets(self.scrape)


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a bracket or a port that is none
        return False


def _check_interval(path: str, seconds: float) -> None:
    _check_range(path, seconds, _MIN_INTERVAL_S, _MAX_INTERVAL_S)


def _check_range(path: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{path}: {value}, must be from {low:g} to {high:g}")


def _check_distinct_targets(targets: tuple[ScrapeConfig, ...]) -> None:
    if len(targets) > _MAX_TARGETS:
        raise ConfigError(f"agent.scrape: {len(targets)} targets, limit {_MAX_TARGETS}")
    seen: set[tuple[str, str]] = set()
    for target in targets:
        key = (target.job, target.target_name)
        if key in seen:
            raise ConfigError(f"agent.scrape: job {key[0]!r} has target {key[1]!r} twice, their samples would mix")
        seen.add(key)
