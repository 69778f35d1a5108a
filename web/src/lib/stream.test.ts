import { describe, expect, it } from "vitest";
import { reduce, retryDelay, STALE_AFTER_MS, START, type StreamEvent, type StreamState } from "./stream";

function after(events: StreamEvent[], from: StreamState = START): StreamState {
  return events.reduce(reduce, from);
}

describe("the live connection", () => {
  it("is live from the first event on, and remembers where to resume", () => {
    expect(after([{ type: "opening" }, { type: "heard", nowMs: 5, id: "b-1" }, { type: "heard", nowMs: 9, id: "" }])).toEqual({
      phase: "live", heardMs: 9, attempt: 0, retryAtMs: 0, lastId: "b-1",
    }); // prettier-ignore
  });

  it("reconnects after a failure, later each time, and keeps the id", () => {
    const live = after([{ type: "heard", nowMs: 0, id: "b-7" }]);
    const once = reduce(live, { type: "failed", nowMs: 1000, chance: 0 });
    expect(once).toEqual({ phase: "reconnecting", heardMs: 0, attempt: 1, retryAtMs: 2000, lastId: "b-7" });
    const twice = after([{ type: "opening" }, { type: "failed", nowMs: 2000, chance: 0 }], once);
    expect([twice.attempt, twice.retryAtMs, twice.phase]).toEqual([2, 4000, "reconnecting"]);
  });

  it("starts counting anew once it is live again", () => {
    const failed = after([{ type: "failed", nowMs: 0, chance: 0 }, { type: "failed", nowMs: 0, chance: 0 }]);
    const back = after([{ type: "opening" }, { type: "heard", nowMs: 1, id: "" }], failed);
    expect([back.phase, back.attempt]).toEqual(["live", 0]);
  });

  it("is stale when two heartbeats are missing, and live again with the next event", () => {
    const live = after([{ type: "heard", nowMs: 1000, id: "" }]);
    expect(reduce(live, { type: "clock", nowMs: 1000 + STALE_AFTER_MS })).toBe(live);
    const stale = reduce(live, { type: "clock", nowMs: 1001 + STALE_AFTER_MS });
    expect(stale.phase).toBe("stale");
    expect(reduce(stale, { type: "heard", nowMs: 99_999, id: "" }).phase).toBe("live");
  });

  it("is not stale while it is reconnecting: it knows already", () => {
    const failed = after([{ type: "failed", nowMs: 0, chance: 0 }]);
    expect(reduce(failed, { type: "clock", nowMs: 10 * STALE_AFTER_MS })).toBe(failed);
  });

  it("waits at most 15 s, and by chance down to half of that", () => {
    expect([1, 2, 3, 4, 5, 6, 500].map((attempt) => retryDelay(attempt, 0))).toEqual([1000, 2000, 4000, 8000, 15_000, 15_000, 15_000]);
    expect(retryDelay(500, 1)).toBe(7500);
  });
});
