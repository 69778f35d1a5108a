import { describe, expect, it } from "vitest";
import { formatUtc, fromLocalInput, localMoment, parseUtc, toLocalInput } from "./times";

const AT = Date.UTC(2026, 10, 21, 8, 26, 52);

describe("times", () => {
  it("are UTC in addresses", () => {
    expect(formatUtc(AT)).toBe("2026-11-21 08:26:52");
    expect(parseUtc("2026-11-21 08:26:52")).toBe(AT);
    expect(parseUtc("2026-11-21T08:26:52Z")).toBe(AT);
    expect(parseUtc("2026-11-21 08:26")).toBe(AT - 52_000);
  });

  it.each(["", "now", "2026-11-21", "2026-02-31x 00:00", "21.11.2026 08:00"])("%j is none", (text) => expect(parseUtc(text)).toBe(null));

  it("are local in fields, and come back as they were", () => {
    expect(fromLocalInput(toLocalInput(AT))).toBe(AT);
    expect(localMoment(AT)).toBe(toLocalInput(AT).replace("T", " "));
    expect(fromLocalInput("")).toBe(null);
  });
});
