// Options of uPlot for one panel. The one place that knows the library's option names.

import uPlot from "uplot";
import { axisLabels, timeLabels } from "./format";
import { colours, cssColour, isLimit } from "./palette";
import { calmTop, type Shape } from "./stack";
import type { Panel } from "./wire";

const SYNC = "peerwatch";
const FONT = '11px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif';
const BINARY_STEPS = Array.from({ length: 50 }, (_, power) => 2 ** power);

export interface PlotInput {
  panel: Panel;
  shapes: Shape[];
  hidden: ReadonlySet<string>;
  width: number;
  height: number;
  window: () => [number, number];
  onCursor: (index: number | null) => void;
}

export function plotOptions(input: PlotInput): uPlot.Options {
  const { panel, shapes } = input;
  const names = colours(shapes.map((shape) => shape.label));
  return {
    width: input.width,
    height: input.height,
    padding: [8, 6, 0, 0],
    legend: { show: false },
    cursor: {
      drag: { x: false, y: false },
      y: false,
      points: { size: 6, width: 1.5 },
      sync: { key: SYNC, setSeries: false },
    },
    scales: {
      x: { time: true, range: () => input.window() },
      y: { range: (_self, low, high) => yRange(panel, low, high) },
    },
    axes: [timeAxis(), valueAxis(panel)],
    series: [{}, ...shapes.map((shape, i) => plotSeries(panel, shape, names[i]!, !input.hidden.has(shape.key)))],
    bands: panel.kind === "stack" ? bands(shapes, names, input.hidden) : [],
    hooks: { setCursor: [(self) => input.onCursor(self.cursor.idx ?? null)] },
  };
}

function plotSeries(panel: Panel, shape: Shape, colour: string, show: boolean): uPlot.Series {
  const line = cssColour(colour);
  const limit = isLimit(shape.label);
  const filled = panel.kind === "mirror" || (panel.kind === "line" && panel.queries.length === 1 && panel.id === "age");
  return {
    label: shape.label,
    show,
    stroke: line,
    width: panel.kind === "stack" ? 0.5 : limit ? 1 : 1.5,
    ...(limit ? { dash: [4, 4] } : {}),
    ...(panel.kind === "stack" ? { fill: translucent(line, stackAlpha(shape)) } : filled ? { fill: translucent(line, 0.16) } : {}),
    points: { show: false },
    spanGaps: false,
  };
}

/** Between a stacked series and the one below it; the lowest one fills down to zero by itself. */
function bands(shapes: Shape[], names: string[], hidden: ReadonlySet<string>): uPlot.Band[] {
  const made: uPlot.Band[] = [];
  let below = 0;
  shapes.forEach((shape, i) => {
    if (hidden.has(shape.key)) return;
    if (below > 0) made.push({ series: [i + 1, below], fill: translucent(cssColour(names[i]!), stackAlpha(shape)) });
    below = i + 1;
  });
  return made;
}

/** What is free is ground rather than figure. */
function stackAlpha(shape: Shape): number {
  return shape.label === "free" ? 0.14 : 0.7;
}

function yRange(panel: Panel, low: number | null, high: number | null): [number, number] {
  if (panel.top !== null) return [0, panel.top];
  const top = calmTop(Math.max(high ?? 0, 0), panel.unit);
  if (panel.kind !== "mirror") return [0, top];
  const bottom = calmTop(Math.max(-(low ?? 0), 0), panel.unit);
  // Each half at least a quarter of the other, so that a quiet direction stays visible.
  return [-Math.max(bottom, top / 4), Math.max(top, bottom / 4)];
}

/** The axis below a chart. */
export function timeAxis(): uPlot.Axis {
  return {
    ...look(),
    size: 26,
    space: 64,
    values: (_self, splits, _axis, _space, increment) => timeLabels(splits, increment),
  };
}

function valueAxis(panel: Panel): uPlot.Axis {
  const binary = panel.unit === "bytes" || panel.unit === "bytes_per_second";
  return {
    ...look(),
    size: 66,
    space: 30,
    ...(binary ? { incrs: BINARY_STEPS } : {}),
    values: (_self, splits) => axisLabels(splits, panel.unit),
  };
}

/** What all axes have in common; colours are those of the theme at this moment. */
export function look(): Partial<uPlot.Axis> {
  return {
    font: FONT,
    stroke: cssColour("dim"),
    gap: 6,
    grid: { stroke: cssColour("grid"), width: 1 },
    ticks: { show: false },
    border: { show: false },
  };
}

function translucent(hex: string, alpha: number): string {
  return hex + Math.round(alpha * 255).toString(16).padStart(2, "0");
}

/** uPlot's table: times, then each shape as it is drawn. */
export function plotData(times: number[], shapes: Shape[]): uPlot.AlignedData {
  return [times, ...shapes.map((shape) => shape.drawn)];
}
