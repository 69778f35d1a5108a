// Selector: label sets as PromQL that selects them.

export type Metric = Readonly<Record<string, string>>;

const NAME = "__name__";
const PLAIN_METRIC = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const PLAIN_LABEL = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

/** A label set in the parts that people look at. `name` is empty where there is none, or where it must be quoted. */
export interface Parts {
  name: string;
  labels: readonly (readonly [name: string, value: string])[];
}

export function parts(metric: Metric): Parts {
  const name = metric[NAME] ?? "";
  const labels = Object.entries(metric)
    .filter(([label]) => label !== NAME)
    .map(([label, value]) => [PLAIN_LABEL.test(label) ? label : quoted(label), value] as const);
  if (name === "" || PLAIN_METRIC.test(name)) return { name, labels };
  return { name: "", labels: [[quoted(name), ""], ...labels] }; // PromQL has such names inside the braces
}

/** `up{job="node"}`: it can be run as it is. A series without any label is `{}`. */
export function selector(metric: Metric): string {
  const { name, labels } = parts(metric);
  const quotedName = name === "" && metric[NAME] ? 1 : 0;
  const inside = labels.map(([label, value], i) => (i < quotedName ? label : `${label}=${quoted(value)}`)).join(", ");
  return name !== "" && inside === "" ? name : `${name}{${inside}}`;
}

/** A string as PromQL writes it. */
export function quoted(text: string): string {
  return JSON.stringify(text);
}
