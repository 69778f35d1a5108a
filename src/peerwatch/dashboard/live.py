"""Live: one evaluation per tick, however many people look."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import anyio

from peerwatch.dashboard.config import Config
from peerwatch.dashboard.evaluation import Evaluator, TickEvaluation
from peerwatch.dashboard.fleet_list import FleetList, fleet_list
from peerwatch.dashboard.mailbox import Mailbox
from peerwatch.dashboard.panels import PANELS, TILES
from peerwatch.dashboard.query_client import QueryClient
from peerwatch.dashboard.sse import EventId, event
from peerwatch.dashboard.timespan import NOW
from peerwatch.dashboard.topic import Topic, TopicKey
from peerwatch.errors import QuotaError
from peerwatch.model import Clock
from peerwatch.telemetry import CollectorRegistry, Counter, Gauge


@dataclass(frozen=True, slots=True)
class Subscription:
    """A client's place in the stream. `replay` comes before the mailbox; `resumed` claims that nothing is missing."""

    mailbox: Mailbox
    replay: list[bytes]
    resumed: bool


class Live:
    """The tick loop and its subscriptions. `run` it in a task group; when that ends, every stream ends.

    Bounds: `max_clients` streams, `max_topics` topics, `resume_ticks` ticks for each. A topic without clients goes on
    for `linger_s`. Every tick is self-contained: a client that misses one misses one point of its charts.
    """

    def __init__(
        self, config: Config, client: QueryClient, clock: Clock, registry: CollectorRegistry, *, boot: str
    ) -> None:
        self.config = config
        self.evaluator = Evaluator(config, client, registry)
        self._clock = clock
        self._boot = boot
        self._seq = 0
        self._topics: dict[TopicKey, Topic] = {}
        self._fleet_message = b""
        self._fleet_sent_s = float("-inf")
        self._fleet_rows = 0
        self._wake = anyio.Event()
        self._closed = False
        self._clients = Gauge("peerwatch_dashboard_clients", "Open live streams.", registry=registry)
        self._refused = Counter(
            "peerwatch_dashboard_refused_clients_total", "Live streams refused at the limit.", registry=registry
        )
        self._ticks = Counter("peerwatch_dashboard_ticks_total", "Evaluations of the live stream.", registry=registry)
        self._dropped = Counter(
            "peerwatch_dashboard_dropped_messages_total",
            "Messages that slow clients did not take in time.",
            registry=registry,
        )

    @property
    def client_count(self) -> int:
        """How many streams are open."""
        return sum(len(topic.mailboxes) for topic in self._topics.values())

    @contextmanager
    def subscribe(self, key: TopicKey, last: EventId | None = None) -> Iterator[Subscription]:
        """A place in the stream of `key` for as long as the context lasts. Raises QuotaError at `max_clients`."""
        if self._closed or self.client_count >= self.config.max_clients:
            self._refused.inc()
            raise QuotaError(f"{self.client_count} live streams open, limit {self.config.max_clients}", wait_s=5.0)
        topic = self._topics.get(key) or self._open(key)
        missed = topic.since(last) if last is not None and last.boot == self._boot else None
        mailbox = Mailbox(self.config.queue_messages)
        if self._fleet_message:
            mailbox.put(self._fleet_message)
        topic.mailboxes.add(mailbox)
        topic.idle_since_s = None
        self._clients.set(self.client_count)
        self._wake.set()
        try:
            yield Subscription(mailbox, missed or [], missed is not None)
        finally:
            topic.mailboxes.discard(mailbox)
            if not topic.mailboxes:
                topic.idle_since_s = self._clock.monotonic_s()
            self._clients.set(self.client_count)

    async def run(self) -> None:
        """Evaluate and publish until cancelled; then end every stream."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch)
                while True:
                    await self._due()
                    await self.tick()
                    await anyio.sleep(self.config.min_tick_s)
        finally:
            self._closed = True
            for topic in self._topics.values():
                for mailbox in topic.mailboxes:
                    mailbox.close()

    async def _watch(self) -> None:
        version = 0
        while True:
            version = await self.evaluator.client.changed(version)
            self._wake.set()

    async def _due(self) -> None:
        with anyio.move_on_after(self.config.max_quiet_s):
            await self._wake.wait()
        self._wake = anyio.Event()

    async def tick(self) -> None:
        """Evaluate every topic once, now, and hand the results out."""
        self._end_idle()
        if not self._topics:
            self._fleet_message = b""  # nobody looked: it would be old news
            return
        self._ticks.inc()
        evaluation = TickEvaluation(self.evaluator, self._clock.now_ms())
        for topic in list(self._topics.values()):
            if topic.key.instance:
                await self._publish(topic, evaluation)
        await self._publish_fleet(evaluation)

    async def _publish(self, topic: Topic, evaluation: TickEvaluation) -> None:
        message = await self._message(topic, evaluation)
        self._seq += 1
        lost = topic.publish(self._seq, event("tick", message, str(EventId(self._boot, self._seq))))
        self._dropped.inc(lost)

    async def _message(self, topic: Topic, evaluation: TickEvaluation) -> dict[str, object]:
        key = topic.key
        tiles = await evaluation.panel(TILES, NOW, key.instance, evaluation.now_ms)
        message: dict[str, object] = {"t": evaluation.now_ms, "tiles": tiles.points}
        if tiles.error:
            message["error"] = tiles.error
        point_ms = key.span.next_point_ms(evaluation.now_ms, topic.last_point_ms)
        if point_ms is None:
            return message
        topic.last_point_ms = point_ms
        found = {panel.id: await evaluation.panel(panel, key.span, key.instance, point_ms) for panel in PANELS}
        message["at"] = point_ms
        message["panels"] = {name: panel.points for name, panel in found.items() if not panel.error}
        errors = {name: panel.error for name, panel in found.items() if panel.error}
        if errors:
            message["errors"] = errors
        return message

    async def _publish_fleet(self, evaluation: TickEvaluation) -> None:
        elapsed_s = self._clock.monotonic_s() - self._fleet_sent_s
        if self._fleet_rows > self.config.short_fleet and elapsed_s < self.config.fleet_every_s:
            return
        fleet: FleetList = await fleet_list(evaluation)
        self._fleet_sent_s = self._clock.monotonic_s()
        self._fleet_rows = len(fleet.rows)
        self._fleet_message = event("fleet", fleet)
        for topic in self._topics.values():
            self._dropped.inc(sum(not mailbox.put(self._fleet_message) for mailbox in topic.mailboxes))

    def _open(self, key: TopicKey) -> Topic:
        if len(self._topics) >= self.config.max_topics:
            self._end_longest_idle()
        _, last_point_ms = key.span.grid(self._clock.now_ms())
        topic = self._topics[key] = Topic(key, self.config.resume_ticks, last_point_ms)
        return topic

    def _end_idle(self) -> None:
        now_s = self._clock.monotonic_s()
        for key, topic in list(self._topics.items()):
            if topic.idle_since_s is not None and now_s - topic.idle_since_s >= self.config.linger_s:
                del self._topics[key]

    def _end_longest_idle(self) -> None:
        idle = [(topic.idle_since_s, key) for key, topic in self._topics.items() if topic.idle_since_s is not None]
        if not idle:
            raise QuotaError(f"{len(self._topics)} topics in use, limit {self.config.max_topics}", wait_s=5.0)
        del self._topics[min(idle, key=lambda pair: pair[0])[1]]
