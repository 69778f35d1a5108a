// The door to codemirror-promql: language, completion, and the selectors of an expression. Loaded with the editor only.

import type { CompletionSource } from "@codemirror/autocomplete";
import { LanguageType, newCompleteStrategy, promQLLanguage } from "@prometheus-io/codemirror-promql";
import { completionClient } from "./completion";

export const promql = promQLLanguage(LanguageType.PromQL);

const strategy = newCompleteStrategy({ remote: completionClient() });

/** Completion of functions and keywords by the grammar, of names and values by the hub. */
export const complete: CompletionSource = (context) => strategy.promQL(context);

/** The vector selectors of `expr`, as they are written, each once. */
export function selectorsOf(expr: string): string[] {
  const found = new Set<string>();
  promql.parser.parse(expr).iterate({
    enter: (node) => {
      if (node.name === "VectorSelector") found.add(expr.slice(node.from, node.to));
    },
  });
  return [...found];
}
