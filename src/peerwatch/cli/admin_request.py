"""AdminRequest: what the administration's endpoints share: a small JSON body in, JSON out, our errors in words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from peerwatch.errors import ConfigError, PeerError, PeerwatchError, QuotaError

_MAX_ADMIN_BYTES = 64 << 10
_JSON = "application/json"
NO_NODE = (
    "this hub has no libp2p node: set p2p.listen (P2P_LISTEN_ADDRS=/ip4/0.0.0.0/tcp/4001) and start it again; who "
    "reports over HTTPS is listed by `peerwatch agents`"
)
"""To whoever asks for what only a node knows."""
B = TypeVar("B", bound=msgspec.Struct)


async def read_body(request: Request, kind: type[B]) -> B:
    """The request's body as a `kind`. Raises QuotaError past 64 KB and ConfigError for what is not one."""
    raw = b""
    async for part in request.stream():
        raw += part
        if len(raw) > _MAX_ADMIN_BYTES:
            raise QuotaError(f"request of more than {_MAX_ADMIN_BYTES} bytes, the limit")
    try:
        return msgspec.json.decode(raw or b"{}", type=kind)
    except msgspec.DecodeError as error:
        raise ConfigError(f"request body: {error}") from error


def refusing(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """`handler`, with our own errors turned into Prometheus's error JSON."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except (ConfigError, PeerError) as error:
            return json_answer({"status": "error", "errorType": "bad_data", "error": str(error)}, 400)
        except PeerwatchError as error:
            return json_answer({"status": "error", "errorType": "internal", "error": str(error)}, 500)

    return answer


def json_answer(content: object, status: int = 200) -> Response:
    """`content` as JSON."""
    return Response(msgspec.json.encode(content), status, media_type=_JSON)
