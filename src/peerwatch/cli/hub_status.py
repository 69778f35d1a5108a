"""HubStatus: what a hub tells of itself on Prometheus's status endpoints. Nothing secret is in it."""

from __future__ import annotations

import dataclasses
import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from peerwatch.collector.member import AgentStatus
from peerwatch.model import Clock
from peerwatch.query.gotext import format_duration_ms
from peerwatch.query.status import Holdings, Target, time_text
from peerwatch.settings import Settings
from peerwatch.store.store import Store
from peerwatch.wire.identity_labels import INSTANCE, JOB

_SHOWN = ("hub", "collector", "remote_write", "store")  # sections without secrets
_CONFIGURATION = """global:
  scrape_interval: {interval}
  evaluation_interval: {interval}
storage:
  tsdb:
    retention:
      time: {retention}
"""


class HubStatus:
    """A ServerStatus. `agents` is called in the event loop only, as `targets` is; the rest from any thread."""

    def __init__(
        self, settings: Settings, store: Store, agents: Callable[[], Sequence[AgentStatus]], clock: Clock
    ) -> None:
        self._settings = settings
        self._store = store
        self._agents = agents
        self._clock = clock
        self._started_ms = clock.now_ms()

    @property
    def _retention(self) -> str:
        return format_duration_ms(self._settings.store.retention_ms)

    def runtime(self) -> Mapping[str, object]:
        """See ServerStatus. What Go has and Python has not is empty; threads stand for goroutines."""
        started = time_text(self._started_ms)
        return {
            "startTime": started,
            "CWD": str(Path.cwd()),
            "hostname": socket.gethostname(),
            "serverTime": time_text(self._clock.now_ms()),
            "reloadConfigSuccess": True,
            "lastConfigTime": started,
            "corruptionCount": self._store.stats().damage,
            "goroutineCount": threading.active_count(),
            "GOMAXPROCS": os.cpu_count() or 1,
            "GOMEMLIMIT": 0,
            "GOGC": "",
            "GODEBUG": "",
            "storageRetention": self._retention,
        }

    def flags(self) -> Mapping[str, str]:
        """See ServerStatus: settings by their paths."""
        found: dict[str, str] = {}
        for section in _SHOWN:
            config = getattr(self._settings, section)
            for field in dataclasses.fields(config):
                value = getattr(config, field.name)
                if field.repr and not dataclasses.is_dataclass(value):
                    found[f"{section}.{field.name}"] = str(value)
        return found

    def configuration(self) -> str:
        """See ServerStatus: what a Prometheus with this behaviour would have in its file."""
        interval = format_duration_ms(self._settings.collector.presence_interval_ms)
        return _CONFIGURATION.format(interval=interval, retention=self._retention)

    def holdings(self) -> Holdings:
        """See ServerStatus."""
        stats = self._store.stats()
        return Holdings(stats.series, stats.blocks, stats.oldest_ms, stats.newest_ms)

    def targets(self) -> Sequence[Target]:
        """See ServerStatus: the agents of the fleet."""
        collector = self._settings.collector
        silent_s = collector.silent_after_ms / 1000
        return [
            Target(
                {INSTANCE: one.name, JOB: collector.default_job},
                one.up,
                one.last_seen_ms,
                collector.presence_interval_ms / 1000,
                "" if one.up else f"nothing came from {one.name} for {silent_s:g} s or more",
            )
            for one in self._agents()
        ]
