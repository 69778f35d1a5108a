// Colours of series: fixed for names that everyone knows, by position for the rest. Values are CSS variables of app.css.

const FIXED: Record<string, string> = {
  user: "blue", system: "amber", nice: "teal", iowait: "red", irq: "olive", softirq: "violet", steal: "grey",
  used: "blue", cache: "teal", free: "grey", total: "grey",
  "1 min": "blue", "5 min": "teal", "15 min": "violet", cores: "grey",
  established: "green", time_wait: "blue", listen: "grey", close_wait: "red", syn_sent: "amber", syn_recv: "olive",
  fin_wait1: "violet", fin_wait2: "pink", last_ack: "brown", closing: "brown", close: "brown",
  age: "violet",
}; // prettier-ignore
export const CYCLE = ["blue", "amber", "green", "violet", "teal", "pink", "olive", "brown", "red"] as const;

/** The names of the colours of `labels`; both directions of one device have one colour. */
export function colours(labels: string[]): string[] {
  const given = new Map<string, string>();
  return labels.map((label) => {
    const fixed = FIXED[label];
    if (fixed) return fixed;
    const subject = label.replace(/ (rx|tx|read|write)$/, "");
    const colour = given.get(subject) ?? CYCLE[given.size % CYCLE.length]!;
    given.set(subject, colour);
    return colour;
  });
}

/** Series that are a limit rather than a measurement are drawn as a dashed line. */
export function isLimit(label: string): boolean {
  return label === "cores" || label === "total";
}

/** The present value of a CSS variable: canvases cannot use variables. */
export function cssColour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
