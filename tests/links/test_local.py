"""The link inside one process keeps the contract of the others."""

from __future__ import annotations

import anyio
import pytest

from peerwatch.errors import DecodeError, LinkError
from peerwatch.links.local import LocalLink


def _push(reply: bytes | Exception, wait_s: float | None = None) -> bytes:
    async def push(request: bytes) -> tuple[bytes, float | None]:
        if isinstance(reply, Exception):
            raise reply
        return reply + request, wait_s

    return anyio.run(LocalLink(push, lambda: b"members").push, b"!")


def test_the_reply_comes_back() -> None:
    """As it is."""
    assert _push(b"reply") == b"reply!"


def test_a_full_hub_is_a_failure_with_a_wait() -> None:
    """As 429 is over HTTPS."""
    with pytest.raises(LinkError, match="the hub is full") as caught:
        _push(b"", 3.0)
    assert caught.value.wait_s == 3.0


def test_junk_is_told_apart() -> None:
    """As 400 is over HTTPS."""
    with pytest.raises(DecodeError, match="no"):
        _push(DecodeError("no"))


def test_the_membership_is_the_hubs() -> None:
    """Asked for each time."""

    async def push(request: bytes) -> tuple[bytes, float | None]:
        return b"", None

    assert anyio.run(LocalLink(push, lambda: b"members").membership) == b"members"
