"""The Unix socket between node and main process: the node listens, the main process connects (docs/formats/node.md).

Only processes of the same user come in: the file is 0600, and the system says who is at the other end.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from pathlib import Path

import anyio
import anyio.abc

from peerwatch.errors import ConfigError, LinkError, PeerwatchError
from peerwatch.node.channel import MAIN, NODE, Channel, Handler
from peerwatch.node.config import SocketConfig
from peerwatch.node.messages import Message, Note, Reply
from peerwatch.telemetry import get_logger

SOCKET_NAME = "node.sock"
"""In the data folder of the hub or agent whose node it is."""

_log = get_logger("node.socket")
_MAX_PATH_BYTES = 103  # sun_path of macOS; Linux has 107
_MAX_GREETING = 8  # connections that have not greeted yet; more are closed at once
_UCRED = struct.Struct("3i")  # Linux's struct ucred: pid, uid, gid
_XUCRED = struct.Struct("2I")  # what macOS's struct xucred begins with: version, uid
_LOCAL_PEERCRED = 1  # macOS, sys/un.h


async def open_channel(path: Path, handler: Handler, config: SocketConfig, program: str) -> Channel:
    """The main process's end. The caller runs it (`Channel.run`) in a task of its own, then waits for `ready`.

    Raises LinkError when nobody listens there yet, ConfigError when it is another user's process.
    """
    try:
        with anyio.fail_after(config.greet_s):
            stream = await anyio.connect_unix(path)
    except TimeoutError as error:
        raise LinkError(f"{path}: the node did not accept within {config.greet_s:g} s") from error
    except OSError as error:
        raise LinkError(f"{path}: no node listens there: {error.strerror}") from error
    try:
        _check_user(stream, path)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await stream.aclose()
        raise
    return Channel(stream, MAIN, handler, config, program)


class NodeServer:
    """The node's end: one main process at a time; one that greets later takes the place of one before it.

    A main process that was frozen must not lock out the one that follows it; two that run at once would each take the
    other's place, which the lock on the data folder prevents. Mutable; owned by the task that is in `run`.
    """

    def __init__(self, path: Path, handler: Handler, config: SocketConfig, program: str) -> None:
        self._path = path
        self._handler = handler
        self._config = config
        self._program = program
        self._channel: Channel | None = None
        self._greeting = 0
        self.greeted = 0
        """How many main processes have come so far."""

    @property
    def connected(self) -> bool:
        """Whether a main process is there."""
        return self._channel is not None

    async def request(self, message: Message, within_s: float | None = None) -> Reply:
        """Ask the main process; as `Channel.request`. LinkError at once when none is there."""
        if self._channel is None:
            raise LinkError("no main process is connected to the node")
        return await self._channel.request(message, within_s)

    def tell(self, note: Note) -> None:
        """Tell the main process; dropped when none is there: it asks for the status when it comes."""
        if self._channel is not None:
            self._channel.tell(note)

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled; `task_status` starts once others can connect. The file goes with it.

        Raises ConfigError when it cannot listen there, or another node does.
        """
        await anyio.to_thread.run_sync(_claim, self._path)
        try:
            listener = await anyio.create_unix_listener(self._path, mode=0o600)
        except OSError as error:
            raise ConfigError(f"cannot listen on {self._path}: {error.strerror}") from error
        ours = _inode(self._path)
        try:
            async with listener:
                task_status.started()
                await listener.serve(self._serve)
        finally:
            if _inode(self._path) == ours:  # else another node has taken the place
                self._path.unlink(missing_ok=True)

    async def _serve(self, stream: anyio.abc.SocketStream) -> None:
        async with stream:
            try:
                _check_user(stream, self._path)
            except ConfigError as error:
                _log.warning("connection refused", reason=str(error))
                return
            if self._greeting >= _MAX_GREETING:
                _log.warning("connection refused", reason=f"{self._greeting} have not greeted yet")
                return
            await self._carry(Channel(stream, NODE, self._handler, self._config, self._program))

    async def _carry(self, channel: Channel) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(channel.run)
            if await self._greets(channel):
                before, self._channel = self._channel, channel
                self.greeted += 1
                if before is not None:
                    _log.warning("main process replaced")
                    before.close()
                await channel.closed.wait()
        if self._channel is channel:
            self._channel = None
            _log.info("main process gone", reason=str(channel.failure or "closed"))

    async def _greets(self, channel: Channel) -> bool:
        self._greeting += 1
        try:
            await channel.ready()
        except PeerwatchError as error:
            _log.warning("no greeting", reason=str(error))
            return False
        finally:
            self._greeting -= 1
        return True


def _claim(path: Path) -> None:
    """Make sure that nobody needs what is at `path`. Blocks for up to a second. Raises ConfigError."""
    size = len(os.fsencode(path))
    if size > _MAX_PATH_BYTES:
        raise ConfigError(f"socket path {path}: {size} bytes, limit {_MAX_PATH_BYTES}; choose a shorter data folder")
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"cannot listen on {path}: {error.strerror}") from error
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"{path} is there and is no socket; remove it")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return  # left behind by a node that was killed
        except OSError as error:
            raise ConfigError(f"{path} is in use: {error}") from error
    raise ConfigError(f"another node listens on {path}")


def _inode(path: Path) -> int:
    try:
        return path.lstat().st_ino
    except OSError:
        return 0


def _check_user(stream: anyio.abc.SocketStream, path: Path) -> None:
    """Raise ConfigError unless the process at the other end runs as our own user, by the system's word."""
    raw: socket.socket = stream.extra(anyio.abc.SocketAttribute.raw_socket)
    uid = peer_uid(raw)
    if uid != os.getuid():
        raise ConfigError(f"{path}: the other end runs as user {uid}, this process as {os.getuid()}")


def peer_uid(raw: socket.socket) -> int:
    """The user at the other end of a connected Unix socket, as it was when it connected."""
    if hasattr(socket, "SO_PEERCRED"):
        return int(_UCRED.unpack(raw.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))[1])
    return int(_XUCRED.unpack(raw.getsockopt(0, _LOCAL_PEERCRED, 76)[: _XUCRED.size])[1])
