"""LiveResponse: one client's stream on its HTTP connection."""

from __future__ import annotations

from contextlib import ExitStack

import anyio
from starlette.types import Receive, Scope, Send

from peerwatch.dashboard.json_response import busy_response
from peerwatch.dashboard.live import Live, Subscription
from peerwatch.dashboard.mailbox import Mailbox
from peerwatch.dashboard.sse import EventId, event
from peerwatch.dashboard.topic import TopicKey
from peerwatch.errors import QuotaError
from peerwatch.model import Clock

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # Nginx holds back a stream otherwise
]
_RETRY = b"retry: 2000\n\n"


class LiveResponse:
    """An ASGI response of its own, because it must notice a client that leaves while nothing is being sent.

    Sending waits for the client's socket; what comes meanwhile waits in the mailbox, where the newest wins.
    """

    def __init__(self, live: Live, clock: Clock, key: TopicKey, last: EventId | None) -> None:
        self._live = live
        self._clock = clock
        self._key = key
        self._last = last

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the client leaves or the live stream ends; 503 when there is no place."""
        with ExitStack() as place:
            try:
                subscription = place.enter_context(self._live.subscribe(self._key, self._last))
            except QuotaError as error:
                await busy_response(error)(scope, receive, send)
                return
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_until_gone, receive, tasks.cancel_scope)
                await self._stream(subscription, send)
                tasks.cancel_scope.cancel()

    async def _stream(self, subscription: Subscription, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        hello = event("hello", {"t": self._clock.now_ms(), "resumed": subscription.resumed})
        await _body(send, _RETRY + hello + b"".join(subscription.replay))
        while True:
            message = await self._next(subscription.mailbox)
            if message is None:
                break
            await _body(send, message)
        await send({"type": "http.response.body", "body": b""})

    async def _next(self, mailbox: Mailbox) -> bytes | None:
        with anyio.move_on_after(self._live.config.heartbeat_s):
            return await mailbox.take()
        # An event and not a comment: a page can see events only, and it must be able to tell quiet from dead.
        return event("ping", {"t": self._clock.now_ms()})


async def _body(send: Send, content: bytes) -> None:
    await send({"type": "http.response.body", "body": content, "more_body": True})


async def _until_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
