"""Single sources at their edges: what the kernel takes back, refuses, or leaves out."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerwatch.agent.proc_root import ProcRoot
from peerwatch.agent.source import NoDataError, Reading
from peerwatch.agent.sources.cpu import CpuSource, without_steps_back
from peerwatch.agent.sources.diskstats import DiskstatsSource
from peerwatch.agent.sources.filesystem import FilesystemSource
from peerwatch.agent.sources.inet_diag import STATE_COUNT, add_states, count_states
from peerwatch.agent.sources.mount_probe import MountProbe, MountSpace, MountTimeoutError
from peerwatch.agent.sources.netdev import NetdevSource
from peerwatch.agent.sources.pressure import PressureSource
from peerwatch.agent.sources.self import ProcessSource
from peerwatch.agent.sources.tcp import STATES, TcpSource, count_lines
from peerwatch.errors import ConfigError, StoreError
from peerwatch.model import Int64Array
from peerwatch.telemetry import CollectorRegistry, Counter
from tests.agent.trees import fixed_statvfs, tree


def shown(reading: Reading) -> dict[str, float]:
    return {str(s.labels): float(v) for s, v in zip(reading.series, reading.values, strict=True)}


def written(folder: Path, **files: str) -> ProcRoot:
    for name, text in files.items():
        path = folder / "proc" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return ProcRoot.under(folder)


def test_cpu_counters_do_not_step_back_by_rounding() -> None:
    """Idle time that shrinks by a jiffy keeps its old value; a core that was unplugged begins anew."""
    last = np.zeros((2, 10))
    last[:, 3] = 100.0
    now = last.copy()
    now[0, 3], now[1, 3], now[1, 0] = 99.99, 1.0, 0.5
    assert without_steps_back(now, last)[:, 3].tolist() == [100.0, 1.0]
    last[1, 0] = 50.0
    assert without_steps_back(now, last)[1, 0] == 0.5


def test_a_core_that_comes_makes_new_series(tmp_path: Path) -> None:
    """Hot-plugging changes the shape and nothing else; an old kernel's short lines count as zero."""
    root = written(tmp_path, stat="cpu 1 2 3 4\ncpu0 100 0 0 200\nintr 1\n")
    source = CpuSource(root)
    assert shown(source.collect(0))['node_cpu_seconds_total{cpu="0", mode="idle"}'] == 2.0
    written(tmp_path, stat="cpu 1 2 3 4\ncpu0 100 0 0 300\ncpu7 1 0 0 5 0 0 0 9 0 0\nintr 1\n")
    found = shown(source.collect(0))
    assert len(found) == 20 and found['node_cpu_seconds_total{cpu="7", mode="steal"}'] == 0.09


def test_no_pressure_information_is_no_data(tmp_path: Path) -> None:
    """A kernel without PSI has nothing to say, which is not a failure."""
    with pytest.raises(NoDataError, match="CONFIG_PSI"):
        PressureSource(ProcRoot.under(tmp_path)).collect(0)


def test_filters_are_patterns_or_configuration_errors() -> None:
    """Devices are left out by pattern; a broken pattern names its setting."""
    found = NetdevSource(tree("large"), exclude="^(veth|docker|lo$)").collect(0)
    assert {s.labels.get("device") for s in found.series} == {"eth0", "eth1", "bond0", "wlan0"}
    with pytest.raises(ConfigError, match=r"diskstats\.exclude: '\(' is not a pattern"):
        DiskstatsSource(tree("large"), exclude="(")


def test_a_file_over_its_limit_is_an_error(tmp_path: Path) -> None:
    """No file is read without a bound."""
    root = written(tmp_path, big="x" * 300_000)
    assert len(root.read_proc("big")) == 300_000
    with pytest.raises(StoreError, match="more than 200000 bytes"):
        root.read_proc("big", 200_000)


def test_tcp_states_are_all_there_even_at_zero(tmp_path: Path) -> None:
    """Eleven states of two families, whatever the machine has; IPv6 may be missing altogether."""
    line = "   0: 0100007F:{port:04X} 00000000:0000 {state:02X} 00000000:00000000 00:00000000 00000000 0 0 1 1 0\n"
    table = "  sl  local_address rem_address   st\n" + "".join(
        line.format(port=p, state=s) for p, s in ((1, 1), (2, 10), (3, 12))
    )
    found = shown(TcpSource(written(tmp_path, net__tcp=table)).collect(0))
    assert len(found) == 22 and sum(found.values()) == 3
    assert found['tcp_connections{family="ipv4", state="established"}'] == 1
    assert found['tcp_connections{family="ipv4", state="listen"}'] == 1
    assert found['tcp_connections{family="ipv4", state="syn_recv"}'] == 1  # half open inside the kernel


def test_a_tree_never_asks_the_running_kernel() -> None:
    """Netlink tells of this machine, so it is used only for this machine's own /proc."""

    def count(family: socket.AddressFamily) -> Int64Array:
        raise AssertionError("asked the kernel")

    assert sum(TcpSource(tree("large"), count).collect(0).values) == 80


def test_netlink_that_is_forbidden_is_given_up_once() -> None:
    """Where inet_diag is not allowed the text files serve, and netlink is not tried again."""
    calls = []

    def count(family: socket.AddressFamily) -> Int64Array:
        calls.append(family)
        raise PermissionError(1, "not permitted")

    source = TcpSource(ProcRoot(), count)
    for _ in range(2):
        assert len(source.collect(0).values) == 22
    assert len(calls) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's netlink")
def test_netlink_and_proc_agree() -> None:
    """Sockets that we open are counted alike by both."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        clients = [socket.create_connection(server.getsockname()) for _ in range(5)]
        try:
            by_netlink = count_states(socket.AF_INET)
            by_file = count_lines(ProcRoot().read_proc("net/tcp"))
        except OSError as error:
            pytest.skip(f"this kernel has no inet_diag: {error}")
        finally:
            for client in clients:
                client.close()
    established, listening = 1, 10
    assert by_netlink[established] >= 10 and by_netlink[listening] >= 1
    stable = [number for number in range(1, 12) if STATES[number - 1] not in ("time_wait", "syn_sent", "close")]
    assert [int(by_netlink[n]) for n in stable] == [int(by_file[n - 1]) for n in stable]


def message(state: int, extra: int = 0, kind: int = 20) -> bytes:
    body = struct.pack("=BB", socket.AF_INET, state) + bytes(70 + extra)
    return struct.pack("=IHHII", 16 + len(body), kind, 2, 1, 0) + body


DONE = struct.pack("=IHHII", 20, 3, 2, 1, 0) + bytes(4)


@given(st.lists(st.tuples(st.integers(0, 13), st.sampled_from([0, 0, 0, 8, 12])), max_size=30), st.booleans())
def test_every_socket_of_an_answer_is_counted(sockets: list[tuple[int, int]], last: bool) -> None:
    """Messages of equal or mixed length, in any order."""
    counts = np.zeros(STATE_COUNT, dtype=np.int64)
    assert add_states(b"".join(message(*one) for one in sockets) + (DONE if last else b""), counts) is last
    expected = [sum(1 for state, _ in sockets if state == number) for number in range(STATE_COUNT)]
    assert counts.tolist() == expected


@given(st.integers(0, 200), st.sampled_from([2, 3, 20, 77]), st.binary(max_size=120))
def test_a_mad_kernel_does_no_harm(length: int, kind: int, rest: bytes) -> None:
    """Whatever bytes come, it ends, with a count or an OSError."""
    counts = np.zeros(STATE_COUNT, dtype=np.int64)
    with contextlib.suppress(OSError):
        add_states(struct.pack("=IHHII", length, kind, 2, 1, 0) + rest, counts)
    assert counts.sum() <= 120


def test_a_refusal_of_the_kernel_is_an_error() -> None:
    """The kernel's own error number comes through."""
    refusal = struct.pack("=IHHIIi", 36, 2, 0, 1, 0, -13) + bytes(16)
    with pytest.raises(PermissionError):
        add_states(refusal, np.zeros(STATE_COUNT, dtype=np.int64))


def test_a_mount_that_hangs_costs_one_thread_and_no_tick() -> None:
    """It is reported as stuck, not asked again while it hangs, and back when it answers."""
    release, asked = threading.Event(), []

    def statvfs(path: str) -> os.statvfs_result:
        asked.append(path)
        if path == "/mnt/dead" and len(asked) == 1:
            release.wait(10)
        return fixed_statvfs(path)

    probe = MountProbe(timeout_s=0.05, statvfs=statvfs)
    expected = MountSpace(4.096e9, 1.6384e9, 1.4336e9, 65_536, 60_000)
    for _ in range(2):
        with pytest.raises(MountTimeoutError):
            probe.space("/mnt/dead", "nfs4")
    assert asked == ["/mnt/dead"]
    assert probe.space("/mnt/other", "nfs4") == expected
    release.set()
    while True:
        try:
            assert probe.space("/mnt/dead", "nfs4") == expected
            break
        except MountTimeoutError:
            continue
    assert probe.space("/", "ext4") == expected


def test_a_container_sees_the_hosts_mounts_without_the_prefix(tmp_path: Path) -> None:
    """With the host's root mounted at /host its mounts are named as the host names them; 1/mountinfo may be hidden."""
    lines = (
        "1 0 8:1 / {root} rw - ext4 /dev/sda1 rw\n"
        "2 1 8:2 / {root}/data rw - xfs /dev/sdb rw\n"
        "3 1 0:9 / /proc rw - proc proc rw\n"
    )
    root = written(tmp_path, self__mountinfo=lines.format(root=tmp_path / "rootfs"))
    asked: list[str] = []

    def statvfs(path: str) -> os.statvfs_result:
        asked.append(path)
        return fixed_statvfs(path)

    found = FilesystemSource(root, probe=MountProbe(statvfs=statvfs)).collect(0)
    assert {s.labels.get("mountpoint") for s in found.series} == {"/", "/data"}
    assert asked == [f"{tmp_path}/rootfs/", f"{tmp_path}/rootfs/data"]


def test_the_agent_reports_itself_and_its_counters() -> None:
    """Processor, memory and descriptors from /proc; every counter of the registry; no creation times."""
    registry = CollectorRegistry()
    Counter("peerwatch_test_total", "A test.", ["kind"], registry=registry).labels("x").inc(3)
    source = ProcessSource(tree("large"), registry, lambda: 4)
    found = source.collect(0)
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    values = shown(found)
    assert values.pop("process_max_fds") > 0
    assert values == {
        "process_cpu_seconds_total": (321 + 123) / ticks,
        "process_resident_memory_bytes": 4321 * page,
        "process_virtual_memory_bytes": 123456789,
        "process_start_time_seconds": 1790000000 + 98765 / ticks,
        "process_open_fds": 4,
        "peerwatch_agent_threads": 5,
        "peerwatch_agent_tasks": 4,
        'peerwatch_test_total{kind="x"}': 3,
    }
    assert source.collect(0).series is found.series
