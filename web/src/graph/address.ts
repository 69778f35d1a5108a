// Address: the whole state of the page in the form of Prometheus's own links, g0.expr=…&g0.tab=….

import { formatDuration, parseDuration } from "./duration";
import { formatUtc, parseUtc } from "./times";

export type Tab = "table" | "graph";

/** What one panel asks. Times in ms since 1970; null stands for now, and for the step for an automatic one. */
export interface Asked {
  expr: string;
  tab: Tab;
  momentMs: number | null;
  rangeMs: number;
  endMs: number | null;
  stepMs: number | null;
}

/** A link with more panels than this shows the first of them. */
export const MAX_PANELS = 20;
export const DEFAULT_RANGE_MS = 3_600_000;

const FIELD = /^g(\d{1,3})\.(\w+)$/;

export function blank(tab: Tab = "table"): Asked {
  return { expr: "", tab, momentMs: null, rangeMs: DEFAULT_RANGE_MS, endMs: null, stepMs: null };
}

/** The search part of the address, without a question mark; empty for one panel that asks nothing. */
export function encode(panels: readonly Asked[]): string {
  if (panels.length === 1 && panels[0]!.expr === "") return "";
  const query = new URLSearchParams();
  panels.forEach((panel, i) => {
    query.set(`g${i}.expr`, panel.expr);
    query.set(`g${i}.tab`, panel.tab === "graph" ? "0" : "1"); // numbers: every Prometheus reads them
    if (panel.momentMs !== null) query.set(`g${i}.moment_input`, formatUtc(panel.momentMs));
    if (panel.rangeMs !== DEFAULT_RANGE_MS) query.set(`g${i}.range_input`, formatDuration(panel.rangeMs));
    if (panel.endMs !== null) query.set(`g${i}.end_input`, formatUtc(panel.endMs));
    if (panel.stepMs !== null) query.set(`g${i}.step_input`, String(panel.stepMs / 1000));
  });
  return query.toString();
}

/** The panels of an address, at least one. What is not understood keeps its default; links are written by others. */
export function decode(search: string): Asked[] {
  const found = new Map<number, Asked>();
  for (const [name, value] of new URLSearchParams(search)) {
    const field = FIELD.exec(name);
    if (!field) continue;
    const index = Number(field[1]);
    const panel = found.get(index) ?? blank();
    found.set(index, panel);
    read(panel, field[2]!, value);
  }
  const panels = [...found].sort(([a], [b]) => a - b).map(([, panel]) => panel);
  return panels.length > 0 ? panels.slice(0, MAX_PANELS) : [blank()];
}

function read(panel: Asked, field: string, value: string): void {
  switch (field) {
    case "expr":
      panel.expr = value;
      break;
    case "tab":
      panel.tab = value === "0" || value === "graph" ? "graph" : "table";
      break;
    case "moment_input":
      panel.momentMs = parseUtc(value);
      break;
    case "range_input":
      panel.rangeMs = parseDuration(value) ?? DEFAULT_RANGE_MS;
      break;
    case "end_input":
      panel.endMs = parseUtc(value);
      break;
    case "step_input":
      panel.stepMs = parseDuration(value);
      break;
  }
}
