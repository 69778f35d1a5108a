"""FirstLink: several ways to one hub; the first that works is used."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Protocol

import anyio

from peerwatch.errors import LinkError

_REST_S = 10.0
"""How long a way that failed is passed over: a tick's delivery must not wait for it each time."""
_MOST_DOUBLINGS = 3
"""Of the rest of a way that hangs again and again: each try at it costs a delivery its time, a refusal costs none."""


class Way(Protocol):
    """One link."""

    async def push(self, request: bytes) -> bytes:
        """See `HttpsLink.push`."""
        ...

    async def membership(self) -> bytes:
        """See `HttpsLink.membership`."""
        ...


@dataclass(slots=True)
class _Tried:
    """A way, and what came of it lately."""

    way: Way
    rests_until_s: float = 0.0
    hangs: int = 0

    def failed(self) -> None:
        self.rests_until_s = anyio.current_time() + _REST_S

    def hung(self) -> None:
        now_s = anyio.current_time()
        if self.rests_until_s > now_s:
            return  # another request has found out already
        self.rests_until_s = now_s + _REST_S * 2 ** min(self.hangs, _MOST_DOUBLINGS)
        self.hangs += 1


class FirstLink:
    """The ways in their order; the last is always tried. All that is sent here may arrive twice.

    Where the caller has a deadline, a way that has another behind it gets half of the time that is left: so one that
    hangs leaves the other its chance with the same request. One that was still silent when the caller gave up rests
    like one that failed. A hub that says how long to wait has been reached: another way to it would only add to its
    load.
    """

    def __init__(self, ways: Sequence[Way]) -> None:
        *first, self._last = ways
        self._first_ways = [_Tried(way) for way in first]

    async def push(self, request: bytes) -> bytes:
        """See `HttpsLink.push`."""
        return await self._first(lambda way: way.push(request))

    async def membership(self) -> bytes:
        """See `HttpsLink.membership`."""
        return await self._first(lambda way: way.membership())

    async def _first(self, ask: Callable[[Way], Awaitable[bytes]]) -> bytes:
        failures: list[str] = []
        for tried in self._first_ways:
            if tried.rests_until_s > anyio.current_time():
                continue
            try:
                return await _in_half_the_time(tried, ask)
            except LinkError as error:
                if error.wait_s:
                    raise
                failures.append(str(error))
        try:
            return await ask(self._last)
        except LinkError as error:
            raise LinkError("; ".join([*failures, str(error)]), error.wait_s) from error


async def _in_half_the_time(tried: _Tried, ask: Callable[[Way], Awaitable[bytes]]) -> bytes:
    """The way's answer. Raises LinkError, also when it is too slow."""
    half_s = (anyio.current_effective_deadline() - anyio.current_time()) / 2
    try:
        with anyio.fail_after(None if half_s == inf else max(0.0, half_s)):
            answer = await ask(tried.way)
    except TimeoutError as error:
        tried.hung()
        raise LinkError(f"no answer within {half_s:.1f} s") from error
    except anyio.get_cancelled_exc_class():
        tried.hung()
        raise
    except LinkError as error:
        if not error.wait_s:
            tried.failed()
        raise
    tried.hangs = 0
    return answer
