import type { CreditNoteDocument } from '../../src/invoice/creditNoteText.js';
import { describeCreditNote } from '../../src/invoice/creditNoteText.js';
import { renderCreditNotePdf } from '../../src/invoice/renderCreditNote.js';

const note = (changes: Partial<CreditNoteDocument> = {}): CreditNoteDocument => ({
  number: 'ACME-CN-000001',
  status: 'ISSUED',
  invoice: { number: 'ACME-000007', issuedAt: new Date('2026-11-01T00:05:00Z') },
  reason: 'Outage on 12 November',
  seller: { name: 'Semaswift', lines: ['12 Harbour Street', '1015 Lausanne'] },
  customer: { name: 'Acme Corporation', lines: [] },
  currency: 'USD',
  timeZone: 'Europe/Berlin',
  issuedAt: new Date('2026-11-14T23:30:00Z'),
  voidedAt: null,
  lines: [
    { description: 'Pro plan', amountMinor: 4_900n },
    { description: 'Storage over the limit of 10', amountMinor: 1_250n },
  ],
  subtotalMinor: 6_150n,
  taxes: [
    { name: 'VAT', percent: '20.000000000000', inclusive: false, amountMinor: 1_230n },
    { name: 'Levy', percent: '1.5', inclusive: true, amountMinor: 91n },
    { name: 'Nothing', percent: '0', inclusive: false, amountMinor: 0n },
  ],
  totalMinor: 7_380n,
  appliedToInvoiceMinor: 1_000n,
  returnedToWalletMinor: 500n,
  refunds: [
    { at: new Date('2026-11-15T00:00:00Z'), description: 'Visa •••• 4242', amountMinor: 4_000n },
    { at: null, description: 'Mastercard •••• 4444', amountMinor: 880n },
  ],
  ...changes,
});

test('says what it corrects, what it credits with tax, and what becomes of all of it', () => {
  const text = describeCreditNote(note());
  expect(text).toMatchObject({
    title: 'Credit note ACME-CN-000001',
    status: 'Issued',
    headline: '$73.80 credited on 15 Nov 2026',
    note: '',
    totals: [
      { label: 'Subtotal', amount: '$61.50' },
      { label: 'VAT 20 %', amount: '$12.30' },
      { label: 'Levy 1.5 % (included)', amount: '$0.91' },
      { label: 'Total credited', amount: '$73.80', strong: true },
    ],
    payments: [
      { date: '15 Nov 2026', description: 'Deducted from invoice ACME-000007', amount: '$10.00' },
      { date: '15 Nov 2026', description: 'Refunded to Visa •••• 4242', amount: '$40.00' },
      { date: '15 Nov 2026', description: 'Refund to Mastercard •••• 4444, under way', amount: '$8.80' },
      { date: '15 Nov 2026', description: 'Returned to the wallet', amount: '$5.00' },
      { date: '15 Nov 2026', description: 'Credit for later invoices', amount: '$10.00' },
    ],
  });
  expect(text.facts).toContainEqual({ label: 'Corrects invoice', value: 'ACME-000007' });
  expect(text.facts).toContainEqual({ label: 'Invoice date', value: '1 Nov 2026' });
  expect(text.rows.map(({ description, amount }) => `${description} ${amount}`)).toEqual([
    'Pro plan $49.00',
    'Storage over the limit of 10 $12.50',
  ]);
});

test('a void one credits nothing', () => {
  const text = describeCreditNote(note({ status: 'VOID', voidedAt: new Date('2026-11-20T12:00:00Z') }));
  expect(text).toMatchObject({
    status: 'Void',
    headline: 'Nothing credited',
    note: 'This credit note was voided on 20 Nov 2026.',
    payments: [],
  });
  expect(text.totals.at(-1)).toEqual({ label: 'Total', amount: '$73.80', strong: true });
});

test('is the same bytes for the same note, and others for another state', async () => {
  const first = await renderCreditNotePdf(note());
  expect((await renderCreditNotePdf(structuredClone(note()))).equals(first)).toBe(true);
  expect((await renderCreditNotePdf(note({ refunds: [] }))).equals(first)).toBe(false);
  expect(first.subarray(0, 5).toString()).toBe('%PDF-');
});
