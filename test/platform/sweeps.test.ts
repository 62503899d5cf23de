import { type PaymentMethod, PaymentMethod as PaymentMethodEntity } from '../../src/payment/payment.entity.js';
import { newId } from '../../src/platform/ids.js';
import { createLogger } from '../../src/platform/log.js';
import { sql } from '../../src/platform/sql.js';
import { createSweeps, type DueRow, finishDue } from '../../src/platform/sweeps.js';
import { advanceDueSubscriptions } from '../../src/subscription/renewDue.js';
import { runDue, subscribed, subscriptionOf, testCatalogYaml } from '../support/billing.js';
import { startWorld, until, type World } from '../support/world.js';

let world: World;
const log = createLogger('silent');
beforeAll(async () => {
  world = await startWorld({ catalog: testCatalogYaml, worker: false });
});
afterAll(() => world.stop());
beforeEach(() => world.clock.set('2024-04-01T00:00:00Z'));

/** Cards of a new account on which something has been due, one each minute, the earliest first. */
async function dueCards(count: number): Promise<{ accountId: string; ids: string[] }> {
  const { id: accountId } = await world.account();
  const em = world.deps.db.orm.em.fork();
  const cards = Array.from({ length: count }, (_, i) =>
    em.create(PaymentMethodEntity, {
      accountId,
      id: newId(),
      status: 'ACTIVE',
      type: 'card',
      isDefault: false,
      createdAt: world.clock.now(),
      expiryNoticeAt: new Date(Date.UTC(2024, 0, 1, 0, i)),
    } as Partial<PaymentMethod> as PaymentMethod),
  );
  await em.flush();
  return { accountId, ids: cards.map(({ id }) => id) };
}

/** One round over the due cards of an account: what it tried, in order. */
async function round(
  accountId: string,
  finish: (id: string) => Promise<void> | void,
  stopAt?: (error: unknown) => boolean,
): Promise<{ tried: string[]; finished: number }> {
  const tried: string[] = [];
  const due = ['payment_method', 'expiry_notice_at'] as const;
  const finished = await finishDue(
    { ...world.deps, log },
    due,
    { accountId },
    async ({ id }: DueRow) => {
      tried.push(id);
      await finish(id);
      await world.rows(
        sql`update payment_method set expiry_notice_at = null where account_id = ${accountId} and id = ${id}`,
      );
    },
    { stopAt },
  );
  return { tried, finished };
}

test('however many rows fail each time, the one behind them is done', async () => {
  const { accountId, ids } = await dueCards(231);
  const last = ids.at(-1)!;
  const poisoned = (id: string) => {
    if (id !== last) throw new Error('broken');
  };
  const { tried, finished } = await round(accountId, poisoned);
  expect(tried).toEqual(ids);
  expect(finished).toBe(1);
  expect((await round(accountId, poisoned)).tried).toEqual(ids.slice(0, -1)); // tried again, and not the one that is done
});

test('a round ends when a hundred are done, so that other sweeps have their turn', async () => {
  const { accountId, ids } = await dueCards(150);
  expect(await round(accountId, () => {})).toEqual({ tried: ids.slice(0, 100), finished: 100 });
  expect(await round(accountId, () => {})).toEqual({ tried: ids.slice(100), finished: 50 });
});

test('the row at which a round broke off is the last of the next one', async () => {
  const { accountId, ids } = await dueCards(120);
  const away =
    (...poisoned: string[]) =>
    (id: string) => {
      if (poisoned.includes(id)) throw new Error('no answer');
    };
  const stop = () => true;
  const [first, second] = ids as [string, string];
  expect(await round(accountId, away(first), stop)).toEqual({ tried: [first], finished: 0 });
  expect(await round(accountId, away(first, second), stop)).toEqual({ tried: [second], finished: 0 });
  expect((await round(accountId, away(first, second), stop)).tried).toEqual(ids.slice(2, 102));
  expect((await round(accountId, away(first, second), stop)).tried).toEqual([...ids.slice(102), first]);
  expect((await round(accountId, away(first, second), stop)).tried).toEqual([second]);
  expect((await round(accountId, away(first), stop)).tried).toEqual([first]);
  expect((await round(accountId, away(first), stop)).tried).toEqual([second, first]);
});

test('a hundred subscriptions that can not be advanced keep no other from being renewed', async () => {
  const broken = await subscribed(world);
  await world.rows(sql`
    insert into subscription select (jsonb_populate_record(s, jsonb_build_object('id', gen_random_uuid(), 'status', 'CANCELED',
      'due_at', '2024-04-02T00:00:00Z', 'change_invoice_id', gen_random_uuid()))).*
    from subscription s, generate_series(1, 130) where account_id = ${broken.account.id}`);
  const { account } = await subscribed(world);
  await world.rows(sql`update account set grace_period_hours = 1 where id = ${account.id}`); // goes by itself, as they do
  world.clock.set('2024-05-01T00:05:00Z');
  await advanceDueSubscriptions({ ...world.deps, log });
  expect(await subscriptionOf(world, account)).toMatchObject({ periodEnd: expect.any(Date), version: 2 });
  await world.rows(sql`delete from subscription where account_id = ${broken.account.id} and status = 'CANCELED'`);
  await runDue(world);
});

test('the first round is at once: a process that is killed again soon has still swept', async () => {
  let rounds = 0;
  const sweep = async (): Promise<number> => {
    rounds++;
    return 0;
  };
  const sweeps = createSweeps({ sweeps: { sweep }, log: createLogger('silent'), everyMs: 3_600_000 });
  sweeps.start();
  await until(() => rounds === 1, 'the first round');
  await sweeps.stop();
  expect(rounds).toBe(1);
});
