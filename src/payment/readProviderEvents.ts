import type { ProviderEvent, ProviderEvents } from '../integrations/payments/provider.js';
import type { Deps } from '../platform/deps.js';
import { rowsOf, sql } from '../platform/sql.js';
import { appliedEvents, applyProviderEvent, type Settlers } from './applyProviderEvent.js';
import { callProvider } from './callProvider.js';
import { isAway } from './reconcilePayments.js';

type Needs = Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>;

/** Whatever was not sent to us is found within this, well below the five minutes that are promised. */
const everyMs = 60_000;

/** Read again each time: the provider's list may show an event some time after the second it bears. */
const overlapSeconds = 300;

/** An event that fails each time is given up when it is as old as this, so that the cursor gets past it. */
const keepTryingSeconds = 24 * 3600;

/**
 * Sweep: reads the provider's own list of events from where it was left, and applies those that were never sent to us, or
 * that we could not take. Only one process reads at a time.
 */
export async function readProviderEvents(deps: Needs, settlersOf: (deps: Needs) => Settlers): Promise<number> {
  const { payments, log } = deps;
  if (!payments.events) return 0;
  const from = await takeTurn(deps);
  if (from === undefined) return 0;

  const em = deps.db.orm.em.fork();
  const events = await eventsSince(payments.events, from - overlapSeconds);
  const applied = await appliedEvents(
    em,
    events.map(({ ref }) => ref),
  );
  let failed: ProviderEvent | undefined;
  let finished = 0;
  for (const event of events) {
    if (applied.has(event.ref)) continue;
    try {
      await applyProviderEvent(deps, settlersOf, { event });
      finished++;
    } catch (error) {
      log.error(
        { err: error, event: event.ref, type: event.type },
        'an event of the payment provider failed; it is read again',
      );
      failed ??= event;
      if (isAway(error)) break;
    }
  }
  const newest = events.at(-1)?.second ?? from;
  const next = failed && failed.second > newest - keepTryingSeconds ? failed.second : newest;
  await rowsOf(
    em,
    sql`update provider_cursor set second = greatest(second, ${next}) where provider = ${payments.name}`,
  );
  return finished;
}

/** Oldest first. All of them before any is applied, as the provider begins with the newest. */
async function eventsSince(of: ProviderEvents, second: number): Promise<ProviderEvent[]> {
  const events: ProviderEvent[] = [];
  for (;;) {
    const page = await callProvider(of.list({ second, after: events.at(-1)?.ref }));
    events.push(...page.events);
    if (!page.hasMore || page.events.length === 0) return events.reverse();
  }
}

/** The second to read from, for the one whose turn it is. The first time: now. */
async function takeTurn({ db, clock, payments }: Needs): Promise<number | undefined> {
  const now = clock.now();
  const second = Math.floor(now.getTime() / 1000);
  const dueAt = new Date(now.getTime() + everyMs);
  const [turn] = await rowsOf(
    db.orm.em.fork(),
    sql<{ second: number }>`
      insert into provider_cursor (provider, second, due_at) values (${payments.name}, ${second}, ${dueAt})
      on conflict (provider) do update set due_at = excluded.due_at where provider_cursor.due_at <= ${now}
      returning second`,
  );
  return turn?.second;
}
