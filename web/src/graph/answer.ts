// Answer: what the query API sends, as types, and as the rows of a table or the lines of a graph.

import { parseNumber } from "./numbers";
import { selector, type Metric } from "./selector";

export type Sample = readonly [seconds: number, value: string];
export interface Histogram {
  count: string;
  sum: string;
}
export type HistogramSample = readonly [seconds: number, histogram: Histogram];

export interface VectorSeries {
  metric: Metric;
  value?: Sample;
  histogram?: HistogramSample;
}
export interface MatrixSeries {
  metric: Metric;
  values?: readonly Sample[];
  histograms?: readonly HistogramSample[];
}

export type QueryData =
  | { resultType: "vector"; result: readonly VectorSeries[] }
  | { resultType: "matrix"; result: readonly MatrixSeries[] }
  | { resultType: "scalar"; result: Sample }
  | { resultType: "string"; result: Sample };

/** A row of the table. `metric` is null for what is no series; `times` are those of a range, beside the values. */
export interface Row {
  metric: Metric | null;
  values: readonly string[];
  times: readonly number[];
  number: number;
  name: string;
  more: number;
}

/** Of a range in the table, the newest points are shown: so many per series, and so many in all. */
export const MAX_ROW_POINTS = 100;
const MAX_TABLE_POINTS = 10_000;

export function rows(data: QueryData): Row[] {
  switch (data.resultType) {
    case "scalar":
    case "string": {
      const [, value] = data.result;
      return [{ metric: null, values: [value], times: [], number: parseNumber(value), name: data.resultType, more: 0 }];
    }
    case "vector":
      return data.result.map(({ metric, value, histogram }) => {
        const text = value ? value[1] : histogram ? spelled(histogram[1]) : "";
        return { metric, values: [text], times: [], number: parseNumber(text), name: selector(metric), more: 0 };
      });
    case "matrix":
      return data.result.map((series) => matrixRow(series, pointsPerRow(data.result.length)));
  }
}

function pointsPerRow(series: number): number {
  return Math.max(1, Math.min(MAX_ROW_POINTS, Math.floor(MAX_TABLE_POINTS / series)));
}

function matrixRow({ metric, values, histograms }: MatrixSeries, points: number): Row {
  const all: Sample[] = [...(values ?? []), ...(histograms ?? []).map(([at, one]) => [at, spelled(one)] as const)];
  all.sort(([a], [b]) => a - b);
  const shown = all.slice(-points);
  return {
    metric,
    values: shown.map(([, value]) => value),
    times: shown.map(([seconds]) => seconds),
    number: parseNumber(shown[shown.length - 1]?.[1] ?? "NaN"),
    name: selector(metric),
    more: all.length - shown.length,
  };
}

function spelled(histogram: Histogram): string {
  return `count ${histogram.count}, sum ${histogram.sum}`;
}

export type Order = "answer" | "name" | "name down" | "value" | "value down";

/** `rows` in `order`; "answer" keeps the order of the API, which is the query's own for sort() and topk(). */
export function sorted(list: readonly Row[], order: Order): Row[] {
  if (order === "answer") return [...list];
  const down = order.endsWith("down") ? -1 : 1;
  const byName = (a: Row, b: Row): number => a.name.localeCompare(b.name, "en", { numeric: true });
  if (order.startsWith("name")) return [...list].sort((a, b) => down * byName(a, b));
  return [...list].sort((a, b) => {
    if (Number.isNaN(a.number) || Number.isNaN(b.number)) return Number(Number.isNaN(a.number)) - Number(Number.isNaN(b.number));
    return down * (a.number - b.number || byName(a, b));
  });
}

/** A line of the graph: one value per point of the grid, null where there is none. */
export interface Line {
  metric: Metric;
  name: string;
  values: (number | null)[];
}

export interface Grid {
  startMs: number;
  endMs: number;
  stepMs: number;
}

/** The times of the grid in seconds, as uPlot wants them. */
export function gridTimes(grid: Grid): number[] {
  const count = Math.floor((grid.endMs - grid.startMs) / grid.stepMs) + 1;
  return Array.from({ length: Math.max(0, count) }, (_, i) => (grid.startMs + i * grid.stepMs) / 1000);
}

/** The series of a range query on its grid. What is no finite number is a hole; histograms are not drawn. */
export function lines(series: readonly MatrixSeries[], grid: Grid): Line[] {
  const count = gridTimes(grid).length;
  return series.map(({ metric, values }) => {
    const drawn = new Array<number | null>(count).fill(null);
    for (const [seconds, text] of values ?? []) {
      const at = Math.round((seconds * 1000 - grid.startMs) / grid.stepMs);
      const value = parseNumber(text);
      if (at >= 0 && at < count && Number.isFinite(value)) drawn[at] = value;
    }
    return { metric, name: selector(metric), values: drawn };
  });
}

/** Short names of lines: the labels that all have in common are left out, unless nothing else is there. */
export function distinctNames(list: readonly Metric[]): string[] {
  const first = list[0];
  if (first === undefined || list.length === 1) return list.map(selector);
  const common = Object.keys(first).filter((label) => list.every((metric) => metric[label] === first[label]));
  return list.map((metric) => {
    const own = Object.fromEntries(Object.entries(metric).filter(([label]) => !common.includes(label)));
    return Object.keys(own).length > 0 ? selector(own) : selector(metric);
  });
}

/** Whether a result has nothing to show. */
export function isEmpty(data: QueryData): boolean {
  return (data.resultType === "vector" || data.resultType === "matrix") && data.result.length === 0;
}

