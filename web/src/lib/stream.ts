// The state of the live connection as a pure reducer: events in, state out. connection.ts carries it out.

export type Phase = "connecting" | "live" | "reconnecting" | "stale";

export interface StreamState {
  phase: Phase;
  /** When the last event of any kind came, by the page's clock. */
  heardMs: number;
  /** Failures since the last event. */
  attempt: number;
  /** When to try again; 0 while a connection is open or being opened. */
  retryAtMs: number;
  /** The id to resume from. */
  lastId: string;
}

export type StreamEvent =
  | { type: "opening" }
  | { type: "heard"; nowMs: number; id: string }
  | { type: "failed"; nowMs: number; chance: number }
  | { type: "clock"; nowMs: number };

/** Two heartbeats of 10 s and a bit: one may be late, two are not. */
export const STALE_AFTER_MS = 25_000;
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 15_000;

export const START: StreamState = { phase: "connecting", heardMs: 0, attempt: 0, retryAtMs: 0, lastId: "" };

export function reduce(state: StreamState, event: StreamEvent): StreamState {
  switch (event.type) {
    case "opening":
      return { ...state, phase: state.attempt > 0 ? "reconnecting" : "connecting", retryAtMs: 0 };
    case "heard":
      return { phase: "live", heardMs: event.nowMs, attempt: 0, retryAtMs: 0, lastId: event.id || state.lastId };
    case "failed": {
      const attempt = state.attempt + 1;
      return { ...state, phase: "reconnecting", attempt, retryAtMs: event.nowMs + retryDelay(attempt, event.chance) };
    }
    case "clock": {
      const silent = state.phase === "live" && event.nowMs - state.heardMs > STALE_AFTER_MS;
      return silent ? { ...state, phase: "stale" } : state;
    }
  }
}

/** Doubling, capped, with up to half of it taken off by chance, so that pages do not return all at once. */
export function retryDelay(attempt: number, chance: number): number {
  const full = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(attempt, 10));
  return Math.round(full * (1 - chance / 2));
}
