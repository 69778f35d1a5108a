import { describe, expect, it } from "vitest";
import { axisLabels, moment, quantity, text, timeLabels } from "./format";

describe("quantity", () => {
  it("keeps three digits, so that a changing number keeps its width", () => {
    expect([0.5, 9.994, 9.996, 41.9588, 99.94, 99.96, 100].map((value) => quantity(value, "percent").number)).toEqual([
      "0.50", "9.99", "10.0", "42.0", "99.9", "100", "100",
    ]); // prettier-ignore
  });

  it("goes to the next binary unit before a fourth digit appears", () => {
    expect([0, 999, 1000, 1024 ** 2, 34_359_738_368, -5 * 1024 ** 3].map((value) => text(value, "bytes"))).toEqual([
      "0\u202fB", "999\u202fB", "0.98\u202fKiB", "1.00\u202fMiB", "32.0\u202fGiB", "-5.00\u202fGiB",
    ]); // prettier-ignore
    expect(text(35.5 * 1024 ** 2, "bytes_per_second")).toBe("35.5\u202fMiB/s");
    expect(text(2 ** 70, "bytes")).toBe("1048576\u202fPiB");
  });

  it("says durations in the unit that fits", () => {
    expect([0.0000021, 0.42, 2.5, 3, 61, 600, 9000, 50_000, 1_234_567].map((value) => text(value, "seconds"))).toEqual([
      "2\u202fµs", "420\u202fms", "2.5\u202fs", "3\u202fs", "61\u202fs", "10\u202fmin", "2.5\u202fh", "14\u202fh", "14\u202fd",
    ]); // prettier-ignore
  });

  it("counts connections in whole ones", () => {
    expect(text(12_345.6, "connections")).toBe("12,346");
    expect(text(1.8649, "number")).toBe("1.86");
  });

  it("shows a dash where there is no number", () => {
    expect([null, undefined, Number.NaN, Number.POSITIVE_INFINITY].map((value) => text(value, "percent"))).toEqual(["–", "–", "–", "–"]);
  });
});

describe("axis labels", () => {
  it("are all in the unit of the largest, without signs", () => {
    const mib = 1024 ** 2;
    expect(axisLabels([-32 * mib, 0, 0.5 * mib, 32 * mib], "bytes_per_second")).toEqual(["32 MiB/s", "0", "0.5 MiB/s", "32 MiB/s"]);
    expect(axisLabels([0, 8 * 1024 ** 3, 16 * 1024 ** 3], "bytes")).toEqual(["0", "8 GiB", "16 GiB"]);
    expect(axisLabels([0, 20, 40], "percent")).toEqual(["0", "20 %", "40 %"]);
    expect(axisLabels([0], "bytes")).toEqual(["0"]);
  });

  it("show seconds only on a fine grid, and the day at midnight", () => {
    const at = (hours: number, minutes: number, seconds: number): number => new Date(2026, 2, 4, hours, minutes, seconds).getTime() / 1000;
    expect(timeLabels([at(9, 5, 30)], 30)).toEqual(["09:05:30"]);
    expect(timeLabels([at(0, 0, 0), at(9, 5, 0)], 300)).toEqual(["Wed 4", "09:05"]);
    expect(moment(at(9, 5, 7), false)).toBe("09:05:07");
    expect(moment(at(9, 5, 7), true)).toBe("Wed 4 09:05:07");
  });
});
