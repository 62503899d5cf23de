import fs from 'node:fs';
import { type EventType, eventTypes } from '../src/domain/events.js';
import { addPaymentMethod } from '../src/payment/addPaymentMethod.js';
import { recordDispute } from '../src/payment/recordDispute.js';
import { removePaymentMethod } from '../src/payment/removePaymentMethod.js';
import { setDefaultPaymentMethod } from '../src/payment/setDefaultPaymentMethod.js';
import { publicId } from '../src/platform/ids.js';
import { sql } from '../src/platform/sql.js';
import { simulate } from '../src/simulate.js';
import { parseScenario } from '../src/simulateScenario.js';
import { configureAutoRecharge } from '../src/wallet/configureAutoRecharge.js';
import { refundTopUp } from '../src/wallet/refundTopUp.js';
import { topUp } from '../src/wallet/topUp.js';
import { disableFailedEndpoint } from '../src/webhook/disableEndpoint.js';
import { createWebhookEndpoint } from '../src/webhook/endpoints.js';
import { addCard, freshKey, paymentsOf, runDue, usd } from './support/billing.js';
import { eventsUnlikeCatalogue } from './support/events.js';
import { startWorld, type World } from './support/world.js';

/** Lives that have most types of events between them. All other scenarios are checked where they are run. */
const scenarios = [
  'dunning-pauses-and-resumes',
  'cancel-at-once-waits-for-late-usage',
  'low-balance-is-told-once',
  'credit-note-by-line-with-tax',
  'thresholds-after-a-higher-limit',
  'hold-is-not-spent-by-an-invoice',
  'hold-keeps-credit-beyond-its-expiry',
  'card-expires',
  'coupon-removed-and-given-again',
  'declined-upgrade-returns-expired-credit',
  'recharge-stops-at-the-monthly-limit',
  'trial-canceled-at-its-end',
];

let world: World;
beforeAll(async () => {
  world = await startWorld({ worker: false });
});
afterAll(() => world.stop());

async function play(name: string): Promise<void> {
  const yaml = fs.readFileSync(`test/scenarios/${name}.yaml`, 'utf8');
  expect((await simulate(world, parseScenario(yaml))).failure).toBeUndefined();
}

/** Cards that come, go and change, and payments that go wrong. */
async function goWrong(): Promise<void> {
  const { deps } = world;
  const account = await world.account();
  const { actor } = account;
  const buy = (amount: string) => topUp(deps, actor, { idempotencyKey: freshKey(), amount: usd(amount) });

  const first = await addCard(world, account, 'tok_refundFail');
  await buy('20.00');
  const [payment] = await paymentsOf(world, account);
  await refundTopUp(deps, actor, { idempotencyKey: freshKey(), paymentId: publicId('payment', payment!.id) });
  const dispute = { disputeRef: 'dp_1', amount: usd('20.00'), reason: 'fraudulent' };
  for (const status of ['OPEN', 'LOST'] as const)
    await recordDispute(deps, { accountId: account.id, paymentId: payment!.id, dispute: { ...dispute, status } });

  const declining = { idempotencyKey: freshKey(), type: 'card', token: 'tok_chargeDeclined', makeDefault: false };
  const { paymentMethodId } = await addPaymentMethod(deps, actor, declining);
  const id = publicId('paymentMethod', paymentMethodId);
  await setDefaultPaymentMethod(deps, actor, { idempotencyKey: freshKey(), paymentMethodId: id });
  await buy('5.00');
  const refill = { enabled: true, threshold: usd('50.00'), amount: usd('10.00') };
  await configureAutoRecharge(deps, actor, { idempotencyKey: freshKey(), ...refill });
  await runDue(world);
  await removePaymentMethod(deps, actor, { idempotencyKey: freshKey(), paymentMethodId: first });
}

/** A receiver that wants no more. */
async function goAway(): Promise<void> {
  const { deps } = world;
  const { id: accountId, actor } = await world.account();
  const target = { idempotencyKey: freshKey(), url: 'http://127.0.0.1:9/' };
  const { endpointId } = await createWebhookEndpoint(deps, actor, target);
  await disableFailedEndpoint(deps, { accountId, endpointId, reason: 'GONE' });
}

test('every type of event is really emitted, and is what the catalogue says of it', async () => {
  for (const name of scenarios) await play(name);
  await goWrong();
  await goAway();
  const seen = await world.rows(sql<{ type: EventType }>`select distinct type from event`);
  expect(seen.map(({ type }) => type).sort()).toEqual([...eventTypes].sort());
  expect(await eventsUnlikeCatalogue(world.databaseUrl)).toEqual([]);
}, 120_000);
