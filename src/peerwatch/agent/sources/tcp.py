"""TCP connections by state and address family: from netlink, or from /proc/net/tcp and tcp6."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable

from peerwatch.agent.proc_root import ProcRoot
from peerwatch.agent.source import Family, Reading, reading
from peerwatch.agent.sources.inet_diag import count_states
from peerwatch.model import Int64Array

# net/tcp_states.h, from 1 on
STATES = (
    *("established", "syn_sent", "syn_recv", "fin_wait1", "fin_wait2", "time_wait"),
    *("close", "close_wait", "last_ack", "listen", "closing"),
)
_FAMILY = Family("tcp_connections", "Number of TCP connections by state and address family.")
_SERIES = tuple(_FAMILY.series(state=state, family=family) for family in ("ipv4", "ipv6") for state in STATES)
_SOCKETS = ((socket.AF_INET, "net/tcp"), (socket.AF_INET6, "net/tcp6"))
_MAX_TABLE_BYTES = 256 << 20  # 150 bytes a line: more than a million connections
_NEW_SYN_RECV = 12  # a half-open request inside the kernel; /proc prints it as syn_recv too


class TcpSource:
    """`tcp_connections{state,family}`: always all 11 states of both families, so that zero is a value.

    Netlink when the root is the running kernel's and the kernel allows it, decided once; else the text files.
    """

    def __init__(
        self, root: ProcRoot, count: Callable[[socket.AddressFamily], Int64Array] | None = count_states
    ) -> None:
        self._root = root
        self._count = count if root.is_live else None

    def collect(self, now_ms: int) -> Reading:
        counts = self._by_netlink()
        if counts is None:
            counts = [number for _, file in _SOCKETS for number in self._by_file(file)]
        return reading(_SERIES, counts)

    def _by_netlink(self) -> list[float] | None:
        if self._count is None:
            return None
        try:
            return [float(n) for family, _ in _SOCKETS for n in self._count(family)[1:]]
        except TimeoutError:
            raise  # a busy kernel: this tick is lost, the way stays
        except OSError:  # no inet_diag in this kernel, or forbidden here; that does not change while we run
            self._count = None
            return None

    def _by_file(self, file: str) -> list[float]:
        try:
            text = self._root.read_proc(file, _MAX_TABLE_BYTES)
        except FileNotFoundError:  # IPv6 is off
            return [0.0] * len(STATES)
        return count_lines(text)


def count_lines(table: bytes) -> list[float]:
    """Sockets per state, in the order of STATES, of a /proc/net/tcp file."""
    states = Counter(line.split(None, 4)[3] for line in table.splitlines()[1:])
    counts = [float(states.get(b"%02X" % number, 0)) for number in range(1, len(STATES) + 1)]
    counts[STATES.index("syn_recv")] += states.get(b"%02X" % _NEW_SYN_RECV, 0)
    return counts
