import type { ProviderEvent, ProviderEvents } from '../integrations/payments/provider.js';
import type { Deps } from '../platform/deps.js';
import { rowsOf, sql } from '../platform/sql.js';
import { appliedEvents, applyProviderEvent, type Settlers } from './applyProviderEvent.js';
import { callProvider } from './callProvider.js';
import type { ProviderCursor } from './payment.entity.js';
import { isAway } from './reconcilePayments.js';

type Needs = Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>;

/** Whatever was not sent to us is found within this, well below the five minutes that are promised. */
const everyMs = 60_000;

/** Read again each time: the provider's list may show an event some time after the second it bears. */
const overlapSeconds = 300;

/** An event that fails each time is given up when it is as old as this, so that the cursor gets past it. */
const keepTryingSeconds = 24 * 3600;

/** Pages of one round; a list that is longer is read on in the next one. */
const mostPagesARound = 5;

/**
 * Sweep: reads the provider's own list of events from where it was left, and applies those that were never sent to us, or
 * that we could not take. Only one process reads at a time. A list that is too long for one round is read in parts, newest
 * first as the provider has it; how far that has come is stored, and only when its end is reached the cursor moves on. So
 * what comes in meanwhile, and what has failed, is read by the passes after it.
 */
export async function readProviderEvents(
  deps: Needs,
  settlersOf: (deps: Needs) => Settlers,
  { mostPages = mostPagesARound }: { mostPages?: number } = {},
): Promise<number> {
  const { payments } = deps;
  if (!payments.events) return 0;
  const turn = await takeTurn(deps);
  if (!turn) return 0;
  const { second, pass } = turn;

  let part: Part;
  try {
    part = await readPart(payments.events, { second: second - overlapSeconds, after: pass?.after, mostPages });
  } catch (error) {
    if (pass && !isAway(error)) await keep(deps, turn, { second, pass: null }); // the event it stood at is gone: begin again
    throw error;
  }
  const { finished, failedSecond, stoppedAt } = await applyPart(deps, settlersOf, { part, begunAt: pass?.stoppedAt });
  if (stoppedAt !== undefined) {
    await keep(deps, turn, { second, pass: { ...(pass ?? beginning), stoppedAt } });
    return finished;
  }
  const newest = pass?.newest ?? part.events.at(-1)?.second ?? second;
  const failed = earliest(pass?.failed ?? null, failedSecond);
  if (part.next !== undefined) {
    await keep(deps, turn, {
      second,
      pass: { after: part.next, newest, failed, stoppedAt: null },
      dueAt: deps.clock.now(),
    });
    return finished + 1; // there is more to find
  }
  const next = failed !== null && failed > newest - keepTryingSeconds ? failed : newest;
  await keep(deps, turn, { second: next, pass: null });
  return finished;
}

const earliest = (a: number | null, b: number | null): number | null =>
  a === null ? b : b === null ? a : Math.min(a, b);

/** What one round reads: oldest first, and behind which event the next one goes on; undefined: the list is at its end. */
interface Part {
  events: ProviderEvent[];
  next: string | undefined;
}

async function readPart(
  of: ProviderEvents,
  { second, after, mostPages }: { second: number; after: string | undefined; mostPages: number },
): Promise<Part> {
  const events: ProviderEvent[] = [];
  for (let pages = 0; pages < mostPages; pages++) {
    const page = await callProvider(of.list({ second, after: events.at(-1)?.ref ?? after }));
    events.push(...page.events);
    if (!page.hasMore || page.events.length === 0) return { events: events.reverse(), next: undefined };
  }
  return { next: events.at(-1)?.ref, events: events.reverse() };
}

/**
 * Applies a part, oldest first. Without an answer the round ends there (`stoppedAt`), as the next would get none either, and
 * the next round begins behind it: one that alone gets no answer doesn't stand before the others.
 */
async function applyPart(
  deps: Needs,
  settlersOf: (deps: Needs) => Settlers,
  { part, begunAt }: { part: Part; begunAt: string | null | undefined },
): Promise<{ finished: number; failedSecond: number | null; stoppedAt: string | undefined }> {
  const applied = await appliedEvents(
    deps.db.orm.em.fork(),
    part.events.map(({ ref }) => ref),
  );
  const behind = part.events.findIndex(({ ref }) => ref === begunAt) + 1;
  const events = [...part.events.slice(behind), ...part.events.slice(0, behind)];
  let finished = 0;
  let failedSecond: number | null = null;
  for (const [i, event] of events.entries()) {
    if (applied.has(event.ref)) continue;
    try {
      await applyProviderEvent(deps, settlersOf, { event });
      finished++;
    } catch (error) {
      deps.log.error(
        { err: error, event: event.ref, type: event.type },
        'an event of the payment provider failed; it is read again',
      );
      if (isAway(error) && i < events.length - 1) return { finished, failedSecond, stoppedAt: event.ref };
      failedSecond = earliest(failedSecond, event.second);
    }
  }
  return { finished, failedSecond, stoppedAt: undefined };
}

/** A list that is being read in parts, or again. */
type Pass = NonNullable<ProviderCursor['pass']>;
const beginning: Pass = { after: undefined, newest: undefined, failed: null, stoppedAt: null };

type Turn = Pick<ProviderCursor, 'second' | 'pass'>;

/** Stores how far it has come, unless another process has come further meanwhile. */
async function keep(
  { db, payments }: Needs,
  taken: Turn,
  { second, pass, dueAt }: Turn & { dueAt?: Date },
): Promise<void> {
  await rowsOf(
    db.orm.em.fork(),
    sql`update provider_cursor set second = greatest(second, ${second}), pass = ${asJson(pass)}::jsonb,
          due_at = coalesce(${dueAt ?? null}::timestamptz, due_at)
        where provider = ${payments.name} and pass is not distinct from ${asJson(taken.pass)}::jsonb`,
  );
}

const asJson = (pass: Pass | null | undefined): string | null => (pass ? JSON.stringify(pass) : null);

/** Where to read on, for the one whose turn it is. The first time: from now. */
async function takeTurn({ db, clock, payments }: Needs): Promise<Turn | undefined> {
  const now = clock.now();
  const second = Math.floor(now.getTime() / 1000);
  const dueAt = new Date(now.getTime() + everyMs);
  const [turn] = await rowsOf(
    db.orm.em.fork(),
    sql<{ second: number; pass: Pass | null }>`
      insert into provider_cursor (provider, second, due_at) values (${payments.name}, ${second}, ${dueAt})
      on conflict (provider) do update set due_at = excluded.due_at where provider_cursor.due_at <= ${now}
      returning second, pass`,
  );
  return turn;
}
