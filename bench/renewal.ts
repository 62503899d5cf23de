// How many subscriptions a second are renewed, one by one and by the set, in the same run and by turns, so that both meet the
// same machine. `npm run bench:renewal -- 2000`
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createAccount } from '../src/account/createAccount.js';
import { updateBillingSettings } from '../src/account/updateBillingSettings.js';
import { migrate, openCore } from '../src/app.js';
import { parseCatalog } from '../src/catalog/catalogFile.js';
import { publishCatalog } from '../src/catalog/publishCatalog.js';
import { readConfig } from '../src/config.js';
import { Decimal } from '../src/domain/decimal.js';
import { money } from '../src/domain/money.js';
import { addPaymentMethod } from '../src/payment/addPaymentMethod.js';
import { systemActor } from '../src/platform/actor.js';
import { clockAt } from '../src/platform/clock.js';
import type { Deps } from '../src/platform/deps.js';
import { startEmbeddedPostgres } from '../src/platform/embeddedPostgres.js';
import { createLogger } from '../src/platform/log.js';
import { rowsOf, sql } from '../src/platform/sql.js';
import { advanceSubscription } from '../src/subscription/renew.js';
import { renewDue } from '../src/subscription/renewDue.js';
import { subscribe } from '../src/subscription/subscribe.js';
import { recordUsage } from '../src/usage/recordUsage.js';
import { topUp } from '../src/wallet/topUp.js';
import { copyAccount } from '../test/support/copies.js';

const catalogYaml = `
metrics:
  - { code: users, name: Users, aggregation: latest }
  - { code: minutes, name: Minutes, aggregation: sum }
  - { code: requests, name: Requests, aggregation: count }
plans:
  - code: team
    name: Team
    price: 30.00
    currency: USD
    interval: month
    features: { users: 5, requests: 1000, minutes: { limit: 100, overage: charge, unit_price: 0.05 } }
`;

const began = new Date('2026-01-01T00:00:00Z');
const due = new Date('2026-02-01T00:01:00Z');
const turns = 4;

type Kind = 'wallet' | 'card';
type Way = 'one by one' | 'by the set';

const count = Number(process.argv[2] ?? 2_000);
const dataDir = fs.mkdtempSync(path.join(os.tmpdir(), 'billing-bench-'));
const log = createLogger('error');
const pg = await startEmbeddedPostgres({ dataDir: path.join(dataDir, 'pg') });
try {
  await migrate({ databaseUrl: pg.url, log });
  const core = await openCore({ config: readConfig({ LOG_LEVEL: 'error' }), databaseUrl: pg.url, log });
  try {
    await run({ ...core.deps, clock: clockAt(due) });
  } finally {
    await core.close();
  }
} finally {
  await pg.stop();
  fs.rmSync(dataDir, { recursive: true, force: true });
}

async function run(deps: Deps): Promise<void> {
  await publishCatalog(deps, parseCatalog(catalogYaml));
  const originals = { wallet: await original(deps, 'wallet'), card: await original(deps, 'card') };
  await postpone(deps, Object.values(originals));
  for (const kind of ['wallet', 'card'] as const) {
    const seconds: Record<Way, number> = { 'one by one': 0, 'by the set': 0 };
    const size = Math.ceil(count / turns);
    await turn(deps, originals[kind], { way: 'one by one', size: 20, name: `${kind} warm 1` });
    await turn(deps, originals[kind], { way: 'by the set', size: 20, name: `${kind} warm 2` });
    for (let i = 0; i < turns; i++) {
      for (const way of ['one by one', 'by the set'] as const)
        seconds[way] += await turn(deps, originals[kind], { way, size, name: `${kind} ${way} ${i}` });
    }
    const rate = (way: Way): number => (size * turns) / seconds[way];
    const payment =
      kind === 'wallet' ? 'paid from the wallet (no provider)' : 'paid by card (sandbox), collected and settled';
    process.stdout.write(
      `${payment}: one by one ${rate('one by one').toFixed(0)}/s, by the set ${rate('by the set').toFixed(0)}/s, ` +
        `${(rate('by the set') / rate('one by one')).toFixed(1)} ×\n`,
    );
  }
}

/** An account with usage over its limit, a tax, and what pays for it. */
async function original(deps: Deps, kind: Kind): Promise<string> {
  const then = { ...deps, clock: clockAt(began) };
  const { id } = await createAccount(then, { name: `Bench ${kind}` });
  const actor = systemActor(id);
  await addPaymentMethod(then, actor, { idempotencyKey: 'card', type: 'card', token: 'tok_visa', makeDefault: true });
  await updateBillingSettings(then, actor, { taxRates: [{ name: 'VAT', percent: new Decimal(19), inclusive: false }] });
  await subscribe(then, actor, { idempotencyKey: 'subscribe', planCode: 'team' });
  await recordUsage(then, actor, [
    { transactionId: 'minutes', metric: 'minutes', value: '130' },
    { transactionId: 'users', metric: 'users', value: '3' },
  ]);
  if (kind === 'wallet') await topUp(then, actor, { amount: money(500_00n, 'USD') });
  return id;
}

/** The originals themselves are never renewed. */
async function postpone(deps: Deps, accountIds: readonly string[]): Promise<void> {
  await rowsOf(
    deps.db.orm.em.fork(),
    sql`update subscription set due_at = ${new Date('2030-01-01T00:00:00Z')} where account_id = any(${accountIds}::uuid[])`,
  );
}

/** Seconds that renewing `size` fresh copies takes. */
async function turn(
  deps: Deps,
  accountId: string,
  { way, size, name }: { way: Way; size: number; name: string },
): Promise<number> {
  const em = deps.db.orm.em.fork();
  const copies = await copyAccount(em, accountId, size, name);
  await rowsOf(em, sql`update subscription set due_at = period_end where account_id = any(${copies}::uuid[])`);
  const keys = await rowsOf(
    em,
    sql<{
      account_id: string;
      id: string;
    }>`select account_id, id from subscription where account_id = any(${copies}::uuid[])`,
  );
  let renewed = 0;
  const startedAt = performance.now();
  if (way === 'by the set') for await (const done of renewDue(deps, { limit: size })) renewed += done.length;
  else {
    for (const { account_id, id } of keys)
      renewed += (await advanceSubscription(deps, { accountId: account_id, subscriptionId: id })).length;
  }
  const seconds = (performance.now() - startedAt) / 1_000;
  const [paid] = await rowsOf(
    em,
    sql<{
      n: number;
    }>`select count(*)::int as n from invoice where account_id = any(${copies}::uuid[]) and status = 'PAID'`,
  );
  if (renewed !== size || paid!.n !== size)
    throw new Error(`${name}: ${renewed} renewed, ${paid!.n} paid, expected ${size}`);
  return seconds;
}
