// Numbers as people read them: three digits, a unit, and the same width while they change.

import type { Unit, Value } from "./wire";

export interface Quantity {
  number: string;
  unit: string;
}

const BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] as const;
const NONE = "–";

/** `value` in `unit`, number and unit apart, so that a page can set them differently. */
export function quantity(value: Value | undefined, unit: Unit): Quantity {
  if (value === null || value === undefined || !Number.isFinite(value)) return { number: NONE, unit: "" };
  switch (unit) {
    case "percent":
      return { number: digits(value), unit: "%" };
    case "bytes":
      return binary(value, "");
    case "bytes_per_second":
      return binary(value, "/s");
    case "seconds":
      return duration(value);
    case "connections":
      return { number: Math.round(value).toLocaleString("en"), unit: "" };
    case "number":
      return { number: value.toFixed(Math.abs(value) < 100 ? 2 : 0), unit: "" };
  }
}

/** `value` in `unit` as one text. */
export function text(value: Value | undefined, unit: Unit): string {
  const { number, unit: name } = quantity(value, unit);
  return name ? `${number}\u202f${name}` : number;
}

function binary(value: number, suffix: string): Quantity {
  let power = 0;
  let scaled = value;
  // 999.5 and not 1024: a fourth digit would make the column jump.
  while (Math.abs(scaled) >= 999.5 && power < BINARY.length - 1) {
    scaled /= 1024;
    power += 1;
  }
  return { number: power === 0 ? scaled.toFixed(0) : digits(scaled), unit: `${BINARY[power]}${suffix}` };
}

/** Three significant digits below 1000, never an exponent. */
function digits(value: number): string {
  const size = Math.abs(value);
  if (size >= 99.95) return value.toFixed(0);
  return value.toFixed(size >= 9.995 ? 1 : 2);
}

function duration(seconds: number): Quantity {
  const size = Math.abs(seconds);
  if (size < 1e-3) return { number: (seconds * 1e6).toFixed(0), unit: "µs" };
  if (size < 1) return { number: (seconds * 1e3).toFixed(0), unit: "ms" };
  if (size < 120) return { number: seconds.toFixed(size < 9.95 && !Number.isInteger(seconds) ? 1 : 0), unit: "s" };
  if (size < 7200) return { number: (seconds / 60).toFixed(0), unit: "min" };
  if (size < 172_800) return { number: (seconds / 3600).toFixed(size < 36_000 ? 1 : 0), unit: "h" };
  return { number: (seconds / 86_400).toFixed(0), unit: "d" };
}

/** Labels of an axis: all in the unit of the largest, so that they can be compared at a glance; signs are dropped. */
export function axisLabels(splits: number[], unit: Unit): string[] {
  const top = Math.max(...splits.map(Math.abs));
  if (unit === "bytes" || unit === "bytes_per_second") {
    const power = top > 0 ? Math.min(BINARY.length - 1, Math.max(0, Math.floor(Math.log2(top) / 10 + 1e-9))) : 0;
    const suffix = unit === "bytes" ? "" : "/s";
    return splits.map((split) => {
      const scaled = Math.abs(split) / 1024 ** power;
      return split === 0 ? "0" : `${trim(scaled)} ${BINARY[power]}${suffix}`;
    });
  }
  const suffix = unit === "percent" ? " %" : unit === "seconds" ? " s" : "";
  return splits.map((split) => (split === 0 ? "0" : `${trim(Math.abs(split))}${suffix}`));
}

function trim(value: number): string {
  return String(Number(value.toPrecision(3)));
}

const two = (value: number): string => String(value).padStart(2, "0");
const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"] as const;

/** Labels of the time axis in local time: the day at midnight, seconds only where the grid needs them. */
export function timeLabels(splits: number[], incrementSeconds: number): string[] {
  return splits.map((split) => {
    const date = new Date(split * 1000);
    const midnight = date.getHours() === 0 && date.getMinutes() === 0 && date.getSeconds() === 0;
    if (midnight || incrementSeconds >= 86_400) return `${DAYS[date.getDay()]} ${date.getDate()}`;
    const minutes = `${two(date.getHours())}:${two(date.getMinutes())}`;
    return incrementSeconds < 60 ? `${minutes}:${two(date.getSeconds())}` : minutes;
  });
}

/** The moment under the cursor; with its day when the chart spans more than one. */
export function moment(seconds: number, withDay: boolean): string {
  const date = new Date(seconds * 1000);
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return withDay ? `${DAYS[date.getDay()]} ${date.getDate()} ${time}` : time;
}
