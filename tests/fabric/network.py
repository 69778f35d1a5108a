"""Network: hosts with addresses of their own on one switch, each a network namespace that nobody else sees.

No name and no setting of this machine is touched: the namespaces belong to `cat` processes that wait for their input to
end, and that ends with this process, however it ends. So there is nothing to clean up after a crash. It needs no root
where users may make namespaces of their own.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Self

DELAY_PORT = 9_999
_MARK = "7"
_PREFIX = "10.77.0."
_ROOT = Path(__file__).parents[2]


class NoNamespaces(Exception):
    """This machine does not let us make a network; it says why."""


class _Holder:
    """The process to which a network namespace belongs."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            [*command, "sh", "-c", "echo up; exec cat >/dev/null"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "up\n":
            _, words = self._process.communicate()
            raise NoNamespaces(f"{' '.join(command)}: {words.strip()}")
        self.pid = self._process.pid

    def end(self) -> None:
        """Let the namespace go, with what is in it."""
        self._process.communicate()


class Host:
    """One machine: a network namespace with an address on the switch. Made by `Network`."""

    def __init__(self, name: str, holder: _Holder) -> None:
        self.name = name
        self.address = ""
        self.seen_as = ""
        """The address from which the others hear it: its router's, where it has one."""
        self._holder = holder

    @property
    def pid(self) -> int:
        """The process that holds its namespace."""
        return self._holder.pid

    def command(self, command: Sequence[str]) -> list[str]:
        """The command to run on it; it ends with this process."""
        enter = ["nsenter", "--target", str(self.pid), "--user", "--net", "--preserve-credentials", "--"]
        return [*enter, "setpriv", "--pdeathsig", "KILL", "--", *command]

    def run(self, script: str) -> str:
        """Run shell commands on it until the first that fails. Raises NoNamespaces with its words."""
        done = subprocess.run(self.command(["sh", "-ec", script]), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise NoNamespaces(f"{self.name}: {script!r}: {done.stderr.strip()}")
        return done.stdout

    # ---- what happens to it

    def deaf_to(self, *others: Host) -> None:
        """Nothing of what they send arrives, while what is sent to them does."""
        self._rules(*(f"INPUT -s {other.seen_as} -j DROP" for other in others))

    def cut_from(self, *others: Host) -> None:
        """Nothing arrives either way."""
        self.deaf_to(*others)
        self._rules(*(f"OUTPUT -d {other.seen_as} -j DROP" for other in others))

    def lossy(self, share: float) -> None:
        """Of what comes by the network, such a share is lost, by chance."""
        self._rules(f"INPUT -i eth0 -m statistic --mode random --probability {share} -j DROP")

    def delay_to(self, *others: Host) -> None:
        """New connections to these go by the delaying proxy here (delay.py); those that are open end."""
        for other in others:
            away = f"OUTPUT -p tcp -d {other.address} -m mark ! --mark {_MARK}"
            self.run(f"iptables -w -t nat -A {away} -j REDIRECT --to-ports {DELAY_PORT}")
            self.run(f"ss --kill --no-header dst {other.address}")

    def heal(self) -> None:
        """Undo all of this but the delays."""
        self.run("iptables -w -F")

    def undelay(self) -> None:
        """Connections go straight again."""
        self.run("iptables -w -t nat -F")

    def _rules(self, *rules: str) -> None:
        self.run("\n".join(f"iptables -w -A {rule}" for rule in rules))


class Network:
    """A switch and its hosts. Use as a context manager. Raises NoNamespaces where the machine does not let us."""

    def __init__(self) -> None:
        self._switch = Host("switch", _Holder(["unshare", "--user", "--map-root-user", "--net", "--"]))
        self._switch.run("ip link set lo up; ip link add switch type bridge; ip link set switch up")
        self._holders = [self._switch]
        self._addresses = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for host in reversed(self._holders):
            host._holder.end()

    @property
    def hosts(self) -> tuple[Host, ...]:
        """All of them, routers included."""
        return tuple(self._holders)

    def host(self, name: str) -> Host:
        """One more machine on the switch."""
        host = self._empty(name)
        self._plug(host)
        return host

    def host_behind_nat(self, name: str) -> Host:
        """One behind a router of its own: it reaches the others, who see the router's address and cannot reach it."""
        router, host = self.host(f"{name}-router"), self._empty(name)
        router.run(
            f"ip link add eth1 type veth peer name eth0 netns {host.pid}; ip addr add 192.168.7.1/24 dev eth1;"
            "ip link set eth1 up; sysctl -qw net.ipv4.ip_forward=1;"
            "iptables -w -t nat -A POSTROUTING -o eth0 -j MASQUERADE;"
            "iptables -w -A FORWARD -i eth0 -m conntrack --ctstate NEW -j DROP"
        )
        host.run("ip addr add 192.168.7.2/24 dev eth0; ip link set eth0 up; ip route add default via 192.168.7.1")
        host.address, host.seen_as = "192.168.7.2", router.address
        return host

    def _empty(self, name: str) -> Host:
        inside = ["nsenter", "--target", str(self._switch.pid), "--user", "--preserve-credentials", "--"]
        host = Host(name, _Holder([*inside, "unshare", "--net", "--"]))
        self._holders.append(host)
        host.run("ip link set lo up")
        return host

    def _plug(self, host: Host) -> None:
        self._addresses += 1
        port = f"port{self._addresses}"
        self._switch.run(
            f"ip link add {port} type veth peer name eth0 netns {host.pid}; ip link set {port} master switch up"
        )
        host.address = host.seen_as = f"{_PREFIX}{self._addresses}"
        host.run(f"ip addr add {host.address}/24 dev eth0; ip link set eth0 up")


def delaying_proxy(seconds: float, folder: Path | None = None) -> list[str]:
    """The command of the proxy that `Host.delay_to` leads to, for that host. `folder` is where `worsen` writes."""
    more = [] if folder is None else [str(folder)]
    return [sys.executable, str(_ROOT / "tests/fabric/delay.py"), str(DELAY_PORT), _MARK, str(seconds), *more]


def worsen(folder: Path, to: Host, *, delay_s: float = 0.0, up: float = inf, down: float = inf) -> None:
    """What the way to this host is like from now on, by the proxies that look in this folder; bytes per second."""
    draft = folder / f".{to.address}"
    draft.write_text(f"{delay_s} {up} {down}")
    draft.rename(folder / to.address)


def mend(folder: Path, to: Host) -> None:
    """It is as it was."""
    (folder / to.address).unlink()
