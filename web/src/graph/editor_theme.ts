// The look of the query box. All colours are the page's variables, so a change of theme needs nothing here.

import { HighlightStyle } from "@codemirror/language";
import { EditorView } from "@codemirror/view";
import { tags } from "@lezer/highlight";

export const highlighting = HighlightStyle.define([
  { tag: [tags.function(tags.variableName), tags.keyword, tags.modifier, tags.operatorKeyword, tags.logicOperator], color: "var(--accent)" },
  { tag: tags.labelName, color: "var(--warn)" },
  { tag: tags.string, color: "var(--good)" },
  { tag: tags.number, color: "var(--literal)" },
  { tag: [tags.operator, tags.separator, tags.paren, tags.squareBracket, tags.brace], color: "var(--dim)" },
  { tag: tags.comment, color: "var(--dim)", fontStyle: "italic" },
]);

const MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace";

export const theme = EditorView.theme({
  "&": { color: "var(--text)", backgroundColor: "transparent", fontSize: "inherit" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: MONO, lineHeight: "1.5" },
  ".cm-content": { padding: "8px 0", caretColor: "var(--text)", minHeight: "20px" },
  ".cm-line": { padding: "0 10px" },
  ".cm-placeholder": { color: "var(--dim)" },
  ".cm-wrong": {
    textDecoration: "underline wavy var(--bad) 1.5px", textUnderlineOffset: "3px", textDecorationSkipInk: "none",
    backgroundColor: "color-mix(in srgb, var(--bad) 14%, transparent)",
  },
  "&.cm-focused .cm-matchingBracket": { backgroundColor: "var(--edge)" },
  "&.cm-focused .cm-nonmatchingBracket": { backgroundColor: "transparent", color: "var(--bad)" },
  ".cm-tooltip": {
    backgroundColor: "var(--surface)", color: "var(--text)", border: "1px solid var(--edge)", borderRadius: "8px",
    boxShadow: "0 6px 24px #00000033", zIndex: "30",
  },
  ".cm-tooltip-below": { marginTop: "5px" }, // not over the underscores of what is being typed
  ".cm-tooltip-above": { marginBottom: "5px" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul": { fontFamily: MONO, fontSize: "13px", borderRadius: "7px", maxHeight: "min(17em, 45vh)", maxWidth: "min(640px, 92vw)" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li": { padding: "3px 10px", lineHeight: "1.5" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li[aria-selected]": { backgroundColor: "var(--accent)", color: "var(--on-accent)" },
  ".cm-tooltip-autocomplete > ul > li[aria-selected] .cm-completionDetail": { color: "var(--on-accent)" },
  ".cm-completionMatchedText": { textDecoration: "none", fontWeight: "700" },
  ".cm-completionDetail": { color: "var(--dim)", fontStyle: "normal", fontSize: "12px", marginLeft: "1.2em" },
  ".cm-tooltip.cm-completionInfo": { maxWidth: "min(320px, 92vw)", padding: "7px 10px", fontSize: "13px" },
}); // prettier-ignore
