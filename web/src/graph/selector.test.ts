import { describe, expect, it } from "vitest";
import { parts, selector } from "./selector";

describe("a label set", () => {
  it.each([
    [{ __name__: "up" }, "up"],
    [{ __name__: "up", job: "a", instance: "b:1" }, 'up{job="a", instance="b:1"}'],
    [{ job: "a" }, '{job="a"}'],
    [{}, "{}"],
    [{ __name__: "x", path: 'C:\\"d"\n' }, 'x{path="C:\\\\\\"d\\"\\n"}'],
    [{ __name__: "app.latency", "http.route": "/" }, '{"app.latency", "http.route"="/"}'],
    [{ __name__: "a:b", "0": "1" }, 'a:b{"0"="1"}'],
    [{ __name__: "x", empty: "" }, 'x{empty=""}'],
  ])("%j is PromQL", (metric, text) => expect(selector(metric as Record<string, string>)).toBe(text));

  it("has its name apart, where there is a plain one", () => {
    expect(parts({ __name__: "up", job: "a" })).toEqual({ name: "up", labels: [["job", "a"]] });
    expect(parts({ __name__: "app.x" })).toEqual({ name: "", labels: [['"app.x"', ""]] });
  });
});
