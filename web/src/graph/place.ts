// Place: where in the query an error is.

const PARSE_ERROR = /(\d+):(\d+): parse error: /;
const WORD = /[\w:.]/;

/** A range of UTF-16 units of the query: what editors count in. */
export interface Place {
  from: number;
  to: number;
}

/**
 * The word that a message such as `1:15: parse error: …` points at; null when it names no place. Lines and columns
 * count from one, columns in bytes of UTF-8. A place at the end is the last character, so that there is one to mark.
 */
export function placeOf(message: string, query: string): Place | null {
  const found = PARSE_ERROR.exec(message);
  if (!found || query === "") return null;
  const lines = query.split("\n");
  const line = lines[Number(found[1]) - 1];
  if (line === undefined) return null;
  const before = lines.slice(0, Number(found[1]) - 1).reduce((sum, one) => sum + one.length + 1, 0);
  const from = before + unitsOf(line, Number(found[2]) - 1);
  return from >= query.length ? { from: query.length - 1, to: query.length } : { from, to: endOfWord(query, from) };
}

/** How many UTF-16 units of `text` are before the byte at `bytes`. */
function unitsOf(text: string, bytes: number): number {
  let seen = 0;
  let units = 0;
  for (const character of text) {
    if (seen >= bytes) break;
    seen += new TextEncoder().encode(character).length;
    units += character.length;
  }
  return units;
}

function endOfWord(text: string, from: number): number {
  let to = from + 1;
  if (WORD.test(text[from]!)) while (to < text.length && WORD.test(text[to]!)) to++;
  return to;
}
