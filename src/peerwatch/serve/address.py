"""Address: HOST:PORT as text, and which addresses only this machine can reach."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache

from peerwatch.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. `host` is an IP address or a name; IPv6 without brackets."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether nobody but this machine can connect here. A name counts only when it is `localhost`."""
        return self.host.lower() == "localhost" or _is_loopback_ip(self.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, setting: str) -> Address:
    """`HOST:PORT` or `[IPV6]:PORT`. Raises ConfigError that names the setting and what is allowed."""
    host, separator, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not separator or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"{setting}: {text!r} is not HOST:PORT (for example 127.0.0.1:9480 or [::1]:9480)")
    return Address(host, int(port))


def is_loopback_host(host: str) -> bool:
    """Whether `host` (a name or an IP address, brackets allowed) is this machine itself."""
    bare = host.strip().removeprefix("[").removesuffix("]").rstrip(".").lower()
    if bare == "localhost" or bare.endswith(".localhost"):
        return True
    return _is_loopback_ip(bare)


@lru_cache(maxsize=256)  # asked at every push
def _is_loopback_ip(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_loopback
    except ValueError:
        return False


def split_host(value: str) -> str:
    """The host of a Host header or of an origin's authority, without its port."""
    if value.startswith("["):
        return value.partition("]")[0] + "]"
    return value.rpartition(":")[0] if value.count(":") == 1 else value
