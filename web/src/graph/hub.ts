// Hub: the requests of the expression browser. Addresses are relative, so that it also works below a proxy's path.

import { HubError, reason } from "../lib/wire";
import type { QueryData } from "./answer";
import type { Metric } from "./selector";

/** More series than this are neither fetched nor drawn. */
export const MAX_LINES = 200;
/** More rows than this are neither fetched nor shown. */
export const MAX_ROWS = 1000;

/** What the API says when `limit` cut its answer; the page says it in its own words. */
const TRUNCATED = "results truncated due to limit";

export interface Answer<T> {
  data: T;
  warnings: string[];
  infos: string[];
  truncated: boolean;
}

interface Envelope<T> {
  data: T;
  warnings?: string[];
  infos?: string[];
}

/** An instant query at `momentMs`, or at the hub's now. Throws HubError. */
export function queryAt(expr: string, momentMs: number | null, signal: AbortSignal): Promise<Answer<QueryData>> {
  const at = momentMs === null ? {} : { time: seconds(momentMs) };
  return post("query", { query: expr, ...at, limit: String(MAX_ROWS) }, signal);
}

/** A range query. Throws HubError. */
export function queryRange(
  expr: string, startMs: number, endMs: number, stepMs: number, signal: AbortSignal,
): Promise<Answer<QueryData>> {
  const form = { query: expr, start: seconds(startMs), end: seconds(endMs), step: seconds(stepMs) };
  return post("query_range", { ...form, limit: String(MAX_LINES) }, signal);
} // prettier-ignore

/** `expr`, well laid out. Throws HubError. */
export async function formatQuery(expr: string, signal: AbortSignal): Promise<string> {
  return (await post<string>("format_query", { query: expr }, signal)).data;
}

/** Whether the store has any series that `selector` matches, at any time. Throws HubError. */
export async function hasSeries(selector: string, signal: AbortSignal): Promise<boolean> {
  return (await post<Metric[]>("series", { "match[]": selector, limit: "1" }, signal)).data.length > 0;
}

let aheadMs: number | null = null;

/** The hub's time: a graph that ends by this machine's clock would miss points when that one is wrong. Throws HubError. */
export async function hubNowMs(signal: AbortSignal): Promise<number> {
  if (aheadMs === null) {
    const { data } = await post<QueryData>("query", { query: "time()" }, signal);
    aheadMs = data.resultType === "scalar" ? data.result[0] * 1000 - Date.now() : 0;
  }
  return Math.round(Date.now() + aheadMs);
}

function seconds(ms: number): string {
  return String(ms / 1000);
}

async function post<T>(name: string, form: Record<string, string>, signal: AbortSignal): Promise<Answer<T>> {
  const body = new URLSearchParams(form); // a form, because queries can be longer than addresses may be
  return answer<T>(`api/v1/${name}`, { method: "POST", body, signal });
}

/** GET from the API. Throws HubError. */
export function get<T>(path: string, query: Record<string, string>, signal: AbortSignal): Promise<Answer<T>> {
  return answer<T>(`api/v1/${path}?${new URLSearchParams(query)}`, { signal });
}

async function answer<T>(path: string, init: RequestInit): Promise<Answer<T>> {
  let response: Response;
  try {
    response = await fetch(path, { ...init, headers: { accept: "application/json" } });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new HubError("The hub does not answer. Is it still running?", 0);
  }
  if (!response.ok) throw new HubError(await told(response), response.status);
  const envelope = (await response.json()) as Envelope<T>;
  const warnings = envelope.warnings ?? [];
  return {
    data: envelope.data,
    warnings: warnings.filter((one) => one !== TRUNCATED),
    infos: envelope.infos ?? [],
    truncated: warnings.includes(TRUNCATED),
  };
}

async function told(response: Response): Promise<string> {
  if (response.status === 401 || response.status === 403) {
    return "This hub wants a credential. Open the address that it printed at its start, or ask who runs it.";
  }
  return reason(response);
}
