"""Targets: the live agents as Prometheus's `http_sd` wants them listed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from peerwatch.collector.member import AgentStatus
from peerwatch.errors import ConfigError
from peerwatch.model import Labels
from peerwatch.wire.identity_labels import INSTANCE, JOB, TARGET

TARGETS_PATH = "/api/v1/sd/targets"
AGENT_INFO = "peerwatch_agent_info"
"""The metric by which an agent says what it is, and at which address others reach its `/metrics`."""
_META = "__meta_peerwatch_"
_ADDRESS = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):[0-9]{1,5}")
_SCHEMES = frozenset({"http", "https"})
_HUB, _DIRECT = "hub", "direct"
_MAX_GONE_AFTER_S = 86_400


@dataclass(frozen=True, slots=True)
class TargetsConfig:
    """Which agents a Prometheus is told of, and where it finds them."""

    gone_after_s: float = 30.0
    """An agent is not listed when nothing came from it for this long: three reports at the default rhythm."""
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
    """What an agent said of itself, and when."""

    time_ms: int
    labels: Labels


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
        """Whether it reported lately. To a hub that has just started counts what it had stored before."""
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
        """The newest `peerwatch_agent_info` of each agent: its own, not that of a target that it scrapes."""
        said: dict[str, Said] = {}
        for labels, time_ms in newest:
            known = said.get(labels.get(INSTANCE))
            if labels.get(JOB) != self._own_job or labels.get(TARGET) or (known and known.time_ms >= time_ms):
                continue
            said[labels.get(INSTANCE)] = Said(time_ms, labels)
        return said


def metrics_path(name: str) -> str:
    """Where the hub shows an agent's samples. A name needs no quoting: see NAME_RULE."""
    return f"/api/v1/agents/{name}/metrics"
