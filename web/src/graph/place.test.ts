import { describe, expect, it } from "vitest";
import { placeOf } from "./place";

function marked(message: string, query: string): string | null {
  const place = placeOf(message, query);
  return place && `${query.slice(0, place.from)}[${query.slice(place.from, place.to)}]${query.slice(place.to)}`;
}

describe("the place of an error", () => {
  it.each([
    ['invalid parameter "query": 1:5: parse error: unexpected identifier "bar"', "foo bar + 1", "foo [bar] + 1"],
    ['1:6: parse error: expected type range vector in call to function "rate"', "rate(up:x)", "rate([up:x])"],
    ["1:3: parse error: unexpected", "a ))", "a [)])"],
    ["2:7: parse error: unexpected", "sum(\n  foo bar)", "sum(\n  foo [bar])"],
    ["1:17: parse error: unclosed left parenthesis", "sum(rate(up[5m])", "sum(rate(up[5m][)]"],
  ])("%s", (message, query, shown) => expect(marked(message, query)).toBe(shown));

  it("counts bytes, as the API does, and not characters", () => {
    expect(marked("1:13: parse error: x", '{a="é€"} foo')).toBe('{a="é€"} [foo]');
    expect(marked("1:15: parse error: x", '{a="🙂é"}  bad')).toBe('{a="🙂é"}  [bad]');
  });

  it.each([
    ["query timed out", "up"], ["1:1: parse error: no expression found in input", ""], ["9:1: parse error: x", "up"],
    ["unknown position: parse error: x", "up"],
  ])("is none in %j for %j", (message, query) => expect(placeOf(message, query)).toBe(null)); // prettier-ignore

  it("never leaves the query", () => {
    for (let column = 1; column < 40; column++) {
      const place = placeOf(`1:${column}: parse error: x`, "sum(é) + foo")!;
      expect(place.from).toBeLessThan(place.to);
      expect(place.to).toBeLessThanOrEqual("sum(é) + foo".length);
    }
  });
});
