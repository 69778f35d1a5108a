"""QueryLane: the questions of dashboards, answered for a server's fast lane: callbacks and a thread, no task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from email.utils import formatdate
from functools import partial

from peerwatch.errors import PeerwatchError
from peerwatch.query.encoding import Encoded, encoded
from peerwatch.query.endpoint import QUEUE_TIMEOUT, Work, form_of
from peerwatch.query.limits import QueryTimeoutError
from peerwatch.query.parameters import Form, instant_request, range_request, series_request
from peerwatch.query.prometheus import PrometheusApi, error_of
from peerwatch.query.render import failure
from peerwatch.query.threads import Threads
from peerwatch.query.turns import LONG_S, Turns
from peerwatch.serve.fast_lane import Answerer, Leave, Respond
from peerwatch.serve.question import Question
from peerwatch.telemetry import get_logger

Prepare = Callable[[Form], Work]
_Answer = tuple[int, Encoded]

_log = get_logger("query.lane")


class QueryLane:
    """The same answers as the routes of `query.api`, in the same turns, with the same limits.

    Work starts in its turn, in a thread of its own, and is told when the client goes away; who waits for too long is
    answered so. `close` waits for what still runs.
    """

    def __init__(self, api: PrometheusApi, turns: Turns) -> None:
        self._api = api
        self._turns = turns
        self._wait_s = api.engine.options.limits.timeout_s
        self._threads = Threads("query")

    def answerers(self, prefix: str = "/api/v1") -> dict[str, Answerer]:
        """What is answered, by path."""
        api = self._api
        table: dict[str, Prepare] = {
            "/query": lambda form: partial(api.query, instant_request(form, api.now_ms)),
            "/query_range": lambda form: partial(api.query_range, range_request(form)),
            "/labels": lambda form: lambda _: api.labels(series_request(form)),
            "/series": lambda form: lambda _: api.series(series_request(form, needs_match=True)),
        }
        return {prefix + path: partial(self._take, prepare) for path, prepare in table.items()}

    def close(self) -> None:
        """Wait for what still runs; call when no question can come any more."""
        self._threads.close()

    def _take(self, prepare: Prepare, question: Question, body: bytes, respond: Respond) -> Leave:
        form = body if question.method == "POST" else b""
        accepted = question.accept_encoding.decode("latin-1")
        run = _Run(partial(_answer, prepare, question.query, form, accepted), respond, self._threads)
        run.wait(self._turns, self._wait_s)
        return run.leave


class _Run:
    """One question on its way to its answer. Owned by its connection; all but `_work` runs in the event loop."""

    def __init__(self, answer: Callable[[_Run], _Answer], respond: Respond, threads: Threads) -> None:
        self._answer = answer
        self._respond = respond
        self._threads = threads
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._gone = False

    def is_set(self) -> bool:
        """The client has left (see Cancellation)."""
        return self._gone

    def wait(self, turns: Turns, wait_s: float) -> None:
        """Start when the turn has come, or answer that it did not."""
        self._turn = turns.ask(self._go)
        if not self._turn.has_come:
            self._timer = self._loop.call_later(wait_s, self._give_up)

    def leave(self) -> None:
        """The client has left."""
        self._gone = True
        if not self._turn.has_come:
            self._end()

    def _go(self) -> None:
        self._cancel_timer()
        self._timer = self._loop.call_later(LONG_S, self._settle)
        self._threads.run(self._work)

    def _settle(self) -> None:
        self._turn.settle()

    def _work(self) -> None:
        answer = self._answer(self)
        self._loop.call_soon_threadsafe(self._worked, answer)

    def _worked(self, answer: _Answer) -> None:
        self._threads.done()
        self._finish(answer)

    def _finish(self, answer: _Answer) -> None:
        self._end()
        status, content = answer
        fields = [("content-type", "application/json"), ("date", formatdate(usegmt=True)), *content.headers]
        self._respond(status, "".join(f"{name}: {value}\r\n" for name, value in fields).encode(), content.body)

    def _give_up(self) -> None:
        self._finish(_failed(QueryTimeoutError(QUEUE_TIMEOUT)))

    def _end(self) -> None:
        self._cancel_timer()
        self._turn.give_back()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _answer(prepare: Prepare, query: bytes, body: bytes, accepted: str, cancelled: _Run) -> _Answer:
    try:
        return 200, encoded(prepare(form_of(query, body))(cancelled), accepted)
    except PeerwatchError as error:
        return _failed(error)
    except Exception as error:  # a bug that one query brings out must not leave its client without an answer
        _log.exception("query failed")
        return 500, Encoded(failure("internal", f"internal error: {type(error).__name__}"))


def _failed(error: PeerwatchError) -> _Answer:
    status, kind = error_of(error)
    return status, Encoded(failure(kind, str(error)))
