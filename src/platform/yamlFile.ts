import { LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';
import { BillingError } from '../domain/errors.js';

/** A YAML file that a schema has read. */
export interface YamlFile<Data> {
  data: Data;
  /** Notes what is wrong at a place that the schema can't check; `refuse` then throws. */
  mistake(path: readonly PropertyKey[], message: string): void;
  /** Throws INVALID with every mistake noted, each with its place (`line 12: plans.0.price: …`). */
  refuse(): void;
  /** The line of what is at a path, or of the nearest thing around it. */
  lineOf(path: readonly PropertyKey[]): number | undefined;
}

/** Reads YAML by a schema. Every scalar reaches it as text, so that 49.00 never becomes a binary float; an empty one is null. */
export function readYaml<Schema extends z.ZodType>(yaml: string, schema: Schema): YamlFile<z.output<Schema>> {
  const lines = new LineCounter();
  const document = parseDocument(yaml, { lineCounter: lines, schema: 'failsafe', prettyErrors: true });
  if (document.errors.length > 0) throw new BillingError('INVALID', document.errors.map((e) => e.message).join('\n'));
  const lineOf = (path: readonly PropertyKey[]): number | undefined => {
    for (let depth = path.length; depth > 0; depth--) {
      const node = document.getIn(path.slice(0, depth), true) as { range?: [number, number, number] } | undefined;
      if (node?.range) return lines.linePos(node.range[0]).line;
    }
    return undefined;
  };
  const mistakes: string[] = [];
  const mistake = (path: readonly PropertyKey[], message: string): void => {
    const line = lineOf(path);
    mistakes.push(`${line === undefined ? '' : `line ${line}: `}${path.join('.')}: ${message}`);
  };
  const refuse = (): void => {
    if (mistakes.length > 0) throw new BillingError('INVALID', mistakes.join('\n'));
  };
  const parsed = schema.safeParse(nullsOf(document.toJS()));
  for (const issue of parsed.error?.issues ?? []) mistake(issue.path, issue.message);
  refuse();
  return { data: parsed.data!, mistake, refuse, lineOf };
}

/** The failsafe schema reads every scalar as text; an empty one or `null` means none. */
function nullsOf(value: unknown): unknown {
  if (value === '' || value === 'null' || value === '~') return null;
  if (Array.isArray(value)) return value.map(nullsOf);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, nullsOf(part)]));
}
