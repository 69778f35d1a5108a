"""The table of sources: one line each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from peerwatch.agent.config import AgentConfig, SourceSetting
from peerwatch.agent.proc_root import ProcRoot
from peerwatch.agent.source import Source
from peerwatch.agent.sources.cpu import CpuSource
from peerwatch.agent.sources.diskstats import DiskstatsSource
from peerwatch.agent.sources.filefd import FilefdSource
from peerwatch.agent.sources.filesystem import FilesystemSource
from peerwatch.agent.sources.loadavg import LoadavgSource
from peerwatch.agent.sources.meminfo import MeminfoSource
from peerwatch.agent.sources.netclass import NetclassSource
from peerwatch.agent.sources.netdev import NetdevSource
from peerwatch.agent.sources.netstat import NetstatSource
from peerwatch.agent.sources.pressure import PressureSource
from peerwatch.agent.sources.self import ProcessSource
from peerwatch.agent.sources.sockstat import SockstatSource
from peerwatch.agent.sources.stat import StatSource
from peerwatch.agent.sources.tcp import TcpSource
from peerwatch.agent.sources.textfile import TextfileSource
from peerwatch.agent.sources.time import TimeSource
from peerwatch.agent.sources.uname import UnameSource
from peerwatch.agent.sources.vmstat import VmstatSource
from peerwatch.errors import ConfigError
from peerwatch.telemetry import CollectorRegistry


@dataclass(frozen=True, slots=True)
class SourceContext:
    """What a source may be made from."""

    config: AgentConfig
    root: ProcRoot
    registry: CollectorRegistry
    tasks: Callable[[], int]


@dataclass(frozen=True, slots=True)
class SourceKind:
    """A row of the table. `name` is node_exporter's collector where it has one. `interval_s` None: every sample."""

    name: str
    make: Callable[[SourceContext], Source]
    interval_s: float | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which sources run here: (kind, interval in seconds), and the names of those that this platform lacks."""

    chosen: tuple[tuple[SourceKind, float], ...]
    absent: tuple[str, ...]


# textfile is last: a series that a file names again is the built-in source's.
KINDS: tuple[SourceKind, ...] = (
    SourceKind("cpu", lambda c: CpuSource(c.root)),
    SourceKind("meminfo", lambda c: MeminfoSource(c.root)),
    SourceKind("loadavg", lambda c: LoadavgSource(c.root)),
    SourceKind("stat", lambda c: StatSource(c.root)),
    SourceKind("time", lambda c: TimeSource()),
    SourceKind("vmstat", lambda c: VmstatSource(c.root)),
    SourceKind("pressure", lambda c: PressureSource(c.root)),
    SourceKind("filefd", lambda c: FilefdSource(c.root)),
    SourceKind("uname", lambda c: UnameSource(c.root), interval_s=60),
    SourceKind("diskstats", lambda c: DiskstatsSource(c.root, c.config.diskstats_exclude)),
    SourceKind(
        "filesystem",
        lambda c: FilesystemSource(c.root, c.config.filesystem_exclude_mounts, c.config.filesystem_exclude_types),
    ),
    SourceKind("netdev", lambda c: NetdevSource(c.root, c.config.netdev_exclude)),
    SourceKind("netclass", lambda c: NetclassSource(c.root, c.config.netclass_exclude), interval_s=60),
    SourceKind("netstat", lambda c: NetstatSource(c.root, c.config.netstat_include)),
    SourceKind("sockstat", lambda c: SockstatSource(c.root)),
    SourceKind("tcp", lambda c: TcpSource(c.root)),
    SourceKind("self", lambda c: ProcessSource(c.root, c.registry, c.tasks)),
    SourceKind("textfile", lambda c: TextfileSource(c.config.textfile_folder), interval_s=15),
)
NAMES = frozenset(kind.name for kind in KINDS)


def select_sources(platform: str, config: AgentConfig) -> Selection:
    """Which sources run on `platform` (as `sys.platform` has it). Raises ConfigError for a name that is no source."""
    unknown = sorted(config.sources.keys() - NAMES)
    if unknown:
        raise ConfigError(f"agent.sources.{unknown[0]}: no such source, must be one of {', '.join(sorted(NAMES))}")
    here = {kind.name: kind for kind in kinds_for(platform)}
    chosen: list[tuple[SourceKind, float]] = []
    absent: list[str] = []
    for name in (kind.name for kind in KINDS):
        setting = config.sources.get(name, SourceSetting())
        if not setting.enabled or (name == "textfile" and not config.textfile_folder):
            continue
        kind = here.get(name)
        if kind is None:
            absent.append(name)
            continue
        chosen.append((kind, setting.interval_s or max(kind.interval_s or 0, config.sample_interval_s)))
    return Selection(tuple(chosen), tuple(absent))


def kinds_for(platform: str) -> tuple[SourceKind, ...]:
    """The rows that work on a platform: all on Linux, those of psutil elsewhere."""
    if platform == "linux":
        return KINDS
    from peerwatch.agent.sources import psutil_host  # psutil costs 4 MB that Linux needs not pay

    return (
        SourceKind("cpu", lambda c: psutil_host.PsutilCpu()),
        SourceKind("meminfo", lambda c: psutil_host.PsutilMemory()),
        SourceKind("loadavg", lambda c: psutil_host.PsutilLoad()),
        SourceKind("stat", lambda c: psutil_host.PsutilBoot()),
        SourceKind("diskstats", lambda c: psutil_host.PsutilDisks()),
        SourceKind("filesystem", lambda c: psutil_host.PsutilFilesystems()),
        SourceKind("netdev", lambda c: psutil_host.PsutilNetwork()),
        SourceKind("self", lambda c: psutil_host.PsutilProcess(c.registry, c.tasks)),
        *(kind for kind in KINDS if kind.name in ("time", "textfile")),
    )
