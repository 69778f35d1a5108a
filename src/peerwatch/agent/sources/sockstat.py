"""Sockets by protocol, from /proc/net/sockstat and sockstat6."""

from __future__ import annotations

import os

from peerwatch.agent.proc_root import ProcRoot
from peerwatch.agent.source import Family, Layout, Reading, reading
from peerwatch.model import Series

_USED = Family("node_sockstat_sockets_used", "Number of IPv4 sockets in use.")


class SockstatSource:
    """`node_sockstat_*`; `mem` is pages, `mem_bytes` the same in bytes."""

    def __init__(self, root: ProcRoot, page_bytes: int | None = None) -> None:
        self._root = root
        self._page_bytes = page_bytes or os.sysconf("SC_PAGE_SIZE")
        self._layout = Layout()

    def collect(self, now_ms: int) -> Reading:
        names: list[str] = []
        values: list[int] = []
        for file in ("net/sockstat", "net/sockstat6"):
            for name, value in self._pairs(file):
                names.append(name)
                values.append(value)
        shape = tuple(names)
        return reading(self._layout.series(shape, lambda: map(_series, shape)), values)

    def _pairs(self, file: str) -> list[tuple[str, int]]:
        try:
            text = self._root.read_proc(file).decode()
        except FileNotFoundError:  # that family is off in this kernel
            return []
        pairs: list[tuple[str, int]] = []
        for line in text.splitlines():
            protocol, _, rest = line.partition(":")
            fields = rest.split()
            for field, value in zip(fields[::2], fields[1::2], strict=True):
                pairs.append((f"{protocol}_{field}", int(value)))
                if field == "mem":
                    pairs.append((f"{protocol}_mem_bytes", int(value) * self._page_bytes))
        return pairs


def _series(name: str) -> Series:
    if name == "sockets_used":
        return _USED.series()
    protocol, _, state = name.partition("_")
    return Family(f"node_sockstat_{name}", f"Number of {protocol} sockets in state {state}.").series()
