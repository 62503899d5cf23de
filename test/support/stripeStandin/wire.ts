import { randomBytes } from 'node:crypto';

/** Objects as they go over the wire: the SDK's types are checked where they are read, in the adapter. */
// biome-ignore lint/suspicious/noExplicitAny: see above
export type Wire = any;

/** A refusal in Stripe's form (docs.stripe.com/api/errors). */
export class StripeFault extends Error {
  constructor(
    readonly status: number,
    readonly error: Wire,
    readonly headers: Record<string, string> = {},
  ) {
    super(error.message);
  }
}

export const invalid = (message: string, more: Wire = {}): StripeFault =>
  new StripeFault(400, { type: 'invalid_request_error', message, ...more });

export const missing = (kind: string, id: unknown, param = 'id'): StripeFault =>
  new StripeFault(404, {
    type: 'invalid_request_error',
    code: 'resource_missing',
    param,
    message: `No such ${kind}: '${id}'`,
  });

export const required = (param: string): StripeFault =>
  invalid(`Missing required param: ${param}.`, { code: 'parameter_missing', param });

export const newRef = (prefix: string): string => `${prefix}_${randomBytes(12).toString('hex')}`;

export const isTrue = (value: unknown): boolean => value === true || value === 'true';

/** Nested form fields, `metadata[account_id]=…`, `types[0]=…`, as Stripe reads them. */
export function parseForm(text: string): Wire {
  const out: Wire = {};
  for (const [name, value] of new URLSearchParams(text)) {
    const path = name.replaceAll(']', '').split('[');
    let at = out;
    for (const part of path.slice(0, -1)) {
      at[part] ??= {};
      at = at[part];
    }
    at[path.at(-1)!] = value;
  }
  return withLists(out);
}

function withLists(value: Wire): Wire {
  if (typeof value !== 'object' || value === null) return value;
  const parts = Object.entries(value).map(([key, part]) => [key, withLists(part)] as const);
  const isList = parts.length > 0 && parts.every(([key], i) => key === String(i) || key === '');
  return isList ? parts.map(([, part]) => part) : Object.fromEntries(parts);
}

/** A page of a list, newest first. */
export function pageOf(url: string, oldestFirst: readonly Wire[], query: Wire): Wire {
  const limit = Number(query.limit ?? 10);
  if (!Number.isInteger(limit) || limit < 1 || limit > 100) throw invalid('Invalid limit', { param: 'limit' });
  let rows = oldestFirst.toReversed();
  if (query.created?.gte) rows = rows.filter((row) => row.created >= Number(query.created.gte));
  if (query.starting_after) {
    const at = rows.findIndex((row) => row.id === query.starting_after);
    if (at < 0) throw missing('object', query.starting_after, 'starting_after');
    rows = rows.slice(at + 1);
  }
  return { object: 'list', url, has_more: rows.length > limit, data: rows.slice(0, limit) };
}
