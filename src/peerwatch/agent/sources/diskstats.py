"""Block devices, from /proc/diskstats."""

from __future__ import annotations

from peerwatch.agent.name_filter import NameFilter
from peerwatch.agent.proc_root import ProcRoot
from peerwatch.agent.source import Family, Layout, Reading, reading
from peerwatch.model import MetricType, Series

DEFAULT_EXCLUDE = r"^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$"  # partitions and memory; node_exporter's

_SECTOR_BYTES = 512.0  # the unit of this file whatever the device's block size is (kernel doc, block/stat)
_MS = 1 / 1000


def _disk(name: str, text: str, kind: MetricType = MetricType.COUNTER) -> Family:
    return Family(f"node_disk_{name}", text, kind)


# The columns after the device's name, with the factor to our unit; a kernel before 5.5 has fewer.
_COLUMNS = (
    (_disk("reads_completed_total", "The total number of reads completed successfully."), 1.0),
    (_disk("reads_merged_total", "The total number of reads merged."), 1.0),
    (_disk("read_bytes_total", "The total number of bytes read successfully."), _SECTOR_BYTES),
    (_disk("read_time_seconds_total", "The total number of seconds spent by all reads."), _MS),
    (_disk("writes_completed_total", "The total number of writes completed successfully."), 1.0),
    (_disk("writes_merged_total", "The number of writes merged."), 1.0),
    (_disk("written_bytes_total", "The total number of bytes written successfully."), _SECTOR_BYTES),
    (_disk("write_time_seconds_total", "This is the total number of seconds spent by all writes."), _MS),
    (_disk("io_now", "The number of I/Os currently in progress.", MetricType.GAUGE), 1.0),
    (_disk("io_time_seconds_total", "Total seconds spent doing I/Os."), _MS),
    (_disk("io_time_weighted_seconds_total", "The weighted # of seconds spent doing I/Os."), _MS),
    (_disk("discards_completed_total", "The total number of discards completed successfully."), 1.0),
    (_disk("discards_merged_total", "The total number of discards merged."), 1.0),
    (_disk("discarded_sectors_total", "The total number of sectors discarded successfully."), 1.0),
    (_disk("discard_time_seconds_total", "This is the total number of seconds spent by all discards."), _MS),
    (_disk("flush_requests_total", "The total number of flush requests completed successfully"), 1.0),
    (
        _disk("flush_requests_time_seconds_total", "This is the total number of seconds spent by all flush requests."),
        _MS,
    ),
)
_INFO = _disk("info", "Info of /sys/block/<block_device>.", MetricType.GAUGE)
# udev's properties behind the labels of node_disk_info; of several, the first that is there
_UDEV = {
    "path": ("ID_PATH",),
    "wwn": ("ID_WWN",),
    "model": ("ID_MODEL",),
    "serial": ("SCSI_IDENT_SERIAL", "ID_SERIAL_SHORT", "ID_SERIAL"),
    "revision": ("ID_REVISION",),
}


class DiskstatsSource:
    """`node_disk_*` for every block device that the filter leaves in."""

    def __init__(self, root: ProcRoot, exclude: str = DEFAULT_EXCLUDE) -> None:
        self._root = root
        self._excluded = NameFilter(exclude, "diskstats.exclude")
        self._layout = Layout()

    def collect(self, now_ms: int) -> Reading:
        devices: list[tuple[str, str, str, int]] = []
        values: list[float] = []
        for line in self._root.read_proc("diskstats").splitlines():
            fields = line.split()
            if len(fields) < 14:
                continue  # partitions of kernels before 2.6.25 had four columns
            name = fields[2].decode(errors="replace")
            if self._excluded.matches(name):
                continue
            numbers = fields[3 : 3 + len(_COLUMNS)]
            devices.append((name, fields[0].decode(), fields[1].decode(), len(numbers)))
            values.append(1.0)
            values += [int(text) * factor for text, (_, factor) in zip(numbers, _COLUMNS, strict=False)]
        shape = tuple(devices)
        return reading(
            self._layout.series(shape, lambda: [s for device in shape for s in self._series(*device)]), values
        )

    def _series(self, device: str, major: str, minor: str, columns: int) -> list[Series]:
        info = _INFO.series(device=device, major=major, minor=minor, **self._describe(device, major, minor))
        return [info, *(family.series(device=device) for family, _ in _COLUMNS[:columns])]

    def _describe(self, device: str, major: str, minor: str) -> dict[str, str]:
        properties = self._udev(major, minor)
        labels = {
            label: next((properties[key] for key in keys if properties.get(key)), "") for label, keys in _UDEV.items()
        }
        labels["rotational"] = self._rotational(device)
        return labels

    def _udev(self, major: str, minor: str) -> dict[str, str]:
        try:
            text = self._root.read_root(f"run/udev/data/b{major}:{minor}").decode(errors="replace")
        except OSError:
            return {}
        pairs = (line[2:].split("=", 1) for line in text.splitlines() if line.startswith("E:") and "=" in line)
        return dict(pairs)

    def _rotational(self, device: str) -> str:
        try:
            text = self._root.read_sys(f"block/{device.replace('/', '!')}/queue/rotational")
        except OSError:
            return "0"
        return "1" if text.strip() == b"1" else "0"
