"""`python -m bench NAME [OPTIONS]`: run a benchmark; without a name, list them."""

from __future__ import annotations

import signal
import sys
from importlib import import_module
from types import FrameType

_NAMES = {
    "ingest": "what taking samples in costs: CPU, wire, disk, memory",
    "query": "how long queries take",
    "dashboards": "twenty queries of dashboards, one by one and all at once",
    "natives": "native histograms: writing, keeping, asking",
    "agent": "what watching a machine costs that machine",
    "fabric": "what a thousand agents cost a hub and its node, over libp2p and over HTTPS",
    "mesh": "what mesh probes cost an agent and the hub, in fleets of 10 to 1000",
}


def _stop(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> None:
    """Entry point. When it is asked to stop, it ends the servers that it started."""
    signal.signal(signal.SIGTERM, _stop)
    if len(sys.argv) > 1 and sys.argv[1] in _NAMES:
        import_module(f"bench.{sys.argv[1]}").main(sys.argv[2:])
        return
    print("python -m bench NAME [--help]\n")
    for name, meaning in _NAMES.items():
        print(f"  {name:10} {meaning}")
    raise SystemExit(0 if len(sys.argv) == 1 else 2)


if __name__ == "__main__":
    main()
