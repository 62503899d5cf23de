import { changePlan } from '../../src/subscription/changePlan.js';
import { type SubscriptionAnswer, subscribe } from '../../src/subscription/subscribe.js';
import { addCard, freshKey, subscribed, subscriptionOf, testCatalogYaml, unreachable } from '../support/billing.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ catalog: testCatalogYaml, worker: false });
});
afterAll(() => world.stop());

/** The charge's answer is lost, the sweep settles the payment, and the event of it is not handed over yet: what a repeat is told then. */
async function repeatedBetween(
  account: TestAccount,
  act: (deps: World['deps']) => Promise<SubscriptionAnswer>,
): Promise<SubscriptionAnswer> {
  await world.settled();
  return world.relay.holding(account.id, async () => {
    await act({ ...world.deps, payments: { ...world.deps.payments, ...unreachable(world.deps.payments, 'after') } });
    world.clock.advanceMs(31_000);
    await world.sweeps.runOnce();
    return act(world.deps);
  });
}

test('a repeat of subscribe whose payment was settled meanwhile finds the subscription active', async () => {
  const account = await world.account();
  await addCard(world, account);
  const input = { idempotencyKey: freshKey(), planCode: 'basic' };
  const again = await repeatedBetween(account, (deps) => subscribe(deps, account.actor, input));
  expect(again).toMatchObject({ replayed: true, error: undefined });
  expect((await subscriptionOf(world, account)).status).toBe('ACTIVE');
});

test('a repeat of changePlan whose payment was settled meanwhile finds the new plan', async () => {
  const { account, id } = await subscribed(world);
  const before = (await subscriptionOf(world, account)).planId;
  const change = {
    idempotencyKey: freshKey(),
    subscriptionId: id,
    planCode: 'premium',
    timing: 'AUTO',
    proration: 'PER_DAY',
  } as const;
  const again = await repeatedBetween(account, (deps) => changePlan(deps, account.actor, change));
  expect(again).toMatchObject({ replayed: true, error: undefined });
  expect((await subscriptionOf(world, account)).planId).not.toBe(before);
});
