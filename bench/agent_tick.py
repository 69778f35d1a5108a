"""What sampling costs: CPU per tick and resident memory of a process that runs only the agent's sampling half.

    python bench/agent_tick.py [--interval 5] [--seconds 60]

A tick costs the same at any interval, so a short one measures more ticks in less time; the share of a core is then
given for 5 s. Start-up and imports are told apart from ticks.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import anyio

from peerwatch.agent.agent import Agent
from peerwatch.agent.config import AgentConfig
from peerwatch.model import Batch
from peerwatch.telemetry import CollectorRegistry, configure_logging

_DEFAULT_INTERVAL_S = 5.0


def resident_mb() -> float:
    """Resident memory of this process, from the kernel."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


async def measure(interval_s: float, seconds: float) -> dict[str, float]:
    """Run an agent for `seconds` and tell what a tick took."""
    ticks = 0
    samples = 0

    def deliver(batch: Batch) -> None:
        nonlocal ticks, samples
        ticks += max(len(block.matrix.times_ms) for block in batch.blocks)
        samples += batch.sample_count

    config = AgentConfig(sample_interval_s=interval_s, report_interval_s=2 * interval_s)
    agent = Agent(config, deliver, CollectorRegistry())
    started_s = time.process_time()
    with anyio.move_on_after(interval_s / 2):  # the first tick makes every label object; it is told apart
        await agent.run()
    first_ms = (time.process_time() - started_s) * 1000
    ticks = samples = 0
    agent = Agent(config, deliver, CollectorRegistry())
    begun_s, begun_wall_s = time.process_time(), time.monotonic()
    with anyio.move_on_after(seconds):
        await agent.run()
    cpu_ms = (time.process_time() - begun_s) * 1000 / ticks
    return {
        "ticks": ticks,
        "series": len(agent.latest()),
        "samples": samples,
        "wall_s": round(time.monotonic() - begun_wall_s, 1),
        "start_and_first_tick_cpu_ms": round(first_ms, 2),
        "cpu_ms_per_tick": round(cpu_ms, 3),
        "core_percent_at_5_s": round(cpu_ms / (_DEFAULT_INTERVAL_S * 1000) * 100, 3),
        "resident_mb": round(resident_mb(), 1),
    }


def main() -> None:
    """Measure and print as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--interval", type=float, default=0.25, help="seconds between ticks")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long to run")
    options = parser.parse_args()
    configure_logging("error")
    found = anyio.run(measure, options.interval, options.seconds)
    print(json.dumps({"imports_cpu_ms": round(_IMPORTS_S * 1000), **found}, indent=2))


_IMPORTS_S = time.process_time()

if __name__ == "__main__":
    sys.exit(main())
