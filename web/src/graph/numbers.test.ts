import { describe, expect, it } from "vitest";
import { axisNumbers, parseNumber, short } from "./numbers";

describe("numbers", () => {
  it("are read as the API spells them", () => {
    expect(["1.5", "+Inf", "-Inf", "NaN", "1e+06"].map(parseNumber)).toEqual([1.5, Infinity, -Infinity, NaN, 1e6]);
  });

  it.each([
    [0, "0"], [1, "1"], [0.99792, "0.99792"], [1234, "1.234 k"], [-2.5e9, "-2.5 G"], [0.00025, "0.00025"], [2e-5, "2e-5"],
    [3e15, "3e+15"], [Infinity, "+Inf"], [-Infinity, "-Inf"], [NaN, "–"], [null, "–"], [123456, "123.46 k"],
  ])("%d is short: %s", (value, text) => expect(short(value)).toBe(text)); // prettier-ignore

  it.each([
    [[1, 1.25, 1.5], 0.25, ["1.00", "1.25", "1.50"]],
    [[0, 1000, 2000], 1000, ["0", "1 k", "2 k"]],
    [[2e9, 2.05e9], 5e7, ["2.00 G", "2.05 G"]],
    [[1795250000, 1795250100], 100, ["1.7952500 G", "1.7952501 G"]],
    [[0, 1e-6, 2e-6], 1e-6, ["0", "1e-6", "2e-6"]],
    [[-0.2, 0, 0.2], 0.2, ["-0.2", "0", "0.2"]],
  ])("on an axis %j can be told apart", (splits, increment, labels) => expect(axisNumbers(splits, increment)).toEqual(labels));
});
