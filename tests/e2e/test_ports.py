"""A taken port: fatal where it was configured, with its likely owner and the setting; else the next free one."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.processes import Processes

pytestmark = pytest.mark.e2e


@contextmanager
def _taken(port: int = 0) -> Iterator[int]:
    """A port that somebody has: we, or whoever was quicker."""
    with socket.socket() as owner:
        try:
            owner.bind(("127.0.0.1", port))
            owner.listen()
        except OSError:
            yield port
            return
        yield owner.getsockname()[1]


def test_a_configured_hub_port_that_is_taken_is_fatal(processes: Processes) -> None:
    """The message names the setting, the port and what to do; the exit status is the operator's 2."""
    with _taken() as port:
        done = processes.run("up", "--data", str(processes.folder / "d"), "--listen", f"127.0.0.1:{port}")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"peerwatch: hub.listen: port {port} is taken, likely by another program; "
        "stop it or set hub.listen to another port"
    )


def test_a_configured_metrics_port_9100_names_node_exporter(processes: Processes) -> None:
    """9100 is node_exporter's: the message says so, in one line, without a trace."""
    data = str(processes.folder / "d")
    with _taken(9100):
        done = processes.run("up", "--data", data, "--listen", "127.0.0.1:0", "--metrics-port", "9100")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == (
        "peerwatch: agent_http.port: port 9100 is taken, likely by node_exporter, or another peerwatch agent; "
        "stop it or set agent_http.port to another port"
    )


def test_a_default_port_that_is_taken_gives_way_with_a_warning(processes: Processes) -> None:
    """Without --listen and --metrics-port the next free ports are used and the log says so."""
    with _taken(9480), _taken(9100):
        running = processes.start("up", "--data", str(processes.folder / "d"))
        url, metrics = running.url(), running.metrics_url()
        assert not url.endswith(":9480") and not metrics.endswith(":9100/metrics")
        warned = [json.loads(line) for line in running.log.splitlines() if "port taken" in line]
    assert {(one["taken"], one["setting"]) for one in warned} == {(9480, "hub.listen"), (9100, "agent_http.port")}
    assert all(one["level"] == "warning" and one["owner"] for one in warned)


def test_a_second_hub_on_the_same_data_folder_is_refused(processes: Processes) -> None:
    """Two hubs never share a store; the message names the folder's socket."""
    processes.up("d")
    done = processes.run("up", "--data", str(processes.folder / "d"), "--listen", "127.0.0.1:0")
    assert done.returncode == 2 and "another hub runs with this data folder" in done.stderr


def test_a_port_that_may_not_be_had_says_so(processes: Processes) -> None:
    """An address of another machine is an error that names the setting."""
    done = processes.run("hub", "--data", str(processes.folder / "d"), "--listen", "192.0.2.1:9480")
    assert done.returncode == 2 and "hub.listen: cannot listen on 192.0.2.1:9480" in done.stderr
