// Connection: an EventSource that carries out what the reducer of stream.ts decides.

import { reduce, START, type StreamEvent, type StreamState } from "./stream";
import type { Fleet, Hello, Tick } from "./wire";

export interface Listener {
  state(state: StreamState): void;
  hello(hello: Hello): void;
  tick(tick: Tick): void;
  fleet(fleet: Fleet): void;
  ping(t: number): void;
}

/**
 * One live stream. Reconnecting is ours and not the browser's: a refusal (503) would end the browser's for good.
 * What ends it: `close`.
 */
export class Connection {
  private state: StreamState = START;
  private source: EventSource | null = null;
  private readonly timer: number;

  constructor(
    private readonly path: string,
    private readonly listener: Listener,
  ) {
    this.timer = window.setInterval(() => this.clock(), 500);
    this.open();
  }

  close(): void {
    window.clearInterval(this.timer);
    this.source?.close();
    this.source = null;
  }

  private open(): void {
    this.source?.close();
    this.dispatch({ type: "opening" });
    const last = this.state.lastId ? `&last=${encodeURIComponent(this.state.lastId)}` : "";
    const source = new EventSource(this.path + last);
    this.source = source;
    this.on<Hello>(source, "hello", (data) => this.listener.hello(data));
    this.on<Tick>(source, "tick", (data) => this.listener.tick(data));
    this.on<Fleet>(source, "fleet", (data) => this.listener.fleet(data));
    this.on<{ t: number }>(source, "ping", (data) => this.listener.ping(data.t));
    source.onerror = () => {
      source.close();
      if (this.source !== source) return;
      this.source = null;
      this.dispatch({ type: "failed", nowMs: Date.now(), chance: Math.random() });
    };
  }

  private on<T>(source: EventSource, name: string, deliver: (data: T) => void): void {
    source.addEventListener(name, (event: MessageEvent<string>) => {
      if (this.source !== source) return;
      this.dispatch({ type: "heard", nowMs: Date.now(), id: event.lastEventId });
      deliver(JSON.parse(event.data) as T);
    });
  }

  private clock(): void {
    const nowMs = Date.now();
    this.dispatch({ type: "clock", nowMs });
    const due = this.state.retryAtMs > 0 && nowMs >= this.state.retryAtMs;
    // A stale stream looks open but is dead (a laptop that slept): open a new one rather than wait for TCP.
    if (due) this.open();
    else if (this.state.phase === "stale" && this.source) {
      this.source.close();
      this.source = null;
      this.dispatch({ type: "failed", nowMs, chance: Math.random() });
    }
  }

  private dispatch(event: StreamEvent): void {
    const next = reduce(this.state, event);
    if (next === this.state) return;
    const changed = next.phase !== this.state.phase || next.attempt !== this.state.attempt;
    this.state = next;
    if (changed) this.listener.state(next);
  }
}
