"""Channel: requests, replies and notes over one connection between node and main process. Both sides use it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

import anyio
import anyio.abc

from peerwatch.errors import DecodeError, LinkError, PeerwatchError
from peerwatch.node.config import SocketConfig
from peerwatch.node.failures import checked_reply, to_failed
from peerwatch.node.frames import FrameReader, pack_frame
from peerwatch.node.messages import (
    Delivered,
    Done,
    Failed,
    Failure,
    Hello,
    Message,
    Metrics,
    Note,
    Reply,
    Status,
    decode_from_main,
    decode_from_node,
    encode_message,
)
from peerwatch.node.outbox import Outbox
from peerwatch.node.window import Window
from peerwatch.telemetry import get_logger

_log = get_logger("node.socket")
_READ_BYTES = 1 << 16
_MAX_NOTE_BYTES = 1 << 14  # a note says what happened; 1,024 of them are 16 MB at most
_REPLIES = (Done, Delivered, Failed, Status, Metrics)
_NOTES = Note.__args__


class Handler(Protocol):
    """What the owner of a channel does with what comes in."""

    async def answer(self, request: Message) -> Reply:
        """Answer a request of the other side. Errors become Failed; those that are bugs of ours are logged."""
        ...

    def hear(self, note: Note) -> None:
        """Take a note; at once, for nothing else is read meanwhile."""
        ...


@dataclass(frozen=True, slots=True)
class Side:
    """Which end this is: what it calls itself, and how it reads what comes from the other."""

    role: str
    decode: Callable[[bytes], Message]


MAIN = Side("main", decode_from_node)
NODE = Side("node", decode_from_main)


class _Pending:
    """A request that somebody waits for."""

    __slots__ = ("answered", "reply")

    def __init__(self) -> None:
        self.answered = anyio.Event()
        self.reply: Reply | LinkError | None = None

    def settle(self, reply: Reply | LinkError) -> None:
        self.reply = reply
        self.answered.set()


class Channel:
    """One connection, from greeting to end. Mutable; owned by the task that is in `run`.

    Each side grants the other a window (`Hello`). When it is full, `request` waits for room, in order, up to its
    deadline; when as many wait as the window is wide, it fails at once with a wait. So memory is bounded on both sides,
    and a slow side slows the other down. Who passes the window it was granted is broken: the connection ends.

    A cancelled or late request keeps its place in the window until the other side answers it. Whatever ends the
    connection, all who wait get a LinkError. Frames are never cut: only the writer writes, and a write that is
    cancelled ends the connection.
    """

    def __init__(
        self, stream: anyio.abc.ByteStream, side: Side, handler: Handler, config: SocketConfig, program: str
    ) -> None:
        self.closed = anyio.Event()
        self._stream = stream
        self._side = side
        self._handler = handler
        self._config = config
        self._program = program
        self._reader = FrameReader(config.max_frame_bytes)
        self._outbox = Outbox(config.max_notes)
        self._granted = Window(config.window_requests, config.window_bytes)
        self._window = Window(1, 1)  # until the other side has said how wide it is
        self._their_frame_bytes = config.max_frame_bytes
        self._pending: dict[int, _Pending] = {}
        self._last_id = 0
        self._turn = anyio.Lock()
        self._room = anyio.Event()
        self._queued = 0
        self._greeted = anyio.Event()
        self._scope: anyio.CancelScope | None = None
        self._heard_s = 0.0
        self.failure: PeerwatchError | None = None
        """What ended the connection: LinkError (broken, too slow), DecodeError (spoke wrongly), None (closed)."""

    @property
    def lost_notes(self) -> int:
        """Notes that were dropped because the other side did not read."""
        return self._outbox.lost

    async def run(self) -> None:
        """Greet, then carry until either side closes. Never raises for what the other side did: `failure` says why."""
        try:
            async with anyio.create_task_group() as tasks:
                self._scope = tasks.cancel_scope
                tasks.start_soon(self._write_all)
                await self._carry(tasks)
                tasks.cancel_scope.cancel()
        finally:
            self._end()
            with anyio.CancelScope(shield=True):
                await self._stream.aclose()

    async def ready(self) -> None:
        """Return once both sides have greeted. Raises `failure`, or LinkError, when it came to an end before."""
        await self._greeted.wait()
        if self.closed.is_set():
            raise self.failure or LinkError(f"the connection to the {self._other} has ended")

    def close(self) -> None:
        """Let `run` return. Who waits for answers gets LinkError."""
        if self._scope is not None:
            self._scope.cancel()

    async def ask_whether_alive(self, message: Message, within_s: float) -> Reply | None:
        """As `request`; None when it is only busy: no answer in time, but it has said something else meanwhile."""
        asked_s = anyio.current_time()
        try:
            return await self.request(message, within_s)
        except LinkError:
            if self.closed.is_set() or self._heard_s <= asked_s:
                raise
            return None

    async def request(self, message: Message, within_s: float | None = None) -> Reply:
        """Send a request and return its reply, which is never Failed.

        Raises LinkError when there is no answer in time or the other side could not do it (with a wait, where it said
        one), DecodeError when it cannot read the request, QuotaError when it was denied.
        """
        within_s = self._config.answer_s if within_s is None else within_s
        pending = _Pending()
        try:
            with anyio.fail_after(within_s):
                request_id = await self._send_request(message, pending)
                await pending.answered.wait()
        except TimeoutError as error:
            raise LinkError(
                f"{type(message).__name__}: no answer from the {self._other} within {within_s:g} s"
            ) from error
        self._pending.pop(request_id, None)
        return checked_reply(pending.reply)

    def tell(self, note: Note) -> None:
        """Send a note, sometime; dropped when the other side does not read. Raises ValueError for one above 16 KB."""
        payload = encode_message(note)
        if len(payload) > _MAX_NOTE_BYTES:
            raise ValueError(f"{type(note).__name__} of {len(payload)} bytes, limit {_MAX_NOTE_BYTES}")
        if not self.closed.is_set():
            self._outbox.put_note(pack_frame(payload, _MAX_NOTE_BYTES))

    @property
    def _other(self) -> str:
        return "node" if self._side is MAIN else "main process"

    # --- sending ----------------------------------------------------------------------------------------------------

    async def _send_request(self, message: Message, pending: _Pending) -> int:
        await self._greeted.wait()
        self._last_id += 1
        request_id = self._last_id
        frame = pack_frame(encode_message(message, request_id), self._their_frame_bytes)
        if self._queued or not self._window.fits(len(frame)):
            await self._wait_for_room(len(frame))
        if self.closed.is_set():
            raise LinkError(f"the connection to the {self._other} has ended")
        self._window.open(request_id, len(frame))
        self._pending[request_id] = pending
        self._outbox.put(frame)
        return request_id

    async def _wait_for_room(self, size_bytes: int) -> None:
        if self._queued >= self._config.window_requests:
            raise LinkError(f"{self._queued} requests wait for the {self._other} already", wait_s=1.0)
        self._queued += 1
        try:
            async with self._turn:  # first come, first served: a large one is not overtaken for ever
                while not self.closed.is_set() and not self._window.fits(size_bytes):
                    self._room = anyio.Event()
                    await self._room.wait()
        finally:
            self._queued -= 1

    async def _write_all(self) -> None:
        try:
            self._outbox.put(pack_frame(encode_message(self._hello()), self._config.max_frame_bytes))
            while True:
                frame = await self._outbox.get()
                with anyio.fail_after(self._config.write_s):
                    await self._stream.send(frame)
        except TimeoutError:
            self._fail(LinkError(f"the {self._other} did not read for {self._config.write_s:g} s"))
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            self._fail(LinkError(f"connection to the {self._other} lost: {error}"))

    def _hello(self) -> Hello:
        config = self._config
        return Hello(
            role=self._side.role,
            program=self._program,
            max_frame_bytes=config.max_frame_bytes,
            window_requests=config.window_requests,
            window_bytes=config.window_bytes,
        )

    # --- receiving --------------------------------------------------------------------------------------------------

    async def _carry(self, tasks: anyio.abc.TaskGroup) -> None:
        try:
            with anyio.fail_after(self._config.greet_s):
                early = await self._greet()
            self._greeted.set()
            for payload in early:
                self._take(payload, tasks)
            while payloads := await self._receive():
                for payload in payloads:
                    self._take(payload, tasks)
        except TimeoutError:
            self.failure = LinkError(f"no greeting from the {self._other} within {self._config.greet_s:g} s")
        except PeerwatchError as error:
            self.failure = error

    async def _greet(self) -> list[bytes]:
        payloads = await self._receive()
        if not payloads:
            raise LinkError(f"the {self._other} closed without a greeting")
        hello = self._side.decode(payloads[0])
        if not isinstance(hello, Hello) or hello.role == self._side.role:
            raise DecodeError(f"the {self._other} did not begin with its greeting")
        self._window = Window(hello.window_requests, hello.window_bytes)
        self._their_frame_bytes = hello.max_frame_bytes
        return payloads[1:]

    async def _receive(self) -> list[bytes]:
        """At least one payload; none when the other side has closed. The rest of a frame must come in time."""
        while True:
            try:
                with anyio.fail_after(self._config.write_s if self._reader.in_frame else None):
                    data = await self._stream.receive(_READ_BYTES)
                self._heard_s = anyio.current_time()
            except TimeoutError as error:
                raise LinkError(f"the {self._other} stopped within a frame") from error
            except anyio.EndOfStream:
                if self._reader.in_frame:
                    raise LinkError(f"the {self._other} closed within a frame") from None
                return []
            except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
                raise LinkError(f"connection to the {self._other} lost: {error}") from error
            if payloads := self._reader.feed(data):
                return payloads

    def _take(self, payload: bytes, tasks: anyio.abc.TaskGroup) -> None:
        message = self._side.decode(payload)
        if isinstance(message, _REPLIES):
            self._settle(message)
        elif isinstance(message, _NOTES):
            self._hear(cast(Note, message))
        elif isinstance(message, Hello):
            raise DecodeError(f"the {self._other} greeted twice")
        else:
            self._granted.open(message.id, len(payload))
            tasks.start_soon(self._answer, message)

    def _settle(self, reply: Reply) -> None:
        self._window.settle(reply.id)
        self._room.set()
        pending = self._pending.pop(reply.id, None)
        if pending is not None:
            pending.settle(reply)

    def _hear(self, note: Note) -> None:
        try:
            self._handler.hear(note)
        except Exception:  # one note that we cannot use must not end the connection
            _log.exception("note not taken", kind=type(note).__name__)

    async def _answer(self, request: Message) -> None:
        reply: Reply = Failed(reason=Failure.TIMEOUT, message=f"not done within {self._config.answer_s:g} s")
        with anyio.move_on_after(self._config.answer_s):
            try:
                reply = await self._handler.answer(request)
            except PeerwatchError as error:
                reply = to_failed(error)
            except TimeoutError as error:
                reply = Failed(reason=Failure.TIMEOUT, message=str(error)[:1000])
            except Exception as error:  # a bug of ours: this request fails, the connection stays
                _log.exception("request failed", kind=type(request).__name__)
                reply = Failed(reason=Failure.INTERNAL, message=type(error).__name__)
        try:
            frame = pack_frame(encode_message(reply, request.id), self._their_frame_bytes)
        except DecodeError as error:
            reply = Failed(reason=Failure.INTERNAL, message=f"reply: {error}")
            frame = pack_frame(encode_message(reply, request.id), self._their_frame_bytes)
        # Before it is written: the other side may have read it, and use the room, before our writer runs again.
        self._outbox.put(frame, lambda: self._granted.settle(request.id))

    # --- the end ----------------------------------------------------------------------------------------------------

    def _fail(self, failure: PeerwatchError) -> None:
        self.failure = self.failure or failure
        self.close()

    def _end(self) -> None:
        self.closed.set()
        self._greeted.set()
        self._room.set()
        why = LinkError(f"the connection to the {self._other} has ended: {self.failure or 'closed'}")
        for pending in self._pending.values():
            pending.settle(why)
        self._pending.clear()
