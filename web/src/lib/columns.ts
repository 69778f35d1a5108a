// Columns: the samples behind all charts of the page, on one shared time axis.

import type { History, Point, Value } from "./wire";

/** Series of one panel by key. A key is the position of the query, a colon, and the legend. */
export type SeriesMap = Map<string, Value[]>;

/** How far apart two points may be, in steps, before the line between them is broken. */
const GAP_STEPS = 3;

/**
 * A bounded window of points: at most `capacity` of them, and none older than the range. The oldest go first.
 * Times are in seconds, as uPlot wants them. Mutable; owned by the session.
 */
export class Columns {
  readonly times: number[] = [];
  readonly panels = new Map<string, SeriesMap>();
  private stepMs = 0;

  constructor(private readonly capacity: number) {}

  /** Start again with a history. */
  load(history: History): void {
    this.clear();
    this.stepMs = history.step;
    const first = Math.max(0, history.count - this.capacity);
    for (let i = first; i < history.count; i++) this.times.push((history.start + i * history.step) / 1000);
    for (const [panel, lines] of Object.entries(history.panels)) {
      const series: SeriesMap = new Map();
      lines.forEach((line, query) => {
        for (const [legend, values] of Object.entries(line)) series.set(`${query}:${legend}`, values.slice(first));
      });
      this.panels.set(panel, series);
    }
  }

  /** Add what a tick brings; a point that is not newer than the last is ignored (a replay may repeat one). */
  append(atMs: number, points: Record<string, Point[]>): boolean {
    const last = this.times[this.times.length - 1];
    if (last !== undefined && atMs <= last * 1000) return false;
    if (last !== undefined && this.stepMs > 0 && atMs - last * 1000 > GAP_STEPS * this.stepMs) {
      this.push((last * 1000 + this.stepMs) / 1000, {}); // a hole that shows as one
    }
    this.push(atMs / 1000, points);
    return true;
  }

  /** Forget points before `fromMs`, except one, so that a line still reaches the edge. */
  trim(fromMs: number): void {
    let count = Math.max(0, this.times.length - this.capacity);
    while (count + 1 < this.times.length && this.times[count + 1]! * 1000 <= fromMs) count++;
    if (count === 0) return;
    this.times.splice(0, count);
    for (const series of this.panels.values()) {
      for (const [key, values] of series) {
        values.splice(0, count);
        if (values.every((value) => value === null)) series.delete(key);
      }
    }
  }

  clear(): void {
    this.times.length = 0;
    this.panels.clear();
    this.stepMs = 0;
  }

  /** The newest value of a series that has one within the last `points` points. */
  latest(panel: string, key: string, points = 3): Value {
    const values = this.panels.get(panel)?.get(key);
    if (!values) return null;
    for (let i = values.length - 1; i >= 0 && i >= values.length - points; i--) {
      const value = values[i];
      if (value !== null && value !== undefined) return value;
    }
    return null;
  }

  private push(seconds: number, points: Record<string, Point[]>): void {
    const before = this.times.length;
    this.times.push(seconds);
    for (const [panel, queries] of Object.entries(points)) {
      const series = this.panels.get(panel) ?? new Map<string, Value[]>();
      this.panels.set(panel, series);
      queries.forEach((point, query) => {
        for (const [legend, value] of Object.entries(point)) {
          const key = `${query}:${legend}`;
          const values = series.get(key) ?? new Array<Value>(before).fill(null);
          series.set(key, values);
          values.push(value);
        }
      });
    }
    for (const series of this.panels.values()) {
      for (const values of series.values()) if (values.length === before) values.push(null);
    }
  }
}
