"""A hub over HTTPS has several addresses: whichever works is used, and what it announces anew counts at once."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path

import anyio
import anyio.abc
import pytest

from peerwatch.errors import LinkError
from peerwatch.links.hub_https import HttpsAddress, HubHttps
from tests.links.server import Stub, free_port, self_signed, serving


def _run(story: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        with anyio.fail_after(20):
            await story()

    anyio.run(main)


def test_the_first_address_that_works_is_used_and_kept(tmp_path: Path) -> None:
    """Nobody is at the first, the second is nonsense, at the third is somebody else, the fourth is the hub."""
    hub, other = self_signed(tmp_path), self_signed(tmp_path, "other")
    pin = sha256(ssl.PEM_cert_to_DER_cert(hub.pem)).digest()
    stub, stranger = Stub(), Stub()

    async def story() -> None:
        async with (
            serving(stranger, free_port(), other) as wrong,
            serving(stub, free_port(), hub) as right,
            HubHttps(
                lambda: [
                    HttpsAddress(one, pin=pin)
                    for one in (f"https://127.0.0.1:{free_port()}", "http://192.0.2.1", wrong, right)
                ]
            ) as link,
        ):
            assert await link.push(b"one") == b"ok"
            assert await link.push(b"two") == b"ok"
            assert await link.membership() == b"ok"

    _run(story)
    assert stranger.requests == []
    assert [body for _, _, body in stub.requests] == [b"one", b"two", b""]
    assert len(set(stub.clients)) == 1


def test_addresses_may_change_while_it_is_used() -> None:
    """A hub that moves is followed at the next call."""
    old, new = Stub(), Stub()

    async def story() -> None:
        async with serving(old, free_port()) as before, serving(new, free_port()) as after:
            urls = [before]
            async with HubHttps(lambda: [HttpsAddress(one) for one in urls]) as link:
                await link.push(b"a")
                urls[:] = [after]
                await link.push(b"b")

    _run(story)
    assert ([body for _, _, body in old.requests], [body for _, _, body in new.requests]) == ([b"a"], [b"b"])


def test_a_hub_that_has_not_said_where_it_is_is_looked_for_again_soon() -> None:
    """It has just joined; with addresses that all fail the waits grow as usual, and the error names each."""

    async def story() -> None:
        async with HubHttps(list) as link:
            with pytest.raises(LinkError, match="announces no address") as caught:
                await link.push(b"a")
        assert caught.value.wait_s == 1.0
        urls = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
        async with HubHttps(lambda: [HttpsAddress(one) for one in urls]) as link:
            with pytest.raises(LinkError) as caught:
                await link.push(b"a")
        assert caught.value.wait_s is None and all(one in str(caught.value) for one in urls)

    _run(story)


@pytest.mark.parametrize("host", ["hub..example.com", f"{'x' * 64}.example.com"])
@pytest.mark.parametrize("pin", [b"", b"x" * 32])
def test_a_name_that_cannot_be_one_is_an_address_that_does_not_work(host: str, pin: bytes) -> None:
    """Resolvers raise another error for it than for a host that is not there."""

    async def story() -> None:
        async with HubHttps(lambda: [HttpsAddress(f"https://{host}:9480", pin=pin)]) as link:
            with pytest.raises(LinkError, match="is not of the form"):
                await link.push(b"one")

    _run(story)


def test_an_address_that_is_silent_is_not_the_first_one_for_ever() -> None:
    """Whoever asks gives up before the link would; so the next question goes to the other address."""
    stub = Stub()

    async def hold(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await anyio.sleep(30)

    async def story() -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with listener, serving(stub, free_port()) as right, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, hold)
            silent = HttpsAddress(f"http://127.0.0.1:{port}")
            async with HubHttps(lambda: [silent, HttpsAddress(right)]) as link:
                with anyio.move_on_after(0.5) as scope:
                    await link.push(b"one")
                assert scope.cancelled_caught
                assert await link.push(b"two") == b"ok"
            tasks.cancel_scope.cancel()

    _run(story)
