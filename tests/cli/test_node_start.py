"""What an operator sets reaches the node."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from peerwatch.cli.node_start import node_start
from peerwatch.errors import ConfigError
from peerwatch.node.config import NodeConfig, NodeLimits
from peerwatch.settings import load_settings

pytest.importorskip("libp2p", reason="the extra p2p is not installed: make p2p")


def _config(preset: Literal["hub", "agent"], **flags: object) -> NodeConfig:
    settings = load_settings(None, {}, {name.replace("__", "."): value for name, value in flags.items()})
    return node_start(settings, Path("/data"), Path("/data/key"), preset).config()


def test_limits_follow_role_and_preset() -> None:
    """A hub of 5,000 agents says so; the number of connections may be set beside it."""
    assert _config("agent").limits == NodeLimits.agent()
    assert _config("hub").limits == NodeLimits.hub()
    large = _config("hub", p2p__preset="hub-large")
    assert large.limits == NodeLimits.hub_large() and large.limits.max_inbound > 5000
    assert _config("hub", p2p__preset="hub-large", p2p__max_connections=8000).limits.max_connections == 8000
    assert _config("hub").mesh and large.mesh and not _config("agent").mesh


def test_an_agent_is_no_large_hub() -> None:
    """It is told so."""
    with pytest.raises(ConfigError, match=r"p2p\.preset: hub-large is for hubs"):
        _config("agent", p2p__preset="hub-large")


def test_lists_reach_the_gate() -> None:
    """And what is neither a peer id nor a network is refused at the start."""
    config = _config("agent", p2p__allow=("192.0.2.0/24",), p2p__deny=("198.51.100.7",))
    assert (config.allow, config.deny) == (("192.0.2.0/24",), ("198.51.100.7",))
    with pytest.raises(ConfigError, match="deny"):
        _config("agent", p2p__deny=("nobody",))
