"""NodeStart: what the main process says to its node before anything else."""

from __future__ import annotations

from typing import Literal

import msgspec

from peerwatch.node.config import NodeConfig, NodeLimits

_PRESETS = {"agent": NodeLimits.agent, "hub": NodeLimits.hub, "hub-large": NodeLimits.hub_large}


class NodeStart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of JSON on the node's standard input. `config` raises ConfigError for values that cannot be."""

    folder: str
    """For its socket and its bans."""
    key_file: str
    """The key that says who the member is. That which signs batches and acks stays with the main process."""
    preset: Literal["agent", "hub", "hub-large"]
    listen: tuple[str, ...]
    external: tuple[str, ...]
    bootstrap: bool
    max_connections: int
    allow: tuple[str, ...]
    deny: tuple[str, ...]
    log_level: str
    log_json: bool

    def config(self) -> NodeConfig:
        """The node's settings."""
        limits = _PRESETS[self.preset]()
        if self.max_connections:
            limits = limits.with_connections(self.max_connections)
        return NodeConfig(
            listen=self.listen,
            external=self.external,
            bootstrap=self.bootstrap,
            mesh=self.preset != "agent",
            allow=self.allow,
            deny=self.deny,
            limits=limits,
        )
