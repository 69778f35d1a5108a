// Why a query has no result: which of its selectors match nothing at all.

import { hasSeries } from "./hub";

/** More selectors than this are not looked at: each is a request. */
const MAX_SELECTORS = 6;

/** Sentences for people; none when the query went away meanwhile, or when the hub does not tell. */
export async function whyEmpty(expr: string, signal: AbortSignal): Promise<string[]> {
  try {
    const { selectorsOf } = await import("./promql");
    const selectors = selectorsOf(expr).slice(0, MAX_SELECTORS);
    const known = await Promise.all(selectors.map((selector) => hasSeries(selector, signal)));
    return explained(selectors, known);
  } catch {
    return []; // the page says without it that there is nothing; this is a help and not the answer
  }
}

/** `known` says for each of `selectors` whether the store has a series that it matches. */
export function explained(selectors: readonly string[], known: readonly boolean[]): string[] {
  const missing = selectors.filter((_, i) => !known[i]);
  if (missing.length > 0) {
    return missing.map((selector) => `Nothing stored matches ${selector}. Look at the metric's name and its labels.`);
  }
  if (selectors.length === 0) return ["The expression reads no series."];
  const subject = selectors.length === 1 ? `${selectors[0]} has series` : "Every selector has series";
  return [
    `${subject}, so it is the time or what is done with them: no sample within the lookback of this time, a comparison that is false for all, or two sides whose labels do not match.`,
  ];
}
