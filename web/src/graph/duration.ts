// Durations as Prometheus writes them: 1h30m, 15s, 250ms.

const UNITS: readonly [string, number][] = [
  ["y", 31_536_000_000], ["w", 604_800_000], ["d", 86_400_000], ["h", 3_600_000],
  ["m", 60_000], ["s", 1000], ["ms", 1],
]; // prettier-ignore
const WHOLE = /^(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?$/;
const SECONDS = /^\d+(?:\.\d+)?$/;

/** Milliseconds of `text`, a duration or plain seconds; null when it is neither, or nothing. */
export function parseDuration(text: string): number | null {
  const trimmed = text.trim();
  if (SECONDS.test(trimmed)) return positive(Math.round(Number(trimmed) * 1000));
  const found = WHOLE.exec(trimmed);
  if (!found) return null;
  return positive(UNITS.reduce((sum, [, size], i) => sum + Number(found[i + 1] ?? 0) * size, 0));
}

function positive(ms: number): number | null {
  return ms > 0 && Number.isSafeInteger(ms) ? ms : null;
}

/** The exact spelling of `ms`, in as few units as it takes; weeks and years only where nothing is left over. */
export function formatDuration(ms: number): string {
  let rest = Math.round(ms);
  const parts: string[] = [];
  for (const [name, size] of UNITS) {
    if ((name === "y" || name === "w") && rest % size !== 0) continue;
    const count = Math.floor(rest / size);
    if (count > 0) parts.push(`${count}${name}`);
    rest -= count * size;
  }
  return parts.join("") || "0s";
}
