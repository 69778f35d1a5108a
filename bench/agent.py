"""What watching a machine costs on that machine: our agent beside node_exporter scraped by a Prometheus in agent mode.

Both sides sample this host at 5 s and at 1 s and deliver what they sampled: ours to a hub (signed, spooled on disk),
theirs by remote write to a sink that throws it away. CPU is that of the processes on the watched machine, from the
first sample after warming up; hub and sink are elsewhere in life and not counted.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.fleet import join_offline
from bench.machine import command_line, machine
from bench.peers import absent, find_peers
from bench.process import Process, ServerError, free_port
from bench.sink import Sink
from bench.table import markdown, ratio

_WARM_S = 20.0


@dataclass(frozen=True, slots=True)
class Watcher:
    """Processes that together watch this machine, and where one of them shows its series."""

    name: str
    processes: tuple[Process, ...]
    metrics_url: str


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU in percent of one core, memory in MiB: all of it, and what no other process could share."""

    name: str
    cpu_percent: float
    rss_mib: float
    anonymous_mib: float
    series: int


@contextmanager
def our_agent(folder: Path, interval_s: float) -> Iterator[Watcher]:
    """`peerwatch agent` delivering to a `peerwatch hub`."""
    hub_folder, agent_folder, port = folder / "hub", folder / "agent", free_port()
    url = f"http://127.0.0.1:{port}"
    hub_folder.mkdir(parents=True)
    agent_folder.mkdir()
    join_offline(hub_folder, agent_folder, "watched", url)
    peerwatch = [sys.executable, "-m", "peerwatch"]
    environ = {
        "PEERWATCH_AGENT_SAMPLE_INTERVAL_S": f"{interval_s:g}",
        "PEERWATCH_AGENT_REPORT_INTERVAL_S": f"{max(10.0, interval_s):g}",
    }
    hub_command = [*peerwatch, "hub", "--data", str(hub_folder), "--listen", f"127.0.0.1:{port}"]
    with Process(hub_command, folder / "hub.log") as hub:
        hub.wait_until_answers(f"{url}/health/ready")
        metrics = free_port()
        command = [*peerwatch, "agent", "--data", str(agent_folder), "--metrics-port", str(metrics)]
        with Process(command, folder / "agent.log", environ) as agent:
            agent.wait_until_answers(f"http://127.0.0.1:{metrics}/health/ready")
            yield Watcher("peerwatch agent", (agent,), f"http://127.0.0.1:{metrics}/metrics")
            _check_arrived(url, interval_s)


def _check_arrived(hub_url: str, interval_s: float) -> None:
    """Raise ServerError unless the hub holds the samples of a minute, but for the newest report's."""
    now_s = time.time() - 15
    seconds = min(60.0, 10 * interval_s)
    query = urllib.parse.urlencode({"query": f"count_over_time(node_load1[{seconds:g}s])", "time": f"{now_s:.3f}"})
    with urllib.request.urlopen(f"{hub_url}/api/v1/query?{query}", timeout=10) as answer:
        found = json.loads(answer.read())["data"]["result"]
    count = float(found[0]["value"][1]) if found else 0.0
    if abs(count - seconds / interval_s) > 1:
        raise ServerError(f"the hub holds {count:g} samples of {seconds:g} s, expected {seconds / interval_s:g}")


@contextmanager
def node_exporter(folder: Path, interval_s: float, prometheus: Path, exporter: Path) -> Iterator[Watcher]:
    """node_exporter, and the Prometheus agent that scrapes it and writes on."""
    folder.mkdir(parents=True)
    metrics, port = free_port(), free_port()
    exporter_command: list[str | Path] = [exporter, f"--web.listen-address=127.0.0.1:{metrics}", "--log.level=error"]
    with Sink() as sink, Process(exporter_command, folder / "exporter.log") as exporting:
        exporting.wait_until_answers(f"http://127.0.0.1:{metrics}/metrics")
        config = folder / "agent.yml"
        config.write_text(
            f"global: {{scrape_interval: {interval_s:g}s, scrape_timeout: {interval_s:g}s}}\n"
            f"scrape_configs: [{{job_name: node, static_configs: [{{targets: ['127.0.0.1:{metrics}']}}]}}]\n"
            f"remote_write: [{{url: 'http://127.0.0.1:{sink.port}/write'}}]\n"
        )
        command: list[str | Path] = [
            prometheus,
            f"--config.file={config}",
            *_agent_mode(prometheus),
            f"--storage.agent.path={folder / 'agent'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
        ]
        with Process(command, folder / "prometheus.log") as agent:
            agent.wait_until_answers(f"http://127.0.0.1:{port}/-/ready")
            yield Watcher("node_exporter + agent", (exporting, agent), f"http://127.0.0.1:{metrics}/metrics")
            if not sink.requests:
                raise ServerError("the Prometheus agent delivered nothing")


def _agent_mode(prometheus: Path) -> list[str]:
    """The flag that makes it an agent: its own since 3.0, a feature flag before."""
    is_new = any(peer.path == prometheus and int(peer.version.split(".")[0]) >= 3 for peer in find_peers("prometheus"))
    return ["--agent"] if is_new else ["--enable-feature=agent"]


def watch(watcher: Watcher, seconds: float) -> list[Cost]:
    """CPU and memory of each process over `seconds`, after 20 s of warming up, and of all together."""
    time.sleep(_WARM_S)
    before = [one.cpu_s() for one in watcher.processes]
    began_s = time.monotonic()
    time.sleep(seconds)
    wall_s = time.monotonic() - began_s
    used = [one.cpu_s() - then for one, then in zip(watcher.processes, before, strict=True)]
    rss = [one.rss_bytes() / (1 << 20) for one in watcher.processes]
    anonymous = [one.anonymous_rss_bytes() / (1 << 20) for one in watcher.processes]
    series = _series(watcher.metrics_url)
    return [Cost(watcher.name, sum(used) / wall_s * 100, sum(rss), sum(anonymous), series)] + (
        [
            Cost(f"  of it {name}", cpu / wall_s * 100, size, own, series)
            for name, cpu, size, own in zip(("node_exporter", "Prometheus agent"), used, rss, anonymous, strict=True)
        ]
        if len(watcher.processes) > 1
        else []
    )


def _series(url: str) -> int:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return sum(1 for line in answer.read().splitlines() if line and not line.startswith(b"#"))


def table(costs: Sequence[Cost]) -> str:
    """The first row is ours."""
    ours = costs[0]
    rows = []
    for one in costs:
        cells = [f"{one.cpu_percent:.2f}", f"{one.rss_mib:.0f}", f"{one.anonymous_mib:.0f}"]
        if one is not ours:
            cells[0] += f" ({ratio(one.cpu_percent, ours.cpu_percent)})"
            cells[1] += f" ({ratio(one.rss_mib, ours.rss_mib)})"
        rows.append([one.name, *cells, str(one.series)])
    return markdown(["watcher", "CPU % of a core", "RSS MiB", "anonymous MiB", "lines on /metrics"], rows)


def run(options: argparse.Namespace) -> None:
    """Measure all at every interval."""
    for line in absent():
        print(line)
    print(f"{command_line()}\n{machine()}\n")
    exporters, servers = find_peers("prometheus-node-exporter"), find_peers("prometheus")
    for interval_s in options.intervals:
        folder = Path(tempfile.mkdtemp(prefix="bench-"))
        try:
            with our_agent(folder / "ours", interval_s) as watcher:
                costs = watch(watcher, options.seconds)
            for exporter in exporters[:1]:
                for server in servers[:1]:
                    with node_exporter(folder / "theirs", interval_s, server.path, exporter.path) as watcher:
                        costs += watch(watcher, options.seconds)
                        print(f"{exporter.name}, {server.name} in agent mode")
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        print(f"\n## every {interval_s:g} s, over {options.seconds:g} s\n\n{table(costs)}\n", flush=True)


def options_of(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench agent", description=__doc__)
    parser.add_argument("--seconds", type=float, default=90.0, help="of measuring, at each interval, for each side")
    parser.add_argument("--intervals", type=float, nargs="+", default=[5.0, 1.0])
    parser.add_argument("--quick", action="store_true", help="20 s at 1 s only")
    options = parser.parse_args(arguments)
    if options.quick:
        options.seconds, options.intervals = 20.0, [1.0]
    return options


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    try:
        run(options_of(arguments))
    except ServerError as error:
        raise SystemExit(f"bench agent: {error}") from error
