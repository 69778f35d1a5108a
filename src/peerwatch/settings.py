"""Settings: every Config, read once from file, environment and flags, and handed down. Nothing else reads them.

Later wins: `peerwatch.toml` < `P2P_*` and `PEERWATCH_*` environment < flags. A key that nobody knows and a value that
is not allowed are errors that name their path.
"""

from __future__ import annotations

import dataclasses
import os
import re
import socket
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from peerwatch.agent.config import AgentConfig
from peerwatch.agent.delivery import DeliveryConfig
from peerwatch.agent.ship import ShipConfig
from peerwatch.collector.config import CollectorConfig
from peerwatch.collector.remote_write.config import RemoteWriteConfig
from peerwatch.collector.targets import TargetsConfig
from peerwatch.errors import ConfigError
from peerwatch.spool import SpoolConfig
from peerwatch.store.config import StoreConfig

_FILE = "peerwatch.toml"
_PREFIX = "PEERWATCH_"
_MOST_PROBE_S = 600
_MOST_SYNC_S = 20  # a revocation reaches every hub within 30 s
_P2P_PREFIX = "P2P_"
_NOT_SETTINGS = ("PEERWATCH_CI", "PEERWATCH_CONFIG", "PEERWATCH_TOKEN")  # read elsewhere: tests, --config, --token
_P2P = {
    "P2P_METRICS_PORT": "agent_http.port",
    "P2P_DATA_DIR": "data",
    "P2P_LOG_LEVEL": "log.level",
    "P2P_LISTEN_ADDRS": "p2p.listen",
    "P2P_EXTERNAL_ADDRS": "p2p.external",
    "P2P_BOOTSTRAP_PEERS": "p2p.bootstrap_peers",
    "P2P_BOOTSTRAP": "p2p.bootstrap",
    "P2P_MAX_CONNECTIONS": "p2p.max_connections",
}


@dataclass(frozen=True, slots=True)
class LogConfig:
    """Structured logs on standard error."""

    level: typing.Literal["debug", "info", "warning", "error"] = "info"  # least severity that is logged
    format: typing.Literal["auto", "json", "text"] = "auto"  # auto: text on a terminal, JSON otherwise


@dataclass(frozen=True, slots=True)
class HubConfig:
    """Where the hub listens. Anything but loopback means HTTPS and a credential."""

    listen: str = "127.0.0.1:9480"  # HOST:PORT; off loopback the first start makes and prints a credential
    tls: typing.Literal["auto", "always"] = "auto"  # auto: HTTPS wherever others can connect
    tls_cert: str = ""  # PEM; empty: the hub's own certificate, which members pin
    tls_key: str = ""  # PEM; goes with tls_cert
    addresses: tuple[str, ...] = ()  # what invites name, as https://host:port; empty: found from `listen`
    drain_s: float = 3.0  # how long a stopping hub lets requests finish
    sync_interval_s: float = 5.0  # how often it compares its roster with the other hubs'; changes here are told at once

    def __post_init__(self) -> None:
        if not 0.1 <= self.sync_interval_s <= _MOST_SYNC_S:
            raise ConfigError(f"hub.sync_interval_s: {self.sync_interval_s}, must be from 0.1 to {_MOST_SYNC_S}")


@dataclass(frozen=True, slots=True)
class AgentHttpConfig:
    """The own /metrics of an agent, or of a node that runs alone, for a Prometheus that pulls."""

    host: str = "127.0.0.1"  # others may read it only when an operator says so
    port: int = 9100  # 0 takes any free one
    enabled: bool = True  # false: nothing listens
    announce: str = ""  # HOST:PORT at which others reach it, for http_sd; empty: they do not, the hub shows the samples
    credential: str = field(default="", repr=False)  # what others must send as a bearer token; needed off loopback


@dataclass(frozen=True, slots=True)
class P2pConfig:
    """The libp2p node, in a process of its own; needs the extra p2p. Runs once `listen` or
    `bootstrap_peers` is set, and on an agent that joined by `peerwatch invite --link p2p`."""

    listen: tuple[str, ...] = ()
    """as /ip4/0.0.0.0/tcp/4001: members deliver to a hub there, and measure an agent; /ws behind it is experimental"""
    external: tuple[str, ...] = ()  # what others are told to dial first, before what it listens on
    bootstrap_peers: tuple[str, ...] = ()  # hubs and relays, dialled first: /ip4/192.0.2.7/tcp/4001/p2p/PEER_ID
    bootstrap: bool = False  # of `peerwatch node`: be a relay and first address for the others, as hubs are
    https_fallback: bool = False  # true: an agent delivers over HTTPS while libp2p fails
    preset: typing.Literal["auto", "hub-large"] = "auto"  # limits; hub-large is for a hub of 5,000 agents
    max_connections: int = 0  # 0: what the preset says, 1536 of a hub, 6656 of a large one, 400 of an agent
    allow: tuple[str, ...] = ()  # peer ids and networks; not empty: nobody else, also of the members
    deny: tuple[str, ...] = ()  # peer ids and networks that are never let in and never dialled
    probe_interval_s: float = 15.0  # how often an agent measures each of its partners, about log2 of all; 0: never

    def __post_init__(self) -> None:
        if self.probe_interval_s and not 0.1 <= self.probe_interval_s <= _MOST_PROBE_S:
            raise ConfigError(
                f"p2p.probe_interval_s: {self.probe_interval_s}, must be 0 or from 0.1 to {_MOST_PROBE_S}"
            )


def _default_data() -> str:
    return str(Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "peerwatch")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set. `configured` holds the paths that somebody set, so that defaults can give way."""

    data: str = field(default_factory=_default_data)
    """Everything that is kept lies below this folder."""
    name: str = field(default_factory=lambda: _host_name(socket.gethostname()))
    """What this machine is called in the fleet; letters, digits, dot, dash, underscore."""
    log: LogConfig = field(default_factory=LogConfig)
    hub: HubConfig = field(default_factory=HubConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    agent_http: AgentHttpConfig = field(default_factory=AgentHttpConfig)
    p2p: P2pConfig = field(default_factory=P2pConfig)
    delivery: DeliveryConfig = field(default_factory=DeliveryConfig)
    ship: ShipConfig = field(default_factory=ShipConfig)
    spool: SpoolConfig = field(default_factory=SpoolConfig)
    collector: CollectorConfig = field(default_factory=CollectorConfig)
    http_sd: TargetsConfig = field(default_factory=TargetsConfig)
    remote_write: RemoteWriteConfig = field(default_factory=RemoteWriteConfig)
    store: StoreConfig = field(default_factory=StoreConfig)
    configured: frozenset[str] = frozenset()

    @property
    def folder(self) -> Path:
        """The data folder."""
        return Path(self.data).expanduser()


def _host_name(raw: str) -> str:
    """A machine's name as a roster accepts it."""
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", raw).strip("-._")[:128].rstrip("-._")
    return cleaned or "host"


def load_settings(file: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]) -> Settings:
    """The settings. `file` None: `peerwatch.toml` in the working folder if it is there. `flags` are path to value.

    Raises ConfigError that names path, value and what is allowed.
    """
    tree: dict[str, Any] = {}
    configured: set[str] = set()
    for source, layer in (
        (_file_name(file), _from_file(file)),
        ("environment", _from_environment(environ)),
        ("flags", {path: value for path, value in flags.items() if value is not None}),
    ):
        for path, value in layer.items():
            _check_known(path, source)
            _put(tree, path, value)
            configured.add(path)
    return dataclasses.replace(_build(tree), configured=frozenset(configured))


def _file_name(file: Path | None) -> str:
    return str(file or _FILE)


def _from_file(file: Path | None) -> dict[str, object]:
    path = file or Path(_FILE)
    try:
        content = path.read_text("utf-8")
    except FileNotFoundError:
        if file is not None:
            raise ConfigError(f"{file}: there is no such file") from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return dict(_flatten(Settings, _parsed(path, content), ""))


def _parsed(path: Path, content: str) -> dict[str, Any]:
    import tomllib  # memory that an agent without a file saves

    try:
        return tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from error


def _from_environment(environ: Mapping[str, str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in sorted(environ.items()):
        if name.startswith(_P2P_PREFIX):
            found[_p2p_path(name)] = value
        elif name.startswith(_PREFIX) and name not in _NOT_SETTINGS:
            found[_env_path(name)] = value
    return found


def _p2p_path(name: str) -> str:
    if name in _P2P:
        return _P2P[name]
    raise ConfigError(f"{name}: unknown; known are {', '.join(sorted(_P2P))}")


def _env_path(name: str) -> str:
    """PEERWATCH_HUB_LISTEN is hub.listen; the longest section that fits wins (agent_http before agent)."""
    rest = name.removeprefix(_PREFIX).lower()
    for path in sorted(_leaf_paths(), key=len, reverse=True):
        if path.replace(".", "_") == rest:
            return path
    raise ConfigError(
        f"{name}: unknown setting; the name is {_PREFIX} and a path such as hub.listen: PEERWATCH_HUB_LISTEN"
    )


def _leaf_paths() -> list[str]:
    paths: list[str] = []
    for section, kind in _fields(Settings).items():
        if section == "configured":
            continue
        if dataclasses.is_dataclass(kind):
            paths.extend(f"{section}.{key}" for key in _fields(kind))
        else:
            paths.append(section)
    return paths


def _fields(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {one.name: hints[one.name] for one in dataclasses.fields(kind)}


def _flatten(kind: Any, tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, object]]:
    """`section.key` pairs of a parsed file; what lies deeper stays one value."""
    for key, value in tree.items():
        inner = _fields(kind).get(key)
        if isinstance(value, dict) and inner is not None and dataclasses.is_dataclass(inner):
            yield from _flatten(inner, value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _check_known(path: str, source: str) -> None:
    known = _leaf_paths()
    if path not in known:
        section = path.rpartition(".")[0]
        near = [one for one in known if one.rpartition(".")[0] == section] or known
        raise ConfigError(f"{source}: {path}: unknown setting; known there are {', '.join(sorted(near))}")


def _put(tree: dict[str, Any], path: str, value: object) -> None:
    *sections, key = path.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
    tree[key] = value


_AT = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")


def _build(tree: dict[str, Any]) -> Settings:
    _refuse_unknown(Settings, tree, "")
    try:
        return msgspec.convert(_split_lists(Settings, tree), Settings, strict=False)
    except msgspec.ValidationError as error:
        match = _AT.search(str(error))
        path = match["path"] if match else ""
        raise ConfigError(f"{path}: {_value_at(tree, path)!r}: {_AT.sub('', str(error))}") from error


def _refuse_unknown(kind: Any, value: Any, path: str) -> None:
    """Unknown keys at any depth: inside tables, lists of tables and named tables."""
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        fields = _fields(kind)
        for key, inner in value.items():
            if key not in fields:
                raise ConfigError(f"{path}{key}: unknown setting; known there are {', '.join(sorted(fields))}")
            _refuse_unknown(fields[key], inner, f"{path}{key}.")
        return
    arguments = typing.get_args(kind)
    if isinstance(value, list) and arguments:
        for index, inner in enumerate(value):
            _refuse_unknown(arguments[0], inner, f"{path.rstrip('.')}[{index}].")
    elif isinstance(value, dict) and len(arguments) == 2:
        for key, inner in value.items():
            _refuse_unknown(arguments[1], inner, f"{path}{key}.")


def _split_lists(kind: Any, tree: dict[str, Any]) -> dict[str, Any]:
    """Lists that came as text, from the environment or a flag, are split at commas."""
    out = dict(tree)
    for key, inner in _fields(kind).items():
        value = out.get(key)
        if dataclasses.is_dataclass(inner) and isinstance(value, dict):
            out[key] = _split_lists(inner, value)
        elif isinstance(value, str) and typing.get_origin(inner) is tuple:
            out[key] = [part.strip() for part in value.split(",") if part.strip()]
        elif isinstance(value, str) and isinstance(inner, types.UnionType) and value == "":
            out[key] = None
    return out


def _value_at(tree: Mapping[str, Any], path: str) -> object:
    value: Any = tree
    for part in re.findall(r"[^.\[\]]+", path):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
    return value
