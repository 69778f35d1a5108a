import { describe, expect, it } from "vitest";
import { bars, distinctNames, gridTimes, isEmpty, lines, MAX_ROW_POINTS, rows, sorted, spelled, type QueryData } from "./answer";

const VECTOR: QueryData = {
  resultType: "vector",
  result: [
    { metric: { __name__: "x", n: "10" }, value: [1, "2"] },
    { metric: { __name__: "x", n: "9" }, value: [1, "NaN"] },
    { metric: { __name__: "x", n: "1" }, value: [1, "-Inf"] },
    { metric: { __name__: "x", n: "2" }, value: [1, "30.10"] },
  ],
};
const GRID = { startMs: 10_000, endMs: 14_000, stepMs: 1000 };

describe("the table", () => {
  it("shows values as the API spells them, in its order", () => {
    expect(sorted(rows(VECTOR), "answer").map((row) => [row.name, row.values])).toEqual([
      ['x{n="10"}', ["2"]], ['x{n="9"}', ["NaN"]], ['x{n="1"}', ["-Inf"]], ['x{n="2"}', ["30.10"]],
    ]); // prettier-ignore
  });

  it.each([
    ["name", ["1", "2", "9", "10"]], ["name down", ["10", "9", "2", "1"]],
    ["value", ["1", "10", "2", "9"]], ["value down", ["2", "10", "1", "9"]],
  ] as const)("can be sorted by %s; what is no number comes last", (order, names) => {
    expect(sorted(rows(VECTOR), order).map((row) => row.metric?.["n"])).toEqual(names);
  }); // prettier-ignore

  it("shows native histograms as pictures, sorted by their counts", () => {
    const histogram = { count: "4", sum: "2.5", buckets: [[1, "-0.5", "-0.25", "1"], [3, "-0.001", "0.001", "3"]] } as const;
    const [row] = rows({ resultType: "vector", result: [{ metric: { __name__: "h" }, histogram: [1, histogram] }] });
    expect([row!.values, row!.number, row!.histogram]).toEqual([[], 4, histogram]);
    expect(bars(histogram).map((bar) => [bar.title, bar.lower, bar.share])).toEqual([
      ["[-0.5, -0.25): 1", "-0.5", 1 / 3], ["[-0.001, 0.001]: 3", "-0.001", 1],
    ]);
    expect(bars({ count: "0", sum: "0" })).toEqual([]);
  }); // prettier-ignore

  it("shows scalars and strings as what they are", () => {
    expect(rows({ resultType: "scalar", result: [1, "42"] })).toEqual([{ metric: null, values: ["42"], times: [], number: 42, name: "scalar", more: 0 }]);
    expect(rows({ resultType: "string", result: [1, "hi"] })[0]).toMatchObject({ metric: null, values: ["hi"], name: "string" });
  });

  it("shows the newest samples of a range with their times, and counts the rest", () => {
    const values = Array.from({ length: MAX_ROW_POINTS + 5 }, (_, i) => [i, String(i)] as const);
    const [row] = rows({ resultType: "matrix", result: [{ metric: {}, values }] });
    expect([row!.more, row!.times[0], row!.values[0], row!.values.length, row!.number]).toEqual([5, 5, "5", MAX_ROW_POINTS, 104]);
  });

  it("stays small however many series have samples", () => {
    const values = Array.from({ length: 200 }, (_, i) => [i, String(i)] as const);
    const result = Array.from({ length: 1000 }, (_, n) => ({ metric: { n: String(n) }, values }));
    expect(rows({ resultType: "matrix", result }).map((row) => row.values.length)).toEqual(Array(1000).fill(10));
  });

  it("says what a native histogram holds", () => {
    const histogram = { count: "5", sum: "18.4" };
    expect(spelled(histogram)).toEqual("count 5, sum 18.4");
    expect(rows({ resultType: "matrix", result: [{ metric: {}, histograms: [[1, histogram]] }] })[0]!.values).toEqual(["count 5, sum 18.4"]);
  });

  it("knows nothing from zero", () => {
    expect(isEmpty({ resultType: "vector", result: [] })).toBe(true);
    expect(isEmpty({ resultType: "scalar", result: [0, "0"] })).toBe(false);
  });
});

describe("the graph", () => {
  it("has one value per point of its grid, and holes where there is no finite number", () => {
    const metric = { n: "1" };
    const [line] = lines([{ metric, values: [[10, "1"], [12.0004, "2.5"], [13, "NaN"], [14, "+Inf"], [99, "7"]] }], GRID); // prettier-ignore
    expect(gridTimes(GRID)).toEqual([10, 11, 12, 13, 14]);
    expect(line).toEqual({ metric, name: '{n="1"}', values: [1, null, 2.5, null, null] });
  });

  it("names lines by what they do not have in common", () => {
    const metrics = [{ __name__: "x", job: "a", n: "1" }, { __name__: "x", job: "a", n: "2" }];
    expect(distinctNames(metrics)).toEqual(['{n="1"}', '{n="2"}']);
    expect(distinctNames([{ __name__: "x", n: "1" }, { __name__: "y" }])).toEqual(['x{n="1"}', "y"]);
    expect(distinctNames([{ __name__: "x", job: "a" }])).toEqual(['x{job="a"}']);
    expect(distinctNames([{ job: "a" }, { job: "a", n: "1" }])).toEqual(['{job="a"}', '{n="1"}']);
    expect(distinctNames([])).toEqual([]);
  });
});
