"""The captured and the made-up tree, and sources on them."""

from __future__ import annotations

import os
from pathlib import Path

from peerwatch.agent.proc_root import ProcRoot
from peerwatch.agent.source import Source
from peerwatch.agent.sources.cpu import CpuSource
from peerwatch.agent.sources.diskstats import DiskstatsSource
from peerwatch.agent.sources.filefd import FilefdSource
from peerwatch.agent.sources.filesystem import FilesystemSource
from peerwatch.agent.sources.loadavg import LoadavgSource
from peerwatch.agent.sources.meminfo import MeminfoSource
from peerwatch.agent.sources.mount_probe import MountProbe
from peerwatch.agent.sources.netclass import NetclassSource
from peerwatch.agent.sources.netdev import NetdevSource
from peerwatch.agent.sources.netstat import NetstatSource
from peerwatch.agent.sources.pressure import PressureSource
from peerwatch.agent.sources.sockstat import SockstatSource
from peerwatch.agent.sources.stat import StatSource
from peerwatch.agent.sources.tcp import TcpSource
from peerwatch.agent.sources.time import TimeSource
from peerwatch.agent.sources.uname import UnameSource
from peerwatch.agent.sources.vmstat import VmstatSource

HERE = Path(__file__).parent
TREES = ("captured", "large")  # a small virtual machine; a server with 4 CPUs, PSI, several disks and interfaces


def tree(name: str) -> ProcRoot:
    return ProcRoot.under(HERE / "fixtures" / name)


def fixed_statvfs(path: str) -> os.statvfs_result:
    """The same space for every mount; the one below /mnt/nas is broken."""
    if path.endswith("/mnt/nas"):
        raise OSError(116, "Stale file handle")
    return os.statvfs_result((4096, 4096, 1_000_000, 400_000, 350_000, 65_536, 60_000, 60_000, 4096, 255))


def sources(root: ProcRoot) -> list[Source]:
    """Every source whose values come from the tree alone."""
    return [
        CpuSource(root),
        MeminfoSource(root),
        LoadavgSource(root),
        StatSource(root),
        TimeSource(),
        VmstatSource(root),
        PressureSource(root),
        FilefdSource(root),
        UnameSource(root),
        DiskstatsSource(root),
        FilesystemSource(root, probe=MountProbe(statvfs=fixed_statvfs)),
        NetdevSource(root),
        NetclassSource(root),
        NetstatSource(root),
        SockstatSource(root, page_bytes=4096),
        TcpSource(root),
    ]
