// Answer: what the query API sends, as types, and as the rows of a table or the lines of a graph.

import { parseNumber } from "./numbers";
import { selector, type Metric } from "./selector";

export type Sample = readonly [seconds: number, value: string];
/** Which ends belong to the bucket (0 the upper one, 1 the lower one, 2 none, 3 both), its bounds, its observations. */
export type Bucket = readonly [ends: number, lower: string, upper: string, count: string];
export interface Histogram {
  count: string;
  sum: string;
  buckets?: readonly Bucket[];
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
  histogram?: Histogram;
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
        const row = { metric, times: [], name: selector(metric), more: 0 };
        if (histogram) return { ...row, values: [], number: parseNumber(histogram[1].count), histogram: histogram[1] };
        const text = value ? value[1] : "";
        return { ...row, values: [text], number: parseNumber(text) };
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

export function spelled(histogram: Histogram): string {
  return `count ${histogram.count}, sum ${histogram.sum}`;
}

/** A bar of the picture of a histogram; `share` of the highest one. */
export interface Bar {
  lower: string;
  upper: string;
  share: number;
  title: string;
}

/** The picture of a histogram: a bar per populated bucket, all equally wide, since their bounds grow by powers. */
export function bars(histogram: Histogram): Bar[] {
  const found = histogram.buckets ?? [];
  const counts = found.map(([, , , count]) => Math.abs(parseNumber(count)));
  const highest = Math.max(...counts.filter(Number.isFinite), 0);
  return found.map(([ends, lower, upper, count], at) => ({
    lower: short(lower),
    upper: short(upper),
    share: highest > 0 && Number.isFinite(counts[at]) ? (counts[at] ?? 0) / highest : 0,
    title: `${ends === 1 || ends === 3 ? "[" : "("}${lower}, ${upper}${ends === 0 || ends === 3 ? "]" : ")"}: ${count}`,
  }));
}

function short(bound: string): string {
  const value = parseNumber(bound);
  return Number.isFinite(value) ? String(Number(value.toPrecision(4))) : bound;
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

