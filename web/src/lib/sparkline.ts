// Sparkline: a row of values as two SVG paths in a box of 100 by 24.

import type { Value } from "./wire";

const WIDTH = 100;
const HEIGHT = 24;
const MAX_POINTS = 120; // more than a tile has pixels

/** Line and area; holes stay holes. `fromZero`: the bottom is zero, else the lowest value. */
export function sparkline(values: Value[], fromZero: boolean): { line: string; area: string } {
  const step = Math.max(1, Math.ceil(values.length / MAX_POINTS));
  const picked = values.filter((_, i) => (values.length - 1 - i) % step === 0);
  const known = picked.filter((value): value is number => value !== null);
  if (known.length < 2) return { line: "", area: "" };
  const low = fromZero ? Math.min(0, ...known) : Math.min(...known);
  const high = Math.max(...known);
  const scale = high > low ? (HEIGHT - 4) / (high - low) : 0;
  const y = (value: number): string => (HEIGHT - 2 - (value - low) * scale).toFixed(2);
  const x = (i: number): string => ((i * WIDTH) / (picked.length - 1)).toFixed(2);
  return runs(picked).reduce(
    (made, run) => {
      const points = run.map(([i, value]) => `${x(i)} ${y(value)}`).join("L");
      const first = x(run[0]![0]);
      const last = x(run[run.length - 1]![0]);
      return { line: `${made.line}M${points}`, area: `${made.area}M${first} ${HEIGHT}L${points}L${last} ${HEIGHT}Z` };
    },
    { line: "", area: "" },
  );
}

function runs(values: Value[]): [number, number][][] {
  const made: [number, number][][] = [];
  let open: [number, number][] | null = null;
  values.forEach((value, i) => {
    if (value === null) {
      open = null;
      return;
    }
    if (!open) made.push((open = []));
    open.push([i, value]);
  });
  return made;
}
