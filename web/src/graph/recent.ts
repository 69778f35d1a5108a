// Recent: the expressions that were run, newest first, kept by the browser.

export const MAX_RECENT = 50;
const MAX_CHARS = 4000; // one long query must not fill the storage

/** `list` with `expr` in front. Blank and very long ones are not kept; the oldest go when it is full. */
export function remembered(list: readonly string[], expr: string): string[] {
  const text = expr.trim();
  if (text === "" || text.length > MAX_CHARS) return [...list];
  return [text, ...list.filter((old) => old !== text)].slice(0, MAX_RECENT);
}

/** What the storage holds, made safe: other versions and other people write there too. */
export function parseRecent(stored: string | null): string[] {
  let found: unknown;
  try {
    found = JSON.parse(stored ?? "[]");
  } catch {
    return [];
  }
  if (!Array.isArray(found)) return [];
  return found.filter((one): one is string => typeof one === "string" && one.length <= MAX_CHARS).slice(0, MAX_RECENT);
}
