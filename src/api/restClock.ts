import { advanceTestClock } from '../account/advanceTestClock.js';
import { createTestClock } from '../account/createTestClock.js';
import { readTestClock } from '../account/testClock.js';
import { BillingError } from '../domain/errors.js';
import { advanceClockBody, createClockBody } from './parseRest.js';
import { type Call, type Route, route } from './restRoute.js';

/** The account's test clock. */
export const clockRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/test-clock',
    scope: 'subscriptions:read',
    handle: async (call) => ({ body: await presentClock(call) }),
  }),
  route({
    method: 'POST',
    path: '/test-clock',
    scope: 'subscriptions:write',
    body: createClockBody,
    handle: async (call, { now }) => {
      const { deps, actor, idempotencyKey } = call;
      const { replayed } = await createTestClock(deps, actor, { idempotencyKey, now });
      return { status: 201, body: await presentClock(call), replayed };
    },
  }),
  route({
    method: 'POST',
    path: '/test-clock/advance',
    scope: 'subscriptions:write',
    body: advanceClockBody,
    handle: async (call, { to }) => {
      const { deps, actor, idempotencyKey } = call;
      const { replayed } = await advanceTestClock(deps, actor, { idempotencyKey, to });
      const body = await presentClock(call);
      return { ...(body.status === 'advancing' ? { status: 202 } : {}), body, replayed };
    },
  }),
];

async function presentClock({ deps, accountId }: Call) {
  const clock = await readTestClock(deps.db.orm.em.fork(), accountId);
  if (!clock) throw new BillingError('NOT_FOUND', 'The account has no test clock');
  return {
    now: clock.now.toISOString(),
    target: clock.target.toISOString(),
    status: clock.status.toLowerCase() as Lowercase<typeof clock.status>,
  };
}
