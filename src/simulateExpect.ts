import type { EntityManager } from '@mikro-orm/postgresql';
import { planById } from './catalog/plans.js';
import { Decimal } from './domain/decimal.js';
import { majorUnits } from './domain/money.js';
import { CreditNote } from './invoice/creditNote.entity.js';
import { Invoice, InvoiceLine } from './invoice/invoice.entity.js';
import type { LoggedEvent } from './platform/eventLog.js';
import type { Expectation, ExpectedCreditNote, ExpectedInvoice } from './simulateScenario.js';
import type { Run } from './simulateSteps.js';
import { listSubscriptions } from './subscription/subscriptions.js';
import { usageSummary } from './usage/usageSummary.js';
import { unsoundOf } from './verify.js';
import { collectedByCards } from './wallet/verifyLedger.js';
import { WalletGrant } from './wallet/wallet.entity.js';
import { walletView } from './wallet/wallets.js';

/** Something that is not as expected; `path` leads to it in the expectation. */
export interface Difference {
  path: readonly PropertyKey[];
  expected: string;
  found: string;
}

/** Every invoice of the account in the order they were made. */
export const invoicesInOrder = (em: EntityManager, accountId: string): Promise<Invoice[]> =>
  em.find(Invoice, { accountId }, { orderBy: { createdAt: 'asc', id: 'asc' }, disableIdentityMap: true });

export const linesInOrder = (em: EntityManager, { accountId, id }: Invoice): Promise<InvoiceLine[]> =>
  em.find(InvoiceLine, { accountId, invoiceId: id }, { orderBy: { position: 'asc' }, disableIdentityMap: true });

/** Every credit note of the account in the order of their numbers. */
export const creditNotesInOrder = (em: EntityManager, accountId: string): Promise<CreditNote[]> =>
  em.find(CreditNote, { accountId }, { orderBy: { id: 'asc' }, disableIdentityMap: true });

/** Every grant of the account in the order in which they came. */
export const grantsInOrder = (em: EntityManager, accountId: string): Promise<WalletGrant[]> =>
  em.find(WalletGrant, { accountId }, { orderBy: { id: 'asc' }, disableIdentityMap: true });

/** Compares texts; what isn't expected isn't looked at. Decimals are equal by value, so that 20 is 20.00. */
class Comparison {
  readonly differences: Difference[] = [];

  text(path: readonly PropertyKey[], expected: string | number | undefined, found: string | number | undefined): void {
    if (expected !== undefined && String(expected) !== String(found))
      this.differs(path, String(expected), String(found));
  }

  decimal(path: readonly PropertyKey[], expected: string | undefined, found: string): void {
    if (expected !== undefined && !new Decimal(expected).equals(found)) this.differs(path, expected, found);
  }

  /** Null: there is none. */
  instant(path: readonly PropertyKey[], expected: Date | null | undefined, found: Date | null | undefined): void {
    if (expected !== undefined) this.text(path, expected?.toISOString() ?? 'none', found?.toISOString() ?? 'none');
  }

  period(path: readonly PropertyKey[], expected: [Date, Date] | undefined, found: (Date | null | undefined)[]): void {
    for (const [i, at] of (expected ?? []).entries()) this.instant([...path, i], at, found[i]);
  }

  differs(path: readonly PropertyKey[], expected: string, found: string): void {
    this.differences.push({ path, expected, found });
  }
}

/** Holds an expectation against the account. `error`: how the step before ended; `events`: since the last time they were looked at. */
export async function differencesFrom(
  run: Run,
  expected: Expectation,
  { error, events }: { error: string | undefined; events: readonly LoggedEvent[] },
): Promise<Difference[]> {
  const compare = new Comparison();
  const em = run.deps.db.orm.em.fork();
  if (expected.error !== undefined) compare.text(['error'], expected.error, error ?? 'none');
  if (expected.subscription) await compareSubscription(compare, run, em, expected.subscription);
  if (expected.usage) {
    const { items } = await usageSummary(em, { accountId: run.accountId, clock: run.deps.clock });
    for (const [metric, used] of Object.entries(expected.usage)) {
      const item = items.find((one) => one.metric.code === run.code(metric));
      if (item) compare.decimal(['usage', metric], used, item.used.toFixed());
      else compare.differs(['usage', metric], used, 'no such metric in the period');
    }
  }
  if (expected.wallet) {
    const { wallet, balanceMinor, heldMinor, availableMinor } = await walletView(run.deps, em, run.accountId);
    const amount = (minorUnits: bigint) => majorUnits({ minorUnits, currency: wallet.currency });
    compare.decimal(['wallet', 'balance'], expected.wallet.balance, amount(balanceMinor));
    compare.decimal(['wallet', 'held'], expected.wallet.held, amount(heldMinor));
    compare.decimal(['wallet', 'available'], expected.wallet.available, amount(availableMinor));
    if (expected.wallet.grants) await compareGrants(compare, run, em, expected.wallet.grants);
  }
  if (expected.invoices) await compareInvoices(compare, run, em, expected.invoices);
  if (expected.credit_notes) await compareCreditNotes(compare, run, em, expected.credit_notes);
  if (expected.proposals) compareProposals(compare, run, expected.proposals);
  const { currency } = run.scenario.account;
  const collected = await collectedByCards(em, run.accountId);
  compare.decimal(['charged'], expected.charged, majorUnits({ minorUnits: collected, currency }));
  if (expected.events) compareEvents(compare, { ...expected, events: expected.events }, events);
  if (expected.ledger) for (const broken of await moneyViolations(run)) compare.differs(['ledger'], 'sound', broken);
  return compare.differences;
}

/** What is unsound about the account's money: in the ledger, or between it and what the cards were charged. */
export async function moneyViolations({ deps, accountId }: Pick<Run, 'deps' | 'accountId'>): Promise<string[]> {
  const em = deps.db.orm.em.fork();
  const collected = await collectedByCards(em, accountId);
  const moved = await deps.payments.moved?.({ accountId });
  return [
    ...(await unsoundOf(em, accountId)),
    ...(!moved || moved.amountMinor === collected
      ? []
      : [`cards were charged ${moved.amountMinor}, the ledger has ${collected}`]),
  ];
}

async function compareSubscription(
  compare: Comparison,
  run: Run,
  em: EntityManager,
  expected: NonNullable<Expectation['subscription']>,
): Promise<void> {
  const [found] = await listSubscriptions(em, run.accountId);
  if (!found) return compare.differs(['subscription'], 'one', 'none');
  const at = (name: keyof typeof expected): PropertyKey[] => ['subscription', name];
  const codeOf = async (planId: string | null | undefined) =>
    planId == null ? 'none' : (await planById(em, planId)).code;
  compare.text(at('status'), expected.status, found.status);
  if (expected.plan !== undefined) compare.text(at('plan'), run.code(expected.plan), await codeOf(found.planId));
  compare.text(at('quantity'), expected.quantity, found.quantity);
  compare.period(at('period'), expected.period, [found.periodStart, found.periodEnd]);
  if (expected.pending_plan !== undefined) {
    const code = expected.pending_plan === null ? 'none' : run.code(expected.pending_plan);
    compare.text(at('pending_plan'), code, await codeOf(found.pendingPlanId));
  }
  compare.instant(at('cancel_at'), expected.cancel_at, found.cancelAt);
  compare.instant(at('canceled_at'), expected.canceled_at, found.canceledAt);
  compare.instant(at('trial_ends_at'), expected.trial_ends_at, found.trialEndsAt);
}

async function compareGrants(
  compare: Comparison,
  run: Run,
  em: EntityManager,
  expected: readonly string[],
): Promise<void> {
  const found = await grantsInOrder(em, run.accountId);
  if (found.length !== expected.length)
    compare.differs(['wallet', 'grants'], `${expected.length} grants`, `${found.length}`);
  for (const [i, { currency, remainingMinor }] of found.entries())
    compare.decimal(['wallet', 'grants', i], expected[i], majorUnits({ minorUnits: remainingMinor, currency }));
}

async function compareInvoices(
  compare: Comparison,
  run: Run,
  em: EntityManager,
  expected: readonly ExpectedInvoice[],
): Promise<void> {
  const found = await invoicesInOrder(em, run.accountId);
  if (found.length !== expected.length) compare.differs(['invoices'], `${expected.length} invoices`, `${found.length}`);
  for (const [i, one] of expected.entries()) {
    const invoice = found[one.number - 1];
    if (!invoice) compare.differs(['invoices', i], `invoice ${one.number}`, 'none');
    else await compareInvoice(compare, ['invoices', i], em, one, invoice);
  }
}

async function compareInvoice(
  compare: Comparison,
  path: readonly PropertyKey[],
  em: EntityManager,
  expected: ExpectedInvoice,
  found: Invoice,
): Promise<void> {
  const amount = (minorUnits: bigint): string => majorUnits({ minorUnits, currency: found.currency });
  compare.text([...path, 'status'], expected.status, found.status);
  compare.decimal([...path, 'subtotal'], expected.subtotal, amount(found.subtotalMinor));
  compare.decimal([...path, 'discount'], expected.discount, amount(found.discountMinor));
  compare.decimal([...path, 'tax'], expected.tax, amount(found.taxMinor));
  compare.decimal([...path, 'total'], expected.total, amount(found.totalMinor));
  compare.decimal([...path, 'credit'], expected.credit, amount(found.creditAppliedMinor));
  compare.decimal([...path, 'wallet'], expected.wallet, amount(found.walletAppliedMinor));
  compare.decimal([...path, 'paid'], expected.paid, amount(found.amountPaidMinor));
  compare.decimal([...path, 'due'], expected.due, amount(found.amountDueMinor));
  compare.instant([...path, 'issued_at'], expected.issued_at, found.issuedAt);
  compare.instant([...path, 'paid_at'], expected.paid_at, found.paidAt);
  compare.instant([...path, 'next_attempt'], expected.next_attempt, found.nextPaymentAttemptAt);
  compare.text([...path, 'failed_attempts'], expected.failed_attempts, found.failedAttempts);
  compare.period([...path, 'period'], expected.period, [found.periodStart, found.periodEnd]);
  if (!expected.lines) return;
  const lines = await linesInOrder(em, found);
  if (lines.length !== expected.lines.length) {
    const list = lines.map((line) => `${line.description} ${amount(line.amountMinor)}`).join('; ');
    return compare.differs([...path, 'lines'], `${expected.lines.length} lines`, `${lines.length}: ${list}`);
  }
  for (const [i, one] of expected.lines.entries()) {
    const line = lines[i]!;
    const at = [...path, 'lines', i];
    compare.text([...at, 'description'], one.description, line.description);
    compare.decimal([...at, 'amount'], one.amount, amount(line.amountMinor));
    compare.decimal([...at, 'discount'], one.discount, amount(line.discountMinor));
    compare.decimal([...at, 'quantity'], one.quantity, line.quantity);
    compare.period([...at, 'period'], one.period, [line.periodStart, line.periodEnd]);
  }
}

async function compareCreditNotes(
  compare: Comparison,
  run: Run,
  em: EntityManager,
  expected: readonly ExpectedCreditNote[],
): Promise<void> {
  const found = await creditNotesInOrder(em, run.accountId);
  const path = ['credit_notes'];
  if (found.length !== expected.length) compare.differs(path, `${expected.length} credit notes`, `${found.length}`);
  for (const [i, one] of expected.entries()) {
    const note = found[one.number - 1];
    if (!note) {
      compare.differs([...path, i], `credit note ${one.number}`, 'none');
      continue;
    }
    const amount = (minorUnits: bigint): string => majorUnits({ minorUnits, currency: note.currency });
    compare.text([...path, i, 'status'], one.status, note.status);
    compare.decimal([...path, i, 'total'], one.total, amount(note.totalMinor));
    compare.decimal([...path, i, 'tax'], one.tax, amount(note.taxMinor));
    compare.decimal([...path, i, 'applied'], one.applied, amount(note.appliedToInvoiceMinor));
    compare.decimal([...path, i, 'refunded'], one.refunded, amount(note.refundedMinor));
    compare.decimal([...path, i, 'to_wallet'], one.to_wallet, amount(note.returnedToWalletMinor));
    compare.decimal([...path, i, 'balance'], one.balance, amount(note.balanceMinor));
  }
}

function compareProposals(compare: Comparison, run: Run, expected: NonNullable<Expectation['proposals']>): void {
  const found = run.proposals;
  if (found.length !== expected.length) compare.differs(['proposals'], `${expected.length}`, `${found.length}`);
  for (const [i, one] of expected.entries()) {
    const proposal = found[i];
    if (!proposal) return;
    const amount = (minor: string) => majorUnits({ minorUnits: BigInt(minor), currency: proposal.currency });
    compare.text(['proposals', i, 'kind'], one.kind, proposal.kind);
    compare.text(['proposals', i, 'metric'], one.metric, run.name(proposal.metric));
    compare.decimal(['proposals', i, 'previous'], one.previous, amount(proposal.previousMinor));
    compare.decimal(['proposals', i, 'corrected'], one.corrected, amount(proposal.correctedMinor));
    compare.decimal(['proposals', i, 'amount'], one.amount, amount(proposal.amountMinor));
  }
}

function compareEvents(
  compare: Comparison,
  { events: expected, subset }: { events: readonly string[]; subset?: boolean | undefined },
  events: readonly LoggedEvent[],
): void {
  const found = events.map(({ type }) => type as string);
  let next = 0;
  for (const type of found) if (type === expected[next]) next++;
  const differs = subset ? next < expected.length : expected.join() !== found.join();
  if (differs) compare.differs(['events'], expected.join(', ') || 'none', found.join(', ') || 'none');
}
