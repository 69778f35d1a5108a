"""Process: a server under measurement. CPU, memory and disk as the kernel counts them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_STOP_S = 60.0


class ServerError(Exception):
    """A server under measurement did not do what the benchmark needs; the run is void."""


def _clean_environ() -> dict[str, str]:
    """The environment without settings of peerwatch, so that everybody measures the same defaults."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PEERWATCH_", "P2P_"))}


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """A running server. Use as a context manager: it is ended by its own process id on exit, killed after 60 s."""

    def __init__(self, command: Sequence[str | Path], log: Path, environ: Mapping[str, str] | None = None) -> None:
        self._log = log
        with log.open("ab") as stream:
            self._child = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env={**_clean_environ(), **(environ or {})},
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL where that does not help."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
            try:
                self._child.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._child.pid

    def wait_until_answers(self, url: str, within_s: float = 60.0) -> None:
        """Return once `url` answers 200. Raises ServerError with the end of the log."""
        deadline_s = time.monotonic() + within_s
        while time.monotonic() < deadline_s:
            if self._child.poll() is not None:
                break
            try:
                with urllib.request.urlopen(url, timeout=2) as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        tail = self._log.read_text(errors="replace")[-2000:]
        raise ServerError(f"{self._child.args!r} does not answer {url} within {within_s:.0f} s:\n{tail}")

    def cpu_s(self) -> float:
        """User and system time so far, of all its threads. Raises ServerError when it is gone."""
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text()
        except FileNotFoundError as error:
            raise ServerError(f"process {self.pid} is gone") from error
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    def rss_bytes(self) -> int:
        """Resident memory now."""
        return self._status("VmRSS")

    def peak_rss_bytes(self) -> int:
        """The most resident memory so far."""
        return self._status("VmHWM")

    def anonymous_rss_bytes(self) -> int:
        """Resident memory now, without pages of files, which the kernel may take back at any time."""
        return self._status("RssAnon")

    def _status(self, name: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            key, _, value = line.partition(":")
            if key == name:
                return int(value.split()[0]) * 1024
        raise ServerError(f"/proc/{self.pid}/status has no {name}: the process is ending")


class CpuMeter:
    """Counts a server's CPU time while it works. Quarter seconds in which it uses less than a tenth of a core are
    idling, which no server should be charged for while the benchmark waits for another thing; they are kept apart.

    Use as a context manager around the work; `quiet_s` is how long the server has been idle by now.
    """

    _STEP_S = 0.25
    _IDLE_SHARE = 0.10

    def __init__(self, process: Process) -> None:
        self._process = process
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.busy_s = 0.0
        self.idle_s = 0.0
        self._quiet_since_s = time.monotonic()
        self._last = (time.monotonic(), process.cpu_s())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    @property
    def quiet_s(self) -> float:
        """Seconds since the server last worked."""
        return time.monotonic() - self._quiet_since_s

    def _run(self) -> None:
        while not self._done.wait(self._STEP_S):
            self._step()
        self._step()

    def _step(self) -> None:
        now_s, cpu_s = time.monotonic(), self._process.cpu_s()
        then_s, before_s = self._last
        used_s = cpu_s - before_s
        self._last = (now_s, cpu_s)
        if used_s < self._IDLE_SHARE * (now_s - then_s):
            self.idle_s += used_s
        else:
            self.busy_s += used_s
            self._quiet_since_s = now_s

    def wait_for_rest(self, quiet_s: float, within_s: float = 600.0) -> None:
        """Return when the server has not worked for `quiet_s`. Raises ServerError after `within_s`."""
        self._quiet_since_s = time.monotonic()
        deadline_s = time.monotonic() + within_s
        while self.quiet_s < quiet_s:
            if time.monotonic() > deadline_s:
                raise ServerError(f"process {self._process.pid} is still at work after {within_s:.0f} s")
            time.sleep(self._STEP_S)


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below `folder`, by their length; a file with two names counts once."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            stat = path.stat()
            found[stat.st_dev, stat.st_ino] = stat.st_size
    return sum(found.values())
