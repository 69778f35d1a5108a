"""NodePage: lets the thread of a source ask the node, which only the event loop can do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
from anyio.from_thread import BlockingPortal

from peerwatch.errors import LinkError


class NodePage:
    """Call it in a thread, while `run` is in the event loop. Raises LinkError when it is not, and what `ask` raises."""

    def __init__(self, ask: Callable[[], Awaitable[bytes]]) -> None:
        self._ask = ask
        self._portal: BlockingPortal | None = None

    async def run(self) -> None:
        """Answer until cancelled."""
        async with BlockingPortal() as portal:
            self._portal = portal
            try:
                await anyio.sleep_forever()
            finally:
                self._portal = None

    def __call__(self) -> bytes:
        """The page."""
        portal = self._portal
        if portal is None:
            raise LinkError("the agent is not running")
        try:
            return portal.call(self._ask)
        except RuntimeError as error:  # it ended meanwhile
            raise LinkError(f"the agent is stopping: {error}") from error
