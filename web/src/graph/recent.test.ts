import { describe, expect, it } from "vitest";
import { MAX_RECENT, parseRecent, remembered } from "./recent";

describe("the history", () => {
  it("has the newest first, each expression once", () => {
    expect(["a", "b", " a ", "c"].reduce<string[]>(remembered, [])).toEqual(["c", "a", "b"]);
  });

  it("keeps no blank and no huge expression", () => {
    expect(remembered(["a"], "  \n ")).toEqual(["a"]);
    expect(remembered(["a"], "x".repeat(4001))).toEqual(["a"]);
  });

  it("forgets the oldest when it is full", () => {
    const list = Array.from({ length: 80 }, (_, i) => `e${i}`).reduce<string[]>(remembered, []);
    expect(list).toHaveLength(MAX_RECENT);
    expect([list[0], list[MAX_RECENT - 1]]).toEqual(["e79", "e30"]);
  });

  it.each([
    [null, []], ["", []], ["{", []], ['{"a":1}', []], ["7", []], ['["a",5,null,"b"]', ["a", "b"]],
    [JSON.stringify(Array(80).fill("x")), Array(MAX_RECENT).fill("x")],
  ])("reads %j as what is usable of it", (stored, list) => expect(parseRecent(stored)).toEqual(list)); // prettier-ignore
});
