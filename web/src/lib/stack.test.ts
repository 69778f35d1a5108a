import { describe, expect, it } from "vitest";
import type { SeriesMap } from "./columns";
import { calmTop, shapes, visibleKeys } from "./stack";
import type { Kind, Panel } from "./wire";

function panel(kind: Kind): Panel {
  const query = (legend: string, down: boolean) => ({ legend, expr: "", down });
  return { id: "p", title: "", unit: "percent", kind, top: null, empty: "", note: "", queries: [query("{a}", false), query("{b}", true)] };
}

const drawn = (kind: Kind, series: SeriesMap, hidden: string[] = []) =>
  shapes(panel(kind), series, [...series.keys()], new Set(hidden)).map((shape) => shape.drawn);

describe("shapes", () => {
  const series: SeriesMap = new Map([
    ["0:a", [1, null, 3, null]],
    ["1:b", [10, 20, null, null]],
  ]);

  it("stack each series on the ones before; a hole is where none has a value", () => {
    expect(drawn("stack", series)).toEqual([[1, 0, 3, null], [11, 20, 3, null]]);
  });

  it("take a hidden series out of the stack", () => {
    expect(drawn("stack", series, ["0:a"])).toEqual([[1, null, 3, null], [10, 20, null, null]]);
  });

  it("draw what goes down below the axis, and keep its value for the legend", () => {
    expect(drawn("mirror", series)).toEqual([[1, null, 3, null], [-10, -20, null, null]]);
    expect(shapes(panel("mirror"), series, ["1:b"], new Set())[0]?.raw).toEqual([10, 20, null, null]);
  });
});

describe("visible series", () => {
  it("leave out of a stack what is always zero, and everywhere what has no value", () => {
    const series: SeriesMap = new Map([["0:zero", [0, 0]], ["0:none", [null, null]], ["0:some", [0, 1]]]);
    expect(visibleKeys(panel("stack"), series)).toEqual(["0:some"]);
    expect(visibleKeys(panel("line"), series)).toEqual(["0:some", "0:zero"]);
  });

  it("stay when all of them are zero: an idle machine has a chart too", () => {
    expect(visibleKeys(panel("stack"), new Map([["0:a", [0, 0]]]))).toEqual(["0:a"]);
    expect(visibleKeys(panel("stack"), undefined)).toEqual([]);
  });

  it("come in an order that everyone knows, then by name, numbers by size", () => {
    const series: SeriesMap = new Map(["0:disk10", "0:disk9", "0:iowait", "0:user", "1:disk1"].map((key) => [key, [1]]));
    expect(visibleKeys(panel("stack"), series)).toEqual(["0:user", "0:iowait", "0:disk9", "0:disk10", "1:disk1"]);
  });
});

describe("the top of an axis", () => {
  it("is a calm number that is never below the data", () => {
    expect([0, 3, 5, 31, 60, 77, 130].map((peak) => calmTop(peak, "percent"))).toEqual([10, 5, 5, 40, 60, 80, 130]);
    expect([0, 0.2, 1.4].map((peak) => calmTop(peak, "seconds"))).toEqual([1, 1, 1.5]);
    for (let peak = 0.001; peak < 1e15; peak *= 1.37) {
      for (const unit of ["number", "bytes", "bytes_per_second", "connections"]) {
        const top = calmTop(peak, unit);
        expect(top).toBeGreaterThanOrEqual(peak * 0.999999);
        expect(top).toBeLessThanOrEqual(peak * 2.5);
      }
    }
  });
});
