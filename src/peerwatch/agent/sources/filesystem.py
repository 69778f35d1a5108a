"""Space and file nodes of mounted file systems, from mountinfo and statvfs."""

from __future__ import annotations

from dataclasses import dataclass

from peerwatch.agent.name_filter import NameFilter
from peerwatch.agent.proc_root import ProcRoot
from peerwatch.agent.source import Family, Layout, Reading, reading
from peerwatch.agent.sources.mount_probe import MountProbe
from peerwatch.model import Series

# node_exporter's defaults
DEFAULT_EXCLUDE_MOUNTS = r"^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)"
DEFAULT_EXCLUDE_TYPES = (
    r"^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay"
    r"|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs)$"
)


def _family(name: str, text: str) -> Family:
    return Family(f"node_filesystem_{name}", text)


_ERROR = _family("device_error", "Whether an error occurred while getting statistics for the given device.")
_READONLY = _family("readonly", "Filesystem read-only status.")
_SPACE = (
    _family("size_bytes", "Filesystem size in bytes."),
    _family("free_bytes", "Filesystem free space in bytes."),
    _family("avail_bytes", "Filesystem space available to non-root users in bytes."),
    _family("files", "Filesystem total file nodes."),
    _family("files_free", "Filesystem total free file nodes."),
)
_MOUNT = _family("mount_info", "Filesystem mount information.")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo, as far as it matters here."""

    device: str
    mountpoint: str
    fs_type: str
    major: str
    minor: str
    readonly: bool


_Shape = tuple[Mount, str]  # the mount, and what went wrong ("" when nothing did)


class FilesystemSource:
    """`node_filesystem_*`. A mount that hangs or fails has `device_error` 1 and a label that says why."""

    def __init__(
        self,
        root: ProcRoot,
        exclude_mounts: str = DEFAULT_EXCLUDE_MOUNTS,
        exclude_types: str = DEFAULT_EXCLUDE_TYPES,
        probe: MountProbe | None = None,
    ) -> None:
        self._root = root
        self._mounts_excluded = NameFilter(exclude_mounts, "filesystem.exclude_mounts")
        self._types_excluded = NameFilter(exclude_types, "filesystem.exclude_types")
        self._probe = probe or MountProbe()
        self._layout = Layout()

    def collect(self, now_ms: int) -> Reading:
        shapes: list[_Shape] = []
        values: list[float] = []
        for mount in self._mounts():
            numbers, failure = self._numbers(mount)
            shapes.append((mount, failure))
            values += numbers
        shape = tuple(shapes)
        return reading(self._layout.series(shape, lambda: [s for one in shape for s in _series(one)]), values)

    def _mounts(self) -> list[Mount]:
        try:
            text = self._root.read_proc("1/mountinfo")  # the host's view, also from inside a container
        except (FileNotFoundError, PermissionError):
            text = self._root.read_proc("self/mountinfo")
        found: dict[tuple[str, str, str], Mount] = {}
        for mount in parse_mountinfo(text, self._root.rootfs):
            if not (self._mounts_excluded.matches(mount.mountpoint) or self._types_excluded.matches(mount.fs_type)):
                found.setdefault((mount.device, mount.mountpoint, mount.fs_type), mount)
        return list(found.values())

    def _numbers(self, mount: Mount) -> tuple[list[float], str]:
        readonly = float(mount.readonly)
        try:
            space = self._probe.space(f"{self._root.rootfs.rstrip('/')}{mount.mountpoint}", mount.fs_type)
        except OSError as error:
            return [1.0, readonly], (error.strerror or str(error)).lower()
        return [
            *(0.0, readonly, space.size_bytes, space.free_bytes, space.avail_bytes),
            *(space.files, space.files_free, 1.0),
        ], ""


def parse_mountinfo(text: bytes, rootfs: str = "/") -> list[Mount]:
    """The mounts of a mountinfo file (proc(5)), with the prefix of a mounted host root taken off."""
    mounts: list[Mount] = []
    for line in text.decode(errors="replace").splitlines():
        left, _, right = line.partition(" - ")
        fields, rest = left.split(" "), right.split(" ")
        major, _, minor = fields[2].partition(":")
        options = {*fields[5].split(","), *rest[2].split(",")} if len(rest) > 2 else {*fields[5].split(",")}
        mounts.append(
            Mount(
                device=_unescape(rest[1]),
                mountpoint=_without_root(_unescape(fields[4]), rootfs),
                fs_type=rest[0],
                major=major,
                minor=minor,
                readonly=not options.isdisjoint(("ro", "emergency_ro")),
            )
        )
    return mounts


def _unescape(text: str) -> str:
    return text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")


def _without_root(path: str, rootfs: str) -> str:
    root = rootfs.rstrip("/")
    if root and (path == root or path.startswith(root + "/")):
        return path[len(root) :] or "/"
    return path


def _series(shape: _Shape) -> list[Series]:
    mount, failure = shape
    labels = {"device": mount.device, "mountpoint": mount.mountpoint, "fstype": mount.fs_type, "device_error": failure}
    both = [_ERROR.series(**labels), _READONLY.series(**labels)]
    if failure:
        return both
    placed = _MOUNT.series(device=mount.device, major=mount.major, minor=mount.minor, mountpoint=mount.mountpoint)
    return [*both, *(family.series(**labels) for family in _SPACE), placed]
