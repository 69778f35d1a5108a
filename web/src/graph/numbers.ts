// Numbers of queries, whose unit nobody knows: exact in tables, short on axes and in legends.

const PREFIXES: readonly [number, string][] = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]; // prettier-ignore
const PLAIN_FROM = 1e-4; // smaller ones, and those too large for a prefix, get an exponent
const PLAIN_TO = 1e15;
const MAX_DECIMALS = 9;

/** The number of a sample as the API spells it. */
export function parseNumber(text: string): number {
  if (text === "+Inf") return Infinity;
  if (text === "-Inf") return -Infinity;
  return Number(text); // "NaN" gives NaN
}

/** Five digits at most; thousands and more with a prefix. */
export function short(value: number | null): string {
  if (value === null || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "+Inf" : "-Inf";
  const [size, prefix] = scale(value);
  const scaled = Number((value / size).toPrecision(5));
  return isPlain(value) ? `${scaled}${prefix}` : scaled.toExponential();
}

/** Labels of an axis whose lines are `increment` apart: all with one prefix, and as many decimals as tell them apart. */
export function axisNumbers(splits: readonly number[], increment: number): string[] {
  const top = Math.max(...splits.map(Math.abs));
  const [size, prefix] = scale(top);
  const decimals = decimalsOf(increment / size);
  return splits.map((split) => {
    if (split === 0) return "0";
    const scaled = split / size;
    if (decimals === null || !isPlain(top)) return Number(scaled.toPrecision(6)).toExponential();
    return `${scaled.toFixed(decimals)}${prefix}`;
  });
}

/** How many decimals `increment` has; null when they are too many to show. */
function decimalsOf(increment: number): number | null {
  for (let decimals = 0; decimals <= MAX_DECIMALS; decimals++) {
    const shifted = increment * 10 ** decimals;
    if (shifted >= 0.999 && Math.abs(shifted - Math.round(shifted)) < 1e-6 * shifted) return decimals;
  }
  return null;
}

function isPlain(value: number): boolean {
  const size = Math.abs(value);
  return size === 0 || (size >= PLAIN_FROM && size < PLAIN_TO);
}

/** What to divide by, and the prefix that says so. */
function scale(value: number): readonly [number, string] {
  if (!isPlain(value)) return [1, ""];
  const found = PREFIXES.find(([size]) => Math.abs(value) >= size);
  return found ? [found[0], ` ${found[1]}`] : [1, ""];
}
