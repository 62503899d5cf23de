import { isUtf8 } from 'node:buffer';
import { createReadStream } from 'node:fs';
import { operatorAccountId } from '../account/apiKeys.js';
import type { Actor } from '../platform/actor.js';
import type { Deps } from '../platform/deps.js';
import { isRawNumber, parseExact, plainDigits } from '../platform/exactJson.js';
import { type ImportProgress, nothingYet, openCheckpoint } from './importCheckpoint.js';
import { maxEventsPerRequest, type RecordUsageAnswer, recordUsage, type UsageEventInput } from './recordUsage.js';
import { timestampOf } from './usageEvent.js';

export type { ImportProgress };

export interface ImportUsageInput {
  /** Path of an NDJSON file, or its bytes. Only a file is taken up again where an interrupted import left it. */
  lines: string | AsyncIterable<Uint8Array | string>;
  /** Events a batch, 1 to 5,000. */
  batchSize?: number;
  /** After each batch, in the order of the file. */
  onProgress?: (progress: ImportProgress) => void;
  /** Each line that isn't an event, and each event that was rejected, in the order of the file. */
  onProblem?: (problem: ImportProblem) => void;
  /** Ends the import behind the batches under way. */
  signal?: AbortSignal;
}

export interface ImportProblem {
  /** 1 is the first. */
  readonly line: number;
  readonly reason: string;
}

export interface ImportSummary extends ImportProgress {
  /** Line behind which this run began; 0: at the beginning. */
  readonly resumedAfterLine: number;
  /** Of this run. */
  readonly seconds: number;
  readonly eventsPerSecond: number;
  /** False when the signal ended it. */
  readonly complete: boolean;
}

type Needs = Pick<Deps, 'db' | 'clock'>;

/** So many batches may be under way. Those of one account are recorded in their order, gathered into larger ones. */
const maxInFlight = 6;
const maxLineBytes = 1_000_000;

/**
 * Records the usage events of an NDJSON file: on each line `transactionId`, `metric`, and where needed `value`, `timestamp`,
 * `properties`, `accountId` (or their snake_case). An operator's actor without an account needs `accountId` on every line.
 * Beside a file, `FILE.progress` says how far it is committed; an interrupted import goes on there, and repeating one is
 * safe anyway, because each `transactionId` counts once. Bad lines and rejected events don't stop the rest.
 */
export async function importUsage(deps: Needs, actor: Actor, input: ImportUsageInput): Promise<ImportSummary> {
  const { lines, batchSize = 1_000, onProgress, onProblem, signal } = input;
  const startedAt = performance.now();
  const checkpoint = typeof lines === 'string' ? await openCheckpoint(deps, actor, lines) : undefined;
  const start = checkpoint?.start ?? nothingYet;
  const chunks =
    typeof lines === 'string' ? createReadStream(lines, { start: start.offset, highWaterMark: 262_144 }) : lines;
  let progress = start;
  let complete = false;

  const inFlight: { batch: Batch; answer: Promise<Pick<RecordUsageAnswer, 'results'>> }[] = [];
  const settleFirst = async (): Promise<void> => {
    const { batch, answer } = inFlight.shift()!;
    const { problems, counts } = judge(batch, (await answer).results);
    progress = {
      ...batch.end,
      accepted: progress.accepted + counts.accepted,
      duplicate: progress.duplicate + counts.duplicate,
      rejected: progress.rejected + counts.rejected,
      badLines: progress.badLines + batch.badLines.length,
    };
    for (const problem of problems) onProblem?.(problem);
    await checkpoint?.save(progress);
    onProgress?.(progress);
  };
  try {
    const needsAccount = actor.accountId === operatorAccountId;
    for await (const batch of batchesOf(chunks, { start, batchSize, needsAccount })) {
      const answer =
        batch.events.length > 0 ? recordUsage(deps, actor, batch.events) : Promise.resolve({ results: [] });
      answer.catch(() => {}); // looked at in its turn
      inFlight.push({ batch, answer });
      if (inFlight.length >= maxInFlight) await settleFirst();
      if (signal?.aborted) break;
    }
    complete = !signal?.aborted;
    while (inFlight.length > 0) await settleFirst();
  } finally {
    // After a failure the others are left to end, so that the database may be closed behind them.
    await Promise.allSettled(inFlight.map(({ answer }) => answer));
  }
  if (complete) await checkpoint?.remove();
  const seconds = (performance.now() - startedAt) / 1_000;
  const events = eventsOf(progress) - eventsOf(start);
  return {
    ...progress,
    resumedAfterLine: start.line,
    seconds,
    eventsPerSecond: Math.round(events / seconds),
    complete,
  };
}

const eventsOf = ({ accepted, duplicate, rejected }: ImportProgress): number => accepted + duplicate + rejected;

interface Batch {
  readonly events: UsageEventInput[];
  /** The line of each event. */
  readonly lineOf: number[];
  readonly badLines: ImportProblem[];
  readonly end: Pick<ImportProgress, 'offset' | 'line'>;
}

function judge({ lineOf, badLines }: Batch, results: RecordUsageAnswer['results']) {
  const counts = { accepted: 0, duplicate: 0, rejected: 0 };
  const problems = [...badLines];
  results.forEach(({ transactionId, status, error }, i) => {
    counts[status.toLowerCase() as Lowercase<typeof status>]++;
    if (error)
      problems.push({
        line: lineOf[i]!,
        reason: `${error.code}: ${error.message} (transactionId ${transactionId.slice(0, 80)})`,
      });
  });
  return { counts, problems: problems.sort((a, b) => a.line - b.line) };
}

async function* batchesOf(
  chunks: AsyncIterable<Uint8Array | string>,
  { start, batchSize, needsAccount }: { start: ImportProgress; batchSize: number; needsAccount: boolean },
): AsyncGenerator<Batch> {
  const size = Math.min(Math.max(batchSize, 1), maxEventsPerRequest);
  const empty = (end: Batch['end']): Batch => ({ events: [], lineOf: [], badLines: [], end });
  let batch = empty(start);
  let line = start.line;
  for await (const { bytes, offset } of linesOf(chunks, start.offset)) {
    line++;
    batch = { ...batch, end: { offset, line } };
    try {
      const event = parseLine(bytes, needsAccount);
      if (event) {
        batch.events.push(event);
        batch.lineOf.push(line);
      }
    } catch (error) {
      batch.badLines.push({ line, reason: (error as Error).message });
    }
    if (batch.events.length + batch.badLines.length >= size) {
      yield batch;
      batch = empty(batch.end);
    }
  }
  if (batch.events.length + batch.badLines.length > 0) yield batch;
}

/** Each line without its line feed, and the offset behind it. Of a line that is too long, no bytes. */
async function* linesOf(
  chunks: AsyncIterable<Uint8Array | string>,
  startOffset: number,
): AsyncGenerator<{ bytes: Buffer | undefined; offset: number }> {
  let rest: Buffer = Buffer.alloc(0);
  let tooLong = false;
  let offset = startOffset;
  for await (const chunk of chunks) {
    const bytes: Buffer = Buffer.concat([rest, typeof chunk === 'string' ? Buffer.from(chunk) : chunk]);
    let from = 0;
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, from)) {
      offset += end + 1 - from;
      yield { bytes: tooLong || end - from > maxLineBytes ? undefined : bytes.subarray(from, end), offset };
      tooLong = false;
      from = end + 1;
    }
    rest = bytes.subarray(from);
    if (rest.length > maxLineBytes) {
      tooLong = true;
      offset += rest.length;
      rest = Buffer.alloc(0);
    }
  }
  if (rest.length > 0 || tooLong) yield { bytes: tooLong ? undefined : rest, offset: offset + rest.length };
}

/** Undefined for an empty line. Throws an Error that says what was found and expected. */
function parseLine(bytes: Buffer | undefined, needsAccount: boolean): UsageEventInput | undefined {
  if (!bytes) throw new Error(`longer than ${maxLineBytes} bytes`);
  if (!isUtf8(bytes)) throw new Error('not UTF-8');
  const text = bytes
    .toString('utf8')
    .replace(/^\uFEFF/, '')
    .trim();
  if (text === '') return undefined;
  const fields = fieldsOf(text);
  const transactionId = textOf(fields, 'transactionId', 'transaction_id');
  const metric = textOf(fields, 'metric');
  const accountId = textOf(fields, 'accountId', 'account_id');
  const timestamp = textOf(fields, 'timestamp');
  const { properties } = fields;
  if (transactionId === undefined) throw new Error('transactionId is missing');
  if (metric === undefined) throw new Error('metric is missing');
  if (needsAccount && accountId === undefined)
    throw new Error('accountId is missing, and no account was named for the whole file');
  if (properties != null && !isObject(properties)) throw new Error('properties is not an object');
  return {
    transactionId,
    metric,
    accountId,
    value: decimalOf(fields.value),
    timestamp: timestamp === undefined ? undefined : timestampOf(timestamp),
    properties,
  };
}

function fieldsOf(text: string): Record<string, unknown> {
  let parsed: unknown;
  try {
    parsed = parseExact(text);
  } catch (error) {
    throw new Error(`not JSON: ${(error as Error).message}`);
  }
  if (!isObject(parsed))
    throw new Error(`expected an object such as {"transactionId": "…", "metric": "…"}, found ${text.slice(0, 40)}`);
  return parsed;
}

/** Of the names a field has, the first that is there; null counts as absent. */
function textOf(fields: Record<string, unknown>, ...names: string[]): string | undefined {
  const name = names.find((candidate) => fields[candidate] != null);
  const value = name === undefined ? undefined : fields[name];
  if (value !== undefined && typeof value !== 'string')
    throw new Error(`${name} is ${JSON.stringify(value).slice(0, 40)}, expected a string`);
  return value;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !isRawNumber(value);

/** Undefined: none given. What isn't a decimal is judged by recordUsage. */
function decimalOf(value: unknown): string | undefined {
  if (value == null || typeof value === 'string') return value ?? undefined;
  if (!isRawNumber(value))
    throw new Error(`value is ${JSON.stringify(value).slice(0, 40)}, expected a number, or a decimal in a string`);
  return plainDigits(value);
}
