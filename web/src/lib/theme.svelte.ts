// The theme: the system's unless chosen. The choice is kept; public/assets/theme.js applies it before the first paint.

export type Choice = "system" | "light" | "dark";
const KEY = "peerwatch-theme";
const NEXT: Record<Choice, Choice> = { system: "light", light: "dark", dark: "system" };

class Theme {
  choice = $state<Choice>(initial());
  /** Counts changes, so that canvases know when to read their colours anew. */
  revision = $state(0);

  constructor() {
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.revision++);
  }

  cycle(): void {
    this.choice = NEXT[this.choice];
    if (this.choice === "system") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = this.choice;
    try {
      if (this.choice === "system") localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, this.choice);
    } catch {
      // Storage may be forbidden: the choice then lasts as long as the page.
    }
    this.revision++;
  }
}

function initial(): Choice {
  const set = document.documentElement.dataset["theme"];
  return set === "light" || set === "dark" ? set : "system";
}

export const theme = new Theme();
