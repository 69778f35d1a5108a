"""Requests, replies and notes between node and main process: bounded, on time, and whole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from peerwatch.errors import DecodeError, LinkError, QuotaError, StoreError
from peerwatch.node.messages import (
    AskStatus,
    Deliver,
    Delivered,
    Done,
    Failed,
    Failure,
    Hello,
    Inbound,
    Message,
    Presence,
    Reply,
)
from tests.node.kit import NOW, PEERS
from tests.node.socket_kit import BACKENDS, MIB, Owner, config, echo, listening, never, pair, raw_main, until

A = PEERS[0]
Story = Callable[[Path], Awaitable[None]]

pytestmark = pytest.mark.parametrize("backend", BACKENDS)


def _run(story: Story, folder: Path, backend: str) -> None:
    async def main() -> None:
        with anyio.fail_after(20):
            await story(folder / "node.sock")

    anyio.run(main, backend=backend)


def _deliver(body: bytes) -> Deliver:
    return Deliver(peer=A, protocol="/peerwatch/push/1", body=body, wait_ms=1000)


def _inbound(body: bytes) -> Inbound:
    return Inbound(peer=A, address="/ip4/192.0.2.1/tcp/1", protocol="/peerwatch/push/1", body=body)


def _presence(n: int) -> Presence:
    return Presence(peer=A, connected=True, direction="inbound", address=f"/ip4/192.0.2.{n}/tcp/1", time_ms=NOW)


def test_both_sides_ask_and_tell(tmp_path: Path, backend: str) -> None:
    """At the same time, over one connection."""

    async def story(path: Path) -> None:
        async with pair(path) as both:
            assert await both.main.request(_deliver(b"out")) == Delivered(id=1, body=b"out")
            assert await both.server.request(_inbound(b"in")) == Delivered(id=1, body=b"in")
            assert await both.main.request(AskStatus()) == Done(id=2)
            both.server.tell(_presence(1))
            await both.main_owner.news.wait()
            assert both.main_owner.heard == [_presence(1)]

    _run(story, tmp_path, backend)


def test_who_says_something_else_is_busy_and_who_is_silent_is_frozen(tmp_path: Path, backend: str) -> None:
    """A node that is busy with a thousand handshakes must not be killed for being late with an answer."""

    async def story(path: Path) -> None:
        async with pair(path, node=never) as both, anyio.create_task_group() as tasks:
            with pytest.raises(LinkError, match="no answer from the node within"):
                await both.main.ask_whether_alive(AskStatus(), 0.3)

            async def tell() -> None:
                await anyio.sleep(0.1)
                both.server.tell(_presence(1))

            tasks.start_soon(tell)
            assert await both.main.ask_whether_alive(AskStatus(), 0.3) is None
        async with pair(path) as both:
            assert await both.main.ask_whether_alive(AskStatus(), 5) == Done(id=1)

    _run(story, tmp_path, backend)


def test_large_messages_pass_whole(tmp_path: Path, backend: str) -> None:
    """Up to the limit of a frame; above it the sender hears so, and nothing is sent."""

    async def story(path: Path) -> None:
        body = bytes(range(256)) * 4000
        async with pair(path) as both:
            assert await both.main.request(_deliver(body)) == Delivered(id=1, body=body)
            with pytest.raises(DecodeError, match="limit 1 to 1048576"):
                await both.main.request(_deliver(bytes(MIB)))
            assert await both.main.request(AskStatus()) == Done(id=3)

    _run(story, tmp_path, backend)


def test_answers_come_in_any_order(tmp_path: Path, backend: str) -> None:
    """A slow request does not hold up the next one."""

    async def story(path: Path) -> None:
        gate = anyio.Event()

        async def node(request: Message) -> Reply:
            if isinstance(request, Deliver) and request.body == b"slow":
                await gate.wait()
            return await echo(request)

        async with pair(path, node) as both, anyio.create_task_group() as tasks:
            answers: list[Reply] = []

            async def ask() -> None:
                answers.append(await both.main.request(_deliver(b"slow")))

            tasks.start_soon(ask)
            await until(lambda: len(both.node_owner.asked) == 1)
            assert await both.main.request(_deliver(b"fast")) == Delivered(id=2, body=b"fast")
            assert answers == []
            gate.set()
            await until(lambda: answers == [Delivered(id=1, body=b"slow")])

    _run(story, tmp_path, backend)


def test_a_full_window_makes_the_sender_wait(tmp_path: Path, backend: str) -> None:
    """No more than 3 are with the node; 3 more wait their turn; the next one is told to come again."""

    async def story(path: Path) -> None:
        gate, done = anyio.Event(), []

        async def node(request: Message) -> Reply:
            await gate.wait()
            return await echo(request)

        async with pair(path, node) as both, anyio.create_task_group() as tasks:

            async def ask(n: int) -> None:
                done.append(await both.main.request(_deliver(bytes([n]))))

            for n in range(6):
                tasks.start_soon(ask, n)
            await until(lambda: len(both.node_owner.asked) == 3)
            await anyio.wait_all_tasks_blocked()
            assert len(both.node_owner.asked) == 3
            with pytest.raises(LinkError, match="3 requests wait for the node already") as caught:
                await both.main.request(_deliver(b"!"))
            assert caught.value.wait_s == 1.0
            gate.set()
            await until(lambda: len(done) == 6)
            bodies = {one.body for one in both.node_owner.asked if isinstance(one, Deliver)}
            assert bodies == {bytes([n]) for n in range(6)}

    _run(story, tmp_path, backend)


def test_a_window_that_stays_full_breaks_nothing(tmp_path: Path, backend: str) -> None:
    """Both sides keep it full for a while: who keeps to his window is never taken for one who does not."""

    async def story(path: Path) -> None:
        async with pair(path) as both:

            async def ask(n: int) -> None:
                for k in range(60):
                    body = bytes([n, k]) * 50
                    assert isinstance(await both.main.request(_deliver(body)), Delivered)
                    assert isinstance(await both.server.request(_inbound(body)), Delivered)

            async with anyio.create_task_group() as tasks:
                for n in range(6):
                    tasks.start_soon(ask, n)
            assert both.main.failure is None and not both.main.closed.is_set()

    _run(story, tmp_path, backend)


def test_bytes_count_too(tmp_path: Path, backend: str) -> None:
    """Two requests of 0.9 MB fill a window of 2 MB."""

    async def story(path: Path) -> None:
        gate = anyio.Event()

        async def node(request: Message) -> Reply:
            await gate.wait()
            return Done()

        async with pair(path, node) as both, anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(both.main.request, _deliver(bytes(900_000)))
            await until(lambda: len(both.node_owner.asked) == 2)
            await anyio.wait_all_tasks_blocked()
            assert len(both.node_owner.asked) == 2
            gate.set()

    _run(story, tmp_path, backend)


def test_whoever_passes_the_window_is_cut_off(tmp_path: Path, backend: str) -> None:
    """The node does not keep for it what it was not granted."""

    async def story(path: Path) -> None:
        async with pair(path, never) as both, raw_main(path) as raw:
            await raw.greet()
            for n in range(4):
                await raw.say(AskStatus(), n + 1)
            await raw.until_closed()
            assert len(both.node_owner.asked) == 3

    _run(story, tmp_path, backend)


def test_a_deadline_passes_and_the_connection_stays(tmp_path: Path, backend: str) -> None:
    """The late answer is nobody's, and its place in the window is free again."""

    async def story(path: Path) -> None:
        gate = anyio.Event()

        async def node(request: Message) -> Reply:
            if isinstance(request, Deliver):
                await gate.wait()
            return Done()

        async with pair(path, node) as both:
            for _ in range(3):
                with pytest.raises(LinkError, match=r"Deliver: no answer from the node within 0\.01 s"):
                    await both.main.request(_deliver(b""), within_s=0.01)
            with pytest.raises(LinkError, match="AskStatus: no answer"):  # the window is full of what is not answered
                await both.main.request(AskStatus(), within_s=0.01)
            gate.set()
            assert isinstance(await both.main.request(AskStatus()), Done)

    _run(story, tmp_path, backend)


def test_a_node_answers_in_time_that_its_owner_does_not(tmp_path: Path, backend: str) -> None:
    """With a failure, so that no request stays open for ever."""

    async def story(path: Path) -> None:
        async with pair(path, never, settings=config(answer_s=0.02)) as both:
            with pytest.raises(LinkError, match=r"timeout: not done within 0\.02 s"):
                await both.main.request(AskStatus(), within_s=5.0)

    _run(story, tmp_path, backend)


@pytest.mark.parametrize("after", range(4))
def test_cancelling_a_request_at_any_point_harms_no_other(tmp_path: Path, backend: str, after: int) -> None:
    """Before it is sent, on its way, at the node, or answered already."""

    async def story(path: Path) -> None:
        async with pair(path) as both, anyio.create_task_group() as tasks:
            scope = anyio.CancelScope()

            async def ask() -> None:
                with scope:
                    for n in range(100):
                        await both.main.request(_deliver(bytes([n]) * 1000))

            tasks.start_soon(ask)
            for _ in range(after):
                await anyio.lowlevel.checkpoint()
            scope.cancel()
            for n in range(10):
                assert isinstance(await both.main.request(_deliver(bytes([n]))), Delivered)

    _run(story, tmp_path, backend)


@pytest.mark.parametrize(
    ("raised", "expected", "words"),
    [
        (LinkError("no route"), LinkError, "unreachable: no route"),
        (LinkError("full", 2.5), LinkError, "busy: full"),
        (DecodeError("what?"), DecodeError, "malformed: what?"),
        (QuotaError("banned"), QuotaError, "denied: banned"),
        (QuotaError("slow down", 1.0), LinkError, "busy: slow down"),
        (StoreError("disk"), LinkError, "internal: disk"),
        (TimeoutError("late"), LinkError, "timeout: late"),
        (KeyError("bug"), LinkError, "internal: KeyError"),
    ],
)
def test_failures_keep_their_meaning(
    tmp_path: Path, backend: str, raised: Exception, expected: type[Exception], words: str
) -> None:
    """Who may try again, after how long, and who may not."""

    async def story(path: Path) -> None:
        async def node(request: Message) -> Reply:
            raise raised

        async with pair(path, node) as both:
            for _ in range(2):
                with pytest.raises(expected, match=words) as caught:
                    await both.main.request(AskStatus())
                assert getattr(caught.value, "wait_s", None) == getattr(raised, "wait_s", None)

    _run(story, tmp_path, backend)


def test_a_reply_that_is_too_large_is_a_failure(tmp_path: Path, backend: str) -> None:
    """Of that request only."""

    async def story(path: Path) -> None:
        async def node(request: Message) -> Reply:
            return Delivered(body=bytes(2 * MIB)) if isinstance(request, Deliver) else Done()

        async with pair(path, node) as both:
            with pytest.raises(LinkError, match=r"internal: reply: frame of .* limit 1 to 1048576"):
                await both.main.request(_deliver(b""))
            assert isinstance(await both.main.request(AskStatus()), Done)

    _run(story, tmp_path, backend)


def test_when_the_node_dies_all_who_wait_hear_it(tmp_path: Path, backend: str) -> None:
    """At once, and later requests too."""

    async def story(path: Path) -> None:
        async with pair(path, never) as both, anyio.create_task_group() as tasks:
            failed: list[str] = []

            async def ask() -> None:
                try:
                    await both.main.request(AskStatus())
                except LinkError as error:
                    failed.append(str(error))

            for _ in range(6):
                tasks.start_soon(ask)
            await until(lambda: len(both.node_owner.asked) == 3)
            async with raw_main(path) as other:  # takes the place: the node closes the first connection
                await other.greet()
                await both.main.closed.wait()
                await until(lambda: len(failed) == 6)
                assert set(failed) <= {
                    "the connection to the node has ended: closed",
                    "the connection to the node has ended",
                }
                with pytest.raises(LinkError, match="has ended"):
                    await both.main.request(AskStatus())
                assert both.main.failure is None

    _run(story, tmp_path, backend)


def test_a_reader_that_stops_loses_notes_not_the_connection(tmp_path: Path, backend: str) -> None:
    """The oldest go, and are counted."""

    async def story(path: Path) -> None:
        async with pair(path) as both:
            for n in range(10):
                both.main.tell(_presence(n))  # what matters here is the queue, not who may say what
            assert both.main.lost_notes == 6
            with pytest.raises(ValueError, match=r"Presence of .* bytes, limit 16384"):
                both.main.tell(Presence(peer="x" * 20_000, connected=True, direction="", address="", time_ms=0))

    _run(story, tmp_path, backend)


def test_a_frozen_main_process_is_left(tmp_path: Path, backend: str) -> None:
    """It does not read: the node keeps nothing more for it."""

    async def story(path: Path) -> None:
        settings = config(write_s=0.05, window_requests=50, window_bytes=64 * MIB)
        async with pair(path, settings=settings) as both, raw_main(path) as frozen, anyio.create_task_group() as tasks:
            await frozen.greet()
            await both.main.closed.wait()
            failed: list[str] = []

            async def ask() -> None:
                try:
                    await both.server.request(_inbound(bytes(500_000)))
                except LinkError as error:
                    failed.append(str(error))

            for _ in range(20):
                tasks.start_soon(ask)
            await until(lambda: len(failed) == 20)
            assert any("did not read for 0.05 s" in words for words in failed)
            await until(lambda: not both.server.connected)

    _run(story, tmp_path, backend)


@pytest.mark.parametrize(
    ("junk", "words"),
    [
        (b"\x00\x00\x00\x00", "frame of 0 bytes"),
        (b"GET / HTTP/1.1\r\n\r\n", "frame of 1195725856 bytes, limit 1 to 1048576"),
        (b"\x00\x00\x00\x01\xc1", "message of 1 bytes"),
    ],
)
def test_junk_ends_the_connection_not_the_node(
    tmp_path: Path, backend: str, junk: bytes, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before and after the greeting; the next main process is served."""

    async def story(path: Path) -> None:
        async with pair(path) as both:
            async with raw_main(path) as raw:
                await raw.stream.send(junk)
                await raw.until_closed()
            assert isinstance(await both.main.request(AskStatus()), Done)
            async with raw_main(path) as raw:
                await raw.greet()
                await raw.stream.send(junk)
                await raw.until_closed()
            async with raw_main(path) as raw:
                await raw.greet()
                await raw.say(AskStatus(), 9)
                assert isinstance(await raw.next(), Hello)
                assert await raw.next() == Done(id=9)

    _run(story, tmp_path, backend)
    assert words in capsys.readouterr().out


ITSELF = Hello(role="node", program="", max_frame_bytes=1, window_requests=1, window_bytes=1)


@pytest.mark.parametrize("first", [AskStatus(id=1), ITSELF])
def test_the_greeting_comes_first(tmp_path: Path, backend: str, first: Message) -> None:
    """And from the right side."""

    async def story(path: Path) -> None:
        async with pair(path) as both, raw_main(path) as raw:
            await raw.say(first)
            await raw.until_closed()
            assert not both.main.closed.is_set()
            assert both.node_owner.asked == []

    _run(story, tmp_path, backend)


def test_what_nobody_may_say_twice_or_unasked(tmp_path: Path, backend: str) -> None:
    """A second greeting, an answer without a question, an id in use."""

    async def story(path: Path) -> None:
        said: list[list[Message]] = [
            [Hello(role="main", program="", max_frame_bytes=1, window_requests=1, window_bytes=1)],
            [Done(id=1)],
            [Failed(id=7, reason=Failure.BUSY)],
            [AskStatus(id=1), AskStatus(id=1)],
        ]
        async with pair(path, never):
            for messages in said:
                async with raw_main(path) as raw:
                    await raw.greet()
                    for message in messages:
                        await raw.say(message)
                    await raw.until_closed()

    _run(story, tmp_path, backend)


def test_silence_has_its_deadlines(tmp_path: Path, backend: str) -> None:
    """No greeting, and a frame that does not go on."""

    async def story(path: Path) -> None:
        async with listening(path, Owner(echo), config(greet_s=0.05)), raw_main(path) as raw:
            await raw.until_closed()
        async with listening(path, Owner(echo), config(write_s=0.05)), raw_main(path) as raw:
            await raw.greet()
            await raw.stream.send(b"\x00\x00\x00\x09half")
            await raw.until_closed()

    _run(story, tmp_path, backend)


def test_a_note_that_cannot_be_used_costs_nothing_else(tmp_path: Path, backend: str) -> None:
    """It is logged, and the connection stays."""

    async def story(path: Path) -> None:
        async with pair(path) as both:

            def fails(note: object) -> None:
                both.main_owner.news.set()
                raise KeyError("bug")

            both.main_owner.hear = fails  # type: ignore[method-assign]
            both.server.tell(_presence(1))
            await both.main_owner.news.wait()
            assert isinstance(await both.main.request(AskStatus()), Done)

    _run(story, tmp_path, backend)
