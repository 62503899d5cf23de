import { createKey } from '../../src/account/apiKeys.js';
import { settleInvoicePayment } from '../../src/invoice/collectInvoice.js';
import { createCreditNote } from '../../src/invoice/createCreditNote.js';
import { payInvoice } from '../../src/invoice/payInvoice.js';
import { voidCreditNote } from '../../src/invoice/voidCreditNote.js';
import { chargePayment, intendPayment } from '../../src/payment/charge.js';
import { PaymentMethod } from '../../src/payment/payment.entity.js';
import { transact } from '../../src/platform/db.js';
import { newId, publicId } from '../../src/platform/ids.js';
import { sql } from '../../src/platform/sql.js';
import { cancelSubscription } from '../../src/subscription/cancelSubscription.js';
import { changePlan } from '../../src/subscription/changePlan.js';
import { preview } from '../../src/subscription/preview.js';
import { subscribe } from '../../src/subscription/subscribe.js';
import { topUp } from '../../src/wallet/topUp.js';
import {
  addCard,
  allAtOnce,
  dayMs,
  eventsOf,
  freshKey,
  invoicesOf,
  paymentsOf,
  runDue,
  settle,
  subscribed,
  subscriptionOf,
  testCatalogYaml,
  usd,
} from '../support/billing.js';
import { credit, creditNotesOf, firstLineOf, refundsOf } from '../support/creditNotes.js';
import { balanceOf, expectSoundLedger } from '../support/ledger.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ catalog: testCatalogYaml, worker: false });
});
afterAll(() => world.stop());
beforeEach(() => world.clock.set('2024-04-01T00:00:00Z'));

/** An account with a paid invoice over 30.00. */
async function billed({ token }: { token?: string } = {}) {
  const { account, id } = await subscribed(world, token ? { token } : {});
  return { account, subscriptionId: id, invoice: (await invoicesOf(world, account))[0]! };
}

/** The invoice of the account's next renewal. */
async function renewed(account: TestAccount) {
  world.clock.set('2024-05-01T00:01:00Z');
  await runDue(world);
  return (await invoicesOf(world, account)).at(-1)!;
}

/** An account with a renewal over 30.00 that its card doesn't pay. */
async function unpaid(token = 'tok_chargeDeclinedInsufficientFunds') {
  const { account } = await billed();
  await addCard(world, account, token);
  return { account, invoice: await renewed(account) };
}

const cancelNote = (account: TestAccount, { id }: { id: string }) =>
  voidCreditNote(world.deps, account.actor, { creditNoteId: publicId('creditNote', id) });

describe('credit', () => {
  test('of a paid invoice pays the next renewal, before wallet and card', async () => {
    const { account, invoice } = await billed();
    const note = await credit(world, account, { invoice, amount: '10.00' });
    expect(note).toMatchObject({ kind: 'CREDIT', status: 'ISSUED', totalMinor: 1000n, balanceMinor: 1000n });
    expect(note.number).toMatch(/-CN-000001$/);
    await topUp(world.deps, account.actor, { amount: usd('5.00') });
    expect(await renewed(account)).toMatchObject({
      status: 'PAID',
      creditAppliedMinor: 1000n,
      walletAppliedMinor: 500n,
      amountPaidMinor: 1500n,
    });
    expect(await creditNotesOf(world, account)).toMatchObject([{ balanceMinor: 0n }]);
    await expectSoundLedger(world, account.id);
  });

  test('is taken from the oldest notes first, and only what the invoice needs', async () => {
    const { account, invoice } = await billed();
    for (const amount of ['10.00', '15.00', '5.00']) await credit(world, account, { invoice, amount });
    await changePlan(world.deps, account.actor, {
      idempotencyKey: freshKey(),
      subscriptionId: publicId('subscription', (await subscriptionOf(world, account)).id),
      planCode: 'premium',
      timing: 'AUTO',
      proration: 'PER_DAY',
    });
    const [, change] = await invoicesOf(world, account);
    expect(change).toMatchObject({ totalMinor: 6000n, creditAppliedMinor: 3000n, amountPaidMinor: 3000n });
    await credit(world, account, { invoice: change!, lines: undefined });
    expect(await renewed(account)).toMatchObject({ totalMinor: 6000n, creditAppliedMinor: 6000n, amountPaidMinor: 0n });
    await expectSoundLedger(world, account.id);
  });

  test('of an unpaid invoice lowers what is due; when nothing is left it is paid and the features go on', async () => {
    const { account, invoice } = await unpaid();
    expect(await subscriptionOf(world, account)).toMatchObject({ status: 'PAST_DUE' });
    await credit(world, account, { invoice, amount: '10.00' });
    expect((await invoicesOf(world, account))[1]).toMatchObject({ status: 'OPEN', amountDueMinor: 2000n });
    await expect(credit(world, account, { invoice, amount: '1.00', kind: 'REFUND' })).rejects.toMatchObject({
      code: 'ILLEGAL_STATE',
      message: expect.stringContaining('expected at most 0.00 USD'),
    });
    await credit(world, account, { invoice });
    expect((await invoicesOf(world, account))[1]).toMatchObject({
      status: 'PAID',
      amountDueMinor: 0n,
      creditAppliedMinor: 3000n,
      creditNotedMinor: 3000n,
      nextPaymentAttemptAt: null,
    });
    await runDue(world);
    expect(await subscriptionOf(world, account)).toMatchObject({ status: 'ACTIVE' });
    expect(await eventsOf(world, account, 'credit_note.created')).toHaveLength(2);
    await expectSoundLedger(world, account.id);
  });

  test('of an invoice that was given up pays it', async () => {
    const { account, invoice } = await unpaid();
    for (const days of [1, 3, 5, 7]) {
      world.clock.set(new Date(Date.parse('2024-05-01T00:02:00Z') + days * dayMs));
      await runDue(world);
    }
    expect((await invoicesOf(world, account))[1]).toMatchObject({ status: 'UNCOLLECTIBLE' });
    await credit(world, account, { invoice });
    expect((await invoicesOf(world, account))[1]).toMatchObject({ status: 'PAID', amountDueMinor: 0n });
    await expectSoundLedger(world, account.id);
  });

  test('that paid an invoice returns to its note when the invoice is voided', async () => {
    const { account, invoice, subscriptionId } = await billed();
    await credit(world, account, { invoice, amount: '30.00' });
    await cancelSubscription(world.deps, account.actor, { subscriptionId, timing: 'IMMEDIATE' });
    await addCard(world, account, 'tok_chargeDeclined');
    await subscribe(world.deps, account.actor, { planCode: 'premium' });
    const second = (await invoicesOf(world, account))[1]!;
    expect(second).toMatchObject({ status: 'OPEN', creditAppliedMinor: 3000n, amountDueMinor: 3000n });
    await credit(world, account, { invoice: second, amount: '10.00' });
    world.clock.advanceMs(dayMs + 60_000);
    await runDue(world);
    expect((await invoicesOf(world, account))[1]).toMatchObject({ status: 'VOID' });
    expect(await creditNotesOf(world, account)).toMatchObject([{ balanceMinor: 3000n }, { balanceMinor: 0n }]);
    expect(await balanceOf(world, account.id, 'revenue')).toBe(0n);
    await expectSoundLedger(world, account.id);
  });

  test('is known to a preview, and the change charges what it showed', async () => {
    const { account, invoice, subscriptionId } = await billed();
    await credit(world, account, { invoice, amount: '10.00' });
    const input = { subscriptionId, planCode: 'premium', timing: 'AUTO', proration: 'PER_DAY' } as const;
    const quoted = await preview(world.deps, account.actor, { changePlan: input });
    expect(quoted.dueNowMinor).toBe(3000n); // 60.00 less the 20.00 that the old plan still cost, less the credit
    await changePlan(world.deps, account.actor, { ...input, previewToken: quoted.token });
    expect((await invoicesOf(world, account))[1]).toMatchObject({ amountPaidMinor: quoted.dueNowMinor });
    await expectSoundLedger(world, account.id);
  });
});

describe('refund', () => {
  test('of everything goes back to the card, and the payment is refunded', async () => {
    const { account, invoice } = await billed();
    const note = await credit(world, account, { invoice, kind: 'REFUND' });
    expect(note).toMatchObject({ totalMinor: 3000n, refundedMinor: 3000n, balanceMinor: 0n });
    expect(await refundsOf(world, account)).toMatchObject([
      { status: 'SUCCEEDED', amountMinor: 3000n, reconcileAt: null },
    ]);
    expect(await paymentsOf(world, account)).toMatchObject([{ status: 'REFUNDED' }]);
    expect(await world.deps.payments.moved({ accountId: account.id })).toEqual({ charges: 1, amountMinor: 0n });
    const events = await eventsOf(world, account, 'credit_note.created', 'refund.succeeded');
    expect(events.map(({ type, data }) => [type, data.status, data.amount ?? data.total])).toEqual([
      ['credit_note.created', 'issued', 30],
      ['refund.succeeded', 'succeeded', 30],
    ]);
    await expectSoundLedger(world, account.id);
    await expect(credit(world, account, { invoice })).rejects.toMatchObject({ code: 'ILLEGAL_STATE' });
  });

  test('leaves no fee that a cancellation could credit a second time', async () => {
    const { account, invoice, subscriptionId } = await billed();
    await credit(world, account, { invoice, amount: '30.00', kind: 'REFUND' });
    await cancelSubscription(world.deps, account.actor, { subscriptionId, timing: 'IMMEDIATE' });
    expect(await balanceOf(world, account.id, 'wallet')).toBe(0n);
    await expectSoundLedger(world, account.id);
  });

  test('goes to the card first, then to the wallet, each what it had paid', async () => {
    const { account } = await billed();
    await topUp(world.deps, account.actor, { amount: usd('10.00') });
    const invoice = await renewed(account);
    expect(invoice).toMatchObject({ walletAppliedMinor: 1000n, amountPaidMinor: 2000n });
    expect(await credit(world, account, { invoice, amount: '25.00', kind: 'REFUND' })).toMatchObject({
      refundedMinor: 2000n,
      returnedToWalletMinor: 500n,
      balanceMinor: 0n,
    });
    expect(await balanceOf(world, account.id, 'wallet')).toBe(500n);
    expect(await eventsOf(world, account, 'wallet.credited')).toHaveLength(1);
    expect(await credit(world, account, { invoice, kind: 'REFUND' })).toMatchObject({ returnedToWalletMinor: 500n });
    await expectSoundLedger(world, account.id);
  });

  test('of what earlier credit had paid is credit again', async () => {
    const { account, invoice } = await billed();
    await credit(world, account, { invoice, amount: '10.00' });
    const renewal = await renewed(account);
    expect(await credit(world, account, { invoice: renewal, kind: 'REFUND' })).toMatchObject({
      refundedMinor: 2000n,
      balanceMinor: 1000n,
    });
    await expectSoundLedger(world, account.id);
  });

  test('of an invoice paid twice goes to the newest payment first', async () => {
    const { account, invoice } = await unpaid();
    await addCard(world, account, 'tok_mastercard');
    const accountId = account.id;
    const paymentId = newId();
    await transact(world.deps, accountId, async (tx) => {
      const method = await tx.em.findOneOrFail(PaymentMethod, { accountId, isDefault: true });
      const amount = usd('12.00');
      const intent = { purpose: 'invoice', subjectId: invoice.id, description: 'A part', amount } as const;
      intendPayment(tx, { ...intent, id: paymentId, paymentMethodId: method.id });
    });
    const outcome = (await chargePayment(world.deps, { accountId, paymentId }))!;
    await settleInvoicePayment(world.deps, { accountId, paymentId, outcome });
    await world.rows(sql`update invoice set status = 'OPEN' where id = ${invoice.id}`); // nothing of ours pays a part
    await payInvoice(world.deps, account.actor, { invoiceId: publicId('invoice', invoice.id) });

    expect(await credit(world, account, { invoice, amount: '20.00', kind: 'REFUND' })).toMatchObject({
      refundedMinor: 2000n,
    });
    const payments = await paymentsOf(world, account);
    const [older, newer] = payments.slice(-2);
    expect([older!.status, newer!.status]).toEqual(['SUCCEEDED', 'REFUNDED']);
    expect((await refundsOf(world, account)).map((r) => [r.paymentId, r.amountMinor]).toSorted()).toEqual(
      [
        [newer!.id, 1800n],
        [older!.id, 200n],
      ].toSorted(),
    );
    await expectSoundLedger(world, account.id);
  });

  test('that the card does not take stays as credit, and the next renewal is paid from it', async () => {
    const { account, invoice } = await billed({ token: 'tok_refundFail' });
    expect(await credit(world, account, { invoice, amount: '12.00', kind: 'REFUND' })).toMatchObject({
      refundedMinor: 0n,
      balanceMinor: 1200n,
    });
    expect(await refundsOf(world, account)).toMatchObject([
      { status: 'FAILED', failureCode: 'expired_or_canceled_card' },
    ]);
    expect(await paymentsOf(world, account)).toMatchObject([{ status: 'SUCCEEDED' }]);
    expect(await eventsOf(world, account, 'refund.failed')).toMatchObject([
      { data: { status: 'failed', failure_code: 'expired_or_canceled_card', amount: 12 } },
    ]);
    await expectSoundLedger(world, account.id);
    expect(await renewed(account)).toMatchObject({ creditAppliedMinor: 1200n, amountPaidMinor: 1800n });
    await expectSoundLedger(world, account.id);
  });
});

describe('one invoice', () => {
  test('is never credited beyond what it came to, however many try at once; numbers have no gaps', async () => {
    const { account, invoice } = await billed();
    const kinds = ['CREDIT', 'REFUND'] as const;
    const { done, codes } = await allAtOnce(10, (i) =>
      credit(world, account, { invoice, amount: '8.00', kind: kinds[i % 2]! }),
    );
    expect(done).toHaveLength(3);
    expect(new Set(codes)).toEqual(new Set(['INVALID']));
    const numbers = (await creditNotesOf(world, account)).map(({ number }) => number.slice(-9));
    expect(numbers).toEqual(['CN-000001', 'CN-000002', 'CN-000003']);
    await credit(world, account, { invoice });
    expect((await invoicesOf(world, account))[0]).toMatchObject({ creditNotedMinor: 3000n });
    await expectSoundLedger(world, account.id);
  });

  test('gives back the tax its prices contain in proportion, exactly in the end', async () => {
    const account = await world.account();
    await settle(world, account, { taxes: ['VAT 7.7 inclusive'] });
    await addCard(world, account);
    await subscribe(world.deps, account.actor, { idempotencyKey: freshKey(), planCode: 'basic' });
    const [invoice] = await invoicesOf(world, account);
    const vat = { name: 'VAT', percent: '7.7', inclusive: true, taxableMinor: '2786', amountMinor: '214' };
    expect(invoice).toMatchObject({ taxMinor: 214n, taxes: [vat] });
    for (const amount of ['10.00', '10.00', '10.00']) await credit(world, account, { invoice: invoice!, amount });
    const notes = await creditNotesOf(world, account);
    expect(notes.map(({ taxMinor }) => taxMinor)).toEqual([71n, 72n, 71n]);
    expect(notes[0]!.taxes).toEqual([{ ...vat, taxableMinor: '929', amountMinor: '71' }]);
    await expectSoundLedger(world, account.id);
  });

  test('is not credited while a payment of it is under way', async () => {
    const { account, invoice } = await billed();
    await world.rows(sql`update payment set status = 'PENDING' where account_id = ${account.id}`);
    await expect(credit(world, account, { invoice, amount: '1.00' })).rejects.toMatchObject({
      code: 'CONFLICT',
      retryable: true,
    });
  });

  test('credited while its holder confirms the payment: what he pays too much is in his wallet', async () => {
    const { account, invoice } = await unpaid('tok_threeDSecure2Required');
    await credit(world, account, { invoice, amount: '10.00' });
    const payment = (await paymentsOf(world, account)).at(-1)!;
    expect(payment.status).toBe('REQUIRES_ACTION');
    await world.deps.payments.authenticate({ chargeRef: payment.chargeRef!, success: true });
    world.clock.advanceMs(3_600_000);
    await runDue(world);
    expect((await invoicesOf(world, account))[1]).toMatchObject({ status: 'PAID', amountPaidMinor: 2000n });
    expect(await balanceOf(world, account.id, 'wallet')).toBe(1000n);
    await expectSoundLedger(world, account.id);
    expect(await credit(world, account, { invoice, kind: 'REFUND' })).toMatchObject({ refundedMinor: 2000n });
    await expectSoundLedger(world, account.id);
  });

  test('of another account, or one that does not exist, is not found', async () => {
    const [mine, theirs] = [await billed(), await billed()];
    await expect(credit(world, mine.account, { invoice: theirs.invoice })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('void', () => {
  test('takes back a note that is all unused; its number stays', async () => {
    const { account, invoice } = await billed();
    const note = await credit(world, account, { invoice, amount: '10.00' });
    await cancelNote(account, note);
    expect(await creditNotesOf(world, account)).toMatchObject([
      { status: 'VOID', number: note.number, balanceMinor: 0n, totalMinor: 1000n, voidedAt: expect.any(Date) },
    ]);
    expect((await invoicesOf(world, account))[0]).toMatchObject({ creditNotedMinor: 0n });
    expect(await eventsOf(world, account, 'credit_note.voided')).toMatchObject([{ data: { status: 'void' } }]);
    expect(await balanceOf(world, account.id, 'revenue')).toBe(3000n);
    await expectSoundLedger(world, account.id);
    expect((await credit(world, account, { invoice })).number).toMatch(/-CN-000002$/);
    await expect(cancelNote(account, note)).rejects.toMatchObject({
      code: 'ILLEGAL_STATE',
      message: expect.stringContaining('is VOID, expected ISSUED'),
    });
  });

  test.each(['REFUND', 'CREDIT'] as const)('of a %s that had its effect is refused', async (kind) => {
    const { account, invoice } = await billed();
    const note = await credit(world, account, { invoice, amount: '10.00', kind });
    if (kind === 'CREDIT') await renewed(account);
    await expect(cancelNote(account, note)).rejects.toMatchObject({
      code: 'ILLEGAL_STATE',
      message: expect.stringContaining('0.00 of 10.00 USD is unused credit, expected all of it'),
    });
  });

  test('and use of the credit at once: one of them wins, and the books hold', async () => {
    const { account, invoice } = await billed();
    const note = await credit(world, account, { invoice, amount: '10.00' });
    world.clock.set('2024-05-01T00:01:00Z');
    await Promise.all([cancelNote(account, note).catch(() => undefined), runDue(world)]);
    await expectSoundLedger(world, account.id);
  });
});

describe('at the doors', () => {
  const money = '{ amount minorUnits currency }';
  const fields = `id number kind status reason currency subtotal ${money} tax ${money} total ${money} appliedToInvoice ${money}
    refunded ${money} returnedToWallet ${money} balance ${money} issuedAt voidedAt pdfUrl invoice { number }
    lines { invoiceLineId description amount ${money} } refunds { id status failureCode createdAt amount ${money} payment { status } }`;
  const create = `mutation($input: CreateCreditNoteInput!) { createCreditNote(input: $input) {
    creditNote { ${fields} } replayed userErrors { code message field } } }`;

  test('an operator issues, reads and voids notes; the customer reads them, in GraphQL and REST', async () => {
    const { account, invoice } = await billed();
    const { token } = await createKey(world.deps, { accountId: undefined, scopes: ['*'] });
    const as = { 'billing-account': account.publicId };
    const invoiceId = publicId('invoice', invoice.id);
    const invoiceLineId = await firstLineOf(world, invoice);
    const lines = [{ invoiceLineId, amount: { amount: '10.00', currency: 'USD' } }];
    const input = { idempotencyKey: 'cn', invoiceId, kind: 'REFUND', reason: ' An outage ', lines };

    const { data } = await world.gql(token, create, { input }, as);
    expect(data.createCreditNote).toMatchObject({ replayed: false, userErrors: [] });
    const note = data.createCreditNote.creditNote;
    expect(note).toMatchObject({
      kind: 'REFUND',
      status: 'ISSUED',
      reason: 'An outage',
      total: { minorUnits: '1000' },
      refunded: { minorUnits: '1000' },
      lines: [{ invoiceLineId, description: 'Basic', amount: { amount: '10.00' } }],
      refunds: [{ status: 'SUCCEEDED', failureCode: null, payment: { status: 'SUCCEEDED' } }],
      invoice: { number: invoice.number },
    });
    const again = await world.gql(token, create, { input }, as);
    expect(again.data.createCreditNote).toEqual({ creditNote: note, replayed: true, userErrors: [] });
    const other = await world.gql(token, create, { input: { ...input, reason: 'Another' } }, as);
    expect(other.data.createCreditNote.userErrors).toMatchObject([{ code: 'IDEMPOTENCY_MISMATCH' }]);
    const euros = [{ invoiceLineId, amount: { amount: '1.00', currency: 'EUR' } }];
    const wrong = await world.gql(token, create, { input: { ...input, idempotencyKey: 'e', lines: euros } }, as);
    expect(wrong.data.createCreditNote).toMatchObject({
      creditNote: null,
      userErrors: [
        { code: 'INVALID', message: 'The invoice is in USD, found an amount in EUR', field: ['lines', '0', 'amount'] },
      ],
    });
    for (const reason of ['', ' ', 'x'.repeat(501)]) {
      const { data } = await world.gql(token, create, { input: { ...input, idempotencyKey: freshKey(), reason } }, as);
      expect(data.createCreditNote.userErrors).toMatchObject([{ code: 'INVALID', field: ['reason'] }]);
    }

    const rest = await world.gql(
      token,
      create,
      { input: { ...input, idempotencyKey: '2', kind: 'CREDIT', lines: null } },
      as,
    );
    const second = rest.data.createCreditNote.creditNote;
    expect(second).toMatchObject({ total: { amount: '20.00' }, balance: { amount: '20.00' }, refunds: [] });
    const voided = await world.gql(
      token,
      `mutation($id: ID!) { voidCreditNote(input: { idempotencyKey: "v", creditNoteId: $id }) { creditNote { status voidedAt } replayed userErrors { code } } }`,
      { id: second.id },
      as,
    );
    expect(voided.data.voidCreditNote).toMatchObject({
      creditNote: { status: 'VOID' },
      replayed: false,
      userErrors: [],
    });

    const read = await world.gql(
      account.token,
      `query($id: ID!, $invoice: ID!) { creditNote(id: $id) { ${fields} } creditNotes(first: 10) { nodes { id } edges { cursor } pageInfo { hasNextPage } }
        invoice(id: $invoice) { creditNotes { id } } node(id: $id) { __typename id } }`,
      { id: note.id, invoice: invoiceId },
    );
    expect(read.errors).toBeUndefined();
    expect(read.data).toMatchObject({
      creditNote: note,
      creditNotes: { nodes: [{ id: second.id }, { id: note.id }] },
      invoice: { creditNotes: [{ id: note.id }, { id: second.id }] },
      node: { __typename: 'CreditNote', id: note.id },
    });
    const unknown = await world.gql(account.token, '{ creditNote(id: "cn_nothing") { id } }');
    expect(unknown.data).toEqual({ creditNote: null });

    const one = await world.rest(account.token, 'GET', `/credit-notes/${note.id}`);
    expect(one.body).toMatchObject({
      id: note.id,
      invoice_id: invoiceId,
      kind: 'refund',
      total: 10,
      refunded: 10,
      balance: 0,
      lines: [{ invoice_line_id: invoiceLineId, amount: 10 }],
      refunds: [{ amount: 10, status: 'succeeded', credit_note_id: note.id }],
    });
    const page = await world.rest(account.token, 'GET', '/credit-notes?limit=1');
    expect(page.body.credit_notes).toMatchObject([{ id: second.id, status: 'void' }]);
    const next = await world.rest(account.token, 'GET', `/credit-notes?limit=1&after=${second.id}`);
    expect(next.body.credit_notes).toEqual([one.body]);
    const pdf = await world.rest(account.token, 'GET', `/credit-notes/${note.id}/pdf`);
    expect([pdf.status, pdf.headers.get('content-type'), pdf.headers.get('content-disposition')]).toEqual([
      200,
      'application/pdf',
      `inline; filename="${note.number}.pdf"`,
    ]);
    expect((await world.rest(account.token, 'GET', `/credit-notes/${note.id}/pdf`)).text).toBe(pdf.text);
    const stranger = await world.account();
    for (const path of [note.id, `${note.id}/pdf`, 'cn_nothing'])
      expect((await world.rest(stranger.token, 'GET', `/credit-notes/${path}`)).status).toBe(404);
    await expectSoundLedger(world, account.id);
  });

  test('a customer cannot credit himself', async () => {
    const { account, invoice } = await billed();
    const note = await credit(world, account, { invoice, amount: '1.00' });
    const input = { idempotencyKey: 'x', invoiceId: publicId('invoice', invoice.id), kind: 'REFUND', reason: 'Mine' };
    const asked = [
      await world.gql(account.token, create, { input }),
      await world.gql(
        account.token,
        'mutation($id: ID!) { voidCreditNote(input: { idempotencyKey: "v", creditNoteId: $id }) { replayed } }',
        { id: publicId('creditNote', note.id) },
      ),
    ];
    for (const { data, errors } of asked)
      expect(
        errors?.[0].extensions.code ?? Object.values<{ userErrors: { code: string }[] }>(data)[0]!.userErrors[0]!.code,
      ).toBe('FORBIDDEN');
    const reader = { ...account.actor, scopes: ['*:read'] };
    await expect(
      createCreditNote(world.deps, reader, { invoiceId: input.invoiceId, kind: 'CREDIT', reason: 'x' }),
    ).rejects.toMatchObject({ code: 'FORBIDDEN' });
    expect(await creditNotesOf(world, account)).toHaveLength(1);
  });
});
