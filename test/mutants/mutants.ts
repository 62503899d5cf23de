// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the texts are source code
/** A bug planted on purpose, and the test that must catch it. */
export interface Mutant {
  readonly name: string;
  /** In each file the exact text, which must be there once, and what stands there instead. */
  readonly edits: readonly { readonly file: string; readonly from: string; readonly to: string }[];
  readonly test: { readonly file: string; readonly name: string };
}

const edit = (file: string, from: string, to: string) => ({ file, from, to });
const caughtBy = (file: string, name: string) => ({ file, name });

/** What has gone wrong in other billing systems. Each must turn its test red, and nothing else may keep it green. */
export const mutants: readonly Mutant[] = [
  {
    name: 'a charge is sent without a key',
    edits: [
      edit(
        'src/integrations/payments/stripe.ts',
        'metadata: { account_id: accountId, payment_id: paymentId, charge_key: key },\n        },\n        { idempotencyKey: key },',
        'metadata: { account_id: accountId, payment_id: paymentId, charge_key: key },\n        },\n        {},',
      ),
    ],
    test: caughtBy(
      'test/payment/stripe.test.ts',
      'subscribing collects the first invoice; every object bears our ids, every request a key of ours',
    ),
  },
  {
    name: 'a charge bears the key of what it pays, so that the second payment of a wallet is taken for the first',
    edits: [edit('src/payment/charge.ts', 'providerKey: `pay-${id}`', 'providerKey: `pay-${subjectId}`')],
    test: caughtBy('test/wallet/wallet.test.ts', '20 at once with one key are one, 10 with ten keys are ten'),
  },
  {
    name: 'a balance is read, changed and written',
    edits: [
      edit(
        'src/wallet/ledger.ts',
        'do update set balance_minor = ledger_account.balance_minor + excluded.balance_minor',
        'do update set balance_minor = (select b.balance_minor from ledger_account b where b.account_id = ledger_account.account_id and b.id = ledger_account.id) + excluded.balance_minor',
      ),
    ],
    test: caughtBy('test/wallet/ledger.test.ts', 'movements at once: no balance forgets one'),
  },
  {
    name: 'events and outbox are written outside of the transaction',
    edits: [
      edit(
        'src/platform/db.ts',
        'seqs = await writeEvents(em, batches);',
        'seqs = await writeEvents(db.orm.em.fork(), batches);',
      ),
    ],
    test: caughtBy(
      'test/platform/transact.test.ts',
      'an event goes with its transaction, even when only the COMMIT fails',
    ),
  },
  {
    name: 'credited on the webhook and on the answer',
    edits: [
      edit('src/payment/charge.ts', 'if (!settles) return undefined;', 'if (before === undefined) return undefined;'),
      edit(
        'src/wallet/topUp.ts',
        'const { id: referenceId, amountMinor } = payment;',
        'const { amountMinor } = payment;\n    const referenceId = newId();',
      ),
    ],
    test: caughtBy('test/payment/stripe.test.ts', 'a top-up charges the card and credits the wallet, once'),
  },
  {
    name: 'an idempotency key is looked up without its operation',
    edits: [
      edit(
        'src/platform/idempotency.ts',
        'values (${tx.accountId}, ${newId()}, ${operation}, ${key}',
        "values (${tx.accountId}, ${newId()}, ${'any'}, ${key}",
      ),
      edit('src/platform/idempotency.ts', 'and operation = ${operation} and key', "and operation = ${'any'} and key"),
    ],
    test: caughtBy('test/platform/idempotency.test.ts', 'a key belongs to one account and one operation'),
  },
  {
    name: 'a key is claimed whatever its input',
    edits: [
      edit(
        'src/platform/idempotency.ts',
        'if (stored && stored.input_hash !== hashOf(input)) {',
        'if (stored?.input_hash === "") {',
      ),
    ],
    test: caughtBy('test/platform/idempotency.test.ts', 'another value make another input: IDEMPOTENCY_MISMATCH'),
  },
  {
    name: 'amounts are parsed through floats',
    edits: [
      edit(
        'src/domain/money.ts',
        'return money(BigInt(minor.toFixed(0)), currency);',
        'return money(BigInt(Math.trunc(Number(amount) * 10 ** exponent)), currency);',
      ),
    ],
    test: caughtBy('test/domain/money.test.ts', 'what is printed parses back to the same money'),
  },
  {
    name: 'a whole is split by floats',
    edits: [
      edit(
        'src/domain/split.ts',
        'const parts = weights.map((weight) => (wholeMinor * weight) / sum);',
        'const parts = weights.map((weight) => BigInt(Math.round(Number(wholeMinor) * (Number(weight) / Number(sum)))));',
      ),
    ],
    test: caughtBy(
      'test/domain/split.test.ts',
      'the parts sum to the whole, only the largest get more than their share, and none exceeds its weight',
    ),
  },
  {
    name: 'a transaction whose COMMIT had no answer runs again',
    edits: [
      edit(
        'src/platform/db.ts',
        'return isConnectionLost(error) && !commitSent;',
        'return isConnectionLost(error) || commitSent;',
      ),
    ],
    test: caughtBy(
      'test/platform/transact.test.ts',
      'at the COMMIT, after it has worked: unknown, so that nothing runs again, and the caller hears 503',
    ),
  },
  {
    name: 'a deadlock is told to the caller instead of running again',
    edits: [edit('src/platform/db.ts', "new Set(['40001', '40P01'])", "new Set(['40001'])")],
    test: caughtBy(
      'test/platform/transact.test.ts',
      'at a statement in the middle: the whole work runs again, and counts once',
    ),
  },
  {
    name: 'a connection lost in a transaction takes its place in the pool along',
    edits: [edit('src/platform/droppingClient.ts', "if (command === 'rollback') {", "if (command === 'commit') {")],
    test: caughtBy('test/platform/transact.test.ts', 'again and again: the pool keeps its only slot'),
  },
  {
    name: 'the sweep charges again instead of asking',
    edits: [
      edit(
        'src/payment/reconcilePayments.ts',
        `deps.payments.findCharge({
          key: payment.providerKey,
          paymentId,
          chargeRef: payment.chargeRef || undefined,
          customerRef: customer?.customerRef,
        }),`,
        `deps.payments.charge({
          key: \`\${payment.providerKey}-again\`,
          accountId,
          paymentId,
          customerRef: customer!.customerRef,
          methodRef: (await em.getKysely<any>().selectFrom('payment_method').select('method_ref').where('id', '=', payment.paymentMethodId).executeTakeFirstOrThrow()).method_ref,
          amount: { minorUnits: payment.amountMinor, currency: payment.currency },
          description: payment.description,
        }),`,
      ),
    ],
    test: caughtBy('test/payment/stripe.test.ts', '500 after the top-up is paid, once, and settled within a minute'),
  },
  {
    name: 'a success that comes after the sweep gave up is dropped',
    edits: [
      edit(
        'src/payment/charge.ts',
        "if (before === 'FAILED' && outcome.status !== 'succeeded') {",
        "if (before === 'FAILED' && outcome.status.length > 0) {",
      ),
    ],
    test: caughtBy(
      'test/payment/lateSuccess.test.ts',
      'money that moves after the sweep gave up is credited, once, and the failure is told once',
    ),
  },
  {
    name: 'an event of the provider is noted beside its effect, not with it',
    edits: [
      edit(
        'src/payment/applyProviderEvent.ts',
        'if (noted.length === 0) throw new AlreadyApplied(ref);',
        'if (noted.length === 0) return;',
      ),
      edit('src/payment/charge.ts', 'if (!settles) return undefined;', 'if (before === undefined) return undefined;'),
      edit(
        'src/wallet/topUp.ts',
        'const { id: referenceId, amountMinor } = payment;',
        'const { amountMinor } = payment;\n    const referenceId = newId();',
      ),
    ],
    test: caughtBy('test/payment/stripeEvents.test.ts', 'ten deliveries of one event at once have one effect'),
  },
];
