import { describe, expect, it } from "vitest";
import { parseDuration } from "./duration";
import { autoStepMs } from "./step";

describe("the automatic step", () => {
  it.each([["5m", 1], ["15m", 5], ["1h", 15], ["6h", 120], ["12h", 300], ["1d", 300], ["7d", 3600], ["30d", 14_400], ["1y", 172_800]])(
    "over %s is a number that people use: %d s", (range, seconds) => expect(autoStepMs(parseDuration(range)!)).toBe(seconds * 1000),
  ); // prettier-ignore

  it("keeps every graph far below the 11,000 points that a query may have, and above nothing", () => {
    for (let range = 1000; range < 1e13; range = range * 1.7 + 13) {
      const points = range / autoStepMs(range);
      expect(points).toBeLessThanOrEqual(300);
      expect(autoStepMs(range)).toBeGreaterThanOrEqual(1000);
    }
  });
});
