import { describe, expect, it } from "vitest";
import { explained } from "./empty";
import { selectorsOf } from "./promql";

describe("an empty result", () => {
  it("names the selectors that match nothing", () => {
    expect(explained(["up", 'x{a="b"}'], [true, false])).toEqual([
      'Nothing stored matches x{a="b"}. Look at the metric\'s name and its labels.',
    ]);
  });

  it("points at time and operators when everything is stored", () => {
    expect(explained(["up"], [true])[0]).toMatch(/^up has series, so it is the time or what is done with them/);
    expect(explained(["up", "down"], [true, true])[0]).toMatch(/^Every selector has series/);
    expect(explained([], [])).toEqual(["The expression reads no series."]);
  });

  it("is looked for in the selectors as they are written, each once", () => {
    const expr = 'sum(rate(a{x="1"}[5m] offset 1h)) / on(i) ({__name__=~"b.+"} @ 5 > a{x="1"}) or c and vector(1)';
    expect(selectorsOf(expr)).toEqual(['a{x="1"}', '{__name__=~"b.+"}', "c"]);
    expect(selectorsOf("1 + 2")).toEqual([]);
  });
});
