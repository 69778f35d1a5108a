"""File descriptors of the whole machine, from /proc/sys/fs/file-nr."""

from __future__ import annotations

from peerwatch.agent.proc_root import ProcRoot
from peerwatch.agent.source import Family, Reading, reading

_SERIES = (
    Family("node_filefd_allocated", "File descriptor statistics: allocated.").series(),
    Family("node_filefd_maximum", "File descriptor statistics: maximum.").series(),
)


class FilefdSource:
    """`node_filefd_allocated`, `node_filefd_maximum`."""

    def __init__(self, root: ProcRoot) -> None:
        self._root = root

    def collect(self, now_ms: int) -> Reading:
        allocated, _, maximum = self._root.read_proc("sys/fs/file-nr").split()
        return reading(_SERIES, [float(allocated), float(maximum)])
