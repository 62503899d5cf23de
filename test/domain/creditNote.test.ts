import fc from 'fast-check';
import {
  type CreditableInvoice,
  type CreditNoteDecision,
  decideCreditNote,
  mostOfLine,
} from '../../src/domain/creditNote.js';
import { BillingError } from '../../src/domain/errors.js';

/** An invoice over 100.00 and 19 % on top, paid by card. */
const invoice = (changes: Partial<CreditableInvoice> = {}): CreditableInvoice => ({
  number: 'ACME-000001',
  status: 'PAID',
  currency: 'USD',
  totalMinor: 11_900n,
  amountDueMinor: 0n,
  taxes: [{ inclusive: false, taxableMinor: 10_000n, amountMinor: 1_900n }],
  lines: [
    { id: 'a', amountMinor: 8_000n, discountMinor: 1_000n },
    { id: 'b', amountMinor: 3_000n, discountMinor: 0n },
  ],
  creditNotes: [],
  payments: [{ id: 'p1', refundableMinor: 11_900n }],
  walletReturnableMinor: 0n,
  ...changes,
});
const open = invoice({ status: 'OPEN', amountDueMinor: 11_900n, payments: [] });

/** The invoice after a note, as the books would show it. */
function creditedBy(of: CreditableInvoice, note: CreditNoteDecision): CreditableInvoice {
  const gone = new Map(note.refunds.map(({ paymentId, amountMinor }) => [paymentId, amountMinor]));
  const amountDueMinor = of.amountDueMinor - note.appliedToInvoiceMinor;
  return {
    ...of,
    amountDueMinor,
    status: amountDueMinor === 0n ? 'PAID' : of.status,
    creditNotes: [...of.creditNotes, note],
    payments: of.payments.map((p) => ({ ...p, refundableMinor: p.refundableMinor - (gone.get(p.id) ?? 0n) })),
    walletReturnableMinor: of.walletReturnableMinor - note.returnedToWalletMinor,
  };
}

const refusal = (work: () => unknown): { code: string; message: string } => {
  try {
    work();
  } catch (error) {
    if (error instanceof BillingError) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error('nothing was refused');
};

describe('where it goes', () => {
  const amounts = [{ lineId: 'a', amountMinor: 5_000n }]; // 59.50 with tax
  test.each<[string, CreditableInvoice, 'CREDIT' | 'REFUND', object]>([
    ['CREDIT of a paid invoice is credit', invoice(), 'CREDIT', { balanceMinor: 5_950n, refunds: [] }],
    ['of an open invoice it lowers what is due', open, 'CREDIT', { appliedToInvoiceMinor: 5_950n, balanceMinor: 0n }],
    [
      'of one given up likewise',
      { ...open, status: 'UNCOLLECTIBLE' },
      'CREDIT',
      { appliedToInvoiceMinor: 5_950n, balanceMinor: 0n },
    ],
    [
      'what is due comes first, the rest is credit',
      invoice({ status: 'OPEN', amountDueMinor: 2_000n, payments: [], walletReturnableMinor: 9_900n }),
      'CREDIT',
      { appliedToInvoiceMinor: 2_000n, returnedToWalletMinor: 0n, balanceMinor: 3_950n },
    ],
    [
      'REFUND goes to the newest payment first, never more than is left of it',
      invoice({
        payments: [
          { id: 'new', refundableMinor: 900n },
          { id: 'spent', refundableMinor: 0n },
          { id: 'old', refundableMinor: 11_000n },
        ],
      }),
      'REFUND',
      {
        refunds: [
          { paymentId: 'new', amountMinor: 900n },
          { paymentId: 'old', amountMinor: 5_050n },
        ],
        refundedMinor: 5_950n,
      },
    ],
    [
      'then to the wallet, and what earlier credit had paid becomes credit again',
      invoice({ payments: [{ id: 'p1', refundableMinor: 1_000n }], walletReturnableMinor: 2_000n }),
      'REFUND',
      { refundedMinor: 1_000n, returnedToWalletMinor: 2_000n, balanceMinor: 2_950n },
    ],
  ])('%s', (_name, of, kind, expected) => {
    expect(decideCreditNote({ invoice: of, kind, amounts })).toMatchObject({
      subtotalMinor: 5_000n,
      taxMinor: 950n,
      totalMinor: 5_950n,
      ...expected,
    });
  });
});

describe('what it takes', () => {
  test('everything is every line after its discount, with all of the tax', () => {
    expect(decideCreditNote({ invoice: invoice(), kind: 'CREDIT', amounts: 'everything' })).toMatchObject({
      lines: [
        { lineId: 'a', amountMinor: 7_000n },
        { lineId: 'b', amountMinor: 3_000n },
      ],
      taxes: [{ taxableMinor: 10_000n, amountMinor: 1_900n }],
      totalMinor: 11_900n,
    });
  });

  test('tax that prices contain does not come on top', () => {
    const inclusive = invoice({
      totalMinor: 10_000n,
      taxes: [{ inclusive: true, taxableMinor: 8_403n, amountMinor: 1_597n }],
    });
    const half = decideCreditNote({
      invoice: inclusive,
      kind: 'CREDIT',
      amounts: [{ lineId: 'b', amountMinor: 3_000n }],
    });
    expect(half).toMatchObject({ subtotalMinor: 3_000n, taxMinor: 479n, totalMinor: 3_000n });
  });

  test('three thirds give back exactly the tax', () => {
    let of = invoice({
      totalMinor: 310n,
      taxes: [{ inclusive: false, taxableMinor: 300n, amountMinor: 10n }],
      lines: [{ id: 'a', amountMinor: 300n, discountMinor: 0n }],
    });
    const taxes = [1, 2, 3].map(() => {
      const note = decideCreditNote({ invoice: of, kind: 'CREDIT', amounts: [{ lineId: 'a', amountMinor: 100n }] });
      of = creditedBy(of, note);
      return note.taxMinor;
    });
    expect(taxes).toEqual([3n, 4n, 3n]);
  });

  test('when the notes that rounded down were voided, the next takes no tax, and never less than none', () => {
    const roundedUp = {
      lines: [{ lineId: 'a', amountMinor: 1n }],
      taxes: [{ taxableMinor: 1n, amountMinor: 1n }],
      totalMinor: 2n,
    };
    const of = invoice({
      totalMinor: 110n,
      taxes: [{ inclusive: false, taxableMinor: 100n, amountMinor: 10n }],
      lines: [{ id: 'a', amountMinor: 100n, discountMinor: 0n }],
      creditNotes: [roundedUp],
    });
    const next = decideCreditNote({ invoice: of, kind: 'CREDIT', amounts: [{ lineId: 'a', amountMinor: 1n }] });
    expect(next).toMatchObject({ taxes: [{ amountMinor: 0n }], totalMinor: 1n });
    const rest = decideCreditNote({ invoice: creditedBy(of, next), kind: 'CREDIT', amounts: 'everything' });
    expect(rest).toMatchObject({ taxMinor: 9n, totalMinor: 107n });
  });

  test('a line below zero has taken its part of the others', () => {
    const change = invoice({
      totalMinor: 2_000n,
      taxes: [],
      lines: [
        { id: 'unused', amountMinor: -2_000n, discountMinor: 0n },
        { id: 'rest', amountMinor: 4_000n, discountMinor: 0n },
      ],
    });
    const all = decideCreditNote({ invoice: change, kind: 'CREDIT', amounts: 'everything' });
    expect(all.lines).toEqual([{ lineId: 'rest', amountMinor: 2_000n }]);
    const over = [{ lineId: 'rest', amountMinor: 2_001n }];
    expect(refusal(() => decideCreditNote({ invoice: change, kind: 'CREDIT', amounts: over }))).toEqual({
      code: 'INVALID',
      message: 'The lines sum to 20.01 USD, expected at most 20.00 USD, what is left of invoice ACME-000001',
    });
  });
});

describe('what was given back otherwise', () => {
  test('a later credit takes its part of the line and of the tax: a note takes the rest', () => {
    const of = invoice({ creditedLater: [{ lineId: 'a', amountMinor: 5_000n }] });
    expect(decideCreditNote({ invoice: of, kind: 'REFUND', amounts: 'everything' })).toMatchObject({
      lines: [
        { lineId: 'a', amountMinor: 2_000n },
        { lineId: 'b', amountMinor: 3_000n },
      ],
      taxMinor: 950n,
      totalMinor: 5_950n,
    });
    const over = [{ lineId: 'a', amountMinor: 2_001n }];
    expect(refusal(() => decideCreditNote({ invoice: of, kind: 'CREDIT', amounts: over })).message).toContain(
      'at most 20.00 USD, what is left of the line',
    );
    expect(mostOfLine(of, 'a')).toBe(2_000n);
    const all = invoice({
      creditedLater: of.lines.map((line) => ({ lineId: line.id, amountMinor: line.amountMinor - line.discountMinor })),
    });
    expect(refusal(() => decideCreditNote({ invoice: all, kind: 'CREDIT', amounts: 'everything' })).code).toBe(
      'ILLEGAL_STATE',
    );
    expect(mostOfLine(all, 'a')).toBe(0n);
  });

  test('a line of the same invoice that takes a fee back leaves the rest of that fee only', () => {
    const draft = invoice({
      totalMinor: 1_500n,
      taxes: [],
      lines: [
        { id: 'usage', amountMinor: 500n, discountMinor: 0n },
        { id: 'fee', amountMinor: 3_000n, discountMinor: 0n, takenBackMinor: 2_000n },
        { id: 'unused', amountMinor: -2_000n, discountMinor: 0n },
      ],
    });
    expect(decideCreditNote({ invoice: draft, kind: 'CREDIT', amounts: 'everything' }).lines).toEqual([
      { lineId: 'usage', amountMinor: 500n },
      { lineId: 'fee', amountMinor: 1_000n },
    ]);
  });

  test('a credit at other rates has paid a part: the rest comes back with the tax that is on it', () => {
    const change = invoice({
      totalMinor: 2_760n, // 40.00 and 19 %, less an untaxed 20.00
      taxes: [{ inclusive: false, taxableMinor: 4_000n, amountMinor: 760n }],
      lines: [{ id: 'charge', amountMinor: 4_000n, discountMinor: 0n }],
      payments: [{ id: 'p1', refundableMinor: 2_760n }],
    });
    expect(decideCreditNote({ invoice: change, kind: 'REFUND', amounts: 'everything' })).toMatchObject({
      subtotalMinor: 2_319n,
      taxMinor: 441n,
      totalMinor: 2_760n,
    });
    const over = [{ lineId: 'charge', amountMinor: 2_320n }];
    expect(refusal(() => decideCreditNote({ invoice: change, kind: 'CREDIT', amounts: over })).message).toContain(
      'expected at most 23.19 USD, what is left of invoice',
    );
  });

  test('of an unpaid invoice what is more than is due goes to the wallet, as far as that had paid', () => {
    const of = { ...open, amountDueMinor: 2_000n, walletReturnableMinor: 3_000n };
    const amounts = [{ lineId: 'a', amountMinor: 5_000n }];
    expect(decideCreditNote({ invoice: of, kind: 'CREDIT', amounts, restTo: 'wallet' })).toMatchObject({
      appliedToInvoiceMinor: 2_000n,
      returnedToWalletMinor: 3_000n,
      balanceMinor: 950n,
      refunds: [],
    });
  });
});

describe('refusals say what was found and what was expected', () => {
  const half = decideCreditNote({
    invoice: invoice(),
    kind: 'CREDIT',
    amounts: [{ lineId: 'a', amountMinor: 3_500n }],
  });
  const all = decideCreditNote({ invoice: invoice(), kind: 'CREDIT', amounts: 'everything' });
  const line = (lineId: string, amountMinor: bigint) => [{ lineId, amountMinor }];
  test.each<
    [string, CreditableInvoice, 'CREDIT' | 'REFUND', { lineId: string; amountMinor: bigint }[], string, string]
  >([
    [
      'a draft',
      invoice({ status: 'DRAFT' }),
      'CREDIT',
      line('a', 1n),
      'ILLEGAL_STATE',
      'is DRAFT, expected OPEN, PAID',
    ],
    [
      'a void one',
      invoice({ status: 'VOID' }),
      'CREDIT',
      line('a', 1n),
      'ILLEGAL_STATE',
      'is VOID, expected OPEN, PAID',
    ],
    [
      'one used up',
      creditedBy(invoice(), all),
      'CREDIT',
      line('a', 1n),
      'ILLEGAL_STATE',
      'Nothing is left of invoice ACME-000001',
    ],
    ['no lines', invoice(), 'CREDIT', [], 'INVALID', 'lines is empty, expected at least one'],
    ['a strange line', invoice(), 'CREDIT', line('x', 1n), 'INVALID', 'not one of invoice ACME-000001'],
    [
      'a line twice',
      invoice(),
      'CREDIT',
      [...line('a', 1n), ...line('a', 1n)],
      'INVALID',
      'stands twice, expected once',
    ],
    [
      'nothing',
      invoice(),
      'CREDIT',
      line('a', 0n),
      'INVALID',
      'amount is 0.00 USD, expected more than 0 and at most 70.00',
    ],
    ['less than nothing', invoice(), 'CREDIT', line('a', -1n), 'INVALID', 'amount is -0.01 USD, expected more than 0'],
    [
      'more than the line',
      invoice(),
      'CREDIT',
      line('a', 7_001n),
      'INVALID',
      'amount is 70.01 USD, expected more than 0 and at most 70.00',
    ],
    [
      'more than is left',
      creditedBy(invoice(), half),
      'CREDIT',
      line('a', 3_501n),
      'INVALID',
      'at most 35.00 USD, what is left of the line',
    ],
    [
      'a refund of nothing paid',
      open,
      'REFUND',
      line('a', 100n),
      'ILLEGAL_STATE',
      'A refund of 1.19 USD is more than what was paid of invoice ACME-000001: expected at most 0.00 USD, or the kind CREDIT',
    ],
  ])('%s', (_name, of, kind, amounts, code, message) => {
    const refused = refusal(() => decideCreditNote({ invoice: of, kind, amounts }));
    expect(refused).toEqual({ code, message: expect.stringContaining(message) });
  });
});

/** Any finalised invoice, with how it was paid: by cards, the wallet, earlier credit, or not yet. */
const invoices = fc
  .record({
    lines: fc.array(fc.record({ amountMinor: fc.bigInt(-5_000n, 20_000n), discountMinor: fc.bigInt(0n, 3_000n) }), {
      minLength: 1,
      maxLength: 5,
    }),
    rates: fc.array(fc.record({ inclusive: fc.boolean(), permille: fc.bigInt(0n, 250n) }), { maxLength: 3 }),
    shares: fc.array(fc.nat(100), { minLength: 4, maxLength: 4 }),
  })
  .map(({ lines, rates, shares }): CreditableInvoice => {
    const billed = lines.map((line, i) => ({
      id: `l${i}`,
      amountMinor: line.amountMinor,
      discountMinor: line.discountMinor < line.amountMinor ? line.discountMinor : 0n,
    }));
    const netMinor = billed.reduce((sum, line) => sum + line.amountMinor - line.discountMinor, 0n);
    const taxes = rates.map(({ inclusive, permille }) => ({
      inclusive,
      taxableMinor: netMinor,
      amountMinor: (netMinor * permille + 500n) / 1_000n,
    }));
    const totalMinor = taxes.reduce((sum, tax) => sum + (tax.inclusive ? 0n : tax.amountMinor), netMinor);
    const whole = BigInt(shares.reduce((sum, share) => sum + share, 1));
    const [due, wallet, first, second] = shares.map((share) => (totalMinor * BigInt(share)) / whole);
    return {
      number: 'N',
      status: due! > 0n ? 'OPEN' : 'PAID',
      currency: 'USD',
      totalMinor,
      amountDueMinor: due!,
      taxes,
      lines: billed,
      creditNotes: [],
      payments: [
        { id: 'second', refundableMinor: second! },
        { id: 'first', refundableMinor: first! },
      ],
      walletReturnableMinor: wallet!,
    };
  })
  .filter(({ totalMinor, taxes }) => totalMinor > 0n && taxes.every(({ amountMinor }) => amountMinor >= 0n));

/** Where credits at other rates have paid a part of it. */
const paidByCredits = fc
  .tuple(invoices, fc.bigInt(1n, 99n))
  .map(([of, percent]): CreditableInvoice => {
    const totalMinor = (of.totalMinor * percent) / 100n;
    return { ...of, status: 'PAID', totalMinor, amountDueMinor: 0n, payments: [], walletReturnableMinor: totalMinor };
  })
  .filter(({ totalMinor }) => totalMinor > 0n);

const steps = fc.array(
  fc.record({
    kind: fc.constantFrom('CREDIT' as const, 'REFUND' as const),
    line: fc.nat(4),
    part: fc.bigInt(1n, 100n),
    voids: fc.boolean(),
  }),
  { maxLength: 8 },
);

const totalOf = (of: CreditableInvoice) => of.creditNotes.reduce((sum, note) => sum + note.totalMinor, 0n);

/** `expect` is too slow for what is asked hundreds of thousands of times. */
function holds(fact: boolean, what: string): void {
  if (!fact) throw new Error(`does not hold: ${what}`);
}

test('in any sequence the notes never exceed the invoice, their parts sum to them, and all of it is exactly its total and tax', () => {
  fc.assert(
    fc.property(invoices, steps, (start, sequence) => {
      let of = start;
      const issue = (kind: 'CREDIT' | 'REFUND', amounts: Parameters<typeof decideCreditNote>[0]['amounts']): void => {
        const note = decideCreditNote({ invoice: of, kind, amounts });
        const refunded = note.refunds.reduce((sum, { amountMinor }) => sum + amountMinor, 0n);
        const parts = note.appliedToInvoiceMinor + refunded + note.returnedToWalletMinor + note.balanceMinor;
        holds(parts === note.totalMinor && refunded === note.refundedMinor, 'the parts sum to the total');
        const all = [note.subtotalMinor, note.balanceMinor, ...note.taxes.map((tax) => tax.amountMinor)];
        holds(note.totalMinor > 0n && all.every((minor) => minor >= 0n), 'no part is below zero');
        of = creditedBy(of, note);
        const left = [of.amountDueMinor, of.walletReturnableMinor, ...of.payments.map((p) => p.refundableMinor)];
        holds(
          left.every((minor) => minor >= 0n),
          'nothing gives back more than it paid',
        );
        holds(totalOf(of) <= of.totalMinor, 'the notes never exceed the invoice');
      };
      for (const { kind, line, part, voids } of sequence) {
        const { id, amountMinor } = of.lines[line % of.lines.length]!;
        try {
          issue(kind, [{ lineId: id, amountMinor: (amountMinor * part) / 100n }]);
        } catch (error) {
          if (!(error instanceof BillingError)) throw error;
        }
        // Voided notes may be those that rounded down, and those that stay the ones that rounded up.
        const unused = of.creditNotes.find((note) => (note as CreditNoteDecision).balanceMinor === note.totalMinor);
        if (voids && unused) of = { ...of, creditNotes: of.creditNotes.filter((note) => note !== unused) };
      }
      if (totalOf(of) < of.totalMinor) issue('CREDIT', 'everything');
      holds(totalOf(of) === of.totalMinor, 'all notes together are the whole invoice');
      for (const [i, tax] of of.taxes.entries()) {
        const given = of.creditNotes.reduce((sum, note) => sum + note.taxes[i]!.amountMinor, 0n);
        holds(given === tax.amountMinor, 'and the whole of its tax');
      }
    }),
    { numRuns: 10_000 },
  );
});

test('where credits have paid a part, notes never exceed the rest, and all of them are exactly that', () => {
  fc.assert(
    fc.property(paidByCredits, steps, (start, sequence) => {
      let of = start;
      for (const { kind, line, part } of sequence) {
        const { id, amountMinor } = of.lines[line % of.lines.length]!;
        try {
          const amounts = [{ lineId: id, amountMinor: (amountMinor * part) / 100n }];
          of = creditedBy(of, decideCreditNote({ invoice: of, kind, amounts }));
        } catch (error) {
          if (!(error instanceof BillingError)) throw error;
        }
      }
      holds(totalOf(of) <= of.totalMinor, 'the notes never exceed what was paid');
      if (totalOf(of) < of.totalMinor) {
        const note = decideCreditNote({ invoice: of, kind: 'CREDIT', amounts: 'everything' });
        holds(note.taxMinor >= 0n && note.taxMinor <= note.totalMinor, 'a note contains its tax');
        of = creditedBy(of, note);
      }
      holds(totalOf(of) === of.totalMinor, 'all notes together are what was paid');
    }),
    { numRuns: 5_000 },
  );
});
