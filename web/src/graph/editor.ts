// The query box: CodeMirror in a shadow root. Loaded when the page needs it, and only there.
//
// In a shadow root, because CodeMirror then brings its rules as constructed style sheets, which the page's
// Content-Security-Policy allows; in the document it would write <style> elements, which that forbids.

import { acceptCompletion, autocompletion, closeBrackets, closeBracketsKeymap, closeCompletion, completionStatus, moveCompletionSelection } from "@codemirror/autocomplete"; // prettier-ignore
import { defaultKeymap, history, historyKeymap, insertNewline } from "@codemirror/commands";
import { bracketMatching, syntaxHighlighting } from "@codemirror/language";
import { EditorState, Prec, StateEffect, StateField, type Extension } from "@codemirror/state";
import { Decoration, EditorView, keymap, placeholder, type Command, type DecorationSet } from "@codemirror/view";
import { highlighting, theme } from "./editor_theme";
import type { Place } from "./place";
import { complete, promql } from "./promql";

export interface EditorOptions {
  root: ShadowRoot;
  text: string;
  label: string;
  hint: string;
  changed: (text: string) => void;
  run: () => void;
}

export interface Editor {
  readonly focused: boolean;
  focus(): void;
  /** Put `text` in; undoing brings the old one back. Does nothing when it is there already. */
  setText(text: string): void;
  /** Underline a place until the text changes; null takes the line away. */
  mark(place: Place | null): void;
  destroy(): void;
}

const marked = StateEffect.define<Place | null>();
const wavy = Decoration.mark({ class: "cm-wrong" });

const wrong = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update(value, transaction) {
    let next = transaction.docChanged ? Decoration.none : value;
    for (const effect of transaction.effects) {
      if (effect.is(marked)) next = effect.value ? Decoration.set(wavy.range(effect.value.from, effect.value.to)) : Decoration.none;
    }
    return next;
  },
  provide: (field) => [
    EditorView.decorations.from(field),
    EditorView.contentAttributes.from(field, (value) => ({ "aria-invalid": String(value.size > 0) })),
  ],
});

export function openEditor(options: EditorOptions): Editor {
  const parent = document.createElement("div");
  options.root.append(parent);
  const view = new EditorView({
    state: EditorState.create({ doc: options.text, extensions: extensions(options) }),
    parent,
    root: options.root,
  });
  return {
    get focused() {
      return view.hasFocus;
    },
    focus: () => view.focus(),
    setText(text) {
      const old = view.state.doc;
      if (text === old.toString()) return;
      view.dispatch({ changes: { from: 0, to: old.length, insert: text }, selection: { anchor: text.length } });
    },
    mark(place) {
      if (place === null || place.to <= view.state.doc.length) view.dispatch({ effects: marked.of(place) });
    },
    destroy() {
      view.destroy();
      parent.remove();
    },
  };
}

function extensions({ label, hint, changed, run }: EditorOptions): Extension[] {
  const enter: Command = (view) => {
    closeCompletion(view);
    run();
    return true;
  };
  return [
    // Nothing is chosen until somebody chooses: Enter runs the query, whether or not names have come in by then.
    autocompletion({ override: [complete], selectOnOpen: false, interactionDelay: 0, icons: false, maxRenderedOptions: 100 }),
    Prec.high(keymap.of([
      { key: "Enter", run: enter },
      { key: "Mod-Enter", run: enter },
      { key: "Shift-Enter", run: insertNewline },
      { key: "Tab", run: acceptFirst },
    ])), // prettier-ignore
    keymap.of([...closeBracketsKeymap, ...historyKeymap, ...defaultKeymap]),
    history(),
    promql,
    closeBrackets(),
    bracketMatching(),
    syntaxHighlighting(highlighting),
    theme,
    wrong,
    placeholder(hint),
    EditorView.lineWrapping,
    EditorView.contentAttributes.of({ "aria-label": label, "aria-multiline": "true", spellcheck: "false", autocapitalize: "off" }),
    EditorView.updateListener.of((update) => {
      if (update.docChanged) changed(update.state.doc.toString());
    }),
  ];
}

/** Tab takes what is chosen, or else the first; without a list, and none on its way, it moves the focus, as everywhere. */
const acceptFirst: Command = (view) => {
  const status = completionStatus(view.state);
  if (status === "active" && !acceptCompletion(view)) {
    moveCompletionSelection(true)(view);
    acceptCompletion(view);
  }
  return status !== null;
};
