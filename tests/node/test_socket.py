"""The socket between node and main process: for this user only, and never in the way of the next start."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from peerwatch.errors import ConfigError, LinkError
from peerwatch.node.config import SocketConfig
from peerwatch.node.messages import AskStatus, Banned, Done, Presence
from peerwatch.node.socket import NodeServer, open_channel, peer_uid
from tests.node.kit import NOW, PEERS
from tests.node.socket_kit import BACKENDS, Owner, config, connected, echo, listening, pair, raw_main, until

Story = Callable[[Path], Awaitable[None]]

pytestmark = pytest.mark.parametrize("backend", BACKENDS)


def _run(story: Story, folder: Path, backend: str) -> None:
    async def main() -> None:
        with anyio.fail_after(20):
            await story(folder / "node.sock")

    anyio.run(main, backend=backend)


def _mode(path: Path) -> int:
    return path.lstat().st_mode if path.exists() else 0


def test_the_file_is_private_and_goes_with_the_node(tmp_path: Path, backend: str) -> None:
    """0600 while it listens, gone when it stops."""

    async def story(path: Path) -> None:
        async with listening(path, Owner(echo)):
            mode = _mode(path)
            assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600
        assert _mode(path) == 0

    _run(story, tmp_path, backend)


def test_what_a_killed_node_left_behind_is_replaced(tmp_path: Path, backend: str) -> None:
    """Nobody listens there any more."""

    async def story(path: Path) -> None:
        subprocess.run(  # noqa: ASYNC221  # short, and nothing else runs here
            [sys.executable, "-c", "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1])", path],
            check=True,
        )
        assert stat.S_ISSOCK(_mode(path))
        async with pair(path) as both:
            assert isinstance(await both.main.request(AskStatus()), Done)

    _run(story, tmp_path, backend)


async def _fails_to_listen(path: Path, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        await NodeServer(path, Owner(echo), SocketConfig(), "test node").run()


def test_a_living_node_keeps_its_place(tmp_path: Path, backend: str) -> None:
    """The second one hears why, and the first one's main process notices nothing."""

    async def story(path: Path) -> None:
        async with pair(path) as both:
            await _fails_to_listen(path, "another node listens on")
            assert isinstance(await both.main.request(AskStatus()), Done)
            assert not both.main.closed.is_set()

    _run(story, tmp_path, backend)


def test_what_is_no_socket_is_never_removed(tmp_path: Path, backend: str) -> None:
    """Somebody's file is somebody's file; a folder that is not there and a name that is too long are told as well."""

    async def story(path: Path) -> None:
        await _fails_to_listen(path, "is there and is no socket; remove it")
        await _fails_to_listen(path.parent / "nowhere" / "node.sock", "cannot listen on")
        await _fails_to_listen(path.parent / ("x" * 100), "bytes, limit 103; choose a shorter data folder")

    (tmp_path / "node.sock").write_text("mine")
    _run(story, tmp_path, backend)
    assert (tmp_path / "node.sock").read_text() == "mine"


def test_nobody_listens(tmp_path: Path, backend: str) -> None:
    """The main process tries again later: LinkError."""

    async def story(path: Path) -> None:
        with pytest.raises(LinkError, match="no node listens there"):
            await open_channel(path, Owner(echo), SocketConfig(), "test main")

    _run(story, tmp_path, backend)


def test_other_users_are_refused(tmp_path: Path, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By both sides, by the system's word; here we are the ones who change."""

    async def story(path: Path) -> None:
        async with listening(path, Owner(echo)) as server:
            monkeypatch.setattr(os, "getuid", lambda: 12345)
            with pytest.raises(ConfigError, match=r"the other end runs as user \d+, this process as 12345"):
                await open_channel(path, Owner(echo), SocketConfig(), "test main")
            async with raw_main(path) as raw:
                await raw.until_closed()
            assert not server.connected
            monkeypatch.undo()

    _run(story, tmp_path, backend)


def test_the_system_says_who_it_is(tmp_path: Path, backend: str) -> None:
    """Not the other end."""
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert peer_uid(one) == os.getuid()


def test_a_later_main_process_takes_the_place(tmp_path: Path, backend: str) -> None:
    """A frozen one must not lock it out; only one that greets counts."""

    async def story(path: Path) -> None:
        async with pair(path) as both:
            async with raw_main(path):
                await anyio.wait_all_tasks_blocked()
                assert isinstance(await both.main.request(AskStatus()), Done)
                async with connected(path, Owner(echo)) as second:
                    await both.main.closed.wait()
                    assert isinstance(await second.request(AskStatus()), Done)
                    assert isinstance(await both.server.request(Banned(bans=[])), Done)
            await until(lambda: not both.server.connected)

    _run(story, tmp_path, backend)


def test_without_a_main_process(tmp_path: Path, backend: str) -> None:
    """The node's requests fail at once, its notes go nowhere, and it waits for the next one."""

    async def story(path: Path) -> None:
        note = Presence(peer=PEERS[0], connected=True, direction="inbound", address="", time_ms=NOW)
        async with listening(path, Owner(echo)) as server:
            for _ in range(3):
                with pytest.raises(LinkError, match="no main process is connected"):
                    await server.request(Banned(bans=[]))
                server.tell(note)
                owner = Owner(echo)
                async with connected(path, owner):
                    await until(lambda: server.connected)
                    assert isinstance(await server.request(Banned(bans=[])), Done)
                    assert owner.heard == []
                await until(lambda: not server.connected)

    _run(story, tmp_path, backend)


def test_connections_that_do_not_greet_are_few(tmp_path: Path, backend: str) -> None:
    """Eight at a time; more are closed at once."""

    async def story(path: Path) -> None:
        closed = anyio.Event()

        async def stay() -> None:
            async with raw_main(path) as raw:
                await raw.until_closed()
                closed.set()

        async with listening(path, Owner(echo), config(greet_s=60.0)), anyio.create_task_group() as tasks:
            for _ in range(9):
                tasks.start_soon(stay)
            await closed.wait()
            tasks.cancel_scope.cancel()
        async with pair(path) as both:
            assert isinstance(await both.main.request(AskStatus()), Done)

    _run(story, tmp_path, backend)


def test_a_node_that_does_not_greet_is_a_link_error(tmp_path: Path, backend: str) -> None:
    """As is one that closes at once."""

    async def story(path: Path) -> None:
        failed: list[LinkError] = []

        async def come(listener: socket.socket, *, closes: bool) -> None:
            try:
                channel = await open_channel(path, Owner(echo), config(greet_s=0.05), "test main")
                if closes:
                    listener.accept()[0].close()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(channel.run)
                    await channel.ready()
            except* LinkError as errors:
                failed.extend(one for one in errors.exceptions if isinstance(one, LinkError))

        for closes in (False, True):
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(path))
                listener.listen(8)
                await come(listener, closes=closes)
                path.unlink()  # noqa: ASYNC240  # a socket of this test
        assert len(failed) == 2

    _run(story, tmp_path, backend)


@pytest.mark.parametrize("after", range(0, 40, 3))
def test_stopping_the_node_at_any_moment_leaves_nothing(tmp_path: Path, backend: str, after: int) -> None:
    """No file, no task, no error: cancellation is a normal exit."""

    async def story(path: Path) -> None:
        server = NodeServer(path, Owner(echo), config(), "test node")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.run)
            await anyio.lowlevel.checkpoint()
            for _ in range(after):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        async with pair(path) as both:
            assert isinstance(await both.main.request(AskStatus()), Done)

    _run(story, tmp_path, backend)
