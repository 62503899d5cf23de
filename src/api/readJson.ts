import { isRawNumber, parseExact } from '../platform/exactJson.js';
import { HttpRefusal } from './problem.js';

/** Levels of objects and arrays in a body; PostgreSQL's jsonb and `JSON.stringify` both recurse over what we store. */
const maxNesting = 32;
const utf8 = new TextDecoder('utf-8', { fatal: true });

/** Reads JSON of UTF-8, with every number as it is written; nothing for an empty body. Throws MALFORMED, with the place. */
export function readJson(bytes: Uint8Array): unknown {
  const text = readText(bytes);
  return text.trim() === '' ? undefined : parseJson(text, 'The body');
}

/** Reads one JSON value a line (ndjson); empty lines don't count. */
export const readJsonLines = (bytes: Uint8Array): unknown[] =>
  readText(bytes)
    .split('\n')
    .flatMap((line, index) => (line.trim() === '' ? [] : [parseJson(line, `Line ${index + 1}`)]));

function readText(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new HttpRefusal('MALFORMED', 'The body is not UTF-8');
  }
}

function parseJson(text: string, where: string): unknown {
  let value: unknown;
  try {
    value = parseExact(text);
  } catch (error) {
    // A RangeError: nested so deeply that the parser ran out of stack.
    const reason = error instanceof SyntaxError ? error.message : 'nested too deeply';
    throw new HttpRefusal('MALFORMED', `${where} is not JSON: ${reason}`);
  }
  checkStorable(value, where, 0);
  return value;
}

/** Refuses what is JSON but can't be kept by PostgreSQL: the zero byte, half characters, endless numbers and nesting. */
function checkStorable(value: unknown, where: string, depth: number): void {
  if (depth > maxNesting) throw new HttpRefusal('MALFORMED', `${where} is nested more than ${maxNesting} levels deep`);
  if (typeof value === 'string') {
    if (value.includes('\0') || !value.isWellFormed()) {
      throw new HttpRefusal('MALFORMED', `${where} has a text with a zero byte or half a surrogate pair`);
    }
  } else if (isRawNumber(value)) {
    if (value.rawJSON.length > 100 || /e[+-]?\d{4}/i.test(value.rawJSON)) {
      throw new HttpRefusal('MALFORMED', `${where} has a number that is too long: ${value.rawJSON.slice(0, 40)}…`);
    }
  } else if (typeof value === 'object' && value !== null) {
    for (const [key, part] of Object.entries(value)) {
      checkStorable(key, where, depth);
      checkStorable(part, where, depth + 1);
    }
  }
}
