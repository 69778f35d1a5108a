"""Targets: the live agents as Prometheus's `http_sd` wants them listed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from peerwatch.collector.member import AgentStatus
from peerwatch.errors import ConfigError
from peerwatch.model import Labels
from peerwatch.wire.identity_labels import INSTANCE, JOB, TARGET
from peerwatch.wire.self_report import STOP_TIME

TARGETS_PATH = "/api/v1/sd/targets"
_META = "__meta_peerwatch_"
_ADDRESS = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):[0-9]{1,5}")
_SCHEMES = frozenset({"http", "https"})
_HUB, _DIRECT = "hub", "direct"
_MAX_GONE_AFTER_S = 86_400


@dataclass(frozen=True, slots=True)
class TargetsConfig:
    """Which agents a Prometheus is told of, and where it finds them."""

    gone_after_s: float = 30.0
    """An agent is not listed when nothing came from it for this long: three reports at the default rhythm. One that is
    stopped in order says so, and is not listed from then on."""
    direct: bool = False
    """List agents at the address that they announce. An agent names any it likes, and a Prometheus sends its credential
    there, so this is for fleets whose every machine is trusted with that."""

    def __post_init__(self) -> None:
        if not 0 < self.gone_after_s <= _MAX_GONE_AFTER_S:
            raise ConfigError(
                f"http_sd.gone_after_s is {self.gone_after_s}, must be above 0, at most {_MAX_GONE_AFTER_S}"
            )


@dataclass(frozen=True, slots=True)
class Said:
    """What an agent said of itself, and when; `stopped_ms` is when it said that it stops. 0 where it did not."""

    time_ms: int = 0
    labels: Labels = field(default_factory=Labels)
    stopped_ms: int = 0

    @property
    def has_left(self) -> bool:
        """Whether its stopping is the last that it said. All times are of the agent's clock."""
        return self.stopped_ms > self.time_ms


@dataclass(frozen=True, slots=True)
class TargetGroup:
    """One entry of the answer: an address and labels; those that begin with `__` are not stored."""

    targets: tuple[str, ...]
    labels: Mapping[str, str]


class Targets:
    """Decides who is listed, and as what. `started_ms` is when this hub did."""

    def __init__(self, config: TargetsConfig, own_job: str, started_ms: int) -> None:
        self._config = config
        self._own_job = own_job
        self._started_ms = started_ms

    def is_live(self, agent: AgentStatus, said: Said | None, now_ms: int) -> bool:
        """Whether it reported lately and not that it stops. A hub that has just started goes by what it had stored."""
        if said is not None and said.has_left:
            return False
        seen_ms = agent.last_seen_ms
        if not seen_ms and said is not None:
            seen_ms = min(said.time_ms, self._started_ms)
        return now_ms - seen_ms <= self._config.gone_after_s * 1000

    def groups(
        self, agents: Sequence[AgentStatus], said: Mapping[str, Said], hub: str, now_ms: int
    ) -> list[TargetGroup]:
        """A group for each live agent, by name. `hub` is the URL at which the asking Prometheus reaches this hub."""
        live = [one for one in agents if self.is_live(one, said.get(one.name), now_ms)]
        return [self._group(one, said.get(one.name), hub) for one in live]

    def _group(self, agent: AgentStatus, said: Said | None, hub: str) -> TargetGroup:
        labels = Labels() if said is None else said.labels
        address, scheme, path = self._where(agent.name, labels, hub)
        meta = {
            "name": agent.name,
            "peer_id": agent.peer_id,
            "roles": f",{','.join(agent.roles)},",  # commas at both ends, as in Prometheus's own lists: match ",hub,"
            "job": self._own_job,
            "os": labels.get("os"),
            "arch": labels.get("arch"),
            "version": labels.get("version"),
            "address": labels.get("address"),
            "via": _HUB if path else _DIRECT,
        }
        found = {_META + name: value for name, value in meta.items() if value}
        found |= {"__scheme__": scheme, INSTANCE: agent.name}
        return TargetGroup((address,), found | ({"__metrics_path__": path} if path else {}))

    def _where(self, name: str, labels: Labels, hub: str) -> tuple[str, str, str]:
        """(address, scheme, path) to scrape; no path means the usual one, at the agent itself."""
        address, scheme = labels.get("address"), labels.get("scheme")
        if self._config.direct and scheme in _SCHEMES and _ADDRESS.fullmatch(address):
            return address, scheme, ""
        parts = urlsplit(hub)
        return parts.netloc, parts.scheme, f"{parts.path.rstrip('/')}{metrics_path(name)}"

    def said_by(self, newest: Iterable[tuple[Labels, int]]) -> dict[str, Said]:
        """The newest `AGENT_INFO` and `STOP_TIME` of each agent: its own, not those of a target that it scrapes."""
        said: dict[str, Said] = {}
        for labels, time_ms in newest:
            if labels.get(JOB) != self._own_job or labels.get(TARGET):
                continue
            name = labels.get(INSTANCE)
            known = said.get(name, Said())
            if labels.metric == STOP_TIME:
                said[name] = replace(known, stopped_ms=max(known.stopped_ms, time_ms))
            elif time_ms > known.time_ms:
                said[name] = replace(known, time_ms=time_ms, labels=labels)
        return said


def metrics_path(name: str) -> str:
    """Where the hub shows an agent's samples. A name needs no quoting: see NAME_RULE."""
    return f"/api/v1/agents/{name}/metrics"
