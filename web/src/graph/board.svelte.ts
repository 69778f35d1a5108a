// Board: the panels of the page, their address, and the expressions that were run before.

import { blank, decode, encode, MAX_PANELS, type Asked } from "./address";
import { Panel } from "./panel.svelte";
import { parseRecent, remembered } from "./recent";

const KEY = "peerwatch-queries";

/** The one owner of the address: what is asked is in it, so that a link, a reload and the back button show the same. */
class Board {
  panels = $state.raw<Panel[]>([]);
  recent = $state.raw<string[]>(parseRecent(stored()));
  private nextId = 1;

  /** Show what the address says, and follow it. */
  start(): void {
    this.read();
    window.addEventListener("popstate", () => this.read());
    window.addEventListener("storage", (event) => {
      if (event.key === KEY) this.recent = parseRecent(event.newValue); // another tab ran something
    });
  }

  get full(): boolean {
    return this.panels.length >= MAX_PANELS;
  }

  add(): void {
    if (this.full) return;
    const last = this.panels[this.panels.length - 1];
    this.panels = [...this.panels, this.made(blank(last?.asked.tab))];
    this.write();
  }

  remove(panel: Panel): void {
    panel.cancel();
    const left = this.panels.filter((one) => one !== panel);
    this.panels = left.length > 0 ? left : [this.made(blank())];
    this.write();
  }

  /** Run what is in the editor, with `changes` to how it is asked. */
  ask(panel: Panel, changes: Partial<Asked> = {}): void {
    panel.asked = { ...panel.asked, expr: panel.text, ...changes };
    this.write();
    void panel.run();
  }

  forget(): void {
    this.recent = [];
    this.keep();
  }

  private read(): void {
    const asked = decode(location.search);
    const old = this.panels;
    for (const panel of old.slice(asked.length)) panel.cancel();
    this.panels = asked.map((one, i) => old[i] ?? this.made(one));
    this.panels.forEach((panel, i) => {
      if (old.includes(panel)) panel.show(asked[i]!);
      else void panel.run();
    });
    this.title();
  }

  private write(): void {
    const query = encode(this.panels.map((panel) => panel.asked));
    if (query !== location.search.slice(1)) history.pushState(null, "", query === "" ? location.pathname : `?${query}`);
    this.title();
  }

  private title(): void {
    const expr = this.panels[0]?.asked.expr.trim() ?? "";
    document.title = expr === "" ? "Query · peerwatch" : `${expr.slice(0, 80)} · peerwatch`;
  }

  private made(asked: Asked): Panel {
    return new Panel(this.nextId++, asked, (expr) => {
      this.recent = remembered(this.recent, expr);
      this.keep();
    });
  }

  private keep(): void {
    try {
      localStorage.setItem(KEY, JSON.stringify(this.recent));
    } catch {
      // Storage may be forbidden or full: the list then lasts as long as the page.
    }
  }
}

function stored(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // forbidden: an empty list
  }
}

export const board = new Board();
