import { CommanderError, InvalidArgumentError } from 'commander';
import { ConfigError } from './config.js';
import { BillingError } from './domain/errors.js';

/** What a command reads and writes; `process` is one. Results go to stdout, everything else to stderr. */
export interface Terminal {
  readonly stdin: AsyncIterable<Uint8Array | string>;
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown; readonly isTTY?: boolean };
}

/** The shell's code for a program that SIGINT ended (128 + 2). */
export const interruptedCode = 130;

/** Thrown when a signal ended a command early. What there is to say has been said. */
export class Interrupted extends Error {}

/** Thrown when a command did its work but not all of it was good. What there is to say has been said. */
export class NotAllGood extends Error {}

/** One JSON document with `--json`, else text for people. */
export function print(
  { stdout }: Terminal,
  { json, document, text }: { json: boolean | undefined; document: unknown; text: string },
): void {
  stdout.write(`${json ? JSON.stringify(document) : text.trimEnd()}\n`);
}

/** Rows as aligned columns, two spaces apart. */
export function columns(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** JSON on one line, cut to what fits a terminal. */
export function excerpt(value: unknown, length = 100): string {
  const text = JSON.stringify(value);
  return text.length > length ? `${text.slice(0, length)}…` : text;
}

/** An option's value as a whole number; commander says what was expected. */
export const wholeNumber =
  ({ min, max }: { min: number; max: number }) =>
  (text: string): number => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max))
      throw new InvalidArgumentError(`Expected a whole number from ${min} to ${max}.`);
    return value;
  };

const unitMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const maxDurationMs = 3_650 * unitMs.d!;

/** An option's `15m` in milliseconds. */
export function parseDuration(text: string): number {
  const [, count, unit] = /^(\d+)([smhd])$/.exec(text) ?? [];
  const ms = Number(count) * (unitMs[unit ?? ''] ?? Number.NaN);
  if (!(ms > 0 && ms <= maxDurationMs))
    throw new InvalidArgumentError('Expected a time such as 30s, 15m, 1h or 7d, at most 3650d.');
  return ms;
}

/** Exit code for what a command threw, after saying it: expected failures in their own words, the others with a stack. */
export function reportFailure({ stderr }: Terminal, error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode; // commander has said it
  if (error instanceof Interrupted) return interruptedCode;
  if (!(error instanceof NotAllGood)) stderr.write(`billing: ${describeFailure(error)}\n`);
  return 1;
}

const unreachable = new Set(['ECONNREFUSED', 'ENOTFOUND', 'ETIMEDOUT', '28P01', '3D000']);

function describeFailure(error: unknown): string {
  if (error instanceof BillingError || error instanceof ConfigError) return error.message;
  const { code, path, message, stack } = error as NodeJS.ErrnoException;
  if (path !== undefined && code === 'ENOENT') return `No such file: ${path}`;
  if (path !== undefined && code !== undefined) return message;
  if (code === 'EADDRINUSE') return `The port is in use: ${message}`;
  if (code !== undefined && unreachable.has(code)) {
    return `The database of DATABASE_URL can't be used: ${message || code}`;
  }
  if (code === '42P01') return 'The database lacks tables of this version. Make them with: billing migrate';
  if (code === '57P01' || code === '57P03') return 'The database was stopped meanwhile. Run the command again.';
  return stack ?? String(error);
}
