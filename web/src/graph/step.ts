// Step: how far apart the points of a graph are.

const CALM_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400] as const;
const DAY_S = 86_400;

/** Enough for the width of a screen; a wider one would show no more. */
const POINTS = 300;

/** The smallest calm step that keeps a graph over `rangeMs` within `POINTS` points. The same on every screen. */
export function autoStepMs(rangeMs: number): number {
  const least = rangeMs / 1000 / POINTS;
  const calm = CALM_S.find((step) => step >= least) ?? Math.ceil(least / DAY_S) * DAY_S;
  return calm * 1000;
}
