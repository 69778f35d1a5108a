"""When a hub asks the others, and when it stops: one that cannot answer is a listener here that says nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import anyio.abc
import pytest

from peerwatch.cli.ban_book import BanBook
from peerwatch.cli.ban_sync import BanSync
from peerwatch.cli.roster_sync import RosterSync
from peerwatch.fleet.authority import Authority
from peerwatch.model import SystemClock
from peerwatch.telemetry import CollectorRegistry
from tests.fleet.kit import exchange, second_hub

NEVER_S = 3600.0


class _Silent:
    """A hub that takes requests and answers none: it closes after `hang_up` is set, and notes who came and went."""

    def __init__(self) -> None:
        self.came = self.gone = 0
        self.hang_up = anyio.Event()
        self.url = ""

    async def run(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        self.url = f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        task_status.started()
        async with listener:
            await listener.serve(self._take)

    async def _take(self, stream: anyio.abc.SocketStream) -> None:
        self.came += 1
        async with stream, anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch, stream, tasks.cancel_scope)
            await self.hang_up.wait()
            tasks.cancel_scope.cancel()

    async def _watch(self, stream: anyio.abc.SocketStream, scope: anyio.CancelScope) -> None:
        try:
            while True:
                await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            self.gone += 1
            scope.cancel()


def _with_silent_hub(folder: Path, story: Callable[[Authority, RosterSync, _Silent], Awaitable[None]]) -> None:
    """The story of a hub whose only other hub is silent; it asks by itself once an hour."""
    clock = SystemClock()
    first = Authority.open(folder / "one", "hub-1", clock)
    second = second_hub(first, folder / "one", folder / "two", clock)

    async def main() -> None:
        silent = _Silent()
        book = BanBook(folder / "bans", "hub-1", clock, lambda: first.membership.roster)
        sync = RosterSync(first, BanSync(first, book, clock), NEVER_S, clock, CollectorRegistry())
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                await tasks.start(silent.run)
                second.announce((silent.url,), b"", ())
                exchange(first, second, clock.now_ms())
                first.on_change = sync.wake
                tasks.start_soon(sync.run)
                await _until(lambda: silent.came == 1)
                await story(first, sync, silent)
                tasks.cancel_scope.cancel()

    anyio.run(main)


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # bounded by the story
        await anyio.sleep(0.01)


def test_a_hub_that_leaves_the_roster_is_let_go_at_once(tmp_path: Path) -> None:
    """In the midst of an exchange, which would wait for its answer for ten seconds more; it is asked no more."""

    async def story(first: Authority, sync: RosterSync, silent: _Silent) -> None:
        with anyio.fail_after(3):
            first.revoke("hub-2")
            await _until(lambda: silent.gone == 1)
        sync.wake()
        await anyio.sleep(0.5)
        assert silent.came == 1

    _with_silent_hub(tmp_path, story)


@pytest.mark.parametrize(("changes", "asked"), [(1, 2), (50, 2), (0, 1)])
def test_what_changes_during_an_exchange_is_told_right_after(tmp_path: Path, changes: int, asked: int) -> None:
    """Though that one failed; once, however much has changed. Without a change the next one is due in an hour."""

    async def story(first: Authority, sync: RosterSync, silent: _Silent) -> None:
        for _ in range(changes):
            sync.wake()
        await anyio.sleep(0.3)
        assert silent.came == 1, "one exchange at a time"
        silent.hang_up.set()
        await anyio.sleep(1.0)
        assert silent.came == asked

    _with_silent_hub(tmp_path, story)
