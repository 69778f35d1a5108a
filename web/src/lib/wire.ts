// What the hub sends. The shapes are those of peerwatch/dashboard/{app,history,live,fleet_list}.py.

export type Unit = "percent" | "bytes" | "bytes_per_second" | "seconds" | "connections" | "number";
export type Kind = "stack" | "line" | "mirror" | "tiles";
export type Value = number | null;

export interface Query {
  legend: string;
  expr: string;
  down: boolean;
}

export interface Panel {
  id: string;
  title: string;
  unit: Unit;
  kind: Kind;
  top: number | null;
  empty: string;
  note: string;
  queries: Query[];
}

export interface Range {
  id: string;
  title: string;
  length_ms: number;
}

/** instance, up, seen (Unix seconds), then percents: CPU, memory, fullest disk. */
export type FleetRow = [string, Value, Value, Value, Value, Value];

export interface Fleet {
  t: number;
  total: number;
  rows: FleetRow[];
  error: string;
}

export interface Meta {
  version: string;
  t: number;
  instance: string;
  ranges: Range[];
  panels: Panel[];
  fleet: Fleet;
}

/** Per query of a panel: legend to value. */
export type Point = Record<string, Value>;
export type Line = Record<string, Value[]>;

export interface History {
  start: number;
  step: number;
  count: number;
  panels: Record<string, Line[]>;
  hidden: Record<string, number>;
  errors: Record<string, string>;
}

export interface Tick {
  t: number;
  tiles: Point[];
  error?: string;
  at?: number;
  panels?: Record<string, Point[]>;
  errors?: Record<string, string>;
}

export interface Hello {
  t: number;
  resumed: boolean;
}

/** Why the hub did not answer a request as hoped; `message` is meant for people. */
export class HubError extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

/** GET `path` as JSON. Relative, so that the page also works below a proxy's path. Throws HubError. */
export async function getJson<T>(path: string, signal?: AbortSignal): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, { headers: { accept: "application/json" }, signal: signal ?? null });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new HubError("The hub does not answer.", 0);
  }
  if (!response.ok) throw new HubError(await reason(response), response.status);
  return (await response.json()) as T;
}

/** What a refusal says, for people. */
export async function reason(response: Response): Promise<string> {
  const body: unknown = await response.json().catch(() => null);
  if (typeof body === "object" && body !== null && "error" in body && typeof body.error === "string") return body.error;
  return `The hub answered ${response.status} ${response.statusText}.`;
}
