"""`peerwatch health`: for people and for a container's HEALTHCHECK (requirement B46)."""

from __future__ import annotations

import msgspec

from peerwatch.cli import options
from peerwatch.cli.asked_hub import AskedHub


def health(
    hub: AskedHub,
    json: options.Json = False,
) -> None:
    """Print what /health/ready says; exit with 0 when it is ready and 1 when it is not."""
    with hub.open() as client:
        status, text = client.status("/health/ready")
    print(text.strip() if json else _sentence(text))
    raise SystemExit(0 if status == 200 else 1)


def _sentence(text: str) -> str:
    """The answer in words; whatever is no such answer is shown as it came."""
    try:
        found = msgspec.json.decode(text, type=_Ready)
    except msgspec.DecodeError:
        return text.strip()
    return f"{found.status}: {found.connected_peers} peers connected, up for {found.uptime_seconds:.0f} s"


class _Ready(msgspec.Struct):
    status: str
    connected_peers: int
    uptime_seconds: float
