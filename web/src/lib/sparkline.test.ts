import { describe, expect, it } from "vitest";
import { sparkline } from "./sparkline";

describe("sparkline", () => {
  it("spans the box from the oldest to the newest value", () => {
    expect(sparkline([0, 5, 10], true).line).toBe("M0.00 22.00L50.00 12.00L100.00 2.00");
  });

  it("breaks at a hole", () => {
    expect(sparkline([0, 1, null, 1, 0], true).line.split("M").length - 1).toBe(2);
  });

  it("is empty while there is nothing to compare", () => {
    expect(sparkline([], true)).toEqual({ line: "", area: "" });
    expect(sparkline([null, 3], true)).toEqual({ line: "", area: "" });
  });

  it("draws at most about as many points as a tile has pixels", () => {
    const line = sparkline(Array.from({ length: 5000 }, (_, i) => i), true).line; // prettier-ignore
    expect(line.split("L").length).toBeLessThanOrEqual(121);
  });
});
