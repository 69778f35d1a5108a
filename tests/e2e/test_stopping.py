"""SIGTERM drains, flushes and stops within 10 s; a second signal stops at once; neither loses anything."""

from __future__ import annotations

import json
import signal
import socket
import time
from urllib.parse import urlsplit

import pytest

from tests.e2e.processes import QUICK, Processes, Running, ask, eventually

pytestmark = pytest.mark.e2e


def _times(url: str) -> list[float]:
    """The times of every sample of one series in the last ten minutes."""
    found = ask(url, "node_boot_time_seconds[10m]")
    return [time_s for time_s, _ in found[0]["values"]] if found else []


def _grown(processes: Processes, count: int) -> tuple[Running, list[float]]:
    running = processes.up()
    url = running.url()
    return running, eventually(lambda: times if len(times := _times(url)) >= count else None, "samples come in", 40)


def _hanging_push(url: str) -> socket.socket:
    """A request whose body never comes: what a stopping hub must not wait for longer than hub.drain_s."""
    where = urlsplit(url)
    stream = socket.create_connection((where.hostname, where.port))
    stream.sendall(b"POST /api/v1/push HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx")
    return stream


def test_sigterm_delivers_what_was_sampled_and_a_restart_shows_all_of_it(processes: Processes) -> None:
    """Every sample seen before the stop is there after it, up to the last tick; nothing is unsigned or in the spool."""
    running, before = _grown(processes, 4)
    asked_s = time.time()
    assert running.stop(10) == 0
    (stopped,) = [json.loads(line) for line in running.log.splitlines() if "agent stopped" in line]
    assert stopped["undelivered_batches"] == 0
    verified = processes.run("verify", "--json", "--data", str(processes.folder / "hub"))
    (signed,) = json.loads(verified.stdout)["agents"]
    assert (signed["open_batches"], signed["not_provable"], signed["broken"]) == (0, {}, {}), verified
    again = processes.up().url()
    after = eventually(lambda: _times(again), "the store answers again", 20)
    kept = [time_s for time_s in after if time_s <= asked_s]
    assert set(before) <= set(kept) and len(set(after)) == len(after)
    assert asked_s - max(kept) < 2.5, "the last tick before the signal is missing"


def test_a_request_that_hangs_does_not_keep_a_hub_from_stopping(processes: Processes) -> None:
    """With an unfinished push and a live page open, SIGTERM still ends the process within 10 s."""
    running, _ = _grown(processes, 1)
    where = urlsplit(running.url())
    with _hanging_push(running.url()), socket.create_connection((where.hostname, where.port)) as live:
        live.sendall(b"GET /dashboard/live HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
        assert running.stop(10) == 0


def test_a_second_signal_stops_at_once_and_loses_nothing(processes: Processes) -> None:
    """While the first signal drains, the second ends the process now; a restart has every sample that was shown."""
    running, before = _grown(processes, 4)
    folder = str(processes.folder / "hub")
    running.stop(10)
    running = processes.up(extra={"PEERWATCH_HUB_DRAIN_S": "9"})
    with _hanging_push(running.url()):
        eventually(lambda: len(set(_times(running.url())) - set(before)) >= 2, "samples come in", 30)
        before = _times(running.url())
        running.signal(signal.SIGTERM)
        eventually(lambda: '"event": "agent stopped"' in running.log, "the hub drains", 10)
        began = time.monotonic()
        running.signal(signal.SIGTERM)
        assert running.end(5) == 128 + signal.SIGTERM
        assert time.monotonic() - began < 1
    assert "stopping at once" in running.log, folder
    again = processes.up().url()
    assert set(before) <= set(eventually(lambda: _times(again), "the store answers again", 20))


def test_an_agent_alone_stops_and_keeps_what_its_hub_did_not_take(processes: Processes) -> None:
    """SIGTERM while the hub is away: the agent ends in time, its spool keeps all, the next start delivers it."""
    hub = processes.start("hub", "--data", str(processes.folder / "hub"), "--listen", "127.0.0.1:0")
    url = hub.url()
    token = json.loads(processes.run("invite", "--json", "--data", str(processes.folder / "hub")).stdout)["token"]
    folder = str(processes.folder / "agent")
    agent = processes.start("join", token, "--name", "a", "--data", folder, "--metrics-port", "0", extra=QUICK)
    eventually(lambda: _times(url), "the agent reports", 30)
    assert hub.stop(10) == 0
    gone_s = time.time()
    time.sleep(4)  # the outage itself: some ticks that only the spool has
    assert agent.stop(10) == 0
    stopped_s = time.time()
    processes.start(
        "hub", "--data", str(processes.folder / "hub"), "--listen", url.removeprefix("http://"), extra=QUICK
    )
    processes.start("agent", "--data", folder, "--metrics-port", "0", extra=QUICK)

    def outage() -> list[float] | None:
        times = [time_s for time_s in _times(url) if gone_s < time_s < stopped_s]
        return times if len(times) >= 3 else None

    def reachable() -> bool:
        with socket.socket() as probe:
            where = urlsplit(url)
            return probe.connect_ex((where.hostname, where.port)) == 0

    eventually(reachable, "the hub is back", 30)
    eventually(outage, "the ticks of the outage arrive", 30)
