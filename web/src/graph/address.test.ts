import { describe, expect, it } from "vitest";
import { blank, decode, DEFAULT_RANGE_MS, encode, MAX_PANELS, type Asked } from "./address";

const FULL: Asked = {
  expr: 'rate(x{a="b&c=d", e=~"é+"}[5m])\n  > 0 # 100 %', tab: "graph",
  momentMs: Date.UTC(2026, 0, 2, 3, 4, 5), rangeMs: 5_400_000, endMs: Date.UTC(2026, 10, 21, 8, 0, 0), stepMs: 500,
}; // prettier-ignore

describe("the address", () => {
  it("holds everything that the panels ask", () => {
    const panels = [FULL, { ...blank(), expr: "up" }, blank("graph")];
    expect(decode(`?${encode(panels)}`)).toEqual(panels);
  });

  it("is written as Prometheus writes it, and only with what differs from the default", () => {
    expect(encode([{ ...blank("graph"), expr: "up > 0" }])).toBe("g0.expr=up+%3E+0&g0.tab=0");
    const query = new URLSearchParams(encode([blank(), FULL]));
    expect([...query].slice(2)).toEqual([
      ["g1.expr", FULL.expr], ["g1.tab", "0"], ["g1.moment_input", "2026-01-02 03:04:05"], ["g1.range_input", "1h30m"],
      ["g1.end_input", "2026-11-21 08:00:00"], ["g1.step_input", "0.5"],
    ]); // prettier-ignore
  });

  it("is empty for a page that asks nothing", () => {
    expect(encode([blank()])).toBe("");
    expect(decode("")).toEqual([blank()]);
  });

  it("takes an alert's link to its expression", () => {
    const link = "/graph?g0.expr=up%7Bjob%3D%22node%22%7D+%3D%3D+0&g0.tab=1";
    expect(decode(new URL(link, "http://hub").search)).toEqual([{ ...blank(), expr: 'up{job="node"} == 0' }]);
  });

  it("takes the links of old and new Prometheus pages", () => {
    const old = "?g0.expr=up&g0.tab=0&g0.stacked=1&g0.range_input=2d&g0.end_input=2026-11-21%2008%3A00&g0.step_input=60";
    const graph = { ...blank("graph"), expr: "up", rangeMs: 172_800_000, endMs: Date.UTC(2026, 10, 21, 8), stepMs: 60_000 };
    expect(decode(old)).toEqual([graph]);
    expect(decode("?g0.expr=up&g0.show_tree=0&g0.tab=graph&g0.res_type=auto&g0.range_input=1h")).toEqual([{ ...blank("graph"), expr: "up" }]);
    expect(decode("?g0.expr=up&g0.tab=table")).toEqual([{ ...blank(), expr: "up" }]);
  });

  it("orders panels by number, also when some are missing", () => {
    expect(decode("?g10.expr=c&g2.expr=b&g0.expr=a").map((panel) => panel.expr)).toEqual(["a", "b", "c"]);
  });

  it("keeps the default of what it does not understand", () => {
    const odd = "?g0.expr=up&g0.range_input=soon&g0.end_input=2026-13-41%2099:00:00&g0.step_input=-5&x=1&g0.tab=9&gx.expr=b";
    expect(decode(odd)).toEqual([{ ...blank(), expr: "up", rangeMs: DEFAULT_RANGE_MS }]);
  });

  it("shows no more panels than a page can", () => {
    const many = Array.from({ length: 50 }, (_, i) => `g${i}.expr=e${i}`).join("&");
    expect(decode(many).map((panel) => panel.expr)).toEqual(Array.from({ length: MAX_PANELS }, (_, i) => `e${i}`));
  });
});
