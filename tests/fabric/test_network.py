"""The network that the stories are played on does what they say of it."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.processes import eventually
from tests.fabric.network import Host, Network, delaying_proxy, mend, worsen

pytestmark = pytest.mark.e2e
_ECHO = (
    "import socketserver as s\n"
    "class Echo(s.BaseRequestHandler):\n"
    "    def handle(self):\n"
    "        self.request.sendall(self.client_address[0].encode() + b' ' + self.request.recv(99))\n"
    "server = s.ThreadingTCPServer(('0.0.0.0', 7), Echo)\n"
    "print('ready', flush=True)\n"
    "server.serve_forever()\n"
)
_SAY = (
    "import socket, sys\n"
    "with socket.create_connection((sys.argv[1], 7), 2) as s:\n"
    "    s.sendall(b'hello')\n"
    "    s.settimeout(2)\n"
    "    print(s.recv(99).decode())\n"
)


@contextlib.contextmanager
def _running(host: Host, *command: str) -> Iterator[None]:
    with subprocess.Popen(host.command(command), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield
        finally:  # else leaving the block waits for it for ever
            process.kill()


def _say(host: Host, to: str) -> str:
    """What the echo there answers; empty where there is none within two seconds."""
    done = subprocess.run(
        host.command([sys.executable, "-c", _SAY, to]), capture_output=True, text=True, check=False, timeout=20
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def server(network: Network) -> Iterator[Host]:
    """A host that answers with who it was asked by, and what it was told."""
    host = network.host("server")
    with _running(host, sys.executable, "-c", _ECHO):
        yield host


def test_hosts_reach_each_other_until_they_are_cut_off(network: Network, server: Host) -> None:
    """Each by its own address; cut either way, nothing comes; healed, it does."""
    one, other = network.host("one"), network.host("other")
    assert _say(one, server.address) == f"{one.address} hello"
    one.cut_from(server)
    assert _say(one, server.address) == ""
    assert _say(other, server.address) == f"{other.address} hello"
    one.heal()
    assert _say(one, server.address) == f"{one.address} hello"


def test_a_deaf_host_is_heard(network: Network, server: Host) -> None:
    """Its packets arrive and are counted, while no answer comes."""
    host = network.host("deaf")
    host.deaf_to(server)
    server.run(f"iptables -w -A INPUT -s {host.address} -j ACCEPT")
    assert _say(host, server.address) == ""
    counted = server.run("iptables -w -L INPUT -v -n -x")
    server.heal()
    found = re.search(rf"^ *(\d+) +\d+ +ACCEPT .* {re.escape(host.address)} ", counted, re.MULTILINE)
    assert found is not None and int(found[1]) > 0, counted


def test_a_lossy_host_loses_its_share(network: Network, server: Host) -> None:
    """Of 400 pings with 30 % loss, 400 x 0.3 are lost, give or take four standard deviations."""
    host = network.host("lossy")
    host.lossy(0.3)
    ping = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.05); n = 0\n"
        "for _ in range(400):\n"
        "    s.sendto(b'x', (sys.argv[1], 8))\n"
        "    try: s.recv(9); n += 1\n"
        "    except TimeoutError: pass\n"
        "print(n)\n"
    )
    echo = (
        "import socket\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0', 8)); print('ready', flush=True)\n"
        "while True:\n"
        "    data, who = s.recvfrom(9); s.sendto(data, who)\n"
    )
    with _running(server, sys.executable, "-c", echo):
        done = subprocess.run(
            host.command([sys.executable, "-c", ping, server.address]), capture_output=True, text=True, check=True
        )
    assert 400 * 0.7 - 4 * 9.2 < int(done.stdout) < 400 * 0.7 + 4 * 9.2


def test_a_delayed_host_waits(network: Network, server: Host) -> None:
    """Connecting, asking and being answered each take the delay; undone, they do not."""
    host = network.host("slow")
    with _running(host, *delaying_proxy(0.1)):
        host.delay_to(server)
        began_s = time.monotonic()
        assert _say(host, server.address) == f"{host.address} hello"
        assert time.monotonic() - began_s > 0.3
        host.undelay()
    assert _say(host, server.address) == f"{host.address} hello"


def test_a_way_gets_narrow_or_one_sided_and_is_well_again(network: Network, server: Host, tmp_path: Path) -> None:
    """A connection that is open feels it too, and what waited passes once it is well."""
    host = network.host("narrow")
    with _running(host, *delaying_proxy(0.0, tmp_path)):
        host.delay_to(server)
        assert _say(host, server.address) == f"{host.address} hello"
        worsen(tmp_path, server, up=20.0)
        time.sleep(0.5)
        assert _say(host, server.address) == f"{host.address} he", "which is what came by then"
        worsen(tmp_path, server, down=0.0)
        time.sleep(0.5)
        assert _say(host, server.address) == ""
        asking = subprocess.Popen(
            host.command([sys.executable, "-c", _SAY, server.address]), stdout=subprocess.PIPE, text=True
        )
        time.sleep(0.5)
        mend(tmp_path, server)
        assert asking.communicate(timeout=10)[0].strip() == f"{host.address} hello"
        host.undelay()


def test_a_host_behind_nat_reaches_out_and_is_not_reached(network: Network, server: Host) -> None:
    """The server sees the router; nobody has a way to the host."""
    host, other = network.host_behind_nat("inner"), network.host("outer")
    seen = _say(host, server.address)
    assert seen.endswith(" hello") and seen.split()[0] not in ("", host.address)
    with _running(host, sys.executable, "-c", _ECHO):
        assert _say(other, host.address) == ""
        other.run(f"ip route add 192.168.7.0/24 via {seen.split()[0]}")
        assert _say(other, host.address) == "", "its router lets nobody in"


def test_nothing_is_left_after_a_crash(network: Network) -> None:
    """The namespaces, and what runs in them, end with the process that made them; this machine's own are untouched."""
    interfaces = sorted(Path("/sys/class/net").iterdir())
    script = (
        "import subprocess, time\n"
        "from tests.fabric.network import Network\n"
        "network = Network(); host = network.host('one')\n"
        "inside = subprocess.Popen(host.command(['sleep', '600']))\n"
        "print(host.pid, inside.pid, flush=True); time.sleep(600)\n"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=root) as owner:
        assert owner.stdout is not None
        pids = [int(text) for text in owner.stdout.readline().split()]
        assert len(pids) == 2
        time.sleep(0.5)  # nsenter and setpriv have become what they start
        owner.send_signal(signal.SIGKILL)
    eventually(lambda: not any(_runs(pid) for pid in pids), "what it started has ended", 10)
    assert sorted(Path("/sys/class/net").iterdir()) == interfaces


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
