"""Properties of network interfaces, from /sys/class/net."""

from __future__ import annotations

from peerwatch.agent.name_filter import NameFilter
from peerwatch.agent.proc_root import ProcRoot
from peerwatch.agent.source import Family, Layout, Reading, reading
from peerwatch.model import MetricType, Series

DEFAULT_EXCLUDE = r"^$"

_UP = Family("node_network_up", "Value is 1 if operstate is 'up', 0 otherwise.")
_INFO = Family("node_network_info", "Non-numeric data from /sys/class/net/<iface>, value is always 1.")


def _property(name: str, kind: MetricType = MetricType.GAUGE) -> Family:
    return Family(f"node_network_{name}", f"Network device property: {name}", kind)


# (file, family, factor); a file that is absent, or that the driver refuses to answer, gives no series
_FILES = (
    ("addr_assign_type", _property("address_assign_type"), 1.0),
    ("carrier", _property("carrier"), 1.0),
    ("carrier_changes", _property("carrier_changes_total", MetricType.COUNTER), 1.0),
    ("carrier_up_count", _property("carrier_up_changes_total", MetricType.COUNTER), 1.0),
    ("carrier_down_count", _property("carrier_down_changes_total", MetricType.COUNTER), 1.0),
    ("dev_id", _property("device_id"), 1.0),
    ("dormant", _property("dormant"), 1.0),
    ("flags", _property("flags"), 1.0),
    ("ifindex", _property("iface_id"), 1.0),
    ("iflink", _property("iface_link"), 1.0),
    ("link_mode", _property("iface_link_mode"), 1.0),
    ("mtu", _property("mtu_bytes"), 1.0),
    ("name_assign_type", _property("name_assign_type"), 1.0),
    ("netdev_group", _property("net_dev_group"), 1.0),
    ("speed", _property("speed_bytes"), 1e6 / 8),  # the file is in Mbit/s, -1 where unknown
    ("tx_queue_len", _property("transmit_queue_length"), 1.0),
    ("type", _property("protocol_type"), 1.0),
)
_INFO_FILES = {
    "address": "address",
    "broadcast": "broadcast",
    "duplex": "duplex",
    "operstate": "operstate",
    "ifalias": "ifalias",
}
_IFF_UP = 1

_Shape = tuple[str, tuple[tuple[str, str], ...], tuple[int, ...]]


class NetclassSource:
    """`node_network_up`, `_info`, `_mtu_bytes`, `_speed_bytes` and the like. Many small files: sampled slowly."""

    def __init__(self, root: ProcRoot, exclude: str = DEFAULT_EXCLUDE) -> None:
        self._root = root
        self._excluded = NameFilter(exclude, "netclass.exclude")
        self._layout = Layout()

    def collect(self, now_ms: int) -> Reading:
        values: list[float] = []
        shapes = [
            self._collect_device(device, state, values)
            for device in self._root.list_sys("class/net")
            if not self._excluded.matches(device) and (state := self._text(device, "operstate")) is not None
        ]
        shape = tuple(shapes)
        return reading(self._layout.series(shape, lambda: [s for device in shape for s in _series(device)]), values)

    def _collect_device(self, device: str, state: str, values: list[float]) -> _Shape:
        info = {label: self._text(device, file) or "" for label, file in _INFO_FILES.items()}
        info["adminstate"] = "unknown"
        values += [float(state == "up"), 1.0]
        present: list[int] = []
        for column, (file, _, factor) in enumerate(_FILES):
            number = self._number(device, file)
            if number is None:
                continue
            present.append(column)
            values.append(number * factor)
            if file == "flags":
                info["adminstate"] = "up" if number & _IFF_UP else "down"
        return device, tuple(info.items()), tuple(present)

    def _text(self, device: str, file: str) -> str | None:
        try:
            return self._root.read_sys(f"class/net/{device}/{file}").decode(errors="replace").strip()
        except OSError:  # EINVAL is the kernel's "not while the link is down", ENOTDIR is bonding_masters
            return None

    def _number(self, device: str, file: str) -> int | None:
        text = self._text(device, file)
        return int(text, 0) if text else None


def _series(shape: _Shape) -> list[Series]:
    device, info, present = shape
    described = _INFO.series(device=device, **dict(info))
    return [_UP.series(device=device), described, *(_FILES[column][1].series(device=device) for column in present)]
