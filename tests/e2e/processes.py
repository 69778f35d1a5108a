"""Processes: starts real peerwatch processes, watches what they print, and ends every one of them by its id."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx

ROOT = Path(__file__).parents[2]
START_S = 40.0  # a loaded two-core machine imports and opens everything within this
QUICK = {"PEERWATCH_AGENT_SAMPLE_INTERVAL_S": "1", "PEERWATCH_AGENT_REPORT_INTERVAL_S": "1"}
"""Samples every second, so that stories need not wait for them."""
_LOG_TAIL_CHARS = 6_000
T = TypeVar("T")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This environment without settings of peerwatch, with the checkout importable."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PEERWATCH_", "P2P_"))}
    return kept | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "PYTHONUNBUFFERED": "1", **(extra or {})}


def eventually(check: Callable[[], T | None], what: str, within_s: float = 20.0, pause_s: float = 0.05) -> T:
    """The first answer of `check` that is true; AssertionError that names `what` when the time is over."""
    deadline = time.monotonic() + within_s
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what} (last answer: {found!r})")
        time.sleep(pause_s)


class Running:
    """One running process. Owned by `Processes`, which ends it."""

    def __init__(self, arguments: list[str], folder: Path, name: str, extra: Mapping[str, str] | None) -> None:
        self.out_path = folder / f"{name}.out"
        self.log_path = folder / f"{name}.log"
        with self.out_path.open("wb") as out, self.log_path.open("wb") as log:
            self.process = subprocess.Popen(arguments, cwd=folder, env=environment(extra), stdout=out, stderr=log)
        self.name = name

    @property
    def out(self) -> str:
        """What it printed."""
        return self.out_path.read_text(errors="replace")

    @property
    def log(self) -> str:
        """What it logged."""
        return self.log_path.read_text(errors="replace")

    def wait_for(self, pattern: str, within_s: float = START_S) -> re.Match[str]:
        """The first match in what it prints; an AssertionError with its log when it ends or stays silent."""

        def look() -> re.Match[str] | None:
            match = re.search(pattern, self.out)
            if match is None and self.process.poll() is not None:
                raise AssertionError(
                    f"{self.name} ended with {self.process.returncode}:\n{self.log[-_LOG_TAIL_CHARS:]}"
                )
            return match

        return eventually(look, f"{self.name} prints {pattern!r}; it logged {self.log[-500:]!r}", within_s)

    def url(self) -> str:
        """The hub's URL, once it is up."""
        return self.wait_for(r"(https?://\S+)")[1]

    def metrics_url(self) -> str:
        """The agent's /metrics, once it is up."""
        return self.wait_for(r"pulls: (https?://\S+)")[1]

    def signal(self, number: int) -> None:
        """Send a signal, to this process alone."""
        self.process.send_signal(number)

    def end(self, within_s: float) -> int:
        """The exit status, within the time."""
        return self.process.wait(timeout=within_s)

    def stop(self, within_s: float = 15.0) -> int:
        """SIGTERM, and the exit status."""
        self.signal(signal.SIGTERM)
        return self.end(within_s)

    def kill(self) -> None:
        """SIGKILL: a crash."""
        self.process.kill()
        self.process.wait(timeout=10)


class Processes:
    """All processes of one test, in one folder where their logs stay."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[Running] = []

    def start(self, *arguments: str, name: str = "", extra: Mapping[str, str] | None = None) -> Running:
        """Start `peerwatch` with these arguments."""
        return self.program([sys.executable, "-m", "peerwatch", *arguments], name or arguments[0], extra)

    def program(self, command: list[str], name: str, extra: Mapping[str, str] | None = None) -> Running:
        """Start any program."""
        running = Running(command, self.folder, f"{len(self._started):02d}-{name}", extra)
        self._started.append(running)
        return running

    def run(
        self, *arguments: str, within_s: float = START_S, extra: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a `peerwatch` command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "peerwatch", *arguments],
            cwd=self.folder,
            env=environment(extra),
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )

    def up(self, data: str = "hub", *arguments: str, extra: Mapping[str, str] | None = None) -> Running:
        """`peerwatch up` on free ports of loopback, sampling every second, ready to be asked."""
        free = ["--listen", "127.0.0.1:0", "--metrics-port", "0"]
        settings = {**QUICK, **(extra or {})}
        running = self.start("up", "--data", str(self.folder / data), *free, *arguments, extra=settings)
        running.url()
        return running

    def logs(self) -> list[tuple[str, str]]:
        """(title, text) of each process, for the report of a failure."""
        return [(one.name, f"{one.out[-1000:]}\n--- log\n{one.log[-_LOG_TAIL_CHARS:]}") for one in self._started]

    def end_all(self) -> None:
        """End what still runs."""
        for one in self._started:
            if one.process.poll() is None:
                one.kill()


def recorded(folder: Path, *arguments: str) -> list[str]:
    """The command that is `peerwatch` with these arguments of an agent, and keeps a ledger in the folder."""
    return [sys.executable, "-m", "tests.e2e.recorded_agent", str(folder), *arguments]


def ask(url: str, expr: str, **parameters: str) -> list[Any]:
    """The result of an instant query over the hub's API."""
    response = httpx.get(f"{url}/api/v1/query", params={"query": expr, **parameters}, trust_env=False, timeout=30)
    assert response.status_code == 200, response.text
    result: list[Any] = response.json()["data"]["result"]
    return result


def value(url: str, expr: str) -> float | None:
    """The value of the only series that `expr` gives; None while there is none."""
    result = ask(url, expr)
    assert len(result) <= 1, result
    return float(result[0]["value"][1]) if result else None
