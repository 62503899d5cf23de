import pg from 'pg';
import { keepItem } from '../../src/invoice/invoiceItems.js';
import { lockAccount } from '../../src/invoice/issueInvoice.js';
import { transact } from '../../src/platform/db.js';
import { newId } from '../../src/platform/ids.js';
import { cancelSubscription } from '../../src/subscription/cancelSubscription.js';
import { changePlan } from '../../src/subscription/changePlan.js';
import { pauseSubscription } from '../../src/subscription/pauseSubscription.js';
import { type PreviewInput, preview } from '../../src/subscription/preview.js';
import { resumeSubscription } from '../../src/subscription/resumeSubscription.js';
import { subscribe } from '../../src/subscription/subscribe.js';
import { grantCredit } from '../../src/wallet/drawDown.js';
import { addCard, invoicesOf, subscribed, testCatalogYaml, usd } from '../support/billing.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

// What commits between the check of a quote and the invoice must not be charged beside what the customer was shown.

let world: World;
beforeAll(async () => {
  world = await startWorld({ catalog: testCatalogYaml, worker: false });
});
afterAll(() => world.stop());
beforeEach(() => world.clock.set('2024-04-01T00:00:00Z'));

type Quoted = { account: TestAccount; input: PreviewInput; run: (previewToken: string) => Promise<unknown> };

/** Each mutation that a preview quotes and that issues an invoice. */
const quoted: Record<string, () => Promise<Quoted>> = {
  subscribe: async () => {
    const account = await world.account();
    await addCard(world, account);
    const input = { planCode: 'basic' };
    return {
      account,
      input: { subscribe: input },
      run: (previewToken) => act(subscribe, account, input, previewToken),
    };
  },
  changePlan: async () => {
    const { account, id } = await subscribed(world);
    const input = { subscriptionId: id, planCode: 'premium', timing: 'AUTO', proration: 'PER_DAY' } as const;
    return { account, input: { changePlan: input }, run: (token) => act(changePlan, account, input, token) };
  },
  cancelSubscription: async () => {
    const { account, id } = await subscribed(world, { planCode: 'metered' });
    const input = { subscriptionId: id, timing: 'IMMEDIATE' } as const;
    return {
      account,
      input: { cancelSubscription: input },
      run: (token) => act(cancelSubscription, account, input, token),
    };
  },
  pauseSubscription: async () => {
    const { account, id } = await subscribed(world, { planCode: 'metered' });
    const input = { subscriptionId: id };
    return {
      account,
      input: { pauseSubscription: input },
      run: (token) => act(pauseSubscription, account, input, token),
    };
  },
  resumeSubscription: async () => {
    const { account, id } = await subscribed(world);
    await pauseSubscription(world.deps, account.actor, { subscriptionId: id });
    const input = { subscriptionId: id };
    return {
      account,
      input: { resumeSubscription: input },
      run: (token) => act(resumeSubscription, account, input, token),
    };
  },
};

const act = <Input>(
  use: (deps: World['deps'], actor: TestAccount['actor'], input: Input & { previewToken: string }) => Promise<unknown>,
  { actor }: TestAccount,
  input: Input,
  previewToken: string,
) => use(world.deps, actor, { ...input, previewToken });

/** What may commit meanwhile, inside a transaction that holds what the mutation has to wait for. */
const meanwhile = {
  'a one-off item': (account: TestAccount, held: () => Promise<void>) =>
    transact(world.deps, account.id, async (tx) => {
      await lockAccount(tx);
      const item = { description: 'Setup', amount: usd('5.00') };
      await keepItem(tx, { id: newId(), currency: 'USD', item });
      await held();
    }),
  'credit in the wallet': (account: TestAccount, held: () => Promise<void>) =>
    transact(world.deps, account.id, async (tx) => {
      await grantCredit(tx, { amountMinor: 700n, referenceId: newId() });
      await tx.em.flush();
      await held();
    }),
};

test.each(
  Object.keys(quoted).flatMap((operation) =>
    (Object.keys(meanwhile) as (keyof typeof meanwhile)[]).map((what) => ({ operation, what })),
  ),
)('$operation: $what that commits meanwhile makes the preview stale, and nothing is charged', async ({
  operation,
  what,
}) => {
  const { account, input, run } = await quoted[operation]!();
  const { token, dueNowMinor } = await preview(world.deps, account.actor, input);
  expect(dueNowMinor).toBeGreaterThanOrEqual(0n);
  const before = (await invoicesOf(world, account)).length;
  let answer: Promise<unknown> = Promise.resolve();
  await meanwhile[what](account, async () => {
    answer = run(token).then(
      () => 'charged',
      (error: { code?: string }) => error.code ?? error,
    );
    await waitsForLock();
  });
  expect(await answer).toBe('STALE_PREVIEW');
  expect(await invoicesOf(world, account)).toHaveLength(before);
});

/** Until the mutation stands before the lock that the other transaction holds. */
async function waitsForLock(): Promise<void> {
  // By a login of its own: the product's sees no waits of others, and a transaction sees them as they were at its first look.
  const client = new pg.Client({ connectionString: world.databaseUrl });
  await client.connect();
  try {
    await seesWait(client);
  } finally {
    await client.end();
  }
}

async function seesWait(client: pg.Client): Promise<void> {
  for (const until = Date.now() + 20_000; Date.now() < until; ) {
    const { rowCount } = await client.query(
      `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    );
    if (rowCount) return;
  }
  throw new Error('the mutation waited for nothing');
}
