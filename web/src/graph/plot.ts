// Options of uPlot for the graph of a query.

import uPlot from "uplot";
import { CYCLE, cssColour } from "../lib/palette";
import { look, timeAxis } from "../lib/plot";
import type { Grid, Line } from "./answer";
import { axisNumbers } from "./numbers";

const DASHES = [[], [7, 3], [2, 3]] as const;
const MIN_DRAG_PX = 8;

export interface GraphInput {
  lines: readonly Line[];
  hidden: ReadonlySet<number>;
  grid: Grid;
  width: number;
  height: number;
  onCursor: (index: number | null) => void;
  onFocus: (line: number | null) => void;
  onZoom: (startMs: number, endMs: number) => void;
}

/** The CSS variable of the colour of line `i`. They come again after nine, then with another dash. */
export function colourOf(i: number): string {
  return CYCLE[i % CYCLE.length]!;
}

export function graphOptions(input: GraphInput): uPlot.Options {
  const { grid, lines } = input;
  return {
    width: input.width,
    height: input.height,
    padding: [10, 20, 0, 0], // to the right, half a label of the time axis
    legend: { show: false },
    focus: { alpha: 0.3 },
    cursor: { drag: { x: true, y: false, setScale: false }, y: false, focus: { prox: 20 }, points: { size: 6, width: 1.5 } },
    scales: { x: { time: true, range: [grid.startMs / 1000, grid.endMs / 1000] } },
    axes: [timeAxis(), valueAxis()],
    series: [{}, ...lines.map((line, i) => plotLine(line, i, !input.hidden.has(i)))],
    hooks: {
      setCursor: [(self) => input.onCursor(self.cursor.idx ?? null)],
      setSeries: [(_self, at) => input.onFocus(at === null || at === 0 ? null : at - 1)],
      setSelect: [(self) => selected(self, input)],
    },
  };
}

function plotLine(line: Line, i: number, show: boolean): uPlot.Series {
  const dash = DASHES[Math.floor(i / CYCLE.length) % DASHES.length]!;
  const stroke = cssColour(colourOf(i));
  const alone = lonely(line.values); // no line goes to them: only a point shows them
  return {
    label: line.name,
    show,
    stroke,
    width: 1.5,
    ...(dash.length > 0 ? { dash: [...dash] } : {}),
    points: { size: 4, fill: stroke, width: 0, show: false, filter: alone.length > 0 ? alone : null },
    spanGaps: false,
  };
}

function valueAxis(): uPlot.Axis {
  return {
    ...look(),
    size: (_self, values) => 18 + 6.5 * Math.max(4, ...(values ?? []).map((value) => value.length)),
    space: 34,
    values: (_self, splits, _axis, _space, increment) => axisNumbers(splits, increment),
  };
}

function selected(self: uPlot, { onZoom }: GraphInput): void {
  const { left, width } = self.select;
  if (width < MIN_DRAG_PX) return;
  const at = (px: number): number => Math.round(self.posToVal(px, "x")) * 1000;
  self.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  onZoom(at(left), at(left + width));
}

/** The points that have a hole on both sides. */
function lonely(values: Line["values"]): number[] {
  const hole = (at: number): boolean => (values[at] ?? null) === null;
  return values.flatMap((value, at) => (value !== null && hole(at - 1) && hole(at + 1) ? [at] : []));
}

/** uPlot's table: times, then each line. */
export function graphData(times: number[], lines: readonly Line[]): uPlot.AlignedData {
  return [times, ...lines.map((line) => line.values)];
}
