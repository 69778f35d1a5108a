// Shapes: what is drawn for a panel, made from its series. Plain functions of values.

import type { SeriesMap } from "./columns";
import type { Kind, Panel, Value } from "./wire";

export interface Shape {
  key: string;
  label: string;
  down: boolean;
  /** As it came from the hub: what the legend says. */
  raw: Value[];
  /** As it is drawn: stacked on the ones before it, or below the axis. */
  drawn: Value[];
}

const ORDER = [
  "user", "system", "nice", "iowait", "irq", "softirq", "steal", "used", "cache", "free",
  "established", "time_wait", "close_wait", "listen",
]; // prettier-ignore

/** The series of `panel` in drawing order. Those without any value but zero are left out, unless all are like that. */
export function visibleKeys(panel: Panel, series: SeriesMap | undefined): string[] {
  if (!series) return [];
  const keys = [...series.keys()];
  const present = keys.filter((key) => series.get(key)!.some((value) => value !== null));
  const moving = present.filter((key) => series.get(key)!.some((value) => value !== null && value !== 0));
  const shown = panel.kind === "stack" && moving.length > 0 ? moving : present;
  return shown.sort((a, b) => rank(a) - rank(b) || compare(a, b));
}

function rank(key: string): number {
  const at = ORDER.indexOf(labelOf(key));
  return at < 0 ? ORDER.length : at;
}

function compare(a: string, b: string): number {
  const byQuery = Number.parseInt(a, 10) - Number.parseInt(b, 10);
  return byQuery || labelOf(a).localeCompare(labelOf(b), "en", { numeric: true });
}

/** The legend part of a key. */
export function labelOf(key: string): string {
  return key.slice(key.indexOf(":") + 1);
}

/** Shapes for `keys`; `hidden` ones take part in nothing but the legend. */
export function shapes(panel: Panel, series: SeriesMap, keys: string[], hidden: ReadonlySet<string>): Shape[] {
  const made = keys.map((key) => {
    const raw = series.get(key) ?? [];
    return { key, label: labelOf(key), down: panel.queries[Number.parseInt(key, 10)]?.down ?? false, raw, drawn: raw };
  });
  return draw(panel.kind, made, hidden);
}

function draw(kind: Kind, made: Shape[], hidden: ReadonlySet<string>): Shape[] {
  if (kind === "mirror") {
    return made.map((shape) => (shape.down ? { ...shape, drawn: shape.raw.map(negated) } : shape));
  }
  return kind === "stack" ? stacked(made, hidden) : made;
}

function negated(value: Value): Value {
  return value === null ? null : -value;
}

/** Each on top of the ones before. Where none has a value there is a hole; where only some have, the rest is zero. */
function stacked(made: Shape[], hidden: ReadonlySet<string>): Shape[] {
  const active = made.filter((shape) => !hidden.has(shape.key));
  const length = made[0]?.raw.length ?? 0;
  const base: Value[] = Array.from({ length }, (_, i) => (active.some((shape) => isNumber(shape.raw[i])) ? 0 : null));
  return made.map((shape) => {
    if (hidden.has(shape.key)) return shape;
    for (let i = 0; i < length; i++) {
      const below = base[i];
      if (isNumber(below)) base[i] = below + (shape.raw[i] ?? 0);
    }
    return { ...shape, drawn: base.slice() };
  });
}

function isNumber(value: Value | undefined): value is number {
  return value !== null && value !== undefined;
}

/** The upper end of an axis: a calm number above the data, so that it moves seldom. */
export function calmTop(peak: number, unit: string): number {
  if (!(peak > 0)) return unit === "percent" ? 10 : 1;
  if (unit === "seconds" && peak < 1) return 1; // below that, noise would look like trouble
  if (unit === "percent") return [5, 10, 20, 40, 60, 80, 100].find((step) => peak <= step) ?? peak;
  const base = unit.startsWith("bytes") ? 1024 ** Math.floor(Math.log2(peak) / 10 + 1e-9) : 1;
  const scaled = peak / base;
  const decade = 10 ** Math.floor(Math.log10(scaled) + 1e-9);
  const step = [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((factor) => scaled <= factor * decade * 1.0000001) ?? 10;
  return step * decade * base;
}
