"""JSON answers of the dashboard's endpoints."""

from __future__ import annotations

import math

import msgspec
from starlette.responses import Response

from peerwatch.errors import QuotaError

_encoder = msgspec.json.Encoder()


def json_response(content: object, status: int = 200) -> Response:
    """`content` as compact JSON that nobody keeps."""
    return Response(_encoder.encode(content), status, {"Cache-Control": "no-store"}, "application/json")


def busy_response(error: QuotaError) -> Response:
    """503 with the reason and, where waiting helps, how long to wait."""
    response = json_response({"error": str(error)}, 503)
    if error.wait_s is not None:
        response.headers["Retry-After"] = str(math.ceil(error.wait_s))
    return response
