import { createHmac } from 'node:crypto';
import { Account } from './account/account.entity.js';
import { ensureKey } from './account/apiKeys.js';
import { createAccount } from './account/createAccount.js';
import { parseCatalog } from './catalog/catalogFile.js';
import { demoCatalogYaml } from './catalog/demoCatalog.js';
import { publishCatalog } from './catalog/publishCatalog.js';
import { money } from './domain/money.js';
import { addPaymentMethod } from './payment/addPaymentMethod.js';
import { systemActor } from './platform/actor.js';
import { clockAt } from './platform/clock.js';
import type { Deps } from './platform/deps.js';
import { publicId } from './platform/ids.js';
import { serverSecret } from './platform/serverSecret.js';
import { rowsOf, sql } from './platform/sql.js';
import { advanceSubscription } from './subscription/renew.js';
import { subscribe } from './subscription/subscribe.js';
import { recordUsage } from './usage/recordUsage.js';
import { configureAutoRecharge } from './wallet/configureAutoRecharge.js';
import { createHold } from './wallet/createHold.js';
import { giveCredit } from './wallet/giveCredit.js';
import { topUp } from './wallet/topUp.js';

export interface DemoAccount {
  id: string;
  name: string;
  token: string;
}

interface DemoScript {
  accountId: string;
  keyId: string;
  name: string;
  planCode: string;
  card: string;
  /** Metric → readings of last month and of this one. */
  usage: Record<string, { before: string[]; now: string[] }>;
  walletMinor: bigint;
  autoRecharge: { thresholdMinor: bigint; amountMinor: bigint } | undefined;
  /** Credit that was given, for so many days, and what is held of the wallet for a job under way. */
  welcome: { minor: bigint; days: number; heldMinor: bigint } | undefined;
}

/** The first account shows exactly what the integration guide shows. Ids are fixed, so that the demo is made once. */
const scripts: readonly DemoScript[] = [
  {
    accountId: '019aa000-0000-7000-8000-000000000001',
    keyId: '019aa000-0000-7000-8000-0000000000a1',
    name: 'Acme Voice',
    planCode: 'plan_professional',
    card: 'tok_visa',
    usage: {
      users: { before: ['31'], now: ['35'] },
      storage: { before: ['38.2'], now: ['45.7'] },
      voice_minutes: { before: ['1250', '980', '1610'], now: ['780', '940', '620'] },
    },
    walletMinor: 25_000n,
    autoRecharge: { thresholdMinor: 5_000n, amountMinor: 10_000n },
    welcome: undefined,
  },
  {
    accountId: '019aa000-0000-7000-8000-000000000002',
    keyId: '019aa000-0000-7000-8000-0000000000a2',
    name: 'Globex Support',
    planCode: 'plan_starter',
    card: 'tok_mastercard',
    usage: {
      users: { before: ['3'], now: ['4'] },
      storage: { before: ['1.5'], now: ['2.25'] },
      voice_minutes: { before: ['210'], now: ['120'] },
    },
    walletMinor: 2_000n,
    autoRecharge: undefined,
    welcome: { minor: 500n, days: 90, heldMinor: 250n },
  },
];

/**
 * The demo catalog and the two demo accounts, made once; later calls only say their tokens again. The tokens are derived
 * from a secret in the database, so they stay the same over restarts. Every step bears being repeated after a crash.
 */
export async function prepareDemo(deps: Deps): Promise<DemoAccount[]> {
  const em = deps.db.orm.em.fork();
  const done = await rowsOf(em, sql`select 1 from server_secret where name = 'demo_made'`);
  if (done.length === 0) {
    await publishCatalog(deps, parseCatalog(demoCatalogYaml));
    for (const script of scripts) await play(deps, script);
    await rowsOf(
      em,
      sql`insert into server_secret (name, value) values ('demo_made', '') on conflict (name) do nothing`,
    );
  }
  const seed = await serverSecret(em, 'demo_tokens');
  return Promise.all(
    scripts.map(async ({ accountId, keyId, name }) => {
      const secret = createHmac('sha256', seed).update(keyId).digest().subarray(0, 24);
      const token = await ensureKey(deps, { accountId, id: keyId, secret, name: 'Demo' });
      return { id: publicId('account', accountId), name, token };
    }),
  );
}

/** Plays two months of an account's life: each step with the clock of its own time. */
async function play(deps: Deps, script: DemoScript): Promise<void> {
  const { accountId } = script;
  const now = deps.clock.now();
  const thisMonth = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), 1));
  const lastMonth = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - 1, 1));
  const then = { ...deps, clock: clockAt(lastMonth) };
  const actor = systemActor(accountId);
  const key = (step: string) => `demo-${step}`;

  if (!(await deps.db.orm.em.fork().findOne(Account, { id: accountId })))
    await createAccount(then, { id: accountId, name: script.name });
  await addPaymentMethod(then, actor, {
    idempotencyKey: key('card'),
    type: 'card',
    token: script.card,
    makeDefault: true,
  });
  const { subscriptionId } = await subscribe(then, actor, {
    idempotencyKey: key('subscribe'),
    planCode: script.planCode,
  });
  const record = (at: Date, part: 'before' | 'now') =>
    recordUsage(
      { ...deps, clock: clockAt(at) },
      actor,
      Object.entries(script.usage).flatMap(([metric, readings]) =>
        readings[part].map((value, i) => ({
          transactionId: key(`${part}-${metric}-${i}`),
          metric,
          value,
          timestamp: at,
        })),
      ),
    );
  await record(new Date(lastMonth.getTime() + 15 * 86_400_000), 'before');
  await advanceSubscription({ ...deps, clock: clockAt(thisMonth) }, { accountId, subscriptionId });
  await record(now, 'now');

  await topUp(deps, actor, { idempotencyKey: key('top-up'), amount: money(script.walletMinor, 'USD') });
  if (script.welcome) {
    const { minor, days, heldMinor } = script.welcome;
    await giveCredit(deps, actor, {
      idempotencyKey: key('welcome'),
      amount: money(minor, 'USD'),
      reason: 'Welcome',
      expiresAt: new Date(thisMonth.getTime() + days * 86_400_000),
    });
    await createHold(deps, actor, {
      idempotencyKey: key('hold'),
      amount: money(heldMinor, 'USD'),
      description: 'Transcription of a conference call',
    });
  }
  if (script.autoRecharge) {
    await configureAutoRecharge(deps, actor, {
      idempotencyKey: key('auto-recharge'),
      enabled: true,
      threshold: money(script.autoRecharge.thresholdMinor, 'USD'),
      amount: money(script.autoRecharge.amountMinor, 'USD'),
    });
  }
}
