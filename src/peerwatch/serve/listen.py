"""Listening sockets: a taken port is named with its likely owner, and found another when nobody asked for that one."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

from peerwatch.errors import ConfigError
from peerwatch.serve.address import Address
from peerwatch.telemetry import get_logger

_log = get_logger("listen")
_LIKELY_OWNERS = {
    9100: "node_exporter, or another peerwatch agent",
    9480: "another peerwatch hub",
    9090: "Prometheus",
    9091: "Prometheus's Pushgateway",
}
_FAST_OPEN_QUEUE = 256
_BACKLOG = 2048
_TRIES = 20


def bind_tcp(address: Address, setting: str, *, configured: bool) -> socket.socket:
    """A listening socket (TCP Fast Open where the system has it, requirement E25).

    A taken port that was configured is a ConfigError; a default one is left for the next free port, with a warning.
    """
    tries = 1 if configured or address.port == 0 else _TRIES
    for port in range(address.port, min(address.port + tries, 65536)):
        try:
            listener = _bind(Address(address.host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise ConfigError(f"{setting}: cannot listen on {address.host}:{port}: {error.strerror}") from error
            continue
        if port != address.port:
            _log.warning(
                "port taken, using another", taken=address.port, owner=_owner(address.port), port=port, setting=setting
            )
        return listener
    raise ConfigError(
        f"{setting}: port {address.port} is taken, likely by {_owner(address.port)}; "
        f"stop it or set {setting} to another port"
    )


def free_port(address: Address, setting: str, *, configured: bool) -> int:
    """The port that `bind_tcp` would take, for a server that opens its own socket."""
    listener = bind_tcp(address, setting, configured=configured)
    port: int = listener.getsockname()[1]
    listener.close()
    return port


def _bind(address: Address) -> socket.socket:
    family, kind, protocol, _, where = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        _fast_open(listener)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _fast_open(listener: socket.socket) -> None:
    option = getattr(socket, "TCP_FASTOPEN", None)
    if option is None:
        return
    try:
        listener.setsockopt(socket.IPPROTO_TCP, option, _FAST_OPEN_QUEUE)
    except OSError as error:  # a kernel without it only costs a round trip
        _log.debug("no TCP Fast Open", reason=str(error))


def _owner(port: int) -> str:
    return _LIKELY_OWNERS.get(port, "another program")


def bind_unix(path: Path) -> socket.socket:
    """A listening Unix socket that only its owner can reach; a stale one of a hub that is gone is replaced.

    Raises ConfigError when a living process answers there.
    """
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen on {path}: {error}; remove what is there, or a shorter --data path may help"
        ) from error
    listener.setblocking(False)
    return listener


def _remove_stale(path: Path) -> None:
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.connect(str(path))
    except FileNotFoundError:
        return
    except ConnectionRefusedError:
        if path.is_socket():  # Linux answers the same for a plain file
            path.unlink()
    except OSError:
        return  # not ours to remove: binding says what is wrong with it
    else:
        raise ConfigError(f"another hub runs with this data folder: {path} answers")
    finally:
        probe.close()
