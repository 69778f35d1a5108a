"""Kernel and host name, from /proc/sys/kernel."""

from __future__ import annotations

import os

from peerwatch.agent.proc_root import ProcRoot
from peerwatch.agent.source import Family, Layout, Reading, reading

_INFO = Family("node_uname_info", "Labeled system information as provided by the uname system call.")
_FILES = {
    "sysname": "ostype",
    "release": "osrelease",
    "version": "version",
    "machine": "arch",  # Linux 6.1 and later
    "nodename": "hostname",
    "domainname": "domainname",
}


class UnameSource:
    """`node_uname_info`, always 1."""

    def __init__(self, root: ProcRoot) -> None:
        self._root = root
        self._layout = Layout()

    def collect(self, now_ms: int) -> Reading:
        labels = {label: self._read(file) for label, file in _FILES.items()}
        labels["machine"] = labels["machine"] or os.uname().machine
        return reading(self._layout.series(tuple(labels.values()), lambda: [_INFO.series(**labels)]), [1])

    def _read(self, file: str) -> str:
        try:
            return self._root.read_proc(f"sys/kernel/{file}").decode(errors="replace").strip()
        except FileNotFoundError:
            return ""
