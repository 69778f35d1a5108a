"""Real Prometheus servers write into a hub, read out of it and federate from it; promtool asks it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from typing import Any

import httpx
import numpy as np
import pytest

from peerwatch.model import STALE, Labels
from tests.e2e.processes import Processes, Running, ask, eventually, value
from tests.e2e.test_prometheus import PROMETHEUS, PROMTOOL, _free_port
from tests.wire.remote_kit import request_v1

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.servers,
    pytest.mark.skipif(not (PROMETHEUS and PROMTOOL), reason="needs prometheus and promtool (Debian: prometheus)"),
]


def _newest() -> str | None:
    """A recent Prometheus, where `make bench-peers` has built one: PEERWATCH_BENCH_BIN."""
    folder = os.environ.get("PEERWATCH_BENCH_BIN")
    return shutil.which("prometheus", path=folder) if folder else None


NEWEST = _newest()
SERVERS = [str(PROMETHEUS), *([NEWEST] if NEWEST else [])]
WRITERS = [(SERVERS[0], "1.0"), *([(NEWEST, "1.0"), (NEWEST, "2.0")] if NEWEST else [])]
V2 = "  protobuf_message: io.prometheus.write.v2.Request\n"
METADATA = "  metadata_config: {send_interval: 1s}\n"

WRITING = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, external_labels: {{origin: prometheus}}}}
scrape_configs:
- job_name: itself
  static_configs: [{{targets: ['127.0.0.1:{port}']}}]
remote_write:
- url: {hub}/api/v1/write
{more}"""
READING = """
global: {{scrape_interval: 1h}}
remote_read:
- url: {hub}/api/v1/read
  read_recent: true
"""
FEDERATING = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
- job_name: federate
  honor_labels: true
  metrics_path: /federate
  params: {{'match[]': ['{{__name__=~"node_memory_.*"}}', 'story']}}
  static_configs: [{{targets: ['{host}']}}]
"""
SCRAPES = 5


def start_prometheus(processes: Processes, binary: str, config: str, *flags: str, **words: str) -> tuple[Running, str]:
    """(the server, its URL), ready."""
    port = _free_port()
    file = processes.folder / f"prometheus-{port}.yml"
    file.write_text(config.format(port=port, **words))
    arguments = [f"--config.file={file}", f"--storage.tsdb.path={processes.folder / f'tsdb-{port}'}", *flags]
    server = processes.program([binary, *arguments, f"--web.listen-address=127.0.0.1:{port}"], "prometheus")
    eventually(lambda: "Server is ready" in server.log, "Prometheus is up", 30)
    return server, f"http://127.0.0.1:{port}"


def hub_of(processes: Processes) -> str:
    """A hub without agents."""
    return processes.start("hub", "--data", str(processes.folder / "hub"), "--listen", "127.0.0.1:0").url()


def complaints(server: Running) -> list[str]:
    """What a Prometheus logged as a warning or an error."""
    return [line for line in server.log.splitlines() if "level=info" not in line.lower()]


def write(hub: str, *sent: tuple[Labels, list[tuple[int, float]]]) -> None:
    """Remote-write into a hub."""
    headers = {"content-type": "application/x-protobuf", "content-encoding": "snappy"}
    answer = httpx.post(f"{hub}/api/v1/write", content=request_v1(*sent), headers=headers, trust_env=False)
    assert answer.status_code == 204, answer.text


def story(hub: str) -> int:
    """Ten minutes of two series every 10 s, until now; the last time in ms."""
    end_ms = int(time.time()) * 1000
    times = range(end_ms - 600_000, end_ms + 1, 10_000)
    sent = [
        (Labels.of(__name__="story", kind=kind, job="tales"), [(at, (at // 10_000 % 100) * factor) for at in times])
        for kind, factor in (("a", 1.0), ("b", 0.5))
    ]
    write(hub, *sent)
    return end_ms


@pytest.mark.parametrize(("binary", "protocol"), WRITERS)
def test_a_prometheus_writes_into_a_hub(processes: Processes, binary: str, protocol: str) -> None:
    """Every sample of every series arrives with its value, stale markers and meanings too; nobody complains."""
    hub = hub_of(processes)
    more = V2 if protocol == "2.0" else METADATA
    server, url = start_prometheus(processes, binary, WRITING, hub=hub, more=more)
    counted = 'count_over_time(up{job="itself"}[1m])'
    eventually(lambda: (value(hub, counted) or 0) >= SCRAPES, "scrapes arrive", 40)
    everything = '{job="itself"}'
    at = str(time.time() - 2)
    for _ in range(20):  # on a busy machine the last scrape comes late, to either
        ours, theirs = _values(hub, everything, at), _values(url, everything, at)
        theirs = {frozenset({*key, ("origin", "prometheus")}): text for key, text in theirs.items()}
        if ours == theirs:
            break
        time.sleep(1)
    assert ours == theirs
    assert len(ours) > 200
    answer = httpx.get(f"{hub}/metrics", trust_env=False).text
    assert 'peerwatch_remote_write_requests_total{status="204"}' in answer
    assert 'peerwatch_remote_write_requests_total{status="4' not in answer
    if protocol == "1.0":  # a Prometheus that speaks 2.0 warns of its own default, and sends no meanings
        name = "prometheus_http_requests_total"
        kind = eventually(lambda: _meaning(hub, name), f"the hub knows what {name} is", 20)
        assert (kind["type"], kind["help"]) == ("counter", "Counter of HTTP requests.")
        assert complaints(server) == []


def _values(url: str, expr: str, at: str) -> dict[frozenset[tuple[str, str]], str]:
    return {frozenset(one["metric"].items()): one["value"][1] for one in ask(url, expr, time=at)}


def _meaning(hub: str, metric: str) -> dict[str, str] | None:
    answer = httpx.get(f"{hub}/api/v1/metadata", params={"metric": metric}, trust_env=False).json()
    found: list[dict[str, str]] = answer["data"].get(metric, [])
    return found[0] if found else None


def test_a_target_that_ends_is_stale_in_the_hub_at_once(processes: Processes) -> None:
    """Prometheus writes markers when a scrape fails; the series ends there, not five minutes later."""
    hub = hub_of(processes)
    scraped = processes.start("hub", "--data", str(processes.folder / "scraped"), "--listen", "127.0.0.1:0")
    target = scraped.url().split("/")[2]
    config = WRITING.replace("127.0.0.1:{port}", target)
    start_prometheus(processes, str(PROMETHEUS), config, hub=hub, more="")
    eventually(lambda: ask(hub, "peerwatch_remote_write_series"), "its metrics arrive", 30)
    scraped.kill()
    eventually(lambda: ask(hub, "up == 0"), "the target is down", 20)
    eventually(lambda: not ask(hub, "peerwatch_remote_write_series"), "its series have ended", 10)
    assert value(hub, "count(count_over_time(peerwatch_remote_write_series[5m]))") == 1


@pytest.mark.parametrize("binary", SERVERS)
def test_a_prometheus_reads_out_of_a_hub(processes: Processes, binary: str) -> None:
    """The same answers as from the hub itself, over any matcher."""
    hub = hub_of(processes)
    end_ms = story(hub)
    server, url = start_prometheus(processes, binary, READING, hub=hub)
    at = f"{end_ms / 1000:.3f}"
    for expr in (
        "story",
        'story{kind="a"}',
        'story{kind!="a"}',
        'sum by (kind) (story{kind=~"a|b"})',
        'story{kind!~"b.*"}',
        "count_over_time(story[20m])",
        'absent(story{kind="c"})',
    ):
        assert ask(url, expr, time=at) == ask(hub, expr, time=at), expr
    assert [float(one["value"][1]) for one in ask(url, "count_over_time(story[20m])", time=at)] == [61, 61]
    assert complaints(server) == []


@pytest.mark.parametrize("binary", SERVERS)
def test_a_prometheus_federates_from_a_hub(processes: Processes, binary: str) -> None:
    """Labels, values and times are the hub's; a series without an instance gets none."""
    running = processes.up()
    hub = running.url()
    eventually(lambda: value(hub, "node_memory_MemTotal_bytes"), "the agent samples", 30)
    end_ms = story(hub)
    server, url = start_prometheus(processes, binary, FEDERATING, host=hub.split("/")[2])
    eventually(lambda: ask(url, "node_memory_MemTotal_bytes"), "samples arrive", 20)
    assert _plain(ask(url, "node_memory_MemTotal_bytes")) == _plain(ask(hub, "node_memory_MemTotal_bytes"))
    at = f"{end_ms / 1000:.3f}"
    assert ask(url, "timestamp(story)", time=at) == ask(hub, "timestamp(story)", time=at)
    assert ask(url, "story", time=at) == ask(hub, "story", time=at)
    assert value(url, 'up{job="federate"}') == 1
    assert complaints(server) == []


def _plain(result: list[Any]) -> list[Any]:
    return [(one["metric"], one["value"][1]) for one in result]


def test_promtool_asks_a_hub(processes: Processes) -> None:
    """Instant and range queries, series and labels."""
    hub = hub_of(processes)
    end_s = story(hub) // 1000

    def promtool(*arguments: str) -> str:
        assert PROMTOOL
        done = subprocess.run([PROMTOOL, "query", *arguments], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    instant = json.loads(promtool("instant", "-o", "json", f"--time={end_s}", hub, "sum(story)"))
    number = end_s // 10 % 100 * 1.5
    assert instant == [{"metric": {}, "value": [end_s, f"{number:g}"]}]
    text = promtool("instant", hub, 'story{kind="a"}')
    assert text.startswith('story{job="tales", kind="a"} => ')
    window = (f"--start={end_s - 60}", f"--end={end_s}")
    ranged = json.loads(promtool("range", "-o", "json", *window, "--step=20s", hub, "count(story)"))
    assert ranged == [{"metric": {}, "values": [[end_s - back, "2"] for back in (60, 40, 20, 0)]}]
    series = promtool("series", "--match=story", *window, hub)
    assert series.splitlines() == [
        '{__name__="story", job="tales", kind="a"}',
        '{__name__="story", job="tales", kind="b"}',
    ]
    assert promtool("labels", *window, hub, "kind").splitlines() == ["a", "b"]


@pytest.mark.parametrize("binary", SERVERS)
def test_the_page_of_a_hub_is_that_of_a_prometheus(processes: Processes, binary: str) -> None:
    """The same remote write into both: `/federate` of both is equal, byte for byte."""
    hub = hub_of(processes)
    _, url = start_prometheus(processes, binary, "global: {{}}\n", "--web.enable-remote-write-receiver")
    now_ms = int(time.time()) * 1000
    numbers = [0.0, -0.0, 1.0, -1.5, 1e5, 1e6, 123456789.0, 0.1 + 0.2, 1e-4, 1e-5, 1e21, 1e300, 5e-324, np.inf, -np.inf]
    numbers += [float(np.nan), 2.0**53, 999_999.9, 1e15 / 3]
    sent = [(Labels.of(__name__="number", row=f"{row:02}"), [(now_ms, it)]) for row, it in enumerate(numbers)]
    sent.append((Labels.of(__name__="named:rule", instance="i", text='a\n"\\é'), [(now_ms - 1000, 1.0), (now_ms, 2.0)]))
    sent.append((Labels.of(__name__="gone"), [(now_ms - 1000, 1.0), (now_ms, float(STALE))]))
    sent.append((Labels.of(__name__="old"), [(now_ms - 301_000, 1.0)]))
    for one in (hub, url):
        write(one, *sent)
    matchers = {"match[]": ["number", '{__name__=~"named:rule|gone|old"}', 'number{row="03"}']}
    ours, theirs = (httpx.get(f"{one}/federate", params=matchers, trust_env=False) for one in (hub, url))
    assert ours.text == theirs.text
    assert ours.text.count("\n") == len(numbers) + 3
    assert ours.headers["content-type"].startswith("text/plain; version=0.0.4; charset=utf-8")
    refused = [httpx.get(f"{one}/federate", params={"match[]": "{"}, trust_env=False) for one in (hub, url)]
    assert [answer.status_code for answer in refused] == [400, 400]
