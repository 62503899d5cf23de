import { advanceTestClock } from '../../src/account/advanceTestClock.js';
import { createTestClock } from '../../src/account/createTestClock.js';
import { readTestClock } from '../../src/account/testClock.js';
import { BillingError } from '../../src/domain/errors.js';
import { money } from '../../src/domain/money.js';
import { addInvoiceItem } from '../../src/invoice/addInvoiceItem.js';
import { createCreditNote } from '../../src/invoice/createCreditNote.js';
import { Invoice, InvoiceLine } from '../../src/invoice/invoice.entity.js';
import { payInvoice } from '../../src/invoice/payInvoice.js';
import { publicId } from '../../src/platform/ids.js';
import { applyCouponAsShown } from '../../src/subscription/applyCouponAsShown.js';
import { type CancelSubscriptionInput, cancelSubscription } from '../../src/subscription/cancelSubscription.js';
import { type ChangePlanInput, changePlan } from '../../src/subscription/changePlan.js';
import { type PauseSubscriptionInput, pauseSubscription } from '../../src/subscription/pauseSubscription.js';
import { resumeSubscription } from '../../src/subscription/resumeSubscription.js';
import { type SubscribeInput, subscribe } from '../../src/subscription/subscribe.js';
import { listSubscriptions } from '../../src/subscription/subscriptions.js';
import { undoScheduledChange } from '../../src/subscription/undoScheduledChange.js';
import { correctUsage } from '../../src/usage/correctUsage.js';
import { recordUsage } from '../../src/usage/recordUsage.js';
import { captureHold } from '../../src/wallet/captureHold.js';
import { createHold } from '../../src/wallet/createHold.js';
import { giveCredit } from '../../src/wallet/giveCredit.js';
import { releaseHold } from '../../src/wallet/releaseHold.js';
import { topUp } from '../../src/wallet/topUp.js';
import { WalletHold } from '../../src/wallet/wallet.entity.js';
import { addCard, dayMs, freshKey, settle } from './billing.js';
import { type Random, randomFrom } from './random.js';
import { randomCoupons, randomMetrics, randomPlans } from './randomCatalog.js';
import type { TestAccount, World } from './world.js';

/** An account with a clock of its own to which things happen, as one seed says. */
export interface Life {
  readonly world: World;
  readonly account: TestAccount;
  readonly seed: number;
  readonly random: Random;
  /** Ids of the usage events it has sent. */
  readonly sent: string[];
  /** What it has done, with how it ended: the way back to a fault. */
  readonly story: string[];
}

const zones = ['UTC', 'Europe/Berlin', 'America/New_York', 'Asia/Kathmandu', 'Pacific/Auckland', 'America/Sao_Paulo'];
const taxes = [[], [], ['VAT 19'], ['VAT 7.7 inclusive'], ['GST 5', 'PST 9.975'], ['VAT 20 inclusive', 'City 1.5']];
const goodCards = ['tok_visa', 'tok_mastercard', 'tok_refundFail'];
const badCards = ['tok_chargeCustomerFail', 'tok_chargeCustomerFailLostCard'];

/** Begins a life: zone, taxes, how it is dunned, a card, where its time stands. */
export async function beginLife(world: World, seed: number): Promise<Life> {
  const random = randomFrom(seed);
  const account = await world.account({ timeZone: random.pick(zones) });
  const now = new Date(Date.UTC(2024, random.int(0, 23), random.int(1, 31), random.int(0, 23), random.int(0, 59)));
  await createTestClock(world.deps, account.actor, { idempotencyKey: freshKey(), now });
  await settle(world, account, {
    taxes: random.pick(taxes),
    gracePeriodHours: random.pick([0, 0, 0, 6, 48]),
    dunningEnd: random.pick(['cancel', 'past_due', 'pause'] as const),
    ...(random.chance(0.3) ? { retryAfterDays: random.pick([[], [2], [1, 4, 9, 16]]) } : {}),
  });
  await addCard(world, account, random.chance(0.9) ? 'tok_visa' : random.pick(badCards));
  const life: Life = { world, account, seed, random, sent: [], story: [`lives from ${now.toISOString()}`] };
  if (random.chance(0.9)) await act(life, 'subscribe');
  return life;
}

/** Where its time stands. */
export const nowOf = async ({ world, account }: Life): Promise<Date> =>
  (await readTestClock(world.deps.db.orm.em.fork(), account.id))!.now;

/** Everything due until then happens; throws when the clock doesn't arrive. */
export async function advanceLife({ world, account, story }: Life, to: Date): Promise<void> {
  await advanceTestClock(world.deps, account.actor, { idempotencyKey: freshKey(), to }, { withinMs: 120_000 });
  const clock = (await readTestClock(world.deps.db.orm.em.fork(), account.id))!;
  if (clock.status !== 'READY') throw new Error(`the clock stands at ${clock.now.toISOString()} on its way to ${to}`);
  story.push(`is at ${to.toISOString()}`);
}

/** Mostly hours and days, sometimes months. */
export const randomSpanMs = (random: Random): number =>
  random.pick([60_000, 3_600_000, dayMs, 7 * dayMs, 30 * dayMs]) * (0.2 + random.next());

/** The account's newest subscription, by its public id; one that doesn't exist when it has none. */
export async function subscriptionIdOf({ world, account }: Life): Promise<string> {
  const [newest] = await listSubscriptions(world.deps.db.orm.em.fork(), account.id);
  return publicId('subscription', newest?.id ?? '01890a5d-ac96-774b-bcce-b302099a8057');
}

// Random commands, for the mutation as for its preview.

export const randomSubscribe = ({ random }: Life): SubscribeInput => ({
  planCode: random.pick(randomPlans),
  ...(random.chance(0.3) ? { quantity: random.int(1, 5) } : {}),
});
export const randomChange = async (life: Life): Promise<ChangePlanInput> => ({
  subscriptionId: await subscriptionIdOf(life),
  planCode: life.random.pick(randomPlans),
  ...(life.random.chance(0.4) ? { quantity: life.random.int(1, 5) } : {}),
  timing: life.random.pick(['AUTO', 'IMMEDIATE', 'PERIOD_END'] as const),
  proration: life.random.pick(['PER_DAY', 'PER_SECOND', 'NONE'] as const),
});
export const randomCancel = async (life: Life): Promise<CancelSubscriptionInput> => ({
  subscriptionId: await subscriptionIdOf(life),
  timing: life.random.pick(['AUTO', 'IMMEDIATE', 'PERIOD_END'] as const),
});
export const randomPause = async (life: Life): Promise<PauseSubscriptionInput> => ({
  subscriptionId: await subscriptionIdOf(life),
  ...(life.random.chance(0.5)
    ? { resumeAt: new Date((await nowOf(life)).getTime() + life.random.int(1, 40) * dayMs) }
    : {}),
});
export const randomTopUp = ({ random }: Life) => ({ amount: money(BigInt(random.int(1, 10_000)), 'USD') });
export const randomCoupon = ({ random }: Life) => ({ couponCode: random.pick(randomCoupons) });

const key = () => ({ idempotencyKey: freshKey() });

/** Everything that can happen to it, beside time. Answers with what was not achieved. */
const acts = {
  usage: async (life: Life) => {
    const { random, sent } = life;
    const now = await nowOf(life);
    const events = Array.from({ length: random.int(1, 6) }, () => {
      const metric = random.pick(randomMetrics);
      const transactionId = `event-${sent.length + 1}`;
      sent.push(transactionId);
      return {
        transactionId,
        metric,
        value: metric === 'requests' ? '1' : String(random.int(0, 400) / (metric === 'minutes' ? 4 : 10)),
        timestamp: random.chance(0.5) ? now : new Date(now.getTime() - random.int(0, 40 * 3_600_000)),
        properties: { device: `d${random.int(1, 6)}` },
      };
    });
    const { results } = await recordUsage(life.world.deps, life.account.actor, events);
    return results.find(({ error }) => error)?.error;
  },
  subscribe: async (life: Life) =>
    (await subscribe(life.world.deps, life.account.actor, { ...randomSubscribe(life), ...key() })).error,
  changePlan: async (life: Life) =>
    (await changePlan(life.world.deps, life.account.actor, { ...(await randomChange(life)), ...key() })).error,
  cancel: async (life: Life) =>
    (await cancelSubscription(life.world.deps, life.account.actor, { ...(await randomCancel(life)), ...key() })).error,
  undo: async (life: Life) =>
    (
      await undoScheduledChange(life.world.deps, life.account.actor, {
        subscriptionId: await subscriptionIdOf(life),
        ...key(),
      })
    ).error,
  pause: async (life: Life) =>
    (await pauseSubscription(life.world.deps, life.account.actor, { ...(await randomPause(life)), ...key() })).error,
  resume: async (life: Life) =>
    (
      await resumeSubscription(life.world.deps, life.account.actor, {
        subscriptionId: await subscriptionIdOf(life),
        ...key(),
      })
    ).error,
  topUp: async (life: Life) =>
    (await topUp(life.world.deps, life.account.actor, { ...randomTopUp(life), ...key() })).error,
  grant: async ({ random, world, account }: Life, now: Date) => {
    await giveCredit(world.deps, account.actor, {
      ...key(),
      amount: money(BigInt(random.int(1, 3_000)), 'USD'),
      reason: 'Goodwill',
      expiresAt: random.chance(0.6) ? new Date(now.getTime() + random.int(1, 60 * 24) * 3_600_000) : undefined,
      priority: random.pick([undefined, 10, 90]),
    });
  },
  hold: async ({ random, world, account }: Life, now: Date) => {
    await createHold(world.deps, account.actor, {
      ...key(),
      amount: money(BigInt(random.int(1, 2_000)), 'USD'),
      description: 'A job',
      expiresAt: random.chance(0.5) ? new Date(now.getTime() + random.int(1, 40 * 24) * 3_600_000) : undefined,
    });
  },
  endHold: async ({ random, world, account }: Life) => {
    const em = world.deps.db.orm.em.fork();
    const open = await em.find(WalletHold, { accountId: account.id, status: 'OPEN' }, { orderBy: { id: 'asc' } });
    if (open.length === 0) return;
    const { id, amountMinor } = random.pick(open);
    const ending = { ...key(), holdId: publicId('hold', id) };
    const amount = money(BigInt(random.int(1, Number(amountMinor))), 'USD');
    if (random.chance(0.3)) await releaseHold(world.deps, account.actor, ending);
    else await captureHold(world.deps, account.actor, { ...ending, amount });
  },
  coupon: async (life: Life) => {
    await applyCouponAsShown(life.world.deps, life.account.actor, { ...randomCoupon(life), ...key() });
  },
  item: async (life: Life) => {
    const amount = money(BigInt(life.random.int(-500, 2_000)), 'USD');
    await addInvoiceItem(life.world.deps, life.account.actor, { description: 'Set-up', amount, ...key() });
  },
  creditNote: async (life: Life) => {
    const { random, world, account } = life;
    const em = world.deps.db.orm.em.fork();
    const invoices = await em.find(
      Invoice,
      { accountId: account.id, number: { $ne: null } },
      { orderBy: { id: 'asc' } },
    );
    if (invoices.length === 0) return;
    const { id } = random.pick(invoices);
    const lines = await em.find(
      InvoiceLine,
      { accountId: account.id, invoiceId: id },
      { orderBy: { position: 'asc' } },
    );
    const line = lines.length > 0 && random.chance(0.6) ? random.pick(lines) : undefined;
    const amount = line && money(BigInt(random.int(1, Math.max(1, Number(line.amountMinor)))), 'USD');
    await createCreditNote(world.deps, account.actor, {
      ...key(),
      invoiceId: publicId('invoice', id),
      kind: random.pick(['CREDIT', 'REFUND'] as const),
      reason: 'Goodwill',
      lines: line && amount && [{ invoiceLineId: publicId('invoiceLine', line.id), amount }],
    });
  },
  correction: async ({ random, sent, world, account }: Life) => {
    if (sent.length === 0) return;
    const transactionId = random.pick(sent.slice(-30));
    const correction = random.chance(0.5)
      ? ({ transactionId, action: 'VOID' } as const)
      : ({ transactionId, action: 'REPLACE', value: String(random.int(0, 90)) } as const);
    await correctUsage(world.deps, account.actor, { ...key(), corrections: [correction] });
  },
  taxes: async ({ random, world, account }: Life) => {
    await settle(world, account, { taxes: random.pick(taxes), taxExempt: random.chance(0.2) });
  },
  badCard: async ({ random, world, account }: Life) => {
    await addCard(world, account, random.pick(badCards));
  },
  goodCard: async ({ random, world, account }: Life) => {
    await addCard(world, account, random.pick(goodCards));
  },
  pay: async ({ world, account }: Life) => {
    const em = world.deps.db.orm.em.fork();
    const [open] = await em.find(Invoice, { accountId: account.id, status: 'OPEN' }, { orderBy: { id: 'asc' } });
    if (!open) return undefined;
    return (await payInvoice(world.deps, account.actor, { ...key(), invoiceId: publicId('invoice', open.id) })).error;
  },
} as const;

export type Act = keyof typeof acts;

/** How often each happens, against the others. */
const odds: Record<Act, number> = {
  usage: 40,
  subscribe: 8,
  changePlan: 14,
  cancel: 4,
  undo: 4,
  pause: 4,
  resume: 6,
  topUp: 5,
  grant: 4,
  hold: 3,
  endHold: 3,
  coupon: 4,
  item: 4,
  creditNote: 5,
  correction: 6,
  taxes: 1,
  badCard: 2,
  goodCard: 5,
  pay: 3,
};
const hat = Object.entries(odds).flatMap(([act, times]) => Array<Act>(times).fill(act as Act));

/** Lets one thing happen. A refusal is part of life; anything thrown that is none, or says INTERNAL, is thrown on. */
export async function act(life: Life, what: Act = life.random.pick(hat)): Promise<void> {
  const now = await nowOf(life);
  const ended = await refusalOf(() => acts[what](life, now));
  life.story.push(`${what}: ${ended?.code ?? 'done'}`);
}

/** What was refused, or not achieved. */
export async function refusalOf(work: () => Promise<unknown>): Promise<{ code: string } | undefined> {
  try {
    return (await work()) as { code: string } | undefined;
  } catch (error) {
    if (error instanceof BillingError && error.code !== 'INTERNAL') return error;
    throw error;
  }
}

/** Acts, a few at a time and then not for days or weeks, until its clock has come this far. `quiet`: for months, too. */
export async function liveUntil(life: Life, until: Date, { quiet = false } = {}): Promise<void> {
  const { random } = life;
  const spans = quiet ? [10, 60, 120] : [1 / 24, 10, 30, 45];
  for (;;) {
    for (let acts = random.int(1, 3); acts > 0; acts--) await act(life);
    const spanMs = random.pick(spans) * dayMs * (0.2 + random.next());
    const next = new Date(Math.floor((await nowOf(life)).getTime() + spanMs));
    await advanceLife(life, next < until ? next : until);
    if (next >= until) return;
  }
}
