// Session: the one owner of what the page shows. Components read it and call its few verbs.

import { Columns } from "./columns";
import { Connection } from "./connection";
import { START, type StreamState } from "./stream";
import { getJson, HubError } from "./wire";
import type { Fleet, FleetRow, Hello, History, Meta, Panel, Point, Tick, Value } from "./wire";

const DEFAULT_RANGE = "15m";
const CAPACITY = 2000; // points per chart; the longest history has 361, a live day at 5 s is trimmed by its range
const META_RETRY_MS = 2000;

class Session {
  meta = $state.raw<Meta | null>(null);
  instance = $state("");
  range = $state(DEFAULT_RANGE);
  stream = $state.raw<StreamState>(START);
  fleet = $state.raw<Fleet | null>(null);
  tiles = $state.raw<Record<string, Value>>({});
  errors = $state.raw<Record<string, string>>({});
  hiddenCounts = $state.raw<Record<string, number>>({});
  /** What went wrong with the hub as a whole; empty when nothing did. */
  trouble = $state("");
  /** False until the first history is there: charts show their empty frame instead of "no data". */
  loaded = $state(false);
  /** Counts changes of `columns`, which is not reactive itself: it changes in place, and often. */
  revision = $state(0);
  /** The hub's time now, in ms; moves every second, also between ticks. */
  nowMs = $state(0);
  lastSampleMs = $state<number | null>(null);
  delayMs = $state<number | null>(null);

  readonly columns = new Columns(CAPACITY);
  private connection: Connection | null = null;
  private fetching: AbortController | null = null;
  private waiting: Tick[] | null = null;
  private hubAheadMs = 0;

  get panels(): Panel[] {
    return this.meta?.panels.filter((panel) => panel.kind !== "tiles") ?? [];
  }

  get tilePanel(): Panel | null {
    return this.meta?.panels.find((panel) => panel.kind === "tiles") ?? null;
  }

  get rangeMs(): number {
    return this.meta?.ranges.find((range) => range.id === this.range)?.length_ms ?? 900_000;
  }

  get row(): FleetRow | null {
    return this.fleet?.rows.find((row) => row[0] === this.instance) ?? null;
  }

  /** Age of the newest sample, or null when there is none. */
  get ageMs(): number | null {
    return this.lastSampleMs === null ? null : Math.max(0, this.nowMs - this.lastSampleMs);
  }

  /** Read the page's address, learn what there is, and go live. Tries until the hub answers. */
  async start(): Promise<void> {
    window.setInterval(() => this.clock(), 1000);
    const wanted = new URLSearchParams(location.search);
    for (;;) {
      try {
        this.meta = await getJson<Meta>("dashboard/panels");
        break;
      } catch (error) {
        this.trouble = explain(error);
        await new Promise((resolve) => window.setTimeout(resolve, META_RETRY_MS));
      }
    }
    this.trouble = "";
    this.heard(this.meta.t);
    this.fleet = this.meta.fleet;
    const range = wanted.get("range") ?? DEFAULT_RANGE;
    this.range = this.meta.ranges.some((known) => known.id === range) ? range : DEFAULT_RANGE;
    this.instance = wanted.get("instance") ?? this.meta.instance;
    this.connect();
  }

  show(instance: string): void {
    if (instance === this.instance) return;
    this.instance = instance;
    this.tiles = {};
    this.loaded = false;
    this.lastSampleMs = null;
    this.delayMs = null;
    this.columns.clear();
    this.remember();
    this.connect();
  }

  span(range: string): void {
    if (range === this.range) return;
    this.range = range;
    this.loaded = false;
    this.columns.clear();
    this.remember();
    this.connect();
  }

  private remember(): void {
    const query = new URLSearchParams({ instance: this.instance, range: this.range });
    history.replaceState(null, "", `?${query}`);
  }

  private connect(): void {
    this.connection?.close();
    this.waiting = null;
    this.fetching?.abort();
    this.revision++;
    this.connection = new Connection(`dashboard/live?${this.query()}`, {
      state: (state) => this.changed(state),
      hello: (hello) => this.hello(hello),
      tick: (tick) => this.tick(tick),
      fleet: (fleet) => this.fleetCame(fleet),
      ping: (t) => this.heard(t),
    });
  }

  private query(): string {
    return new URLSearchParams({ instance: this.instance, range: this.range }).toString();
  }

  private changed(state: StreamState): void {
    this.stream = state;
    if (state.phase === "live") this.trouble = "";
    else if (state.attempt >= 2) void this.diagnose();
  }

  /** An EventSource does not say why it failed; a plain request does. */
  private async diagnose(): Promise<void> {
    try {
      await getJson<Meta>("dashboard/panels");
      this.trouble = "The hub answers, but has no place for another live page. Close one, or wait: this page keeps trying.";
    } catch (error) {
      this.trouble = explain(error);
    }
  }

  private hello(hello: Hello): void {
    this.heard(hello.t);
    if (!hello.resumed && this.instance) void this.fetchHistory();
  }

  private async fetchHistory(): Promise<void> {
    this.fetching?.abort();
    const fetching = new AbortController();
    this.fetching = fetching;
    this.waiting = [];
    try {
      const found = await getJson<History>(`dashboard/history?${this.query()}`, fetching.signal);
      if (fetching.signal.aborted) return;
      this.columns.load(found);
      this.errors = found.errors;
      this.hiddenCounts = found.hidden;
      this.trouble = "";
    } catch (error) {
      if (fetching.signal.aborted) return;
      this.trouble = explain(error); // the live points still come, and fill the charts from now on
    }
    this.loaded = true;
    const waiting = this.waiting ?? [];
    this.waiting = null;
    waiting.forEach((tick) => this.points(tick));
    this.revision++;
  }

  private tick(tick: Tick): void {
    this.heard(tick.t);
    if (tick.tiles.length > 0) this.tiles = flat(tick.tiles);
    this.sampled(tick.t, this.tiles["age"] ?? null);
    if (this.waiting) this.waiting.push(tick);
    else this.points(tick);
    this.revision++;
  }

  private points(tick: Tick): void {
    if (tick.at === undefined) return;
    this.columns.append(tick.at, { ...(tick.panels ?? {}), tiles: tick.tiles });
    this.columns.trim(tick.at - this.rangeMs);
    this.errors = tick.errors ?? {};
  }

  /** `age` is smallest when a sample has just come in: that is how long it took from being taken to being shown. */
  private sampled(t: number, age: Value): void {
    if (age === null) return;
    const sampleMs = t - age * 1000;
    if (this.lastSampleMs === null || sampleMs > this.lastSampleMs + 1) this.delayMs = Math.max(0, age * 1000);
    this.lastSampleMs = sampleMs;
  }

  private fleetCame(fleet: Fleet): void {
    this.fleet = fleet;
    const first = fleet.rows[0];
    if (!this.instance && first) this.show(first[0]);
  }

  private heard(t: number): void {
    this.hubAheadMs = t - Date.now();
    this.nowMs = t;
  }

  private clock(): void {
    if (this.nowMs > 0) this.nowMs = Date.now() + this.hubAheadMs;
  }
}

function flat(points: Point[]): Record<string, Value> {
  return Object.assign({}, ...points) as Record<string, Value>;
}

function explain(error: unknown): string {
  if (error instanceof HubError && (error.status === 401 || error.status === 403)) {
    return "This hub wants a credential. Open the address that it printed at its start, or ask who runs it.";
  }
  if (error instanceof HubError && error.status === 0) {
    return "The hub does not answer. Is it still running? This page keeps trying.";
  }
  return error instanceof Error ? error.message : String(error);
}

export const session = new Session();
