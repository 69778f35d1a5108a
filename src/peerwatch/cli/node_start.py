"""node_start: what a hub's or an agent's settings mean for its libp2p node."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from peerwatch.errors import ConfigError
from peerwatch.node.start import NodeStart
from peerwatch.settings import Settings


def node_start(settings: Settings, folder: Path, key_file: Path, preset: Literal["hub", "agent"]) -> NodeStart:
    """How the node of these settings starts. Raises ConfigError for what cannot be, and where libp2p is missing."""
    if find_spec("libp2p") is None:
        raise ConfigError("p2p is set, but libp2p is not installed: pip install 'peerwatch[p2p]', or remove [p2p]")
    p2p, log = settings.p2p, settings.log
    if p2p.preset != "auto" and preset != "hub":
        raise ConfigError(f"p2p.preset: {p2p.preset} is for hubs and `peerwatch node --bootstrap`; remove it here")
    start = NodeStart(
        folder=str(folder),
        key_file=str(key_file),
        preset=preset if p2p.preset == "auto" else "hub-large",
        listen=p2p.listen,
        external=p2p.external,
        bootstrap=p2p.bootstrap or preset == "hub",
        max_connections=p2p.max_connections,
        allow=p2p.allow,
        deny=p2p.deny,
        log_level=log.level,
        log_json=log.format == "json" or (log.format == "auto" and not sys.stderr.isatty()),
    )
    start.config()
    return start
