import { sql } from '../src/platform/sql.js';
import { accountViolations, settledAfterMs } from './support/faults/books.js';
import { type FaultWorld, startFaultWorld } from './support/faults/faultWorld.js';
import { type KillPoint, killAt } from './support/faults/killPoints.js';

// Short cuts of `npm run faults`: a real server process, a proxy before PostgreSQL, and a stand-in for Stripe that outlives the kill.

let world: FaultWorld;
beforeAll(async () => {
  const url = process.env.TEST_PG_URL!;
  world = await startFaultWorld({ url, port: Number(new URL(url).port) });
  await world.start();
}, 120_000);
afterAll(() => world.stop());

const aims: { operation: string; point: KillPoint }[] = [
  { operation: 'topUp', point: 'before the provider call' },
  { operation: 'payInvoice', point: 'before the provider call' },
  { operation: 'restTopUp', point: 'after the charge, answer lost' },
  { operation: 'changePlan', point: 'after the charge, answer lost' },
  { operation: 'subscribe', point: 'before COMMIT of the intent' },
  { operation: 'topUp', point: 'after COMMIT of the intent' },
  { operation: 'changePlan', point: 'before COMMIT of the outcome' },
  { operation: 'subscribe', point: 'after COMMIT of the outcome' },
];

test('kill -9 with a payment at each point: money moved is money credited, nothing twice, nothing lost', async () => {
  // Half a minute is let go by: before that the sweep does not ask what became of a charge.
  const { worstMs, violations } = await killAt(world, aims, { waitMs: 31_000 });
  expect(violations).toEqual([]);
  expect(worstMs).toBeLessThan(60_000);
}, 180_000);

test('what is checked can fail: money that only the provider knows of, charged twice, and an event that is gone', async () => {
  const { id } = await world.account();
  await settledAfterMs(world, [id]);
  expect(await accountViolations(world, id)).toEqual([]);
  const charge = { amount: '500', currency: 'usd', payment_method: 'pm_card_visa', confirm: 'true' };
  for (let i = 0; i < 2; i++)
    world.standin.books.createIntent({ ...charge, metadata: { account_id: id, payment_id: 'twice' } });
  await world.ownerRows(sql`delete from event where account_id = ${id}`);
  expect(await accountViolations(world, id)).toEqual(
    [
      'payment twice was charged more than once',
      'the provider has moved 1000, the ledger says 0',
      '0 events, the last is null, the cursor 1',
    ].map((what) => `account ${id}: ${what}`),
  );
}, 60_000);
