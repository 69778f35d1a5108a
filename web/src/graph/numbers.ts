// Numbers of queries, whose unit nobody knows: exact in tables, short on axes and in legends.

const PREFIXES: readonly [number, string][] = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"]]; // prettier-ignore

/** The number of a sample as the API spells it. */
export function parseNumber(text: string): number {
  if (text === "+Inf") return Infinity;
  if (text === "-Inf") return -Infinity;
  return Number(text); // "NaN" gives NaN
}

/** Five digits at most, with a prefix instead of zeros. */
export function short(value: number | null): string {
  if (value === null || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "+Inf" : "-Inf";
  const [size, prefix] = scale(Math.abs(value));
  return `${Number((value / size).toPrecision(5))}${prefix === "" ? "" : ` ${prefix}`}`;
}

/** Labels of an axis whose lines are `increment` apart: all with one prefix, and as many decimals as tell them apart. */
export function axisNumbers(splits: readonly number[], increment: number): string[] {
  const [size, prefix] = scale(Math.max(...splits.map(Math.abs)));
  const decimals = Math.max(0, Math.ceil(-Math.log10(increment / size) - 1e-9));
  return splits.map((split) => {
    if (split === 0) return "0";
    const scaled = split / size;
    const text = Math.abs(scaled) >= 1e6 || decimals > 9 ? String(Number(scaled.toPrecision(6))) : scaled.toFixed(decimals);
    return prefix === "" ? text : `${text} ${prefix}`;
  });
}

function scale(value: number): readonly [number, string] {
  if (value >= 1e15 || value < 1e-9) return [1, ""]; // an exponent says it better, and zero needs nothing
  return PREFIXES.find(([size]) => value >= size) ?? [1, ""];
}
