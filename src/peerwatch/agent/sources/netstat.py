"""Protocol counters, from /proc/net/netstat, snmp and snmp6."""

from __future__ import annotations

from collections.abc import Iterator

from peerwatch.agent.name_filter import NameFilter
from peerwatch.agent.proc_root import ProcRoot
from peerwatch.agent.source import Family, Layout, Reading, reading
from peerwatch.model import MetricType, Series

# node_exporter's default selection
DEFAULT_INCLUDE = (
    r"^(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|Icmp6?_(InMsgs|OutMsgs)"
    r"|TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts|TCPOFOQueue|TCPRcvQDrop)"
    r"|Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab)"
    r"|Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))$"
)


class NetstatSource:
    """`node_netstat_*`, untyped as everywhere. Which columns are wanted is worked out once per kernel, not per tick."""

    def __init__(self, root: ProcRoot, include: str = DEFAULT_INCLUDE) -> None:
        self._root = root
        self._included = NameFilter(include, "netstat.include")
        self._wanted: dict[bytes, tuple[tuple[int, str], ...]] = {}
        self._layout = Layout()

    def collect(self, now_ms: int) -> Reading:
        names: list[str] = []
        values: list[int] = []
        for file in ("net/netstat", "net/snmp"):
            for header, numbers in _line_pairs(self._root.read_proc(file)):
                for column, name in self._columns(header):
                    names.append(name)
                    values.append(int(numbers[column]))
        for name, value in self._snmp6():
            if self._included.matches(name):
                names.append(name)
                values.append(value)
        shape = tuple(names)
        return reading(self._layout.series(shape, lambda: map(_series, shape)), values)

    def _columns(self, header: bytes) -> tuple[tuple[int, str], ...]:
        found = self._wanted.get(header)
        if found is None:
            protocol, *fields = header.decode().split()
            names = [f"{protocol[:-1]}_{field}" for field in fields]
            found = tuple((at, name) for at, name in enumerate(names, 1) if self._included.matches(name))
            if len(self._wanted) >= 64:  # a kernel has under ten headers; whatever this is, do not grow with it
                self._wanted.clear()
            self._wanted[header] = found
        return found

    def _snmp6(self) -> Iterator[tuple[str, int]]:
        try:
            text = self._root.read_proc("net/snmp6")
        except FileNotFoundError:  # IPv6 is off
            return
        for line in text.splitlines():
            name, _, value = line.partition(b" ")
            protocol, six, field = name.rstrip().decode().partition("6")
            if six:
                yield f"{protocol}6_{field}", int(value)


def _line_pairs(text: bytes) -> Iterator[tuple[bytes, list[bytes]]]:
    lines = text.splitlines()
    for header, numbers in zip(lines[::2], lines[1::2], strict=True):
        yield header, numbers.split()


def _series(name: str) -> Series:
    return Family(f"node_netstat_{name}", f"Statistic {name.replace('_', '', 1)}.", MetricType.UNKNOWN).series()
