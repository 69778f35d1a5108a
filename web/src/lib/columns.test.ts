import { describe, expect, it } from "vitest";
import { Columns } from "./columns";
import type { History } from "./wire";

const HISTORY: History = {
  start: 10_000, step: 5_000, count: 3,
  panels: { cpu: [{ user: [1, 2, 3], system: [null, null, 4] }], net: [{ "eth0 rx": [1, 1, 1] }, { "eth0 tx": [2, 2, 2] }] },
  hidden: {}, errors: {},
}; // prettier-ignore

function loaded(capacity = 100): Columns {
  const columns = new Columns(capacity);
  columns.load(HISTORY);
  return columns;
}

function table(columns: Columns): Record<string, unknown> {
  return Object.fromEntries([...columns.panels].map(([panel, series]) => [panel, Object.fromEntries(series)]));
}

describe("columns", () => {
  it("take a history as it is, with the query in the key", () => {
    const columns = loaded();
    expect(columns.times).toEqual([10, 15, 20]);
    expect(table(columns)).toEqual({
      cpu: { "0:user": [1, 2, 3], "0:system": [null, null, 4] },
      net: { "0:eth0 rx": [1, 1, 1], "1:eth0 tx": [2, 2, 2] },
    });
  });

  it("keep every series as long as the time axis, whatever a tick brings", () => {
    const columns = loaded();
    columns.append(25_000, { cpu: [{ user: 5, nice: 1 }] });
    expect(columns.times).toEqual([10, 15, 20, 25]);
    expect(table(columns)).toEqual({
      cpu: { "0:user": [1, 2, 3, 5], "0:system": [null, null, 4, null], "0:nice": [null, null, null, 1] },
      net: { "0:eth0 rx": [1, 1, 1, null], "1:eth0 tx": [2, 2, 2, null] },
    });
  });

  it("ignore a point that is not newer: a replay may repeat one", () => {
    const columns = loaded();
    expect(columns.append(20_000, { cpu: [{ user: 9 }] })).toBe(false);
    expect(columns.append(19_000, { cpu: [{ user: 9 }] })).toBe(false);
    expect(columns.times).toEqual([10, 15, 20]);
  });

  it("show a long silence as a hole and not as a straight line", () => {
    const columns = loaded();
    columns.append(60_000, { cpu: [{ user: 7 }] });
    expect(columns.times).toEqual([10, 15, 20, 25, 60]);
    expect(columns.panels.get("cpu")?.get("0:user")).toEqual([1, 2, 3, null, 7]);
  });

  it("forget what is older than the range, except one point that reaches the edge", () => {
    const columns = loaded();
    columns.trim(16_000);
    expect(columns.times).toEqual([15, 20]);
    expect(columns.panels.get("cpu")?.get("0:user")).toEqual([2, 3]);
  });

  it("forget a series that has no value left", () => {
    const columns = loaded();
    for (let i = 1; i <= 3; i++) columns.append(20_000 + i * 5_000, { cpu: [{ user: i }] });
    columns.trim(30_000);
    expect([...columns.panels.get("cpu")!.keys()]).toEqual(["0:user"]);
    expect([...columns.panels.get("net")!.keys()]).toEqual([]);
  });

  it("never hold more than their capacity; the oldest go first", () => {
    const columns = loaded(4);
    for (let i = 1; i <= 50; i++) {
      columns.append(20_000 + i * 1_000, { cpu: [{ user: i }] });
      columns.trim(0);
      expect(columns.times.length).toBeLessThanOrEqual(4);
    }
    expect(columns.times).toEqual([67, 68, 69, 70]);
    expect(columns.panels.get("cpu")?.get("0:user")).toEqual([47, 48, 49, 50]);
  });

  it("take only the newest points of a history that is too long", () => {
    const columns = loaded(2);
    expect(columns.times).toEqual([15, 20]);
    expect(columns.panels.get("cpu")?.get("0:user")).toEqual([2, 3]);
  });

  it("know the latest value, but not one that is long over", () => {
    const columns = loaded();
    expect(columns.latest("cpu", "0:user")).toBe(3);
    for (let i = 1; i <= 3; i++) columns.append(20_000 + i * 5_000, { cpu: [{ system: i }] });
    expect(columns.latest("cpu", "0:user")).toBe(null);
    expect(columns.latest("cpu", "0:none")).toBe(null);
  });
});
