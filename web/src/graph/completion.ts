// Names and values for completion, from the hub's own API.

import { EqlRegex, Neq, NeqRegex } from "@prometheus-io/lezer-promql";
import { get } from "./hub";
import { quoted } from "./selector";

type Meaning = { type: string; help: string };
interface Wanted {
  name: string;
  type: number; // the grammar's number of the operator
  value: string; // as it is written between its quotes
}

const KEEP_MS = 60_000;
/** More names than this help nobody to choose, and each answer must stay small. */
const MAX_NAMES = 10_000;
const DEADLINE_MS = 10_000;
const MAX_KEPT = 100;
const OPERATORS = new Map([[Neq, "!="], [EqlRegex, "=~"], [NeqRegex, "!~"]]); // prettier-ignore

/**
 * What codemirror-promql asks for. Answers are kept for a minute, at most `MAX_KEPT` of them; a request that fails
 * gives nothing to choose from: completion is a help, and the query itself will tell what is wrong.
 */
export function completionClient() {
  return {
    labelNames: (metric?: string) => names("labels", selecting(metric)),
    labelValues: (label: string, metric?: string, matchers?: readonly Wanted[]) =>
      names(`label/${encodeURIComponent(label)}/values`, selecting(metric, matchers, label)),
    metricNames: () => names("label/__name__/values", {}),
    metricMetadata: () => kept("metadata", {}, {} as Record<string, Meaning[]>),
    series: (metric: string) => kept("series", selecting(metric), [] as Map<string, string>[]),
    flags: () => Promise.resolve({}), // what Prometheus switches by flags, this engine does not
  };
}

const store = new Map<string, { atMs: number; data: Promise<unknown> }>();

function names(path: string, query: Record<string, string>): Promise<string[]> {
  return kept(path, query, [] as string[]);
}

function kept<T>(path: string, query: Record<string, string>, nothing: T): Promise<T> {
  const key = `${path}?${new URLSearchParams(query)}`;
  const old = store.get(key);
  if (old && Date.now() - old.atMs < KEEP_MS) return old.data as Promise<T>;
  const form = { ...query, limit: String(MAX_NAMES) };
  const data = get<T>(path, form, AbortSignal.timeout(DEADLINE_MS)).then(
    (answer) => answer.data,
    () => (store.delete(key), nothing),
  );
  store.delete(key);
  store.set(key, { atMs: Date.now(), data });
  const oldest = store.size > MAX_KEPT ? store.keys().next().value : undefined;
  if (oldest !== undefined) store.delete(oldest);
  return data;
}

function selecting(metric?: string, matchers: readonly Wanted[] = [], except = ""): Record<string, string> {
  const wanted = matchers.filter(({ name, value }) => name !== except && value !== "");
  if (!metric && wanted.length === 0) return {};
  const inside = wanted.map(({ name, type, value }) => `${name}${OPERATORS.get(type) ?? "="}"${value}"`);
  if (metric) inside.unshift(`__name__=${quoted(metric)}`);
  return { "match[]": `{${inside.join(",")}}` };
}
