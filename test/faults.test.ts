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
