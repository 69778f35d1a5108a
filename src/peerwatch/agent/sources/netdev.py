"""Traffic of network interfaces, from /proc/net/dev."""

from __future__ import annotations

from peerwatch.agent.name_filter import NameFilter
from peerwatch.agent.proc_root import ProcRoot
from peerwatch.agent.source import Family, Layout, Reading, reading
from peerwatch.model import MetricType, Series

DEFAULT_EXCLUDE = r"^$"  # nothing, as node_exporter

# The columns of the file in the kernel's order (net/core/net-procfs.c)
_COLUMNS = (
    *("receive_bytes", "receive_packets", "receive_errs", "receive_drop"),
    *("receive_fifo", "receive_frame", "receive_compressed", "receive_multicast"),
    *("transmit_bytes", "transmit_packets", "transmit_errs", "transmit_drop"),
    *("transmit_fifo", "transmit_colls", "transmit_carrier", "transmit_compressed"),
)
_FAMILIES = tuple(
    Family(f"node_network_{name}_total", f"Network device statistic {name}.", MetricType.COUNTER) for name in _COLUMNS
)


class NetdevSource:
    """`node_network_{receive,transmit}_*_total` for every interface that the filter leaves in."""

    def __init__(self, root: ProcRoot, exclude: str = DEFAULT_EXCLUDE) -> None:
        self._root = root
        self._excluded = NameFilter(exclude, "netdev.exclude")
        self._layout = Layout()

    def collect(self, now_ms: int) -> Reading:
        devices: list[str] = []
        values: list[int] = []
        for line in self._root.read_proc("net/dev").splitlines()[2:]:
            name, _, rest = line.rpartition(b":")  # a name may hold a colon (an alias), the numbers may touch it
            device = name.strip().decode(errors="replace")
            if self._excluded.matches(device):
                continue
            numbers = [int(field) for field in rest.split()]
            if len(numbers) != len(_COLUMNS):
                raise ValueError(f"net/dev: {device} has {len(numbers)} columns, not {len(_COLUMNS)}")
            devices.append(device)
            values += numbers
        shape = tuple(devices)
        return reading(self._layout.series(shape, lambda: _series(shape)), values)


def _series(devices: tuple[str, ...]) -> list[Series]:
    return [family.series(device=device) for device in devices for family in _FAMILIES]
