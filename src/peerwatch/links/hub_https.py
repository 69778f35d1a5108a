"""HubHttps: to one hub over HTTPS, by whichever of its addresses works."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import anyio
import anyio.to_thread

from peerwatch.errors import ConfigError, LinkError
from peerwatch.links.https import HttpsLink, fetch_pinned

_MOST_S = 25.0
"""For one call over all addresses: one that hangs takes `HttpsConfig.answer_s`, and another is tried after it."""
NO_ADDRESS_S = 1.0
"""When to look again for a hub that has joined and not said yet where it is: soon, since looking is free."""


@dataclass(frozen=True, slots=True)
class HttpsAddress:
    """An address and how the hub there is recognised: by its certificate, by its pin (SHA-256 of the certificate), or,
    without either, as the system's authorities decide."""

    url: str
    certificate_pem: str = ""
    pin: bytes = b""


class HubHttps:
    """As `HttpsLink`, by the address that worked last, else by the first one that works.

    One that was still silent when its caller gave up comes last at the next call: callers may be in more of a hurry
    than the deadlines here are.

    `addresses` is asked at each call, so that what a hub announces anew counts at once. Use as an async context
    manager. A hub that says how long to wait has been reached: no other address is tried then.
    """

    def __init__(self, addresses: Callable[[], Sequence[HttpsAddress]]) -> None:
        self._addresses = addresses
        self._links: dict[HttpsAddress, HttpsLink] = {}
        self._working: HttpsAddress | None = None
        self._silent: HttpsAddress | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await self._keep_only(())

    async def push(self, request: bytes) -> bytes:
        """See `HttpsLink.push`."""
        return await self._first(lambda link: link.push(request))

    async def membership(self) -> bytes:
        """See `HttpsLink.membership`."""
        return await self._first(lambda link: link.membership())

    async def _first(self, ask: Callable[[HttpsLink], Awaitable[bytes]]) -> bytes:
        addresses = self._addresses()
        await self._keep_only(addresses)
        failures: list[str] = []
        try:
            with anyio.fail_after(_MOST_S):
                for address in sorted(addresses, key=lambda one: (one == self._silent, one != self._working)):
                    try:
                        answer = await ask(await self._link(address))
                    except (LinkError, ConfigError) as error:  # ConfigError: a hub may announce nonsense
                        if isinstance(error, LinkError) and error.wait_s:
                            raise
                        failures.append(str(error))
                    except anyio.get_cancelled_exc_class():
                        self._silent = address
                        raise
                    else:
                        self._working = address
                        if self._silent == address:
                            self._silent = None
                        return answer
        except TimeoutError:
            failures.append(f"no answer within {_MOST_S:g} s")
        if not addresses:
            raise LinkError("the hub announces no address over HTTPS", NO_ADDRESS_S)
        raise LinkError("; ".join(failures))

    async def _link(self, address: HttpsAddress) -> HttpsLink:
        link = self._links.get(address)
        if link is None:
            certificate = address.certificate_pem
            if address.pin:
                certificate = await anyio.to_thread.run_sync(
                    fetch_pinned, address.url, address.pin, abandon_on_cancel=True
                )
            link = self._links.setdefault(address, HttpsLink(address.url, certificate))
        return link

    async def _keep_only(self, addresses: Sequence[HttpsAddress]) -> None:
        for address in [one for one in self._links if one not in addresses]:
            await self._links.pop(address).aclose()
