"""Reads server-sent events the way the standard says, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec


@dataclass(frozen=True, slots=True)
class Event:
    """One event as a page gets it."""

    name: str
    data: Any
    id: str = ""


def parse(block: str) -> Event | None:
    """The event of one block of lines; None for a block without data (a retry time)."""
    fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
    if "data" not in fields:
        return None
    return Event(fields.get("event", "message"), msgspec.json.decode(fields["data"]), fields.get("id", ""))


async def read_events(response: httpx.Response) -> AsyncIterator[Event]:
    """Events as they come, until the server ends the stream."""
    rest = ""
    async for chunk in response.aiter_text():
        *blocks, rest = (rest + chunk).split("\n\n")
        for block in blocks:
            event = parse(block)
            if event is not None:
                yield event
