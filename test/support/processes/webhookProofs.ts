import { setTimeout as sleep } from 'node:timers/promises';
import type { EntityManager } from '@mikro-orm/postgresql';
import { transact } from '../../../src/platform/db.js';
import { writeEvents } from '../../../src/platform/eventLog.js';
import { publicId } from '../../../src/platform/ids.js';
import { sql } from '../../../src/platform/sql.js';
import type { Random } from '../random.js';
import { changeWallet, type ProcessAccount, type ProcessWorld } from './processWorld.js';
import { type Receiver, startReceiver } from './receiver.js';

/** A wait longer than this is one for the next try; a shorter one may be the lease of an attempt that is under way. */
const leaseSeconds = 35;
/** Without anything new arriving for so long it is given up. */
const stuckMs = 120_000;
const maxDuplicates = 0.005;
const maxP95Ms = 2_000;
/** Marks the events of transactions that roll back. */
const rolledBackMember = 'rolled_back';
const tellEveryMs = 15_000;
const accountsOfAll = 20;
const callersAtOnce = 6;

export interface KillProof {
  events: number;
  delivered: number;
  /** Events that a second request was answered with 2xx for. */
  duplicates: number;
  requests: number;
  unverified: number;
  kills: number;
  rolledBack: number;
  writtenPerSecond: number;
  deliveredPerSecond: number;
  seconds: number;
  violations: string[];
}

/**
 * Events through an api, to a receiver that refuses some, from a worker that is killed again and again; and transactions that
 * emit and then fail, on the same accounts. What the receiver has in its books is held against the log.
 */
export async function proveDelivery(
  world: ProcessWorld,
  {
    events,
    kills,
    failPercent,
    rolledBack,
    random,
    leases = 'awaited',
    progress = () => {},
  }: {
    events: number;
    kills: number;
    failPercent: number;
    rolledBack: number;
    random: Random;
    /** What a killed worker has claimed comes free after half a minute, or, once it is dead, at once. */
    leases?: 'awaited' | 'cut short';
    progress?: (text: string) => void;
  },
): Promise<KillProof> {
  const receiver = await startReceiver({ failPercent, random });
  const api = await world.start('api');
  let { program: worker } = await world.start('worker');
  const accounts = await accountsWithEndpoints(world, {
    api: api.url,
    receiver,
    count: Math.min(accountsOfAll, events),
  });

  const startedAt = performance.now();
  const secondsSince = (): number => (performance.now() - startedAt) / 1_000;
  let writtenAfter = 0;
  let isOver = false;
  const writing = Promise.all([write({ api: api.url, accounts, events }), rollBack(world, accounts, rolledBack)]).then(
    () => {
      writtenAfter = secondsSince();
    },
  );
  const hurrying = hurry(world, () => isOver);
  const telling = setInterval(
    () => progress(`${receiver.accepted()} of ${events} events, ${Math.round(secondsSince())} s`),
    tellEveryMs,
  );
  const marks = Array.from({ length: kills }, () => random.int(1, Math.max(1, events - 1))).sort((a, b) => a - b);
  let killed = 0;
  const killing = (async () => {
    for (const mark of marks) {
      await progressOf(receiver, () => receiver.accepted() >= mark);
      await sleep(random.int(0, 300));
      await worker.stop('SIGKILL');
      if (leases === 'cut short') await cutLeases(world);
      killed++;
      progress(
        `kill ${killed} of ${kills} after ${receiver.accepted()} of ${events} events, ${Math.round(secondsSince())} s`,
      );
      ({ program: worker } = await world.start('worker'));
    }
  })();
  const violations: string[] = [];
  try {
    await writing;
    await killing;
    await progressOf(receiver, async () => receiver.accepted() >= events && (await pending(world)) === 0);
  } catch (error) {
    violations.push((error as Error).message, ...(await stateOf(world)));
    const { exitCode, signalCode } = worker.process;
    violations.push(
      `the worker ${exitCode === null && signalCode === null ? 'lives' : `ended: ${exitCode ?? signalCode}`}`,
    );
    violations.push(`it printed: ${(worker.stdout() + worker.stderr()).slice(-2_000)}`);
  }
  const seconds = secondsSince();
  clearInterval(telling);
  isOver = true;
  await hurrying;
  await receiver.close();
  return { ...(await compare(world, { receiver, accounts, events, violations })), ...rates() };

  function rates() {
    return {
      kills: killed,
      rolledBack,
      seconds: Math.round(seconds),
      writtenPerSecond: Math.round(events / writtenAfter),
      deliveredPerSecond: Math.round(events / seconds),
    };
  }
}

interface Reached extends ProcessAccount {
  path: string;
}

/** Accounts with one endpoint each at the receiver. */
async function accountsWithEndpoints(
  world: ProcessWorld,
  { api, receiver, count }: { api: string; receiver: Receiver; count: number },
): Promise<Reached[]> {
  return Promise.all(
    Array.from({ length: count }, async (_, i) => {
      const account = await world.account();
      const path = `/endpoint-${i}`;
      await registerEndpoint(api, account, { receiver, path });
      return { ...account, path };
    }),
  );
}

async function registerEndpoint(
  api: string,
  { token }: ProcessAccount,
  { receiver, path, events = [] }: { receiver: Receiver; path: string; events?: string[] },
): Promise<void> {
  const response = await fetch(`${api}/api/v1/billing/webhooks`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ url: receiver.url + path, events }),
  });
  const { secret } = (await response.json()) as { secret: string };
  receiver.register(path, secret);
}

async function write({
  api,
  accounts,
  events,
}: {
  api: string;
  accounts: readonly ProcessAccount[];
  events: number;
}): Promise<void> {
  let begun = 0;
  const caller = async (): Promise<void> => {
    for (let i = begun++; i < events; i = begun++) await changeWallet(api, accounts[i % accounts.length]!);
  };
  await Promise.all(Array.from({ length: callersAtOnce }, caller));
}

class RolledBack extends Error {}

/** Half of them fail before the rows of log and outbox are written, the others after. */
async function rollBack({ deps }: ProcessWorld, accounts: readonly ProcessAccount[], count: number): Promise<void> {
  const event = { type: 'wallet.updated' as const, data: { [rolledBackMember]: true } };
  for (let i = 0; i < count; i++) {
    const accountId = accounts[i % accounts.length]!.id;
    const early = (): Promise<void> =>
      transact(deps, accountId, async (tx) => {
        tx.emit(event);
        throw new RolledBack();
      });
    const late = (): Promise<void> =>
      deps.db.orm.em.fork().transactional(async (em) => {
        await writeEvents(em as EntityManager, [{ accountId, now: new Date(), events: [event] }]);
        throw new RolledBack();
      });
    await (i % 2 === 0 ? early() : late()).catch((error: unknown) => {
      if (!(error instanceof RolledBack)) throw error;
    });
  }
}

/** Retries would wait for minutes and hours: here they are due at once. What an attempt under way has claimed is left to it. */
async function hurry(world: ProcessWorld, isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    await world.rows(
      sql`update webhook_delivery set next_attempt_at = now()
        where status = 'PENDING' and next_attempt_at > now() + make_interval(secs => ${leaseSeconds})`,
    );
    await sleep(500);
  }
}

/** While no worker lives there is nobody who has claimed anything. */
async function cutLeases({ rows }: ProcessWorld): Promise<void> {
  await rows(sql`update webhook_delivery set next_attempt_at = now() where status = 'PENDING'`);
  await rows(sql`update outbox set due_at = now()`);
}

/** Waits until something has come true; gives up when nothing new has been accepted for a while. */
async function progressOf(receiver: Receiver, isDone: () => boolean | Promise<boolean>): Promise<void> {
  let [last, since] = [receiver.accepted(), performance.now()];
  while (!(await isDone())) {
    if (receiver.accepted() !== last) [last, since] = [receiver.accepted(), performance.now()];
    if (performance.now() - since > stuckMs)
      throw new Error(`nothing has arrived for ${stuckMs / 1_000} s, after ${last} events`);
    await sleep(500);
  }
}

async function pending({ rows }: ProcessWorld): Promise<number> {
  const [row] = await rows(
    sql<{ n: number }>`
      select (select count(*)::int from webhook_delivery where status = 'PENDING') + (select count(*)::int from outbox) as n`,
  );
  return row!.n;
}

/** What the database has of those that did not arrive: their rows, or that there are none. */
async function stateOf({ rows }: ProcessWorld): Promise<string[]> {
  const found = {
    'not delivered': await rows(sql`
      select d.*, (select json_agg(a order by a.id) from webhook_attempt a where a.account_id = d.account_id and a.delivery_id = d.id) as log
      from webhook_delivery d where status <> 'DELIVERED' limit 5`),
    'without a delivery': await rows(sql`
      select e.account_id, e.id, e.seq, e.occurred_at from event e where not exists (
        select 1 from webhook_delivery d where d.account_id = e.account_id and d.event_id = e.id) limit 5`),
    'in the outbox': await rows(sql`select * from outbox limit 5`),
  };
  return Object.entries(found).map(([what, of]) => `${what}: ${JSON.stringify(of)}`);
}

/** The log against the receiver's books. */
async function compare(
  { rows }: ProcessWorld,
  {
    receiver,
    accounts,
    events,
    violations,
  }: { receiver: Receiver; accounts: readonly Reached[]; events: number; violations: string[] },
): Promise<Pick<KillProof, 'events' | 'delivered' | 'duplicates' | 'requests' | 'unverified' | 'violations'>> {
  const log = await rows(
    sql<{
      account_id: string;
      id: string;
    }>`select account_id, id from event where account_id = any(${accounts.map(({ id }) => id)}::uuid[])`,
  );
  const pathOf = new Map(accounts.map(({ id, path }) => [id, path]));
  const known = new Set(log.map(({ account_id, id }) => `${pathOf.get(account_id)} ${publicId('event', id)}`));
  const receipts = [...receiver.books].flatMap(([path, of]) =>
    [...of].map(([id, receipt]) => ({ key: `${path} ${id}`, ...receipt })),
  );
  const accepted = new Set(receipts.filter((receipt) => receipt.accepted > 0).map(({ key }) => key));
  const lost = [...known].filter((key) => !accepted.has(key));
  const strangers = receipts.filter(({ key }) => !known.has(key));
  const duplicates = receipts.filter((receipt) => receipt.accepted > 1).length;
  const ghosts = receiver.havingMember(rolledBackMember);
  const written = await rows(sql`select 1 from event where data ->> ${rolledBackMember} is not null`);
  if (log.length !== events) violations.push(`${log.length} events are in the log, ${events} were answered as done`);
  if (lost.length > 0) violations.push(`${lost.length} events were not delivered: ${lost.slice(0, 5).join(', ')} …`);
  if (strangers.length > 0) violations.push(`${strangers.length} events came that are not in the log`);
  if (ghosts + written.length > 0)
    violations.push(`of transactions that rolled back ${written.length} events are in the log, ${ghosts} were sent`);
  if (duplicates >= known.size * maxDuplicates)
    violations.push(`${duplicates} of ${known.size} events came twice, expected less than ${maxDuplicates * 100} %`);
  violations.push(...receiver.unverified.slice(0, 5).map((what) => `not verified: ${what}`));
  return {
    events: log.length,
    delivered: known.size - lost.length,
    duplicates,
    requests: receipts.reduce((sum, receipt) => sum + receipt.accepted + receipt.refused, 0),
    unverified: receiver.unverified.length,
    violations,
  };
}

export interface HangProof {
  queued: number;
  samples: number;
  p50Ms: number;
  p95Ms: number;
  worstMs: number;
  violations: string[];
}

/**
 * An endpoint that never answers has its queue, and others get events, one of them of the same account. How long these take from
 * the transaction to the receiver.
 */
export async function proveHanging(
  world: ProcessWorld,
  { queued, samples, everyMs, random }: { queued: number; samples: number; everyMs: number; random: Random },
): Promise<HangProof> {
  const receiver = await startReceiver({ failPercent: 0, random });
  const { url: api } = await world.start('api');
  await world.start('worker');
  const accounts = await accountsWithEndpoints(world, { api, receiver, count: accountsOfAll - 1 });
  const victim = { ...(await world.account()), path: '/beside-the-hanging' };
  await registerEndpoint(api, victim, { receiver, path: victim.path, events: ['wallet.updated'] });
  await registerEndpoint(api, victim, { receiver, path: '/hang' });
  await transact(world.deps, victim.id, async (tx) => {
    for (let n = 0; n < queued; n++) tx.emit({ type: 'usage.corrected', data: { n } });
  });
  const violations: string[] = [];
  const deadline = performance.now() + stuckMs;
  const planned = async (): Promise<boolean> =>
    (await world.rows(sql`select 1 from webhook_delivery where account_id = ${victim.id} and status = 'PENDING'`))
      .length >= queued;
  while (!(await planned()) && performance.now() < deadline) await sleep(100);
  if (!(await planned())) violations.push(`the queue of ${queued} did not come about`);

  const others = [victim, ...accounts];
  for (let i = 0; i < samples; i++) {
    await Promise.all([changeWallet(api, others[i % others.length]!), sleep(everyMs)]);
  }
  await progressOf(receiver, () => receiver.accepted() >= samples).catch((error: Error) =>
    violations.push(error.message),
  );
  await receiver.close();
  const latencies = [...receiver.books.values()]
    .flatMap((of) => [...of.values()].map(({ latencyMs }) => latencyMs))
    .sort((a, b) => a - b);
  const at = (share: number): number => latencies[Math.ceil(latencies.length * share) - 1] ?? Number.POSITIVE_INFINITY;
  if (at(0.95) >= maxP95Ms) violations.push(`p95 is ${at(0.95)} ms, expected less than ${maxP95Ms}`);
  return { queued, samples: latencies.length, p50Ms: at(0.5), p95Ms: at(0.95), worstMs: at(1), violations };
}
