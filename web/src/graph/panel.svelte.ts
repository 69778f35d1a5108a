// Panel: one query of the page, what it asks, and what came back.

import { blank, type Asked, type Tab } from "./address";
import { isEmpty, type Grid, type QueryData } from "./answer";
import { whyEmpty } from "./empty";
import { formatQuery, hubNowMs, queryAt, queryRange, type Answer } from "./hub";
import { placeOf, type Place } from "./place";
import { autoStepMs } from "./step";

/** What a query brought. `grid` belongs to a range query; `tab` says which of the two it was. */
export interface Result {
  tab: Tab;
  data: QueryData;
  grid: Grid | null;
  warnings: string[];
  infos: string[];
  truncated: boolean;
  tookMs: number;
}

export interface Trouble {
  message: string;
  place: Place | null;
}

/** A query runs at a time at most; a new one, or `cancel`, ends it, and the hub stops working on it. */
export class Panel {
  asked = $state.raw<Asked>(blank());
  /** The text of the editor: runs ahead of `asked.expr` until it is run. */
  text = $state("");
  running = $state(false);
  result = $state.raw<Result | null>(null);
  trouble = $state.raw<Trouble | null>(null);
  /** Why there is nothing, one sentence per line; empty while something is there, or while it is being found out. */
  hints = $state.raw<string[]>([]);
  /** What is said aloud when something has happened. */
  said = $state("");
  private work: AbortController | null = null;

  constructor(
    readonly id: number,
    asked: Asked,
    private readonly succeeded: (expr: string) => void,
  ) {
    this.asked = asked;
    this.text = asked.expr;
  }

  get stepMs(): number {
    return this.asked.stepMs ?? autoStepMs(this.asked.rangeMs);
  }

  /** Take over what an address says, and run it if that is something else. */
  show(asked: Asked): void {
    const same = JSON.stringify(asked) === JSON.stringify(this.asked);
    this.asked = asked;
    this.text = asked.expr;
    if (!same) void this.run();
  }

  async run(): Promise<void> {
    this.work?.abort();
    this.trouble = null;
    this.hints = [];
    const { expr, tab } = this.asked;
    if (this.result?.tab !== tab || expr.trim() === "") this.result = null;
    this.running = expr.trim() !== "";
    if (!this.running) return;
    const work = new AbortController();
    this.work = work;
    const started = performance.now();
    try {
      const { answer, grid } = await this.ask(work.signal);
      work.signal.throwIfAborted(); // it may have come in at the very moment of the next query
      this.result = { tab, grid, ...answer, tookMs: performance.now() - started };
      this.said = summary(this.result);
      this.succeeded(expr);
      this.running = false;
      const hints = isEmpty(answer.data) ? await whyEmpty(expr, work.signal) : [];
      if (!work.signal.aborted) this.hints = hints;
    } catch (error) {
      if (work.signal.aborted) return;
      this.result = null;
      this.fail(error, expr);
    } finally {
      if (this.work === work) this.running = false;
    }
  }

  cancel(): void {
    this.work?.abort();
    this.running = false;
    this.result = null; // an older answer would look like the one that was asked for
    this.said = "Cancelled.";
  }

  /** The text, well laid out by the hub's own printer. */
  async format(): Promise<void> {
    const text = this.text;
    if (text.trim() === "") return;
    this.trouble = null;
    try {
      const laidOut = await formatQuery(text, AbortSignal.timeout(10_000));
      if (this.text === text) this.text = laidOut; // what was typed meanwhile is worth more
    } catch (error) {
      this.fail(error, text);
    }
  }

  private async ask(signal: AbortSignal): Promise<{ answer: Answer<QueryData>; grid: Grid | null }> {
    const { expr, tab, momentMs, rangeMs, endMs } = this.asked;
    if (tab === "table") return { answer: await queryAt(expr, momentMs, signal), grid: null };
    const end = endMs ?? (await hubNowMs(signal));
    const grid = { startMs: end - rangeMs, endMs: end, stepMs: this.stepMs };
    return { answer: await queryRange(expr, grid.startMs, grid.endMs, grid.stepMs, signal), grid };
  }

  private fail(error: unknown, expr: string): void {
    const message = error instanceof Error ? error.message : String(error);
    this.trouble = { message, place: placeOf(message, expr) };
  }
}

function summary({ data }: Result): string {
  if (data.resultType === "scalar" || data.resultType === "string") return `One ${data.resultType}.`;
  return data.result.length === 1 ? "One series." : `${data.result.length} series.`;
}
