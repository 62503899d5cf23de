import assert from 'node:assert/strict';
import { Account } from '../../src/account/account.entity.js';
import { Invoice, InvoiceLine } from '../../src/invoice/invoice.entity.js';
import type { DraftInvoice } from '../../src/invoice/invoice.resolver.js';
import { Payment } from '../../src/payment/payment.entity.js';
import { applyCouponAsShown } from '../../src/subscription/applyCouponAsShown.js';
import { cancelSubscription } from '../../src/subscription/cancelSubscription.js';
import { changePlan } from '../../src/subscription/changePlan.js';
import { pauseSubscription } from '../../src/subscription/pauseSubscription.js';
import { type PreviewAnswer, type PreviewInput, preview } from '../../src/subscription/preview.js';
import { resumeSubscription } from '../../src/subscription/resumeSubscription.js';
import { readState } from '../../src/subscription/state.js';
import { subscribe } from '../../src/subscription/subscribe.js';
import { Subscription } from '../../src/subscription/subscription.entity.js';
import { upcomingInvoice } from '../../src/subscription/upcomingInvoice.js';
import { topUp } from '../../src/wallet/topUp.js';
import { freshKey } from './billing.js';
import { balanceOf } from './ledger.js';
import {
  act,
  advanceLife,
  type Life,
  nowOf,
  randomCancel,
  randomChange,
  randomCoupon,
  randomPause,
  randomSubscribe,
  randomTopUp,
  refusalOf,
  subscriptionIdOf,
} from './randomLife.js';

/** How a preview and its change came out: the same to the minor unit, refused alike, or refused because of what lay between. */
export type PreviewOutcome = 'equal' | 'refused' | 'stale';

const commands: ((life: Life) => Promise<PreviewInput>)[] = [
  async (life) => ({ subscribe: randomSubscribe(life) }),
  async (life) => ({ changePlan: await randomChange(life) }),
  async (life) => ({ changePlan: await randomChange(life) }),
  async (life) => ({ changePlan: await randomChange(life) }),
  async (life) => ({ cancelSubscription: await randomCancel(life) }),
  async (life) => ({ pauseSubscription: await randomPause(life) }),
  async (life) => ({ resumeSubscription: { subscriptionId: await subscriptionIdOf(life) } }),
  async (life) => ({ topUp: randomTopUp(life) }),
  async (life) => ({ applyCoupon: randomCoupon(life) }),
];

/** Ids of what the change made, and what it did not achieve. */
interface Done {
  invoiceId?: string | undefined;
  paymentId?: string | undefined;
  error?: { code: string } | undefined;
}

function change(
  { world: { deps }, account: { actor } }: Life,
  input: PreviewInput,
  previewToken?: string,
): Promise<Done> {
  const more = { idempotencyKey: freshKey(), previewToken };
  if ('subscribe' in input) return subscribe(deps, actor, { ...input.subscribe, ...more });
  if ('changePlan' in input) return changePlan(deps, actor, { ...input.changePlan, ...more });
  if ('cancelSubscription' in input) return cancelSubscription(deps, actor, { ...input.cancelSubscription, ...more });
  if ('pauseSubscription' in input) return pauseSubscription(deps, actor, { ...input.pauseSubscription, ...more });
  if ('resumeSubscription' in input) return resumeSubscription(deps, actor, { ...input.resumeSubscription, ...more });
  if ('topUp' in input) return topUp(deps, actor, { ...input.topUp, ...more });
  return applyCouponAsShown(deps, actor, { ...input.applyCoupon, ...more }) as Promise<Done>;
}

/**
 * Previews something random and then does it with the token; in some cases something happens in between. Throws where the
 * change comes to anything else than the preview, or only one of them is refused.
 */
export async function provePreview(life: Life): Promise<{ operation: string; outcome: PreviewOutcome }> {
  const { world, account, random, story } = life;
  const input = await random.pick(commands)(life);
  const [[operation]] = Object.entries(input) as [[string, object]];
  let shown: PreviewAnswer | undefined;
  const refused = await refusalOf(async () => {
    shown = await preview(world.deps, account.actor, input);
  });
  story.push(
    `preview ${JSON.stringify(input, (_, value) => (typeof value === 'bigint' ? String(value) : value))}: ${refused?.code ?? 'shown'}`,
  );

  const between = random.chance(0.25) ? random.pick(['usage', 'topUp', 'coupon', 'item', 'time'] as const) : undefined;
  if (between === 'time') {
    await advanceLife(life, new Date((await nowOf(life)).getTime() + random.int(1, 14 * 60_000)));
  } else if (between) await act(life, between);

  const drafts = await stopDrafts(life);
  const before = await spendable(life, { replaces: operation !== 'topUp' && operation !== 'applyCoupon' });
  let done: Done | undefined;
  const failed = await refusalOf(async () => {
    done = await change(life, input, shown?.token);
  });
  story.push(`${operation}: ${failed?.code ?? done?.error?.code ?? 'done'}`);

  if (!shown || !done) {
    if (between === undefined)
      assert.equal(failed?.code, refused?.code, `${operation}: preview and change are refused alike`);
    return { operation, outcome: shown ? 'stale' : 'refused' };
  }
  await compare(life, { shown, done, before, drafts, operation });
  if (between === undefined && !done.error && operation !== 'topUp') await compareNext(life, shown, operation);
  return { operation, outcome: 'equal' };
}

/** Wallet, and what of it has gone into an unpaid invoice that a new try makes void. */
async function spendable({ world, account }: Life, { replaces }: { replaces: boolean }): Promise<bigint> {
  if (!replaces) return balanceOf(world, account.id, 'wallet');
  const em = world.deps.db.orm.em.fork();
  const live = await em.findOne(Subscription, { accountId: account.id, status: { $ne: 'CANCELED' } });
  const ids = [live?.status === 'INCOMPLETE' ? live.firstInvoiceId : null, live?.changeInvoiceId].filter(
    (id) => id != null,
  );
  const replaced = await em.find(Invoice, { accountId: account.id, id: { $in: ids }, status: 'OPEN' });
  return replaced.reduce(
    (sum, { walletAppliedMinor }) => sum + walletAppliedMinor,
    await balanceOf(world, account.id, 'wallet'),
  );
}

/** What waits of subscriptions that ended or were paused. */
const stopDrafts = ({ world, account }: Life): Promise<Invoice[]> =>
  world.deps.db.orm.em.fork().find(Invoice, {
    accountId: account.id,
    status: 'DRAFT',
    reason: { $in: ['subscription_cancel', 'subscription_pause'] },
  });

/** Charged, credited and invoiced is what was shown. */
async function compare(
  life: Life,
  {
    shown,
    done,
    before,
    drafts,
    operation,
  }: { shown: PreviewAnswer; done: Done; before: bigint; drafts: readonly Invoice[]; operation: string },
): Promise<void> {
  const { world, account } = life;
  const em = world.deps.db.orm.em.fork();
  const invoice = done.invoiceId
    ? await em.findOneOrFail(Invoice, { accountId: account.id, id: done.invoiceId })
    : null;
  const lines = invoice
    ? await em.find(InvoiceLine, { accountId: account.id, invoiceId: invoice.id }, { orderBy: { position: 'asc' } })
    : [];
  const [payment] = done.paymentId
    ? await em.find(Payment, { accountId: account.id, id: done.paymentId })
    : await em.find(
        Payment,
        { accountId: account.id, subjectId: (done.invoiceId ?? '') ? done.invoiceId! : account.id },
        { orderBy: { id: 'asc' } },
      );

  assert.deepEqual(
    invoice && sums(invoice, lines),
    shown.invoice && sums(shown.invoice, shown.invoice.draftLines),
    `${operation}: the invoice is the one that was shown`,
  );
  // Also where none was shown: then there must be none.
  const [draft = null] = (await stopDrafts(life)).filter(({ id }) => !drafts.some((earlier) => earlier.id === id));
  const waiting = draft
    ? await em.find(InvoiceLine, { accountId: account.id, invoiceId: draft.id }, { orderBy: { position: 'asc' } })
    : [];
  assert.deepEqual(
    draft && { ...sums(draft, waiting), until: draft.finalizeAt },
    shown.draft && { ...sums(shown.draft, shown.draft.draftLines), until: shown.draft.finalizeAt },
    `${operation}: what waits is what was shown`,
  );
  assert.equal(payment?.amountMinor ?? 0n, shown.dueNowMinor, `${operation}: what is charged is what was shown`);
  if (done.error) return; // the change was taken back: so is what it took and gave
  const applied = shown.invoice?.walletAppliedMinor ?? 0n;
  const after = await balanceOf(world, account.id, 'wallet');
  assert.equal(after - before, shown.creditMinor - applied, `${operation}: the credit is what was shown`);
  const unpaid = shown.unpaidInvoice;
  if (!unpaid) return;
  const left = await em.findOneOrFail(Invoice, { accountId: account.id, id: unpaid.id });
  const own = { accountId: account.id, invoiceId: unpaid.id };
  const leftLines = await em.find(InvoiceLine, own, { orderBy: { position: 'asc' } });
  assert.deepEqual(
    [sums(left, leftLines), left.status, left.amountDueMinor],
    [sums(unpaid, unpaid.draftLines), unpaid.status, unpaid.amountDueMinor],
    `${operation}: the unpaid invoice is left as it was shown`,
  );
}

const sums = (invoice: Invoice, lines: readonly InvoiceLine[]) => ({
  lines: lines.map((line) => [
    line.kind,
    line.description,
    line.amountMinor,
    line.discountMinor,
    line.periodStart?.toISOString(),
    line.periodEnd?.toISOString(),
  ]),
  subtotal: invoice.subtotalMinor,
  discount: invoice.discountMinor,
  discounts: invoice.discounts.map(({ code, amountMinor }) => [code, amountMinor]),
  tax: invoice.taxMinor,
  taxes: invoice.taxes,
  total: invoice.totalMinor,
});

/** What follows by itself is what was shown to follow. */
async function compareNext({ world, account }: Life, shown: PreviewAnswer, operation: string): Promise<void> {
  const em = world.deps.db.orm.em.fork();
  const live = await em.findOne(Subscription, { accountId: account.id, status: { $ne: 'CANCELED' } });
  const holder = await em.findOneOrFail(Account, { id: account.id });
  const next = live ? await upcomingInvoice(em, { account: holder, state: await readState(em, live) }) : null;
  const view = (draft: DraftInvoice | null) => draft && sums(draft, draft.draftLines);
  assert.deepEqual(view(next), view(shown.nextInvoice), `${operation}: the next invoice is the one that was shown`);
}
