"""Window: how many requests may be unanswered, and of how many bytes. Both sides of a connection keep one."""

from __future__ import annotations

from peerwatch.errors import DecodeError


class Window:
    """Unanswered requests by id. Mutable; owned by one direction of one connection.

    A request that alone is larger than `max_bytes` fits when nothing else is open. The sender waits until `fits`; the
    receiver takes a request that does not fit for a broken sender. An id stays open until it is answered, even when
    nobody waits for the answer any more: the other side still works on it.
    """

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._open: dict[int, int] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._open)

    def fits(self, size_bytes: int) -> bool:
        """Whether a request of this size may be sent now."""
        if not self._open:
            return True
        return len(self._open) < self._max_requests and self._bytes + size_bytes <= self._max_bytes

    def open(self, request_id: int, size_bytes: int) -> None:
        """A request is on its way. Raises DecodeError when it does not fit, or its id is taken."""
        if request_id in self._open:
            raise DecodeError(f"request id {request_id} is in use")
        if not self.fits(size_bytes):
            raise DecodeError(
                f"request of {size_bytes} bytes beside {len(self._open)} open ones of {self._bytes}, "
                f"limits {self._max_requests} requests and {self._max_bytes} bytes"
            )
        self._open[request_id] = size_bytes
        self._bytes += size_bytes

    def settle(self, request_id: int) -> None:
        """It is answered. Raises DecodeError for an id that is not open."""
        size_bytes = self._open.pop(request_id, None)
        if size_bytes is None:
            raise DecodeError(f"answer to request {request_id}, which is not open")
        self._bytes -= size_bytes
