"""A member that is revoked is cut off within seconds, and never comes back with the same keys."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.e2e.processes import QUICK, Processes, ask, eventually, value

pytestmark = pytest.mark.e2e


def _token(processes: Processes) -> str:
    done = processes.run("invite", "--data", str(processes.folder / "hub"), "--json", "--name", "second")
    token: str = json.loads(done.stdout)["token"]
    return token


def _agents(processes: Processes, *flags: str) -> dict[str, bool]:
    done = processes.run("agents", "--json", "--data", str(processes.folder / "hub"), *flags)
    return {row["name"]: row["revoked"] for row in json.loads(done.stdout)}


def test_a_revoked_agent_is_cut_off(processes: Processes) -> None:
    """Nothing of it is stored any more, its `up` ends, http_sd forgets it; `agents --all` still tells of it."""
    url = processes.up().url()
    data = str(processes.folder / "second")
    second = processes.start("join", _token(processes), "--data", data, "--metrics-port", "0", extra=QUICK)
    eventually(lambda: value(url, 'up{instance="second"}') == 1, "it is up", 60)
    done = processes.run("revoke", "second", "--data", str(processes.folder / "hub"))
    assert done.returncode == 0 and done.stdout.startswith("revoked second (12D3"), done
    eventually(lambda: ask(url, 'up{instance="second"}') == [], "its up has ended", 10)
    assert "second" not in httpx.get(f"{url}/api/v1/sd/targets", trust_env=False).text
    eventually(lambda: _refusals(url) >= 2, "its pushes are refused", 30)
    newest = 'max(timestamp(node_load1{instance="second"}))'
    before, refusals = value(url, newest), _refusals(url)
    eventually(lambda: _refusals(url) > refusals, "it tries again", 60)
    assert value(url, newest) == before
    assert "second" not in _agents(processes)
    assert _agents(processes, "--all")["second"] is True
    second.stop()
    token = _token(processes)
    again = processes.run("join", token, "--no-run", "--data", data)
    assert again.returncode == 2 and "never comes back" in again.stderr, again
    fresh = processes.run("join", token, "--no-run", "--data", f"{data}-new")
    assert fresh.stdout.startswith("joined as second,"), fresh


def _refusals(url: str) -> float:
    page = httpx.get(f"{url}/metrics", trust_env=False, timeout=10).text
    lines = [line for line in page.splitlines() if "not_a_member" in line and not line.startswith("#")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_revoking_says_what_is_wrong(processes: Processes) -> None:
    """Nobody of that name; the hub itself."""
    processes.up()
    hub = str(processes.folder / "hub")
    nobody = processes.run("revoke", "nobody", "--data", hub)
    assert nobody.returncode == 2 and "no member has the name or peer id 'nobody'" in nobody.stderr
    itself = processes.run("revoke", next(iter(_agents(processes))), "--data", hub)
    assert itself.returncode == 2 and "cannot revoke itself" in itself.stderr
