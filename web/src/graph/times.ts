// Times in the forms of addresses (UTC) and of input fields (local).

const UTC = /^(\d{4}-\d{2}-\d{2})[ T](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?)Z?$/;
const two = (value: number): string => String(value).padStart(2, "0");

/** `2026-11-21 08:00:00` in UTC, as Prometheus's links have it. */
export function formatUtc(ms: number): string {
  return new Date(ms).toISOString().slice(0, 19).replace("T", " ");
}

/** The moment of a link's UTC time, in ms; null when it is none. */
export function parseUtc(text: string): number | null {
  const found = UTC.exec(text.trim());
  if (!found) return null;
  const ms = Date.parse(`${found[1]}T${found[2]}Z`);
  return Number.isNaN(ms) ? null : ms;
}

/** For an input of type datetime-local, to the second. */
export function toLocalInput(ms: number): string {
  const date = new Date(ms);
  const day = `${String(date.getFullYear()).padStart(4, "0")}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day}T${localTime(ms)}`;
}

/** What such an input holds, in ms; null when it is empty or not complete. */
export function fromLocalInput(text: string): number | null {
  const ms = text ? Date.parse(text) : Number.NaN;
  return Number.isNaN(ms) ? null : ms;
}

/** 08:26:52, local. */
export function localTime(ms: number): string {
  const date = new Date(ms);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** 2026-11-21 08:26:52, local. */
export function localMoment(ms: number): string {
  return toLocalInput(ms).replace("T", " ");
}
