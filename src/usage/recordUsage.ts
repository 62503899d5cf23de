import { operatorAccountId } from '../account/apiKeys.js';
import { BillingError, invalid, type UserErrorCode } from '../domain/errors.js';
import { type Actor, requireScope } from '../platform/actor.js';
import type { Clock } from '../platform/clock.js';
import { createCoalescer } from '../platform/coalesce.js';
import type { Db } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { uuidOf } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';
import { type Recorded, recordBatch } from './recordBatch.js';
import { type ParsedUsageEvent, parseUsageEvent, type UsageEventInput } from './usageEvent.js';
import { readWatermark } from './usageSummary.js';

export type { UsageEventInput };

export interface UsageEventResult {
  transactionId: string;
  status: 'ACCEPTED' | 'DUPLICATE' | 'REJECTED';
  error?: { code: UserErrorCode; message: string; field: string[] };
}

export interface RecordUsageAnswer {
  /** One for each event, in order. */
  results: UsageEventResult[];
  watermark: string;
}

export const maxEventsPerRequest = 5_000;

type Needs = Pick<Deps, 'db' | 'clock'>;

/**
 * Records usage events. Each gets its own answer and one bad event doesn't fail its neighbours: accepted once per account
 * and `transactionId`, a repeat answers DUPLICATE. Everything that arrives for an account while its last batch commits
 * goes into one next transaction.
 */
export async function recordUsage(
  deps: Needs,
  actor: Actor,
  events: readonly UsageEventInput[],
): Promise<RecordUsageAnswer> {
  requireScope(actor, 'usage:write');
  if (events.length === 0 || events.length > maxEventsPerRequest) {
    throw invalid(`events has ${events.length} entries, expected 1 to ${maxEventsPerRequest}`, 'events');
  }
  const results = new Array<UsageEventResult>(events.length);
  const byAccount = new Map<string, { index: number; event: ParsedUsageEvent }[]>();
  const others = await knownAccounts(deps, actor, events);
  events.forEach((input, index) => {
    try {
      const accountId = accountOf(actor, input, others);
      const event = parseUsageEvent(input);
      const group = byAccount.get(accountId) ?? [];
      byAccount.set(accountId, group);
      group.push({ index, event });
    } catch (error) {
      if (!(error instanceof BillingError)) throw error;
      results[index] = rejected(input.transactionId, index, {
        code: error.code as UserErrorCode,
        message: error.message,
        field: String(error.details.field?.[0]),
      });
    }
  });

  let watermark = 0n;
  await Promise.all(
    [...byAccount].map(async ([accountId, group]) => {
      const recorded = await ingestOf(deps).add(
        accountId,
        group.map(({ event }) => event),
      );
      recorded.forEach(({ decision, watermark: at }, i) => {
        const { index, event } = group[i]!;
        results[index] =
          decision.status === 'REJECTED'
            ? rejected(event.transactionId, index, decision)
            : { transactionId: event.transactionId, status: decision.status };
        if (accountId === actor.accountId && at > watermark) watermark = at;
      });
    }),
  );
  if (watermark === 0n) watermark = await readWatermark(deps.db.orm.em.fork(), actor.accountId);
  return { results, watermark: watermark.toString() };
}

const rejected = (
  transactionId: string,
  index: number,
  { code, message, field }: { code: UserErrorCode; message: string; field: string },
): UsageEventResult => ({
  transactionId,
  status: 'REJECTED',
  error: { code, message, field: ['events', String(index), field] },
});

function accountOf(actor: Actor, { accountId }: UsageEventInput, others: ReadonlySet<string>): string {
  if (accountId == null && actor.accountId === operatorAccountId)
    throw invalid('accountId is missing, and no account was named for the whole request', 'accountId');
  if (accountId == null) return actor.accountId;
  const uuid = uuidOf('account', accountId);
  if (uuid === undefined || (uuid !== actor.accountId && !others.has(uuid))) {
    throw new BillingError('NOT_FOUND', `No account with id '${accountId.slice(0, 80)}'`, { field: ['accountId'] });
  }
  return uuid;
}

/** Of the accounts that an operator's events name beside its own, those there are. */
async function knownAccounts(
  { db }: Needs,
  actor: Actor,
  events: readonly UsageEventInput[],
): Promise<ReadonlySet<string>> {
  const named = new Set(
    actor.operator
      ? events.flatMap(({ accountId }) => (accountId == null ? [] : (uuidOf('account', accountId) ?? [])))
      : [],
  );
  named.delete(actor.accountId);
  if (named.size === 0) return named;
  const rows = await rowsOf(
    db.orm.em.fork(),
    sql<{ id: string }>`select id from account where id = any(${[...named]}::uuid[])`,
  );
  return new Set(rows.map((row) => row.id));
}

type Ingest = ReturnType<typeof createCoalescer<ParsedUsageEvent, Recorded>>;
const ingests = new WeakMap<Db, WeakMap<Clock, Ingest>>();

/** One coalescer for each database and clock: all doors of the process share it. */
function ingestOf(deps: Needs): Ingest {
  const byClock = ingests.get(deps.db) ?? new WeakMap<Clock, Ingest>();
  ingests.set(deps.db, byClock);
  let ingest = byClock.get(deps.clock);
  if (!ingest) {
    const flush = (accountId: string, events: readonly ParsedUsageEvent[]) => recordBatch(deps, accountId, events);
    ingest = createCoalescer<ParsedUsageEvent, Recorded>({ maxItems: maxEventsPerRequest, flush });
    byClock.set(deps.clock, ingest);
  }
  return ingest;
}
