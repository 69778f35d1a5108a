import { describe, expect, it } from "vitest";
import { formatDuration, parseDuration } from "./duration";

describe("durations", () => {
  it.each([
    ["15s", 15_000], ["1h30m", 5_400_000], ["250ms", 250], ["1d", 86_400_000], ["2w", 1_209_600_000],
    ["1y", 31_536_000_000], [" 5m ", 300_000], ["60", 60_000], ["0.5", 500],
  ])("%s is understood", (text, ms) => expect(parseDuration(text)).toBe(ms)); // prettier-ignore

  it.each(["", "0", "0s", "-5m", "5 m", "m", "1m1h", "5x", "1e3", "NaN", "99999999999999y"])("%j is none", (text) =>
    expect(parseDuration(text)).toBe(null),
  );

  it.each([[15_000, "15s"], [5_400_000, "1h30m"], [86_400_000, "1d"], [604_800_000, "1w"], [2_592_000_000, "30d"], [90, "90ms"], [0, "0s"]])(
    "%d ms is written in few units", (ms, text) => expect(formatDuration(ms)).toBe(text),
  ); // prettier-ignore

  it("are read as they were written", () => {
    for (let ms = 1; ms < 1e12; ms = ms * 3 + 7) expect(parseDuration(formatDuration(ms))).toBe(ms);
  });
});
